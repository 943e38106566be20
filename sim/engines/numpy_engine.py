"""The NumPy engine: blocks of paths in turn, or on a pool of worker processes.

Workers are processes, not threads: a block makes some 300 short NumPy calls a step, and threads that share one
interpreter wait for one another between them. On a two-core machine two threads gained 1.3×, two processes 1.9×.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager

from sim.errors import GammawallError
from sim.kernels_numpy.path_state import PathBlock
from sim.kernels_numpy.paths import run_block
from sim.outcomes import Outcomes
from sim.plan import EnginePlan

BLOCK_PATHS = 1 << 16
# Fewer paths than this take less time than a worker needs to start.
SMALLEST_BLOCK = 1 << 14
# Ranges handed out ahead of the workers, so that none waits for its next.
RANGES_AHEAD = 2


def path_blocks(first_path: int, paths: int, block_paths: int) -> Iterator[tuple[int, int]]:
    """Ranges (first, count) that cover the paths; none crosses a multiple of 2^32."""
    here, end = first_path, first_path + paths
    while here < end:
        count = min(block_paths, end - here, ((here >> 32) + 1 << 32) - here)
        yield here, count
        here += count


class NumpyEngine:
    """Simulates with NumPy on the CPU.

    Parameters
    ----------
    threads : processors to use, each by a worker process; 1 works in the calling process.
    block_paths : paths carried through all steps at once; it changes speed and memory, never counts.
    """

    name = "numpy"

    def __init__(self, threads: int = 1, block_paths: int | None = None):
        self.threads = threads
        self.block_paths = block_paths

    def run(
        self,
        plan: EnginePlan,
        seed: int,
        first_path: int,
        paths: int,
        progress: Callable[[int], None] | None = None,
    ) -> Outcomes:
        """Outcomes of paths `first_path` … `first_path + paths − 1`.

        Parameters
        ----------
        plan : what to simulate.
        seed : 64-bit key of the random words.
        first_path, paths : which paths.
        progress : called with the number of paths that each finished block adds.

        Raises
        ------
        GammawallError : a worker process was killed, for want of memory perhaps.
        KeyboardInterrupt : after the workers have stopped.
        """
        size = self.block_paths or self._even_block(paths)
        workers = min(self.threads, -(-paths // size))
        ranges = path_blocks(first_path, paths, size)
        total = Outcomes.zeros(plan.outcome_shape)
        capacity = min(size, paths)
        finished = (
            _count_here(plan, seed, capacity, ranges)
            if workers == 1
            else _count_in_workers(plan, seed, capacity, ranges, workers)
        )
        with closing(finished):
            for outcomes in finished:
                total.add(outcomes)
                if progress is not None:
                    progress(outcomes.paths)
        assert total.paths == paths
        return total

    def _even_block(self, paths: int) -> int:
        """Block size that gives each worker as many equal blocks."""
        rounds = -(-paths // (self.threads * BLOCK_PATHS))
        return max(SMALLEST_BLOCK, -(-paths // (self.threads * rounds)))


def _count_here(
    plan: EnginePlan, seed: int, capacity: int, ranges: Iterator[tuple[int, int]]
) -> Generator[Outcomes, None, None]:
    block = PathBlock(plan, seed, capacity)
    for first, count in ranges:
        block.outcomes = Outcomes.zeros(plan.outcome_shape)
        run_block(block, first, count)
        yield block.outcomes


def _count_in_workers(
    plan: EnginePlan, seed: int, capacity: int, ranges: Iterator[tuple[int, int]], workers: int
) -> Generator[Outcomes, None, None]:
    from concurrent.futures import FIRST_COMPLETED, Future, wait
    from concurrent.futures.process import BrokenProcessPool

    from loky.process_executor import ProcessPoolExecutor, TerminatedWorkerError

    from sim.engines.numpy_worker import count_range, start_worker

    pool = ProcessPoolExecutor(workers, initializer=start_worker, initargs=(plan, seed, capacity))
    pending: set[Future[Outcomes]] = set()
    try:
        while True:
            while len(pending) < workers * RANGES_AHEAD and (here := next(ranges, None)) is not None:
                pending.add(pool.submit(count_range, *here))
            if not pending:
                break
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
        pool.shutdown(wait=True)
    except (TerminatedWorkerError, BrokenProcessPool) as error:
        raise GammawallError(
            "a worker process died before it had finished, for want of memory perhaps. Try fewer threads."
        ) from error
    finally:
        # After a failure or an interruption there is nothing worth waiting for.
        with _without_interruptions():
            pool.shutdown(wait=True, kill_workers=True)


@contextmanager
def _without_interruptions() -> Iterator[None]:
    """Ctrl-C held off, where it can be, so that an impatient second one cannot stop the workers' end half way."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
