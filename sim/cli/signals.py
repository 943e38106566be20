"""Signals that end a command: as exceptions, so that worker processes end and no half-written folder stays."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Final, NoReturn

INTERRUPTED: Final = 130
TERMINATED: Final = 143
# Exit code of each signal, by its name: not every system has all of them. A terminal that goes away ends a command as
# SIGTERM does.
EXIT_CODES: Final = {"SIGINT": INTERRUPTED, "SIGTERM": TERMINATED, "SIGHUP": TERMINATED}
# Further signals within so many seconds after one are taken for the same: a second Ctrl-C must not break off the
# clean-up that the first one began. Later ones end a clean-up that hangs.
GRACE_S: Final = 5.0
# While a module is imported an exception may be swallowed, or made another one: the end waits for it so long at most,
# looking again after each pause.
LONGEST_IMPORT_S: Final = 3.0
PAUSE_S: Final = 0.02


class _Ending:
    """Handler of the signals in `EXIT_CODES`.

    Attributes
    ----------
    began : time of the signal that ends the command; None before any.
    name : that signal's name.
    """

    def __init__(self) -> None:
        self.began: float | None = None
        self.name = ""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.began is not None and now - self.began < GRACE_S:
            return
        self.began, self.name = now, signal.Signals(number).name
        self.end(number, frame)

    def end(self, _number: int, frame: FrameType | None) -> None:
        """End the command, at once or after the import that goes on."""
        waited = time.monotonic() - (self.began or 0.0)
        if waited < LONGEST_IMPORT_S and hasattr(signal, "setitimer") and _imports(frame):
            signal.signal(signal.SIGALRM, self.end)
            signal.setitimer(signal.ITIMER_REAL, PAUSE_S)
            return
        _end(self.name)


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _end(name: str) -> NoReturn:
    if EXIT_CODES[name] == INTERRUPTED:
        raise KeyboardInterrupt
    raise SystemExit(EXIT_CODES[name])


_ENDING: Final = _Ending()


def end_on_signals() -> None:
    """Have the signals end the command, but for those that the caller has it ignore, as nohup does."""
    for number in _numbers():
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _ENDING)


def signal_code() -> int | None:
    """Exit code of the signal that came last; None if none has come."""
    return EXIT_CODES.get(_ENDING.name)


def ignore_signals() -> None:
    """Ignore the signals from now on."""
    for number in _numbers():
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "SIGALRM") and signal.getsignal(signal.SIGALRM) == _ENDING.end:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)


def _numbers() -> list[signal.Signals]:
    return [signal.Signals[name] for name in EXIT_CODES if hasattr(signal, name)]
