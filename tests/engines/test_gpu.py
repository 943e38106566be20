"""The CUDA engine on the GPUs of this machine: `pytest -m gpu`; skipped where there is none.

NVIDIA's compute-sanitizer finds what equal counts may hide. CuPy's memory pool would hide accesses outside an array
from it, so do without:

    compute-sanitizer --tool memcheck python -c "
    import cupy, pytest; cupy.cuda.set_allocator(None)
    pytest.main(['-m', 'gpu', '-k', 'random or odd', '-p', 'no:xdist'])"

and the same with --tool racecheck (shared memory), synccheck (barriers) and initcheck (memory never written).
"""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.batch_results import small_batch
from support.path_records import check_counts, recorded
from support.places import CASES
from support.random_scenarios import COUNT, random_scenarios

from sim.batch.executors import choose_executor
from sim.batch.opening import open_batch_folder
from sim.batch.run import run_batch
from sim.compiled.kernel_sources import CUDA_OPTIONS, translation_unit
from sim.engines.cuda_engine import BLOCK_THREADS, CudaEngine, cuda_problem, device_names
from sim.engines.kernel_plan import kernel_plan
from sim.engines.native_builds import native_problem
from sim.engines.native_engine import NativeEngine
from sim.engines.numpy_engine import NumpyEngine
from sim.engines.processor import available_processors
from sim.plan.builder import prepare
from sim.plan.engine_plan import EnginePlan
from sim.plan.outcomes import Outcomes
from sim.scenario.file import load_scenario

if problem := cuda_problem():
    pytest.skip(f"no GPU: {problem}", allow_module_level=True)

pytestmark = pytest.mark.gpu
BUILT_IN = ("siege-of-7000", "no-dealers")
SCENARIOS = (*BUILT_IN, *(str(path) for path in sorted(CASES.glob("*.toml"))))
SEED = 0xFEDC_BA98_7654_3210
# The NumPy engine is slow, the native one fast.
PATHS_WITH_NUMPY = 20_011
PATHS_WITH_NATIVE = 1_000_003
FEW, MANY = 1_000_000, 100_000_000
# What other programs may take of the GPU's memory meanwhile, and far less than a path's state times MANY.
MEMORY_NOISE = 64 << 20


def check_same(found: Outcomes, wanted: Outcomes) -> None:
    for f in fields(Outcomes):
        np.testing.assert_array_equal(getattr(found, f.name), getattr(wanted, f.name), err_msg=f.name)


@cache
def plan_of(scenario: str) -> EnginePlan:
    return prepare(load_scenario(scenario)).plan


@pytest.fixture(scope="module")
def engine() -> CudaEngine:
    return CudaEngine()


@pytest.fixture(scope="module")
def native() -> NativeEngine:
    if why := native_problem():
        pytest.skip(f"native engine: {why}")
    return NativeEngine(available_processors())


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_numpy_engine_counts_the_same(engine: CudaEngine, scenario: str) -> None:
    plan = plan_of(scenario)
    wanted = NumpyEngine(available_processors()).run(plan, SEED, 0, PATHS_WITH_NUMPY)
    check_same(engine.run(plan, SEED, 0, PATHS_WITH_NUMPY), wanted)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_native_engine_counts_the_same(engine: CudaEngine, native: NativeEngine, scenario: str) -> None:
    plan = plan_of(scenario)
    wanted = native.run(plan, SEED, 0, PATHS_WITH_NATIVE)
    check_same(engine.run(plan, SEED, 0, PATHS_WITH_NATIVE), wanted)


@pytest.mark.parametrize("index", range(COUNT))
def test_random_scenarios(engine: CudaEngine, index: int) -> None:
    plan = random_scenarios()[index].plan
    check_same(engine.run(plan, index, 0, 5_003), NumpyEngine(1).run(plan, index, 0, 5_003))


@pytest.mark.parametrize("paths", [1, 31, BLOCK_THREADS - 1, BLOCK_THREADS + 1, 100_003])
@pytest.mark.parametrize("block_paths", [None, 997, 65_537])
def test_odd_sizes(paths: int, block_paths: int | None) -> None:
    plan = random_scenarios()[0].plan
    wanted = NumpyEngine(1).run(plan, SEED, 12_345, paths)
    check_same(CudaEngine(block_paths=block_paths).run(plan, SEED, 12_345, paths), wanted)


@pytest.mark.parametrize("first", [(1 << 32) - 1_001, (1 << 64) - 3_000])
def test_path_numbers_of_more_than_32_bits(engine: CudaEngine, first: int) -> None:
    plan = random_scenarios()[1].plan
    check_same(engine.run(plan, SEED, first, 3_000), NumpyEngine(1).run(plan, SEED, first, 3_000))


