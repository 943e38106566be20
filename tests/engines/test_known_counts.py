"""The known answer of the kernels: NumPy finds it too, and it is of paths that do everything."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from support.needs import needs_native
from support.path_records import check_counts, recorded

from sim.compiled.kernel_constants import TriggerCode
from sim.compiled.native_library import file_of
from sim.engines.kernel_plan import TallyLayout, outcomes_from_tallies
from sim.engines.known_counts import (
    KNOWN_COUNTS,
    KNOWN_FIRST,
    KNOWN_PATHS,
    KNOWN_SEED,
    counts_digest,
    counts_problem,
    known_paths,
    known_plan,
)
from sim.engines.native_builds import usable_builds
from sim.engines.numpy_engine import NumpyEngine
from sim.plan.outcomes import Outcomes


@cache
def by_numpy() -> tuple[Outcomes, np.ndarray]:
    return recorded(NumpyEngine(), known_plan(), KNOWN_SEED, KNOWN_FIRST, KNOWN_PATHS)


def tallies_of(outcomes: Outcomes) -> np.ndarray:
    """Counts in the kernels' order, as far as it shows in outcomes: touches in both worlds are kept apart there."""
    plan = known_plan()
    layout, (above, below) = TallyLayout.of(plan), map(int, plan.level_count)
    width = plan.level.shape[1]
    both = np.zeros((2, width), dtype=np.int64)
    for side, (count, touched) in enumerate(
        ((above, outcomes.touch_both[below:]), (below, outcomes.touch_both[:below][::-1]))
    ):
        at_least = np.concatenate(([outcomes.paths], touched, [0]))
        both[side, : count + 1] = -np.diff(at_least)
    touch = np.zeros((plan.steps, 2, 2, width), dtype=np.int64)
    touch[:, :, 0, :above] = outcomes.touch[:, below:].transpose(2, 0, 1)
    touch[:, :, 1, :below] = outcomes.touch[:, :below][:, ::-1].transpose(2, 0, 1)
    parts = {
        "joint_tally": outcomes.joint,
        "both_tally": both,
        "regime_tally": outcomes.regime,
        "first_tally": outcomes.first.transpose(2, 0, 1),
        "touch_tally": touch,
        "close_tally": outcomes.closes,
    }
    assert list(parts) == list(layout.starts)
    return np.concatenate([part.reshape(-1) for part in parts.values()])


def test_numpy_finds_the_known_counts() -> None:
    outcomes, records = by_numpy()
    assert counts_digest(tallies_of(outcomes), records) == KNOWN_COUNTS


def test_known_paths_do_everything() -> None:
    plan, (outcomes, records) = known_plan(), by_numpy()
    check_counts(plan, records, outcomes)
    assert set(plan.trigger.tolist()) == set(TriggerCode)
    assert outcomes.regime.any(axis=0).all()
    assert np.count_nonzero(outcomes.joint) >= 8
    assert outcomes.touch.any(axis=2).all()
    assert outcomes.first.any(axis=2).all()
    assert plan.settles.any()
    assert not plan.constant_variance


@needs_native
@pytest.mark.parametrize("build", usable_builds())
def test_every_build_finds_them(build: str) -> None:
    counts, records = known_paths(file_of(build))
    outcomes, expected = by_numpy()
    assert outcomes_from_tallies(known_plan(), counts.astype(np.int64), KNOWN_PATHS) == outcomes
    np.testing.assert_array_equal(records, expected)
    assert counts_problem(file_of(build)) is None
