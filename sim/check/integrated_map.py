"""Second clearing map, from a scenario's keys alone, by integrating gamma instead of evaluating delta.

    m(s,t) = 1 + impact·0.01·Σ gex_i(S,t)·S0/S;     gex_i(S,t) = gex_i(K,t0)·[Γ·S²](S,t) / [Γ·S²](K,t0)
    Φ(s,t) = ∫_{−∞}^{0} (m − 1) ds + ∫_0^s max(m, floor) ds

up to a constant per position, which moves no price. It shares nothing with the engines' map, so that a mistake in
either shows.

Gamma is a bell in s, of width v = iv·√τ. Positions of like width are added up on nodes a sixteenth of it apart and
carried to the map's cells by a spline (error 1e-7 of a bell), so that a chain of ten thousand options takes
milliseconds per instant.

Source: Frey & Stremme (1997), rewritten in gamma exposure.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy.interpolate import CubicSpline

from sim.market.black_scholes import INVERSE_SQRT_TWO_PI, MINUTES_PER_YEAR, SHORTEST_LIFE_MINUTES, FloatArray
from sim.market.calendar import settlement_minute, trading_calendar
from sim.plan.time_grid import TimeGrid
from sim.scenario.model import Dealers, Scenario

CELLS_PER_UNIT = 4000
# Gauss points of a cell, on [-1, 1], and their weights.
CELL_POINTS, CELL_WEIGHTS = leggauss(3)
TAIL_POINTS, TAIL_WEIGHTS = leggauss(64)
# Standard deviations at which a normal density is 0.
NO_DENSITY = 9.0
# Nodes of a sum of gammas per width of a gamma.
NODES_PER_WIDTH = 16
# Gammas evaluated at once.
BLOCK = 1 << 20


class IntegratedMap:
    """Clearing map of a scenario's book without regimes, on the log prices between two bounds.

    Parameters
    ----------
    scenario : scenario whose book, impact and floor are used.
    grid : sessions and instants of the scenario.
    low, high : bounds of the log prices ln(S / S0), low < 0 < high; those of the targets if None.
    """

    def __init__(
        self, scenario: Scenario, grid: TimeGrid, low: float | None = None, high: float | None = None
    ):
        self.floor = scenario.dealers.m_floor
        spot, targets = scenario.market.spot, scenario.targets
        low = float(np.log(targets.lower / spot)) if low is None else low
        high = float(np.log(targets.upper / spot)) if high is None else high
        self._read_book(scenario, grid)
        below, above = (int(np.ceil(abs(end) * CELLS_PER_UNIT)) + 1 for end in (low, high))
        self.edges, self.start = np.arange(-below, above + 1) / CELLS_PER_UNIT, below
        half = 0.5 / CELLS_PER_UNIT
        middles = 0.5 * (self.edges[1:] + self.edges[:-1])
        self.gauss = (middles[:, None] + CELL_POINTS * half).ravel()
        self.weights = CELL_WEIGHTS * half
        self._known: tuple[tuple[float, bool], FloatArray] | None = None

    def _read_book(self, scenario: Scenario, grid: TimeGrid) -> None:
        """Columns of all positions: instant of settlement, ln(K/S0), iv, carry, and impact·0.01·gex·v/n(d1)·S0/S."""
        dealers, spot = scenario.dealers, scenario.market.spot
        calendar = trading_calendar(scenario.market.as_of)
        columns = []
        for p in dealers.position:
            settles = settlement_minute(calendar, p.expiry, p.settlement)
            if p.gex_bn is None:
                assert p.contracts is not None
                size = p.contracts * 100 * 0.01 / 1e9
            else:
                width = p.iv * float(np.sqrt(_years(settles - grid.start_minute)))
                at_strike = p.carry / p.iv**2 * width + width / 2
                size = p.gex_bn / float(INVERSE_SQRT_TWO_PI * np.exp(-(at_strike**2) / 2) / width) / p.strike
            columns.append((settles, p.strike, p.iv, p.carry, size))
        table = np.array(columns, dtype=np.float64).reshape(-1, 5).T
        if dealers.book is not None:
            table = np.concatenate((table, _rows_of_file(dealers, scenario.market.as_of)), axis=1)
        self.settles, strikes, self.iv, self.carry, sizes = table.copy()
        self.strike = np.log(strikes / spot)
        # Σ gex·S0/S per unit of n(d1)/v: size·S² / S · S0 / S = size·S0
        self.pressure = dealers.impact_bp_per_bn * 1e-2 * sizes * spot

    def feedback_less_one(self, s: FloatArray, minute: float, after_settlement: bool) -> FloatArray:
        """Feedback factor less one, m − 1, before any floor, (n,), at (n,) increasing log prices."""
        total = np.zeros_like(s)
        live, width, shift = self._live(minute, after_settlement)
        low, high = s[0], s[-1]
        felt = ((low + shift) / width < NO_DENSITY) & ((high + shift) / width > -NO_DENSITY)
        live, width, shift = live[felt], width[felt], shift[felt]
        octave = np.floor(np.log2(width)).astype(int) if live.size else np.zeros(0, dtype=int)
        for each in np.unique(octave):
            alike = octave == each
            columns = self.pressure[live[alike]], width[alike], shift[alike]
            spacing = 2.0**each / NODES_PER_WIDTH
            nodes = np.arange(int((high - low) / spacing) + 8) * spacing + low - 3 * spacing
            if nodes.size < s.size:
                total += CubicSpline(nodes, _bells(nodes, *columns))(s)
            else:
                total += _bells(s, *columns)
        return total

    def __call__(self, s: FloatArray, minute: float, after_settlement: bool) -> FloatArray:
        """Φ(s, t), (n,) log units; `after_settlement`: without the options that settle at that minute."""
        key = minute, after_settlement
        if self._known is None or self._known[0] != key:
            at = np.sort(np.concatenate((self.gauss, self.edges)))
            excess = self.feedback_less_one(at, minute, after_settlement)
            # In order: an edge, its cell's three points, the next edge.
            factor = np.maximum(1.0 + excess, self.floor)
            areas = factor[:-1].reshape(-1, 4)[:, 1:] @ self.weights
            running = np.concatenate(([0.0], np.cumsum(areas)))
            values = self._tail(minute, after_settlement) + running - running[self.start]
            self._known = key, np.stack((values, factor[::4]))
        values, slopes = self._known[1]
        return _cubic(s, self.edges, values, slopes)

    def _live(self, minute: float, after_settlement: bool) -> tuple[np.ndarray, FloatArray, FloatArray]:
        """Indices of the live positions, their widths v, and the shift in d1 = (s + shift) / v, (n,) each."""
        gone = (self.settles < minute) | (after_settlement & (self.settles == minute))
        live = np.flatnonzero(~gone)
        years = _years(self.settles[live] - minute)
        width = self.iv[live] * np.sqrt(years)
        return live, width, self.carry[live] * years - self.strike[live] + width**2 / 2

    def _tail(self, minute: float, after_settlement: bool) -> float:
        """∫_{−∞}^0 (m − 1) ds: all gamma below the start, or its passing would look like drift."""
        live, width, shift = self._live(minute, after_settlement)
        end = np.clip(shift / width, -NO_DENSITY, NO_DENSITY)
        half = 0.5 * (end + NO_DENSITY)
        points = half[:, None] * (1.0 + TAIL_POINTS) - NO_DENSITY
        mass = np.exp(-0.5 * points**2) @ TAIL_WEIGHTS * half * INVERSE_SQRT_TWO_PI
        return float(self.pressure[live] @ mass)


def _rows_of_file(dealers: Dealers, as_of: dt.date) -> FloatArray:
    """Instant of settlement, strike, iv, carry and contracts·100·0.01/1e9 of a book file's positions, (5, n)."""
    assert dealers.book is not None
    rows = dealers.book.after(as_of)
    calendar = trading_calendar(as_of)
    days = rows.expiry.astype("datetime64[D]")
    settles = np.empty(len(rows))
    for day in np.unique(days):
        for at_open in (False, True):
            settles[(days == day) & (rows.at_open == at_open)] = settlement_minute(
                calendar, day.item(), "AM" if at_open else "PM"
            )
    weights = np.array([dealers.book_weights.get(group, 1.0) for group in rows.groups])[rows.group]
    return np.stack((settles, rows.strike, rows.iv, rows.carry, rows.contracts * weights * 100 * 0.01 / 1e9))


