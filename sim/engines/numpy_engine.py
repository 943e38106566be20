"""The NumPy engine: blocks of paths on a pool of threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from sim.kernels_numpy.path_state import PathBlock
from sim.kernels_numpy.paths import run_block
from sim.outcomes import Outcomes
from sim.plan import EnginePlan

BLOCK_PATHS = 1 << 16


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
    threads : worker threads.
    block_paths : paths a thread carries through all steps at once; it changes speed and memory, never counts.
    """

    name = "numpy"

    def __init__(self, threads: int = 1, block_paths: int | None = None):
        self.threads = threads
        self.block_paths = block_paths or BLOCK_PATHS

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
        progress : called with the number of paths each finished block adds, from any thread, one at a time.

        Raises
        ------
        KeyboardInterrupt : after the threads have stopped at the end of their blocks.
        """
        # Equal blocks, as many for each thread, so that no thread waits for a last one.
        rounds = -(-paths // (self.threads * self.block_paths))
        size = -(-paths // (self.threads * rounds))
        ranges = path_blocks(first_path, paths, size)
        total = Outcomes.zeros(plan.outcome_shape)
        lock, stop = threading.Lock(), threading.Event()
        failures: list[BaseException] = []

        def work() -> None:
            try:
                block = PathBlock(plan, seed, size)
                while not stop.is_set():
                    with lock:
                        here = next(ranges, None)
                    if here is None:
                        break
                    run_block(block, *here)
                    if progress is not None:
                        with lock:
                            progress(here[1])
                with lock:
                    total.add(block.outcomes)
            except BaseException as failure:
                failures.append(failure)
                stop.set()

        workers = [
            threading.Thread(target=work, name=f"gammawall-{i}", daemon=True) for i in range(self.threads)
        ]
        try:
            for worker in workers:
                worker.start()
            for worker in workers:
                while worker.is_alive():
                    worker.join(0.2)
        except KeyboardInterrupt:
            stop.set()
            for worker in workers:
                worker.join()
            raise
        if failures:
            raise failures[0]
        assert total.paths == paths
        return total
