"""NumPy twins of the ways to turn random words into normals, see normal_candidates.cuh, and what is exact.

A twin fills `cosine` and `sine` (n,) float32 from two words a pair, (n,) uint32, and may use all of `work`,
(WORK_ROWS, n) float32. Its normals are those of the compiled candidate, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from normal_fits import (
    CENTRE_END,
    CENTRE_MIDDLE,
    FIRST_SEGMENT,
    MANTISSA_BITS,
    OUTERMOST,
    SEGMENT_BITS,
    SEGMENT_MIDDLE,
    SEGMENTS,
    TAIL_MIDDLE,
    Float32Array,
    Float64Array,
    cubic_table,
    polynomials,
)
from scipy.special import ndtri

from sim.compiled.kernel_constants import ANGLE_SPARE_BITS, COSINE_POLYNOMIAL, SQRT_HALF_BITS, UNIFORM_BITS
from sim.kernels_numpy.normal import (
    ANGLE_UNIT,
    EXPONENT_MASK,
    LOWEST_BIT,
    MANTISSA_MASK,
    MINUS_TWO_LN_TWO_UNIT,
    ONE,
    SIGN_BIT,
    UNIFORM_MASK,
    horner,
    normal_pair,
)
from sim.kernels_numpy.philox import WordArray

Twin = Callable[[WordArray, WordArray, Float32Array, Float32Array, Float32Array], None]
Exact = Callable[[WordArray, WordArray], Float64Array]

WORK_ROWS = 4
SEGMENT_SHIFT = MANTISSA_BITS - SEGMENT_BITS
SEGMENT_MASK = np.int32((1 << SEGMENT_SHIFT) - 1)
ONE_BITS = np.int32(127 << MANTISSA_BITS)
HALF, TWO = np.float32(0.5), np.float32(2.0)
TAIL_UNIT = np.float32(2.0**-31)


def minus_two_log_of(
    value: Float32Array, scale: int, polynomial: tuple[float, ...], out: Float32Array, t: Float32Array
) -> None:
    """−2·ln(value·2^−scale) into `out`; `value` is overwritten."""
    bits, exponent = value.view(np.int32), t.view(np.int32)
    np.subtract(bits, np.int32(SQRT_HALF_BITS + (scale << MANTISSA_BITS)), out=bits)
    np.bitwise_and(bits, EXPONENT_MASK, out=exponent)
    np.copyto(out, exponent, casting="unsafe")
    np.bitwise_and(bits, MANTISSA_MASK, out=bits)
    np.add(bits, np.int32(SQRT_HALF_BITS), out=bits)
    np.subtract(value, ONE, out=value)
    horner(polynomial, value, t)
    np.multiply(t, value, out=t)
    np.multiply(out, MINUS_TWO_LN_TWO_UNIT, out=out)
    np.add(out, t, out=out)


def angle_of(words: WordArray, shift: int, t: Float32Array) -> None:
    """Angle in units of the half range into `t`: the bits above the spare ones, without the top `shift` of them."""
    low = ANGLE_SPARE_BITS + shift
    angle = t.view(np.uint32)
    np.left_shift(words, np.uint32(shift), out=angle)
    np.bitwise_and(angle, np.uint32(0xFFFFFFFF >> low << low), out=angle)
    np.bitwise_or(angle, np.uint32(1 << (low - 1)), out=angle)
    np.copyto(t, angle.view(np.int32), casting="unsafe")
    np.multiply(t, ANGLE_UNIT, out=t)


def sign_by(words: WordArray, values: Float32Array, work: WordArray) -> None:
    """Turn the sign of the values whose word has the top bit set."""
    np.bitwise_and(words, SIGN_BIT, out=work)
    bits = values.view(np.uint32)
    np.bitwise_xor(bits, work, out=bits)


def low_bits(words: WordArray, out: Float32Array) -> None:
    """The number in all bits but the top one."""
    bits = out.view(np.uint32)
    np.bitwise_and(words, UNIFORM_MASK, out=bits)
    np.copyto(out, bits.view(np.int32), casting="unsafe")


def long_radius(words: WordArray, out: Float32Array, work: Float32Array) -> None:
    """Radius of Box–Muller into `out`, its logarithm by the long polynomial."""
    value, t = work
    uniform = value.view(np.uint32)
    np.bitwise_and(words, UNIFORM_MASK, out=uniform)
    np.bitwise_or(uniform, LOWEST_BIT, out=uniform)
    np.copyto(value, uniform.view(np.int32), casting="unsafe")
    minus_two_log_of(value, UNIFORM_BITS, polynomials()["LONG_LOG"], out, t)
    np.sqrt(out, out=out)


def as_used(
    radius_words: WordArray,
    angle_words: WordArray,
    cosine: Float32Array,
    sine: Float32Array,
    work: Float32Array,
) -> None:
    normal_pair(radius_words, angle_words, cosine, sine, work[:3])


def octants(
    radius_words: WordArray,
    angle_words: WordArray,
    cosine: Float32Array,
    sine: Float32Array,
    work: Float32Array,
) -> None:
    t, square, radius = work[:3]
    own = polynomials()
    long_radius(radius_words, radius, work[:2])
    angle_of(angle_words, 2, t)
    np.multiply(t, t, out=square)
    horner(own["OCTANT_SINE"], square, sine)
    np.multiply(sine, t, out=sine)
    np.multiply(sine, radius, out=sine)
    horner(own["OCTANT_COSINE"], square, t)
    np.multiply(t, radius, out=t)
    sign_by(angle_words, t, square.view(np.uint32))
    # Swapped by exclusive or, under a mask that the bit below the top one fills: masked copies take twice as long.
    swap, difference = radius.view(np.int32), square.view(np.int32)
    np.left_shift(angle_words, np.uint32(1), out=radius.view(np.uint32))
    np.right_shift(swap, np.int32(31), out=swap)
    np.bitwise_xor(t.view(np.int32), sine.view(np.int32), out=difference)
    np.bitwise_and(difference, swap, out=difference)
    np.bitwise_xor(t.view(np.int32), difference, out=cosine.view(np.int32))
    np.bitwise_xor(sine.view(np.int32), difference, out=sine.view(np.int32))


def long_polynomials(
    radius_words: WordArray,
    angle_words: WordArray,
    cosine: Float32Array,
    sine: Float32Array,
    work: Float32Array,
) -> None:
    t, square, radius = work[:3]
    long_radius(radius_words, radius, work[:2])
    angle_of(angle_words, 1, t)
    np.multiply(t, t, out=square)
    horner(polynomials()["LONG_SINE"], square, sine)
    np.multiply(sine, t, out=sine)
    np.multiply(sine, radius, out=sine)
    horner(COSINE_POLYNOMIAL, square, cosine)
    np.multiply(cosine, radius, out=cosine)
    sign_by(angle_words, cosine, t.view(np.uint32))


@cache
def segment_columns() -> Float32Array:
    """The table's four coefficients, each in a row of its own."""
    return np.ascontiguousarray(cubic_table().T)


