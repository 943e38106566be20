"""One answer: the same counts whatever the threads, blocks, splits and order of work."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.sample_scenario import DELETE, sample
from support.short_scenarios import prepared_of

from sim.engines import numpy_engine
from sim.engines.numpy_engine import NumpyEngine
from sim.errors import GammawallError
from sim.kernels_numpy.path_state import PathBlock
from sim.kernels_numpy.paths import run_block
from sim.plan.builder import prepare
from sim.plan.engine_plan import EnginePlan
from sim.plan.outcomes import LOWER, UPPER, Outcomes
from sim.scenario.file import scenario_from_mapping

PATHS = 6_000


def plan_of(edits: dict[str, Any] | None = None) -> EnginePlan:
    return prepare(scenario_from_mapping(sample(edits), "sample")).plan


@pytest.fixture(scope="module")
def plan() -> EnginePlan:
    """Every feature at once: jumps, catalysts, Student-t, GJR, fading impact, six books, an expiry inside."""
    return plan_of()


@pytest.fixture(scope="module")
def whole(plan: EnginePlan) -> Outcomes:
    return NumpyEngine(threads=1).run(plan, 7, 0, PATHS)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("block", [331, 1_000, 4_096, 1 << 16])
def test_threads_and_blocks_change_nothing(
    plan: EnginePlan, whole: Outcomes, threads: int, block: int
) -> None:
    assert NumpyEngine(threads, block).run(plan, 7, 0, PATHS) == whole


def test_ranges_of_paths_add_up(plan: EnginePlan, whole: Outcomes) -> None:
    engine = NumpyEngine(threads=2, block_paths=777)
    parts = [
        engine.run(plan, 7, first, count) for first, count in ((4_200, 1_800), (0, 1_800), (1_800, 2_400))
    ]
    assert parts[0] + parts[1] + parts[2] == whole


CONSTANT = {
    "volatility.alpha": 0.0,
    "volatility.gamma": 0.0,
    "volatility.beta": 1.0,
    "volatility.long_run_annual": DELETE,
    "volatility.tail_dof": DELETE,
}


@pytest.mark.parametrize(
    "edits",
    [
        {"volatility.steps_per_session": 6, "volatility.intraday_shape": "flat"},
        {"volatility.steps_per_session": 78, "volatility.tail_dof": DELETE},
        {"volatility.steps_per_session": 1, "volatility.overnight_share": 0.0},
        {"dealers.impact_half_life": 0.0},
        {**CONSTANT, "jumps": DELETE, "catalyst": DELETE},
    ],
    ids=["6 steps", "78 steps, normal", "one step, no gap", "permanent", "constant variance"],
)
def test_blocks_change_nothing_in_other_scenarios(edits: dict[str, Any]) -> None:
    plan = plan_of(edits)
    assert NumpyEngine(2, 257).run(plan, 3, 100, 1_500) == NumpyEngine(1).run(plan, 3, 100, 1_500)


@pytest.mark.parametrize(("before", "after"), [(300, 300), (10, 590), (590, 10)])
def test_a_path_is_the_same_on_both_sides_of_two_to_the_32(plan: EnginePlan, before: int, after: int) -> None:
    start, middle = (1 << 32) - before, 1 << 32
    engine = NumpyEngine(1)
    parts = engine.run(plan, 7, start, before) + engine.run(plan, 7, middle, after)
    assert engine.run(plan, 7, start, before + after) == parts
    # the high word counts: other paths than those at the same low words
    assert engine.run(plan, 7, middle, after) != engine.run(plan, 7, 0, after)


def test_paths_beyond_every_level_are_counted() -> None:
    """Fat tails over a year bound prices no level stands for; they must neither fail nor spill into other rows."""
    edits = {
        **{"market.until": DELETE, "market.sessions": 252, "volatility.steps_per_session": 1},
        **{"volatility.tail_dof": 2.1, "volatility.annual": 2.0, "regime": DELETE},
        **dict.fromkeys(("volatility.long_run_annual", "catalyst", "jumps"), DELETE),
        **{"volatility.alpha": 0.0, "volatility.gamma": 0.0, "volatility.beta": 1.0},
    }
    plan = plan_of(edits)
    outcomes = NumpyEngine(1).run(plan, 1, 0, 20_000)
    assert outcomes.closes.sum() == 20_000 * 252
    assert (outcomes.touch.sum(axis=2) <= 20_000).all()


def test_seeds_differ_in_both_words(plan: EnginePlan, whole: Outcomes) -> None:
    engine = NumpyEngine(1)
    assert engine.run(plan, 8, 0, PATHS) != whole
    assert engine.run(plan, 7 + (1 << 32), 0, PATHS) != whole


def test_counts_add_up(plan: EnginePlan, whole: Outcomes) -> None:
    assert whole.paths == PATHS
    assert whole.joint.sum() == PATHS
    assert (whole.regime.sum(axis=1) == PATHS).all()
    assert (whole.closes.sum(axis=1) == PATHS).all()
    # first targets by step agree with the joint table, in both worlds
    np.testing.assert_array_equal(whole.first[0].sum(axis=1), whole.joint.sum(axis=1)[[UPPER, LOWER]])
    np.testing.assert_array_equal(whole.first[1].sum(axis=1), whole.joint.sum(axis=0)[[UPPER, LOWER]])
    # nobody touches a farther level without the nearer one, in any step
    touched = whole.touch.cumsum(axis=2)
    below = int(plan.level_count[1])
    assert (np.diff(touched[:, below:], axis=1) <= 0).all()
    assert (np.diff(touched[:, :below], axis=1) >= 0).all()
    assert (touched <= PATHS).all()
    assert (whole.touch_both <= touched[:, :, -1].min(axis=0)).all()


def test_many_levels() -> None:
    plan = plan_of({"levels": [*range(6000, 6900, 60), *range(6960, 7600, 30)]})
    assert plan.level_count.sum() > 32
    whole = NumpyEngine(1).run(plan, 1, 0, 2_000)
    assert NumpyEngine(2, 333).run(plan, 1, 0, 2_000) == whole
    touched = whole.touch[0].sum(axis=1)
    below = int(plan.level_count[1])
    assert (np.diff(touched[below:]) <= 0).all()
    assert (np.diff(touched[:below]) >= 0).all()
    assert touched[below] > touched[-1]


@pytest.mark.parametrize(
    "edits",
    [{"dealers.impact_bp_per_bn": 0.0}, {"dealers": DELETE, "regime": DELETE}],
    ids=["no impact", "no positions"],
)
def test_without_dealers_both_worlds_are_one(edits: dict[str, Any]) -> None:
    plan = plan_of(edits)
    outcomes = NumpyEngine(1).run(plan, 1, 0, 3_000)
    assert np.count_nonzero(outcomes.joint - np.diag(np.diag(outcomes.joint))) == 0
    np.testing.assert_array_equal(outcomes.touch[0], outcomes.touch[1])
    np.testing.assert_array_equal(outcomes.touch_both, outcomes.touch[0].sum(axis=1))


def test_impact_that_fades_at_once_leaves_no_effect() -> None:
    """What is left is the hedging of the step under way, which shrinks with the step."""

    def differing(half_life: float, steps: int) -> int:
        edits = {
            **{"regime": DELETE, "jumps": DELETE, "catalyst": DELETE, "volatility.overnight_share": 0.0},
            **{"dealers.impact_half_life": half_life, "volatility.steps_per_session": steps},
            "dealers.impact_bp_per_bn": 1.0,
        }
        joint = NumpyEngine(2).run(plan_of(edits), 1, 0, 20_000).joint
        return int(joint.sum() - np.trace(joint))

    lasting, coarse, fine = differing(2.0, 13), differing(1e-4, 6), differing(1e-4, 96)
    assert coarse < lasting
    assert fine < 0.5 * coarse


def test_a_lone_path_is_the_path_of_the_block(plan: EnginePlan) -> None:
    seen: dict[str, np.ndarray] = {}

    def keep(name: str, column: int) -> Any:
        def observe(session: int, block: PathBlock) -> None:
            values = [block.coordinate[:, column], block.s[column : column + 1], block.h[column : column + 1]]
            integers = [block.regime[column : column + 1], block.rank[:, column]]
            row = np.concatenate([v.view(np.int32) for v in map(np.ascontiguousarray, values)] + integers)
            seen[name] = np.vstack((seen[name], row)) if name in seen else row

        return observe

    run_block(PathBlock(plan, 7, 1000), 12_000, 1000, keep("block", 345))
    run_block(PathBlock(plan, 7, 1), 12_345, 1, keep("alone", 0))
    np.testing.assert_array_equal(seen["block"], seen["alone"])


def test_progress_counts_every_path_once(plan: EnginePlan) -> None:
    lots: list[int] = []
    NumpyEngine(2, 500).run(plan, 1, 0, 2_250, lots.append)
    assert sorted(lots) == [250, 500, 500, 500, 500]


def test_a_failing_callback_fails_the_run_and_leaves_no_worker(plan: EnginePlan) -> None:
    def fail(_: int) -> None:
        raise RuntimeError("progress is broken")

    with pytest.raises(RuntimeError, match="progress is broken"):
        NumpyEngine(2, 100).run(plan, 1, 0, 1_000, fail)
    assert not children()


def test_interruption_stops_the_workers(plan: EnginePlan) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        NumpyEngine(2, 100).run(plan, 1, 0, 10_000_000, interrupt)
    assert not children()


def test_a_killed_worker_is_one_clear_error(plan: EnginePlan) -> None:
    def kill(_: int) -> None:
        os.kill(children()[0], signal.SIGKILL)

    with pytest.raises(GammawallError, match="a worker process died"):
        NumpyEngine(2, 100).run(plan, 1, 0, 100_000, kill)


def test_whatever_ends_the_reading_of_counts_is_raised(
    plan: EnginePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not waited for: a reader without memory has no more to say."""

    def fail(_: object) -> object:
        raise MemoryError("no room for counts")

    monkeypatch.setattr(numpy_engine.pickle, "load", fail)
    with pytest.raises(MemoryError, match="no room for counts"):
        NumpyEngine(2, 100).run(plan, 1, 0, 1_000)
    assert not children()


def children() -> list[int]:
    """Worker processes alive, by their command line."""
    mine = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if parent == os.getpid() and b"numpy_worker" in command and state != "Z":
            mine.append(int(folder.name))
    return mine


def test_workers_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """One message, and the worker that did start is ended."""
    real, begun = numpy_engine._start_worker, []

    def start_one() -> object:
        if begun:
            raise OSError(errno.EMFILE, "Too many open files")
        begun.append(real())
        return begun[0]

    monkeypatch.setattr(numpy_engine, "_start_worker", start_one)
    with pytest.raises(
        GammawallError, match=r"2 worker processes .*Too many open files.*Try fewer --threads"
    ):
        NumpyEngine(2, block_paths=100).run(prepared_of().plan, 1, 0, 400)
    assert begun[0].poll() is not None
