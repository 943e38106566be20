"""The line by which a script keeps its worker processes from running it again."""

from __future__ import annotations

import ast
import sys
import threading
from pathlib import Path
from types import FrameType, ModuleType

from sim.errors import InputError, Problem

GUARD = 'if __name__ == "__main__":'


def refuse_unguarded_script() -> None:
    """Refuse to start worker processes from a script whose every line they would run again.

    A worker imports the script that started it under another name, so that what it needs of it is there. Without the
    guard it would simulate the batch in its turn.

    Errors: InputError that names the line, or what is no file.
    """
    main = sys.modules.get("__main__")
    file = None if main is None else _imported_again(main)
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    if main is None or file is None or frame is None:
        return
    if not Path(file).exists():
        why = "worker processes would run it again, and there is no such file"
        raise InputError([Problem(file, "", "", why, f"Save the script, with the call under {GUARD}")])
    line = _line_at_work(main, frame)
    try:
        body = ast.parse(Path(file).read_bytes()).body
    except (OSError, ValueError, SyntaxError):
        return  # a script without a source, whose guard cannot be looked for
    if line is None or any(_is_guard(part) for part in body if part.lineno <= line):
        return
    why = f"worker processes would run {file} again, from its first line on"
    raise InputError([Problem(f"{file}:{line}", "", "", why, f"Put the call under {GUARD}")])


def _imported_again(main: ModuleType) -> str | None:
    """File of the main module, if processes started from it import it; None for a prompt or a notebook."""
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name.rpartition(".")[2] == "__main__":
        return None
    file = getattr(main, "__file__", None)
    return file if isinstance(file, str) else None


def _line_at_work(main: ModuleType, frame: FrameType | None) -> int | None:
    """Number of the main module's line that is at work; None if none is."""
    while frame is not None:
        if frame.f_globals is main.__dict__ and frame.f_code.co_name == "<module>":
            return frame.f_lineno
        frame = frame.f_back
    return None


def _is_guard(part: ast.stmt) -> bool:
    """Whether a statement is an if that asks for the name of the module."""
    if not isinstance(part, ast.If):
        return False
    return any(isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(part.test))
