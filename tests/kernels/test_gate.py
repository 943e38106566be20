"""What a GPU would run, judged without one: the kernel compiled for every architecture, and its machine code read.

The common path is the shortest way round the loop that advances four steps of a path: no level near, no branch taken.
"""

from __future__ import annotations

from functools import cache

import pytest
from support.cuda_toolchain import (
    ARCHITECTURES,
    Compiled,
    compile_cuda,
    disassemble,
    inexact_operations,
    needs_cuda_toolchain,
    nvrtc_version,
    ptx_operations,
)
from support.sass import Instruction, Kernel, parse
from support.sass_loops import Through, Way, innermost_loop, loops_of
from support.sass_queries import double_precision, local_memory, philox_multiplies

from sim.compiled.kernel_sources import CUDA_OPTIONS, translation_unit
from sim.engines.instruction_counts import COMMON_PATH_BUDGET, COMMON_PATH_INSTRUCTIONS, REGISTER_LIMIT

pytestmark = [needs_cuda_toolchain, pytest.mark.parametrize("architecture", ARCHITECTURES)]

STEPS_IN_LOOP = 4
# Of the twenty products of ten rounds, some do not depend on the call and stand before the loop.
FEWEST_PHILOX_PRODUCTS = 16
# Two look-ups per step read a panel and a line each.
MAP_READS = 2 * STEPS_IN_LOOP
ROOTS = 2
# What CuPy adds of its own, and the engine's distance between steps for the built-in scenario.
OPTIONS = (*CUDA_OPTIONS, "-ftz=true", "-DSTEP_BYTES=512", "-DBLOCK_THREADS=256")

ROOTS_OF = """
extern "C" __global__ void roots(float* values) {{ values[threadIdx.x] = {root}(values[threadIdx.x]); }}
"""


@cache
def compiled(architecture: str) -> Compiled:
    return compile_cuda(translation_unit("paths.cu"), architecture, OPTIONS, name="paths.cu")


@cache
def kernel(architecture: str) -> Kernel:
    return parse(disassemble(compiled(architecture).cubin))["simulate_paths"]


@cache
def common_path(architecture: str) -> Way:
    code = kernel(architecture)
    philox = set(philox_multiplies(code.main))
    demands = [
        Through(philox.__contains__, FEWEST_PHILOX_PRODUCTS),
        Through(is_map_read, MAP_READS),
        Through(lambda i: i.opcode.startswith("MUFU.RSQ"), ROOTS),
    ]
    found = innermost_loop(code, demands)
    assert found is not None
    return found[1]


def is_map_read(instruction: Instruction) -> bool:
    return instruction.opcode.startswith("LDG") and ".64" in instruction.opcode


def test_registers_and_spills(architecture: str) -> None:
    resources = compiled(architecture).resources["simulate_paths"]
    assert resources.spill_store_bytes == resources.spill_load_bytes == resources.stack_bytes == 0
    assert not local_memory(kernel(architecture).instructions)
    assert resources.registers <= REGISTER_LIMIT[architecture], nvrtc_version()


def test_no_double_precision(architecture: str) -> None:
    assert not double_precision(kernel(architecture).instructions)


def test_no_product_is_contracted(architecture: str) -> None:
    """The only fused operations are the two of each exactly rounded square root, which stand in the source."""
    operations = ptx_operations(compiled(architecture).ptx)
    roots = operations["rsqrt.approx.ftz.f32"]
    assert roots > 0
    fused = {name: n for name, n in operations.items() if name.startswith(("fma", "mad.f", "mad.r"))}
    assert sum(fused.values()) == 2 * roots, fused
    # CuPy asks for flushed denormals, so `.ftz` marks every operation; only the reciprocal root is approximate.
    approximate = {
        n for n in inexact_operations(compiled(architecture).ptx) if ".approx" in n or ".full" in n
    }
    assert approximate == {"rsqrt.approx.ftz.f32"}
    unrounded = {
        n for n in operations if n.startswith(("add.", "sub.", "mul.")) and "f32" in n and ".rn" not in n
    }
    assert unrounded == set(), unrounded


def test_common_path_is_within_its_budget(architecture: str) -> None:
    instructions = len(common_path(architecture)) / STEPS_IN_LOOP
    assert instructions <= COMMON_PATH_BUDGET[architecture], nvrtc_version()
    # The number that predictions are made from must not fall behind the kernel.
    assert instructions == pytest.approx(COMMON_PATH_INSTRUCTIONS[architecture], abs=2), nvrtc_version()


def test_of_a_path_only_its_record_is_written_to_memory(architecture: str) -> None:
    """Other stores are atomic counts, the zeroing of shared memory and closes in a row; the common path has none."""
    stores = [i for i in common_path(architecture).instructions if i.opcode.startswith(("ST", "ATOM", "RED"))]
    assert not stores
    (record,) = [i for i in kernel(architecture).instructions if i.opcode.startswith("STG")]
    assert ".U16" in record.opcode
    # once per path, outside the loops over its sessions and steps
    assert [loop.depth for loop in loops_of(kernel(architecture)) if record in loop.instructions] == [0]


def test_loops_are_those_of_the_source(architecture: str) -> None:
    depths = [loop.depth for loop in loops_of(kernel(architecture))]
    assert {0, 1, 2} <= set(depths)


def test_square_root_takes_the_compilers_own_steps(architecture: str) -> None:
    """r = rsqrt(a), s = a·r, e = a − s², s + e·(r/2), as in the compiler's own, which is exact; ours only caps r."""
    steps = ["MUFU.RSQ", "FMUL", "FMUL", "FFMA", "FFMA"]
    assert root_steps("sqrtf", "", architecture) == steps
    assert root_steps("ordinary_square_root", translation_unit("device.cuh"), architecture) == steps


def root_steps(root: str, header: str, architecture: str) -> list[str]:
    """Floating-point operations of a square root, in the main routine: rare arguments are another's business."""
    source = header + ROOTS_OF.format(root=root)
    code = parse(disassemble(compile_cuda(source, architecture, OPTIONS, name="roots.cu").cubin))["roots"]
    return [
        "MUFU.RSQ" if i.name == "MUFU" else i.name
        for i in code.main.instructions
        if i.name in ("MUFU", "FMUL", "FFMA")
    ]
