"""Which engine runs: the one asked for, or the best one present."""

from __future__ import annotations

import os

from sim.engines.numpy_engine import NumpyEngine
from sim.errors import InputError, Problem

ENGINES = ("auto", "numpy")


def choose(name: str = "auto", threads: int | None = None, block_paths: int | None = None) -> NumpyEngine:
    """Engine of a name; "auto" takes the fastest one present.

    Parameters
    ----------
    name : "auto" or "numpy".
    threads : processors to use; all that this process may use if None.
    block_paths : paths carried at once; the engine's own choice if None.

    Raises
    ------
    InputError : there is no such engine.
    """
    if name not in ENGINES:
        raise InputError(
            [
                Problem(
                    "", "engine", repr(name), "there is no such engine", f"Try one of {', '.join(ENGINES)}."
                )
            ]
        )
    return NumpyEngine(threads or available_processors(), block_paths)


def available_processors() -> int:
    """Return the number of processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
