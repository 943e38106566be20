"""Ranges cover every path once, whoever takes them and whatever goes wrong."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.engines.path_ranges import RunRecords, even_size, path_ranges, share_ranges
from sim.errors import GammawallError

WORD = 1 << 32


class RangeFunction:
    """Range function that keeps the ranges it took, and their thread."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []
        self.threads: set[int] = set()

    def __call__(self, first: int, count: int) -> None:
        self.threads.add(threading.get_ident())
        self.ranges.append((first, count))


def alive() -> set[threading.Thread]:
    return set(threading.enumerate()) - {threading.main_thread()}


def ends_as(before: set[threading.Thread]) -> bool:
    """Whether soon no other threads are alive than before: a worker that has ended its work may still be there."""
    deadline = time.monotonic() + 10
    while alive() != before and time.monotonic() < deadline:
        time.sleep(0.01)
    return alive() == before


# --- path_ranges and even_size


def test_ranges_stop_at_two_to_the_32() -> None:
    start = WORD - 10
    assert list(path_ranges(start, 25, 8)) == [(start, 8), (start + 8, 2), (WORD, 8), (WORD + 8, 7)]


def test_a_range_may_be_larger_than_what_there_is() -> None:
    assert list(path_ranges(7, 3, 1000)) == [(7, 3)]
    assert list(path_ranges(7, 0, 1000)) == []


@given(
    st.one_of(
        st.integers(0, 5000), st.integers(WORD - 2000, WORD + 2000), st.integers(5 * WORD - 99, 5 * WORD)
    ),
    st.integers(1, 3000),
    st.integers(1, 4000),
)
def test_ranges_cover_every_path_once(first: int, paths: int, size: int) -> None:
    here = first
    for start, count in path_ranges(first, paths, size):
        assert start == here
        assert 0 < count <= size
        assert start >> 32 == (start + count - 1) >> 32
        here += count
    assert here == first + paths


@given(st.integers(1, 10**9), st.integers(1, 64), st.integers(1, 1000), st.integers(1, 10**6))
def test_even_size_gives_each_worker_as_many_ranges(
    paths: int, workers: int, smallest: int, more: int
) -> None:
    largest = smallest + more
    size = even_size(paths, workers, smallest, largest)
    assert smallest <= size <= largest
    if size > smallest:
        # as many rounds as the largest size needs, and no range could be smaller
        rounds = -(-paths // (workers * largest))
        assert size * workers * rounds >= paths > (size - 1) * workers * rounds


# --- RunRecords


@pytest.mark.parametrize("first", [0, 7, WORD - 10, 3 * WORD - 1, (1 << 64) - 25])
def test_parts_of_the_records_cover_them_once(first: int) -> None:
    records = np.zeros(25, dtype=np.uint16)
    kept = RunRecords(records, first, 25)
    assert kept.wanted
    for start, count in path_ranges(first, 25, 8):
        part = kept.of_range(start, count)
        assert part is not None
        assert part.shape == (count,)
        part += np.arange(start - first, start - first + count, dtype=np.uint16)
    np.testing.assert_array_equal(records, np.arange(25))


def test_no_records() -> None:
    kept = RunRecords(None, 0, 25)
    assert not kept.wanted
    assert kept.of_range(3, 4) is None


def frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "records",
    [
        np.zeros(24, dtype=np.uint16),
        np.zeros((25, 1), dtype=np.uint16),
        np.zeros(25, dtype=np.int16),
        np.zeros(25, dtype=">u2"),
        np.zeros(50, dtype=np.uint16)[::2],
        frozen(np.zeros(25, dtype=np.uint16)),
    ],
    ids=["too few", "two dimensions", "signed", "byte order", "not contiguous", "read-only"],
)
def test_arrays_that_kernels_must_not_write_to(records: np.ndarray) -> None:
    with pytest.raises(AssertionError):
        RunRecords(records, 0, 25)


# --- share_ranges


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_range_is_taken_once(workers: int) -> None:
    functions = [RangeFunction() for _ in range(workers)]
    expected = list(path_ranges(WORD - 500, 1003, 10))
    share_ranges(functions, iter(expected), None)
    assert sorted(r for function in functions for r in function.ranges) == expected
    # a function's array is its own: one thread each, and never the caller's
    used = [thread for function in functions for thread in function.threads]
    assert all(len(function.threads) <= 1 for function in functions)
    assert len(set(used)) == len(used)
    assert threading.get_ident() not in used


def test_more_workers_than_ranges() -> None:
    functions = [RangeFunction() for _ in range(4)]
    share_ranges(functions, iter([(0, 1)]), None)
    assert [r for function in functions for r in function.ranges] == [(0, 1)]
    share_ranges(functions, iter([]), None)
    assert sum(len(function.ranges) for function in functions) == 1


