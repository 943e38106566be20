"""Which engine runs: the one asked for, or the fastest one present."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sim.compiled.native_library import native_problem
from sim.engines.cuda_engine import CudaEngine, cuda_problem
from sim.engines.native_engine import NativeEngine
from sim.engines.numpy_engine import NumpyEngine
from sim.engines.processor import available_processors
from sim.errors import InputError, Problem
from sim.plan.engine_plan import EnginePlan
from sim.plan.outcomes import Outcomes

ENGINES = ("auto", "cuda", "native", "numpy")


class Engine(Protocol):
    """What turns (plan, seed, range of paths) into counts, and where asked for into a record of each path."""

    name: str

    @property
    def threads(self) -> int:
        """Threads or worker processes on the host."""

    @property
    def device(self) -> str:
        """What computes: processor or GPUs."""

    def run(
        self,
        plan: EnginePlan,
        seed: int,
        first_path: int,
        paths: int,
        progress: Callable[[int], None] | None = None,
        records: NDArray[np.uint16] | None = None,
    ) -> Outcomes:
        """Outcomes of paths `first_path` … `first_path + paths − 1`; see `NumpyEngine.run`."""


def engine_problem(name: str) -> str | None:
    """Why an engine cannot be used here, and how to get it; None if it can."""
    if name == "cuda":
        return cuda_problem()
    return native_problem() if name == "native" else None


def choose(
    name: str = "auto",
    threads: int | None = None,
    block_paths: int | None = None,
    devices: Sequence[int] | None = None,
) -> Engine:
    """Engine of a name; "auto" takes the fastest one present: cuda, else native, else numpy.

    Parameters
    ----------
    name : one of `ENGINES`.
    threads : processors to use; all that this process may use if None.
    block_paths : paths carried at once; the engine's own choice if None.
    devices : numbers of the GPUs to use; with "auto" they ask for cuda.

    Raises
    ------
    InputError : there is no such engine, or devices are named for one that has none.
    GammawallError : the engine is not available here; the message says how to get it.
    """
    if name not in ENGINES:
        hint = f"Try one of {', '.join(ENGINES)}."
        raise InputError([Problem("", "engine", repr(name), "there is no such engine", hint)])
    if devices is not None:
        if name not in ("auto", "cuda"):
            why = f"the {name} engine runs on the processor"
            raise InputError([Problem("", "devices", ",".join(map(str, devices)), why, "Try --engine cuda.")])
        name = "cuda"
    if name == "auto":
        name = next(n for n in ENGINES[1:] if engine_problem(n) is None)
    if name == "cuda":
        return CudaEngine(devices, block_paths)
    workers = threads or available_processors()
    if name == "native":
        return NativeEngine(workers, block_paths)
    return NumpyEngine(workers, block_paths)
