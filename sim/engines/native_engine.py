"""The native engine: the kernels compiled for the processor, several threads, no lock between them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sim.compiled.native_library import file_of, load_library
from sim.engines.kernel_plan import (
    MOST_PATHS,
    WORD_MASK,
    PlacedPlan,
    TallyLayout,
    kernel_draws,
    outcomes_from_tallies,
)
from sim.engines.native_builds import fastest_build, native_problem
from sim.engines.path_ranges import WORD, RunRecords, even_size, path_ranges, share_ranges
from sim.engines.processor import processor_name
from sim.errors import GammawallError
from sim.plan.engine_plan import EnginePlan
from sim.plan.outcomes import Outcomes

# Path-steps of a range: about a fifth of a second, so that an interruption is heeded soon.
RANGE_STEPS = 1 << 25
# Shorter ranges leave lanes of a block idle.
SMALLEST_RANGE = 1 << 8


class NativeEngine:
    """Engine that simulates with the compiled kernels on the CPU.

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
        self.at_work = 0
        self.block_paths = block_paths
        found = build or fastest_build()
        assert found is not None
        self.build = found
        self.library = load_library(file_of(self.build))

    @staticmethod
    def problem() -> str | None:
        """Reason why the engine is unavailable here, with a remedy; None if it is available."""
        return native_problem()

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
        placed, kept = PlacedPlan(plan), RunRecords(records, first_path, paths)
        size = self.block_paths or even_size(paths, self.threads, SMALLEST_RANGE, RANGE_STEPS // plan.steps)
        threads = self.at_work = min(self.threads, -(-paths // size))
        totals = np.zeros((threads, TallyLayout.of(plan).tallies), dtype=np.int64)
        functions = [self._range_function(placed, seed, own, kept) for own in totals]
        share_ranges(functions, path_ranges(first_path, paths, min(size, MOST_PATHS)), progress)
        return outcomes_from_tallies(plan, totals.sum(axis=0), paths)

    def _range_function(
        self, placed: PlacedPlan, seed: int, total: NDArray[np.int64], kept: RunRecords
    ) -> Callable[[int, int], None]:
        """Range function that adds its counts to `total`; it keeps alive all that the library reads and writes."""
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
