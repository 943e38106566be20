"""The NumPy engine: blocks of paths in turn, or on a pool of worker processes.

Workers are processes, not threads: a block makes some 300 short NumPy calls per step, and threads that share one
interpreter wait for one another between them. On a two-core machine two threads gained 1.3×, two processes 1.9×.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from queue import SimpleQueue
from typing import IO

import numpy as np
from numpy.typing import NDArray

from sim.engines.path_ranges import RunRecords, even_size, path_ranges
from sim.engines.processor import processor_name
from sim.errors import GammawallError
from sim.kernels_numpy.path_state import PathBlock
from sim.kernels_numpy.paths import record_of, run_block
from sim.plan.engine_plan import EnginePlan
from sim.plan.outcomes import Outcomes

BLOCK_PATHS = 1 << 16
# Fewer paths than this take less time than a worker needs to start.
SMALLEST_BLOCK = 1 << 14
# What writing to a dead worker or reading from one raises.
DEAD_WORKER = (OSError, EOFError, pickle.UnpicklingError)


class NumpyEngine:
    """Engine that simulates with NumPy on the CPU.

    Parameters
    ----------
    threads : processors to use, each by a worker process; 1 works in the calling process.
    block_paths : paths carried through all steps at once; it changes speed and memory, never counts.
    """

    name = "numpy"

    def __init__(self, threads: int = 1, block_paths: int | None = None):
        self.threads = threads
        self.at_work = 0
        self.block_paths = block_paths

    @staticmethod
    def problem() -> str | None:
        """None, since NumPy is always available."""
        return None

    @property
    def device(self) -> str:
        """The processor's name."""
        return processor_name()

    def run(
        self,
        plan: EnginePlan,
        seed: int,
        first_path: int,
        paths: int,
        progress: Callable[[int], None] | None = None,
        records: NDArray[np.uint16] | None = None,
    ) -> Outcomes:
        """Outcomes of paths `first_path` … `first_path + paths − 1`.

        Parameters
        ----------
        plan : what to simulate.
        seed : 64-bit key of the random words.
        first_path, paths : which paths.
        progress : called with the number of paths that each finished block adds.
        records : C-contiguous (paths,) uint16 to fill, entry i for path `first_path + i` with dealers. The bits of an
            entry, lowest first: RECORD_FIRST_BITS for the first target (0 neither, 1 upper, 2 lower), then
            RECORD_RANK_BITS for the number of levels above the start that were touched, which are the nearest, then
            as many for those below. Counts are the same without records. A run that fails fills some entries or none.

        Raises
        ------
        GammawallError : a worker process was killed, for want of memory perhaps.
        MemoryError : there is none left.
        KeyboardInterrupt : after the workers have stopped.
        """
        size = self.block_paths or even_size(paths, self.threads, SMALLEST_BLOCK, BLOCK_PATHS)
        workers = self.at_work = min(self.threads, -(-paths // size))
        ranges = path_ranges(first_path, paths, size)
        total = Outcomes.zeros(plan.outcome_shape)
        capacity = min(size, paths)
        kept = RunRecords(records, first_path, paths)
        finished = (
            _count_here(plan, seed, capacity, ranges, kept)
            if workers == 1
            else _count_in_workers(plan, seed, capacity, ranges, kept, workers)
        )
        with closing(finished):
            for outcomes in finished:
                total.add(outcomes)
                if progress is not None:
                    progress(outcomes.paths)
        assert total.paths == paths
        return total


def _count_here(
    plan: EnginePlan, seed: int, capacity: int, ranges: Iterator[tuple[int, int]], kept: RunRecords
) -> Generator[Outcomes, None, None]:
    block = PathBlock(plan, seed, capacity)
    for first, count in ranges:
        block.outcomes = Outcomes.zeros(plan.outcome_shape)
        run_block(block, first, count)
        records = kept.of_range(first, count)
        if records is not None:
            records[:] = record_of(block)
        yield block.outcomes


def _count_in_workers(
    plan: EnginePlan,
    seed: int,
    capacity: int,
    ranges: Iterator[tuple[int, int]],
    kept: RunRecords,
    workers: int,
) -> Generator[Outcomes, None, None]:
    job = pickle.dumps((plan, seed, capacity, kept.wanted), pickle.HIGHEST_PROTOCOL)
    finished: SimpleQueue[Outcomes | BaseException | None] = SimpleQueue()
    taking = threading.Lock()

    def feed(jobs: IO[bytes], counts: IO[bytes]) -> None:
        """Hand a worker its ranges and queue their counts, then None; or the exception that ended it."""
        try:
            jobs.write(job)
            while True:
                with taking:
                    here = next(ranges, None)
                if here is None:
                    break
                pickle.dump(here, jobs)
                jobs.flush()
                outcomes, found = pickle.load(counts)
                records = kept.of_range(*here)
                if records is not None:
                    records[:] = found
                finished.put(outcomes)
        except BaseException as error:
            finished.put(error)
        else:
            finished.put(None)
        finally:
            counts.close()
            with suppress(OSError):  # a dead worker takes no more of what is buffered
                jobs.close()

    feeders: list[threading.Thread] = []
    processes: list[subprocess.Popen[bytes]] = []
    try:
        try:
            processes.extend(_start_worker() for _ in range(workers))
        except OSError as error:
            why = f"{workers} worker processes could not be started ({error.strerror})"
            raise GammawallError(f"{why}. Try fewer --threads.") from error
        for process in processes:
            feeders.append(threading.Thread(target=feed, args=(process.stdin, process.stdout), daemon=True))
            feeders[-1].start()
        working = workers
        while working:
            outcomes = finished.get()
            if isinstance(outcomes, DEAD_WORKER):
                raise GammawallError(
                    "a worker process died before it had finished, for want of memory perhaps. "
                    "Try fewer threads."
                ) from outcomes
            if isinstance(outcomes, BaseException):
                raise outcomes
            if outcomes is None:
                working -= 1
            else:
                yield outcomes
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
        for feeder in feeders:
            feeder.join()
        # pipes that no feeder has closed
        for process in processes[len(feeders) :]:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _start_worker() -> subprocess.Popen[bytes]:
    """New worker process; on POSIX in a group of its own, so that Ctrl-C reaches the main process alone."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from sim.engines.numpy_worker import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0 if os.name == "posix" else None,
    )
