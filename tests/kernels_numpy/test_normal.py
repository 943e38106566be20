"""Exponentials and normals: error against float64, scalar arithmetic bit for bit, the law of ten million draws."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from sim.compiled.kernel_constants import (
    ANGLE_SPARE_BITS,
    COSINE_POLYNOMIAL,
    LOG_POLYNOMIAL,
    MINUS_TWO_LN_TWO,
    SINE_POLYNOMIAL,
    SQRT_HALF_BITS,
)
from sim.kernels_numpy.normal import horner, minus_two_log, normal_pair
from sim.kernels_numpy.philox import PathWords

Words = NDArray[np.uint32]
Floats = NDArray[np.float32]

POWERS = [2**k + d for k in range(32) for d in (-1, 0, 1)]
EXTREMES = np.array(sorted({0, 2**32 - 1, *POWERS, *(2**32 - 1 - w for w in POWERS)}), dtype=np.uint32)
LARGEST = np.arange(2**31 - 2**18, 2**31, dtype=np.uint32)
SIGN = np.uint32(2**31)


def some_words(count: int, seed: int) -> Words:
    return np.random.default_rng(seed).integers(0, 2**32, count, dtype=np.uint32)


def log_of(words: Words) -> Floats:
    out = np.full(words.size, np.nan, dtype=np.float32)
    minus_two_log(words, out, np.full((2, words.size), np.nan, dtype=np.float32))
    return out


def pair_of(radius_words: Words, angle_words: Words) -> Floats:
    out = np.full((2, radius_words.size), np.nan, dtype=np.float32)
    normal_pair(
        radius_words, angle_words, out[0], out[1], np.full((3, out.shape[1]), np.nan, dtype=np.float32)
    )
    return out


def bits(values: Floats) -> Words:
    assert values.dtype == np.float32
    return np.ascontiguousarray(values).view(np.uint32)


def exact_uniform(words: Words) -> NDArray[np.float64]:
    """The low 31 bits over 2^31, the lowest of them set."""
    return (words.astype(np.int64) % 2**31 // 2 * 2 + 1) / 2**31


def exact_log(words: Words) -> NDArray[np.float64]:
    return -2 * np.log(exact_uniform(words))


def exact_pair(radius_words: Words, angle_words: Words) -> NDArray[np.float64]:
    """Bits 12 to 30 of the angle's word, a signed number and a half, are θ·2^19/π; bit 31 signs the cosine."""
    radius = np.sqrt(exact_log(radius_words))
    number = angle_words.astype(np.int64) // 2**12 % 2**19
    theta = np.pi * (np.where(number < 2**18, number, number - 2**19) + 0.5) / 2**19
    sign = np.where(angle_words >= SIGN, -1.0, 1.0)
    return np.stack([sign * radius * np.cos(theta), radius * np.sin(theta)])


@pytest.mark.parametrize(
    "words", [EXTREMES, LARGEST, some_words(1 << 21, 1)], ids=["extremes", "largest", "any"]
)
def test_log_error(words: Words) -> None:
    """Half an ulp of u, which is all there is next to u = 1, and the error of a polynomial of seven terms."""
    found, exact = log_of(words), exact_log(words)
    assert np.all(np.isfinite(found))
    assert np.all(found >= 0)
    assert np.all(np.abs(found - exact) <= 6.1e-8 + 1.4e-6 * exact)


def test_log_falls_with_the_word() -> None:
    """A larger U never means a larger exponential, also across the reduction of the argument at √½."""
    root_half = int(2**30.5)
    near = np.arange(root_half - 20_000, root_half + 20_000, dtype=np.uint32)
    for words in (some_words(1 << 20, 2), LARGEST, EXTREMES, near):
        assert np.all(np.diff(log_of(np.sort(words % SIGN))) <= 0)


def test_top_and_lowest_bit_do_not_count() -> None:
    words = np.concatenate([EXTREMES, some_words(5000, 21)])
    usual = bits(log_of(words))
    for bit in (SIGN, np.uint32(1)):
        np.testing.assert_array_equal(bits(log_of(words ^ bit)), usual)
    small = some_words(5000, 23) % np.uint32(1 << 16)
    assert np.all(bits(log_of(small ^ np.uint32(2))) != bits(log_of(small)))


def test_uniforms_are_symmetric() -> None:
    """1 − u belongs to the word with every bit turned."""
    words = np.concatenate([EXTREMES, some_words(5000, 22)])
    assert np.all(exact_uniform(words) + exact_uniform(~words) == 1)
    exact = -2 * np.log1p(-exact_uniform(words))
    assert np.all(np.abs(log_of(~words) - exact) <= 6.1e-8 + 1.4e-6 * exact)


def test_ends_of_the_log() -> None:
    assert log_of(np.array([2**31 - 1], dtype=np.uint32))[0] == 0
    assert np.sqrt(log_of(np.array([0], dtype=np.uint32))[0]) == pytest.approx(6.5555, abs=5e-5)


