"""Cubic Hermite interpolation: the one cubic of a cell with given values and slopes at both ends.

    f(t) = f0 + t·(start + t·(second + t·third)),   t from 0 to 1 over the cell
    second = 3·rise − 2·start − end,   third = start + end − 2·rise

Legend: rise f1 − f0, start and end the slopes at both ends times the width of the cell.
"""

from __future__ import annotations

import numpy as np

from sim.market.black_scholes import FloatArray


def cubic_coefficients(rise: FloatArray, start: FloatArray, end: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Coefficients of t² and t³, of shapes that broadcast; see the module for the legend."""
    return 3 * rise - 2 * start - end, start + end - 2 * rise


def hermite(x: FloatArray, nodes: FloatArray, values: FloatArray, slopes: FloatArray) -> FloatArray:
    """Piecewise cubic through (nodes, values) with the given slopes, straight lines beyond both ends.

    Parameters
    ----------
    x : (m,) where it is read.
    nodes, values, slopes : (n,) abscissae, ascending; the function there; its derivative there.
    """
    cell = np.minimum(np.maximum(np.searchsorted(nodes, x, side="right") - 1, 0), nodes.size - 2)
    width = nodes[cell + 1] - nodes[cell]
    t = (x - nodes[cell]) / width
    start, end = slopes[cell] * width, slopes[cell + 1] * width
    second, third = cubic_coefficients(values[cell + 1] - values[cell], start, end)
    inside = values[cell] + t * (start + t * (second + t * third))
    below = values[0] + slopes[0] * (x - nodes[0])
    above = values[-1] + slopes[-1] * (x - nodes[-1])
    result: FloatArray = np.where(x < nodes[0], below, np.where(x > nodes[-1], above, inside))
    return result
