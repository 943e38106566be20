"""The kernels and their NumPy twins read side by side: the same files, numbered paragraphs, functions and order."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import NamedTuple

import pytest
from support.places import ROOT

from sim.compiled.kernel_sources import kernel_folder

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
    "reaction": ({"entry_at", "head_of", "panel_index", "segment_index", "value_at"}, {"plan_tables"}),
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
