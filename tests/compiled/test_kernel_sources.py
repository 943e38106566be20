"""The kernels' sources: where they are found, what they receive, and that no change of either goes unnoticed."""

from __future__ import annotations

import ctypes
import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.compiled_kernels import compile_harness, constants_file, first_compiler, needs_compiler
from support.places import ROOT

from sim.compiled import kernel_constants, kernel_sources
from sim.compiled.kernel_sources import (
    CXX_OPTIONS,
    LANDMARK,
    NATIVE_BUILDS,
    constant_definitions,
    kernel_digest,
    kernel_files,
    kernel_folder,
    native_builds,
    native_command,
    translation_unit,
)

FILES = [file.name for file in kernel_files()]
CONSTANTS = [
    *kernel_sources.WHOLE,
    *kernel_sources.WORDS,
    *kernel_sources.REALS,
    *kernel_sources.POLYNOMIALS,
    *kernel_sources.CODES,
    *kernel_sources.TRIGGERS,
    "PHILOX_MULTIPLIERS",
]
# Numbers that Python packs into what it hands to the kernels.
NOT_RENDERED = {"PHILOX_KEY_STEPS"}


@pytest.fixture
def uncached() -> Iterator[None]:
    constant_definitions.cache_clear()
    yield
    constant_definitions.cache_clear()


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uncached: None) -> Path:
    """Copy of the kernels that everything reads in place of the real ones."""
    folder = tmp_path / "copy"
    shutil.copytree(kernel_folder(), folder)
    monkeypatch.setattr(kernel_sources, "kernel_folder", lambda: folder)
    return folder


def test_digest_is_that_of_the_content_alone(copy: Path) -> None:
    kernel = kernel_digest()
    assert re.fullmatch("[0-9a-f]{64}", kernel)
    (copy / "notes.txt").write_text("no source")
    for file in copy.iterdir():
        file.touch()
    assert kernel_digest() == kernel


@pytest.mark.parametrize("name", FILES)
def test_digest_changes_with_every_file(copy: Path, name: str) -> None:
    before = kernel_digest()
    text = (copy / name).read_text(encoding="utf-8")
    (copy / name).write_text(text.replace("e", "f", 1), encoding="utf-8")
    assert kernel_digest() != before
    (copy / name).write_text(text, encoding="utf-8")
    assert kernel_digest() == before
    (copy / name).rename(copy / f"x{name}")
    assert kernel_digest() != before


def test_digest_changes_when_text_moves_between_files(copy: Path) -> None:
    before = kernel_digest()
    first, second = (copy / name for name in FILES[:2])
    whole = first.read_text(encoding="utf-8")
    first.write_text(whole[:-10], encoding="utf-8")
    second.write_text(whole[-10:] + second.read_text(encoding="utf-8"), encoding="utf-8")
    assert kernel_digest() != before


@pytest.mark.parametrize("name", CONSTANTS)
def test_digest_changes_with_every_constant(
    name: str, monkeypatch: pytest.MonkeyPatch, uncached: None
) -> None:
    before = kernel_digest()
    value = getattr(kernel_constants, name)
    # One unit in the last place of a real number, one of a whole one.
    nudged = math.nextafter(value, 0) if isinstance(value, float) else None
    if isinstance(value, tuple):
        last = value[-1]
        nudged = (*value[:-1], math.nextafter(last, 0) if isinstance(last, float) else last + 1)
    monkeypatch.setattr(kernel_constants, name, value + 1 if nudged is None else nudged)
    constant_definitions.cache_clear()
    assert kernel_digest() != before


def test_every_constant_is_rendered() -> None:
    public = {name for name in vars(kernel_constants) if name.isupper()}
    assert public == {*CONSTANTS, *NOT_RENDERED, "NO_LEVEL"}


