"""Tables that engines read, through their own look-up, against the float64 map: the reference cases and any book."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.exact_map import ExactMap, book_weights, exact_map
from support.places import CASES
from support.sample_scenario import DELETE, sample

from sim.compiled.kernel_constants import NO_LEVEL
from sim.errors import InputError
from sim.kernels_numpy.reaction import LookUpWork, look_up, plan_tables
from sim.market.calendar import trading_calendar
from sim.plan.builder import Prepared, prepare
from sim.plan.engine_plan import NO_TABLE
from sim.scenario.file import load_scenario
from sim.scenario.model import Scenario

FloatArray = NDArray[np.float64]
# Largest error of the map and of its inverse, index points.
ALLOWED = 0.02
# A thousandth of an index point.
THOUSANDTH = 1e-3 / 6941.81
LOWEST, HIGHEST = -0.3, 0.25


def places(exact: ExactMap, even: int) -> FloatArray:
    """Log prices over the range, evenly spread and around each strike and the ends of the floor."""
    near = [np.log(k / exact.spot) + v * np.linspace(-5, 5, 201) for _, k, v, _, _ in exact.lines]
    ends = [np.linspace(low - 1e-3, high + 1e-3, 201) for low, high in exact.floored]
    s = np.concatenate([np.linspace(LOWEST, HIGHEST, even), *near, *ends])
    return s[(s >= LOWEST) & (s <= HIGHEST)]


class Tables:
    """Look-ups by (step, book) as the engine makes them."""

    def __init__(self, prepared: Prepared):
        self.plan = prepared.plan
        self.tables = plan_tables(prepared.plan)

    def _look_up(self, table: int, x: NDArray[np.float32], book: int) -> FloatArray:
        assert table != NO_TABLE
        books = np.full(x.size, book, dtype=np.int32) if self.plan.books > 1 else None
        out = np.empty(x.size, dtype=np.float32)
        look_up(self.tables[table], x, books, out, LookUpWork.allocate(x.size))
        return out.astype(np.float64)

    def inverse_error(self, exact: ExactMap, s: FloatArray, step: int, book: int) -> float:
        """Largest error of the price in index points; y is rounded to float32 first, as a path's is."""
        y = exact.value(s)
        rounded = y.astype(np.float32)
        true = s + (rounded - y) / exact.feedback(s)
        found = self._look_up(self.plan.step_table[step], rounded, book)
        return float(exact.spot * np.abs(np.exp(found) - np.exp(true)).max())

    def forward_error(self, exact: ExactMap, s: FloatArray, step: int, book: int) -> float:
        """Largest error of s + q in index points at the starting level."""
        rounded = s.astype(np.float32)
        found = self._look_up(self.plan.rebase_table[step], rounded, book)
        return float(exact.spot * np.abs(found - exact.value(rounded.astype(np.float64))).max())


@pytest.mark.parametrize("case", ["article", "permanent"])
def test_reference_case_within_two_hundredths_of_a_point(case: str) -> None:
    """Every step and every book, expiry days included, through float32 look-ups, from −30% to +25%."""
    scenario = load_scenario(CASES / f"{case}.toml")
    prepared = prepare(scenario)
    tables, plan, grid = Tables(prepared), prepared.plan, prepared.grid
    books = book_weights(scenario)
    assert plan.books == len(books)
    worst_inverse = worst_forward = 0.0
    for step, minute in enumerate(grid.step_end_minute):
        for book, weights in enumerate(books):
            exact = exact_map(scenario, grid, minute, weights, after_settlement=False, half_width=0.31)
            worst_inverse = max(worst_inverse, tables.inverse_error(exact, places(exact, 801), step, book))
            if plan.rebase_table[step] != NO_TABLE:
                exact = exact_map(scenario, grid, minute, weights, after_settlement=True, half_width=0.31)
                worst_forward = max(
                    worst_forward, tables.forward_error(exact, places(exact, 801), step, book)
                )
    assert 0.0 < worst_forward < ALLOWED
    assert 0.0 < worst_inverse < ALLOWED


