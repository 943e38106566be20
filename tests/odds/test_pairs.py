"""Pairs of records against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.path_records import parts

from sim.compiled.kernel_constants import RECORD_FIRST_BITS, RECORD_RANK_BITS
from sim.odds.pairs import PairCounts, unpacked

LEVELS = (2, 3), (4, 1)  # above and below: of the case, of the baseline
# First target, levels touched above and below, of a path in the case and in the baseline.
PATH = st.tuples(*(st.tuples(st.integers(0, 2), *(st.integers(0, most) for most in one)) for one in LEVELS))
Facts = list[tuple[tuple[int, int, int], tuple[int, int, int]]]


def packed(facts: list[tuple[int, int, int]]) -> np.ndarray:
    words = [first | above << 2 | below << 9 for first, above, below in facts]
    return np.array(words, dtype=np.uint16)


def counted(paths: Facts) -> PairCounts:
    counts = PairCounts.zeros(*LEVELS)
    counts.count(packed([case for case, _ in paths]), packed([baseline for _, baseline in paths]))
    return counts


@given(st.lists(PATH, max_size=40))
def test_counts_are_those_of_every_path(paths: Facts) -> None:
    counts = counted(paths)
    assert counts.paths == len(paths)
    for place, table in enumerate(counts.arrays):
        assert table.dtype == np.int64
        for i, j in itertools.product(*map(range, table.shape)):
            assert table[i, j] == sum((case[place], base[place]) == (i, j) for case, base in paths)
    assert [table.shape for table in counts.arrays] == [(3, 3), (3, 5), (4, 2)]


@given(st.lists(PATH, max_size=20), st.lists(PATH, max_size=20))
def test_sum_is_the_count_of_both(first: Facts, second: Facts) -> None:
    total, other = counted(first), counted(second)
    total.add(other)
    assert total == counted(first + second)
    assert other == counted(second)
    again = counted(first)
    again.count(packed([case for case, _ in second]), packed([baseline for _, baseline in second]))
    assert again == total


@given(st.lists(PATH, min_size=1, max_size=20))
def test_swapping_case_and_baseline_transposes(paths: Facts) -> None:
    swapped = PairCounts.zeros(*LEVELS[::-1])
    swapped.count(packed([baseline for _, baseline in paths]), packed([case for case, _ in paths]))
    for mine, theirs in zip(swapped.arrays, counted(paths).arrays, strict=True):
        np.testing.assert_array_equal(mine, theirs.T)


def test_every_record_is_unpacked_as_documented() -> None:
    assert (RECORD_FIRST_BITS, RECORD_RANK_BITS) == (2, 7)
    assert RECORD_FIRST_BITS + 2 * RECORD_RANK_BITS == 16
    records = np.arange(1 << 16, dtype=np.uint16)
    for mine, theirs in zip(unpacked(records), parts(records), strict=True):
        assert mine.dtype == np.uint16
        np.testing.assert_array_equal(mine, theirs)
    first, above, below = (part.astype(np.int64) for part in unpacked(records))
    np.testing.assert_array_equal(first + (above << 2) + (below << 9), records)


def test_equality_and_sizes() -> None:
    one = counted([((1, 2, 0), (2, 0, 1))])
    assert one == counted([((1, 2, 0), (2, 0, 1))])
    assert one != counted([((1, 2, 0), (2, 1, 1))])
    assert one != counted([])
    assert one != "pairs"
    more = counted([((1, 2, 0), (2, 0, 1))])
    more.paths += 1
    assert more != one
    with pytest.raises(AssertionError, match="different scenarios"):
        one.add(PairCounts.zeros((3, 3), (4, 1)))
    with pytest.raises(AssertionError):
        one.count(packed([(0, 0, 0)]), packed([]))
