"""Scenario → EnginePlan: calendar, dealers' book, reaction map, ladder and regimes as an engine reads them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim import kernel_constants
from sim.black_scholes import SESSIONS_PER_YEAR, FloatArray
from sim.dealer_book import build_dealer_book, group_weights
from sim.errors import InputError, Problem
from sim.expiry_curves import WIDTHS_COVERED
from sim.kernel_constants import VARIANCE_ATOMS_BITS
from sim.map_tables import MapTables, build_map_tables, identity_tables
from sim.market.elementary import exp, floor_log2, log, power
from sim.market.gamma_law import inverse_means
from sim.outcomes import OutcomeAxes
from sim.plan import EnginePlan
from sim.reaction_map import FloorEvent, ReactionMap
from sim.scenario import Regime, Scenario
from sim.shared_work import SharedWork
from sim.timegrid import TimeGrid, build_time_grid

# Bins of the close histogram; the width of a bin is a power of two, 1/8192 or less than a point for a month.
MOST_CLOSE_BINS = 8192
SHORTEST_REACH = 0.25
LONGEST_REACH = 3.0
# Steps of the map's reach by log unit.
REACH_STEPS = 8
# One set of counts, of which every worker holds one.
MOST_OUTCOME_BYTES = 1 << 29
TRIGGERS = {
    "never": kernel_constants.NEVER,
    "closes_above": kernel_constants.CLOSES_ABOVE,
    "closes_below": kernel_constants.CLOSES_BELOW,
    "touches_above": kernel_constants.TOUCHES_ABOVE,
    "touches_below": kernel_constants.TOUCHES_BELOW,
}


@dataclass(frozen=True)
class Prepared:
    """A scenario ready to run.

    Attributes
    ----------
    scenario : what it was built from.
    grid : sessions and instants.
    reaction_map : the float64 map behind the tables.
    plan : what engines see.
    axes : labels of the outcomes.
    floor_events : where the feedback factor's floor binds.
    """

    scenario: Scenario
    grid: TimeGrid
    reaction_map: ReactionMap
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
    InputError : the reaction map is not increasing and no floor is set, or the run would not fit into memory.
    """
    grid = build_time_grid(scenario)
    reaction_map = _reaction_map(scenario, grid)
    variance = _squared(scenario.volatility.annual) / SESSIONS_PER_YEAR
    observed = scenario.volatility.quoted == "observed"
    scale = _squared(feedback_at_start(reaction_map, grid)) if observed else 1.0
    ladder = log(np.array(scenario.ladder) / scenario.market.spot)
    _refuse_long_outcomes(scenario, grid, where or scenario.name)
    shared = SharedWork() if shared is None else shared
    maps = _map_tables(reaction_map, grid, ladder, where or scenario.name, shared)
    bins_reach = close_reach(scenario, scale, grid)
    bins_per_unit = math.ldexp(1.0, floor_log2(MOST_CLOSE_BINS / (2 * bins_reach)))
    plan = EnginePlan(
        sessions=grid.n_sessions,
        steps_per_session=grid.steps_per_session + 1,
        share=grid.share.astype(np.float32),
        root_share=np.sqrt(grid.share).astype(np.float32),
        session_drift=np.float32(scenario.drift.annual / SESSIONS_PER_YEAR),
        **_variance_fields(scenario, variance * scale, scale, shared),
        **_outcome_fields(scenario, grid),
        **_regime_fields(scenario, grid),
        **maps.plan_fields,
        target_rank=np.array(
            [_rank(scenario, scenario.targets.upper), _rank(scenario, scenario.targets.lower)], "i4"
        ),
        close_low=np.float32(-bins_reach),
        close_scale=np.float32(bins_per_unit),
        close_bins=int(2 * bins_reach * bins_per_unit),
    )
    return Prepared(
        scenario,
        grid,
        reaction_map,
        plan,
        _axes(scenario, grid, plan),
        maps.floor_events,
    )


def _squared(x: float) -> float:
    """x², by a product: Python's power is libm's."""
    return x * x


def _map_tables(
    reaction_map: ReactionMap, grid: TimeGrid, ladder: FloatArray, where: str, shared: SharedWork
) -> MapTables:
    if reaction_map.is_identity:
        return identity_tables(grid, ladder, len(reaction_map.weights))
    instants = (grid.start_minute, grid.step_end_minute.tobytes(), grid.steps_per_session)
    key = ("map tables", reaction_map.key, instants, ladder.tobytes())
    return shared.get(
        key, lambda: build_map_tables(reaction_map, grid, ladder, where), lambda maps: maps.nbytes
    )


