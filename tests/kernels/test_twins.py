"""The kernels and their NumPy twins read side by side: the same files, paragraphs, functions, order and words."""

from __future__ import annotations

import ast
import dataclasses
import re
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from support.places import ROOT
from support.short_scenarios import prepared_of

from sim.compiled.kernel_sources import kernel_folder
from sim.kernels_numpy.path_state import PathBlock
from sim.kernels_numpy.reaction import SegmentTable

TWINS = ROOT / "sim" / "kernels_numpy"
# Headers about the compilers, the memory of a kernel and its counts have no twin.
ALONE = {"device", "lanes", "plan", "tally"}
STEMS = sorted(file.stem for file in kernel_folder().glob("*.cuh") if file.stem not in ALONE)
# A comment of any length, a template's head, then a function with its body.
FUNCTION = re.compile(
    r"^((?:// [^\n]*\n)*)(?:template <[^\n]*>\n)?DEVICE [^;{()]*?(\w+)\([^;{}]*\) \{", re.MULTILINE
)
# Functions on one side only, by stem: (kernels, NumPy). The kernels address one path's words, tables and steps, and
# hold the bounds of an exponential in a form that needs no table; NumPy holds a whole block and bounds by table.
ONE_SIDED = {
    "philox": ({"address_of", "path_words"}, set()),
    "normal": (set(), set()),
    "bridge": ({"most_units", "least_units"}, {"largest_bounds"}),
    "reaction": ({"line_at", "head_of", "panel_index", "segment_index", "value_at"}, {"plan_tables"}),
    "path_state": (
        {
            *("sign_of", "first_barrier", "rank_of", "barrier_at_end", "barrier_at_start"),
            *("step_bytes", "step_after", "step_number", "distance_at_start", "find_closest", "start_path"),
        },
        set(),
    ),
    "path_step": (
        {
            *("number_in_session", "number_of", "step_at", "shares_of"),
            *("advance", "move_demand", "next_barriers"),
        },
        set(),
    ),
    "session": ({"change_regime", "close_index"}, {"draw_pair"}),
    "paths": ({"trade_step", "trade", "run_path"}, {"run_block"}),
}


class Function(NamedTuple):
    """A function's name, and the number of its paragraph if it has one."""

    name: str
    number: int | None


def _function(name: str, text: str) -> Function:
    number = re.match(r"(\d+) \S", text)
    return Function(name, int(number[1]) if number else None)


@cache
def kernel_functions(stem: str) -> tuple[Function, ...]:
    """Functions that a header defines, in order, an overload once."""
    text = (kernel_folder() / f"{stem}.cuh").read_text(encoding="utf-8")
    found = [_function(name, comment.removeprefix("// ")) for comment, name in FUNCTION.findall(text)]
    return tuple(dict.fromkeys(found))


@cache
def numpy_functions(stem: str) -> tuple[Function, ...]:
    """Public functions that a module defines, in order."""
    tree = ast.parse((TWINS / f"{stem}.py").read_text(encoding="utf-8"))
    definitions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"]
    return tuple(_function(node.name, ast.get_docstring(node) or "") for node in definitions)


def numbered(functions: tuple[Function, ...]) -> list[tuple[int, str]]:
    return [(f.number, f.name) for f in functions if f.number is not None]


def names(functions: tuple[Function, ...]) -> list[str]:
    return [f.name for f in functions]


def test_every_header_has_a_module_of_its_name() -> None:
    modules = {file.stem for file in TWINS.glob("*.py")} - {"__init__"}
    assert modules == set(STEMS)
    assert {file.stem for file in kernel_folder().glob("*.cuh")} >= ALONE
    assert set(ONE_SIDED) == set(STEMS)


def test_every_function_of_a_header_is_seen() -> None:
    """As many definitions as lines that begin one, forward declarations apart."""
    for stem in STEMS:
        text = (kernel_folder() / f"{stem}.cuh").read_text(encoding="utf-8")
        begun = re.findall(r"^DEVICE [^;{]*\{", text, re.MULTILINE)
        assert len(FUNCTION.findall(text)) == len(begun) > 0, stem


@pytest.mark.parametrize("stem", STEMS)
def test_paragraphs_are_the_same(stem: str) -> None:
    assert numbered(kernel_functions(stem)) == numbered(numpy_functions(stem))


@pytest.mark.parametrize("stem", STEMS)
def test_paragraphs_ascend(stem: str) -> None:
    numbers = [number for number, _ in numbered(kernel_functions(stem))]
    assert numbers == sorted(set(numbers))


def test_paragraphs_are_complete() -> None:
    """One to the last, each in one place."""
    numbers = sorted(number for stem in STEMS for number, _ in numbered(kernel_functions(stem)))
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 10


