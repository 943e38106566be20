"""Control flow, loops and ways round them in kernels whose answers are known."""

from __future__ import annotations

import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from support import cuda_toolchain
from support.cuda_toolchain import needs_cuda_toolchain
from support.sass import Instruction, Kernel, SassError
from support.sass_loops import Loop, Through, Way, innermost_loop, loops_of
from support.sass_queries import philox_multiplies
from support.toy_kernels import compiled, each_architecture, kernels


def only_loop(kernel: Kernel) -> Loop:
    """The kernel's loop that loads from global memory: Turing adds small waiting loops around barriers."""
    (loop,) = (
        lo for lo in loops_of(kernel) if lo.routine is kernel.main and any(map(loads, lo.instructions))
    )
    return loop


def loads(instruction: Instruction) -> bool:
    return instruction.name == "LDG"


def loads_pair(instruction: Instruction) -> bool:
    return loads(instruction) and "64" in instruction.modifiers


def atomic(instruction: Instruction) -> bool:
    return instruction.name in ("ATOM", "ATOMG", "RED", "REDG")


def adds(instruction: Instruction) -> bool:
    return instruction.name == "FADD"


def hot_loop(kernel: Kernel) -> tuple[Loop, Way]:
    return innermost_loop(
        kernel, [Through(loads_pair, 4), Through(set(philox_multiplies(kernel.main)).__contains__, 16)]
    )


@needs_cuda_toolchain
@each_architecture
class TestLoops:
    def test_the_shortest_way_skips_a_rare_branch(self, architecture):
        loop = only_loop(kernels(architecture)["rare_branch"])
        common, rare = loop.shortest_way_round(), loop.shortest_way_round([Through(atomic, 8)])
        # load, multiply, compare, count up, address, compare, branch and, on some, reconvergence
        assert 6 <= len(common) <= 16
        assert common.count(atomic) == 0
        assert rare.count(atomic) == 8
        assert len(rare) >= len(common) + 8
        assert loop.shortest_way_round([Through(atomic, 9)]) is None
        assert loop.shortest_way_round([Through(atomic)], avoiding=atomic) is None
        assert loop.shortest_way_round(avoiding=loads) is None

    def test_a_way_is_one_that_can_be_gone(self, architecture):
        loop, way = hot_loop(kernels(architecture)["four_steps"])
        blocks = {b.instructions[-1].address: b for b in loop.routine.blocks.values()}
        assert way.instructions[0].address == loop.header
        for here, there in pairwise(way.instructions):
            block = blocks.get(here.address)
            assert there.address == here.address + 16 if block is None else there.address in block.successors
        assert loop.header in blocks[way.instructions[-1].address].successors

    def test_the_slow_part_of_a_division_is_skipped_unless_asked_for(self, architecture):
        kernel = kernels(architecture)["divides"]
        loop = only_loop(kernel)
        called = {i for i in loop.instructions if i not in loop.routine.instructions}
        assert len(called) > 20
        common = loop.shortest_way_round()
        assert common.count(called.__contains__) == 0
        slow = loop.shortest_way_round([Through(called.__contains__)])
        assert len(slow) > len(common) + 5
        assert slow.count(lambda i: i.callee is not None) == slow.count(lambda i: i.name == "RET") == 1

    def test_called_routines_belong_to_the_loop_and_have_their_own(self, architecture):
        kernel = kernels(architecture)["calls"]
        outer = [
            lo for lo in loops_of(kernel) if lo.routine is kernel.main and any(map(adds, lo.instructions))
        ]
        inner = [lo for lo in loops_of(kernel) if lo.routine is not kernel.main]
        assert len(outer) == len(inner) == 1
        assert set(inner[0].instructions) < set(outer[0].instructions)
        assert outer[0].shortest_way_round().count(lambda i: i.callee is not None) == 0
        twice = outer[0].shortest_way_round([Through(lambda i: i.callee is not None, 2)])
        assert twice.count(lambda i: i.name == "RET") == 2

    def test_the_loop_over_calls_is_found_with_all_four_steps(self, architecture):
        kernel = kernels(architecture)["four_steps"]
        loop, way = hot_loop(kernel)
        assert loop.depth == 2
        assert way.count(loads_pair) == 4
        assert way.count(atomic) == 0
        assert 16 <= way.count(set(philox_multiplies(kernel.main)).__contains__) <= 20
        assert len(philox_multiplies(kernel.main)) > 60
        assert loop.shortest_way_round([Through(loads_pair, 5)]) is None
        # four rare parts with two atomics and a call of Philox each
        assert len(loop.shortest_way_round([Through(atomic, 8)])) > len(way) + 4 * 40
        assert loop.shortest_way_round([Through(atomic, 9)]) is None

    def test_more_work_a_step_is_counted_once_a_step(self, architecture):
        _, before = hot_loop(kernels(architecture)["four_steps"])
        _, after = hot_loop(kernels(architecture)["four_longer_steps"])
        assert after.count(adds) - before.count(adds) == 4 * 10
        assert abs(len(after) - len(before) - 4 * 10) <= 4

    def test_no_loop_that_meets_the_demands_is_an_error(self, architecture):
        with pytest.raises(SassError, match="meets the demands"):
            innermost_loop(kernels(architecture)["four_steps"], [Through(loads_pair, 9)])


