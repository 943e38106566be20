"""The CUDA engine on machines without a GPU: its own code as it is, CuPy's part played by a stand-in."""

from __future__ import annotations

import gc
import shutil
import threading
from collections import Counter
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import fake_cupy
from support.cuda_on_cpu import needs_compiler
from support.fake_cupy import Launch, Machine
from support.needs import needs_native
from support.sample_scenario import DELETE
from support.short_scenarios import CATALYST, prepared_of

from sim.compiled import kernel_sources
from sim.compiled.kernel_sources import kernel_digest, kernel_files
from sim.compiled.struct_layout import kernel_structs
from sim.engines import cuda_engine
from sim.engines.choice import choose
from sim.engines.cuda_engine import CudaEngine, device_names
from sim.engines.kernel_plan import TallyLayout
from sim.engines.native_engine import NativeEngine
from sim.engines.numpy_engine import NumpyEngine
from sim.plan.builder import prepare
from sim.plan.engine_plan import EnginePlan
from sim.plan.outcomes import Outcomes
from sim.run.simulation import simulate
from sim.scenario.file import load_scenario

pytestmark = needs_compiler
SEED = 0x0123_4567_89AB_CDEF
PATHS = 1_500
BLOCK = 32
FEW_STEPS = ["market.sessions=4", "volatility.steps_per_session=5"]
# Closes around the spot, so that every trigger is met by some path, and run lengths that differ.
CLOSE_REGIMES = [
    {
        "name": f"close_{i}",
        "when": "closes_above" if i % 2 else "closes_below",
        "level": 6942 + (i if i % 2 else -i),
        "closes": 1 + i % 5,
        "weights": {"wall": 0.5},
    }
    for i in range(29)
]
EDITS: dict[str, dict[str, Any]] = {
    "every table": {"catalyst": [CATALYST]},
    "permanent impact": {"dealers.impact_half_life": 0.0},
    "constant variance": {
        **{"volatility.alpha": 0.0, "volatility.gamma": 0.0, "volatility.beta": 1.0},
        **{"volatility.long_run_annual": DELETE, "volatility.tail_dof": DELETE},
    },
    "no gap": {"volatility.overnight_share": 0.0},
    **{f"{n} steps": {"volatility.steps_per_session": n} for n in (1, 2, 4, 6, 9)},
    "many of all": {"levels": [*range(6000, 6900, 60), *range(6960, 7600, 30)], "regime": CLOSE_REGIMES},
    "story": {},
    "no dealers": {},
}
BUILT_IN = {"story": "siege-of-7000", "no dealers": "no-dealers"}


@cache
def plan_of(name: str) -> EnginePlan:
    if name in BUILT_IN:
        return prepare(load_scenario(BUILT_IN[name], FEW_STEPS)).plan
    return prepared_of(EDITS[name]).plan


@cache
def expected(name: str, first: int = 0, paths: int = PATHS) -> Outcomes:
    return NumpyEngine(1).run(plan_of(name), SEED, first, paths)


def check_same(found: Outcomes, wanted: Outcomes) -> None:
    for f in fields(Outcomes):
        np.testing.assert_array_equal(getattr(found, f.name), getattr(wanted, f.name), err_msg=f.name)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """One device of two multiprocessors; blocks are small, so that few paths fill a grid more than once."""
    monkeypatch.setattr(cuda_engine, "BLOCK_THREADS", BLOCK)
    return fake_cupy.install(monkeypatch, Machine(multiprocessors=2))


@pytest.mark.parametrize("name", EDITS)
def test_counts_are_those_of_the_numpy_engine(machine: Machine, name: str) -> None:
    check_same(CudaEngine().run(plan_of(name), SEED, 0, PATHS), expected(name))
    # more paths than threads: each thread takes a second one
    assert [launch.grid * launch.block for launch in machine.launches] == [1024]


@needs_native
@pytest.mark.parametrize("name", ["every table", "many of all"])
def test_counts_are_those_of_the_native_engine(machine: Machine, name: str) -> None:
    wanted = NativeEngine(2).run(plan_of(name), SEED, 0, PATHS)
    check_same(CudaEngine().run(plan_of(name), SEED, 0, PATHS), wanted)


def test_a_word_next_to_one_makes_a_normal_of_minus_zero(machine: Machine) -> None:
    """Seed 1, path 29,581, session 11: −2·ln u is −0, whose reciprocal root is −∞ on a GPU."""
    plan = prepare(load_scenario("siege-of-7000", ["market.sessions=13"])).plan
    wanted = NumpyEngine(1).run(plan, 1, 29_568, 64)
    check_same(CudaEngine().run(plan, 1, 29_568, 64), wanted)
    assert wanted.closes[:, 0].sum() == 0  # where a path that is no number would be counted