def test_pair_error() -> None:
    """The error of the log divided by the radius, next to u = 1 the whole radius, and that of the trigonometry."""
    radius_words = np.concatenate([np.repeat(EXTREMES, EXTREMES.size), some_words(1 << 20, 3), LARGEST])
    angle_words = np.concatenate([np.tile(EXTREMES, EXTREMES.size), some_words((1 << 20) + LARGEST.size, 4)])
    found = pair_of(radius_words, angle_words)
    assert np.all(np.isfinite(found))
    error = np.abs(found - exact_pair(radius_words, angle_words)).max(axis=0)
    radius = np.sqrt(exact_log(radius_words))
    assert np.all(error <= np.minimum(2.5e-4, 6.1e-8 / radius + 1.8e-6 * radius))


@pytest.mark.parametrize("polynomial", [SINE_POLYNOMIAL, COSINE_POLYNOMIAL, LOG_POLYNOMIAL])
def test_coefficients_are_float32(polynomial: tuple[float, ...]) -> None:
    """Engines read them as float32: nothing may be lost."""
    assert [float(np.float32(c)) for c in polynomial] == list(polynomial)


# The arithmetic once more, one float32 operation at a time and bits as Python integers.


def scalar_horner(coefficients: tuple[float, ...], t: np.float32) -> np.float32:
    value = np.float32(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value = value * t
        value = value + np.float32(c)
    return value


def float_of(pattern: int) -> np.float32:
    return np.float32(struct.unpack("<f", struct.pack("<I", pattern))[0])


def pattern_of(value: np.float32) -> int:
    return int(struct.unpack("<I", struct.pack("<f", float(value)))[0])


def scalar_log(word: int) -> np.float32:
    scaled = np.float32((word & 0x7FFFFFFF) | 1)
    pattern = pattern_of(scaled) - (31 << 23)
    exponent = (pattern - SQRT_HALF_BITS) >> 23
    t = float_of(pattern - (exponent << 23)) - np.float32(1)
    polynomial = scalar_horner(LOG_POLYNOMIAL, t) * t
    return np.float32(exponent) * np.float32(MINUS_TWO_LN_TWO) + polynomial


def scalar_pair(radius_word: int, angle_word: int) -> tuple[np.float32, np.float32]:
    radius = np.sqrt(scalar_log(radius_word))
    angle = (angle_word << 1) & 0xFFFFE000 | 0x1000
    t = np.float32(angle - (angle >> 31 << 32)) * np.float32(2.0**-31)
    square = t * t
    sine = scalar_horner(SINE_POLYNOMIAL, square) * t
    sine = sine * radius
    cosine = scalar_horner(COSINE_POLYNOMIAL, square) * radius
    return float_of(pattern_of(cosine) ^ (angle_word & 0x80000000)), sine


def test_scalar_arithmetic_of_the_log() -> None:
    words = np.concatenate([EXTREMES, some_words(3000, 5)])
    expected = np.array([scalar_log(int(w)) for w in words])
    np.testing.assert_array_equal(bits(log_of(words)), bits(expected))


def test_scalar_arithmetic_of_the_pair() -> None:
    radius_words = np.concatenate([EXTREMES, EXTREMES, some_words(3000, 6)])
    angle_words = np.concatenate([EXTREMES[::-1], np.roll(EXTREMES, 7), some_words(3000, 7)])
    expected = np.array([scalar_pair(int(r), int(a)) for r, a in zip(radius_words, angle_words, strict=True)])
    np.testing.assert_array_equal(bits(pair_of(radius_words, angle_words)), bits(expected.T))


def test_scalar_arithmetic_of_horner() -> None:
    t = (some_words(500, 8).view(np.int32) * 2.0**-31).astype(np.float32)
    out = np.empty_like(t)
    horner((0.1, -0.7, 0.3, 1.9), t, out)
    np.testing.assert_array_equal(
        bits(out), bits(np.array([scalar_horner((0.1, -0.7, 0.3, 1.9), x) for x in t]))
    )


def test_same_bits_whatever_the_length_and_alignment() -> None:
    """Vector units work on 4, 8 or 16 numbers and finish the rest one by one."""
    radius_words, angle_words = some_words(257, 9), some_words(257, 10)
    whole = bits(pair_of(radius_words, angle_words))
    logs = bits(log_of(radius_words))
    for path in range(257):
        one = slice(path, path + 1)
        np.testing.assert_array_equal(bits(pair_of(radius_words[one], angle_words[one])), whole[:, one])
        np.testing.assert_array_equal(bits(log_of(radius_words[one])), logs[one])
    for start in range(9):
        for end in (start + 2, start + 7, start + 15, start + 33, 257 - start):
            part = slice(start, end)
            np.testing.assert_array_equal(
                bits(pair_of(radius_words[part], angle_words[part])), whole[:, part]
            )


def test_same_bits_in_unaligned_buffers() -> None:
    n = 1001
    radius_words, angle_words = some_words(n, 11), some_words(n, 12)
    whole = bits(pair_of(radius_words, angle_words))
    for offset in (1, 2, 3, 5):
        buffer = np.empty((5, n + offset), dtype=np.float32)[:, offset:]
        out, work = buffer[:2], buffer[2:]
        normal_pair(radius_words, angle_words, out[0], out[1], work)
        np.testing.assert_array_equal(bits(out), whole)


def test_words_are_left_alone() -> None:
    radius_words, angle_words = some_words(100, 13), some_words(100, 14)
    pair_of(radius_words, angle_words)
    log_of(radius_words)
    np.testing.assert_array_equal(radius_words, some_words(100, 13))
    np.testing.assert_array_equal(angle_words, some_words(100, 14))


def test_low_bits_of_the_angle_are_spare() -> None:
    """The bridge uses them: the normals must not depend on them, but on the bit above them they must."""
    radius_words, angle_words = some_words(5000, 15), some_words(5000, 16)
    usual = bits(pair_of(radius_words, angle_words))
    for mask in (1, 1 << (ANGLE_SPARE_BITS - 1), (1 << ANGLE_SPARE_BITS) - 1):
        np.testing.assert_array_equal(bits(pair_of(radius_words, angle_words ^ np.uint32(mask))), usual)
    lowest = np.uint32(1 << ANGLE_SPARE_BITS)
    assert np.mean(bits(pair_of(radius_words, angle_words ^ lowest)) != usual) > 0.5


def test_top_bit_of_the_angle_is_the_sign_of_the_cosine() -> None:
    radius_words = np.concatenate([EXTREMES, some_words(5000, 17)])
    angle_words = np.concatenate([EXTREMES, some_words(5000, 18)])
    cosine, sine = pair_of(radius_words, angle_words)
    mirrored, same = pair_of(radius_words, angle_words ^ SIGN)
    np.testing.assert_array_equal(bits(mirrored), bits(cosine) ^ SIGN)
    np.testing.assert_array_equal(bits(same), bits(sine))
    positive = angle_words < SIGN
    assert np.all(cosine[positive] >= 0)
    assert np.all(cosine[~positive] <= 0)


def test_opposite_angles_have_opposite_sines() -> None:
    """θ to −θ turns every bit of the angle, so that the sine's law is symmetric to the last bit."""
    radius_words = np.concatenate([EXTREMES, some_words(5000, 19)])
    angle_words = np.concatenate([EXTREMES, some_words(5000, 20)])
    cosine, sine = pair_of(radius_words, angle_words)
    same, mirrored = pair_of(radius_words, angle_words ^ np.uint32(0x7FFFFFFF))
    np.testing.assert_array_equal(bits(mirrored), bits(sine) ^ SIGN)
    np.testing.assert_array_equal(bits(same), bits(cosine))


@pytest.fixture(scope="module")
def draws() -> Floats:
    """(2, 5,000,000) cosines and sines of the generator's own words."""
    chunk, chunks = 1 << 16, 38
    out = np.empty((2, 2 * chunk * chunks), dtype=np.float32)
    words, drawn = PathWords(chunk, 2026), np.empty((4, chunk), dtype=np.uint32)
    for i in range(chunks):
        words.draw(np.arange(i * chunk, (i + 1) * chunk, dtype=np.uint64), 0, 0, 0, drawn)
        for half in (0, 2):
            here = (2 * i + half // 2) * chunk
            out[:, here : here + chunk] = pair_of(drawn[half], drawn[half + 1])
    return out[:, :5_000_000]


def test_moments(draws: Floats) -> None:
    """Standard errors sqrt(1, 2, 15, 96 / n) of the first four; 4.5 of them: 3e-5 false alarms over all four."""
    z = draws.reshape(-1).astype(np.float64)
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(z**power) - mean) < 4.5 * np.sqrt(variance / z.size), power


@pytest.mark.parametrize("which", [0, 1], ids=["cosine", "sine"])
@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0, 4.0, 5.0])
def test_tails(draws: Floats, sigma: float, which: int) -> None:
    """Each tail of each normal within its binomial interval: 20 intervals of 1e-6, 2e-5 false alarms."""
    z = draws[which]
    low, high = stats.binom.interval(1 - 1e-6, z.size, stats.norm.sf(sigma))
    assert low <= np.count_nonzero(z > sigma) <= high
    assert low <= np.count_nonzero(z < -sigma) <= high


def test_law(draws: Floats) -> None:
    """Kolmogorov-Smirnov on 500,000 of each: sqrt(n)·D > 2.5 has probability 7e-6."""
    for z in draws[:, :500_000]:
        statistic = stats.kstest(z.astype(np.float64), "norm").statistic
        assert statistic * np.sqrt(z.size) < 2.5


def test_pair_is_independent(draws: Floats) -> None:
    """Products of powers have the product's mean; 4.5 standard errors each, 2e-5 false alarms over three."""
    cosine, sine = draws.astype(np.float64)
    n = cosine.size
    assert abs(np.mean(cosine * sine)) < 4.5 / np.sqrt(n)
    assert abs(np.mean(cosine**2 * sine)) < 4.5 * np.sqrt(3 / n)
    assert abs(np.mean((cosine**2 - 1) * (sine**2 - 1))) < 4.5 * np.sqrt(4 / n)
