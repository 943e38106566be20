"""Number of paths for a target standard error of both first-target odds with dealers.

se = sqrt(p·(1 − p)/n), with p = (count + 1)/(n + 2), so that an event not yet seen does not count as settled
"""

from __future__ import annotations

import numpy as np

from sim.plan.outcomes import LOWER, UPPER, Outcomes

# A target standard error adds paths in multiples of this, whatever the engine, so that every engine stops alike.
PATHS_ADDED = 1 << 16
SMALLEST_TARGET_SE = 1e-6


def paths_for(outcomes: Outcomes, target_se: float) -> float:
    """Number of paths at which both odds would have a standard error, p·(1 − p)/se², not rounded.

    outcomes : counts of any run of the scenario.
    target_se : se, a probability.
    """
    return _spread(outcomes) / target_se**2


def paths_wanting(outcomes: Outcomes, target_se: float, max_paths: int | None) -> int:
    """Number of paths to add until both odds have a standard error; 0 when they have it.

    Parameters
    ----------
    outcomes : counts so far.
    target_se : se, a probability.
    max_paths : most paths, those so far included; as many as it takes if None.
    """
    n = outcomes.paths
    if _spread(outcomes) / n <= target_se**2:
        return 0
    wanted = int(np.ceil((paths_for(outcomes, target_se) - n) / PATHS_ADDED)) * PATHS_ADDED
    allowed = wanted if max_paths is None else max_paths - n
    return max(0, min(wanted, allowed))


def _spread(outcomes: Outcomes) -> float:
    """Larger p·(1 − p) of the two odds."""
    shares = (outcomes.joint.sum(axis=1)[[UPPER, LOWER]] + 1) / (outcomes.paths + 2)
    return float(np.max(shares * (1 - shares)))
