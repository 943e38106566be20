"""Signals that end a command: as exceptions, so that worker processes end and no half-written folder stays."""

from __future__ import annotations

import signal
import time
from typing import Final, NoReturn

INTERRUPTED: Final = 130
TERMINATED: Final = 143
# Exit code of each signal, by its name: not every system has all of them. A terminal that goes away ends a command as
# SIGTERM does.
EXIT_CODES: Final = {"SIGINT": INTERRUPTED, "SIGTERM": TERMINATED, "SIGHUP": TERMINATED}
# Further signals within so many seconds after one are taken for the same: a second Ctrl-C must not break off the
# clean-up that the first one began. Later ones end a clean-up that hangs.
GRACE_S: Final = 5.0


class _Ending:
    """Handler of the signals in `EXIT_CODES`."""

    def __init__(self) -> None:
        self.began: float | None = None

    def __call__(self, number: int, _frame: object) -> None:
        now = time.monotonic()
        if self.began is not None and now - self.began < GRACE_S:
            return
        self.began = now
        _end(signal.Signals(number).name)


def _end(name: str) -> NoReturn:
    if EXIT_CODES[name] == INTERRUPTED:
        raise KeyboardInterrupt
    raise SystemExit(EXIT_CODES[name])


def end_on_signals() -> None:
    """Have the signals end the command, but for those that the caller has it ignore, as nohup does."""
    ending = _Ending()
    for number in _numbers():
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, ending)


def ignore_signals() -> None:
    """Ignore the signals from now on."""
    for number in _numbers():
        signal.signal(number, signal.SIG_IGN)


def _numbers() -> list[signal.Signals]:
    return [signal.Signals[name] for name in EXIT_CODES if hasattr(signal, name)]