def test_no_line_of_a_header_repeats_a_constant() -> None:
    """One home per constant: no file defines what it receives."""
    received = re.findall(r"^(?:#define|constexpr int) (\w+)", constant_definitions(), re.MULTILINE)
    assert len(received) == len(set(received)) == constant_definitions().count("\n")
    for file in kernel_files():
        text = file.read_text(encoding="utf-8")
        defined = re.findall(r"^\s*(?:#define (\w+)|constexpr \w+ (\w+) =)", text, re.MULTILINE)
        assert not {name for pair in defined for name in pair} & set(received), file.name


def test_no_line_is_longer_than_the_format_allows() -> None:
    """The formatter breaks code; comments it leaves as they are."""
    limit = re.search(
        r"^ColumnLimit: (\d+)$", (ROOT / ".clang-format").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert limit is not None
    for file in kernel_files():
        lines = file.read_text(encoding="utf-8").splitlines()
        assert [n for n, line in enumerate(lines, 1) if len(line) > int(limit[1])] == [], file.name


VALUES = """
#include "device.cuh"
const float reals[] = {MINUS_TWO_LN_TWO, BRIDGE_UNIT, LOG_POLYNOMIAL, SINE_POLYNOMIAL, COSINE_POLYNOMIAL, NO_LEVEL};
const Word words[] = {PHILOX_MULTIPLIER_0, PHILOX_MULTIPLIER_1, CALLS_PER_SESSION, PURPOSE_MOVES, PURPOSE_BRIDGE};
const int whole[] = {PHILOX_ROUNDS, PHILOX_KEY_WORDS, SQRT_HALF_BITS, VARIANCE_ATOMS_BITS, ANGLE_SPARE_BITS,
                     BRIDGE_KNOWN_BITS, UNIFORM_BITS, CODES};
extern "C" {
const float* get_reals() { return reals; }
const Word* get_words() { return words; }
const int* get_whole() { return whole; }
}
"""


@needs_compiler
def test_constants_arrive_to_the_last_bit() -> None:
    """The compiler reads the float32 nearest to what Python holds."""
    c, codes = kernel_constants, (*kernel_sources.CODES, *kernel_sources.TRIGGERS)
    library = compile_harness(VALUES.replace("CODES", ", ".join(codes)))
    reals = [
        *(c.MINUS_TWO_LN_TWO, c.BRIDGE_UNIT),
        *(*c.LOG_POLYNOMIAL, *c.SINE_POLYNOMIAL, *c.COSINE_POLYNOMIAL),
        c.NO_LEVEL,
    ]
    words = [*c.PHILOX_MULTIPLIERS, c.CALLS_PER_SESSION, c.PURPOSE_MOVES, c.PURPOSE_BRIDGE]
    whole = [
        *(c.PHILOX_ROUNDS, 2 * c.PHILOX_ROUNDS, c.SQRT_HALF_BITS, c.VARIANCE_ATOMS_BITS, c.ANGLE_SPARE_BITS),
        *(c.BRIDGE_KNOWN_BITS, c.UNIFORM_BITS),
        *(getattr(c, name) for name in codes),
    ]
    for name, kind, expected in (
        ("get_reals", ctypes.c_float, np.array(reals, "f4")),
        ("get_words", ctypes.c_uint32, np.array(words, "u4")),
        ("get_whole", ctypes.c_int32, np.array(whole, "i4")),
    ):
        get = library[name]
        get.restype = ctypes.POINTER(kind * len(expected))
        np.testing.assert_array_equal(np.array(get().contents), expected, err_msg=name)


def test_polynomials_are_float32_numbers() -> None:
    """Nothing is lost when a coefficient is rounded: all engines hold what the file says."""
    c = kernel_constants
    for value in (c.MINUS_TWO_LN_TWO, *c.LOG_POLYNOMIAL, *c.SINE_POLYNOMIAL, *c.COSINE_POLYNOMIAL):
        assert float(np.float32(value)) == value


@needs_compiler
def test_translation_unit_is_self_contained(tmp_path: Path) -> None:
    """It compiles from an empty folder; messages name the kernels' own files and lines."""
    text = translation_unit("paths.cpp")
    assert not re.findall(r'^#include "', text, re.MULTILINE)
    assert "#pragma once" not in text
    command = [first_compiler(), "-std=c++17", "-fsyntax-only", '-DKERNEL_DIGEST=""', "-Wno-unknown-pragmas"]
    broken = text.replace("Word address_of(int session", "Word address_of(integer session")
    for source, status in ((text, 0), (broken, 1)):
        done = subprocess.run(
            [*command, "-x", "c++", "-"],
            input=source,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == status, done.stderr
    lines = (kernel_folder() / "philox.cuh").read_text(encoding="utf-8").splitlines()
    number = next(n for n, line in enumerate(lines, start=1) if "Word address_of(" in line)
    assert f"philox.cuh:{number}:" in done.stderr


@pytest.mark.parametrize("name", ["CXX_OPTIONS", "CUDA_OPTIONS"])
def test_compilers_options_are_in_the_digest(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A library compiled otherwise is another library: fused operations would change counts."""
    before = kernel_digest()
    monkeypatch.setattr(kernel_sources, name, [*getattr(kernel_sources, name), "-g"])
    assert kernel_digest() != before


@pytest.mark.parametrize("name", ["paths.cpp", "paths.cu"])
def test_translation_unit_holds_every_line_once(name: str) -> None:
    """The file and all headers it needs, each after those it includes."""
    text = translation_unit(name)
    on_processors = {"lanes.cuh"} if name == "paths.cu" else set()
    headers = [file for file in FILES if file.endswith(".cuh") and file not in on_processors]
    for file in (*headers, name):
        body = (kernel_folder() / file).read_text(encoding="utf-8")
        assert text.count(f'#line 1 "{file}"\n') == 1
        for line in body.splitlines():
            if line.startswith("DEVICE") or line.startswith("struct"):
                assert f"\n{line}\n" in text
    assert text.startswith("#define ")
    assert len(text) == pytest.approx(
        len(constant_definitions()) + sum(len((kernel_folder() / f).read_text()) for f in (*headers, name)),
        rel=0.1,
    )


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder that the loader takes for the package's own."""
    folder = tmp_path / "site" / "sim"
    folder.mkdir(parents=True)
    monkeypatch.setattr(kernel_sources, "__file__", str(folder / "compiled" / "kernel_sources.py"))
    return folder


def test_kernels_inside_the_package_come_first(package: Path) -> None:
    for folder in (package / "_kernels", package.parent / "kernels"):
        folder.mkdir()
        (folder / LANDMARK).touch()
    assert kernel_folder() == package / "_kernels"


def test_another_folder_of_the_name_is_passed_over(package: Path) -> None:
    """A distribution called kernels, or one called _kernels, has not our landmark."""
    (package / "_kernels").mkdir()
    (package.parent / "kernels").mkdir()
    (package.parent / "kernels" / "__init__.py").touch()
    with pytest.raises(FileNotFoundError, match=f"the kernels are missing: no {LANDMARK} in .*_kernels. Try"):
        kernel_folder()
    (package.parent / "kernels" / LANDMARK).touch()
    assert kernel_folder() == package.parent / "kernels"


def test_missing_kernels_are_a_clear_error(package: Path) -> None:
    with pytest.raises(FileNotFoundError, match="the kernels are missing"):
        kernel_files()


def test_builds_by_architecture() -> None:
    assert native_builds("x86_64") == native_builds("AMD64") == ["avx512", "avx2", "baseline"]
    assert native_builds("aarch64") == native_builds("arm64") == ["baseline"]
    assert NATIVE_BUILDS["baseline"] == ([], [])


def test_command_keeps_the_arithmetic_exact() -> None:
    for build, (options, _) in NATIVE_BUILDS.items():
        command = native_command(["c++"], build, constants_file(), Path("out.so"))
        assert command[0] == "c++"
        assert "-ffp-contract=off" in command
        assert not [word for word in command if re.search("fast|unsafe|associative|reciprocal|-Ofast", word)]
        assert all(option in command for option in (*CXX_OPTIONS, *options))
        assert f'-DKERNEL_DIGEST="{kernel_digest()}"' in command
        assert command[-2:] == ["-o", "out.so"]
