"""Counts of a run, and their labels: integers, merged by addition, the same in any order of work."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.compiled import kernel_constants
from sim.errors import GammawallError
from sim.problems import short_repr

IntArray = NDArray[np.int64]
IndexArray = NDArray[np.intp]
# Codes of the worlds and of a path's first target, as the kernels have them.
WITH, WITHOUT = kernel_constants.WITH, kernel_constants.WITHOUT
NEITHER, UPPER, LOWER = kernel_constants.NEITHER, kernel_constants.UPPER, kernel_constants.LOWER


@dataclass(frozen=True)
class OutcomeShape:
    """Lengths of the arrays in `Outcomes`: steps N, levels L, sessions D, regimes R and close bins H."""

    steps: int
    levels: int
    sessions: int
    regimes: int
    close_bins: int

    def __repr__(self) -> str:
        sizes = f"{self.steps} steps, {self.levels} levels, {self.sessions} sessions, {self.regimes} regimes"
        return short_repr(self, f"{sizes}, {self.close_bins} close bins")


@dataclass
class Outcomes:
    """Counts of a run's paths, by outcome.

    Attributes
    ----------
    paths : number of paths counted.
    joint : (3, 3) int64, first target with dealers × without; 0 neither, 1 upper, 2 lower.
    first : (2, 2, N) int64, [world][0 upper, 1 lower][step] paths whose first target was reached in that step.
    touch : (2, L, N) int64, [world][level, ascending][step] paths that first touched the level in that step.
    touch_both : (L,) int64, paths that touched the level in both worlds.
    regime : (D, R) int64, paths in each regime after each close; regime 0 is "initial".
    closes : (D, H + 2) int64, histogram of the close with dealers: below, H bins, above.

    World 0 is with dealers, world 1 the same market without them.
    """

    paths: int
    joint: IntArray
    first: IntArray
    touch: IntArray
    touch_both: IntArray
    regime: IntArray
    closes: IntArray

    def __repr__(self) -> str:
        first = [a + b + c for a, b, c in self.joint.tolist()]
        events = ((UPPER, "upper first"), (LOWER, "lower first"), (NEITHER, "neither"))
        told = ", ".join(f"{first[i]:,} {what}" for i, what in events)
        return short_repr(self, f"{self.paths:,} paths with dealers: {told}")

    @classmethod
    def zeros(cls, shape: OutcomeShape) -> Outcomes:
        """Counts of a run without paths, all zero."""
        return cls(
            paths=0,
            joint=np.zeros((3, 3), dtype=np.int64),
            first=np.zeros((2, 2, shape.steps), dtype=np.int64),
            touch=np.zeros((2, shape.levels, shape.steps), dtype=np.int64),
            touch_both=np.zeros(shape.levels, dtype=np.int64),
            regime=np.zeros((shape.sessions, shape.regimes), dtype=np.int64),
            closes=np.zeros((shape.sessions, shape.close_bins + 2), dtype=np.int64),
        )

    def add(self, other: Outcomes) -> None:
        """Add the counts of further paths of the same scenario, in place.

        Errors: `ValueError` if the counts are of another shape; nothing is added then.
        """
        for name in ARRAY_FIELDS:
            mine, theirs = getattr(self, name).shape, getattr(other, name).shape
            if mine != theirs:
                raise ValueError(f"counts of different scenarios: {name} has shapes {mine} and {theirs}")
        self.paths += other.paths
        for name in ARRAY_FIELDS:
            getattr(self, name)[...] += getattr(other, name)

    def checked_paths(self) -> int:
        """Return the number of paths.

        Errors: `GammawallError` if the first targets are not those of so many paths: no odds are made of such counts.
        """
        counted = int(self.joint.sum())
        if counted != self.paths:
            why = f"the counts do not add up: {counted:,} first targets of {self.paths:,} paths"
            raise GammawallError(f"{why}. Please report this, with the scenario.")
        return int(self.paths)

    def __add__(self, other: Outcomes) -> Outcomes:
        """Return the counts of both runs together."""
        total = Outcomes(self.paths, *(getattr(self, name).copy() for name in ARRAY_FIELDS))
        total.add(other)
        return total

    def __eq__(self, other: object) -> bool:
        """Return whether every count is the same."""
        if not isinstance(other, Outcomes):
            return NotImplemented
        same = (np.array_equal(getattr(self, name), getattr(other, name)) for name in ARRAY_FIELDS)
        return self.paths == other.paths and all(same)


ARRAY_FIELDS = tuple(f.name for f in fields(Outcomes) if f.name != "paths")


def levels_by_side(levels: ArrayLike, start: float) -> tuple[IndexArray, IndexArray]:
    """Indices of the levels above the start and of those below it, nearest first.

    Parameters
    ----------
    levels : (L,) levels, ascending, none at the start.
    start : the start, in the levels' unit.
    """
    found = np.asarray(levels, dtype=np.float64)
    return np.flatnonzero(found > start), np.flatnonzero(found < start)[::-1]


@dataclass(frozen=True, eq=False)
class OutcomeAxes:
    """Labels of the arrays in `Outcomes`.

    Attributes
    ----------
    scenario : its name.
    spot : index points at the start.
    as_of : date of the last known close.
    sessions : the D simulated trading days.
    steps_per_session : trading steps per session; with the overnight gap there is one step more.
    step_time : (N,) time in sessions at the end of each step.
    levels : (L,) index points, ascending.
    upper, lower : the targets, members of `levels`.
    regimes : names, "initial" first.
    close_edges : (H + 1,) edges of the close histogram, index points.
    """

    scenario: str
    spot: float
    as_of: date
    sessions: tuple[date, ...]
    steps_per_session: int
    step_time: NDArray[np.float64]
    levels: tuple[float, ...]
    upper: float
    lower: float
    regimes: tuple[str, ...]
    close_edges: NDArray[np.float64]

    def __eq__(self, other: object) -> bool:
        """Return whether every label is the same."""
        if not isinstance(other, OutcomeAxes):
            return NotImplemented
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(OutcomeAxes))

    def __hash__(self) -> int:
        return hash((self.scenario, self.spot, self.as_of, self.sessions, self.levels, self.regimes))

    @property
    def above(self) -> tuple[float, ...]:
        """Levels above the start, nearest first."""
        return tuple(self.levels[i] for i in levels_by_side(self.levels, self.spot)[0])

    @property
    def below(self) -> tuple[float, ...]:
        """Levels below the start, nearest first."""
        return tuple(self.levels[i] for i in levels_by_side(self.levels, self.spot)[1])

    def __repr__(self) -> str:
        span = f"{len(self.sessions)} sessions to {self.sessions[-1]}, {len(self.levels)} levels"
        return short_repr(self, f"{self.scenario}: {self.spot:,.2f} on {self.as_of}, {span}")


def outcomes_problem(outcomes: Outcomes, axes: OutcomeAxes) -> str | None:
    """Reason why these cannot be counts of paths under these labels; None if they can."""
    steps, levels, sessions = axes.step_time.size, len(axes.levels), len(axes.sessions)
    bins = axes.close_edges.size - 1
    shapes = Outcomes.zeros(OutcomeShape(steps, levels, sessions, len(axes.regimes), max(bins, 0)))
    for name in ARRAY_FIELDS:
        counts, wanted = getattr(outcomes, name), getattr(shapes, name).shape
        if counts.shape != wanted:
            return f"{name} has the shape {counts.shape}, its labels {wanted}"
        if counts.size and (counts.min() < 0 or counts.max() > outcomes.paths):
            return f"{name} holds counts that are negative or above the number of paths"
    return _sums_problem(outcomes, axes)


def _sums_problem(outcomes: Outcomes, axes: OutcomeAxes) -> str | None:
    """Reason why counts of the right shapes do not belong together; None if they do."""
    paths, joint = outcomes.paths, outcomes.joint
    by_world = np.array([joint.sum(axis=1), joint.sum(axis=0)])
    touched, both = outcomes.touch.sum(axis=2), outcomes.touch_both
    farther = [np.diff(touched[:, side]) for side in levels_by_side(axes.levels, axes.spot)]
    for wrong, told in (
        (joint.sum() != paths, "joint does not add up to the paths"),
        ((outcomes.regime.sum(axis=1) != paths).any(), "regime does not add up to the paths"),
        ((outcomes.closes.sum(axis=1) != paths).any(), "closes do not add up to the paths"),
        ((outcomes.first.sum(axis=2) != by_world[:, [UPPER, LOWER]]).any(), "first and joint differ"),
        ((touched > paths).any(), "touch counts more than the paths"),
        (any((more > 0).any() for more in farther), "farther levels have more touches"),
        ((both > touched.min(axis=0)).any(), "touch_both exceeds touch"),
        ((both < touched.sum(axis=0) - paths).any(), "touch_both is less than touch implies"),
    ):
        if wrong:
            return told
    return None
