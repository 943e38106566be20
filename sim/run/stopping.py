"""Paths still wanted for a target standard error."""

from __future__ import annotations

import numpy as np

from sim.plan.outcomes import LOWER, UPPER, Outcomes

# A target standard error adds paths in multiples of this, whatever the engine, so that every engine stops alike.
PATHS_ADDED = 1 << 16
SMALLEST_TARGET_SE = 1e-6


def paths_wanting(outcomes: Outcomes, target_se: float, max_paths: int | None) -> int:
    """Paths to add for a standard error of both first-target odds with dealers; 0 when it is reached.

    se = sqrt(p·(1−p)/n), with p = (count + 1)/(n + 2) so that an event not yet seen does not count as settled.
    """
    n = outcomes.paths
    counts = outcomes.joint.sum(axis=1)[[UPPER, LOWER]]
    shares = (counts + 1) / (n + 2)
    spread = float(np.max(shares * (1 - shares)))
    if spread / n <= target_se**2:
        return 0
    wanted = int(np.ceil((spread / target_se**2 - n) / PATHS_ADDED)) * PATHS_ADDED
    allowed = wanted if max_paths is None else max_paths - n
    return max(0, min(wanted, allowed))
