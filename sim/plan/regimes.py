"""Regimes as engines read them: triggers, flows, weights and successors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sim.compiled.kernel_constants import NEVER
from sim.market.elementary import log, power
from sim.plan.dealers import group_weights, impact_per_bn
from sim.plan.engine_plan import Float32Array, Int32Array
from sim.plan.time_grid import TimeGrid
from sim.scenario.levels import rank_of_level
from sim.scenario.model import Regime, Scenario
from sim.scenario.triggers import TRIGGERS

NO_RANK = -1


def regime_fields(scenario: Scenario, grid: TimeGrid, levels: Sequence[float]) -> dict[str, Any]:
    """Fields of an `EnginePlan` that hold the regimes, each (R,) with "initial" first, `allowed_from` (R, R).

    Parameters
    ----------
    scenario : its regimes, in their order, and what dealers do to the price.
    grid : steps per session, over which flow and fading are spread.
    levels : (L,) all levels, index points.

    Returns
    -------
    fade : share of the impact that fades in one trading step.
    regime_flow : log price pressure in one trading step.
    book_of_regime : row of its weights.
    trigger, trigger_level : code, and log level relative to the start, 0 without one.
    trigger_rank, trigger_closes : rank of the level on its side, −1 unless touches count; closes in a row, 0 unless
        they count.
    run_start : closes in a row beyond the level that the start itself makes, 0 or 1.
    allowed_from : [regime][present regime] whether it may be entered from there.
    lasts, successor : sessions until it hands over, 0: never; regime that follows.
    """
    spot, half_life, steps = scenario.market.spot, scenario.dealers.impact_half_life, grid.steps_per_session
    names, regimes = ["initial", *(r.name for r in scenario.regime)], scenario.regime
    _, book_of_regime = group_weights(scenario, scenario.dealers.groups)

    def log_level(regime: Regime) -> float:
        return log(regime.level / spot) if regime.level is not None else 0.0

    def rank(regime: Regime) -> int:
        touched = regime.level is not None and TRIGGERS[regime.when].counts_touches
        return rank_of_level(levels, spot, regime.level or 0.0) if touched else NO_RANK

    def run_start(regime: Regime) -> int:
        trigger = TRIGGERS[regime.when]
        counted = regime.level is not None and trigger.counts_closes
        return int(counted and trigger.is_beyond(spot, regime.level or 0.0))

    def allowed(regime: Regime) -> list[bool]:
        return [(n in regime.from_) if regime.from_ is not None else n != regime.name for n in names]

    per_step = impact_per_bn(scenario) / steps
    fade = 1.0 - power(2.0, -1.0 / (half_life * steps)) if half_life > 0 else 0.0
    closes = [r.closes if TRIGGERS[r.when].counts_closes else 0 for r in regimes]
    return {
        "fade": np.float32(fade),
        "regime_flow": _float32(0.0, *(r.flow_bn_per_session * per_step for r in regimes)),
        "book_of_regime": book_of_regime,
        "trigger": _int32(NEVER, *(TRIGGERS[r.when].code for r in regimes)),
        "trigger_level": _float32(0.0, *map(log_level, regimes)),
        "trigger_rank": _int32(NO_RANK, *map(rank, regimes)),
        "trigger_closes": _int32(0, *closes),
        "run_start": _int32(0, *map(run_start, regimes)),
        "allowed_from": np.array([[False] * len(names), *map(allowed, regimes)]),
        "lasts": _int32(0, *(r.lasts or 0 for r in regimes)),
        "successor": _int32(0, *(names.index(r.then) if r.then else 0 for r in regimes)),
    }


def _float32(*values: float) -> Float32Array:
    return np.array(values, dtype=np.float32)


def _int32(*values: int) -> Int32Array:
    return np.array(values, dtype=np.int32)
