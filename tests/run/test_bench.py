"""The engines that are here, their timings, and whether their counts agree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.fake_cupy import Machine, install
from support.needs import needs_native
from support.short_scenarios import scenario_of

from sim.compiled import native_library
from sim.compiled.kernel_sources import NATIVE_BUILDS
from sim.engines import cuda_engine
from sim.engines.cuda_engine import CudaEngine
from sim.engines.instruction_counts import COMMON_PATH_INSTRUCTIONS
from sim.engines.numpy_engine import NumpyEngine
from sim.errors import GammawallError, InputError
from sim.plan.builder import prepare
from sim.plan.outcomes import LOWER, UPPER, Outcomes
from sim.run import bench
from sim.run.stopping import paths_for
from sim.scenario.model import Scenario

COLUMNS = [
    *("engine", "device", "workers", "paths", "seconds", "compile_seconds", "kernel_seconds"),
    *("path_steps_per_s", "ns_per_path_step", "speed", "seconds_to_target", "issue_share", "counts"),
]


@pytest.fixture(scope="module")
def short() -> Scenario:
    return scenario_of()


class Slow(NumpyEngine):
    """Takes as long as it is told by a clock that the test moves; counts as NumPy does, or one path too many."""

    def __init__(self, clock: list[float], name: str, threads: int, durations: list[float], more: int = 0):
        super().__init__(threads)
        self.name = name
        self.clock, self.durations, self.more = clock, durations, more
        self.runs: list[int] = []

    def run(self, plan: Any, seed: int, first_path: int, paths: int, progress: Any = None) -> Outcomes:
        self.clock[0] += self.durations[min(len(self.runs), len(self.durations) - 1)]
        self.runs.append(paths)
        outcomes = NumpyEngine(1).run(plan, seed, first_path, paths)
        outcomes.joint[0, 0] += self.more
        return outcomes


class SlowCuda(CudaEngine):
    """CUDA engine without CUDA, whose kernels take half a second on the busier of two devices."""

    def __init__(self) -> None:
        self.devices, self.compile_seconds, self.kernel_seconds = (0, 1), 0.0, 0.0

    @property
    def device(self) -> str:
        return "imaginary"

    def run(self, plan: Any, seed: int, first_path: int, paths: int, progress: Any = None) -> Outcomes:
        self.compile_seconds, self.kernel_seconds = 4.0, 0.5
        return NumpyEngine(1).run(plan, seed, first_path, paths)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(bench.time, "perf_counter", lambda: now[0])
    return now


def engines_are(monkeypatch: pytest.MonkeyPatch, engines: dict[tuple[str, int], Any]) -> None:
    """Let `choose` give these engines, by name and number of threads."""

    def choose(name: str, threads: int = 1, **_: Any) -> Any:
        return engines[name, threads]

    monkeypatch.setattr(bench, "choose", choose)


# --- which engines are here


def test_every_engine_is_named_with_its_device_or_a_cure() -> None:
    states = bench.engine_states()
    assert [s.engine for s in states] == ["cuda", "native", "numpy"]
    assert states[-1].available
    for state in states:
        assert bool(state.device) == state.available == (state.problem == "")
        assert state.available or "Try" in state.problem or "nstall" in state.problem
        assert set(state.usable_builds) <= set(state.builds) <= set(NATIVE_BUILDS)
        assert state.builds == [] or state.engine == "native"


@needs_native
def test_builds_that_the_processor_cannot_run_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "usable_builds", lambda: ["baseline"])
    (native,) = (s for s in bench.engine_states() if s.engine == "native")
    assert native.builds == [b for b in NATIVE_BUILDS if native_library.library_file(b)]
    assert native.usable_builds == ["baseline"]


def test_every_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Machine(devices=2))
    cuda = bench.engine_states()[0]
    assert (cuda.available, cuda.device) == (
        True,
        "Imaginary GPU 0 (device 0), Imaginary GPU 1 (device 1)",
    )


# --- what is timed


def test_numbers_of_a_row(short: Scenario, clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Median of the repeats, the warm-up left out; NumPy on one processor is the base whatever stands first."""
    base = Slow(clock, "numpy", 1, [100.0, 2.0, 9.0, 4.0])
    fast = Slow(clock, "native", 1, [100.0, 0.5])
    engines_are(monkeypatch, {("native", 1): fast, ("numpy", 1): base})
    rows = bench.benchmark(short, engines=["native", "numpy"], paths=[500], repeats=3, target_se=0.01)
    assert list(rows.columns) == COLUMNS
    assert list(rows["engine"]) == ["numpy", "native"]
    assert base.runs == fast.runs == [50, 500, 500, 500]
    assert list(rows["seconds"]) == [4.0, 0.5]
    plan = prepare(short).plan
    assert rows["path_steps_per_s"].to_list() == [500 * plan.steps / 4.0, 500 * plan.steps / 0.5]
    assert rows["ns_per_path_step"].to_list() == pytest.approx(
        [4e9 / 500 / plan.steps, 5e8 / 500 / plan.steps]
    )
    assert list(rows["speed"]) == [1.0, 8.0]
    paths = paths_for(NumpyEngine(1).run(plan, bench.SEED, 0, 500), 0.01)
    assert rows["seconds_to_target"].to_list() == pytest.approx([4.0 * paths / 500, 0.5 * paths / 500])
    assert list(rows["counts"]) == ["first", "identical"]
    assert list(rows["compile_seconds"]) == [0.0, 0.0]
    assert rows["kernel_seconds"].isna().all()
    assert rows["issue_share"].isna().all()


