"""Scripts and processes from which workers cannot be started: they would run the script again, or may not be."""

from __future__ import annotations

import ast
import multiprocessing
import sys
import threading
from pathlib import Path
from types import FrameType, ModuleType

from sim.errors import GammawallError, InputError, Problem

GUARD = 'if __name__ == "__main__":'


def refuse_daemon() -> None:
    """Refuse to start worker processes from a process that may not have any.

    Errors: GammawallError.
    """
    if multiprocessing.current_process().daemon:
        raise GammawallError(
            "workers cannot be started from a daemonic process, as a multiprocessing.Pool has them. "
            "Try threads, or a process that is no daemon."
        )


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
    if line is None or _is_guarded(body, line):
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


def _is_guarded(body: list[ast.stmt], line: int) -> bool:
    """Whether a line of a module is reached in the main module alone: it stands in an if that asks for that."""
    answers: set[str] = set()  # variables that hold whether it is the main module
    for part in body:
        if part.lineno <= line <= (part.end_lineno or part.lineno):
            return any(
                isinstance(node, ast.If)
                and node.body[0].lineno <= line <= (node.body[-1].end_lineno or line)
                and _asks_for_main(node.test, answers)
                for node in ast.walk(part)
            )
        if isinstance(part, (ast.Assign, ast.AnnAssign)) and part.value:
            targets = part.targets if isinstance(part, ast.Assign) else [part.target]
            named = {target.id for target in targets if isinstance(target, ast.Name)}
            answers = answers | named if _asks_for_main(part.value, answers) else answers - named
    return False


def _asks_for_main(expression: ast.expr, answers: set[str]) -> bool:
    """Whether an expression is true in the main module alone.

    answers : variables of which that is known.
    """
    if isinstance(expression, ast.Name):
        return expression.id in answers
    if isinstance(expression, ast.BoolOp) and isinstance(expression.op, ast.And):
        return any(_asks_for_main(value, answers) for value in expression.values)
    if isinstance(expression, ast.Compare) and len(expression.ops) == 1:
        sides = {ast.unparse(expression.left), ast.unparse(expression.comparators[0])}
        return isinstance(expression.ops[0], ast.Eq) and sides == {"__name__", "'__main__'"}
    return False
