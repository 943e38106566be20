"""Ranges of a run's paths, shared out among workers, and the array of the paths' records."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from sim.errors import GammawallError

# Paths of a range share the high word of their number.
WORD = 32


def path_ranges(first_path: int, paths: int, size: int) -> Iterator[tuple[int, int]]:
    """Ranges (first, count) that cover the paths; none crosses a multiple of 2^32."""
    here, end = first_path, first_path + paths
    while here < end:
        count = min(size, end - here, ((here >> WORD) + 1 << WORD) - here)
        yield here, count
        here += count


def even_size(paths: int, workers: int, smallest: int, largest: int) -> int:
    """Size of a range by which all workers get the same number of equal ranges."""
    largest = max(smallest, largest)
    rounds = -(-paths // (workers * largest))
    return max(smallest, -(-paths // (workers * rounds)))


class RunRecords:
    """Array for the records of a run's paths, if they are wanted.

    Parameters
    ----------
    records : C-contiguous (paths,) uint16, entry i for path `first_path + i`; or None.
    first_path, paths : which paths the run simulates.
    """

    def __init__(self, records: NDArray[np.uint16] | None, first_path: int, paths: int):
        if records is not None:
            assert records.shape == (paths,)
            assert records.dtype == np.uint16
            # Kernels write to its memory as it lies.
            assert records.flags.c_contiguous
            assert records.flags.writeable
        self.records = records
        self.first_path = first_path

    @property
    def wanted(self) -> bool:
        """Whether records are wanted."""
        return self.records is not None

    def of_range(self, first: int, count: int) -> NDArray[np.uint16] | None:
        """View for the records of paths `first` … `first + count − 1`, (count,); None if none are wanted."""
        if self.records is None:
            return None
        start = first - self.first_path
        return self.records[start : start + count]


def share_ranges(
    range_functions: Sequence[Callable[[int, int], None]],
    ranges: Iterator[tuple[int, int]],
    progress: Callable[[int], None] | None,
) -> None:
    """Run each range function in a thread of its own, on range after range until none is left.

    Parameters
    ----------
    range_functions : called with (first path, number of paths) of a range; each counts into an array of its own,
        without the GIL.
    ranges : (first path, number of paths) of each range, to be counted once.
    progress : called, in the calling thread, with the number of paths of each finished range.

    Raises
    ------
    Exception : whatever a range function raises first, after the others have finished their range.
    KeyboardInterrupt : likewise.
    """
    finished: SimpleQueue[int | BaseException | None] = SimpleQueue()
    taking, stopped = threading.Lock(), threading.Event()

    def work(count_paths: Callable[[int, int], None]) -> None:
        try:
            while not stopped.is_set():
                with taking:
                    here = next(ranges, None)
                if here is None:
                    break
                count_paths(*here)
                finished.put(here[1])
        except BaseException as error:
            finished.put(error)
        else:
            finished.put(None)

    workers = [_Worker(partial(work, function)) for function in range_functions]
    working = len(workers)
    try:
        # In here, since an interruption may come before the last one has started.
        for worker in workers:
            _start(worker, len(workers))
        while working:
            done = finished.get()
            if isinstance(done, BaseException):
                raise done
            if done is None:
                working -= 1
            elif progress is not None:
                progress(done)
    finally:
        stopped.set()
        _wait_for(workers)


class _Worker(threading.Thread):
    """Thread with an event for the end of its work.

    Until Python 3.13 a thread whose `join` is interrupted counts as ended although it is still at work.
    """

    def __init__(self, work: Callable[[], None]):
        super().__init__(name="worker", daemon=True)
        self.work = work
        self.ended = threading.Event()

    def run(self) -> None:
        try:
            self.work()
        finally:
            self.ended.set()


def _start(worker: _Worker, workers: int) -> None:
    try:
        worker.start()
    except RuntimeError as error:
        raise GammawallError(
            f"{workers} threads could not be started ({error}). Try fewer --threads."
        ) from error


def _wait_for(workers: Sequence[_Worker]) -> None:
    """Wait until all workers that were started have ended; an interruption meanwhile is raised after that."""
    interruption: KeyboardInterrupt | None = None
    for worker in workers:
        while worker.ident is not None and not worker.ended.is_set():
            try:
                worker.ended.wait()
            except KeyboardInterrupt as error:
                interruption = error
    if interruption is not None:
        raise interruption
