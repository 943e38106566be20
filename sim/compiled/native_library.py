"""The kernels compiled for processors: builds, their functions, and reasons why one is unavailable."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from sim.compiled.kernel_sources import NATIVE_BUILDS, kernel_digest

# Without its cache, which holds the package as it was built before.
REINSTALL = (
    "pip install --force-reinstall --no-deps --no-cache-dir with gammawall-sim or the folder it was installed from, "
    "or make clean and make run in a checkout"
)
UNLOADABLE = (OSError, AttributeError)  # no library, or one without our functions


def library_file(build: str) -> Path | None:
    """File of a build, or None where it was not compiled."""
    folder = Path(__file__).resolve().parents[1] / "engines"
    names = (f"_native_{build}{suffix}" for suffix in EXTENSION_SUFFIXES)
    return next((folder / name for name in names if (folder / name).is_file()), None)


@cache
def load_library(file: Path) -> ctypes.CDLL:
    """Shared library with the types of its functions declared.

    Raises
    ------
    OSError : it cannot be loaded.
    AttributeError : it lacks a function.
    """
    library = ctypes.CDLL(str(file))
    library.simulate_paths.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_uint64,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    library.simulate_paths.restype = ctypes.c_int
    library.build_map_tables.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    library.build_map_tables.restype = ctypes.c_void_p
    library.free_map_tables.argtypes = [ctypes.c_void_p]
    library.free_map_tables.restype = None
    library.kernel_digest.restype = ctypes.c_char_p
    library.processor_has.argtypes = [ctypes.c_char_p]
    library.processor_has.restype = ctypes.c_int
    return library


def usable_builds() -> list[str]:
    """Names of the builds that were compiled, can be loaded and run on this processor, fastest first."""
    return [b for b in _runnable_builds() if _loading_problem(b) is None]


def _runnable_builds() -> list[str]:
    """Names of the builds that were compiled and run on this processor; the others are never loaded."""
    builds = [b for b in NATIVE_BUILDS if library_file(b)]
    if "baseline" not in builds or _loading_problem("baseline"):
        return []
    asks = load_library(file_of("baseline")).processor_has
    return [b for b in builds if all(asks(feature.encode()) for feature in NATIVE_BUILDS[b][1])]


def file_of(build: str) -> Path:
    """File of a build that is here."""
    file = library_file(build)
    assert file is not None
    return file


def _loading_problem(build: str) -> str | None:
    try:
        load_library(file_of(build))
    except UNLOADABLE as error:
        return f"its library cannot be loaded ({error}). Install the package again: {REINSTALL}."
    return None


def native_problem(build: str | None = None) -> str | None:
    """Reason why the native engine, or one build of it, is unavailable, with a remedy; None if it is available."""
    if build is not None and build not in NATIVE_BUILDS:
        return f"there is no build {build!r}. Try one of {', '.join(NATIVE_BUILDS)}."
    if os.name != "posix":
        return "it is built on Linux and macOS only. Try --engine numpy."
    if library_file("baseline") is None or (build and library_file(build) is None):
        return (
            "it was not compiled when gammawall was installed, for want of a C++ compiler that could. "
            f"Install g++ 11, clang++ 14 or newer and then the package again: {REINSTALL}."
        )
    if problem := _loading_problem("baseline"):
        return problem
    if build and build not in _runnable_builds():
        return f"this processor cannot run the {build} build. Try {usable_builds()[0]}."
    if build and (problem := _loading_problem(build)):
        return problem
    try:
        installed = kernel_digest()
    except OSError as error:
        return str(error)
    if load_library(file_of(build or usable_builds()[0])).kernel_digest().decode() != installed:
        return f"it was compiled from other kernels than those installed here. Install again: {REINSTALL}."
    return None


@cache
def working_library() -> ctypes.CDLL | None:
    """Fastest library that works here, or None; NumPy builds the same tables without it."""
    return load_library(file_of(usable_builds()[0])) if native_problem() is None else None