def _years(minutes: FloatArray | float) -> FloatArray:
    return np.asarray(np.maximum(minutes, SHORTEST_LIFE_MINUTES) / MINUTES_PER_YEAR)


def _bells(s: FloatArray, pressure: FloatArray, width: FloatArray, shift: FloatArray) -> FloatArray:
    """Σ pressure·n(d1)/v at log prices s (n,), d1 = (s + shift)/v."""
    total = np.zeros_like(s)
    rows = max(1, BLOCK // s.size)
    for first in range(0, pressure.size, rows):
        part = slice(first, first + rows)
        standardised = (s + shift[part, None]) / width[part, None]
        total += (INVERSE_SQRT_TWO_PI * pressure[part] / width[part]) @ np.exp(-0.5 * standardised**2)
    return total


def _cubic(x: FloatArray, edges: FloatArray, values: FloatArray, slopes: FloatArray) -> FloatArray:
    width = edges[1] - edges[0]
    cell = np.clip(((x - edges[0]) / width).astype(np.int64), 0, edges.size - 2)
    t = (x - edges[cell]) / width
    rise = values[cell + 1] - values[cell]
    a, b = slopes[cell] * width - rise, rise - slopes[cell + 1] * width
    result: FloatArray = values[cell] + t * rise + t * (1 - t) * (a * (1 - t) + b * t)
    return result
