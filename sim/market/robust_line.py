"""Straight line through points of which some are out of line, fitted in arithmetic that IEEE 754 pins down.

    least Σ ρ(e_i/s_i)      e = y − intercept − slope·x      ρ(r) = 2·(√(1 + r²) − 1)

Legend: s spread of a point. The sum is convex. Each step is Newton's, that of least squares with the weights
1/√(1 + r²), or four times as much, whichever leads lowest; the second always descends.

Source: Charbonnier, Blanc-Féraud, Aubert & Barlaud (1997).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim.market.elementary import sums_in_order

FloatArray = NDArray[np.float64]

_MOST_STEPS: Final = 60
_FURTHER: Final = 4.0
# Share of the misfit below which it is flat.
_FLAT: Final = 1e-9


def fitted_line(
    x: FloatArray, y: FloatArray, spread: FloatArray, start: tuple[float, float]
) -> tuple[float, float] | None:
    """Intercept and slope of the line, or None where all x are equal.

    Parameters
    ----------
    x, y, spread : (n,) each, n ≥ 1; spreads positive.
    start : intercept and slope to begin with.
    """
    intercept, slope = start
    by_spread = 1.0 / (spread * spread)
    best, residual = _misfit(x, y, spread, intercept, slope)
    for _ in range(_MOST_STEPS):
        ratio = residual / spread
        bent = 1.0 + ratio * ratio
        weight = by_spread / np.sqrt(bent)
        pull = weight * residual
        newton, descent = _step(x, weight / bent, pull), _step(x, weight, pull)
        if newton is None or descent is None:
            return None
        tried = []
        for step, factor in ((newton, 1.0), (descent, 1.0), (descent, _FURTHER)):
            moved = intercept + factor * step[0], slope + factor * step[1]
            tried.append((*_misfit(x, y, spread, *moved), moved))
        misfit, residual, moved = min(tried, key=lambda some: some[0])
        if not misfit < best:
            # Where the misfit is flat to its last bits, Newton's step still leads nearer to its least.
            return tried[0][2] if tried[0][0] <= best * (1.0 + _FLAT) else (intercept, slope)
        best, (intercept, slope) = misfit, moved
    return intercept, slope


def _misfit(
    x: FloatArray, y: FloatArray, spread: FloatArray, intercept: float, slope: float
) -> tuple[float, FloatArray]:
    """Σ ρ, and the residuals e."""
    residual = (y - intercept) - slope * x
    ratio = residual / spread
    squared = ratio * ratio
    # 2·(√(1 + r²) − 1) without cancellation
    (total,) = sums_in_order(2.0 * squared / (1.0 + np.sqrt(1.0 + squared)))
    return total, residual


def _step(x: FloatArray, weight: FloatArray, pull: FloatArray) -> tuple[float, float] | None:
    """Change of intercept and slope that solves the weighted normal equations, None where many do."""
    total, first, by_pull, by_pull_x = sums_in_order(weight, weight * x, pull, pull * x)
    if not total > 0.0:
        return None
    middle = first / total
    apart = x - middle
    (spread_of_x,) = sums_in_order(weight * (apart * apart))
    if not spread_of_x > 0.0:
        return None
    slope = (by_pull_x - middle * by_pull) / spread_of_x
    return by_pull / total - middle * slope, slope
