"""What records must say of the counts of the same run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim.engines.choice import Engine
from sim.plan.engine_plan import EnginePlan
from sim.plan.outcomes import LOWER, NEITHER, UPPER, WITH, Outcomes

# What no path's record is: a first target that does not exist.
UNTOUCHED = 0xFFFF
Records = NDArray[np.uint16]
# Seed, first path, number of paths.
Run = tuple[int, int, int]


def recorded(engine: Engine, plan: EnginePlan, seed: int, first: int, paths: int) -> tuple[Outcomes, Records]:
    """Counts and records of a run, whose array has other entries on both sides that it must not touch."""
    around = np.full(paths + 2, UNTOUCHED, dtype=np.uint16)
    outcomes = engine.run(plan, seed, first, paths, None, around[1:-1])
    assert around[0] == around[-1] == UNTOUCHED
    return outcomes, around[1:-1]


def counted(engine: Engine, runs: Sequence[tuple[EnginePlan, Run]]) -> list[tuple[Outcomes, bytes]]:
    """Counts and records of several runs, to be compared by ==."""
    found = (recorded(engine, plan, *run) for plan, run in runs)
    return [(outcomes, records.tobytes()) for outcomes, records in found]


def parts(records: Records) -> tuple[Records, Records, Records]:
    """First target, levels touched above, levels touched below, by the documented positions of the bits."""
    return records & 3, records >> 2 & 127, records >> 9


def check_counts(plan: EnginePlan, records: Records, outcomes: Outcomes) -> None:
    """Records add up to the counts with dealers, and none contradicts itself."""
    first, above, below = parts(records)
    assert outcomes.paths == records.size
    np.testing.assert_array_equal(np.bincount(first, minlength=3), outcomes.joint.sum(axis=1))
    # levels ascend, those above the start nearest first
    levels_above, levels_below = map(int, plan.level_count)
    touched = [np.count_nonzero(below > rank) for rank in reversed(range(levels_below))]
    touched += [np.count_nonzero(above > rank) for rank in range(levels_above)]
    np.testing.assert_array_equal(touched, outcomes.touch[WITH].sum(axis=1))
    assert above.max() <= levels_above
    assert below.max() <= levels_below
    upper, lower = above > plan.target_rank[0], below > plan.target_rank[1]
    assert upper[first == UPPER].all()
    assert lower[first == LOWER].all()
    np.testing.assert_array_equal(first == NEITHER, ~(upper | lower))
