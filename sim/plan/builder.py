"""Scenario → EnginePlan: calendar, dealers' book, clearing map, log_levels and regimes as an engine reads them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sim.book.expiry_curves import WIDTHS_COVERED
from sim.errors import InputError, Problem
from sim.market.black_scholes import SESSIONS_PER_YEAR, FloatArray
from sim.market.elementary import exp, floor_log2, log, squared
from sim.plan.dealers import build_dealer_book, group_weights
from sim.plan.engine_plan import EnginePlan
from sim.plan.gaps import gap_fields
from sim.plan.map_tables import MapTables, build_map_tables, identity_tables
from sim.plan.outcomes import OutcomeAxes
from sim.plan.regimes import impact_per_bn, rank_of_level, regime_fields
from sim.plan.shared_work import SharedWork
from sim.plan.time_grid import TimeGrid, build_time_grid
from sim.plan.variance import variance_fields
from sim.reaction.clearing_map import ClearingMap, FloorEvent
from sim.scenario.model import Scenario

# Bins of the close histogram; the width of a bin is a power of two, 1/8192 or less than a point for a month.
MOST_CLOSE_BINS = 8192
SMALLEST_HALF_WIDTH = 0.25
LARGEST_HALF_WIDTH = 3.0
# Steps of the map's half_width by log unit.
HALF_WIDTH_STEPS = 8
# One set of counts, of which every worker holds one.
MOST_OUTCOME_BYTES = 1 << 29


@dataclass(frozen=True)
class Prepared:
    """A scenario ready to run.

    Attributes
    ----------
    scenario : what it was built from.
    grid : sessions and instants.
    clearing_map : the float64 map behind the tables.
    plan : what engines see.
    axes : labels of the outcomes.
    floor_events : where the feedback factor's floor binds.
    """

    scenario: Scenario
    grid: TimeGrid
    clearing_map: ClearingMap
    plan: EnginePlan
    axes: OutcomeAxes
    floor_events: tuple[FloorEvent, ...]


def prepare(scenario: Scenario, where: str | None = None, shared: SharedWork | None = None) -> Prepared:
    """Everything that a run of a scenario needs, engine and seed apart.

    Parameters
    ----------
    scenario : validated scenario.
    where : what to call the scenario in an error, its file for instance; the scenario's name if None.
    shared : what cases before this one have built; it saves time and changes nothing else.

    Raises
    ------
    InputError : the clearing map is not increasing and no floor is set, or the run would not fit into memory.
    """
    grid = build_time_grid(scenario)
    clearing_map = _clearing_map(scenario, grid)
    variance = squared(scenario.volatility.annual) / SESSIONS_PER_YEAR
    observed = scenario.volatility.quoted == "observed"
    scale = squared(feedback_at_start(clearing_map, grid)) if observed else 1.0
    log_levels = log(np.array(scenario.all_levels) / scenario.market.spot)
    _refuse_long_outcomes(scenario, grid, where or scenario.name)
    shared = SharedWork() if shared is None else shared
    maps = _map_tables(clearing_map, grid, log_levels, where or scenario.name, shared)
    bins_half_width = close_half_width(scenario, scale, grid)
    bins_per_unit = math.ldexp(1.0, floor_log2(MOST_CLOSE_BINS / (2 * bins_half_width)))
    plan = EnginePlan(
        sessions=grid.n_sessions,
        steps_per_session=grid.steps_per_session + 1,
        share=grid.share.astype(np.float32),
        root_share=np.sqrt(grid.share).astype(np.float32),
        session_drift=np.float32(scenario.drift.annual / SESSIONS_PER_YEAR),
        **variance_fields(scenario, variance * scale, scale, shared),
        **gap_fields(scenario, grid),
        **regime_fields(scenario, grid),
        **maps.plan_fields,
        target_rank=np.array(
            [
                rank_of_level(scenario, scenario.targets.upper),
                rank_of_level(scenario, scenario.targets.lower),
            ],
            "i4",
        ),
        close_low=np.float32(-bins_half_width),
        close_scale=np.float32(bins_per_unit),
        close_bins=int(2 * bins_half_width * bins_per_unit),
    )
    return Prepared(
        scenario,
        grid,
        clearing_map,
        plan,
        _axes(scenario, grid, plan),
        maps.floor_events,
    )


def _map_tables(
    clearing_map: ClearingMap, grid: TimeGrid, log_levels: FloatArray, where: str, shared: SharedWork
) -> MapTables:
    if clearing_map.is_identity:
        return identity_tables(grid, log_levels, len(clearing_map.weights))
    instants = (grid.start_minute, grid.step_end_minute.tobytes(), grid.steps_per_session)
    key = ("map tables", clearing_map.key, instants, log_levels.tobytes())
    return shared.get(
        key, lambda: build_map_tables(clearing_map, grid, log_levels, where), lambda maps: maps.nbytes
    )


def _refuse_long_outcomes(scenario: Scenario, grid: TimeGrid, where: str) -> None:
    """Refuse a run whose counts alone would fill the memory: touches by level and step, closes by session."""
    counts = 2 * grid.n_steps * (len(scenario.all_levels) + 2) + grid.n_sessions * MOST_CLOSE_BINS
    if 8 * counts > MOST_OUTCOME_BYTES:
        size = f"{grid.n_steps:,} steps and {len(scenario.all_levels)} levels"
        why = f"counts for {size} outgrow {MOST_OUTCOME_BYTES >> 20} MiB"
        hint = "Try fewer steps a session, fewer levels or a shorter horizon."
        value = str(scenario.volatility.steps_per_session)
        raise InputError([Problem(where, "volatility.steps_per_session", value, why, hint)])


def feedback_at_start(clearing_map: ClearingMap, grid: TimeGrid) -> float:
    """Feedback factor max(m, m_floor) of the initial regime at the start, s = 0."""
    _, slopes = clearing_map.unfloored(np.zeros(1), grid.start_minute, after_settlement=True)
    return max(float(slopes[0, 0]), clearing_map.m_floor)


def initial_feedback(scenario: Scenario) -> float:
    """Feedback factor m_0(0,0) of a scenario: fundamental volatility over observed volatility at the start."""
    grid = build_time_grid(scenario)
    clearing_map = _clearing_map(scenario, grid)
    return 1.0 if clearing_map.is_identity else feedback_at_start(clearing_map, grid)


def close_half_width(scenario: Scenario, scale: float, grid: TimeGrid) -> float:
    """Half-width of the close histogram in log units, a multiple of 1/16: nine standard deviations, at least 1/4.

    Parameters
    ----------
    scenario : its larger volatility counts, the present or the long-run one.
    scale : variance of the fundamental over the quoted variance.
    grid : the horizon.
    """
    volatility = max(scenario.volatility.annual, scenario.volatility.long_run_annual or 0.0)
    deviation = volatility * np.sqrt(scale * grid.n_sessions / SESSIONS_PER_YEAR)
    return float(np.clip(np.ceil(9.0 * deviation * 16) / 16, 0.25, LARGEST_HALF_WIDTH))


def _clearing_map(scenario: Scenario, grid: TimeGrid) -> ClearingMap:
    book = build_dealer_book(scenario, grid)
    weights, _ = group_weights(scenario, book.groups)
    deviation = scenario.volatility.annual * np.sqrt(grid.n_sessions / SESSIONS_PER_YEAR)
    spot, start = scenario.market.spot, grid.start_minute
    live = book.live_at(start, after_settlement=True, spot=spot)
    edges = (np.abs(log(np.array(scenario.all_levels) / spot)) + 0.1).tolist()
    edges += (np.abs(live.centre) + WIDTHS_COVERED * live.width).tolist()
    furthest = max(SMALLEST_HALF_WIDTH, 8.0 * deviation, *edges)
    # In coarse steps, so that cases that differ in volatility or targets have the map's nodes in common.
    half_width = float(min(np.ceil(furthest * HALF_WIDTH_STEPS) / HALF_WIDTH_STEPS, LARGEST_HALF_WIDTH))
    kappa = impact_per_bn(scenario) / 1e9 * spot
    return ClearingMap(spot, kappa, book, weights, scenario.dealers.m_floor, half_width)


def _axes(scenario: Scenario, grid: TimeGrid, plan: EnginePlan) -> OutcomeAxes:
    edges = float(plan.close_low) + np.arange(plan.close_bins + 1) / float(plan.close_scale)
    return OutcomeAxes(
        scenario=scenario.name,
        spot=scenario.market.spot,
        as_of=scenario.market.as_of,
        sessions=grid.sessions,
        steps_per_session=grid.steps_per_session,
        step_time=grid.step_time,
        levels=scenario.all_levels,
        upper=scenario.targets.upper,
        lower=scenario.targets.lower,
        regimes=("initial", *(r.name for r in scenario.regime)),
        close_edges=scenario.market.spot * exp(edges),
    )
