"""Each function of the kernels on its own, compiled for the processor: known answers, and NumPy's bits."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from support.compiled_kernels import needs_compiler
from support.device_functions import CORNERS, MANY, assert_bits, call, pairs_of_words, some_words
from support.places import KNOWN_ANSWERS_FILE

from sim.compiled.kernel_constants import (
    BRIDGE_UNIT,
    CALLS_PER_SESSION,
    COSINE_POLYNOMIAL,
    LOG_POLYNOMIAL,
    PHILOX_KEY_STEPS,
    PHILOX_ROUNDS,
    PURPOSE_BRIDGE,
    PURPOSE_MOVES,
    SINE_POLYNOMIAL,
)
from sim.engines.kernel_plan import kernel_draws
from sim.kernels_numpy import bridge, normal, philox

pytestmark = needs_compiler

KNOWN_ANSWERS = KNOWN_ANSWERS_FILE


def key_words(key: tuple[int, int]) -> list[int]:
    pairs = zip(key, PHILOX_KEY_STEPS, strict=True)
    steps = list(pairs)
    return [(word + r * step) % 2**32 for r in range(PHILOX_ROUNDS) for word, step in steps]


def test_philox_known_answers() -> None:
    lines = [
        line.split()[2:]
        for line in KNOWN_ANSWERS.read_text().splitlines()
        if line.startswith("philox4x32 10 ")
    ]
    assert len(lines) == 3
    answers = np.array([[int(word, 16) for word in line] for line in lines], dtype=np.uint32)
    out = np.zeros((3, 4), dtype=np.uint32)
    keys = np.array([key_words((int(row[4]), int(row[5]))) for row in answers], dtype=np.uint32)
    call("philox4x32", np.ascontiguousarray(answers[:, :4]), keys, out)
    np.testing.assert_array_equal(out, answers[:, 6:])


def test_philox() -> None:
    rng = np.random.default_rng(1)
    counters = rng.integers(0, 2**32, (20_000, 4), dtype=np.uint32)
    counters[: len(CORNERS)] = np.array(CORNERS, dtype=np.uint32)[:, None]
    seeds = [(0, 0), (2**32 - 1, 2**32 - 1), (2**32 - 1, 0), (12_345, 678)]
    for seed in seeds:
        keys = np.tile(np.array(key_words(seed), dtype=np.uint32), (len(counters), 1))
        out = np.zeros_like(counters)
        call("philox4x32", counters, keys, out)
        np.testing.assert_array_equal(out, philox.philox4x32(counters.T, seed).T)


@pytest.mark.parametrize("purpose", [PURPOSE_MOVES, PURPOSE_BRIDGE])
def test_path_words_are_those_of_their_address(purpose: int) -> None:
    seed, path_high = 2**64 - 12_345, 7
    rng = np.random.default_rng(2)
    sessions = rng.integers(0, 2520, 5_000, dtype=np.int32)
    calls = rng.integers(0, 400, 5_000, dtype=np.int32)
    low = some_words(3, 5_000)
    out = np.zeros((5_000, 4), dtype=np.uint32)
    call("path_words", kernel_draws(seed, path_high), low, sessions, calls, purpose, out)
    address = sessions.astype(np.int64) * CALLS_PER_SESSION + calls
    counter = (low, np.full_like(low, path_high), address, np.full_like(low, purpose))
    np.testing.assert_array_equal(out, philox.philox4x32(counter, (seed % 2**32, seed >> 32)).T)


def test_products() -> None:
    a, b = pairs_of_words(4)
    out = np.zeros(a.size, dtype=np.uint64)
    call("multiply", a, b, out)
    np.testing.assert_array_equal(out, a.astype(np.uint64) * b)


def test_lowest_bit() -> None:
    words = np.concatenate([1 << np.arange(32, dtype=np.uint32), some_words(5)[1:]])
    words = np.ascontiguousarray(words[words != 0])
    out = np.zeros(words.size, dtype=np.int32)
    call("lowest_bit", words, out)
    lowest = words & (~words + np.uint32(1))
    np.testing.assert_array_equal(np.uint32(1) << out.astype(np.uint32), lowest)


def some_floats(seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    corners = [0, -0.0, 1, -1, np.inf, -np.inf, 1e-38, 3e38, 1e-45]
    spread = rng.normal(size=MANY) * np.exp(rng.uniform(-20, 20, MANY))
    return np.concatenate([corners, spread]).astype(np.float32)


def test_order_and_bits() -> None:
    a, b = some_floats(6), some_floats(7)[::-1].copy()
    b[: a.size // 8] = a[: a.size // 8]
    least, most, back, bits = (np.zeros_like(a) for _ in range(4))
    call("order", a, b, least, most)
    np.testing.assert_array_equal(least, np.minimum(a, b))
    np.testing.assert_array_equal(most, np.maximum(a, b))
    call("bits", a, bits.view(np.int32), back)
    assert_bits(bits, a)
    assert_bits(back, a)


def test_square_roots() -> None:
    values = np.abs(some_floats(8))
    root, ordinary = np.zeros_like(values), np.zeros_like(values)
    call("root", values, root, ordinary)
    assert_bits(root, np.sqrt(values))
    assert_bits(ordinary, np.sqrt(values))


def test_horner() -> None:
    t = np.random.default_rng(9).uniform(-1.1, 1.1, MANY).astype(np.float32)
    log, sine, cosine, expected = (np.zeros_like(t) for _ in range(4))
    call("horner", t, log, sine, cosine)
    for polynomial, found in ((LOG_POLYNOMIAL, log), (SINE_POLYNOMIAL, sine), (COSINE_POLYNOMIAL, cosine)):
        normal.horner(polynomial, t, expected)
        assert_bits(found, expected)


def binade_ends() -> NDArray[np.uint32]:
    """Words about √½·2^k, where the reduced mantissa jumps from √2 to √½, and about 2^k."""
    ends = np.concatenate([np.sqrt(0.5) * 2.0 ** np.arange(3, 32), 2.0 ** np.arange(3, 32)])
    near = np.arange(-300, 301)
    return (np.rint(ends)[:, None] + near).clip(0, 2**32 - 1).astype(np.uint32).reshape(-1)


def test_minus_two_log() -> None:
    few = np.arange(70_000, dtype=np.uint32)
    words = np.concatenate([some_words(10), few, ~few, binade_ends()])
    found, expected = (np.zeros(words.size, dtype=np.float32) for _ in range(2))
    call("minus_two_log", words, found)
    normal.minus_two_log(words, expected, np.zeros((2, words.size), dtype=np.float32))
    assert_bits(found, expected)
    assert (found >= 0).all()


def test_normal_pair() -> None:
    radius, angle = pairs_of_words(11)
    found, expected = (np.zeros((2, radius.size), dtype=np.float32) for _ in range(2))
    call("normal_pair", radius, angle, *found)
    normal.normal_pair(radius, angle, *expected, np.zeros((3, radius.size), dtype=np.float32))
    assert_bits(found, expected)
    assert 6 < np.abs(found).max() < 6.6


@pytest.mark.parametrize("k", [0, 1, 2, 25, 26])
def test_known_bits(k: int) -> None:
    words = some_words(12)
    out = np.full(words.size, -1, dtype=np.int32)
    call("known_bits", words, k, out)
    np.testing.assert_array_equal(out, bridge.known_bits(words.astype(np.uint16), k))


def every_known_number() -> tuple[NDArray[np.int32], NDArray[np.uint32]]:
    """All 64 known numbers, each with the corners and many drawn words."""
    drawn = np.concatenate([CORNERS, [127, 128, 2**32 - 128, 2**32 - 129], some_words(13, 5_000)])
    known = np.repeat(np.arange(64, dtype=np.int32), drawn.size)
    return known, np.tile(drawn, 64).astype(np.uint32)


def bridge_words(known: NDArray[np.int32], drawn: NDArray[np.uint32]) -> NDArray[np.uint32]:
    out = np.zeros(known.size, dtype=np.uint32)
    call("bridge_word", known, drawn, out)
    return out


def half_exponentials(words: NDArray[np.uint32]) -> NDArray[np.float32]:
    out = np.zeros(words.size, dtype=np.float32)
    call("half_exponential", words, out)
    return out


def test_bridge_word_and_half_exponential() -> None:
    known, drawn = every_known_number()
    words = bridge_words(known, drawn)
    np.testing.assert_array_equal(words, bridge.bridge_word(known.astype(np.uint16), drawn))
    for some in (words, ~words, some_words(14)):
        assert_bits(half_exponentials(some), bridge.half_exponential(some))


@pytest.mark.parametrize("side", ["above", "below"])
def test_bounds_hold_every_exponential(side: str) -> None:
    """At their ends, where they are tight, the bounds stand off by more than the roundings of either comparison.

    Below, the word is turned, and with it the known bits.
    """
    known, drawn = every_known_number()
    words = bridge_words(known, drawn)
    half = half_exponentials(words if side == "above" else ~words).astype(np.float64)
    bits = (known if side == "above" else 63 - known).astype(np.float32)
    least, most = (np.zeros_like(bits) for _ in range(2))
    call("bound", bits, least, most)
    unit = float(np.float32(BRIDGE_UNIT))
    room = 4 * 2.0**-24
    assert (least * unit < half * (1 - room)).all()
    assert (most * unit > half * (1 + room)).all()
    # Not looser than the error of the logarithm allows, save where nothing is known.
    octave = 0.0862 * 0.5 * np.log(2)
    number = bits.astype(np.float64)
    finite = number > 0
    assert (most * unit)[finite].max() < 2.2
    np.testing.assert_allclose(
        (most * unit)[finite], -0.5 * np.log(number[finite] / 64), rtol=0, atol=octave + 1e-4
    )
    np.testing.assert_allclose(least * unit, -0.5 * np.log((number + 1) / 64), rtol=0, atol=octave + 1e-4)


@pytest.mark.parametrize("side", ["above", "below"])
def test_bounds_survive_the_rounding_of_the_variance(side: str) -> None:
    """As touch_levels multiplies them: bound times unit times variance against exponential times variance."""
    known = np.arange(64, dtype=np.int32)
    ends = [bridge_words(known, np.full(64, drawn, dtype=np.uint32)) for drawn in (0, 2**32 - 1)]
    halves = np.stack([half_exponentials(words if side == "above" else ~words) for words in ends])
    bits = (known if side == "above" else 63 - known).astype(np.float32)
    least, most = (np.zeros_like(bits) for _ in range(2))
    call("bound", bits, least, most)
    rng = np.random.default_rng(15)
    variance = np.exp(rng.uniform(np.log(1e-12), 0, 20_000)).astype(np.float32)[:, None]
    unit = np.float32(BRIDGE_UNIT)
    for half in halves:
        assert (variance * (unit * least) <= half * variance).all()
        # The gate of near_levels rounds the share and the variance first.
        for high in (variance * (unit * most), (variance * unit) * most):
            assert (high >= half * variance).all()


def test_touched() -> None:
    rng = np.random.default_rng(16)
    corners = np.array([0, -0.0, 1e-3, -1e-3, 1e-30, np.inf], dtype=np.float32)
    grid = np.array(np.meshgrid(corners, corners, [0, 1e-6, 1.0, -1.0], indexing="ij")).reshape(3, -1)
    start, end, bound = np.concatenate((grid, rng.normal(0.004, 0.01, (3, MANY))), axis=1).astype(np.float32)
    bound[grid.shape[1] :] *= np.float32(0.01)
    # On the edge itself: strictly within bound.
    bound[-1000:] = start[-1000:] * end[-1000:]
    # No level at all (infinite) is not at the same time one that is reached.
    keep = ~(np.isinf(start) & (end == 0)) & ~(np.isinf(end) & (start == 0))
    start, end, bound = (np.ascontiguousarray(v[keep]) for v in (start, end, bound))
    step, gap = (np.zeros(start.size, dtype=np.bool_) for _ in range(2))
    call("touched", start, end, bound, step, gap)
    np.testing.assert_array_equal(step, bridge.touched(start, end, bound))
    np.testing.assert_array_equal(gap, bridge.touched(start, end, None))
    assert 0.2 < step.mean() < 0.95
    assert gap.sum() < step.sum()
