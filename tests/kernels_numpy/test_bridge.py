"""Barrier touches: the bits of the uniform, the touch law, nesting, and the bounds that spare most draws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from sim.kernel_constants import ANGLE_SPARE_BITS, BRIDGE_REACH, BRIDGE_REACH_USUAL
from sim.kernels_numpy.bridge import bridge_words, half_exponential, known_bits, touched

Floats = NDArray[np.float32]
PLACES = list(itertools.product(range(14), (0, 1)))


def some_words(count: int, seed: int) -> NDArray[np.uint32]:
    return np.random.default_rng(seed).integers(0, 2**32, count, dtype=np.uint32)


def f4(*values: float) -> Floats:
    return np.array(values, dtype=np.float32)


def test_known_bits_share_out_the_spare_byte() -> None:
    """Two steps of a pair and two sides: four masks of two bits that never overlap."""
    masks = [known_bits(step, side)[0] for step in (6, 7) for side in (0, 1)]
    assert sum(masks) == (1 << ANGLE_SPARE_BITS) - 1
    assert np.bitwise_or.reduce(masks) == (1 << ANGLE_SPARE_BITS) - 1
    for step, side in PLACES:
        mask, shift = known_bits(step, side)
        assert mask >> shift == 0b11
        assert known_bits(step + 2, side) == (mask, shift)


@pytest.mark.parametrize(("step", "side"), PLACES[:8])
def test_known_bits_are_the_top_of_the_word(step: int, side: int) -> None:
    spare = np.arange(256, dtype=np.uint8)
    drawn = some_words(256, 1)
    words = bridge_words(spare, step, side, drawn)
    mask, shift = known_bits(step, side)
    assert words.dtype == np.uint32
    np.testing.assert_array_equal(words >> 30, (spare & mask) >> shift)
    np.testing.assert_array_equal(words & 0x3FFFFFFF, drawn >> 2)


def test_byte_of_zeros_or_ones() -> None:
    ends = np.array([0, 2**32 - 1], dtype=np.uint32)
    for step, side in PLACES:
        none, all_set = (bridge_words(np.full(2, b, dtype=np.uint8), step, side, ends) for b in (0x00, 0xFF))
        assert none.tolist() == [0, 2**30 - 1]
        assert all_set.tolist() == [3 << 30, 2**32 - 1]


def test_words_are_uniform_and_independent() -> None:
    """Chi-square of 256 cells, joint over pairs of the four uniforms of a byte: ten p-values above 1e-6."""
    n = 1 << 20
    spare = some_words(n, 2).astype(np.uint8)
    uniforms = [
        bridge_words(spare, step, side, some_words(n, 3 + 2 * step + side))
        for step in (0, 1)
        for side in (0, 1)
    ]
    for words in uniforms:
        assert stats.chisquare(np.bincount(words >> 24, minlength=256)).pvalue > 1e-6
    for a, b in itertools.combinations(uniforms, 2):
        cells = (a >> 28) * 16 + (b >> 28)
        assert stats.chisquare(np.bincount(cells, minlength=256)).pvalue > 1e-6


def test_half_exponential() -> None:
    """E/2 = −ln(U)/2, a quarter of twice the exponential: exact in binary."""
    words = np.concatenate([some_words(100_000, 8), np.array([0, 1, 2**31, 2**32 - 1], dtype=np.uint32)])
    found = half_exponential(words)
    exact = -0.5 * np.log((words.astype(np.float64) + 0.5) / 2**32)
    assert found.dtype == np.float32
    assert np.all(found >= 0)
    np.testing.assert_allclose(found, exact, rtol=3.3e-7, atol=1.6e-8)


def test_half_exponential_does_not_depend_on_the_block() -> None:
    words = some_words(67, 9)
    whole = half_exponential(words)
    for place in range(67):
        np.testing.assert_array_equal(half_exponential(words[place : place + 1]), whole[place : place + 1])


LARGEST_PRODUCTS = [
    pytest.param(0, BRIDGE_REACH, id="any word"),
    pytest.param(1 << 30, BRIDGE_REACH_USUAL, id="known bits not zero"),
]


@pytest.mark.parametrize(("smallest", "bound"), LARGEST_PRODUCTS)
def test_reach_bounds_every_word(smallest: int, bound: float) -> None:
    """E/2 falls with the word, so that its largest value stands at the smallest word; tight to one per cent."""
    near = (smallest + np.arange(1 << 16, dtype=np.uint64)).astype(np.uint32)
    larger = np.maximum(some_words(1 << 20, 10), np.uint32(smallest))
    largest = half_exponential(np.concatenate([near, larger])).max()
    assert largest == half_exponential(near)[0]
    assert 0.99 * bound < largest < bound


@pytest.mark.parametrize(("smallest", "bound"), LARGEST_PRODUCTS)
def test_reach_bounds_survive_rounding(smallest: int, bound: float) -> None:
    """The gate multiplies in another order than the touch: no order of float32 products crosses the bound."""
    rng = np.random.default_rng(11)
    variance = np.exp(rng.uniform(np.log(1e-9), np.log(1.0), 200_000)).astype(np.float32)
    share = rng.uniform(1e-4, 1.0, variance.size).astype(np.float32)
    half = half_exponential(np.full(variance.size, smallest, dtype=np.uint32))
    gate = variance * (share * np.float32(bound))
    assert np.all(gate > half * (variance * share))
    assert np.all((variance * share) * np.float32(bound) > half * (variance * share))


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("side", [0, 1])
def test_usual_reach_needs_one_known_bit(step: int, side: int) -> None:
    """Whatever is drawn, a word exceeds the usual bound only if both known bits are zero."""
    spare = np.repeat(np.arange(256, dtype=np.uint8), 3)
    drawn = np.tile(np.array([0, 2**31, 2**32 - 1], dtype=np.uint32), 256)
    far = half_exponential(bridge_words(spare, step, side, drawn)) >= np.float32(BRIDGE_REACH_USUAL)
    assert far.any()
    assert not np.any(spare[far] & known_bits(step, side)[0])


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
    reach = half_exponential(some_words(n, 12)) * np.float32(variance)
    count = np.count_nonzero(touched(np.full(n, start, "f4"), np.full(n, end, "f4"), reach))
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
    reach = half_exponential(some_words(1 << 21, 14)) * np.float32(variance)
    law = np.mean(
        touched(np.full(reach.size, start + shift, "f4"), np.full(reach.size, end + shift, "f4"), reach)
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
    reach = f4(np.nextafter(edge, np.float32(0)), edge, np.nextafter(edge, np.float32(1)))
    assert touched(start, end, reach).tolist() == [False, False, True]


def test_farther_levels_are_touched_less() -> None:
    """One uniform for all levels of a side: whoever touches the farther one has touched the nearer one."""
    n = 400_000
    rng = np.random.default_rng(15)
    variance = np.float32(2.0e-5)
    start = rng.normal(0.004, 0.004, n).astype(np.float32)
    end = (start + rng.normal(0, np.sqrt(variance), n)).astype(np.float32)
    reach = half_exponential(some_words(n, 16)) * variance
    before = touched(start, end, reach)
    assert 0.05 < before.mean() < 0.95
    for farther in (1e-5, 1e-4, 2e-3, 5e-3):
        after = touched(start + np.float32(farther), end + np.float32(1.3 * farther), reach)
        assert not np.any(after & ~before)
        assert after.sum() < before.sum()
        before = after
    assert touched(start, end, None).sum() < touched(start, end, reach).sum()


def test_result_is_boolean_and_leaves_its_arguments_alone() -> None:
    start, end, reach = f4(0.1, 0.2), f4(0.1, -0.2), f4(0.0, 0.5)
    assert touched(start, end, reach).dtype == np.bool_
    for argument, given in ((start, f4(0.1, 0.2)), (end, f4(0.1, -0.2)), (reach, f4(0.0, 0.5))):
        np.testing.assert_array_equal(argument, given)
