"""The dealers' option book: signed positions, their hedge D(S,t) and its slope G(S,t), group by group.

Sign convention: positive contracts = dealers long the option. Dealers hold −D index units against the book.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sim.market import black_scholes
from sim.market.black_scholes import FloatArray
from sim.market.elementary import log
from sim.market.normal_law import LAW_HALF_WIDTH, law_and_density

# Bounds the memory that a long book takes.
POSITIONS_AT_ONCE = 64
# Widths beyond the reach of the normal law at which it is looked up all the same.
SPARE = 0.1
# Positions that settle together, from so many on, are an expiry's expiry_group: see `sim.book.expiry_curves`.
SMALLEST_EXPIRY_GROUP = 16


@dataclass(frozen=True)
class BookPosition:
    """One line of the book.

    Attributes
    ----------
    group : index into `DealerBook.groups`.
    is_call : True for a call.
    strike : index points.
    iv : volatility per square root of a calendar year, fixed to the strike.
    carry : annual carry inside d1.
    index_units : 100 × contracts, signed from the dealers' side.
    settlement_minute : minutes since 1970-01-01 UTC at which the position leaves the book.
    """

    group: int
    is_call: bool
    strike: float
    iv: float
    carry: float
    index_units: float
    settlement_minute: int


@dataclass(frozen=True)
class LiveBook:
    """The positions in the book at an instant, in the order of the book, each array with one number a position.

    Attributes
    ----------
    group : index into `DealerBook.groups`.
    put : one for a put, zero for a call.
    units : index units, signed from the dealers' side.
    centre, width : of a position's gamma over the log price: ln(K/spot) − b·τ − v²/2 and v = iv·√τ.
    expiry_groups : further positions, those of each expiry with many of them, by settlement.
    """

    group: NDArray[np.int32]
    put: FloatArray
    units: FloatArray
    centre: FloatArray
    width: FloatArray
    expiry_groups: tuple[LiveBook, ...] = ()

    def hedge_by_group(self, s: FloatArray, groups: int) -> tuple[FloatArray, FloatArray]:
        """Hedge D_g = Σ n_i·Δ_i of every group and its slope ∂D_g/∂s, added in order, expiry groups last.

        Parameters
        ----------
        s : (n,) log price ln(S/spot), ascending.
        groups : how many groups there are.

        Returns
        -------
        D, ∂D/∂s : (groups, n) index units.
        """
        hedge, slope = (np.zeros((groups, s.size)) for _ in range(2))
        for some in (self, *self.expiry_groups):
            for first in range(0, some.units.size, POSITIONS_AT_ONCE):
                some._add(s, slice(first, first + POSITIONS_AT_ONCE), hedge, slope)
        return hedge, slope

    def _add(self, s: FloatArray, some: slice, hedge: FloatArray, slope: FloatArray) -> None:
        centre, width, units, put = self.centre[some], self.width[some], self.units[some], self.put[some]
        # All of them at once, each only where it bends: below lies delta's one end, above its other.
        far = (LAW_HALF_WIDTH + SPARE) * width
        low, high = np.searchsorted(s, centre - far), np.searchsorted(s, centre + far, side="right")
        count = high - low
        last = np.cumsum(count)
        scale = 1.0 / width
        _, law, density, _ = near_positions(s, centre, scale, low, count)
        delta = np.repeat(units, count) * (law - np.repeat(put, count))
        gamma = np.repeat(units * scale, count) * density
        for i, group in enumerate(self.group[some]):
            near, there = slice(last[i] - count[i], last[i]), slice(low[i], high[i])
            hedge[group, : low[i]] += units[i] * (0.0 - put[i])
            hedge[group, there] += delta[near]
            hedge[group, high[i] :] += units[i] * (1.0 - put[i])
            slope[group, there] += gamma[near]


def near_positions(
    s: FloatArray, centre: FloatArray, scale: FloatArray, low: NDArray[np.intp], count: NDArray[np.intp]
) -> tuple[NDArray[np.intp], FloatArray, FloatArray, FloatArray]:
    """Places near positions, one position after the other, and N(z), n(z) and z = (s − centre)·scale there.

    Parameters
    ----------
    s : (n,) log price.
    centre, scale : of each position.
    low, count : of each position, the first place and how many follow each other.
    """
    last = np.cumsum(count)
    place = np.arange(last[-1]) + np.repeat(low - last + count, count)
    z = (s[place] - np.repeat(centre, count)) * np.repeat(scale, count)
    return place, *law_and_density(z), z


@dataclass(frozen=True)
class DealerBook:
    """All positions and the names of their groups."""

    groups: tuple[str, ...]
    positions: tuple[BookPosition, ...]

    def live(self, minute: float, after_settlement: bool) -> list[BookPosition]:
        """Return the positions in the book at an instant, with or without those that settle right then."""
        if after_settlement:
            return [p for p in self.positions if p.settlement_minute > minute]
        return [p for p in self.positions if p.settlement_minute >= minute]

    def settles_at(self, minute: float) -> bool:
        """Return whether any position leaves the book at this instant."""
        return any(p.settlement_minute == minute for p in self.positions)

    @cached_property
    def columns(self) -> BookColumns:
        """The positions' attributes as arrays: first those that settle with few others, then the expiry_groups."""
        settlement = np.array([p.settlement_minute for p in self.positions], dtype=np.float64)
        instants, which, together = np.unique(settlement, return_inverse=True, return_counts=True)
        expiry_group = np.where(together >= SMALLEST_EXPIRY_GROUP, np.arange(instants.size), -1)[which]
        order = np.argsort(expiry_group, kind="stable")
        rows = [self.positions[i] for i in order]
        first = np.searchsorted(expiry_group[order], np.flatnonzero(together >= SMALLEST_EXPIRY_GROUP))
        return BookColumns(
            np.array([p.group for p in rows], dtype=np.int32),
            np.array([0.0 if p.is_call else 1.0 for p in rows]),
            np.array([p.index_units for p in rows]),
            np.array([p.strike for p in rows], dtype=np.float64),
            np.array([p.iv for p in rows], dtype=np.float64),
            np.array([p.carry for p in rows], dtype=np.float64),
            settlement[order],
            np.append(first, len(rows)).astype(np.int64),
        )

    def live_at(self, minute: float, after_settlement: bool, spot: float) -> LiveBook:
        """Return what is in the book at an instant, with or without what settles right then.

        Parameters
        ----------
        minute : instant, minutes since 1970-01-01 UTC.
        after_settlement : whether positions settling at this very instant have left.
        spot : index points at log price zero.
        """
        c = self.columns
        live = c.settlement > minute if after_settlement else c.settlement >= minute
        years = black_scholes.years_to_settlement(c.settlement - minute)
        width = c.iv * np.sqrt(years)
        centre = c.log_strike(spot) - c.carry * years - 0.5 * (width * width)
        start = c.expiry_start.tolist()
        lone = np.flatnonzero(live[: start[0]])
        expiry_groups = [np.arange(*ends) for ends in itertools.pairwise(start) if live[ends[0]]]
        parts = [
            LiveBook(c.group[i], c.put[i], c.units[i], centre[i], width[i]) for i in (lone, *expiry_groups)
        ]
        return replace(parts[0], expiry_groups=tuple(parts[1:]))


@dataclass(frozen=True)
class BookColumns:
    """Attributes of all positions, one number a position; see `BookPosition` and `LiveBook`.

    expiry_start : (expiry_groups + 1,) int64, where each expiry_group begins and the last one ends.
    """

    group: NDArray[np.int32]
    put: FloatArray
    units: FloatArray
    strike: FloatArray
    iv: FloatArray
    carry: FloatArray
    settlement: FloatArray
    expiry_start: NDArray[np.int64]

    def log_strike(self, spot: float) -> FloatArray:
        """ln(K/spot) of all positions."""
        return log(self.strike / spot)