@pytest.mark.parametrize("index", range(COUNT))
def test_records(engine: CudaEngine, index: int) -> None:
    """Across 2^32, with blocks that are cut."""
    plan = random_scenarios()[index].plan
    found, wanted = (recorded(e, plan, index, (1 << 32) - 1_001, 5_003) for e in (engine, NumpyEngine(1)))
    check_same(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])


@pytest.mark.parametrize("block_paths", [None, 65_537])
def test_records_of_many_paths(native: NativeEngine, block_paths: int | None) -> None:
    """Each thread takes several, and all devices several launches."""
    plan = plan_of("siege-of-7000")
    together = CudaEngine(range(len(device_names())), block_paths)
    found, wanted = (recorded(e, plan, SEED, 7, PATHS_WITH_NATIVE) for e in (together, native))
    check_same(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])
    check_counts(plan, found[1], found[0])


def test_all_devices_together(engine: CudaEngine) -> None:
    plan = plan_of("siege-of-7000")
    together = CudaEngine(range(len(device_names())), block_paths=1 << 18)
    check_same(together.run(plan, SEED, 0, 1 << 23), engine.run(plan, SEED, 0, 1 << 23))


def test_memory_does_not_grow_with_paths(engine: CudaEngine) -> None:
    import cupy

    plan = plan_of("siege-of-7000")
    pool = cupy.get_default_memory_pool()

    def free_memory(paths: int) -> tuple[int, int]:
        """Free memory after a run, and the least during it."""
        seen: list[int] = []

        def measure(finished: int) -> None:
            seen.append(cupy.cuda.runtime.memGetInfo()[0])

        engine.run(plan, SEED, 0, paths, measure)
        measure(0)
        return seen[-1], min(seen)

    pool.free_all_blocks()
    few = free_memory(FEW)
    taken = pool.total_bytes()
    many = free_memory(MANY)
    assert pool.total_bytes() == taken
    np.testing.assert_array_less(np.subtract(few, many), MEMORY_NOISE)


def test_no_path_is_lost_among_many(engine: CudaEngine) -> None:
    outcomes = engine.run(plan_of("siege-of-7000"), SEED, 0, MANY)
    assert outcomes.joint.sum() == MANY
    assert (outcomes.closes.sum(axis=1) == MANY).all()
    assert (outcomes.regime.sum(axis=1) == MANY).all()


def test_nothing_is_spilled_to_memory(engine: CudaEngine) -> None:
    step_bytes = int(kernel_plan(plan_of("siege-of-7000"), lambda name, array: 0)["step_bytes"])
    assert engine.kernel(0, step_bytes).local_size_bytes == 0


def test_the_square_root_without_branches_is_exact() -> None:
    """Every float of the range it is meant for, 200 octaves, and the zeros: −2·ln u of the largest words is −0.

    By what PTX promises of a reciprocal root alone, two roots in 2^24 might be wrong; see test_cuda_on_cpu.py.
    """
    import cupy

    source = """
extern "C" __global__ void wrong_roots(const int first, const int end, unsigned* wrong) {
    const int stride = gridDim.x * blockDim.x;
    for (int bits = first + blockIdx.x * blockDim.x + threadIdx.x; bits < end; bits += stride) {
        const float value = float_of(bits);
        if (bits_of(ordinary_square_root(value)) != bits_of(__fsqrt_rn(value))) atomicAdd(wrong, 1u);
    }
}
"""
    module = cupy.RawModule(code=translation_unit("device.cuh") + source, options=tuple(CUDA_OPTIONS))
    kernel, wrong = module.get_function("wrong_roots"), cupy.zeros(1, dtype=np.uint32)
    ends = np.array([2.0**-100, 2.0**100], dtype=np.float32).view(np.int32)
    smallest = np.iinfo(np.int32).min  # the bits of -0
    for first, end in (ends, (0, 1), (smallest, smallest + 1)):
        kernel((4096,), (256,), (np.int32(first), np.int32(end), wrong))
    assert int(cupy.asnumpy(wrong)[0]) == 0


def test_a_batch_is_that_of_the_processor(tmp_path: Path) -> None:
    """All files but for what computed, with pairs; in this process, and on a worker that is given the GPU."""
    batch = small_batch(paths=20_000)
    ways: dict[str, dict[str, Any]] = {
        "numpy": {"engine": "numpy", "threads": 1},
        "cuda": {"engine": "cuda"},
        "worker": {"engine": "cuda", "devices": (0,), "workers": 1},
    }
    for name, way in ways.items():
        if name == "worker":
            pytest.importorskip("distributed")
        with open_batch_folder(batch, tmp_path / name) as folder, choose_executor(**way) as executor:
            run_batch(batch, folder, batch.cases, executor)
    tables = {
        name: {file.name: file.read_bytes() for file in (tmp_path / name).rglob("*.np[yz]")}
        | {file.name: file.read_bytes() for file in (tmp_path / name).glob("[!b]*.csv")}
        for name in ways
    }
    assert tables["cuda"] == tables["worker"] == tables["numpy"]