def segment_normals(words: WordArray, out: Float32Array, work: Float32Array) -> None:
    t, coefficient, indices = work[0], work[1], work[2].view(np.int32)
    columns = segment_columns()
    bits = t.view(np.int32)
    low_bits(words, t)
    np.maximum(t, HALF, out=t)
    np.right_shift(bits, np.int32(SEGMENT_SHIFT), out=indices)
    np.subtract(indices, np.int32(FIRST_SEGMENT), out=indices)
    np.bitwise_and(bits, SEGMENT_MASK, out=bits)
    np.bitwise_or(bits, ONE_BITS, out=bits)
    np.subtract(t, SEGMENT_MIDDLE, out=t)
    # mode="clip" spares a buffered copy of `out`; no index is out of range.
    np.take(columns[3], indices, out=out, mode="clip")
    for column in columns[2::-1]:
        np.take(column, indices, out=coefficient, mode="clip")
        np.multiply(out, t, out=out)
        np.add(out, coefficient, out=out)
    sign_by(words, out, t.view(np.uint32))


def segments(
    first: WordArray, second: WordArray, cosine: Float32Array, sine: Float32Array, work: Float32Array
) -> None:
    segment_normals(first, cosine, work)
    segment_normals(second, sine, work)


def two_polynomial_normals(words: WordArray, out: Float32Array, work: Float32Array) -> None:
    u, w, t, tail = work[:4]
    own = polynomials()
    low_bits(words, u)
    np.add(u, HALF, out=u)
    np.multiply(u, TAIL_UNIT, out=u)
    np.subtract(TWO, u, out=tail)
    np.multiply(u, tail, out=tail)
    minus_two_log_of(tail, 0, own["LONG_LOG"], w, t)
    np.subtract(w, CENTRE_MIDDLE, out=t)
    horner(own["CENTRE_POLYNOMIAL"], t, out)
    far = np.flatnonzero(w >= np.float32(CENTRE_END))
    if far.size:
        t_far = np.sqrt(w[far]) - TAIL_MIDDLE
        ratio = np.empty_like(t_far)
        horner(own["TAIL_POLYNOMIAL"], t_far, ratio)
        out[far] = ratio
    np.subtract(ONE, u, out=u)
    np.multiply(out, u, out=out)
    sign_by(words, out, t.view(np.uint32))


