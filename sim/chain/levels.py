"""Levels of a dealers' book: walls, zero-gamma crossings, gamma exposure by strike, by expiry and over the index.

    call wall   the strike whose calls have the largest gamma exposure at spot, dealers long or short
    put wall    likewise of the puts
    zero gamma  every price at which the net gamma exposure changes its sign

Volatilities stay with their strikes (sticky strike), time stands still at the quotes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd

from sim.book.expiry_curves import ExpiryCurves
from sim.book.hedge import DealerBook
from sim.chain.book import ChainBook, gex_columns
from sim.errors import InputError, Problem
from sim.market.black_scholes import MINUTES_PER_YEAR, FloatArray
from sim.market.contracts import UNITS_PER_CONTRACT, GexColumns, dollar_gex
from sim.market.elementary import exp, log, sum_in_order
from sim.problems import check_type, short_repr
from sim.reaction.clearing_map import base_nodes

# Crossings are looked for, and the profile is drawn, within this share of spot to both sides.
SPOT_RANGE: Final = 0.25
# Spacing of the profile, a share of spot.
PROFILE_STEP: Final = 5e-4
# The narrowest range, within which curves of prices still have nodes.
SMALLEST_SPOT_RANGE: Final = 1e-4
CROSSING_TOLERANCE: Final = 1e-6
MOST_CROSSING_STEPS: Final = 100


@dataclass(frozen=True)
class Wall:
    """Strike with the largest gamma exposure of its side.

    Attributes
    ----------
    side : "call" or "put".
    strike : index points.
    gex_bn : dealers' gamma exposure of that side there, $bn per 1% move.
    share : of the side's gross gamma exposure.
    as_expected : whether it lies where walls are said to lie, a call wall at or above spot, a put wall at or below.
    """

    side: str
    strike: float
    gex_bn: float
    share: float
    as_expected: bool

    def __repr__(self) -> str:
        return short_repr(
            self, f"{self.side}: {self.strike:,.10g}, {self.gex_bn:+.4g} $bn per 1%, {self.share:.1%}"
        )


@dataclass(frozen=True)
class Crossing:
    """Price at which the net gamma exposure changes its sign.

    Attributes
    ----------
    price : index points.
    rising : whether dealers are short gamma below and long above.
    nearest : whether it is the nearest to spot.
    """

    price: float
    rising: bool
    nearest: bool

    def __repr__(self) -> str:
        return short_repr(self, f"{self.price:,.2f}: {crossing_note(self)}")


@dataclass(frozen=True, eq=False)
class GammaLevels:
    """Levels of a dealers' book: walls, zero-gamma crossings, and gamma exposure in tables.

    Attributes
    ----------
    spot : index points.
    net_gex_bn, gross_gex_bn : sum over all options at spot, and of the absolute values, $bn per 1% move.
    call_wall, put_wall : None where there is no such option.
    crossings : zero-gamma prices, ascending; empty where there is none within `spot_range` of spot.
    spot_range : share of spot to both sides within which they were looked for.
    by_strike : strike, call_gex_bn, put_gex_bn, net_gex_bn, gross_gex_bn, call_interest, put_interest.
    by_expiry : expiry, settlement, days, net_gex_bn, gross_gex_bn, share (of gross), options, carry.
    profile : price, net_gex_bn, call_gex_bn, put_gex_bn.
    """

    spot: float
    net_gex_bn: float
    gross_gex_bn: float
    call_wall: Wall | None
    put_wall: Wall | None
    crossings: tuple[Crossing, ...]
    spot_range: float
    by_strike: pd.DataFrame
    by_expiry: pd.DataFrame
    profile: pd.DataFrame

    def __repr__(self) -> str:
        walls = (("call wall", self.call_wall), ("put wall", self.put_wall))
        parts = [f"{name} {'none' if wall is None else f'{wall.strike:,.10g}'}" for name, wall in walls]
        turn = "none" if self.zero_gamma is None else f"{self.zero_gamma:,.2f}"
        net = f"spot {self.spot:,.2f}, net {self.net_gex_bn:+,.4g} $bn per 1%"
        return short_repr(self, ", ".join([net, *parts, f"zero gamma {turn}"]))

    @property
    def zero_gamma(self) -> float | None:
        """Price of the crossing nearest to spot, index points; None if there is no crossing."""
        return next((crossing.price for crossing in self.crossings if crossing.nearest), None)

    @property
    def table(self) -> pd.DataFrame:
        """One row per level: level, price, gex_bn, note."""
        rows: list[tuple[str, float | None, float | None, str]] = [
            ("spot", self.spot, self.net_gex_bn, "net gamma exposure"),
            ("gross", self.spot, self.gross_gex_bn, "gross gamma exposure"),
        ]
        for name, wall in (("call_wall", self.call_wall), ("put_wall", self.put_wall)):
            if wall is None:
                rows.append((name, None, None, "none"))
            else:
                rows.append((name, wall.strike, wall.gex_bn, wall_note(wall)))
        rows += [("zero_gamma", crossing.price, 0.0, crossing_note(crossing)) for crossing in self.crossings]
        if not self.crossings:
            rows.append(("zero_gamma", None, None, f"none within {self.spot_range:.0%} of spot"))
        return pd.DataFrame(rows, columns=["level", "price", "gex_bn", "note"])


def wall_note(wall: Wall) -> str:
    """Note on a wall: its share of its side's gamma, and whether it lies on the wrong side of spot."""
    expected = "" if wall.as_expected else f"on the wrong side of spot for a {wall.side} wall; "
    return f"{expected}{wall.share:.1%} of all {wall.side} gamma"


