"""The dealers' option book: signed positions, their hedge D(S,t) and its slope G(S,t), group by group.

Sign convention: positive contracts = dealers long the option. Dealers hold −D index units against the book.
"""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sim import black_scholes
from sim.black_scholes import FloatArray
from sim.market.elementary import log
from sim.normal_law import LAW_REACH, law_and_density
from sim.scenario import Scenario
from sim.timegrid import TimeGrid, settlement_minute, trading_calendar

UNITS_PER_CONTRACT = 100.0
# Bounds the memory that a long book takes.
POSITIONS_AT_ONCE = 64
# Widths beyond the reach of the normal law at which it is looked up all the same.
SPARE = 0.1
# Positions that settle together, from so many on, are an expiry's smile: see `sim.expiry_curves`.
FEWEST_OF_SMILE = 16


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
    smiles : further positions, those of each expiry with many of them, by settlement.
    """

    group: NDArray[np.int32]
    put: FloatArray
    units: FloatArray
    centre: FloatArray
    width: FloatArray
    smiles: tuple[LiveBook, ...] = ()

    def hedge_by_group(self, s: FloatArray, groups: int) -> tuple[FloatArray, FloatArray]:
        """Hedge D_g = Σ n_i·Δ_i of every group and its slope ∂D_g/∂s, positions added in their order, smiles last.

        Parameters
        ----------
        s : (n,) log price ln(S/spot), ascending.
        groups : how many groups there are.

        Returns
        -------
        D, ∂D/∂s : (groups, n) index units.
        """
        hedge, slope = (np.zeros((groups, s.size)) for _ in range(2))
        for some in (self, *self.smiles):
            for first in range(0, some.units.size, POSITIONS_AT_ONCE):
                some._add(s, slice(first, first + POSITIONS_AT_ONCE), hedge, slope)
        return hedge, slope

    def _add(self, s: FloatArray, some: slice, hedge: FloatArray, slope: FloatArray) -> None:
        centre, width, units, put = self.centre[some], self.width[some], self.units[some], self.put[some]
        # All of them at once, each only where it bends: below lies delta's one end, above its other.
        far = (LAW_REACH + SPARE) * width
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
        """The positions' attributes as arrays: first those that settle with few others, then the smiles."""
        settlement = np.array([p.settlement_minute for p in self.positions], dtype=np.float64)
        instants, which, together = np.unique(settlement, return_inverse=True, return_counts=True)
        smile = np.where(together >= FEWEST_OF_SMILE, np.arange(instants.size), -1)[which]
        order = np.argsort(smile, kind="stable")
        rows = [self.positions[i] for i in order]
        first = np.searchsorted(smile[order], np.flatnonzero(together >= FEWEST_OF_SMILE))
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
        start = c.smile_start.tolist()
        lone = np.flatnonzero(live[: start[0]])
        smiles = [np.arange(*ends) for ends in itertools.pairwise(start) if live[ends[0]]]
        parts = [LiveBook(c.group[i], c.put[i], c.units[i], centre[i], width[i]) for i in (lone, *smiles)]
        return replace(parts[0], smiles=tuple(parts[1:]))


@dataclass(frozen=True)
class BookColumns:
    """Attributes of all positions, one number a position; see `BookPosition` and `LiveBook`.

    smile_start : (smiles + 1,) int64, where each smile begins and the last one ends.
    """

    group: NDArray[np.int32]
    put: FloatArray
    units: FloatArray
    strike: FloatArray
    iv: FloatArray
    carry: FloatArray
    settlement: FloatArray
    smile_start: NDArray[np.int64]

    def log_strike(self, spot: float) -> FloatArray:
        """ln(K/spot) of all positions."""
        return log(self.strike / spot)


def build_dealer_book(scenario: Scenario, grid: TimeGrid) -> DealerBook:
    """Dealers' book of a scenario, its sizes turned into index units.

    A position stated by `gex_bn` is sized so that its gamma exposure is that many $bn per 1% move if the
    index stood at its strike at `as_of`: n = gex_bn·1e9 / (Γ(K)·K²·0.01).
    """
    dealers, groups = scenario.dealers, scenario.dealers.groups
    rows = () if dealers.book is None else dealers.book.after(scenario.market.as_of)
    if not dealers.position and not len(rows):
        return DealerBook((), ())
    calendar = trading_calendar(scenario.market.as_of)
    positions = []
    for p in dealers.position:
        settles = settlement_minute(calendar, p.expiry, p.settlement)
        if p.contracts is not None:
            units = UNITS_PER_CONTRACT * p.contracts
        else:
            assert p.gex_bn is not None
            years = float(black_scholes.years_to_settlement(settles - grid.start_minute))
            at_strike = np.array([p.strike])
            _, gamma = black_scholes.delta_and_gamma(
                at_strike, p.strike, years, p.iv, p.carry, p.type == "call"
            )
            units = p.gex_bn * 1e9 / (float(gamma[0]) * (p.strike * p.strike) * 0.01)
        positions.append(
            BookPosition(groups.index(p.group), p.type == "call", p.strike, p.iv, p.carry, units, settles)
        )
    settlements: dict[tuple[dt.date, str], int] = {}
    for row in rows:
        key = row.expiry, row.settlement
        settles = settlements[key] if key in settlements else settlement_minute(calendar, *key)
        settlements[key] = settles
        units = UNITS_PER_CONTRACT * row.contracts * dealers.book_weights.get(row.group, 1.0)
        group = groups.index(row.group)
        positions.append(BookPosition(group, row.type == "call", row.strike, row.iv, row.carry, units, settles))
    return DealerBook(groups, tuple(positions))


def group_weights(
    scenario: Scenario, groups: tuple[str, ...]
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Distinct rows of group weights and each regime's row.

    Returns
    -------
    weights : (books, groups), row 0 the initial regime's (all ones).
    book_of_regime : (regimes,) index of each regime's row; regime 0 is "initial".
    """
    rows: list[tuple[float, ...]] = [tuple(1.0 for _ in groups)]
    book_of_regime = [0]
    for regime in scenario.regime:
        row = tuple(float(regime.weights.get(group, 1.0)) for group in groups)
        if row not in rows:
            rows.append(row)
        book_of_regime.append(rows.index(row))
    return np.array(rows).reshape(len(rows), len(groups)), np.array(book_of_regime, dtype=np.int32)
