"""The dealers' option book: signed positions, their hedge D(S,t) and its slope G(S,t), group by group.

Sign convention: positive contracts = dealers long the option. Dealers hold −D index units against the book.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim import black_scholes
from sim.black_scholes import FloatArray
from sim.scenario import Scenario
from sim.timegrid import TimeGrid, settlement_minute, trading_calendar

UNITS_PER_CONTRACT = 100.0


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

    def years(self, minute: float) -> float:
        """Return the time to settlement in years, floored at 30 minutes."""
        return float(black_scholes.years_to_settlement(self.settlement_minute - minute))

    def bend(self, minute: float, spot: float) -> tuple[float, float]:
        """Centre and width v of the position's gamma over the log price ln(S/spot): ln(K/spot) − b·τ − v²/2."""
        years = self.years(minute)
        width = self.iv * float(np.sqrt(years))
        return float(np.log(self.strike / spot)) - self.carry * years - 0.5 * width**2, width


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

    def hedge_by_group(
        self, spot: FloatArray, minute: float, after_settlement: bool
    ) -> tuple[FloatArray, FloatArray]:
        """Delta and gamma of every group, D_g = Σ n_i·Δ_i and G_g = ∂D_g/∂S.

        Parameters
        ----------
        spot : (n,) index points.
        minute : instant, minutes since 1970-01-01 UTC.
        after_settlement : whether positions settling at this very instant have left.

        Returns
        -------
        D : (groups, n) index units.
        G : (groups, n) index units per index point.
        """
        hedge = np.zeros((len(self.groups), spot.size))
        slope = np.zeros_like(hedge)
        for p in self.live(minute, after_settlement):
            years = p.years(minute)
            delta, gamma = black_scholes.delta_and_gamma(spot, p.strike, years, p.iv, p.carry, p.is_call)
            hedge[p.group] += p.index_units * delta
            slope[p.group] += p.index_units * gamma
        return hedge, slope


def build_dealer_book(scenario: Scenario, grid: TimeGrid) -> DealerBook:
    """Dealers' book of a scenario, its sizes turned into index units.

    A position stated by `gex_bn` is sized so that its gamma exposure is that many $bn per 1% move if the
    index stood at its strike at `as_of`: n = gex_bn·1e9 / (Γ(K)·K²·0.01).
    """
    stated = scenario.dealers.position
    if not stated:
        return DealerBook((), ())
    calendar = trading_calendar(scenario.market.as_of, max(p.expiry for p in stated))
    groups = tuple(dict.fromkeys(p.group for p in stated))
    positions = []
    for p in stated:
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
            units = p.gex_bn * 1e9 / (float(gamma[0]) * p.strike**2 * 0.01)
        positions.append(
            BookPosition(groups.index(p.group), p.type == "call", p.strike, p.iv, p.carry, units, settles)
        )
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
