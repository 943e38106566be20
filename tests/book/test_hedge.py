"""The dealers' book: sizes, signs, settlement to the minute, and regimes' weights."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from support.options import delta, slope_of_delta
from support.sample_scenario import sample

from sim.book.hedge import DealerBook
from sim.market import black_scholes
from sim.plan.dealers import build_dealer_book, group_weights
from sim.plan.time_grid import TimeGrid, build_time_grid
from sim.scenario.model import Scenario

NEW_YORK = ZoneInfo("America/New_York")
SPOT = np.linspace(6000.0, 8000.0, 401)
# Price at log price zero.
LOG_ZERO = 6941.81


def minute(year: int, month: int, day: int, hour: int, minutes: int = 0) -> int:
    """Minutes since 1970-01-01T00:00 UTC of a New York wall-clock time."""
    return int(dt.datetime(year, month, day, hour, minutes, tzinfo=NEW_YORK).timestamp()) // 60


def position(**keys: Any) -> dict[str, Any]:
    stated = {"group": "wall", "type": "call", "strike": 7000, "settlement": "AM", "iv": 0.115, **keys}
    stated.setdefault("expiry", dt.date(2026, 2, 20))
    if "contracts" not in stated:
        stated.setdefault("gex_bn", 9.0)
    return stated


def scenario_of(*positions: dict[str, Any], **edits: Any) -> Scenario:
    return Scenario.model_validate(sample({"dealers.position": list(positions), "regime": [], **edits}))


def built(*positions: dict[str, Any], **edits: Any) -> tuple[DealerBook, TimeGrid]:
    scenario = scenario_of(*positions, **edits)
    grid = build_time_grid(scenario)
    return build_dealer_book(scenario, grid), grid


def hedge_by_group(book: DealerBook, price: Any, minute: float, after_settlement: bool) -> tuple[Any, Any]:
    """D and G = ∂D/∂S of every group at prices in any order, from the book over the log price."""
    s = np.log(price / LOG_ZERO)
    order = np.argsort(s)
    back = np.argsort(order)
    found = book.live_at(minute, after_settlement, LOG_ZERO).hedge_by_group(s[order], len(book.groups))
    hedge, slope = (values[:, back] for values in found)
    return hedge, slope / price


@pytest.mark.parametrize(
    "stated",
    [
        position(),
        position(type="put", gex_bn=-7.0, strike=6900, iv=0.135),
        position(gex_bn=6.0, expiry=dt.date(2026, 3, 20), carry=0.04),
        position(gex_bn=0.5, expiry=dt.date(2026, 2, 11), settlement="PM", iv=0.3),
    ],
)
def test_gex_with_the_index_at_the_strike_at_the_start(stated: dict[str, Any]) -> None:
    """GEX = G·S²·0.01 / 1e9, by the slope that the book gives and by its hedge a hundredth of a point apart."""
    book, grid = built(stated)
    strike = float(stated["strike"])
    near = strike + np.array([-0.01, 0.0, 0.01])
    hedge, slope = hedge_by_group(book, near, grid.start_minute, True)
    per_percent = strike**2 * 0.01 / 1e9
    assert slope[0, 1] * per_percent == pytest.approx(stated["gex_bn"], rel=1e-12)
    assert (hedge[0, 2] - hedge[0, 0]) / 0.02 * per_percent == pytest.approx(stated["gex_bn"], rel=1e-6)


def test_contracts_are_a_hundred_index_units() -> None:
    book, grid = built(position(contracts=15_000.0), position(contracts=-200.0, type="put", group="puts"))
    assert book.units.tolist() == [1_500_000.0, -20_000.0]
    hedge, _ = hedge_by_group(book, np.array([20_000.0, 1_000.0]), grid.start_minute, True)
    np.testing.assert_allclose(hedge, [[1_500_000.0, 0.0], [0.0, 20_000.0]], atol=1e-6)


@pytest.mark.parametrize(
    ("expiry", "settlement", "instant"),
    [
        (dt.date(2026, 2, 20), "AM", minute(2026, 2, 20, 9, 30)),
        (dt.date(2026, 2, 20), "PM", minute(2026, 2, 20, 16)),
        (dt.date(2026, 3, 20), "AM", minute(2026, 3, 20, 9, 30)),
        (dt.date(2026, 11, 27), "PM", minute(2026, 11, 27, 13)),
    ],
    ids=["open", "close", "open in summer time", "early close after Thanksgiving"],
)
def test_settlement_instants(expiry: dt.date, settlement: str, instant: int) -> None:
    book, _ = built(position(expiry=expiry, settlement=settlement))
    assert book.settlement.tolist() == [instant]


def test_in_the_book_up_to_its_instant_and_not_after() -> None:
    """Minutes near 3e7 have an ulp of 4e-9: nothing may be decided by a small offset."""
    opens, closes = minute(2026, 2, 20, 9, 30), minute(2026, 2, 20, 16)
    book, _ = built(position(), position(strike=7020, settlement="PM"), position(expiry=dt.date(2026, 3, 20)))
    early, late, other = book.units.tolist()

    def live(minute: float, after_settlement: bool) -> list[float]:
        return book.live_at(minute, after_settlement, LOG_ZERO).units.tolist()

    for before_open in (float(np.nextafter(opens, 0)), opens - 1.0):
        for after in (False, True):
            assert live(before_open, after) == [early, late, other]
    for at_open in (opens, float(opens)):
        assert live(at_open, False) == [early, late, other]
        assert live(at_open, True) == [late, other]
    for between in (float(np.nextafter(opens, np.inf)), float(np.nextafter(closes, 0))):
        for after in (False, True):
            assert live(between, after) == [late, other]
    assert live(closes, False) == [late, other]
    assert live(closes, True) == [other]
    assert live(closes + 1.0, False) == [other]


def test_hedge_falls_by_the_settling_positions_delta() -> None:
    opens = float(minute(2026, 2, 20, 9, 30))
    book, _ = built(position(), position(strike=7020, settlement="PM", gex_bn=-2.0))
    early, late = book.units.tolist()
    before, slope_before = hedge_by_group(book, SPOT, opens, False)
    after, slope_after = hedge_by_group(book, SPOT, opens, True)
    half_hour = 30 / 525_600
    first = (SPOT, 7000.0, half_hour, 0.115, 0.0)
    np.testing.assert_allclose(before - after, [early * delta(*first, True)], rtol=1e-12, atol=1e-6)
    slopes = [early * black_scholes.gamma(*first)]
    np.testing.assert_allclose(slope_before - slope_after, slopes, rtol=1e-9, atol=1e-9)
    second = [late * delta(SPOT, 7020.0, 390 / 525_600, 0.115, 0.0, True)]
    np.testing.assert_allclose(after, second, rtol=1e-12, atol=1e-6)


def test_last_half_hour_stands_still() -> None:
    closes = minute(2026, 2, 20, 16)
    book, _ = built(position(settlement="PM"))
    at_close = hedge_by_group(book, SPOT, closes, False)
    np.testing.assert_array_equal(hedge_by_group(book, SPOT, closes - 30, False), at_close)
    assert np.any(hedge_by_group(book, SPOT, closes - 31, False)[0] != at_close[0])


@pytest.mark.parametrize(("kind", "low", "high"), [("call", 0.0, 1.0), ("put", -1.0, 0.0)])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_signs_are_the_dealers(kind: str, low: float, high: float, sign: float) -> None:
    """Dealers long a call or a put are long gamma; the hedge is the option's delta, from 0 to 1 or from −1 to 0."""
    book, grid = built(position(type=kind, contracts=sign * 1000))
    hedge, slope = hedge_by_group(book, SPOT, grid.start_minute, True)
    assert np.all(sign * slope > 0)
    assert np.all(np.diff(sign * hedge[0]) >= 0)
    units = sign * hedge[0] / 1e5
    assert low <= units.min() < units.max() <= high