def crossing_note(crossing: Crossing) -> str:
    """Note on a crossing: the sign of gamma below and above it, and whether it is the nearest to spot."""
    sides = "short gamma below, long above" if crossing.rising else "long gamma below, short above"
    return f"{sides}{', nearest to spot' if crossing.nearest else ''}"


def find_gamma_levels(book: ChainBook, spot_range: float = SPOT_RANGE) -> GammaLevels:
    """Levels of a chain's book at the instant of its quotes.

    Parameters
    ----------
    book : book from `book_of_chain`.
    spot_range : share of spot to both sides within which crossings are looked for, from 0.0001 to below 1.

    Raises
    ------
    InputError : an argument is of another type or out of range.
    """
    check_type("book", book, ChainBook, "a ChainBook", 'Try book_of_chain(read_chain("chain.csv")).')
    check_type("spot_range", spot_range, (int, float), "a share of spot", "Try spot_range=0.25.")
    if not SMALLEST_SPOT_RANGE <= spot_range < 1:
        why = f"must lie between {SMALLEST_SPOT_RANGE:g} and 1"
        raise InputError([Problem("", "spot_range", f"{spot_range:g}", why, "Try spot_range=0.25.")])
    options, spot = book.options, book.chain.spot
    gex = options["gex_bn"].to_numpy()
    by_strike = _by_strike(options)
    profile = _profile(options, spot, spot_range)
    return GammaLevels(
        spot,
        sum_in_order(gex),
        sum_in_order(np.abs(gex)),
        _wall(by_strike, "call", spot),
        _wall(by_strike, "put", spot),
        _crossings(book, spot_range),
        spot_range,
        by_strike,
        _by_expiry(book),
        profile,
    )


