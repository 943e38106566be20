"""The clearing map: its slope, its floor against quadrature, its inverse, and where it is the identity."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from support.exact_map import ExactMap, book_weights, exact_map
from support.places import CASES
from support.sample_scenario import DELETE, sample

from sim.market.hermite import hermite
from sim.plan.builder import prepare
from sim.plan.dealers import feedback_at_start
from sim.plan.time_grid import TimeGrid
from sim.reaction.clearing_map import ClearingMap, MapSlice
from sim.scenario.model import Scenario

EXPIRY = dt.date(2026, 2, 13)
# One index point at the start.
POINT = 1 / 6941.81


def scenario_of(**edits: Any) -> Scenario:
    """Four sessions, calls that leave at the open and the close of the third, puts that stay, three books."""
    settling = {"settlement": "PM", "iv": 0.113, "contracts": DELETE, "expiry": EXPIRY}
    base = {
        "market": {"as_of": dt.date(2026, 2, 10), "spot": 6941.81, "sessions": 4},
        "volatility.steps_per_session": 3,
        "catalyst": [],
        "dealers.position[0].expiry": EXPIRY,
        **{f"dealers.position[1].{key}": value for key, value in settling.items()},
        "dealers.position[1].gex_bn": 2.0,
        "regime": [
            {"name": "thin", "when": "closes_above", "level": 7020, "weights": {"wall": 0.25}},
            {"name": "puts", "when": "closes_below", "level": 6800, "weights": {"puts": 3.0, "wall": 0.0}},
        ],
    }
    return Scenario.model_validate(sample({**base, **edits}))


class Market:
    """A scenario with its map and grid, and the exact map at any step's end."""

    def __init__(self, scenario: Scenario):
        prepared = prepare(scenario)
        self.scenario = scenario
        self.grid: TimeGrid = prepared.grid
        self.map: ClearingMap = prepared.clearing_map
        self.instants = [self.grid.start_minute, *self.grid.step_end_minute]

    def exact(self, minute: float, book: int, after: bool) -> ExactMap:
        weights = book_weights(self.scenario)[book]
        return exact_map(self.scenario, self.grid, minute, weights, after, self.map.half_width)


# 5 × the usual impact: the feedback factor of the puts falls below zero.
STRONG = {"dealers.impact_bp_per_bn": 17.5, "dealers.position[2].expiry": EXPIRY}


@pytest.fixture(scope="module")
def gentle() -> Market:
    return Market(scenario_of())


@pytest.fixture(scope="module")
def floored() -> Market:
    return Market(scenario_of(**STRONG))


def some_log_prices(exact: ExactMap) -> np.ndarray:
    """Log prices from −0.3 to 0.25, many around the strikes and the ends of the floor."""
    near = [np.log(k / exact.spot) + v * np.linspace(-6, 6, 121) for _, k, v, _, _ in exact.lines]
    ends = [np.linspace(low - 1e-3, high + 1e-3, 101) for low, high in exact.floored]
    s = np.sort(np.concatenate([np.linspace(-0.3, 0.25, 1101), *near, *ends]))
    return s[(s >= -0.3) & (s <= 0.25)]


def test_unfloored_map_and_feedback(gentle: Market) -> None:
    """s + κ·D and its slope at every instant, before and after settlement, under every book."""
    assert len(gentle.map.weights) == 3
    for minute in gentle.instants:
        for after in (False, True):
            slice_ = gentle.map.at(minute, after)
            assert slice_.floor_events == ()
            for book in range(3):
                exact = gentle.exact(minute, book, after)
                s = some_log_prices(exact)
                assert np.abs(slice_.value_of(s, book) - exact.value(s)).max() < 1e-4 * POINT
                assert np.abs(slice_.value(s)[book] - slice_.value_of(s, book)).max() == 0
                np.testing.assert_allclose(slice_.slopes[book], exact.feedback(slice_.nodes), rtol=1e-10)


def test_settlement_changes_the_map(gentle: Market) -> None:
    """The calls leave at the open and at the close of the third of four sessions, each four steps long."""
    s = np.linspace(-0.05, 0.05, 101)
    changed = []
    for number, minute in enumerate(gentle.instants):
        before, after = (gentle.map.at(minute, after).value_of(s, 0) for after in (False, True))
        if np.any(before != after):
            assert np.abs(before - after).max() > 1 * POINT
            changed.append(number)
    assert changed == [9, 12]


