"""Random words against Random123's known answers, against randomgen, and the buffered draw against the plain one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import randomgen
from support.places import KNOWN_ANSWERS_FILE

from sim.kernels_numpy.philox import PathWords, philox4x32

KNOWN_ANSWERS = """
 7 00000000 00000000 00000000 00000000 00000000 00000000   5f6fb709 0d893f64 4f121f81 4f730a48
 7 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff   5207ddc2 45165e59 4d8ee751 8c52f662
 7 243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0   4dfccaba 190a87f0 c47362ba b6b5242a
10 00000000 00000000 00000000 00000000 00000000 00000000   6627e8d5 e169c58d bc57ac4c 9b00dbd8
10 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff   408f276d 41c83b0e a20bc7c6 6d5451fd
10 243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0   d16cfe09 94fdcceb 5001e420 24126ea1
""".strip().splitlines()
MOST = 0xFFFFFFFF


def parse(line: str) -> tuple[int, list[int]]:
    rounds, *words = line.split()
    return int(rounds), [int(word, 16) for word in words]


@pytest.mark.parametrize("line", KNOWN_ANSWERS)
def test_known_answers(line: str) -> None:
    rounds, words = parse(line)
    found = philox4x32(words[:4], (words[4], words[5]), rounds)
    assert found.dtype == np.uint32
    assert found.tolist() == words[6:]


def test_known_answers_are_the_published_ones() -> None:
    lines = KNOWN_ANSWERS_FILE.read_text(encoding="utf-8").splitlines()
    published = [parse(line.removeprefix("philox4x32 ")) for line in lines if line.startswith("philox4x32 ")]
    assert published == [parse(line) for line in KNOWN_ANSWERS]


def test_ten_rounds_unless_told() -> None:
    rounds, words = parse(KNOWN_ANSWERS[-1])
    assert rounds == 10
    assert philox4x32(words[:4], (words[4], words[5])).tolist() == words[6:]


def randomgen_words(counter: list[int], key: tuple[int, int], calls: int) -> np.ndarray:
    """Words of consecutive counters; randomgen counts up before it draws, the first word lowest."""
    start = sum(word << (32 * index) for index, word in enumerate(counter))
    stream = randomgen.Philox(
        number=4, width=32, counter=(start - 1) % 2**128, key=key[0] | key[1] << 32
    ).random_raw(4 * calls)
    return np.asarray(stream, dtype=np.uint32).reshape(calls, 4).T


@pytest.mark.parametrize(
    "counter", [[0, 0, 0, 0], [5, 0, 4096, 1], [2**32 - 300, 7, 26 << 12, 0], [1, 2, 3, MOST]]
)
@pytest.mark.parametrize("key", [(0, 0), (1, 0), (0xDEADBEEF, 0x01234567)])
def test_randomgen(counter: list[int], key: tuple[int, int]) -> None:
    calls = 256
    low, *rest = counter
    counters = [np.arange(low, low + calls), *rest]
    columns = np.broadcast_arrays(*counters)
    np.testing.assert_array_equal(philox4x32(columns, key), randomgen_words(counter, key, calls))


def addresses() -> Iterator[tuple[int, int, int, int, int]]:
    """(number of paths, path_high, call, purpose, seed): small and extreme ones, then any."""
    for n in (1, 2, 3, 17, 64, 1001):
        yield n, 0, 0, 0, 1
        yield n, 3, (26 << 12) + 13, 1, 2**64 - 1
        yield n, MOST, MOST, MOST, 0
    rng = np.random.default_rng(20260210)
    for _ in range(60):
        high, call, purpose = (int(w) for w in rng.integers(0, 2**32, 3))
        yield int(rng.integers(1, 300)), high, call, purpose, int(rng.integers(0, 2**64, dtype=np.uint64))


def drawn(words: PathWords, low: np.ndarray, high: int, call: int, purpose: int) -> np.ndarray:
    out = np.full((4, low.size), 0xA5A5A5A5, dtype=np.uint32)
    words.draw(low, high, call, purpose, out)
    return out


@pytest.mark.parametrize(("n", "high", "call", "purpose", "seed"), list(addresses()))
def test_draw_is_philox(n: int, high: int, call: int, purpose: int, seed: int) -> None:
    low = np.random.default_rng(n).integers(0, 2**32, n, dtype=np.uint64)
    low[0], low[-1] = 0, MOST
    plain = philox4x32(np.broadcast_arrays(low, high, call, purpose), (seed & MOST, seed >> 32))
    np.testing.assert_array_equal(drawn(PathWords(n, seed), low, high, call, purpose), plain)


def test_buffers_keep_nothing() -> None:
    """Draws of other lengths and addresses in between leave no trace."""
    low = np.arange(1000, dtype=np.uint64)
    reused = PathWords(1000, 12345)
    draws = [(1000, 0, 0, 0), (7, 9, 4097, 1), (1, 2, 3, 4), (999, 0, 8192, 0), (1000, 1, 0, 1)]
    for n, high, call, purpose in draws:
        fresh = drawn(PathWords(n, 12345), low[:n], high, call, purpose)
        np.testing.assert_array_equal(drawn(reused, low[:n], high, call, purpose), fresh)


def test_path_does_not_know_its_neighbours() -> None:
    low = np.array([12345, 0, 777, MOST, 12345, 3], dtype=np.uint64)
    together = drawn(PathWords(low.size, 8), low, 5, 4100, 0)
    for index, path in enumerate(low):
        alone = drawn(PathWords(1, 8), np.array([path], dtype=np.uint64), 5, 4100, 0)
        np.testing.assert_array_equal(together[:, [index]], alone)


@pytest.mark.parametrize("word", range(4))
def test_every_part_of_the_address_counts(word: int) -> None:
    """One bit more in any counter or key word flips about half of the 128 bits (5.7 sd each way: 1e-8 a case)."""
    base = [3, 0, 4096, 0]
    other = base.copy()
    other[word] ^= 1 << 7
    pairs = [(philox4x32(base, (1, 2)), philox4x32(other, (1, 2)))]
    if word < 2:
        key = [1, 2]
        key[word] ^= 1 << 7
        pairs.append((philox4x32(base, (1, 2)), philox4x32(base, (key[0], key[1]))))
    for a, b in pairs:
        assert 32 < int(np.bitwise_count(a ^ b).sum()) < 96
