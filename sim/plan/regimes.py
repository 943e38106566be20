"""Regimes as engines read them: triggers, flows, weights and successors."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.compiled import kernel_constants
from sim.market.elementary import log, power
from sim.plan.dealers import group_weights
from sim.plan.time_grid import TimeGrid
from sim.scenario.model import Regime, Scenario

TRIGGERS = {
    "never": kernel_constants.NEVER,
    "closes_above": kernel_constants.CLOSES_ABOVE,
    "closes_below": kernel_constants.CLOSES_BELOW,
    "touches_above": kernel_constants.TOUCHES_ABOVE,
    "touches_below": kernel_constants.TOUCHES_BELOW,
}


def impact_per_bn(scenario: Scenario) -> float:
    """Log price move for $1bn traded: impact_bp_per_bn · 1e-4."""
    return scenario.dealers.impact_bp_per_bn * 1e-4


def regime_fields(scenario: Scenario, grid: TimeGrid) -> dict[str, Any]:
    """Fields of an `EnginePlan` that hold the regimes, "initial" first."""
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
                *(
                    rank_of_level(scenario, r.level) if r.level and r.when.startswith("touches") else -1
                    for r in rows
                ),
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


def rank_of_level(scenario: Scenario, level: float) -> int:
    """Place of a level among those on its side of the start, the nearest first."""
    spot = scenario.market.spot
    return sum(1 for other in scenario.all_levels if spot < other < level or level < other < spot)