def test_groups_are_summed_apart() -> None:
    stated = [
        position(group="wall"),
        position(group="puts", type="put", strike=6800, gex_bn=-6.0),
        position(group="wall", strike=7020, gex_bn=2.0),
    ]
    book, grid = built(*stated)
    assert book.groups == ("wall", "puts")
    assert book.rows.group.tolist() == [0, 1, 0]
    hedge, slope = hedge_by_group(book, SPOT, grid.start_minute, True)
    alone = [hedge_by_group(built(p)[0], SPOT, grid.start_minute, True) for p in stated]
    for total, parts in ((hedge, [h for h, _ in alone]), (slope, [g for _, g in alone])):
        assert total.shape == (2, SPOT.size)
        np.testing.assert_allclose(total, [parts[0][0] + parts[2][0], parts[1][0]], rtol=1e-14)


def test_slope_is_the_derivative_of_the_hedge() -> None:
    book, grid = built(position(), position(group="puts", type="put", strike=6800, gex_bn=-6.0, carry=0.02))
    hedge, slope = hedge_by_group(book, SPOT, grid.step_end_minute[20], True)
    assert hedge.shape == slope.shape == (2, SPOT.size)
    rows = book.rows
    for i, found in enumerate(slope):
        years = (book.settlement[i] - grid.step_end_minute[20]) / 525_600
        expected = book.units[i] * slope_of_delta(SPOT, rows.strike[i], years, rows.iv[i], rows.carry[i])
        # Beyond 8.5 standard deviations it is zero.
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-14 * np.abs(expected).max())