def _refuse_long_outcomes(scenario: Scenario, grid: TimeGrid, where: str) -> None:
    """Refuse a run whose counts alone would fill the memory: touches by level and step, closes by session."""
    counts = 2 * grid.n_steps * (len(scenario.ladder) + 2) + grid.n_sessions * MOST_CLOSE_BINS
    if 8 * counts > MOST_OUTCOME_BYTES:
        size = f"{grid.n_steps:,} steps and {len(scenario.ladder)} levels"
        why = f"counts for {size} outgrow {MOST_OUTCOME_BYTES >> 20} MiB"
        hint = "Try fewer steps a session, fewer levels or a shorter horizon."
        value = str(scenario.volatility.steps_per_session)
        raise InputError([Problem(where, "volatility.steps_per_session", value, why, hint)])


def feedback_at_start(reaction_map: ReactionMap, grid: TimeGrid) -> float:
    """Feedback factor max(m, m_floor) of the initial regime at the start, s = 0."""
    _, slopes = reaction_map.unfloored(np.zeros(1), grid.start_minute, after_settlement=True)
    return max(float(slopes[0, 0]), reaction_map.m_floor)


def initial_feedback(scenario: Scenario) -> float:
    """Feedback factor m_0(0,0) of a scenario: fundamental volatility over observed volatility at the start."""
    grid = build_time_grid(scenario)
    reaction_map = _reaction_map(scenario, grid)
    return 1.0 if reaction_map.is_identity else feedback_at_start(reaction_map, grid)


def impact_per_bn(scenario: Scenario) -> float:
    """Log price move for $1bn traded: impact_bp_per_bn · 1e-4."""
    return scenario.dealers.impact_bp_per_bn * 1e-4


def close_reach(scenario: Scenario, scale: float, grid: TimeGrid) -> float:
    """Half-width of the close histogram in log units, a multiple of 1/16: nine standard deviations, at least 1/4.

    Parameters
    ----------
    scenario : its larger volatility counts, the present or the long-run one.
    scale : variance of the fundamental over the quoted variance.
    grid : the horizon.
    """
    volatility = max(scenario.volatility.annual, scenario.volatility.long_run_annual or 0.0)
    deviation = volatility * np.sqrt(scale * grid.n_sessions / SESSIONS_PER_YEAR)
    return float(np.clip(np.ceil(9.0 * deviation * 16) / 16, 0.25, LONGEST_REACH))


def _reaction_map(scenario: Scenario, grid: TimeGrid) -> ReactionMap:
    book = build_dealer_book(scenario, grid)
    weights, _ = group_weights(scenario, book.groups)
    deviation = scenario.volatility.annual * np.sqrt(grid.n_sessions / SESSIONS_PER_YEAR)
    spot, start = scenario.market.spot, grid.start_minute
    live = book.live_at(start, after_settlement=True, spot=spot)
    edges = (np.abs(log(np.array(scenario.ladder) / spot)) + 0.1).tolist()
    edges += (np.abs(live.centre) + WIDTHS_COVERED * live.width).tolist()
    furthest = max(SHORTEST_REACH, 8.0 * deviation, *edges)
    # In coarse steps, so that cases that differ in volatility or targets have the map's nodes in common.
    reach = float(min(np.ceil(furthest * REACH_STEPS) / REACH_STEPS, LONGEST_REACH))
    kappa = impact_per_bn(scenario) / 1e9 * spot
    return ReactionMap(spot, kappa, book, weights, scenario.dealers.m_floor, reach)


def _variance_fields(
    scenario: Scenario, variance: float, scale: float, shared: SharedWork
) -> dict[str, Any]:
    v = scenario.volatility
    long_run = (
        _squared(v.long_run_annual if v.long_run_annual is not None else v.annual) / SESSIONS_PER_YEAR * scale
    )
    constant = v.alpha == 0 and v.gamma == 0 and v.beta == 1
    omega = 0.0 if constant else long_run * (1.0 - v.alpha - 0.5 * v.gamma - v.beta)
    dof = v.tail_dof
    atoms = np.empty(0)
    if dof is not None:
        atoms = shared.get(
            ("variance atoms", dof), lambda: student_t_variance_atoms(dof), lambda found: found.nbytes
        )
    return {
        "variance_start": np.float32(variance),
        "omega": np.float32(omega),
        "alpha": np.float32(v.alpha),
        "gamma": np.float32(v.gamma),
        "beta": np.float32(v.beta),
        "variance_atoms": atoms.astype(np.float32),
    }


def student_t_variance_atoms(dof: float) -> FloatArray:
    """Equally likely atoms of V = (ν−2)/χ²_ν, each the mean of V over its cell; ascending in χ².

    Over a cell of χ² between a and b, ∫ (ν−2)/x dF_ν(x) = F_{ν−2}(b) − F_{ν−2}(a), so that the atoms' mean is one.
    """
    return inverse_means(0.5 * dof, 1 << VARIANCE_ATOMS_BITS)


