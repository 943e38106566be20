"""Dealers of a scenario: their book, its weights in every regime, and the clearing map that hedging it makes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.book.expiry_curves import WIDTHS_COVERED
from sim.book.hedge import DealerBook
from sim.book.rows import BookRows
from sim.market.black_scholes import SESSIONS_PER_YEAR, FloatArray, years_to_settlement
from sim.market.calendar import settlement_minutes, trading_calendar
from sim.market.contracts import UNITS_PER_CONTRACT, units_of_gex
from sim.market.elementary import log
from sim.plan.time_grid import TimeGrid, build_time_grid
from sim.reaction.clearing_map import ClearingMap
from sim.scenario.model import Dealers, Scenario

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
    """Dealers' book of a scenario, its sizes turned into index units: single positions, then those of the book file.

    A position stated by `gex_bn` is sized so that its gamma exposure is that many $bn per 1% move if the index stood
    at its strike at `as_of`. The rows of the book file that expire by then are left out.
    """
    dealers = scenario.dealers
    rows = _position_rows(dealers)
    minutes, is_session = settlement_minutes(trading_calendar(), rows.expiry, rows.at_open)
    assert is_session.all()
    units = _position_units(
        dealers, rows, years_to_settlement((minutes - grid.start_minute).astype(np.float64))
    )
    if dealers.book is not None:
        more = dealers.book.after(scenario.market.as_of).regrouped(dealers.groups)
        weight = np.array([dealers.book_weights.get(name, 1.0) for name in dealers.groups])
        units = np.concatenate((units, UNITS_PER_CONTRACT * more.contracts * weight[more.group]))
        more_minutes, is_session = settlement_minutes(trading_calendar(), more.expiry, more.at_open)
        assert is_session.all()
        rows, minutes = rows.joined(more), np.concatenate((minutes, more_minutes))
    return DealerBook.of(rows, units, minutes.astype(np.float64))


def _position_rows(dealers: Dealers) -> BookRows:
    """Single positions as columns; contracts are 0 where `gex_bn` states the size."""
    positions, groups = dealers.position, dealers.groups
    return BookRows(
        "",
        groups,
        np.array([groups.index(p.group) for p in positions], dtype=np.int32),
        np.array([p.type == "call" for p in positions], dtype=np.bool_),
        np.array([p.strike for p in positions], dtype=np.float64),
        np.array([p.expiry for p in positions], dtype="datetime64[D]"),
        np.array([p.settlement == "AM" for p in positions], dtype=np.bool_),
        np.array([p.iv for p in positions], dtype=np.float64),
        np.array([p.contracts or 0.0 for p in positions], dtype=np.float64),
        np.array([p.carry for p in positions], dtype=np.float64),
    )


def _position_units(dealers: Dealers, rows: BookRows, years: FloatArray) -> FloatArray:
    """Index units of single positions, (n,)."""
    units = UNITS_PER_CONTRACT * rows.contracts
    sized = np.flatnonzero([p.contracts is None for p in dealers.position])
    gex = np.array([dealers.position[i].gex_bn for i in sized.tolist()], dtype=np.float64)
    units[sized] = units_of_gex(gex, rows.strike[sized], rows.iv[sized], years[sized], rows.carry[sized])
    return units


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