@pytest.mark.parametrize("market", ["gentle", "floored"])
def test_strictly_increasing_with_slope_m(market: str, request: pytest.FixtureRequest) -> None:
    """Φ rises between any two log prices, by m on average over a hundred-thousandth."""
    subject: Market = request.getfixturevalue(market)
    for minute in subject.instants[::2]:
        slice_ = subject.map.at(minute, after_settlement=False)
        for book in range(3):
            exact = subject.exact(minute, book, False)
            s = np.unique(some_log_prices(exact))
            s = s[np.concatenate(([True], np.diff(s) > 1e-9))]
            values = slice_.value_of(s, book)
            assert np.all(np.diff(values) > 0)
            h = 1e-5
            slope = (slice_.value_of(s + h, book) - slice_.value_of(s - h, book)) / (2 * h)
            # Where the floor begins or ends, m bends within the two hundred-thousandths.
            np.testing.assert_allclose(slope, exact.feedback(s), rtol=0.02, atol=2e-3)
            # The cubic between two nodes may sink a little below the slope at both.
            assert slope.min() > subject.map.m_floor * 0.999


def test_floor_is_quadrature_of_the_floored_feedback(floored: Market) -> None:
    """Φ = κ·D at s = 0 and the integral of max(m, m_floor) from there."""
    bound_anywhere = 0
    for minute in floored.instants[1::3]:
        slice_ = floored.map.at(minute, after_settlement=False)
        for book in range(3):
            exact = floored.exact(minute, book, False)
            assert slice_.value_of(np.zeros(1), book)[0] == pytest.approx(exact.raw(np.zeros(1))[0], abs=1e-9)
            assert slice_.slopes[book].min() >= floored.map.m_floor
            if not exact.floored.size:
                continue
            bound_anywhere += 1
            for end in (*exact.floored.mean(axis=1), -0.2, 0.2):
                breaks = [p for p in exact.floored.reshape(-1) if min(0.0, end) < p < max(0.0, end)]
                strikes = [np.log(k / exact.spot) for _, k, _, _, _ in exact.lines]
                inside = [p for p in strikes if min(0.0, end) < p < max(0.0, end)]

                def feedback(s: float, exact: ExactMap = exact) -> float:
                    return float(exact.feedback(np.array([s]))[0])

                area, _ = quad(
                    feedback, 0.0, end, points=[*breaks, *inside], limit=400, epsabs=1e-11, epsrel=1e-11
                )
                origin = exact.raw(np.zeros(1))[0]
                assert slice_.value_of(np.array([end]), book)[0] == pytest.approx(
                    origin + area, abs=0.02 * POINT
                )
                assert exact.value(np.array([end]))[0] == pytest.approx(origin + area, abs=1e-9)
    assert bound_anywhere > 5


@pytest.mark.parametrize("market", ["gentle", "floored"])
def test_inverse(market: str, request: pytest.FixtureRequest) -> None:
    subject: Market = request.getfixturevalue(market)
    for minute in subject.instants:
        slice_ = subject.map.at(minute, after_settlement=True)
        for book in range(3):
            s = some_log_prices(subject.exact(minute, book, True))
            back = slice_.inverse(slice_.value_of(s, book), book)
            assert np.abs(back - s).max() < 0.005 * POINT


def test_straight_beyond_the_nodes(gentle: Market) -> None:
    slice_ = gentle.map.at(gentle.instants[5], after_settlement=False)
    low, high = slice_.nodes[0], slice_.nodes[-1]
    for book in range(3):
        for end, index in ((low, 0), (high, -1)):
            s = end + np.sign(end) * np.array([0.1, 1.0, 20.0])
            line = slice_.values[book, index] + slice_.slopes[book, index] * (s - end)
            np.testing.assert_allclose(slice_.value_of(s, book), line, rtol=1e-14)
            np.testing.assert_allclose(slice_.inverse(line, book), s, rtol=1e-12)


def test_nodes_reach_as_far_as_asked(gentle: Market) -> None:
    slice_ = gentle.map.at(gentle.instants[-1], after_settlement=False)
    assert slice_.nodes[-1] == -slice_.nodes[0] >= gentle.map.half_width
    assert 0.0 in slice_.nodes
    assert np.all(np.diff(slice_.nodes) > 0)


def test_floor_event_says_where_when_and_how_far(floored: Market) -> None:
    minute = floored.instants[3]
    events = {e.book: e for e in floored.map.at(minute, after_settlement=False).floor_events}
    expected = {b for b in range(3) if floored.exact(minute, b, False).floored.size}
    assert set(events) == expected != set()
    for book, event in events.items():
        exact = floored.exact(minute, book, False)
        low, high = floored.scenario.market.spot * np.exp([exact.floored.min(), exact.floored.max()])
        s = some_log_prices(exact)
        assert event.minute == minute
        assert event.lowest == pytest.approx(exact.raw_feedback(s).min(), abs=0.02)
        # Read off the nodes, a twelfth of a width apart.
        assert 0 <= event.price_low - low < 10
        assert 0 <= high - event.price_high < 10


def test_no_floor_event_where_the_floor_does_not_bind(gentle: Market, floored: Market) -> None:
    for minute in gentle.instants:
        assert gentle.map.at(minute, after_settlement=False).floor_events == ()
    last = floored.map.at(floored.instants[-1], after_settlement=True)
    assert last.floor_events == ()