def gap_outcomes(scenario: Scenario, grid: TimeGrid) -> list[tuple[tuple[float, float, float], ...]]:
    """Each session's gap mixture, (probability, mean, variance): the catalyst's outcomes, with and without a jump."""
    jump_probability = scenario.jumps.per_year / SESSIONS_PER_YEAR
    catalysts = {c.session: c for c in scenario.catalyst}
    mixtures = []
    for session in grid.sessions:
        catalyst = catalysts.get(session)
        base = [(1.0, 0.0, 0.0)]
        if catalyst:
            base = [(o.probability, o.mean, _squared(o.sd)) for o in catalyst.outcomes]
        if jump_probability > 0:
            jumped = [
                (p * jump_probability, mean + scenario.jumps.mean, variance + _squared(scenario.jumps.sd))
                for p, mean, variance in base
            ]
            base = [(p * (1 - jump_probability), mean, variance) for p, mean, variance in base] + jumped
        mixtures.append(tuple(outcome for outcome in base if outcome[0] > 0))
    return mixtures


def _outcome_fields(scenario: Scenario, grid: TimeGrid) -> dict[str, Any]:
    start, thresholds, means, variances = [0], [], [], []
    for mixture in gap_outcomes(scenario, grid):
        if mixture != ((1.0, 0.0, 0.0),):
            cumulative = np.cumsum([p for p, _, _ in mixture])
            words = np.round(cumulative / cumulative[-1] * float(1 << 32)) - 1
            thresholds += [int(max(word, 0)) for word in words]
            means += [mean for _, mean, _ in mixture]
            variances += [variance for _, _, variance in mixture]
        start.append(len(thresholds))
    return {
        "outcome_start": np.array(start, dtype=np.int32),
        "outcome_threshold": np.array(thresholds, dtype=np.uint32),
        "outcome_mean": np.array(means, dtype=np.float32),
        "outcome_variance": np.array(variances, dtype=np.float32),
    }


def _regime_fields(scenario: Scenario, grid: TimeGrid) -> dict[str, Any]:
    spot, half_life = scenario.market.spot, scenario.dealers.impact_half_life
    names = ["initial", *(r.name for r in scenario.regime)]
    rows = scenario.regime
    _, book_of_regime = group_weights(scenario, scenario.dealers.groups)

    def started(regime: Regime) -> int:
        above = regime.when == "closes_above" and spot > (regime.level or np.inf)
        below = regime.when == "closes_below" and spot < (regime.level or 0.0)
        return int(above or below)

    def allowed(regime: Regime) -> list[bool]:
        return [(n in regime.from_) if regime.from_ is not None else n != regime.name for n in names]

    def log_level(regime: Regime) -> float:
        return log(regime.level / spot) if regime.level is not None else 0.0

    per_step = impact_per_bn(scenario) / grid.steps_per_session
    return {
        "fade": np.float32(
            1.0 - power(2.0, -1.0 / (half_life * grid.steps_per_session)) if half_life > 0 else 0.0
        ),
        "regime_flow": np.array([0.0, *(r.flow_bn_per_session * per_step for r in rows)], dtype=np.float32),
        "book_of_regime": book_of_regime,
        "trigger": np.array([0, *(TRIGGERS[r.when] for r in rows)], dtype=np.int32),
        "trigger_level": np.array([0.0, *(log_level(r) for r in rows)], dtype=np.float32),
        "trigger_rank": np.array(
            [
                -1,
                *(_rank(scenario, r.level) if r.level and r.when.startswith("touches") else -1 for r in rows),
            ],
            dtype=np.int32,
        ),
        "trigger_closes": np.array(
            [0, *(r.closes if r.when.startswith("closes") else 0 for r in rows)], dtype=np.int32
        ),
        "run_start": np.array([0, *(started(r) for r in rows)], dtype=np.int32),
        "allowed_from": np.array([[False] * len(names), *(allowed(r) for r in rows)]),
        "lasts": np.array([0, *(r.lasts or 0 for r in rows)], dtype=np.int32),
        "successor": np.array([0, *(names.index(r.then) if r.then else 0 for r in rows)], dtype=np.int32),
    }


def _rank(scenario: Scenario, level: float) -> int:
    """Place of a level among those on its side of the start, the nearest first."""
    spot = scenario.market.spot
    return sum(1 for other in scenario.ladder if spot < other < level or level < other < spot)


def _axes(scenario: Scenario, grid: TimeGrid, plan: EnginePlan) -> OutcomeAxes:
    edges = float(plan.close_low) + np.arange(plan.close_bins + 1) / float(plan.close_scale)
    return OutcomeAxes(
        scenario=scenario.name,
        spot=scenario.market.spot,
        as_of=scenario.market.as_of,
        sessions=grid.sessions,
        steps_per_session=grid.steps_per_session,
        step_time=grid.step_time,
        levels=scenario.ladder,
        upper=scenario.targets.upper,
        lower=scenario.targets.lower,
        regimes=("initial", *(r.name for r in scenario.regime)),
        close_edges=scenario.market.spot * exp(edges),
    )