def test_a_row_for_each_number_of_threads_and_paths(
    short: Scenario, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    engines_are(monkeypatch, {("numpy", n): Slow(clock, "numpy", n, [1.0 / n]) for n in (1, 2)})
    rows = bench.benchmark(short, engines=["numpy"], paths=[300, 400], threads=[2, 1], repeats=1)
    assert rows[["workers", "paths"]].to_numpy().tolist() == [[1, 300], [1, 400], [2, 300], [2, 400]]
    # each compared with as many paths on one processor
    assert list(rows["speed"]) == [1.0, 1.0, 2.0, 2.0]
    assert list(rows["counts"]) == ["first", "first", "identical", "identical"]


def test_no_ratio_without_numpy_on_one_processor(
    short: Scenario, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    engines_are(monkeypatch, {("numpy", 2): Slow(clock, "numpy", 2, [1.0])})
    rows = bench.benchmark(short, engines=["numpy"], paths=[300], threads=[2], repeats=1)
    assert math.isnan(rows["speed"][0])


def test_a_gpu_is_timed_by_its_own_clock(
    short: Scenario, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two devices are done after half a second; of their issue limit they reach what follows from that."""
    engines_are(monkeypatch, {("cuda", 1): SlowCuda(), ("numpy", 1): Slow(clock, "numpy", 1, [3.0])})
    speeds = [("sm_90", 132, 1.98e9), ("sm_80", 108, 1.41e9)]
    monkeypatch.setattr(bench, "device_speeds", lambda devices: [speeds[d] for d in devices])
    row = bench.benchmark(short, engines=["cuda", "numpy"], paths=[500], repeats=2).to_dict("records")[1]
    assert (row["engine"], row["workers"], row["compile_seconds"], row["kernel_seconds"]) == (
        "cuda",
        2,
        4.0,
        0.5,
    )
    rate = 500 * prepare(short).plan.steps / 0.5
    assert row["path_steps_per_s"] == rate
    assert row["speed"] == pytest.approx(6.0)
    issued = sum(m * 128 * hz / COMMON_PATH_INSTRUCTIONS[name] for name, m, hz in speeds)
    assert row["issue_share"] == pytest.approx(rate / issued)
    assert row["counts"] == "identical"


def test_no_share_of_a_limit_that_nobody_has_counted(
    short: Scenario, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    engines_are(monkeypatch, {("cuda", 1): SlowCuda()})
    monkeypatch.setattr(bench, "device_speeds", lambda devices: [("sm_90", 1, 1e9), ("sm_999", 1, 1e9)])
    rows = bench.benchmark(short, engines=["cuda"], paths=[300], repeats=1)
    assert rows["issue_share"].isna().all()


def test_counts_that_differ_are_told(
    short: Scenario, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Slow(clock, "native", 1, [1.0], more=1)
    engines_are(monkeypatch, {("native", 1): wrong, ("numpy", 1): Slow(clock, "numpy", 1, [1.0])})
    rows = bench.benchmark(short, engines=["native", "numpy"], paths=[300], repeats=1)
    assert list(rows["counts"]) == ["first", "DIFFERENT"]


def test_the_engines_that_are_here(short: Scenario) -> None:
    """No stand-ins: whatever this machine has."""
    here = [s.engine for s in bench.engine_states() if s.available]
    rows = bench.benchmark(short, paths=[700], repeats=1)
    assert sorted(rows["engine"]) == sorted(here)
    assert set(rows["counts"]) <= {"first", "identical"}
    assert (rows[["seconds", "path_steps_per_s", "seconds_to_target"]].to_numpy() > 0).all()


def test_devices_without_engines_ask_for_cuda_too(short: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_engine, "cuda_problem", lambda devices=(0,): "it is gone. Try harder.")
    with pytest.raises(GammawallError, match="the cuda engine is not available: it is gone"):
        bench.benchmark(short, devices=[0], repeats=1)


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        (
            {"engines": ["numpy", "fpga", "auto"]},
            [
                f"engines = numpy,fpga,auto (there is no engine {name!r}). Try some of cuda, native, numpy."
                for name in ("fpga", "auto")
            ],
        ),
        ({"engines": ["numpy", "numpy"]}, ["engines = numpy,numpy (an engine is named twice)."]),
        (
            {"engines": ["numpy"], "devices": [0, 1]},
            ["devices = 0,1 (of the engines named, none runs on a GPU). Try --engines cuda,numpy."],
        ),
    ],
)
def test_bad_choices_are_refused_together(
    short: Scenario, options: dict[str, Any], messages: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        bench.benchmark(short, **options)
    assert str(caught.value).splitlines() == messages


# --- the time to a standard error


def test_paths_for_a_standard_error(short: Scenario) -> None:
    outcomes = NumpyEngine(1).run(prepare(short).plan, 1, 0, 2000)
    share = outcomes.joint.sum(axis=1)[[UPPER, LOWER]] / 2000
    # (count + 1)/(n + 2) instead of count/n moves it by less than one in a hundred
    assert paths_for(outcomes, 0.01) == pytest.approx(max(share * (1 - share)) / 1e-4, rel=0.01)
    assert paths_for(outcomes, 0.005) == pytest.approx(4 * paths_for(outcomes, 0.01))


def test_an_event_not_yet_seen_takes_paths_too(short: Scenario) -> None:
    outcomes = NumpyEngine(1).run(prepare(short).plan, 1, 0, 98)
    outcomes.joint[:] = np.diag([98, 0, 0])
    assert paths_for(outcomes, 0.01) == pytest.approx(0.01 * 0.99 / 1e-4)


def test_a_table_of_timings_reads_back(short: Scenario, tmp_path: Any) -> None:
    rows = bench.benchmark(short, engines=["numpy"], paths=[300], repeats=1)
    rows.to_csv(tmp_path / "t.csv", index=False)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "t.csv"), rows)
