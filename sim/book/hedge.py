"""Dealers' hedge D(S,t) of their option positions and its slope G(S,t), group by group.

Sign convention: positive contracts = dealers long the option. Dealers hold −D index units against the book.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sim.book.rows import BookRows
from sim.market import black_scholes
from sim.market.black_scholes import FloatArray
from sim.market.elementary import log
from sim.market.normal_law import LAW_HALF_WIDTH, law_and_density

# Bounds the memory that a long book takes.
POSITIONS_AT_ONCE = 64
# Widths beyond the half-width of the normal law's table at which it is looked up all the same.
SPARE = 0.1
# Positions that settle together, from so many on, are an expiry group: see `sim.book.expiry_curves`.
SMALLEST_EXPIRY_GROUP = 16


@dataclass(frozen=True)
class LiveBook:
    """Positions in the book at an instant, in the order of the book; arrays are (n,), one number per position.

    Attributes
    ----------
    group : index into `DealerBook.groups`.
    put : one for a put, zero for a call.
    units : index units, signed from the dealers' side.
    centre, width : of a position's gamma over the log price: ln(K/spot) − b·τ − v²/2 and v = iv·√τ.
    expiry_groups : further positions, one `LiveBook` per expiry with many of them, by settlement.
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


def centre_and_width(
    log_strike: FloatArray, iv: FloatArray, carry: FloatArray, years: FloatArray | float
) -> tuple[FloatArray, FloatArray]:
    """Centre c = ln(K/S0) − b·τ − v²/2 and width v = iv·√τ of positions' gammas over the log price, (n,) log units.

    Parameters
    ----------
    log_strike : (n,) ln(K/S0).
    iv, carry : (n,) 1/sqrt(year) and 1/year.
    years : τ, years to settlement, (n,) or one number for all.
    """
    width = iv * np.sqrt(years)
    return log_strike - carry * years - 0.5 * (width * width), width


def near_positions(
    s: FloatArray, centre: FloatArray, scale: FloatArray, low: NDArray[np.intp], count: NDArray[np.intp]
) -> tuple[NDArray[np.intp], FloatArray, FloatArray, FloatArray]:
    """Log prices near positions, one position after the other: their indices in s, and N(z), n(z) and z there.

    Parameters
    ----------
    s : (n,) log price, ascending.
    centre, scale : (positions,) centre of the gamma and one over its width: z = (s − centre)·scale.
    low, count : (positions,) index in s of the first log price near the position, and how many there are.
    """
    last = np.cumsum(count)
    index = np.arange(last[-1]) + np.repeat(low - last + count, count)
    z = (s[index] - np.repeat(centre, count)) * np.repeat(scale, count)
    return index, *law_and_density(z), z


@dataclass(frozen=True, eq=False)
class DealerBook:
    """Positions with their sizes and the instants at which they leave, as they are hedged.

    First come those that settle with few others, in the order stated, then the expiry groups by settlement. Two books
    are equal if all of that is.

    Attributes
    ----------
    rows : strike, iv, carry, kind and group of each position; sizes are in `units`.
    units : (n,) index units, signed from the dealers' side.
    settlement : (n,) minutes since 1970-01-01 UTC, whole numbers as float64.
    stated : (n,) number of each position in the order stated.
    expiry_start : (expiry groups + 1,) int64, where each expiry group begins and the last one ends.
    """

    rows: BookRows
    units: FloatArray
    settlement: FloatArray
    stated: NDArray[np.intp]
    expiry_start: NDArray[np.int64]

    @classmethod
    def of(cls, rows: BookRows, units: FloatArray, settlement: FloatArray) -> DealerBook:
        """Book of positions in any order; see the attributes for shapes and units."""
        instants, which, together = np.unique(settlement, return_inverse=True, return_counts=True)
        is_large = together >= SMALLEST_EXPIRY_GROUP
        expiry_group = np.where(is_large, np.arange(instants.size), -1)[which]
        order = np.argsort(expiry_group, kind="stable")
        first = np.searchsorted(expiry_group[order], np.flatnonzero(is_large))
        start = np.append(first, len(rows)).astype(np.int64)
        return cls(rows.taken(order), units[order], settlement[order].astype(np.float64), order, start)

    def __len__(self) -> int:
        return len(self.rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DealerBook) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    @cached_property
    def _digest(self) -> tuple[str, bytes, bytes]:
        return self.rows.digest, self.units.tobytes(), self.settlement.tobytes()

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups."""
        return self.rows.groups

    @cached_property
    def put(self) -> FloatArray:
        """One for each put, zero for each call, (n,)."""
        return np.where(self.rows.is_call, 0.0, 1.0)

    def log_strike(self, spot: float) -> FloatArray:
        """ln(K/spot) of all positions, (n,)."""
        return log(self.rows.strike / spot)

    def live_at(self, minute: float, after_settlement: bool, spot: float) -> LiveBook:
        """Positions in the book at an instant, with or without those that settle right then.

        Parameters
        ----------
        minute : instant, minutes since 1970-01-01 UTC.
        after_settlement : whether positions settling at this very instant have left.
        spot : index points at log price zero.
        """
        rows = self.rows
        live = self.settlement > minute if after_settlement else self.settlement >= minute
        years = black_scholes.years_to_settlement(self.settlement - minute)
        centre, width = centre_and_width(self.log_strike(spot), rows.iv, rows.carry, years)
        start = self.expiry_start.tolist()
        single = np.flatnonzero(live[: start[0]])
        expiry_groups = [np.arange(*ends) for ends in itertools.pairwise(start) if live[ends[0]]]
        parts = [
            LiveBook(rows.group[i], self.put[i], self.units[i], centre[i], width[i])
            for i in (single, *expiry_groups)
        ]
        return replace(parts[0], expiry_groups=tuple(parts[1:]))