def _by_strike(options: pd.DataFrame) -> pd.DataFrame:
    gex, interest = (options[name].to_numpy(dtype=np.float64) for name in ("gex_bn", "open_interest"))
    strike, place = np.unique(options["strike"].to_numpy(dtype=np.float64), return_inverse=True)
    is_call = (options["type"] == "call").to_numpy()

    def sums(values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Sums of calls and of puts at each strike, in the order of the options."""
        call, put = (np.bincount(place[own], values[own], strike.size) for own in (is_call, ~is_call))
        return call.astype(np.float64), put.astype(np.float64)

    net, gross = sums(gex), sums(np.abs(gex))
    call_interest, put_interest = sums(interest)
    return pd.DataFrame(
        {
            "strike": strike,
            "call_gex_bn": net[0],
            "put_gex_bn": net[1],
            "net_gex_bn": net[0] + net[1],
            "gross_gex_bn": gross[0] + gross[1],
            "call_interest": call_interest,
            "put_interest": put_interest,
        }
    )


def _by_expiry(book: ChainBook) -> pd.DataFrame:
    settlement = np.where(book.rows.at_open, "AM", "PM")
    parts = book.options[["expiry", "years", "gex_bn", "carry"]].assign(settlement=settlement)
    parts["gross"] = parts["gex_bn"].abs()
    sums = parts.groupby(["expiry", "settlement"], sort=False).agg(
        years=("years", "first"),
        net=("gex_bn", "sum"),
        gross=("gross", "sum"),
        options=("gex_bn", "size"),
        carry=("carry", "first"),
    )
    sums = sums.sort_values("years").reset_index()
    total = sums["gross"].sum()
    return pd.DataFrame(
        {
            "expiry": sums["expiry"].dt.strftime("%Y-%m-%d"),
            "settlement": sums["settlement"],
            "days": sums["years"] * 365.0,
            "net_gex_bn": sums["net"],
            "gross_gex_bn": sums["gross"],
            "share": sums["gross"] / total if total > 0 else 0.0,
            "options": sums["options"],
            "carry": sums["carry"],
        }
    )


def _wall(by_strike: pd.DataFrame, side: str, spot: float) -> Wall | None:
    gex = by_strike[f"{side}_gex_bn"].to_numpy()
    size = np.abs(gex)
    if not size.size or size.max() == 0:
        return None
    most = int(size.argmax())
    strike = float(by_strike["strike"].iloc[most])
    expected = strike >= spot if side == "call" else strike <= spot
    return Wall(side, strike, float(gex[most]), float(size[most]) / sum_in_order(size), expected)


def _profile(options: pd.DataFrame, spot: float, spot_range: float) -> pd.DataFrame:
    prices = spot * np.linspace(1 - spot_range, 1 + spot_range, 2 * round(spot_range / PROFILE_STEP) + 1)
    is_call = (options["type"] == "call").to_numpy()
    columns = gex_columns(options)
    sides = []
    # No plan depends on the profile: NumPy's exponential will do, and there are many to take.
    for own in (is_call, ~is_call):
        of_side = GexColumns(*(column[own] for column in columns))
        sides.append(
            np.array([sum_in_order(dollar_gex(price, of_side, exponential=np.exp)) for price in prices])
        )
    return pd.DataFrame(
        {"price": prices, "net_gex_bn": sides[0] + sides[1], "call_gex_bn": sides[0], "put_gex_bn": sides[1]}
    )


def _crossings(book: ChainBook, spot_range: float) -> tuple[Crossing, ...]:
    """Zero-gamma prices: bracketed on the curves of the expiries, found in the sum over all options."""
    spot = book.chain.spot
    columns = gex_columns(book.options)

    def net(price: float) -> float:
        return sum_in_order(dollar_gex(price, columns))

    prices, signs = _signs(book, spot_range)
    found: list[tuple[float, bool]] = []
    for i in np.flatnonzero(signs[:-1] != signs[1:]).tolist():
        # The curves are good to a hundred-thousandth: a crossing beside a node may be on its other side.
        wider = max(i - 1, 0), min(i + 2, prices.size - 1)
        for low, high in ((float(prices[j]), float(prices[k])) for j, k in ((i, i + 1), wider)):
            at_low, at_high = net(low), net(high)
            if at_low * at_high < 0:
                found.append((float(_root(net, (low, at_low), (high, at_high))), bool(signs[i] < 0)))
                break
    nearest = min((price for price, _ in found), key=lambda price: abs(price - spot), default=None)
    return tuple(Crossing(price, rising, bool(price == nearest)) for price, rising in found)


def _root(function: Callable[[float], float], low: tuple[float, float], high: tuple[float, float]) -> float:
    """Zero of a continuous function between two places (x, value) of unlike signs, by the Illinois method.

    Source: Dowell & Jarratt (1971).
    """
    (a, at_a), (b, at_b) = low, high
    for _ in range(MOST_CROSSING_STEPS):
        place = b - at_b * ((b - a) / (at_b - at_a))
        at_place = function(place)
        if at_place == 0.0 or abs(place - b) < CROSSING_TOLERANCE:
            return place
        if (at_place < 0) != (at_b < 0):
            a, at_a = b, at_b
        else:
            at_a *= 0.5
        b, at_b = place, at_place
    return b


def _signs(book: ChainBook, spot_range: float) -> tuple[FloatArray, FloatArray]:
    """Prices (n,), in index points, and the sign of the net gamma at each, (n,): −1, 0 or 1.

    Neighbouring prices are so close together that no option's gamma fits between them.
    """
    rows, options = book.rows, book.options
    settles = np.rint(book.quoted_minute + options["years"].to_numpy() * MINUTES_PER_YEAR)
    together = replace(rows, groups=("all",), group=np.zeros(len(rows), dtype=np.int32))
    dealers = DealerBook.of(together, UNITS_PER_CONTRACT * rows.contracts, settles)
    spot, log_range = book.chain.spot, -log(1.0 - spot_range)
    live = dealers.live_at(book.quoted_minute, after_settlement=True, spot=spot)
    curves = ExpiryCurves(dealers, spot, log_range).at(book.quoted_minute, after_settlement=True)
    s = base_nodes(live, curves, log_range)
    hedge, slope = replace(live, expiry_groups=()).hedge_by_group(s, 1)
    for curve in curves:
        curve.add(s, hedge, slope)
    # Where it is exactly zero there are no options near: no crossing, unless the sign differs on the other side.
    kept = (slope[0] != 0) & (s <= log(1.0 + spot_range))
    return spot * exp(s[kept]), np.sign(slope[0, kept])
