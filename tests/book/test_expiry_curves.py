from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest

from sim.book.expiry_curves import COARSE_SPACING, KNOTS, NODES_PER_WIDTH, ExpiryCurves
from sim.book.hedge import SMALLEST_EXPIRY_GROUP, DealerBook
from sim.book.rows import BookRows
from sim.market.black_scholes import years_to_settlement
from sim.market.calendar import settlement_minute, trading_calendar
from sim.reaction.clearing_map import ClearingMap

SPOT = 6941.81
HALF_WIDTH = 0.5
CALENDAR = trading_calendar()
S = np.linspace(-HALF_WIDTH, HALF_WIDTH, 20_001)
# Sum of what both cubics may err by, of a position's delta; see the module.
ERROR = 6e-7


def book(expiries: dict[dt.date, int], settlement: str = "PM") -> DealerBook:
    """Calls and puts in turn over a volatility smile, dealers long and short, at each expiry so many."""
    columns = []
    for expiry, count in expiries.items():
        settles = settlement_minute(CALENDAR, expiry, settlement)
        for k in range(count):
            strike = 5200 + 3300 * k / count
            iv = 0.08 + 0.6 * max(0.0, 1 - strike / SPOT) + 0.1 * max(0.0, strike / SPOT - 1.05)
            contracts = 10.0 * (1 + k % 7) * (-1) ** (k // 3)
            columns.append(
                (k % 2, k % 2 == 0, strike, expiry, settlement == "AM", iv, contracts, 0.03, settles)
            )
    return book_of(("calls", "puts"), columns)


def book_of(groups: tuple[str, ...], columns: list[Any]) -> DealerBook:
    """Book of rows (group, is call, strike, expiry, at open, iv, contracts, carry, minute of settlement)."""
    kinds = ("i4", "?", "f8", "M8[D]", "?", "f8", "f8", "f8", "f8")
    *rows, settles = (
        np.array(c, dtype=kind) for c, kind in zip(zip(*columns, strict=True), kinds, strict=True)
    )
    return DealerBook.of(BookRows("", groups, *rows), 100.0 * rows[-2], settles)


DATES = [dt.date(2026, 2, 20), dt.date(2026, 3, 20), dt.date(2026, 12, 18), dt.date(2030, 12, 20)]
BOOK = book(dict.fromkeys(DATES, 120))
# From a day before the first settlement to its last minute, and long before.
LEFT = [0.0, 10.0, 30.0, 31.0, 390.0, 1439.0, *KNOTS[:2], 1500.0, 4321.0, *KNOTS[9:12], 12_345.0]


def on_curves(book: DealerBook, minute: float, after: bool = False) -> tuple[Any, Any]:
    hedge, slope = (np.zeros((len(book.groups), S.size)) for _ in range(2))
    for curve in ExpiryCurves(book, SPOT, HALF_WIDTH).at(minute, after):
        curve.add(S, hedge, slope)
    return hedge, slope


@pytest.mark.parametrize("left", LEFT)
def test_curves_are_the_sum_of_the_positions(left: float) -> None:
    minute = BOOK.settlement.min() - left
    hedge, slope = on_curves(BOOK, minute)
    direct, direct_slope = BOOK.live_at(minute, False, SPOT).hedge_by_group(S, 2)
    units = np.abs(BOOK.units).sum()
    assert np.abs(hedge - direct).max() < ERROR * units
    # A slope is one over a width as large, and its cubic errs by one order of the width more.
    narrowest = 0.08 * np.sqrt(float(years_to_settlement(left)))
    assert np.abs(slope - direct_slope).max() < 20 * ERROR * units / narrowest
    assert np.abs(hedge).max() > 1000 * ERROR * units  # or nothing would have been tested


def test_a_curve_is_continuous_where_knots_meet() -> None:
    settles = BOOK.settlement.min()
    for knot in (KNOTS[0], KNOTS[5]):
        before, after = (on_curves(BOOK, settles - knot - side)[0] for side in (1e-6, -1e-6))
        units = np.abs(BOOK.units).sum()
        assert np.abs(after - before).max() < 2 * ERROR * units


def test_the_order_in_which_instants_are_asked_for_does_not_matter() -> None:
    minutes = [BOOK.settlement.min() - left for left in LEFT]
    ascending, at_random = ExpiryCurves(BOOK, SPOT, HALF_WIDTH), ExpiryCurves(BOOK, SPOT, HALF_WIDTH)
    expected = {minute: ascending.at(minute, False) for minute in sorted(minutes)}
    for minute in np.random.default_rng(1).permutation(minutes):
        for own, other in zip(at_random.at(minute, False), expected[minute], strict=True):
            np.testing.assert_array_equal(own.hedge, other.hedge)
            np.testing.assert_array_equal(own.slope, other.slope)


def test_an_expiry_leaves_at_its_instant() -> None:
    settles = BOOK.settlement.min()
    curves = ExpiryCurves(BOOK, SPOT, HALF_WIDTH)
    assert len(curves.at(settles, False)) == len(DATES)
    assert len(curves.at(settles, True)) == len(DATES) - 1
    assert len(curves.at(settles + 1, False)) == len(DATES) - 1


def test_nodes_are_close_where_gammas_are_narrow_and_few_elsewhere() -> None:
    lines = book({DATES[0]: 60})
    settles = lines.settlement.min()
    (near,) = ExpiryCurves(lines, SPOT, HALF_WIDTH).at(settles - 60, False)
    widths = lines.live_at(settles - 60, False, SPOT).expiry_groups[0].width
    around = np.abs(near.nodes) < 0.01
    assert np.diff(near.nodes[around]).max() <= 1.001 * widths.min() * 2 / NODES_PER_WIDTH
    assert near.nodes[0] <= -HALF_WIDTH
    assert near.nodes[-1] >= HALF_WIDTH
    (far,) = ExpiryCurves(lines, SPOT, HALF_WIDTH).at(settles - 3e6, False)
    assert far.nodes.size < near.nodes.size / 4
    ratio = far.cell / COARSE_SPACING
    assert ratio == 2 ** round(np.log2(ratio)) > 1


def test_few_positions_are_no_expiry_group_and_stay_exact() -> None:
    few, many = book({DATES[0]: SMALLEST_EXPIRY_GROUP - 1}), book({DATES[0]: SMALLEST_EXPIRY_GROUP})
    assert not few.live_at(0, False, SPOT).expiry_groups
    assert [len(expiry_group.units) for expiry_group in many.live_at(0, False, SPOT).expiry_groups] == [
        SMALLEST_EXPIRY_GROUP
    ]
    assert not ExpiryCurves(few, SPOT, HALF_WIDTH).at(0, False)


def test_expiry_groups_stand_behind_the_others_in_order_of_settlement() -> None:
    mixed = book({DATES[2]: 20, DATES[1]: 5, DATES[0]: 30})
    np.testing.assert_array_equal(mixed.expiry_start, [5, 35, 55])
    assert (np.diff(mixed.settlement[5:]) >= 0).all()
    assert mixed.stated.tolist() == [*range(20, 25), *range(25, 55), *range(20)]


def test_the_map_of_a_chain_is_the_map_of_its_positions() -> None:
    units = np.abs(BOOK.units).sum()
    chain = ClearingMap(SPOT, 2.0 / units, BOOK, np.ones((1, 2)), 0.0, HALF_WIDTH)
    for left in (45.0, 5000.0):
        minute = BOOK.settlement.min() - left
        values, slopes = chain.unfloored(S, minute, False)
        at = chain.at(minute, False)
        assert SPOT * np.abs(at.value(S) - values).max() < 0.005
        assert not at.floor_events or slopes.min() < 0.05


def test_hedging_of_both_ends() -> None:
    """Far below, all puts are exercised and no call; far above, the other way round."""
    near = book({DATES[0]: 120})
    hedge, slope = on_curves(near, near.settlement.min() - 60)
    puts = near.units[~near.rows.is_call].sum()
    calls = near.units[near.rows.is_call].sum()
    np.testing.assert_allclose(hedge[:, 0], [0, -puts], atol=1e-6)
    np.testing.assert_allclose(hedge[:, -1], [calls, 0], atol=1e-6)
    np.testing.assert_array_equal(slope[:, [0, -1]], 0)


@pytest.mark.parametrize("left", [60.0, 1439.0, 1600.0, 40_000.0])
def test_the_error_of_one_gamma_is_what_the_module_says(left: float) -> None:
    """Equal positions add up their errors; different ones, as above, mostly cancel theirs."""
    settles = settlement_minute(CALENDAR, DATES[0], "PM")
    same = (0, True, 6950.0, DATES[0], False, 0.12, 1.0, 0.03, settles)
    one = book_of(("calls",), [same] * SMALLEST_EXPIRY_GROUP)
    hedge, slope = on_curves(one, settles - left)
    direct, direct_slope = one.live_at(settles - left, False, SPOT).hedge_by_group(S, 1)
    units = 100.0 * SMALLEST_EXPIRY_GROUP
    assert np.abs(hedge - direct).max() < ERROR * units
    assert np.abs(slope - direct_slope).max() < 1e-4 * np.abs(direct_slope).max()
