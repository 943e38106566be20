"""Tables of the normal law N and its density n, correctly rounded, made by integer arithmetic.

On the grid z_k = k·h the density comes from the recurrence of its ratios and the law from the Euler–Maclaurin sum, in
which odd derivatives of n vanish at zero:

    n(z_{k+1}) = n(z_k)·r_k        r_k = e^(−(2k+1)h²/2)        r_{k+1} = r_k·e^(−h²)
    N(z_k) = 1/2 + h·(n(0)/2 + … + n(z_k)/2) + Σ_j B_{2j}/(2j)!·h^(2j)·He_{2j−1}(z_k)·n(z_k)

Numbers are scaled by 2^150. With h = 1/64 six terms of the sum over j err by less than 1e-22 of N, down to −8.5.

Source: Abramowitz & Stegun (1964), 23.1.30 and 26.2.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Bits behind the binary point.
_BITS: Final = 150
_PI: Final = Fraction("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899")
# Bernoulli numbers B_2, B_4, …
_BERNOULLI: Final = tuple(Fraction(text) for text in ("1/6", "-1/30", "1/42", "-1/30", "5/66", "-691/2730"))


def _scaled(number: Fraction) -> int:
    return (number.numerator << _BITS) // number.denominator


def _exp_of_minus(x: Fraction) -> int:
    """Scaled e^−x for a small x > 0."""
    term, total, order = Fraction(1), Fraction(0), 0
    while term > Fraction(1, 1 << _BITS):
        total += -term if order % 2 else term
        order += 1
        term *= x / order
    return _scaled(total)


def normal_tables(entries_per_unit: int, last: int) -> tuple[FloatArray, FloatArray]:
    """N and n at k / entries_per_unit for k from −last to last, each (2·last + 1,) and the nearest float64.

    Parameters
    ----------
    entries_per_unit : 1/h, a power of two of 32 or more.
    last : entries on each side of zero.
    """
    # h = 2^−shift
    shift = entries_per_unit.bit_length() - 1
    step = Fraction(1, entries_per_unit**2)
    ratio, ratio_of_ratios = _exp_of_minus(step / 2), _exp_of_minus(step)
    density = math.isqrt(_scaled(1 / (2 * _PI)) << _BITS)
    densities = [density]
    for _ in range(last):
        density = density * ratio >> _BITS
        ratio = ratio * ratio_of_ratios >> _BITS
        densities.append(density)
    weights = [_scaled(b / math.factorial(2 * j + 2) * step ** (j + 1)) for j, b in enumerate(_BERNOULLI)]
    half = 1 << (_BITS - 1)
    laws = []
    before = 0
    for k, density in enumerate(densities):
        whole = before + (density >> 1) - (densities[0] >> 1)
        before += density
        laws.append(half + (whole >> shift) + (_end_term(k, shift, weights) * density >> _BITS))
    one = 1 << _BITS
    law = [(one - value) / one for value in laws[:0:-1]] + [value / one for value in laws]
    upper = [value / one for value in densities]
    return np.array(law), np.array(upper[:0:-1] + upper)


def _end_term(k: int, shift: int, weights: list[int]) -> int:
    """Scaled Σ_j weight_j·He_{2j−1}(z), z = k·2^−shift; He_{m+1} = z·He_m − m·He_{m−1}."""
    z = k << (_BITS - shift)
    total, even, odd = 0, 1 << _BITS, z
    for j, weight in enumerate(weights):
        total += weight * odd >> _BITS
        even = (k * odd >> shift) - (2 * j + 1) * even
        odd = (k * even >> shift) - (2 * j + 2) * odd
    return total
