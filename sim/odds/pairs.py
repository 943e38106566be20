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
from sim.plan.outcomes import WITH, IntArray, OutcomeAxes, Outcomes, levels_by_side

Records = NDArray[np.uint16]


@dataclass(frozen=True)
class Margins:
    """Counts of paths of one scenario by the parts of their records.

    Attributes
    ----------
    paths : number of paths counted.
    parts : counts by first target, (3,), and by number of levels touched above, (A + 1,), and below, (B + 1,).
    """

    paths: int
    parts: tuple[IntArray, IntArray, IntArray]

    def problem(self, whole: Margins) -> str | None:
        """Reason why these cannot be of the same paths as `whole`, or of some of them; None if they can."""
        for name, mine, theirs in zip(("first", "above", "below"), self.parts, whole.parts, strict=True):
            if mine.shape != theirs.shape:
                return f"{name} is of {mine.size - 1} levels, not {theirs.size - 1}"
            if (mine > theirs).any() or (self.paths == whole.paths and (mine < theirs).any()):
                return f"{name} counts other paths"
        return None


def outcome_margins(outcomes: Outcomes, axes: OutcomeAxes) -> Margins:
    """Margins of a scenario's records, from its counts."""
    touched = outcomes.touch[WITH].sum(axis=1)
    # Paths that touch as many levels as a number and no more, from those that touch at least as many.
    above, below = (
        -np.diff(np.concatenate(([outcomes.paths], touched[side], [0])))
        for side in levels_by_side(axes.levels, axes.spot)
    )
    return Margins(outcomes.paths, (outcomes.joint.sum(axis=1), above, below))


def record_margins(records: Records, whole: Margins) -> Margins | None:
    """Margins of records, (n,), as long as those of `whole`; None if a record exceeds them."""
    parts = []
    for values, counts in zip(unpacked(records), whole.parts, strict=True):
        parts.append(np.bincount(values, minlength=counts.size))
        if parts[-1].size > counts.size:
            return None
    return Margins(records.size, (parts[0], parts[1], parts[2]))


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

    def problem(self, case: Margins, baseline: Margins | None) -> str | None:
        """Reason why these cannot be pairs of a case, and of a baseline if one is given; None if they can."""
        for axis, whole, whose in ((1, case, "the case's own"), (0, baseline, "the baseline's")):
            if whole is None:
                continue
            if any((counts < 0).any() or counts.sum() != self.paths for counts in self.arrays):
                return "its pairs do not add up to their paths"
            first, above, below = (counts.sum(axis=axis) for counts in self.arrays)
            wrong = Margins(self.paths, (first, above, below)).problem(whole)
            if wrong is not None:
                return f"its pairs do not fit {whose} counts: {wrong}"
        return None

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