def test_without_a_floor_events_tell_of_folds_only(floored: Market) -> None:
    """m_floor = 0: reported where m < 0.05, and the map is left as it is."""
    scenario, minute = floored.scenario, floored.instants[3]
    unfloored = scenario.model_copy(update={"dealers": scenario.dealers.model_copy(update={"m_floor": 0.0})})
    exact = exact_map(unfloored, floored.grid, minute, book_weights(scenario)[0], False, 0.25)
    lowest = []
    for part in np.linspace(0.05, 1.0, 20):
        kappa = part * floored.map.kappa
        bare = ClearingMap(floored.map.spot, kappa, floored.map.book, floored.map.weights, 0.0, 0.25)
        slice_ = bare.at(minute, after_settlement=False)
        lowest += slice_.slopes.min(axis=1).tolist()
        assert {e.book for e in slice_.floor_events} == {b for b in range(3) if slice_.slopes[b].min() < 0.05}
    assert min(lowest) < 0
    assert any(0 < m < 0.2 for m in lowest)
    s = np.linspace(-0.2, 0.2, 2001)
    assert np.abs(slice_.value_of(s, 0) - exact.value(s)).max() < 1e-4 * POINT


@pytest.mark.parametrize("edits", [{"dealers.impact_bp_per_bn": 0.0}, {"dealers.position": [], "regime": []}])
def test_identity(edits: dict[str, Any]) -> None:
    prepared = prepare(scenario_of(**edits))
    assert prepared.clearing_map.is_identity
    slice_ = prepared.clearing_map.at(prepared.grid.start_minute, after_settlement=True)
    s = np.linspace(-0.4, 0.4, 333)
    np.testing.assert_allclose(slice_.value_of(s, 0), s, rtol=0, atol=1e-15)
    np.testing.assert_allclose(slice_.inverse(s, 0), s, rtol=0, atol=1e-15)
    assert feedback_at_start(prepared.clearing_map, prepared.grid) == 1.0


def test_identity_is_not_claimed_with_dealers(gentle: Market) -> None:
    assert not gentle.map.is_identity


def test_after_the_last_settlement_the_map_is_the_identity() -> None:
    only = scenario_of(**{"dealers.position[2].expiry": EXPIRY})
    market = Market(only)
    slice_ = market.map.at(market.instants[-1], after_settlement=True)
    s = np.linspace(-0.3, 0.3, 101)
    for book in range(3):
        np.testing.assert_allclose(slice_.value_of(s, book), s, rtol=0, atol=1e-15)


def test_kappa_is_the_fraction_of_price_an_index_unit_moves() -> None:
    """$1bn at S0 is 1e9/S0 index units and moves the price by impact_bp_per_bn basis points."""
    market = Market(scenario_of())
    assert market.map.kappa * 1e9 / 6941.81 == pytest.approx(3.5e-4, rel=1e-12)


@pytest.mark.parametrize("case", ["article", "permanent", "flat", "gaps"])
def test_feedback_factor_at_the_start_of_the_reference_cases(case: str) -> None:
    from sim.scenario.file import load_scenario

    prepared = prepare(load_scenario(CASES / f"{case}.toml"))
    expected = json.loads((CASES / f"{case}.json").read_text())["m0"]
    assert feedback_at_start(prepared.clearing_map, prepared.grid) == pytest.approx(expected, rel=1e-9)


def test_hermite_is_exact_for_cubics_and_straight_outside() -> None:
    nodes = np.array([-1.0, -0.3, 0.1, 0.8, 2.0])
    cubic, slope = np.polynomial.Polynomial([0.3, -1.0, 0.5, 0.7]), np.polynomial.Polynomial([-1.0, 1.0, 2.1])
    x = np.linspace(-1, 2, 61)
    found = hermite(x, nodes, cubic(nodes), slope(nodes))
    np.testing.assert_allclose(found, cubic(x), rtol=0, atol=1e-14)
    outside = hermite(np.array([-3.0, 5.0]), nodes, cubic(nodes), slope(nodes))
    expected = [cubic(-1.0) - 2 * slope(-1.0), cubic(2.0) + 3 * slope(2.0)]
    np.testing.assert_allclose(outside, expected, rtol=1e-14)


def test_slice_alone() -> None:
    """Two books on the same nodes are kept apart."""
    nodes = np.array([-0.1, 0.0, 0.1])
    slice_ = MapSlice(nodes, np.stack([nodes, 2 * nodes]), np.array([[1.0] * 3, [2.0] * 3]))
    s = np.array([-0.5, -0.05, 0.02, 0.3])
    np.testing.assert_allclose(slice_.value(s), [s, 2 * s], rtol=1e-14)
    np.testing.assert_allclose(slice_.inverse(s, 1), s / 2, rtol=1e-14)