def test_range_functions_work_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=30)

    def wait_for_the_others(_first: int, _count: int) -> None:
        together.wait()

    share_ranges([wait_for_the_others] * 3, path_ranges(0, 3, 1), None)


def test_progress_comes_in_the_order_of_finishing_in_the_calling_thread() -> None:
    second_done, seen = threading.Event(), []

    def count(first: int, _count: int) -> None:
        if first == 0:
            assert second_done.wait(30)

    def progress(paths: int) -> None:
        seen.append((paths, threading.get_ident()))
        second_done.set()

    share_ranges([count, count], iter([(0, 5), (5, 7)]), progress)
    assert seen == [(7, threading.get_ident()), (5, threading.get_ident())]


def test_progress_adds_up_to_the_paths() -> None:
    seen: list[int] = []
    share_ranges([RangeFunction(), RangeFunction()], path_ranges(0, 2250, 500), seen.append)
    assert sorted(seen) == [250, 500, 500, 500, 500]


@pytest.mark.parametrize("error", [ValueError("broken"), MemoryError("none left"), SystemExit(3)])
def test_what_a_range_function_raises_is_raised_after_the_others_have_finished(error: BaseException) -> None:
    began, others = threading.Event(), []

    def fail(_first: int, _count: int) -> None:
        assert began.wait(30)
        raise error

    def slow(first: int, _count: int) -> None:
        began.set()
        time.sleep(0.05)
        others.append(first)

    before = alive()
    with pytest.raises(type(error)) as caught:
        share_ranges([fail, slow], path_ranges(0, 100_000, 1), None)
    assert caught.value is error
    assert ends_as(before)
    # the range under way was finished, and next to nothing was begun after it
    assert 1 <= len(others) <= 3


def test_ranges_that_fail_fail_the_run() -> None:
    def broken() -> object:
        yield 0, 1
        raise OverflowError("no more numbers")

    with pytest.raises(OverflowError, match="no more numbers"):
        share_ranges([RangeFunction(), RangeFunction()], broken(), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("progress is broken")])
def test_an_error_of_the_callback_ends_the_threads(error: BaseException) -> None:
    functions = [RangeFunction(), RangeFunction()]

    def slowly(function: RangeFunction) -> Callable[[int, int], None]:
        def count(first: int, paths: int) -> None:
            time.sleep(0.001)
            function(first, paths)

        return count

    def fail(_paths: int) -> None:
        raise error

    before = alive()
    with pytest.raises(type(error)) as caught:
        share_ranges([slowly(c) for c in functions], path_ranges(0, 1_000_000, 1), fail)
    assert caught.value is error
    assert ends_as(before)
    assert sum(len(c.ranges) for c in functions) < 1_000


@pytest.mark.parametrize("delay", [0.0, 0.05], ids=["while they start", "later"])
def test_ctrl_c_is_heeded_while_the_range_functions_work(delay: float) -> None:
    counting = threading.Event()

    def count(_first: int, _count: int) -> None:
        counting.set()
        time.sleep(0.01)

    def press() -> None:
        assert counting.wait(30)
        time.sleep(delay)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    finger = threading.Thread(target=press)
    before = alive()
    finger.start()
    with pytest.raises(KeyboardInterrupt):
        share_ranges([count] * 20, path_ranges(0, 1 << 40, 1), None)
    finger.join()
    assert ends_as(before)  # a thread that was just being started ends by itself


def test_threads_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """One message, and those that did start have ended."""
    start, begun = threading.Thread.start, []

    def start_one(thread: threading.Thread) -> None:
        if begun:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        start(thread)

    before = alive()
    monkeypatch.setattr(threading.Thread, "start", start_one)
    with pytest.raises(GammawallError, match=r"3 threads could not be started .*Try fewer --threads"):
        share_ranges([RangeFunction() for _ in range(3)], path_ranges(0, 1 << 40, 1), None)
    assert ends_as(before)


def test_ctrl_c_again_and_again_waits_for_the_range_functions() -> None:
    """What they count into is about to be given back."""
    counting, began, ended = threading.Barrier(3, timeout=30), [], []

    def count(first: int, _count: int) -> None:
        began.append(first)
        counting.wait()
        time.sleep(0.5)
        ended.append(first)

    def press() -> None:
        counting.wait()
        for _ in range(4):
            time.sleep(0.05)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    finger = threading.Thread(target=press)
    before = alive()
    finger.start()
    with pytest.raises(KeyboardInterrupt):
        share_ranges([count] * 2, path_ranges(0, 1 << 40, 1), None)
    assert sorted(began) == sorted(ended) == [0, 1]
    finger.join()
    assert ends_as(before)