def test_no_positions() -> None:
    book, grid = built()
    assert len(book) == 0
    assert book.groups == ()
    hedge, slope = hedge_by_group(book, SPOT, grid.start_minute, True)
    assert hedge.shape == slope.shape == (0, SPOT.size)
    assert book == built()[0]
    assert hash(book) == hash(built()[0])


def test_books_are_equal_if_their_positions_are() -> None:
    book, _ = built(position(), position(group="puts", type="put", strike=6800, gex_bn=-6.0))
    same, _ = built(position(), position(group="puts", type="put", strike=6800, gex_bn=-6.0))
    assert book == same
    assert hash(book) == hash(same)
    for other in (
        built(position(), position(group="puts", type="put", strike=6800, gex_bn=-6.1)),
        built(position(), position(group="puts", type="put", strike=6801, gex_bn=-6.0)),
        built(position(settlement="PM"), position(group="puts", type="put", strike=6800, gex_bn=-6.0)),
        built(position(group="puts", type="put", strike=6800, gex_bn=-6.0), position()),
    ):
        assert book != other[0]


def regime(name: str, **weights: float) -> dict[str, Any]:
    return {"name": name, "when": "closes_above", "level": 7020, "weights": weights}


def weights_of(*regimes: dict[str, Any]) -> tuple[list[list[float]], list[int]]:
    positions = [position(group="wall"), position(group="puts", strike=6800)]
    scenario = scenario_of(*positions, regime=list(regimes))
    rows, book_of_regime = group_weights(scenario, ("wall", "puts"))
    assert book_of_regime.dtype == np.int32
    return rows.tolist(), book_of_regime.tolist()


def test_weights_without_regimes() -> None:
    assert weights_of() == ([[1.0, 1.0]], [0])


def test_equal_weights_share_a_row() -> None:
    """A group that a regime does not name keeps weight 1; a regime that changes nothing keeps the first row."""
    rows, book_of_regime = weights_of(
        regime("a", wall=0.25),
        regime("b", puts=1.4),
        regime("c", wall=0.25, puts=1.0),
        regime("d", wall=1.0),
        regime("e", puts=2.0, wall=0.0),
        regime("f"),
        regime("g", puts=1.4),
    )
    assert rows == [[1.0, 1.0], [0.25, 1.0], [1.0, 1.4], [0.0, 2.0]]
    assert book_of_regime == [0, 1, 2, 1, 0, 3, 0, 2]


def test_weights_without_positions() -> None:
    scenario = scenario_of(regime=[regime("a")])
    rows, book_of_regime = group_weights(scenario, ())
    assert rows.shape == (1, 0)
    assert book_of_regime.tolist() == [0, 0]
