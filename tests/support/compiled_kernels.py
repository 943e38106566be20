"""The kernels compiled on the spot: any compiler, build and option, each library once a test session."""

from __future__ import annotations

import ctypes
import hashlib
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from sim.compiled.kernel_sources import (
    NATIVE_BUILDS,
    constant_definitions,
    kernel_folder,
    native_builds,
    native_command,
)
from sim.compiled.native_library import load_library
from sim.engines.native_engine import NativeEngine

COMPILERS = ("g++", "clang++")
BUILDS = native_builds(platform.machine())
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, COMPILERS)), reason="needs g++ or clang++ to compile the kernels"
)


def first_compiler() -> str:
    """The first compiler that is here."""
    return next(found for name in COMPILERS if (found := shutil.which(name)))


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="kernels-")


def output_file(command: Sequence[str]) -> Path:
    """Place for what a command compiles, another for every command."""
    return Path(_folder().name) / f"{hashlib.sha256(' '.join(command).encode()).hexdigest()[:16]}.so"


@cache
def constants_file() -> Path:
    """The numbers that the kernels receive from Python, as a header."""
    file = Path(_folder().name) / "constants.cuh"
    file.write_text(constant_definitions(), encoding="utf-8")
    return file


def compiler_of(name: str) -> str:
    """Path of a compiler; the test is skipped where it is missing."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here")
    return found


@cache
def compile_kernels(compiler: str, build: str = "baseline", optimisation: str = "-O3", *more: str) -> Path:
    """Library compiled from the kernels by the command of the installation, its optimisation level replaced.

    Parameters
    ----------
    compiler : path of the compiler.
    build : one of `NATIVE_BUILDS`.
    optimisation : replaces -O3.
    more : further options.
    """
    draft = native_command([compiler], build, constants_file(), Path("output"))
    command = [optimisation if word == "-O3" else word for word in (*draft, *more)]
    output = output_file(command)
    command[draft.index("output")] = str(output)
    _compile(command)
    return output


@cache
def compile_harness(source: str) -> ctypes.CDLL:
    """Library of a C++ source that includes the kernels' headers, baseline instructions, no contraction."""
    command = [first_compiler(), "-std=c++17", "-O2", "-ffp-contract=off", "-fPIC", "-shared", "-x", "c++"]
    command += ["-Wno-unknown-pragmas", "-include", str(constants_file()), f"-I{kernel_folder()}", "-"]
    output = output_file([*command, source])
    _compile([*command, "-o", str(output)], source)
    return ctypes.CDLL(str(output))


def _compile(command: Sequence[str], source: str | None = None) -> None:
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"


def runs_here(build: str) -> bool:
    """Whether this processor can run a build."""
    asks = load_library(compile_kernels(first_compiler())).processor_has
    return all(asks(feature.encode()) for feature in NATIVE_BUILDS[build][1])


def engine_of(library: Path, threads: int = 1, block_paths: int | None = None) -> NativeEngine:
    """Native engine over a library of our own, whatever the installation holds."""
    engine = NativeEngine.__new__(NativeEngine)
    engine.threads, engine.block_paths, engine.library = threads, block_paths, load_library(library)
    return engine
