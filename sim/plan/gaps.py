"""Overnight gaps as engines read them: mixtures of catalyst outcomes and jumps."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.market.black_scholes import SESSIONS_PER_YEAR
from sim.market.elementary import squared
from sim.plan.time_grid import TimeGrid
from sim.scenario.model import Scenario


def gap_outcomes(scenario: Scenario, grid: TimeGrid) -> list[tuple[tuple[float, float, float], ...]]:
    """Each session's gap mixture, (probability, mean, variance): the catalyst's outcomes, with and without a jump."""
    jump_probability = scenario.jumps.per_year / SESSIONS_PER_YEAR
    catalysts = {c.session: c for c in scenario.catalyst}
    mixtures = []
    for session in grid.sessions:
        catalyst = catalysts.get(session)
        base = [(1.0, 0.0, 0.0)]
        if catalyst:
            base = [(o.probability, o.mean, squared(o.sd)) for o in catalyst.outcomes]
        if jump_probability > 0:
            jumped = [
                (p * jump_probability, mean + scenario.jumps.mean, variance + squared(scenario.jumps.sd))
                for p, mean, variance in base
            ]
            base = [(p * (1 - jump_probability), mean, variance) for p, mean, variance in base] + jumped
        mixtures.append(tuple(outcome for outcome in base if outcome[0] > 0))
    return mixtures


def gap_fields(scenario: Scenario, grid: TimeGrid) -> dict[str, Any]:
    """Fields of an `EnginePlan` that hold every session's gap mixture."""
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