def test_barriers_of_the_reference_case() -> None:
    """σ·Φ(L) at both ends of every step, the nearest level first; a step starts after what settled before it."""
    scenario = load_scenario(CASES / "article.toml")
    prepared = prepare(scenario)
    plan, grid = prepared.plan, prepared.grid
    logs = np.log(np.array(scenario.all_levels) / scenario.market.spot)
    sides = (logs[logs > 0], logs[logs < 0][::-1])
    instants = [grid.start_minute, *grid.step_end_minute]
    after_settlement = np.flatnonzero(plan.settles[:-1]) + 1
    assert after_settlement.size == 3
    for step in sorted({*range(0, plan.steps, 5), *after_settlement.tolist()}):
        for book, weights in enumerate(book_weights(scenario)):
            start = exact_map(scenario, grid, instants[step], weights, after_settlement=True, half_width=0.31)
            end = exact_map(
                scenario, grid, instants[step + 1], weights, after_settlement=False, half_width=0.31
            )
            for side, (levels, sign) in enumerate(zip(sides, (1.0, -1.0), strict=True)):
                for exact, found in ((start, plan.barrier_start), (end, plan.barrier_end)):
                    row = found[step, side, book]
                    np.testing.assert_allclose(
                        row[: levels.size], sign * exact.value(levels), rtol=0, atol=THOUSANDTH
                    )
                    assert np.all(row[levels.size :] == NO_LEVEL)


# Any book.

CALENDAR = trading_calendar(dt.date(2026, 2, 10), dt.date(2026, 4, 10))
SESSIONS = [CALENDAR.session(i) for i in range(len(CALENDAR.days))]
SPOT = 6941.81


def rounded(low: float, high: float, digits: int) -> st.SearchStrategy[float]:
    return st.floats(low, high).map(lambda x: round(x, digits))


POSITIONS = st.fixed_dictionaries(
    {
        "group": st.sampled_from(["wall", "puts"]),
        "type": st.sampled_from(["call", "put"]),
        "strike": rounded(0.85 * SPOT, 1.15 * SPOT, 0),
        # Half of them inside the four sessions simulated, the others up to two months away.
        "expiry": st.one_of(st.sampled_from(SESSIONS[1:5]), st.sampled_from(SESSIONS[1:])),
        "settlement": st.sampled_from(["AM", "PM"]),
        "iv": rounded(0.05, 0.6, 3),
        "gex_bn": rounded(0.1, 15.0, 2).flatmap(lambda size: st.sampled_from([size, -size])),
    }
)
WEIGHTS = st.dictionaries(st.sampled_from(["wall", "puts"]), rounded(0.0, 2.0, 2), max_size=2)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    positions: list[dict[str, Any]] = draw(st.lists(POSITIONS, min_size=1, max_size=6))
    groups = {p["group"] for p in positions}
    weights = {group: w for group, w in draw(WEIGHTS).items() if group in groups}
    edits = {
        "market": {"as_of": SESSIONS[0], "spot": SPOT, "sessions": 4},
        "volatility.steps_per_session": 2,
        "volatility.quoted": "fundamental",
        "catalyst": [],
        "jumps": DELETE,
        "dealers.impact_bp_per_bn": draw(rounded(0.0, 5.0, 2)),
        "dealers.m_floor": draw(rounded(0.05, 0.5, 3)),
        "dealers.position": positions,
        "regime": [{"name": "other", "when": "closes_above", "level": 7020, "weights": weights}],
    }
    return Scenario.model_validate(sample(edits))


@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scenarios())
def test_any_book_has_an_increasing_map_and_tables_that_invert_it(scenario: Scenario) -> None:
    """Open, midday and close of four sessions, at settlement instants before and after it."""
    try:
        prepared = prepare(scenario)
    except InputError as error:
        # A map may bend more sharply than any table can follow.
        if "bends so sharply" not in str(error):
            raise
        reject()
    plan, grid, clearing_map = prepared.plan, prepared.grid, prepared.clearing_map
    tables = Tables(prepared)
    for step, minute in enumerate(grid.step_end_minute):
        before, after = (clearing_map.at(minute, settled) for settled in (False, True))
        for book, weights in enumerate(book_weights(scenario)):
            exact = exact_map(scenario, grid, minute, weights, False, clearing_map.half_width)
            s = np.sort(places(exact, 401))
            y = before.value_of(s, book)
            assert np.all(np.diff(y)[np.diff(s) > 1e-9] > 0)
            assert np.abs(y - exact.value(s)).max() * SPOT < ALLOWED
            assert np.abs(before.inverse(y, book) - s).max() * SPOT < ALLOWED
            if plan.identity_map:
                np.testing.assert_allclose(y, s, rtol=0, atol=1e-15)
                continue
            found = tables._look_up(plan.step_table[step], y.astype(np.float32), book)
            assert SPOT * np.abs(np.exp(found) - np.exp(s)).max() < ALLOWED
            assert tables.inverse_error(exact, s, step, book) < ALLOWED
            if plan.rebase_table[step] != NO_TABLE:
                found = tables._look_up(plan.rebase_table[step], s.astype(np.float32), book)
                assert SPOT * np.abs(found - after.value_of(s, book)).max() < ALLOWED