def test_every_count_is_at_work() -> None:
    """The comparisons above prove nothing of an array that stays empty."""
    outcomes = expected("many of all")
    assert np.count_nonzero(outcomes.regime[-1]) > 10
    for f in fields(Outcomes)[1:]:
        assert np.count_nonzero(getattr(expected("every table"), f.name)) > 2, f.name


def test_blocks_of_the_size_used_on_a_gpu(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    fake_cupy.install(monkeypatch, machine)
    assert cuda_engine.BLOCK_THREADS > BLOCK
    check_same(CudaEngine().run(plan_of("no dealers"), SEED, 0, PATHS), expected("no dealers"))
    assert machine.launches[0].block == cuda_engine.BLOCK_THREADS


@pytest.mark.parametrize("size", [1, 31, 33, 64, 777, 1 << 20])
def test_paths_of_a_launch_change_nothing(machine: Machine, size: int) -> None:
    paths = min(PATHS, 40 * size)
    seen: list[int] = []
    outcomes = CudaEngine(block_paths=size).run(plan_of("no dealers"), SEED, 0, paths, seen.append)
    check_same(outcomes, expected("no dealers", 0, paths))
    assert sum(seen) == paths
    assert len(machine.launches) == len(seen) == -(-paths // size)


@pytest.mark.parametrize("first", [(1 << 32) - 217, (7 << 32) - 1, (1 << 64) - 400])
def test_path_numbers_of_more_than_32_bits(machine: Machine, first: int) -> None:
    outcomes = CudaEngine(block_paths=150).run(plan_of("every table"), SEED, first, 400)
    check_same(outcomes, expected("every table", first, 400))


def test_several_devices_share_a_run(machine: Machine) -> None:
    machine.devices = 3
    # Each device's first launch waits for the others': they run side by side or not at all.
    together = threading.Barrier(3)
    waited: set[int] = set()

    def meet(launch: Launch) -> None:
        if launch.device not in waited:
            waited.add(launch.device)
            together.wait(timeout=60)

    machine.inspect = meet
    engine = CudaEngine((2, 0, 1, 0), block_paths=90)
    assert engine.devices == (2, 0, 1)
    assert engine.threads == 3
    check_same(engine.run(plan_of("every table"), SEED, 0, PATHS), expected("every table"))
    assert waited == {0, 1, 2}
    assert engine.device.startswith("Imaginary GPU 2 (device 2), Imaginary GPU 0 (device 0)")


@pytest.mark.parametrize("private", ["none", "some", "all"])
def test_counts_kept_by_a_block(machine: Machine, monkeypatch: pytest.MonkeyPatch, private: str) -> None:
    plan = plan_of("many of all")
    runs = 2 * BLOCK * 29
    ends = TallyLayout.of(plan).ends()
    room = {"none": runs + 4 * ends[0] - 1, "some": runs + 4 * ends[2], "all": runs + 4 * ends[-1]}[private]
    monkeypatch.setattr(cuda_engine, "SHARED_BYTES", room)
    monkeypatch.setattr(fake_cupy, "SHARED_BYTES", room)
    check_same(CudaEngine().run(plan, SEED, 0, PATHS), expected("many of all"))
    wanted = {"none": 0, "some": ends[2], "all": ends[-1]}[private]
    assert machine.launches[0].arguments[4] == wanted
    assert machine.launches[0].shared_bytes == runs + 4 * wanted


def test_shared_memory_stays_within_what_every_device_grants(machine: Machine) -> None:
    for name in EDITS:
        plan = plan_of(name)
        CudaEngine().run(plan, SEED, 0, 1)
        launch = machine.launches[-1]
        assert 0 < launch.arguments[4] < TallyLayout.of(plan).tallies
        assert launch.shared_bytes <= 48 * 1024


def test_every_pointer_leads_to_memory_of_the_device(machine: Machine) -> None:
    machine.devices = 2
    pointers = [name for name, kind, _ in kernel_structs()["Plan"] if kind.endswith("*")]
    checked: list[int] = []

    def check(launch: Launch) -> None:
        plan = launch.arguments[0]
        arrays = {name: machine.array_at(int(plan[name])) for name in pointers}
        assert {array.device for array in arrays.values()} == {launch.device}
        assert launch.arguments[5].device == launch.device
        checked.append(launch.device)

    machine.inspect = check
    CudaEngine((1,)).run(plan_of("every table"), SEED, 0, 10)
    CudaEngine((0,)).run(plan_of("every table"), SEED, 0, 10)
    assert checked == [1, 0]
    assert len(pointers) == 9


def test_memory_is_given_back_and_does_not_grow_with_paths(machine: Machine) -> None:
    most: list[int] = []
    machine.inspect = lambda launch: most.append(machine.used[launch.device])
    for paths in (10, PATHS):
        CudaEngine(block_paths=500).run(plan_of("no dealers"), SEED, 0, paths)
        machine.launches.clear()
        gc.collect()
        assert machine.used[0] == 0
    assert len(set(most)) == 1
    assert most[0] > 0


def test_a_kernel_is_compiled_once_for_a_device_and_a_distance_between_steps(machine: Machine) -> None:
    machine.devices = 2
    engine = CudaEngine((0, 1))
    for name in ("every table", "permanent impact", "no dealers", "every table"):
        engine.run(plan_of(name), SEED, 0, 10)
    assert [device for device, _ in machine.compilations] == [0, 1, 0, 1]
    wide, narrow = (set(machine.compilations[i][1]) for i in (0, 2))
    assert len(wide - narrow) == 1
    assert next(iter(wide - narrow)).startswith("-DSTEP_BYTES=")


def test_times(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.devices = 2
    engine = CudaEngine((0, 1), block_paths=300)
    assert engine.compile_seconds == engine.kernel_seconds == 0
    engine.run(plan_of("no dealers"), SEED, 0, PATHS)
    compiled = engine.compile_seconds
    assert compiled > 0
    assert engine.kernel_seconds > 0
    monkeypatch.setattr(fake_cupy.sys.modules["cupy"].cuda, "get_elapsed_time", lambda start, end: 250.0)
    for _ in range(2):
        engine.run(plan_of("no dealers"), SEED, 0, PATHS)
        # the last run's five launches on two devices
        launched = Counter(launch.device for launch in machine.launches[-5:])
        assert engine.kernel_seconds == 0.25 * max(launched.values())
    assert engine.compile_seconds == compiled


def test_chosen_by_itself_and_recorded(machine: Machine) -> None:
    assert choose().name == "cuda"
    assert choose(devices=[0]).name == "cuda"
    assert device_names() == ["Imaginary GPU 0"]
    scenario = load_scenario("no-dealers", FEW_STEPS)
    result = simulate(scenario, paths=100, seed=SEED, devices=[0])
    assert result.outcomes == simulate(scenario, paths=100, seed=SEED, engine="numpy").outcomes
    assert result.manifest["engine"] == "cuda"
    assert result.manifest["device"] == "Imaginary GPU 0 (device 0)"


class TestOptions:
    """What CuPy is told; its cache goes by source and options alone."""

    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: Machine) -> Path:
        """Kernels of our own, which are never compiled."""
        copied = tmp_path / "kernels"
        shutil.copytree(kernel_files()[0].parent, copied)
        monkeypatch.setattr(kernel_sources, "kernel_folder", lambda: copied)
        monkeypatch.setattr(fake_cupy.cuda_on_cpu, "compile_kernel", lambda source, name, defines: None)
        return copied

    @staticmethod
    def options(machine: Machine) -> tuple[str, ...]:
        CudaEngine().kernel(0, 256)
        return machine.compilations[-1][1]

    def test_arithmetic_is_exact_and_the_sources_are_named(self, machine: Machine, folder: Path) -> None:
        options = self.options(machine)
        assert "--fmad=false" in options
        assert "--prec-sqrt=true" in options
        assert not [option for option in options if "fast" in option or "ftz" in option]
        assert [o for o in options if kernel_digest()[:16] in o]
        assert self.options(machine) == options

    @pytest.mark.parametrize("name", [path.name for path in kernel_files()])
    def test_any_change_of_any_file_compiles_anew(self, machine: Machine, folder: Path, name: str) -> None:
        before = self.options(machine)
        (folder / name).write_text((folder / name).read_text() + "// a comment\n")
        changed = self.options(machine)
        assert changed != before
        assert len(set(changed) - set(before)) == 1

    def test_a_new_file_compiles_anew(self, machine: Machine, folder: Path) -> None:
        before = self.options(machine)
        (folder / "new.cuh").write_text("")
        assert self.options(machine) != before
