"""Records of paths: one answer on every engine, whatever the threads, blocks, splits and devices; the counts' own."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from support import cuda_on_cpu, fake_cupy
from support.fake_cupy import Launch, Machine
from support.needs import needs_native
from support.path_records import UNTOUCHED, Records, check_counts, parts, recorded
from support.random_scenarios import COUNT, features_of, random_scenarios
from support.sample_scenario import DELETE
from support.short_scenarios import prepared_of

from sim.engines import cuda_engine
from sim.engines.choice import Engine
from sim.engines.cuda_engine import CudaEngine
from sim.engines.native_builds import usable_builds
from sim.engines.native_engine import NativeEngine
from sim.engines.numpy_engine import NumpyEngine
from sim.errors import GammawallError
from sim.plan.engine_plan import EnginePlan
from sim.plan.outcomes import LOWER, NEITHER, UPPER, Outcomes

SEED = 0x0123_4567_89AB_CDEF
PATHS = 1_500
TWO_TO_32 = 1 << 32
EDITS: dict[str, dict[str, Any]] = {
    "no dealers": {"dealers": DELETE, "regime": DELETE},
    # As many as there may be on one side.
    "levels above": {"levels": [6942 + 2 * i for i in range(62)], "regime": [], "volatility.annual": 1.0},
    "levels below": {"levels": [6941 - 2 * i for i in range(62)], "regime": [], "volatility.annual": 1.0},
}
Make = Callable[[int | None], Engine]
# Engines by threads or devices, given the paths of a block.
ENGINES: dict[str, Make] = {
    **{f"numpy {n}": lambda block, n=n: NumpyEngine(n, block) for n in (1, 2, 3)},
    **{f"native {n}": lambda block, n=n: NativeEngine(n, block) for n in (1, 2, 3)},
    **{f"cuda {n}": lambda block, n=n: CudaEngine(range(n), block) for n in (1, 3)},
}


@cache
def richest() -> EnginePlan:
    """The random scenario with the most features."""
    return max(random_scenarios(), key=lambda prepared: len(features_of(prepared))).plan


@cache
def plan_of(name: str) -> EnginePlan:
    return prepared_of(EDITS[name]).plan if name in EDITS else richest()


@cache
def expected(name: str, first: int = 0, paths: int = PATHS) -> tuple[Outcomes, Records]:
    return recorded(NumpyEngine(1), plan_of(name), SEED, first, paths)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Three devices; blocks are small, so that few paths fill a grid more than once."""
    if cuda_on_cpu.compiler() is None:
        pytest.skip("no C++ compiler for the kernels")
    monkeypatch.setattr(cuda_engine, "BLOCK_THREADS", 32)
    return fake_cupy.install(monkeypatch, Machine(devices=3))


@pytest.fixture(
    params=[pytest.param(name, marks=needs_native if "native" in name else ()) for name in ENGINES]
)
def make(request: pytest.FixtureRequest) -> Make:
    """How to make an engine."""
    if "cuda" in request.param:
        request.getfixturevalue("machine")
    return ENGINES[request.param]


def check_same(found: tuple[Outcomes, Records], wanted: tuple[Outcomes, Records]) -> None:
    assert found[0] == wanted[0]
    np.testing.assert_array_equal(found[1], wanted[1])


@pytest.mark.parametrize("name", ["richest", *EDITS])
def test_records_are_the_same_on_every_engine(make: Make, name: str) -> None:
    found = recorded(make(None), plan_of(name), SEED, 0, PATHS)
    check_same(found, expected(name))
    assert make(None).run(plan_of(name), SEED, 0, PATHS) == found[0]


@pytest.mark.parametrize("block", [31, 256, 777, 1 << 16])
def test_blocks_change_nothing(make: Make, block: int) -> None:
    check_same(recorded(make(block), richest(), SEED, 0, PATHS), expected("richest"))


@pytest.mark.parametrize("paths", [1, 255, 257])
def test_numbers_of_paths_about_a_block(make: Make, paths: int) -> None:
    """Lanes and threads beyond the last path write nothing."""
    check_same(recorded(make(None), richest(), SEED, 0, paths), expected("richest", 0, paths))


@pytest.mark.parametrize("first", [12_345, TWO_TO_32 - 217, 7 * TWO_TO_32 - 1, (1 << 64) - 400])
def test_path_numbers_of_more_than_32_bits(make: Make, first: int) -> None:
    check_same(recorded(make(150), richest(), SEED, first, 400), expected("richest", first, 400))


def test_parts_of_a_run_fill_one_array(make: Make) -> None:
    """Each run its own part, in any order."""
    first, whole = TWO_TO_32 - 700, np.full(PATHS, UNTOUCHED, dtype=np.uint16)
    for start, end in ((900, 1_500), (0, 333), (333, 900)):
        make(100).run(richest(), SEED, first + start, end - start, records=whole[start:end])
    np.testing.assert_array_equal(whole, expected("richest", first)[1])


@pytest.mark.parametrize("name", ["richest", *EDITS])
def test_counts_are_those_of_the_records(name: str) -> None:
    outcomes, records = expected(name)
    check_counts(plan_of(name), records, outcomes)


