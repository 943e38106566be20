"""Piecewise cubic Hermite interpolation."""

from __future__ import annotations

import numpy as np

from sim.market.black_scholes import FloatArray


def hermite(x: FloatArray, nodes: FloatArray, values: FloatArray, slopes: FloatArray) -> FloatArray:
    """Piecewise cubic through (nodes, values) with the given slopes; straight lines beyond both ends."""
    cell = np.minimum(np.maximum(np.searchsorted(nodes, x, side="right") - 1, 0), nodes.size - 2)
    width = nodes[cell + 1] - nodes[cell]
    t = (x - nodes[cell]) / width
    rise = values[cell + 1] - values[cell]
    start, end = slopes[cell] * width, slopes[cell + 1] * width
    inside = values[cell] + t * (start + t * ((3 * rise - 2 * start - end) + t * (start + end - 2 * rise)))
    below = values[0] + slopes[0] * (x - nodes[0])
    above = values[-1] + slopes[-1] * (x - nodes[-1])
    result: FloatArray = np.where(x < nodes[0], below, np.where(x > nodes[-1], above, inside))
    return result
