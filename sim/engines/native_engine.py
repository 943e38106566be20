"""The native engine: the kernels compiled for the processor, several threads, no lock between them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engines.kernel_plan import (
    MOST_PATHS,
    WORD_MASK,
    TallyLayout,
    kernel_draws,
    kernel_plan,
    outcomes_from_tallies,
)
from sim.engines.path_ranges import WORD, RunRecords, even_size, path_ranges, share_ranges
from sim.engines.processor import processor_name
from sim.errors import GammawallError
from sim.kernel_sources import NATIVE_BUILDS, kernel_digest
from sim.outcomes import Outcomes
from sim.plan import EnginePlan

# Path-steps of a range: about a fifth of a second, so that an interruption is heeded soon.
RANGE_STEPS = 1 << 25
# Shorter ranges leave lanes of a block idle.
SMALLEST_RANGE = 1 << 8
# Without its cache, which holds the package as it was built before.
REINSTALL = (
    "pip install --force-reinstall --no-deps --no-cache-dir with gammawall-sim or the folder it was installed from, "
    "or make clean and make run in a checkout"
)
UNLOADABLE = (OSError, AttributeError)  # no library, or one without our functions


class NativeEngine:
    """Simulates with the compiled kernels on the CPU.

    Parameters
    ----------
    threads : processors to use.
    block_paths : paths a thread takes at a time; it changes speed, never counts.
    build : "avx512", "avx2" or "baseline"; the fastest that the processor can run if None.

    Raises
    ------
    GammawallError : the engine was not built, or not from these kernels, or the processor cannot run the build.
    """

    name = "native"

    def __init__(self, threads: int = 1, block_paths: int | None = None, build: str | None = None):
        problem = native_problem(build)
        if problem:
            raise GammawallError(f"the native engine is not available: {problem}")
        self.threads = threads
        self.block_paths = block_paths
        self.build = build or usable_builds()[0]
        self.library = load_library(_file_of(self.build))

    @property
    def device(self) -> str:
        """The processor's name and the build that runs on it."""
        return f"{processor_name()} ({self.build} build)"

    def run(
        self,
        plan: EnginePlan,
        seed: int,
        first_path: int,
        paths: int,
        progress: Callable[[int], None] | None = None,
        records: NDArray[np.uint16] | None = None,
    ) -> Outcomes:
        """Outcomes of paths `first_path` … `first_path + paths − 1`; see `NumpyEngine.run`.

        Raises
        ------
        MemoryError : there is none left.
        KeyboardInterrupt : after the threads have stopped.
        """
        placed, kept = _PlacedPlan(plan), RunRecords(records, first_path, paths)
        size = self.block_paths or even_size(paths, self.threads, SMALLEST_RANGE, RANGE_STEPS // plan.steps)
        threads = min(self.threads, -(-paths // size))
        totals = np.zeros((threads, TallyLayout.of(plan).tallies), dtype=np.int64)
        counters = [self._counter(placed, seed, own, kept) for own in totals]
        share_ranges(counters, path_ranges(first_path, paths, min(size, MOST_PATHS)), progress)
        return outcomes_from_tallies(plan, totals.sum(axis=0), paths)

    def _counter(
        self, placed: _PlacedPlan, seed: int, total: NDArray[np.int64], kept: RunRecords
    ) -> Callable[[int, int], None]:
        """Counter of ranges into a total of its own, which keeps alive all that the library reads and writes."""
        counts = np.empty(total.size, dtype=np.uint32)

        def count_paths(first: int, count: int) -> None:
            counts.fill(0)
            draws = kernel_draws(seed, first >> WORD)
            records = kept.of_range(first, count)
            inputs = (placed.struct.ctypes.data, draws.ctypes.data, first & WORD_MASK, count)
            outputs = (counts.ctypes.data, None if records is None else records.ctypes.data)
            if self.library.simulate_paths(*inputs, *outputs):
                raise MemoryError("no memory for a block of paths")
            np.add(total, counts, out=total)

        return count_paths


class _PlacedPlan:
    """A plan as the library reads it: the struct and the arrays it points to."""

    def __init__(self, plan: EnginePlan):
        self.arrays: dict[str, NDArray[Any]] = {}
        self.struct = kernel_plan(plan, self._place)

    def _place(self, name: str, array: NDArray[Any]) -> int:
        self.arrays[name] = array
        return int(array.ctypes.data)


def library_file(build: str) -> Path | None:
    """File of a build, or None where it was not compiled."""
    folder = Path(__file__).resolve().parent
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
    library.kernel_digest.restype = ctypes.c_char_p
    library.processor_has.argtypes = [ctypes.c_char_p]
    library.processor_has.restype = ctypes.c_int
    return library


def usable_builds() -> list[str]:
    """Builds that are here, whole, and that this processor can run, fastest first."""
    return [b for b in _runnable_builds() if _loading_problem(b) is None]


def _runnable_builds() -> list[str]:
    """Builds that are here and that this processor can run; nothing of the others is loaded."""
    builds = [b for b in NATIVE_BUILDS if library_file(b)]
    if "baseline" not in builds or _loading_problem("baseline"):
        return []
    asks = load_library(_file_of("baseline")).processor_has
    return [b for b in builds if all(asks(feature.encode()) for feature in NATIVE_BUILDS[b][1])]


def _file_of(build: str) -> Path:
    file = library_file(build)
    assert file is not None
    return file


def _loading_problem(build: str) -> str | None:
    try:
        load_library(_file_of(build))
    except UNLOADABLE as error:
        return f"its library cannot be loaded ({error}). Install the package again: {REINSTALL}."
    return None


def native_problem(build: str | None = None) -> str | None:
    """Why the engine, or one build of it, cannot be used, and what to do; None if it can."""
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
    if load_library(_file_of(build or usable_builds()[0])).kernel_digest().decode() != installed:
        return f"it was compiled from other kernels than those installed here. Install again: {REINSTALL}."
    return None
