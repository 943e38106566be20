"""The list of engines, and the choice of one: by its name, or the fastest that is available.

Nothing heavy is imported before an engine is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from numbers import Integral
from typing import TYPE_CHECKING, Any, Protocol

from sim.engines.processor import available_processors
from sim.errors import InputError, Problem, one_line
from sim.problems import check_type, shown, type_problem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sim.plan.engine_plan import EnginePlan
    from sim.plan.outcomes import Outcomes


class Engine(Protocol):
    """Simulator of a plan's paths: a seed and a range of paths in, counts and, where wanted, path records out.

    Its class is called with the number of processors to use, or with the numbers of the GPUs if it runs on them, and
    with `block_paths`; see `choose`.

    at_work : threads or worker processes that the latest run had work for, at most `threads`.
    """

    name: str
    at_work: int

    @staticmethod
    def problem() -> str | None:
        """Reason why the engine is unavailable here, with a remedy; None if it is available."""

    @property
    def threads(self) -> int:
        """Threads or worker processes on the host."""

    @property
    def device(self) -> str:
        """Name of the processor or of the GPUs."""

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


@dataclass(frozen=True)
class EngineEntry:
    """Entry of an engine in the list `ENGINES`.

    Attributes
    ----------
    class_name : its class, as module:name; the module is imported when the engine is asked for.
    uses_devices : whether it runs on GPUs and not on the processor.
    chunk_steps : path-steps of a chunk of a batch: a second or two, on a GPU a tenth of one.
    libraries : packages, by the names they are imported under, that its numbers pass through besides those of every
        run; a manifest records their versions.
    """

    class_name: str
    uses_devices: bool = False
    chunk_steps: int = 1 << 28
    libraries: tuple[str, ...] = ()

    def load(self) -> Any:
        """Class of the engine; see `Engine`."""
        module, _, name = self.class_name.partition(":")
        return getattr(import_module(module), name)


# Every engine, the fastest first: the order in which "auto" looks for them.
ENGINES = {
    "cuda": EngineEntry(
        "sim.engines.cuda_engine:CudaEngine", uses_devices=True, chunk_steps=1 << 34, libraries=("cupy",)
    ),
    "native": EngineEntry("sim.engines.native_engine:NativeEngine"),
    "numpy": EngineEntry("sim.engines.numpy_engine:NumpyEngine"),
}
AUTO = "auto"
# No machine has more, and their bookkeeping alone fills memory; no GPU has a higher number.
MOST_THREADS = 4096
MOST_DEVICES = 1 << 16


def engine_problem(name: str) -> str | None:
    """Reason why an engine is unavailable here, with a remedy; None if it is available."""
    problem: str | None = ENGINES[name].load().problem()
    return problem


def device_engine(name: str, devices: Sequence[int]) -> str:
    """Name of the engine that runs on devices: the one named, or for "auto" the first of them.

    Raises
    ------
    InputError : there is no such engine, or it runs on the processor.
    """
    _refuse_unknown(name)
    able = [other for other, entry in ENGINES.items() if entry.uses_devices]
    if name == AUTO:
        return able[0]
    if name not in able:
        numbers, why = ",".join(map(str, devices)), f"the {name} engine runs on the processor"
        raise InputError([Problem("", "devices", numbers, why, f"Try the engine {able[0]}.")])
    return name


def choose(
    name: str = AUTO,
    threads: int | None = None,
    block_paths: int | None = None,
    devices: Sequence[int] | None = None,
) -> Engine:
    """Engine of a name; "auto" takes the fastest that is available, the first of `ENGINES` without a problem.

    Parameters
    ----------
    name : "auto" or one of `ENGINES`.
    threads : processors to use; all that this process may use if None.
    block_paths : paths carried at once; the engine's own choice if None.
    devices : numbers of the GPUs to use; with "auto" they ask for an engine that runs on them.

    Raises
    ------
    InputError : there is no such engine, or devices are named for one that has none.
    GammawallError : the engine is not available here; the message says how to get it.
    """
    _refuse_unknown(name)
    if devices is not None:
        _check_devices(devices)
        name = device_engine(name, devices)
    elif name == AUTO:
        name = next(other for other in ENGINES if engine_problem(other) is None)
    entry = ENGINES[name]
    workers = devices if entry.uses_devices else threads or available_processors()
    engine: Engine = entry.load()(workers, block_paths)
    return engine


def _check_devices(devices: object) -> None:
    """Refuse devices that are no list of whole numbers.

    Errors: `InputError`.
    """
    hint, expected = "Try devices=[0, 1].", "a list of GPUs by their numbers"
    check_type("devices", devices, Sequence, expected, hint)
    if isinstance(devices, (str, bytes)):
        raise InputError([type_problem("devices", devices, expected, hint)])
    assert isinstance(devices, Sequence)
    for index, device in enumerate(devices):
        check_type(f"devices[{index}]", device, Integral, "the number of a GPU", hint)
    if not devices or min(devices) < 0:
        why = "names no GPU" if not devices else "GPUs are numbered from 0"
        raise InputError([Problem("", "devices", shown(list(devices)), why, hint)])
    if max(devices) > MOST_DEVICES:
        raise InputError([Problem("", "devices", shown(list(devices)), "no GPU has such a number", hint)])


def _refuse_unknown(name: object) -> None:
    if not isinstance(name, str) or name not in (AUTO, *ENGINES):
        hint = f"Try one of {', '.join((AUTO, *ENGINES))}."
        raise InputError(
            [
                Problem(
                    "",
                    "engine",
                    one_line(repr(name), 60) if isinstance(name, str) else shown(name),
                    "there is no such engine",
                    hint,
                )
            ]
        )
