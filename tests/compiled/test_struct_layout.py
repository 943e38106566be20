"""The kernels' structs as Python reads them: field by field, as the compiler lays them out, and filled in full."""

from __future__ import annotations

import ctypes
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.compiled_kernels import compile_harness, needs_compiler

from sim.compiled import kernel_sources
from sim.compiled.kernel_sources import kernel_folder
from sim.compiled.struct_layout import STRUCT_FILES, filled_struct, kernel_structs, struct_dtype


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Copy of the kernels that the structs are read from in place of the real ones."""
    folder = tmp_path / "copy"
    shutil.copytree(kernel_folder(), folder)
    monkeypatch.setattr(kernel_sources, "kernel_folder", lambda: folder)
    kernel_structs.cache_clear()
    yield folder
    kernel_structs.cache_clear()


@needs_compiler
def test_structs_are_laid_out_as_the_compiler_lays_them_out() -> None:
    fields = [(struct, field) for struct, fields in kernel_structs().items() for field, _, _ in fields]
    numbers = [f"sizeof({name}), alignof({name})" for name in kernel_structs()]
    numbers += [f"offsetof({name}, {field}), sizeof({name}::{field})" for name, field in fields]
    source = (
        "".join(f'#include "{name}"\n' for name in ("plan.cuh", "map_tables.hpp"))
        + f"""
#include <cstddef>
const long numbers[] = {{{", ".join(numbers)}}};
extern "C" const long* get_numbers() {{ return numbers; }}
"""
    )
    get = compile_harness(source)["get_numbers"]
    get.restype = ctypes.POINTER(ctypes.c_long * (2 * len(numbers)))
    found = iter(np.array(get().contents).reshape(-1, 2).tolist())
    for name in kernel_structs():
        size, alignment = next(found)
        assert struct_dtype(name).itemsize == size, name
        assert size % alignment == 0
    for name, field in fields:
        kind, offset = struct_dtype(name).fields[field][:2]
        assert [offset, kind.itemsize] == next(found), f"{name}.{field}"
    assert {"Plan", "Draws", "Step", "Regime", "SegmentTable", "Line"} <= set(kernel_structs())
    assert {"MapInputs", "MapOutputs"} <= set(kernel_structs())


@needs_compiler
def test_kinds_of_numbers_are_the_compilers() -> None:
    """A float read as an integer of its size would pass for laid out alike."""
    scalars = [
        (name, field, struct_dtype(name).fields[field][0])
        for name, fields in kernel_structs().items()
        for field, kind, length in fields
        if not kind.endswith("*") and not length and struct_dtype(name).fields[field][0].names is None
    ]
    checks = [
        f"std::is_floating_point<decltype({name}::{field})>::value == {str(kind.kind == 'f').lower()}"
        f" && std::is_signed<decltype({name}::{field})>::value == {str(kind.kind in 'fi').lower()}"
        for name, field, kind in scalars
    ]
    source = '#include "plan.cuh"\n#include "map_tables.hpp"\n#include <type_traits>\n'
    compile_harness(source + "".join(f'static_assert({check}, "");\n' for check in checks))
    assert len(checks) > 60


@pytest.mark.parametrize("name", STRUCT_FILES)
def test_every_struct_and_field_is_read(name: str) -> None:
    text = (kernel_folder() / name).read_text(encoding="utf-8")
    structs = re.findall(r"^struct [^{]*?(\w+) \{", text, re.MULTILINE)
    assert set(structs) <= set(kernel_structs())
    fields = sum(len(kernel_structs()[struct]) for struct in structs)
    assert fields == len(re.findall(r"^    [^/\n]+;$", text, re.MULTILINE)) > 0


def test_structs_of_two_files_have_different_names() -> None:
    texts = [(kernel_folder() / name).read_text(encoding="utf-8") for name in STRUCT_FILES]
    assert len(kernel_structs()) == sum(len(re.findall("^struct ", text, re.MULTILINE)) for text in texts)


@pytest.mark.parametrize(("name", "struct"), [("plan.cuh", "Plan"), ("map_tables.hpp", "MapInputs")])
@pytest.mark.parametrize("line", ["float a, b;", "double** deep;", "int bits : 3;", "void method();"])
def test_a_field_that_cannot_be_read_is_an_error(copy: Path, name: str, struct: str, line: str) -> None:
    file = copy / name
    text = file.read_text(encoding="utf-8")
    file.write_text(
        text.replace(f"struct {struct} {{\n", f"struct {struct} {{\n    {line}\n"), encoding="utf-8"
    )
    with pytest.raises(ValueError, match=re.escape(f"{name}: cannot read '    {line}'")):
        kernel_structs()


def test_a_struct_is_filled_by_name() -> None:
    names = [field.name for field in kernel_structs()["MapOutputs"]]
    values = {name: number for number, name in enumerate(reversed(names))}
    struct = filled_struct("MapOutputs", values)
    assert struct.shape == ()
    assert {name: int(struct[name]) for name in names} == values


def test_a_missing_field_and_an_unknown_one_are_errors(copy: Path) -> None:
    values = dict.fromkeys((field.name for field in kernel_structs()["MapInputs"]), 0)
    del values["kappa"]
    with pytest.raises(ValueError, match=r"^struct MapInputs: no value for kappa, no field colour$"):
        filled_struct("MapInputs", values | {"colour": 1})
    values["kappa"] = 0
    filled_struct("MapInputs", values)
    file = copy / "map_tables.hpp"
    text = file.read_text(encoding="utf-8")
    file.write_text(
        text.replace("    double kappa;", "    double kappa;\n    double lambda;"), encoding="utf-8"
    )
    kernel_structs.cache_clear()
    with pytest.raises(ValueError, match=r"^struct MapInputs: no value for lambda$"):
        filled_struct("MapInputs", values)
