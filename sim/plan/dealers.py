"""Dealers of a scenario: their book, its weights in every regime, and the clearing map that hedging it makes."""

from __future__ import annotations

import datetime as dt

import numpy as np
from numpy.typing import NDArray

from sim.book.expiry_curves import WIDTHS_COVERED
from sim.book.hedge import BookPosition, DealerBook
from sim.market import black_scholes
from sim.market.black_scholes import SESSIONS_PER_YEAR, FloatArray
from sim.market.calendar import settlement_minute, trading_calendar
from sim.market.contracts import UNITS_PER_CONTRACT
from sim.market.elementary import log
from sim.plan.time_grid import TimeGrid, build_time_grid
from sim.reaction.clearing_map import ClearingMap
from sim.scenario.model import Scenario

# Half-width of the log prices that the clearing map covers.
SMALLEST_HALF_WIDTH = 0.25
LARGEST_HALF_WIDTH = 3.0
# Steps of the half-width per log unit: coarse, so that cases that differ in volatility or targets have the map's
# nodes in common.
HALF_WIDTH_STEPS = 8


def impact_per_bn(scenario: Scenario) -> float:
    """Log price move for $1bn traded: impact_bp_per_bn · 1e-4."""
    return scenario.dealers.impact_bp_per_bn * 1e-4


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
        positions.append(
            BookPosition(group, row.type == "call", row.strike, row.iv, row.carry, units, settles)
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


def build_clearing_map(scenario: Scenario, grid: TimeGrid, log_levels: FloatArray) -> ClearingMap:
    """Clearing map of a scenario's book, as wide as paths may go, the levels lie, and positions have gamma.

    Parameters
    ----------
    scenario : its dealers and volatility.
    grid : the horizon.
    log_levels : (L,) all levels, log units relative to the start.
    """
    book = build_dealer_book(scenario, grid)
    weights, _ = group_weights(scenario, book.groups)
    deviation = scenario.volatility.annual * np.sqrt(grid.n_sessions / SESSIONS_PER_YEAR)
    spot, start = scenario.market.spot, grid.start_minute
    live = book.live_at(start, after_settlement=True, spot=spot)
    edges = (np.abs(log_levels) + 0.1).tolist()
    edges += (np.abs(live.centre) + WIDTHS_COVERED * live.width).tolist()
    furthest = max(SMALLEST_HALF_WIDTH, 8.0 * deviation, *edges)
    half_width = float(min(np.ceil(furthest * HALF_WIDTH_STEPS) / HALF_WIDTH_STEPS, LARGEST_HALF_WIDTH))
    kappa = impact_per_bn(scenario) / 1e9 * spot
    return ClearingMap(spot, kappa, book, weights, scenario.dealers.m_floor, half_width)


def feedback_at_start(clearing_map: ClearingMap, grid: TimeGrid) -> float:
    """Feedback factor max(m, m_floor) of the initial regime at the start, s = 0."""
    _, slopes = clearing_map.unfloored(np.zeros(1), grid.start_minute, after_settlement=True)
    return max(float(slopes[0, 0]), clearing_map.m_floor)


def initial_feedback(scenario: Scenario) -> float:
    """Feedback factor m_0(0,0) of a scenario: fundamental volatility over observed volatility at the start."""
    grid = build_time_grid(scenario)
    clearing_map = build_clearing_map(
        scenario, grid, log(np.array(scenario.all_levels) / scenario.market.spot)
    )
    return 1.0 if clearing_map.is_identity else feedback_at_start(clearing_map, grid)