@pytest.mark.parametrize("index", range(COUNT))
def test_random_scenarios(index: int) -> None:
    plan = random_scenarios()[index].plan
    wanted = recorded(NumpyEngine(1), plan, index, 77, 3_000)
    check_counts(plan, wanted[1], wanted[0])
    for build in usable_builds():
        check_same(recorded(NativeEngine(2, 997, build), plan, index, 77, 3_000), wanted)


def test_records_differ() -> None:
    """Or equal ones would prove little: all first targets, and ranks up to the 63 that a side may have."""
    first, above, below = parts(expected("richest")[1])
    assert set(np.unique(first)) == {NEITHER, UPPER, LOWER}
    assert above.any()
    assert below.any()
    for side, name in ((1, "levels above"), (2, "levels below")):
        rank = parts(expected(name)[1])[side]
        assert rank.max() == 63 == max(plan_of(name).level_count)
        assert np.unique(rank).size > 40


def test_without_dealers_the_record_is_the_control_path_s() -> None:
    """Both worlds are one there, so that first targets are the joint table's columns as well."""
    outcomes, records = expected("no dealers")
    np.testing.assert_array_equal(np.bincount(parts(records)[0]), outcomes.joint.sum(axis=0))


def test_scenarios_are_compared_path_by_path() -> None:
    """Where dealers hedge, other paths bound the upper target first, and fewer differ than two seeds' would."""
    without = prepared_of({"dealers.impact_bp_per_bn": 0.0, "regime": DELETE}).plan
    with_dealers = prepared_of({"regime": DELETE}).plan
    engine = NumpyEngine(1)
    first = [
        parts(recorded(engine, plan, seed, 0, PATHS)[1])[0]
        for plan, seed in ((with_dealers, SEED), (without, SEED), (without, SEED + 1))
    ]
    paired, independent = (np.count_nonzero(first[0] != other) for other in first[1:])
    assert 0 < paired < 0.7 * independent


class TestDevices:
    """Memory of devices."""

    def test_several_take_part(self, machine: Machine) -> None:
        """Each writes to an array of its own, as long as a launch."""
        engine = CudaEngine((2, 0, 1), block_paths=90)
        check_same(recorded(engine, richest(), SEED, 0, PATHS), expected("richest"))
        arrays = {(launch.device, launch.arguments[6].device) for launch in machine.launches}
        assert len(arrays) > 1
        assert all(device == own for device, own in arrays)
        assert {launch.arguments[6].host.size for launch in machine.launches} == {90}

    def test_memory_is_taken_for_a_launch_and_given_back(self, machine: Machine) -> None:
        most: list[int] = []
        machine.inspect = lambda launch: most.append(machine.used[launch.device])
        engine = CudaEngine(block_paths=5_000)
        for paths, kept in ((20_000, False), (10_000, True), (20_000, True)):
            records = np.zeros(paths, dtype=np.uint16) if kept else None
            engine.run(plan_of("no dealers"), SEED, 0, paths, records=records)
            machine.launches.clear()
            gc.collect()
            assert machine.used[0] == 0
        without, *with_records = sorted(set(most))
        assert with_records == [without + 10_240]

    def test_nothing_is_taken_or_copied_where_none_are_wanted(self, machine: Machine) -> None:
        machine.failures["download"] = 0, AssertionError("records were copied")
        CudaEngine().run(richest(), SEED, 0, PATHS)
        (launch,) = machine.launches
        assert launch.arguments[6] == np.uint64(0)

    def test_a_launch_is_no_longer_than_there_is_room(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cuda_engine, "MOST_RECORDS", 400)
        seen: list[int] = []
        machine.inspect = lambda launch: seen.append(int(launch.arguments[3]))
        check_same(recorded(CudaEngine(), richest(), SEED, 0, PATHS), expected("richest"))
        assert seen == [400, 400, 400, 300]
        CudaEngine().run(richest(), SEED, 0, PATHS)
        assert seen[4:] == [PATHS]

    def test_a_copy_that_fails_is_one_message(self, machine: Machine) -> None:
        """After the second launch of five; the first one's records are where they belong."""
        machine.failures["download"] = 1, fake_cupy.CUDARuntimeError("cudaErrorIllegalAddress")
        records = np.full(PATHS, UNTOUCHED, dtype=np.uint16)
        with pytest.raises(GammawallError, match="the GPU failed during the run"):
            CudaEngine(block_paths=300).run(richest(), SEED, 0, PATHS, records=records)
        np.testing.assert_array_equal(records[:300], expected("richest")[1][:300])
        assert (records[300:] == UNTOUCHED).all()

    def test_too_little_memory_is_one_message(self, machine: Machine) -> None:
        used: list[int] = []

        def note(launch: Launch) -> None:
            used.append(machine.used[0])

        machine.inspect = note
        CudaEngine().run(richest(), SEED, 0, PATHS)
        machine.launches.clear()
        gc.collect()
        machine.memory = used[0] + 2 * PATHS - 1
        with pytest.raises(GammawallError, match="too little free memory"):
            CudaEngine().run(richest(), SEED, 0, PATHS, records=np.zeros(PATHS, dtype=np.uint16))
