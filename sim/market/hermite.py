"""Cubic Hermite interpolation: the one cubic on an interval with given values and slopes at both ends.

    f(t) = f0 + t·(start + t·(second + t·third)),   t from 0 to 1 over the interval
    second = 3·rise − 2·start − end,   third = start + end − 2·rise

Legend: rise f1 − f0, start and end the slopes at both ends times the width of the interval.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.market.black_scholes import FloatArray


def cubic_coefficients(rise: FloatArray, start: FloatArray, end: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Coefficients of t² and t³, of shapes that broadcast; see the module for the legend."""
    return 3 * rise - 2 * start - end, start + end - 2 * rise


def cubic(
    t: FloatArray | float, value: FloatArray, start: FloatArray, second: FloatArray, third: FloatArray
) -> FloatArray:
    """Value f(t) of cubics, of shapes that broadcast; `value` is f0, see the module for the rest."""
    return value + t * (start + t * (second + t * third))


def cubic_slope(
    t: FloatArray | float, start: FloatArray, second: FloatArray, third: FloatArray
) -> FloatArray:
    """Derivative f'(t) of cubics, of shapes that broadcast; see the module for the legend."""
    return start + t * (2 * second + t * (3 * third))


def intervals_of(x: FloatArray, nodes: FloatArray) -> tuple[NDArray[np.intp], FloatArray, FloatArray]:
    """Interval in which each x lies, the first or last one beyond the ends: index, width and t, (m,) each.

    Parameters
    ----------
    x : (m,) abscissae.
    nodes : (n,) ends of the n − 1 intervals, ascending.
    """
    interval = np.minimum(np.maximum(np.searchsorted(nodes, x, side="right") - 1, 0), nodes.size - 2)
    width = nodes[interval + 1] - nodes[interval]
    return interval, width, (x - nodes[interval]) / width


def hermite(x: FloatArray, nodes: FloatArray, values: FloatArray, slopes: FloatArray) -> FloatArray:
    """Piecewise cubic through (nodes, values) with the given slopes, straight lines beyond both ends.

    Parameters
    ----------
    x : (m,) where it is read.
    nodes, values, slopes : (n,) abscissae, ascending; the function there; its derivative there.
    """
    interval, width, t = intervals_of(x, nodes)
    start, end = slopes[interval] * width, slopes[interval + 1] * width
    second, third = cubic_coefficients(values[interval + 1] - values[interval], start, end)
    inside = cubic(t, values[interval], start, second, third)
    below = values[0] + slopes[0] * (x - nodes[0])
    above = values[-1] + slopes[-1] * (x - nodes[-1])
    result: FloatArray = np.where(x < nodes[0], below, np.where(x > nodes[-1], above, inside))
    return result
