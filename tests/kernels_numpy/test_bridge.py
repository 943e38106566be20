"""Barrier touches: the bits of the uniform, the touch law, nesting, and the bounds that spare most draws."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from sim.compiled.kernel_constants import ANGLE_SPARE_BITS, BRIDGE_KNOWN_BITS
from sim.kernels_numpy.bridge import (
    BRIDGE_BOUND,
    bridge_word,
    half_exponential,
    known_bits,
    largest_bounds,
    touched,
)

Floats = NDArray[np.float32]
Words = NDArray[np.uint32]
NUMBERS = np.arange(64, dtype=np.uint16)
ENDS = np.array([0, 2**32 - 1], dtype=np.uint32)


def some_words(count: int, seed: int) -> NDArray[np.uint32]:
    return np.random.default_rng(seed).integers(0, 2**32, count, dtype=np.uint32)


def f4(*values: float) -> Floats:
    return np.array(values, dtype=np.float32)


def bridge_words(known: NDArray[np.uint16], drawn: Words) -> Words:
    """Words of U above and U below, (2, n)."""
    above = bridge_word(known, drawn)
    return np.stack((above, ~above))


def uniform_of(words: Words) -> NDArray[np.float64]:
    return (words.astype(np.int64) % 2**31 // 2 * 2 + 1) / 2**31


def test_known_bits_share_out_the_spare_ones() -> None:
    """Two steps of a pair, six bits each, that never overlap and leave none over."""
    assert 2 * BRIDGE_KNOWN_BITS == ANGLE_SPARE_BITS
    spare = np.arange(1 << 16, dtype=np.uint16)
    for pair in range(7):
        even, odd = (known_bits(spare, 2 * pair + step) for step in (0, 1))
        np.testing.assert_array_equal(even + 64 * odd, spare % 4096)
        assert even.max() == odd.max() == 63


def test_known_bits_are_the_top_of_the_uniform_above() -> None:
    known = np.repeat(NUMBERS, 100)
    drawn = some_words(known.size, 1)
    above, below = bridge_words(known, drawn)
    assert above.dtype == below.dtype == np.uint32
    np.testing.assert_array_equal(above % 2**31 >> 25, known)
    np.testing.assert_array_equal(above % 2**25, drawn >> 7)
    np.testing.assert_array_equal(below % 2**31 >> 25, 63 - known)


def test_uniforms_are_mirror_images() -> None:
    """They add up to exactly one; neither is ever 0 or 1."""
    known = np.repeat(NUMBERS, 1000)
    for drawn in (some_words(known.size, 2), np.resize(ENDS, known.size)):
        above, below = (uniform_of(words) for words in bridge_words(known, drawn))
        assert np.all(above + below == 1)
        assert min(above.min(), below.min()) > 0


def test_words_are_uniform_and_independent() -> None:
    """Chi-square of 256 cells, alone and joint over the two steps of a pair: five p-values above 1e-6."""
    n = 1 << 20
    spare = some_words(n, 3).astype(np.uint16)
    even, odd = (bridge_words(known_bits(spare, step), some_words(n, 4 + step)) for step in (0, 1))
    for words in (*even, *odd):
        assert stats.chisquare(np.bincount(words % 2**31 >> 23, minlength=256)).pvalue > 1e-6
    cells = (even[0] % 2**31 >> 27) * 16 + (odd[0] % 2**31 >> 27)
    assert stats.chisquare(np.bincount(cells, minlength=256)).pvalue > 1e-6


def test_half_exponential() -> None:
    """E/2 = −ln(U)/2, a quarter of twice the exponential: exact in binary."""
    words = np.concatenate([some_words(100_000, 8), np.array([0, 1, 2**31, 2**32 - 1], dtype=np.uint32)])
    found = half_exponential(words)
    exact = -0.5 * np.log(uniform_of(words))
    assert found.dtype == np.float32
    assert np.all(found >= 0)
    np.testing.assert_allclose(found, exact, rtol=1.4e-6, atol=1.6e-8)


def test_half_exponential_does_not_depend_on_the_block() -> None:
    words = some_words(67, 9)
    whole = half_exponential(words)
    for index in range(67):
        np.testing.assert_array_equal(half_exponential(words[index : index + 1]), whole[index : index + 1])


@pytest.mark.parametrize("side", [0, 1], ids=["above", "below"])
def test_reach_bounds_every_word(side: int) -> None:
    """E/2 falls with U, whose smallest value stands where nothing or everything is drawn; tight to 3%."""
    bounds = largest_bounds()[side]
    known = np.repeat(NUMBERS, 2)
    ends = half_exponential(bridge_words(known, np.resize(ENDS, known.size))[side]).reshape(64, 2)
    largest = ends.max(axis=1)
    np.testing.assert_array_equal(largest, ends[:, side])
    anything = np.repeat(NUMBERS, 1 << 14)
    drawn = some_words(anything.size, 10)
    found = half_exponential(bridge_words(anything, drawn)[side]).reshape(64, -1).max(axis=1)
    assert np.all(found <= largest)
    assert np.all(bounds > largest)
    assert np.all(bounds[1:-1] < 1.03 * largest[1:-1])
    assert bounds.max() == np.float32(BRIDGE_BOUND)
    assert bounds[0 if side == 0 else 63] == bounds.max()
    assert bounds.max() < 1.03 * largest.max()


def test_reach_bounds_survive_rounding() -> None:
    """The gate multiplies the variance by a bound, the touch by the exponential: no rounding swaps them."""
    rng = np.random.default_rng(11)
    variance = np.exp(rng.uniform(np.log(1e-12), np.log(1.0), 20_000)).astype(np.float32)
    known = np.repeat(NUMBERS, 2)
    halves = half_exponential(bridge_words(known, np.resize(ENDS, known.size)).reshape(-1)).reshape(2, 64, 2)
    for bounds, half in zip(largest_bounds(), halves.max(axis=2), strict=True):
        for bound, largest in zip(bounds, half, strict=True):
            assert np.all(bound * variance > largest * variance)


@pytest.mark.parametrize(
    ("start", "end", "variance"),
    [
        (0.001, 0.001, 2.5e-5),
        (0.003, 0.004, 2.5e-5),
        (0.009, 0.0012, 1.0e-5),
        (0.02, 0.004, 2.0e-5),
        (1e-5, 0.02, 4.0e-6),
    ],
)
def test_touch_law(start: float, end: float, variance: float) -> None:
    """P = exp(−2·d0·d1/v) within the binomial interval of 1e-6; five cases, 5e-6 false alarms."""
    n = 1 << 21
    bound = half_exponential(some_words(n, 12)) * np.float32(variance)
    count = np.count_nonzero(touched(np.full(n, start, "f4"), np.full(n, end, "f4"), bound))
    probability = np.exp(-2 * start * end / variance)
    low, high = stats.binom.interval(1 - 1e-6, n, probability)
    assert low <= count <= high


def test_touch_law_is_the_crossing_of_a_fine_walk() -> None:
    """A bridge of 1,024 steps sees the barrier farther off by 0.5826·sqrt(v/1024), both ends alike.

    20,000 bridges: 4.5 standard errors, 7e-6 false alarms; what is left of the steps is a tenth of one.
    Source of the shift: Broadie, Glasserman & Kou (1997).
    """
    start, end, variance, steps, n = 0.4, 0.5, 1.0, 1024, 20_000
    rng = np.random.default_rng(13)
    time = np.arange(1, steps + 1) / steps
    crossed = 0
    for _ in range(20):
        walk = np.cumsum(rng.normal(0, np.sqrt(variance / steps), (n // 20, steps)), axis=1)
        bridge = walk + (start - end - walk[:, -1:]) * time
        crossed += int(np.count_nonzero(bridge.max(axis=1) >= start))
    shift = 0.5826 * np.sqrt(variance / steps)
    bound = half_exponential(some_words(1 << 21, 14)) * np.float32(variance)
    law = np.mean(
        touched(np.full(bound.size, start + shift, "f4"), np.full(bound.size, end + shift, "f4"), bound)
    )
    assert abs(crossed / n - law) < 4.5 * np.sqrt(law * (1 - law) / n)


def test_either_end_beyond_is_a_touch() -> None:
    start = f4(-0.01, 0.01, -0.01, 0.0, 0.01, 0.01)
    end = f4(0.01, -0.01, -0.01, 0.01, 0.0, 0.01)
    none = np.zeros(6, dtype=np.float32)
    assert touched(start, end, none).tolist() == [True, True, True, True, True, False]


def test_gap_jumps_over_levels() -> None:
    """Only the open counts, however near the level was before or is after."""
    start = f4(-0.01, 0.01, 1e-9, 0.01, 0.01)
    end = f4(0.01, -0.01, 1e-9, 0.0, 5.0)
    assert touched(start, end, None).tolist() == [False, True, False, True, False]


def test_reach_is_compared_with_the_product() -> None:
    """Touched if d0·d1 < v·E/2, strictly: d0·d1 = 2^-20."""
    start, end = f4(2.0**-9, 2.0**-9, 2.0**-9), f4(2.0**-11, 2.0**-11, 2.0**-11)
    edge = np.float32(2.0**-20)
    bound = f4(np.nextafter(edge, np.float32(0)), edge, np.nextafter(edge, np.float32(1)))
    assert touched(start, end, bound).tolist() == [False, False, True]


def test_farther_levels_are_touched_less() -> None:
    """One uniform for all levels of a side: whoever touches the farther one has touched the nearer one."""
    n = 400_000
    rng = np.random.default_rng(15)
    variance = np.float32(2.0e-5)
    start = rng.normal(0.004, 0.004, n).astype(np.float32)
    end = (start + rng.normal(0, np.sqrt(variance), n)).astype(np.float32)
    bound = half_exponential(some_words(n, 16)) * variance
    before = touched(start, end, bound)
    assert 0.05 < before.mean() < 0.95
    for farther in (1e-5, 1e-4, 2e-3, 5e-3):
        after = touched(start + np.float32(farther), end + np.float32(1.3 * farther), bound)
        assert not np.any(after & ~before)
        assert after.sum() < before.sum()
        before = after
    assert touched(start, end, None).sum() < touched(start, end, bound).sum()


def test_result_is_boolean_and_leaves_its_arguments_alone() -> None:
    start, end, bound = f4(0.1, 0.2), f4(0.1, -0.2), f4(0.0, 0.5)
    assert touched(start, end, bound).dtype == np.bool_
    for argument, given in ((start, f4(0.1, 0.2)), (end, f4(0.1, -0.2)), (bound, f4(0.0, 0.5))):
        np.testing.assert_array_equal(argument, given)
