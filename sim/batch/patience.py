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
# Signals of a terminal to all of its processes, by name: not every system has them. They are for the process that was
# started there, which ends the others in order.
FROM_TERMINAL = ("SIGINT", "SIGHUP")
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
    shielded : keep the terminal's signals from all processes and threads that the call starts.

    Errors: TimeoutError if it takes longer; those of the call.
    """
    answers: queue.SimpleQueue[tuple[Value, None] | tuple[None, BaseException]] = queue.SimpleQueue()

    def answer() -> None:
        try:
            with _terminal_held(shielded):
                answers.put((call(), None))
        except BaseException as error:
            answers.put((None, error))

    if shielded and os.name == "posix":
        with _terminal_held(True):
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
    """Context that holds the terminal's signals back until its end, for what is short and has to be done.

    Threads and processes started inside inherit the blocked signals.
    """
    with _terminal_held(threading.current_thread() is threading.main_thread()):
        yield


@contextmanager
def _terminal_held(hold: bool) -> Iterator[None]:
    """Context in which this thread, and what it starts, does not receive the terminal's signals."""
    if os.name != "posix" or not hold:
        yield
        return
    numbers = {signal.Signals[name] for name in FROM_TERMINAL}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