@pytest.mark.parametrize("stem", STEMS)
def test_functions_on_both_sides_have_one_order(stem: str) -> None:
    kernels, numpy = names(kernel_functions(stem)), names(numpy_functions(stem))
    both = set(kernels) & set(numpy)
    assert [name for name in kernels if name in both] == [name for name in numpy if name in both]


@pytest.mark.parametrize("stem", STEMS)
def test_functions_on_one_side_are_known(stem: str) -> None:
    kernels, numpy = set(names(kernel_functions(stem))), set(names(numpy_functions(stem)))
    assert (kernels - numpy, numpy - kernels) == ONE_SIDED[stem]


# Fields of a path's state and of a segment table on one side only: (kernels, NumPy). NumPy has x and y in one array,
# at both ends of a step, and counts ranks where the kernels subtract indices; the kernels keep of a path's distances
# the nearer world's. Of a step's table, the kernels read the step's fade too.
STATE = ({"x", "y", "closest"}, {"coordinate", "coordinate_end", "rank", "distance", "distance_end"})
TABLE = ({"fade"}, set())
# Arrays of a block that hold no path's state: random numbers of a session or step, and scratch.
BLOCK_ONLY = {"next_regime", "normals", "spare", "random_words", "path_low", "move", "t", "scratch", "mask"}


def struct_fields(file: str, name: str) -> set[str]:
    """Fields of a struct in a kernel's source."""
    text = (kernel_folder() / file).read_text(encoding="utf-8")
    body = re.search(rf"^struct (?:alignas\(\d+\) )?{name} \{{\n(.*?)^\}};", text, re.MULTILINE | re.DOTALL)
    assert body is not None
    fields = re.findall(
        r"^    (?:ALIGNED )?(?:const )?\w[\w ]*\*? (\w+)(?:\[\w+\])*;$", body[1], re.MULTILINE
    )
    # Every line that declares something, member functions apart.
    assert len(fields) == len(re.findall(r"^    [^\s/][^(){}\n]*;$", body[1], re.MULTILINE)) > 0
    return set(fields)


@pytest.fixture(scope="module")
def block() -> PathBlock:
    return PathBlock(prepared_of().plan, 1, 8)


def test_state_has_the_same_words(block: PathBlock) -> None:
    """The fields of a path's state are the arrays of a block of paths."""
    arrays = {
        name for name, value in vars(block).items() if isinstance(value, np.ndarray) and value.shape[-1] == 8
    }
    assert arrays >= BLOCK_ONLY
    kernels, numpy = struct_fields("path_state.cuh", "PathState"), arrays - BLOCK_ONLY
    assert (kernels - numpy, numpy - kernels) == STATE
    assert {"next_barrier", "control_barrier", "first", "volatility"} <= kernels & numpy


def test_a_block_on_processors_has_the_state_of_each_path() -> None:
    state, block = struct_fields("path_state.cuh", "PathState"), struct_fields("paths.cpp", "Block")
    assert state <= block
    assert block - state == {"held", "gap_mean", "gap_variance", "near", "path_low", "now"}


def test_segment_tables_have_the_same_words() -> None:
    kernels = struct_fields("plan.cuh", "SegmentTable")
    numpy = {field.name for field in dataclasses.fields(SegmentTable)}
    assert (kernels - numpy, numpy - kernels) == TABLE


def test_first_barriers_have_the_same_index(block: PathBlock) -> None:
    """Where barriers of a world_side begin: in the kernels after the floats of a step."""
    plan, state = block.plan, (kernel_folder() / "path_state.cuh").read_text(encoding="utf-8")
    formula = "world_side < 2 ? STEP_FLOATS + (side * plan.books + book) * plan.width : side * plan.width"
    assert formula in state
    rows = plan.books * block.width
    assert block.first_barrier.tolist() == [0, rows, 2 * rows, 2 * rows + block.width]


@pytest.mark.parametrize("stem", STEMS)
def test_docstring_and_header_name_the_same_formulas(stem: str) -> None:
    """Equations at the top of a module, such as `x1 = x + mean + sqrt(v)·z`, open its header too, to the letter."""
    header = (kernel_folder() / f"{stem}.cuh").read_text(encoding="utf-8").partition("#pragma once")[0]
    told = {line.removeprefix("//").strip() for line in header.splitlines() if line.startswith("//     ")}
    module = ast.get_docstring(ast.parse((TWINS / f"{stem}.py").read_text(encoding="utf-8"))) or ""
    formulas = {line.strip() for line in module.splitlines() if line.startswith("    ")}
    assert formulas == told
