"""Messages on stderr; of errors that nothing explains a line for users, and the traceback if it is asked for."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from pathlib import Path
from typing import Final

from sim.cli.signals import INTERRUPTED, signal_code
from sim.errors import error_text
from sim.files.terminal_text import printable_line

NOTHING_WRITTEN: Final = "nothing was written"
# Variable of the environment: tracebacks are printed if it is set.
WANT_TRACEBACK: Final = "GAMMAWALL_TRACEBACK"


def tell(message: str) -> None:
    """Print a message on stderr, on one line."""
    with contextlib.suppress(OSError):  # a full or vanished stderr changes no exit code
        print(printable_line(message), file=sys.stderr, flush=True)


def end_code(error: BaseException, kept: str = NOTHING_WRITTEN) -> int:
    """Exit code after an interruption or an error that nothing explains, which is told.

    What an import raises at a signal may be an error of another type, which says nothing of it.

    Parameters
    ----------
    kept : text on what the command has written so far.
    """
    code = INTERRUPTED if isinstance(error, KeyboardInterrupt) else signal_code()
    if code is None:
        _tell_fault(error)
        return 1
    if code == INTERRUPTED:
        tell(f"interrupted: {kept}")
    return code


def _tell_fault(error: BaseException) -> None:
    if os.environ.get(WANT_TRACEBACK):
        for part in traceback.format_exception(error):
            for line in part.rstrip("\n").split("\n"):
                tell(line)
    if isinstance(error, MemoryError):
        tell("error: out of memory.")
    elif isinstance(error, ImportError):
        while isinstance(error.__cause__, ImportError):
            error = error.__cause__
        tell(
            f"error: a library cannot be loaded ({error_text(error).rstrip('.')}): too little memory, or a damaged "
            "installation. Try again with more memory, or install the package again."
        )
    else:
        tell(
            f"error: this is a fault of gammawall: {error_text(error).rstrip('.')} ({_place(error)}). "
            f"Please report it with the command and with what it prints under {WANT_TRACEBACK}=1."
        )


def _place(error: BaseException) -> str:
    """File and line of the package's own code that an error came from, the innermost."""
    package = Path(__file__).resolve().parents[1]
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(package)
    ]
    if not frames:
        return "outside its own code"
    return f"{Path(frames[-1].filename).relative_to(package.parent).as_posix()}:{frames[-1].lineno}"
