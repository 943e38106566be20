"""Paired counts of two scenarios on the same draws, path by path; those of other paths are merged by addition.

An engine's records say of every path, in the world with dealers, which target came first and how many levels it
touched on each side; levels are nested, so the number tells which. Scenarios that share a seed share their draws, so
the pair of records of one path is what a paired difference needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.compiled.kernel_constants import RECORD_FIRST_BITS, RECORD_RANK_BITS
from sim.plan.outcomes import IntArray

Records = NDArray[np.uint16]


@dataclass
class PairCounts:
    """Counts of paths by their outcome in a case and in the baseline.

    Attributes
    ----------
    paths : number of paths counted.
    first : (3, 3) int64, first target in the case × in the baseline; 0 neither, 1 upper, 2 lower.
    above : (A + 1, A' + 1) int64, number of the levels above the start touched in the case × in the baseline.
    below : (B + 1, B' + 1) int64, likewise below.
    """

    paths: int
    first: IntArray
    above: IntArray
    below: IntArray

    @classmethod
    def zeros(cls, case_levels: tuple[int, int], baseline_levels: tuple[int, int]) -> PairCounts:
        """Counts without paths, all zero.

        Parameters
        ----------
        case_levels, baseline_levels : number of levels above and below the start.
        """
        sizes = [(mine + 1, theirs + 1) for mine, theirs in zip(case_levels, baseline_levels, strict=True)]
        return cls(0, *(np.zeros(size, dtype=np.int64) for size in ((3, 3), *sizes)))

    def count(self, case: Records, baseline: Records) -> None:
        """Count the records of the same paths, (n,) each."""
        assert case.shape == baseline.shape
        self.paths += case.size
        for counts, mine, theirs in zip(self.arrays, unpacked(case), unpacked(baseline), strict=True):
            width = counts.shape[1]
            pairs = mine.astype(np.intp) * width + theirs
            counts += np.bincount(pairs, minlength=counts.size).reshape(counts.shape)

    def add(self, other: PairCounts) -> None:
        """Add the counts of other paths in place."""
        self.paths += other.paths
        for mine, theirs in zip(self.arrays, other.arrays, strict=True):
            assert mine.shape == theirs.shape, "pairs of different scenarios"
            mine += theirs

    @property
    def arrays(self) -> tuple[IntArray, IntArray, IntArray]:
        """The three tables: first targets, levels above, levels below."""
        return self.first, self.above, self.below

    def __eq__(self, other: object) -> bool:
        """Return whether every count is the same."""
        if not isinstance(other, PairCounts):
            return NotImplemented
        same = (np.array_equal(mine, theirs) for mine, theirs in zip(self.arrays, other.arrays, strict=True))
        return self.paths == other.paths and all(same)


def unpacked(records: Records) -> tuple[Records, Records, Records]:
    """First target, number of levels touched above and below, (n,) each; see `Engine.run`."""
    first, ranks = np.uint16((1 << RECORD_FIRST_BITS) - 1), np.uint16((1 << RECORD_RANK_BITS) - 1)
    above = records >> np.uint16(RECORD_FIRST_BITS) & ranks
    return records & first, above, records >> np.uint16(RECORD_FIRST_BITS + RECORD_RANK_BITS) & ranks
