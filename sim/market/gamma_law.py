"""The gamma law: distribution, density, quantiles, and cell means of the Student-t law's variances.

    f_a(x) = x^(a−1)·e^(−x)/Γ(a)        P(a,x) = ∫_0^x f_a        Q = 1 − P

Legend: a shape, 1.02 or more; b = a − 1, the place of the density's peak; p probability.

All of it is arithmetic that IEEE 754 pins down (see `sim.market.elementary`), with numbers of terms and steps that
depend on a alone.

Source: Abramowitz & Stegun (1964), 6.1.41, 6.5.29 and 6.5.31; Wilson & Hilferty (1931).
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim.market.elementary import exp, interpolate, log, power
from sim.market.normal_table import normal_tables

FloatArray = NDArray[np.float64]

# Stirling's series is summed from here on.
_LARGE: Final = 16.0
_STIRLING: Final = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
# A term of the series for P that is too small to count, relative to the sum.
_NEGLIGIBLE: Final = 2.0**-58
# Terms of the continued fraction for Q.
_FRACTIONS: Final = 60
# Shape from which on the first guesses of quantiles are so good that one step fewer does.
_WELL_GUESSED: Final = 10.0
# Cells at each end of the law whose means come from differences of the density.
_END_CELLS: Final = 48
# Means over the middle cell of ten places evenly apart, from the outermost place to the innermost.
_MEAN_WEIGHTS: Final = tuple(n / 7257600 for n in (2497, -28939, 162680, -641776, 4134338))
# Entries of the table by which normal quantiles are guessed: per unit, and on each side of zero.
_GUESS_ENTRIES: Final = (32, 192)


def peak_density(b: float) -> float:
    """f_a at its peak b = a − 1, b^b·e^(−b)/Γ(b + 1), b > 0: Stirling's series at z = b + m, the first z ≥ 16.

    ln f = b·ln(b/z) + m + Σ_i ln((b + i)/z) − ln(2πz)/2 − 1/(12z) + 1/(360z³) − …     i = 1 … m
    """
    m = max(math.ceil(_LARGE - b), 0)
    z = b + m
    product = 1.0
    for i in range(1, m + 1):
        product *= (b + i) / z
    squared = 1.0 / (z * z)
    series = 0.0
    for coefficient in reversed(_STIRLING):
        series = coefficient + squared * series
    return product * exp((b * log(b / z) + m) - series / z) / math.sqrt(2.0 * math.pi * z)


def gamma_density(a: float, x: FloatArray) -> FloatArray:
    """f_a at x > 0 (n,)."""
    b = a - 1.0
    u = x * (1.0 / b)
    return peak_density(b) * exp((log(u) - (u - 1.0)) * b)


def gamma_law(a: float, x: FloatArray, density: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
    """P(a,x) and Q(a,x) at ascending x > 0, both (n,); of each the smaller one to about 1e-14 of itself.

    Parameters
    ----------
    a : shape.
    x : (n,) ascending.
    density : (n,) f_a at x; worked out if None.

    Up to x = a + √a: P = x·f_a(x)/a·(1 + x/(a+1) + x²/((a+1)(a+2)) + …)
    from there on: Q = x·f_a(x) / (x+1−a − 1·(1−a)/(x+3−a − 2·(2−a)/(x+5−a − …)))
    """
    density = gamma_density(a, x) if density is None else density
    cut = int(np.searchsorted(x, a + math.sqrt(a)))
    low, high = x[:cut], x[cut:]
    result = np.empty((2, x.size))
    result[0, :cut] = low * density[:cut] * _series(a, low)
    result[1, :cut] = 1.0 - result[0, :cut]
    result[1, cut:] = high * density[cut:] / _fraction(a, high)
    result[0, cut:] = 1.0 - result[1, cut:]
    return result[0], result[1]


def _series(a: float, x: FloatArray) -> FloatArray:
    """(1 + x/(a+1) + x²/((a+1)(a+2)) + …)/a, by Horner's rule from the last term that counts at the largest x."""
    if not x.size:
        return x
    largest = float(x[-1])
    term = total = 1.0
    count = 0
    while term > _NEGLIGIBLE * total:
        count += 1
        term *= largest / (a + count)
        total += term
    result = np.ones_like(x)
    for i in range(count, 0, -1):
        result *= x * (1.0 / (a + i))
        result += 1.0
    return result / a


