"""The clearing map straight from a scenario's keys: another formula for delta, the floor by root finding.

Nothing here is taken from `sim` but the scenario, the grid and the settlement instants.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import erfc

from sim.market.calendar import settlement_minute, trading_calendar
from sim.plan.time_grid import TimeGrid
from sim.scenario.model import Scenario

FloatArray = NDArray[np.float64]

SCAN_SPACING = 1e-4
SCAN_WIDTHS = np.linspace(-8.0, 8.0, 161)


def total_volatility(settles: float, minute: float, iv: float) -> float:
    """iv·sqrt(τ), τ at least 30 minutes of a year of 525,600."""
    return float(iv * np.sqrt(max(settles - minute, 30.0) / 525_600.0))


def call_delta(price: FloatArray, strike: float, volatility: float, carry: float) -> FloatArray:
    """N(d1) by the complementary error function; `carry` is b·τ."""
    standardised = (np.log(price / strike) + carry) / volatility + volatility / 2
    result: FloatArray = 0.5 * erfc(-standardised / np.sqrt(2))
    return result


def dollar_gamma(price: FloatArray, strike: float, volatility: float, carry: float) -> FloatArray:
    """S·Γ."""
    standardised = (np.log(price / strike) + carry) / volatility + volatility / 2
    result: FloatArray = np.exp(-0.5 * standardised**2) / np.sqrt(2 * np.pi) / volatility
    return result


@dataclass(frozen=True)
class ExactMap:
    """Φ of one book of a scenario at one instant, floored where m < m_floor.

    lines : one (κ·w·n, strike, iv·sqrt(τ), b·τ, put) a live position.
    floored : (·, 2) intervals of s on which the floor holds.
    """

    spot: float
    floor: float
    lines: tuple[tuple[float, float, float, float, bool], ...]
    floored: FloatArray

    def raw(self, s: FloatArray) -> FloatArray:
        """s + κ·D."""
        price = self.spot * np.exp(s)
        total = np.array(s, dtype=np.float64)
        for size, strike, volatility, carry, put in self.lines:
            total += size * (call_delta(price, strike, volatility, carry) - put)
        return total

    def raw_feedback(self, s: FloatArray) -> FloatArray:
        """1 + κ·S·G, no floor."""
        price = self.spot * np.exp(s)
        total = np.ones_like(s)
        for size, strike, volatility, carry, _ in self.lines:
            total += size * dollar_gamma(price, strike, volatility, carry)
        return total

    def feedback(self, s: FloatArray) -> FloatArray:
        """max(m, m_floor)."""
        m = self.raw_feedback(s)
        return np.maximum(m, self.floor) if self.floor > 0 else m

    def value(self, s: FloatArray) -> FloatArray:
        """Φ: s + κ·D plus what the floor adds between 0 and s."""
        return self.raw(s) + self._added(s) - self._added(np.zeros(1))

    def _added(self, s: FloatArray) -> FloatArray:
        added = np.zeros_like(s)
        for low, high in self.floored:
            inside = np.clip(s, low, high)
            added += self.floor * (inside - low) - (self.raw(inside) - self.raw(np.array([low])))
        return added


def exact_map(
    scenario: Scenario,
    grid: TimeGrid,
    minute: float,
    weights: dict[str, float],
    after_settlement: bool,
    half_width: float,
) -> ExactMap:
    """Clearing map of a scenario at an instant, exact for |s| ≤ half_width."""
    spot, dealers = scenario.market.spot, scenario.dealers
    calendar = trading_calendar(scenario.market.as_of)
    kappa = dealers.impact_bp_per_bn * 1e-4 / 1e9 * spot
    lines = []
    for p in dealers.position:
        settles = settlement_minute(calendar, p.expiry, p.settlement)
        if settles < minute or (after_settlement and settles == minute):
            continue
        if p.contracts is not None:
            units = 100 * p.contracts
        else:
            assert p.gex_bn is not None
            at_start = total_volatility(settles, grid.start_minute, p.iv)
            carry = p.carry * (at_start / p.iv) ** 2
            unit_gex = (
                dollar_gamma(np.array([p.strike]), p.strike, at_start, carry)[0] * p.strike * 0.01 / 1e9
            )
            units = p.gex_bn / unit_gex
        volatility = total_volatility(settles, minute, p.iv)
        size = kappa * weights.get(p.group, 1.0) * units
        lines.append((size, p.strike, volatility, p.carry * (volatility / p.iv) ** 2, p.type == "put"))
    unfloored = ExactMap(spot, 0.0, tuple(lines), np.empty((0, 2)))
    if dealers.m_floor == 0:
        return unfloored
    return ExactMap(
        spot, dealers.m_floor, tuple(lines), _floored_intervals(unfloored, dealers.m_floor, half_width)
    )


def _floored_intervals(unfloored: ExactMap, floor: float, half_width: float) -> FloatArray:
    def excess(s: float) -> float:
        return float(unfloored.raw_feedback(np.array([s]))[0] - floor)

    near = [np.log(k / unfloored.spot) + v * SCAN_WIDTHS for _, k, v, _, _ in unfloored.lines]
    scan = np.unique(np.concatenate([np.arange(-half_width, half_width, SCAN_SPACING), [half_width], *near]))
    scan = scan[np.abs(scan) <= half_width]
    low = unfloored.raw_feedback(scan) < floor
    changes = np.flatnonzero(low[1:] != low[:-1])
    roots = [float(brentq(excess, scan[i], scan[i + 1], xtol=1e-14)) for i in changes]
    ends = ([-half_width] if low[0] else []) + roots + ([half_width] if low[-1] else [])
    return np.array(ends).reshape(-1, 2)


def book_weights(scenario: Scenario) -> list[dict[str, float]]:
    """Weights of each distinct book in the order of the regimes that first use it."""
    groups = list(dict.fromkeys(p.group for p in scenario.dealers.position))
    books: list[dict[str, float]] = [dict.fromkeys(groups, 1.0)]
    for regime in scenario.regime:
        weights = {group: regime.weights.get(group, 1.0) for group in groups}
        if weights not in books:
            books.append(weights)
    return books
