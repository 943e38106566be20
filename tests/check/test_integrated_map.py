"""The check's own clearing map against the engine's and against plain sums of gammas."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.integrate import simpson
from support.book_rows import stated_positions

from sim.book.rows import BookRows
from sim.check.integrated_map import IntegratedMap
from sim.market.black_scholes import FloatArray
from sim.market.calendar import settlement_minute, trading_calendar
from sim.plan.builder import prepare
from sim.plan.time_grid import build_time_grid
from sim.reaction.clearing_map import MapSlice
from sim.scenario.file import load_scenario
from sim.scenario.model import Scenario

POSITIONS = 400
EXPIRIES = [dt.date(2026, 2, 11), dt.date(2026, 2, 20), dt.date(2026, 4, 17), dt.date(2027, 12, 17)]


@pytest.fixture(scope="module")
def siege() -> Scenario:
    return load_scenario("siege-of-7000")


@pytest.fixture(scope="module")
def crowded(siege: Scenario) -> Scenario:
    """Siege with four hundred more positions: from a day to two years of life, far from the spot and near."""
    draw = np.random.default_rng(3)
    rows = BookRows(
        file="book.csv",
        groups=("a", "b"),
        group=draw.integers(0, 2, POSITIONS).astype(np.int32),
        is_call=draw.random(POSITIONS) < 0.5,
        strike=np.round(draw.uniform(4000.0, 9000.0, POSITIONS)),
        expiry=np.array(EXPIRIES, dtype="datetime64[D]")[draw.integers(0, 4, POSITIONS)],
        at_open=draw.random(POSITIONS) < 0.3,
        iv=draw.uniform(0.03, 0.9, POSITIONS),
        contracts=np.round(draw.normal(0.0, 3000.0, POSITIONS)),
        carry=draw.uniform(-0.02, 0.04, POSITIONS),
    )
    dealers = siege.dealers.model_copy(update={"book": rows, "book_weights": {"b": 0.5}})
    return siege.model_copy(update={"dealers": dealers})


@pytest.mark.parametrize("session_of", [0, 6, 7, 20])
def test_it_is_the_engines_map(siege: Scenario, session_of: int) -> None:
    """Two derivations of Φ agree up to a constant, at the open, within the day and around settlement."""
    prepared = prepare(siege)
    other = IntegratedMap(siege, prepared.grid, -0.15, 0.15)
    s = np.linspace(-0.15, 0.15, 2001)
    for step in (0, 5, 13):
        minute = float(prepared.grid.step_end_minute[14 * session_of + step])
        for after in (False, True):
            at: MapSlice = prepared.clearing_map.at(minute, after)
            difference = other(s, minute, after) - at.value_of(s, 0)
            np.testing.assert_allclose(difference - difference[1000], 0.0, rtol=0, atol=3e-6)


def n(z: FloatArray | float) -> FloatArray:
    return np.asarray(np.exp(-0.5 * np.square(z)) / np.sqrt(2 * np.pi))


def brute_force(scenario: Scenario, s: FloatArray, minute: float, after: bool) -> FloatArray:
    """M − 1 by a sum over positions, one at a time."""
    assert scenario.dealers.book is not None
    spot, total = scenario.market.spot, np.zeros_like(s)
    calendar = trading_calendar(scenario.market.as_of)
    start = build_time_grid(scenario).start_minute
    of_file = [SimpleNamespace(**row, gex_bn=None) for row in stated_positions(scenario.dealers.book)]
    for p in (*scenario.dealers.position, *of_file):
        settles = settlement_minute(calendar, p.expiry, p.settlement)
        if settles < minute or (after and settles == minute):
            continue
        years = max(settles - minute, 30.0) / 525_600
        v = p.iv * np.sqrt(years)
        gex_per_contract = (
            100 * spot * np.exp(s) * n((s - np.log(p.strike / spot) + p.carry * years) / v + v / 2)
        )
        gex_per_contract *= 0.01 / 1e9 / v
        if p.gex_bn is None:
            contracts = p.contracts * scenario.dealers.book_weights.get(p.group, 1.0)
        else:
            life = max(settles - start, 30.0) / 525_600
            w = p.iv * np.sqrt(life)
            contracts = p.gex_bn / (100 * p.strike * n(p.carry * life / w + w / 2) * 0.01 / 1e9 / w)
        total += contracts * gex_per_contract * np.exp(-s)
    return np.asarray(scenario.dealers.impact_bp_per_bn * 0.01 * total)


@pytest.mark.parametrize(("step", "after"), [(0, True), (13, False), (13, True), (27, False), (120, True)])
def test_gammas_add_up(crowded: Scenario, step: int, after: bool) -> None:
    grid = build_time_grid(crowded)
    minute = float(grid.step_end_minute[step])
    s = np.linspace(-0.02, 0.03, 701)
    m = IntegratedMap(crowded, grid).feedback_less_one(s, minute, after)
    np.testing.assert_allclose(m, brute_force(crowded, s, minute, after), rtol=0, atol=1e-6 * np.abs(m).max())


def test_it_integrates_from_minus_infinity(crowded: Scenario) -> None:
    """Without a floor, differences in time are those of the integrals of m - 1 from below all strikes."""
    dealers = crowded.dealers.model_copy(update={"m_floor": 0.0, "impact_bp_per_bn": 0.1})
    scenario = crowded.model_copy(update={"dealers": dealers})
    grid = build_time_grid(scenario)
    whole = IntegratedMap(scenario, grid)
    for minute in (float(grid.start_minute), float(grid.step_end_minute[40])):
        for end in (-0.01, 0.02):
            s = np.linspace(-14.0, end, 60_001)
            area = simpson(brute_force(scenario, s, minute, False), x=s)
            assert whole.feedback_less_one(whole.edges, minute, False).min() > -0.9
            assert whole(np.array([end]), minute, False)[0] == pytest.approx(end + area, abs=5e-7)