def _fraction(a: float, x: FloatArray) -> FloatArray:
    """x+1−a − 1·(1−a)/(x+3−a − 2·(2−a)/(x+5−a − …))."""
    base = x - a
    result = base + (2 * _FRACTIONS + 1.0)
    for i in range(_FRACTIONS, 0, -1):
        result = (base + (2 * i - 1.0)) - (i * (i - a)) / result
    return result


@cache
def _normal_quantiles(count: int) -> FloatArray:
    """Standard normal quantiles of i/count, i from 1 to count − 1, to about 1e-3: (count − 1,)."""
    entries_per_unit, last = _GUESS_ENTRIES
    law, _ = normal_tables(entries_per_unit, last)
    found = interpolate(np.arange(1, count) / count, law, np.arange(-last, last + 1) / entries_per_unit)
    found.flags.writeable = False
    return found


def gamma_quantiles(a: float, count: int) -> FloatArray:
    """Quantiles x_i of the gamma law, P(a, x_i) = i/count for i from 1 to count − 1: (count − 1,) ascending.

    Each is right to about 1e-14 of itself.

    First guesses are Wilson and Hilferty's, and t·(1 + t/(a+1)) with t = (p·Γ(a+1))^(1/a) near zero. Each step raises
    the error to the fourth power: with h = (p − P)/f it adds the inverse's series h − w·h²/2 + (2w² + b/x²)·h³/6,
    w = f′/f = b/x − 1.
    """
    b = a - 1.0
    p = np.arange(1, count) / count
    q = np.arange(count - 1, 0, -1) / count
    z = _normal_quantiles(count)
    root = (1.0 - 1.0 / (9.0 * a)) + z * (1.0 / (3.0 * math.sqrt(a)))
    # Γ(a+1) = a·b^b·e^(−b)/f_a(b)
    gamma = a * power(b, b) * exp(-b) / peak_density(b) if a < _LARGE else math.inf
    near_zero = int(np.searchsorted(p, 0.5 / gamma)) if a < 8.0 else 0
    x = a * (root * root * root)
    if near_zero:
        t = power(p[:near_zero] * gamma, 1.0 / a)
        x[:near_zero] = t * (1.0 + t * (1.0 / (a + 1.0)))
    for _ in range(2 if a >= _WELL_GUESSED else 3):
        f = gamma_density(a, x)
        below, above = gamma_law(a, x, f)
        h = np.where(p < q, p - below, above - q) / f
        by_x = b / x
        w = by_x - 1.0
        x = x + h * (1.0 - h * (0.5 * w - h * ((2.0 * w * w + by_x / x) * (1.0 / 6.0))))
    return x


def inverse_means(a: float, count: int) -> FloatArray:
    """Means of b/X over equally likely cells of a gamma variable X, b = a − 1, (count,), falling; their mean is 1.

    Since b·f_a(x)/x = f_b(x) and P(b,x) = P(a,x) + f_a(x), a cell's mean is 1 + count·(f_a at its end − at its
    beginning). Away from both ends, where that cancels, the mean comes from b/x at the five edges on each side.

    Parameters
    ----------
    a : shape.
    count : of cells, at least 128.
    """
    x = gamma_quantiles(a, count)
    ends = np.zeros(2 * _END_CELLS + 2)
    ends[1 : _END_CELLS + 1] = gamma_density(a, x[:_END_CELLS])
    ends[_END_CELLS + 1 : -1] = gamma_density(a, x[-_END_CELLS:])
    by_ends = 1.0 + count * np.diff(ends)
    # Value i belongs to the edge i + 1.
    value = (a - 1.0) / x
    cells = count - 2 * _END_CELLS
    first = _END_CELLS - 1
    middle = np.zeros(cells)
    for k, weight in enumerate(_MEAN_WEIGHTS):
        left, right = first - 4 + k, first + 5 - k
        middle = middle + weight * (value[left : left + cells] + value[right : right + cells])
    return np.concatenate((by_ends[:_END_CELLS], middle, by_ends[-_END_CELLS:]))