def witness_edges(cubin: bytes, folder: Path) -> dict[str, set[tuple[int, int]]]:
    """Edges from a block's last instruction to a block's first, by section, as nvdisasm itself draws them."""
    file = folder / "kernel.cubin"
    file.write_bytes(cubin)
    dot = subprocess.run(
        [cuda_toolchain._nvdisasm(), "--output-control-flow-graph-with-basic-blocks", file],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    result: dict[str, set[tuple[int, int]]] = {}
    section, address = "", 0
    for cluster in dot.split('subgraph "cluster_')[1:]:
        spans = {}
        for name, label in re.findall(r'^"([^"]+)"\s*\n\[label="(.*)"\]$', cluster, re.MULTILINE):
            if entered := re.search(r"\.text\.([\w$]+):", label):
                section, address = entered[1], 0
            count = len(re.findall(r";\\l|\*\);?\\l", label))
            spans[name] = (address, address + 16 * (count - 1))
            address += 16 * count
        edges = re.findall(r'^"([^"]+)":\w+:\w -> "([^"]+)"', cluster, re.MULTILINE)
        result.setdefault(section, set()).update((spans[a][1], spans[b][0]) for a, b in edges)
    return result


@needs_cuda_toolchain
@each_architecture
def test_control_flow_is_what_nvdisasm_draws(architecture, tmp_path):
    witness = witness_edges(compiled(architecture).cubin, tmp_path)
    assert set(witness) == set(kernels(architecture))
    for name, kernel in kernels(architecture).items():
        edges = {
            (block.instructions[-1].address, successor)
            for routine in kernel.routines.values()
            for block in routine.blocks.values()
            for successor in block.successors
        }
        # Blocks are cut at more places by either side; only there an edge leads to the next instruction.
        assert {e for e in edges if e[1] != e[0] + 16} == {e for e in witness[name] if e[1] != e[0] + 16}, (
            name
        )
        branches = {i.address for i in kernel.instructions if i.name in ("BRA", "BRX", "CALL", "EXIT", "RET")}
        assert {e for e in edges if e[0] in branches} == {e for e in witness[name] if e[0] in branches}, name


@needs_cuda_toolchain
@each_architecture
def test_a_switch_and_far_jumps_were_among_the_branches(architecture):
    every = [i for kernel in kernels(architecture).values() for i in kernel.instructions]
    assert any(i.name in ("BRX", "BRXU") and len(i.targets) > 2 for i in every)
    assert any(i.name == "CALL" and i.targets for i in every) == (architecture == "sm_80")