def two_polynomials(
    first: WordArray, second: WordArray, cosine: Float32Array, sine: Float32Array, work: Float32Array
) -> None:
    two_polynomial_normals(first, cosine, work)
    two_polynomial_normals(second, sine, work)


# What each word's normal should be, in float64.


def exact_box_muller(turn_bits: int) -> Exact:
    """Box–Muller in float64 of the same words; the angle's word gives its top `turn_bits` to sign and swap."""

    def exact(radius_words: WordArray, angle_words: WordArray) -> Float64Array:
        uniform = (radius_words.astype(np.int64) % 2**31 | 1) / 2**31
        radius = np.sqrt(-2 * np.log(uniform))
        shifted = (angle_words << np.uint32(turn_bits)).view(np.int32).astype(np.int64)
        cell = 1 << (ANGLE_SPARE_BITS + turn_bits)
        theta = (shifted // cell * cell + cell / 2) / 2**31 * np.pi / 2**turn_bits
        cosine = np.where(angle_words >= SIGN_BIT, -1, 1) * radius * np.cos(theta)
        sine = radius * np.sin(theta)
        swaps = (turn_bits == 2) & (angle_words >> np.uint32(30) & LOWEST_BIT).astype(bool)
        return np.stack([np.where(swaps, sine, cosine), np.where(swaps, cosine, sine)])

    return exact


def exact_inverse(outermost: float) -> Exact:
    """scipy's ndtri at the middle of each word's cell; of the outermost cell at this place."""

    def exact(first: WordArray, second: WordArray) -> Float64Array:
        words = np.stack([first, second])
        number = words.astype(np.int64) % 2**31
        z = -ndtri(np.where(number == 0, outermost, number + 0.5) / 2**32)
        return np.where(words >= SIGN_BIT, -z, z)

    return exact


class Candidate(NamedTuple):
    """A way to turn words into normals: its function in normal_candidates.cuh, its NumPy twin, and what is exact."""

    name: str
    twin: Twin
    exact: Exact
    table_bytes: int = 0


CANDIDATES = (
    Candidate("as_used", as_used, exact_box_muller(1)),
    Candidate("octants", octants, exact_box_muller(2)),
    Candidate("long_polynomials", long_polynomials, exact_box_muller(1)),
    Candidate("segments", segments, exact_inverse(OUTERMOST), 16 * SEGMENTS),
    Candidate("two_polynomials", two_polynomials, exact_inverse(0.5)),
)
