"""Random words to exponentials and normals, by polynomials in float32.

    −2·ln u,  u an odd multiple of 2^−31;    (z0, z1) = sqrt(−2·ln u)·(±cos θ, sin θ),  θ uniform on (−π/2, π/2)

u = ((w mod 2^31) | 1)/2^31 of a word w. The top bit of the angle's word is the sign of the cosine; the next 19 are θ,
a signed number and a half, so that −θ is as likely as θ; the low 12 are left to the bridge. The farthest normal is
6.55 standard deviations out.

Source: Box & Muller (1958); argument reduction of the logarithm as in Cephes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.compiled.kernel_constants import (
    ANGLE_SPARE_BITS,
    COSINE_POLYNOMIAL,
    LOG_POLYNOMIAL,
    MINUS_TWO_LN_TWO,
    SINE_POLYNOMIAL,
    SQRT_HALF_BITS,
    UNIFORM_BITS,
)
from sim.kernels_numpy.philox import WordArray

Float32Array = NDArray[np.float32]
SIGN_BIT = np.uint32(0x80000000)
UNIFORM_MASK, LOWEST_BIT = np.uint32((1 << UNIFORM_BITS) - 1), np.uint32(1)
# Bit patterns of float32: subtracting this one divides by 2^31 and makes √½ the first of its binade.
LOG_ORIGIN = np.int32(SQRT_HALF_BITS + (UNIFORM_BITS << 23))
EXPONENT_MASK, MANTISSA_MASK = np.int32(-(1 << 23)), np.int32((1 << 23) - 1)
MINUS_TWO_LN_TWO_UNIT = np.float32(MINUS_TWO_LN_TWO * 2.0**-23)
# An angle is shifted left by one, its spare bits replaced by a half.
ANGLE_MASK = np.uint32((0xFFFFFFFF >> (ANGLE_SPARE_BITS + 1)) << (ANGLE_SPARE_BITS + 1))
ANGLE_HALF = np.uint32(1 << ANGLE_SPARE_BITS)
ANGLE_UNIT = np.float32(2.0**-31)
ONE = np.float32(1.0)


def horner(coefficients: tuple[float, ...], t: Float32Array, out: Float32Array) -> None:
    """Polynomial c0 + c1·t + c2·t² + … into `out`, one multiply and one add per coefficient."""
    highest, *rest = (np.float32(c) for c in reversed(coefficients))
    np.multiply(t, highest, out=out)
    for c in rest[:-1]:
        np.add(out, c, out=out)
        np.multiply(out, t, out=out)
    np.add(out, rest[-1], out=out)


def minus_two_log(words: WordArray, out: Float32Array, work: Float32Array) -> None:
    """−2·ln u of each word, twice a unit exponential; zero for the largest u.

    u = m·2^k, m in [√½, √2):  −2·ln u = −2·ln 2·k + t·P(t), t = m − 1

    Parameters
    ----------
    words : (n,) uint32, u = ((word mod 2^31) | 1)/2^31.
    out : (n,) float32.
    work : (2, n) float32 scratch.
    """
    m, t = work
    uniform, bits, exponent = m.view(np.uint32), m.view(np.int32), t.view(np.int32)
    np.bitwise_and(words, UNIFORM_MASK, out=uniform)
    np.bitwise_or(uniform, LOWEST_BIT, out=uniform)
    np.copyto(m, bits, casting="unsafe")
    np.subtract(bits, LOG_ORIGIN, out=bits)
    # The exponent stays where it stands in the pattern, k·2^23.
    np.bitwise_and(bits, EXPONENT_MASK, out=exponent)
    np.copyto(out, exponent, casting="unsafe")
    np.bitwise_and(bits, MANTISSA_MASK, out=bits)
    np.add(bits, np.int32(SQRT_HALF_BITS), out=bits)
    np.subtract(m, ONE, out=m)
    horner(LOG_POLYNOMIAL, m, t)
    np.multiply(t, m, out=t)
    np.multiply(out, MINUS_TWO_LN_TWO_UNIT, out=out)
    np.add(out, t, out=out)


def normal_pair(
    radius_words: WordArray,
    angle_words: WordArray,
    cosine: Float32Array,
    sine: Float32Array,
    work: Float32Array,
) -> None:
    """Two independent standard normals from two words.

    Parameters
    ----------
    radius_words, angle_words : (n,) uint32.
    cosine, sine : (n,) float32, the normals.
    work : (3, n) float32 scratch.
    """
    t, square, radius = work
    minus_two_log(radius_words, radius, work[:2])
    np.sqrt(radius, out=radius)
    angle = t.view(np.uint32)
    np.left_shift(angle_words, np.uint32(1), out=angle)
    np.bitwise_and(angle, ANGLE_MASK, out=angle)
    np.bitwise_or(angle, ANGLE_HALF, out=angle)
    np.copyto(t, angle.view(np.int32), casting="unsafe")
    np.multiply(t, ANGLE_UNIT, out=t)
    np.multiply(t, t, out=square)
    horner(SINE_POLYNOMIAL, square, sine)
    np.multiply(sine, t, out=sine)
    np.multiply(sine, radius, out=sine)
    horner(COSINE_POLYNOMIAL, square, cosine)
    np.multiply(cosine, radius, out=cosine)
    sign = t.view(np.uint32)
    np.bitwise_and(angle_words, SIGN_BIT, out=sign)
    bits = cosine.view(np.uint32)
    np.bitwise_xor(bits, sign, out=bits)
