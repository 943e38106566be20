"""Random words to exponentials and normals, by polynomials in float32.

    −2·ln u,  u = (w + ½)/2^32;      (z0, z1) = sqrt(−2·ln u)·(±cos θ, sin θ),  θ uniform on [−π/2, π/2)

The top bit of the angle's word is the sign of the cosine, the next 23 are the angle; the low 8 are left to the
bridge. The farthest normal is 6.76 standard deviations out.

Source: Box & Muller (1958); argument reduction of the logarithm as in Cephes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.kernel_constants import (
    ANGLE_SPARE_BITS,
    COSINE_POLYNOMIAL,
    LOG_POLYNOMIAL,
    MINUS_TWO_LN_TWO,
    SINE_POLYNOMIAL,
    SQRT_HALF_BITS,
)
from sim.kernels_numpy.philox import WordArray

Float32Array = NDArray[np.float32]
SIGN_BIT = np.uint32(0x80000000)
ANGLE_BITS = np.uint32((0x7FFFFFFF >> ANGLE_SPARE_BITS) << ANGLE_SPARE_BITS)
WORD_UNIT = np.float32(2.0**-32)
HALF_WORD_UNIT = np.float32(2.0**-33)
ANGLE_UNIT = np.float32(2.0**-31)
ONE = np.float32(1.0)


def horner(coefficients: tuple[float, ...], t: Float32Array, out: Float32Array) -> None:
    """Polynomial c0 + c1·t + c2·t² + … into `out`, one multiply and one add a coefficient."""
    highest, *rest = (np.float32(c) for c in reversed(coefficients))
    np.multiply(t, highest, out=out)
    for c in rest[:-1]:
        np.add(out, c, out=out)
        np.multiply(out, t, out=out)
    np.add(out, rest[-1], out=out)


def minus_two_log(words: WordArray, out: Float32Array, work: Float32Array) -> None:
    """−2·ln u of each word, twice a unit exponential; zero for the largest words.

    Parameters
    ----------
    words : (n,) uint32.
    out : (n,) float32.
    work : (2, n) float32 scratch.
    """
    u, t = work
    np.copyto(u, words, casting="unsafe")
    np.multiply(u, WORD_UNIT, out=u)
    np.add(u, HALF_WORD_UNIT, out=u)
    bits, exponent = u.view(np.int32), t.view(np.int32)
    np.subtract(bits, np.int32(SQRT_HALF_BITS), out=exponent)
    np.right_shift(exponent, np.int32(23), out=exponent)
    np.copyto(out, exponent, casting="unsafe")
    np.left_shift(exponent, np.int32(23), out=exponent)
    np.subtract(bits, exponent, out=bits)
    np.subtract(u, ONE, out=u)
    horner(LOG_POLYNOMIAL, u, t)
    np.multiply(t, u, out=t)
    np.multiply(out, np.float32(MINUS_TWO_LN_TWO), out=out)
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
    np.bitwise_and(angle_words, ANGLE_BITS, out=angle)
    np.left_shift(angle, np.uint32(1), out=angle)
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
