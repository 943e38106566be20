"""Blocking calls that are waited for so long and no longer, and that Ctrl-C interrupts."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import TypeVar

Value = TypeVar("Value")
# Seconds after which a wait looks for signals, which may have been delivered to another thread.
PIECE_S = 0.1


class Deadline:
    """Moment that several waits share.

    seconds : seconds from now until then.
    """

    def __init__(self, seconds: float):
        self.seconds = seconds
        self._ends = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds left; 0 once it has passed."""
        return max(0.0, self._ends - time.monotonic())


def within(seconds: float, call: Callable[[], Value], *, shielded: bool = False) -> Value:
    """Value of a blocking call, made in a thread of its own and waited for so many seconds at most.

    A call that is given up goes on in its thread, which keeps no process from ending.

    seconds : the longest wait.
    call : what is called.
    shielded : keep Ctrl-C from all processes and threads that the call starts; see `interrupts_held`.

    Errors: TimeoutError if it takes longer; those of the call.
    """
    answers: queue.SimpleQueue[tuple[Value, None] | tuple[None, BaseException]] = queue.SimpleQueue()

    def answer() -> None:
        try:
            if shielded and os.name == "posix":
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            answers.put((call(), None))
        except BaseException as error:
            answers.put((None, error))

    if shielded and os.name == "posix":
        resource_tracker.ensure_running()  # which would let Ctrl-C through, were it started in the thread
    threading.Thread(target=answer, daemon=True, name="patience").start()
    deadline = Deadline(seconds)
    while True:
        try:
            value, error = answers.get(timeout=min(PIECE_S, deadline.left))
        except queue.Empty:
            if not deadline.left:
                raise TimeoutError(f"no answer within {seconds:.3g} s") from None
            continue
        if error is not None:
            raise error
        return value  # type: ignore[return-value]


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Context that holds Ctrl-C back until its end, for what is short and has to be done.

    Threads and processes started inside inherit the blocked signal.
    """
    if os.name != "posix" or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
