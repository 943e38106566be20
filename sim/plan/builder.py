"""Scenario → EnginePlan: calendar, dealers' book, clearing map, levels and regimes as an engine reads them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.errors import InputError, Problem
from sim.market.black_scholes import SESSIONS_PER_YEAR
from sim.market.elementary import log, squared
from sim.plan.close_histogram import MOST_CLOSE_BINS, close_edges, close_fields
from sim.plan.dealers import build_clearing_map, feedback_at_start
from sim.plan.engine_plan import EnginePlan
from sim.plan.gaps import gap_fields
from sim.plan.map_tables import shared_map_tables
from sim.plan.outcomes import OutcomeAxes
from sim.plan.regimes import regime_fields
from sim.plan.shared_work import SharedWork
from sim.plan.time_grid import TimeGrid, build_time_grid
from sim.plan.variance import variance_fields
from sim.reaction.clearing_map import ClearingMap, FloorEvent
from sim.scenario.levels import rank_of_level
from sim.scenario.model import Scenario

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
    """Scenario with all that a run of it needs, engine and seed apart.

    Parameters
    ----------
    scenario : validated scenario.
    where : what to call the scenario in an error, its file for instance; the scenario's name if None.
    shared : what cases before this one have built; it saves time and changes nothing else.

    Raises
    ------
    InputError : the clearing map is not increasing and no floor is set, or the run would not fit into memory.
    """
    where = where or scenario.name
    shared = SharedWork() if shared is None else shared
    grid, levels, spot = build_time_grid(scenario), scenario.all_levels, scenario.market.spot
    _refuse_long_outcomes(grid, len(levels), where)
    log_levels = log(np.array(levels) / spot)
    clearing_map = build_clearing_map(scenario, grid, log_levels)
    observed = scenario.volatility.quoted == "observed"
    scale = squared(feedback_at_start(clearing_map, grid)) if observed else 1.0
    single_positions = len(scenario.dealers.position)
    maps = shared_map_tables(clearing_map, grid, log_levels, where, single_positions, shared)
    targets = scenario.targets.upper, scenario.targets.lower
    plan = EnginePlan(
        sessions=grid.n_sessions,
        steps_per_session=grid.steps_per_session + 1,
        share=grid.share.astype(np.float32),
        root_share=np.sqrt(grid.share).astype(np.float32),
        session_drift=np.float32(scenario.drift.annual / SESSIONS_PER_YEAR),
        **variance_fields(scenario, scale, shared),
        **gap_fields(scenario, grid),
        **regime_fields(scenario, grid, levels),
        **maps.plan_fields,
        target_rank=np.array([rank_of_level(levels, spot, target) for target in targets], dtype=np.int32),
        **close_fields(scenario, scale, grid),
    )
    return Prepared(
        scenario, grid, clearing_map, plan, _axes(scenario, grid, levels, plan), maps.floor_events
    )


def _refuse_long_outcomes(grid: TimeGrid, levels: int, where: str) -> None:
    """Raise InputError if the counts alone, of touches by level and step and of closes, would outgrow the memory."""
    counts = 2 * grid.n_steps * (levels + 2) + grid.n_sessions * MOST_CLOSE_BINS
    if 8 * counts > MOST_OUTCOME_BYTES:
        size = f"{grid.n_steps:,} steps and {levels} levels"
        why = f"counts for {size} outgrow {MOST_OUTCOME_BYTES >> 20} MiB"
        hint = "Try fewer steps per session, fewer levels or a shorter horizon."
        raise InputError(
            [Problem(where, "volatility.steps_per_session", str(grid.steps_per_session), why, hint)]
        )


def _axes(scenario: Scenario, grid: TimeGrid, levels: tuple[float, ...], plan: EnginePlan) -> OutcomeAxes:
    return OutcomeAxes(
        scenario=scenario.name,
        spot=scenario.market.spot,
        as_of=scenario.market.as_of,
        sessions=grid.sessions,
        steps_per_session=grid.steps_per_session,
        step_time=grid.step_time,
        levels=levels,
        upper=scenario.targets.upper,
        lower=scenario.targets.lower,
        regimes=("initial", *(r.name for r in scenario.regime)),
        close_edges=close_edges(plan, scenario.market.spot),
    )
