"""Benchmark of the engines on this machine: their speed, and a comparison of their counts."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from sim.compiled.native_library import compiled_builds
from sim.engines.choice import AUTO, ENGINES, Engine, choose, device_engine, engine_problem
from sim.engines.cuda_engine import CudaEngine, device_names, device_speeds
from sim.engines.instruction_counts import issue_limit
from sim.engines.native_builds import refused_builds, usable_builds
from sim.errors import InputError, Problem
from sim.plan.builder import prepare
from sim.plan.engine_plan import EnginePlan
from sim.plan.outcomes import Outcomes
from sim.run.stopping import paths_for
from sim.scenario.model import Scenario

BASE = "numpy"
SEED = 1


@dataclass(frozen=True)
class EngineState:
    """Availability of an engine on this machine.

    Attributes
    ----------
    engine : its name.
    available : whether it can be used.
    device : the processor, or for cuda every GPU; empty if the engine is unavailable.
    problem : reason why the engine is unavailable, with a remedy; empty if it is available.
    builds, usable_builds : native only: the builds compiled here, and those of them that can be used here.
    refused_builds : native only: the other builds that this processor can run, each with the reason.
    """

    engine: str
    available: bool
    device: str
    problem: str = ""
    builds: list[str] = field(default_factory=list)
    usable_builds: list[str] = field(default_factory=list)
    refused_builds: dict[str, str] = field(default_factory=dict)


def engine_states() -> list[EngineState]:
    """Availability of every engine, in the order in which "auto" looks for them."""
    return [_state(name) for name in ENGINES]


def _state(name: str) -> EngineState:
    problem = engine_problem(name)
    builds = compiled_builds() if name == "native" else []
    usable, refused = (usable_builds(), refused_builds()) if builds else ([], {})
    if problem is not None:
        return EngineState(name, False, "", problem, builds, usable, refused)
    if name == "cuda":
        device = ", ".join(f"{model} (device {number})" for number, model in enumerate(device_names()))
        return EngineState(name, True, device)
    return EngineState(name, True, choose(name).device, "", builds, usable, refused)


@dataclass(frozen=True)
class Timing:
    """Timing of one configuration: a row of a benchmark's table.

    Attributes
    ----------
    engine, device, workers : its name, the processor or GPUs, and the number of threads, worker processes or GPUs.
    paths : number of paths per run.
    seconds : median wall time of a run, compiling and preparing the scenario apart.
    compile_seconds : time to compile the kernels, for cuda; else 0.
    kernel_seconds : median time in the kernel by the clock of the busiest GPU; NaN for the others.
    path_steps_per_s : paths × steps / seconds, by the GPU's clock where there is one.
    ns_per_path_step : nanoseconds per path-step.
    speed : ratio to NumPy on one processor with as many paths in the same benchmark; NaN if that was not run.
    seconds_to_target : time to the standard error asked for, of both first-target odds.
    issue_share : share of the devices' instruction-issue limit; NaN where it is not known.
    counts : "first", "identical" or "DIFFERENT", compared with the first run of as many paths.
    """

    engine: str
    device: str
    workers: int
    paths: int
    seconds: float
    compile_seconds: float
    kernel_seconds: float
    path_steps_per_s: float
    ns_per_path_step: float
    speed: float
    seconds_to_target: float
    issue_share: float
    counts: str


def benchmark(scenario: Scenario, **options: Any) -> pd.DataFrame:
    """Table of the rows of `timings`, one per configuration; options and errors are those of `timings`."""
    return pd.DataFrame(list(timings(scenario, **options)))


def timings(
    scenario: Scenario,
    *,
    engines: Sequence[str] | None = None,
    paths: Sequence[int] = (100_000,),
    threads: Sequence[int] = (1,),
    devices: Sequence[int] | None = None,
    repeats: int = 3,
    target_se: float = 0.0005,
    where: str | None = None,
) -> Iterator[Timing]:
    """Timings of engines × paths × threads, each as soon as it is there; every run is warmed up once.

    Parameters
    ----------
    scenario : the scenario to simulate.
    engines : names; those available here if None. NumPy goes first, since the others are compared with it.
    paths, threads : numbers to try; cuda takes no threads.
    devices : GPUs for cuda, used together; device 0 if None.
    repeats : runs of which the median is taken.
    target_se : standard error for `seconds_to_target`.
    where : name of the scenario in errors; its own if None.

    Raises
    ------
    GammawallError, InputError : as `choose` and `prepare`; an engine is named twice, or devices but not cuda.
    """
    names = sorted(_names(engines, devices), key=lambda name: name != BASE)
    workers = [worker for name in names for worker in _workers(name, threads, devices)]
    plan = prepare(scenario, where).plan
    first: dict[int, Outcomes] = {}
    base: dict[int, float] = {}
    for worker in workers:
        for count in paths:
            outcomes, seconds, kernel_seconds = _timed(worker, plan, count, repeats)
            rate = count * plan.steps / (seconds if math.isnan(kernel_seconds) else kernel_seconds)
            if worker.name == BASE and worker.threads == 1:
                base[count] = rate
            same = "identical" if outcomes == first.get(count) else "DIFFERENT"
            limit = _issue_limit(worker)
            yield Timing(
                engine=worker.name,
                device=worker.device,
                workers=worker.threads,
                paths=count,
                seconds=seconds,
                compile_seconds=worker.compile_seconds if isinstance(worker, CudaEngine) else 0.0,
                kernel_seconds=kernel_seconds,
                path_steps_per_s=rate,
                ns_per_path_step=1e9 / rate,
                speed=rate / base.get(count, math.nan),
                seconds_to_target=paths_for(outcomes, target_se) * plan.steps / rate,
                issue_share=math.nan if limit is None else rate / limit,
                counts=same if count in first else "first",
            )
            first.setdefault(count, outcomes)


def _names(engines: Sequence[str] | None, devices: Sequence[int] | None) -> list[str]:
    """Names of the engines to time."""
    names = [s.engine for s in engine_states() if s.available] if engines is None else list(engines)
    if devices is not None and engines is None and (own := device_engine(AUTO, devices)) not in names:
        names.append(own)
    shown = ",".join(names)
    problems = [
        Problem("", "engines", shown, f"there is no engine {name!r}", f"Try some of {', '.join(ENGINES)}.")
        for name in dict.fromkeys(names)
        if name not in ENGINES
    ]
    if len(set(names)) < len(names):
        problems.append(Problem("", "engines", shown, "an engine is named twice"))
    if devices is not None and not any(name in ENGINES and ENGINES[name].uses_devices for name in names):
        why = "of the engines named, none runs on a GPU"
        problems.append(Problem("", "devices", ",".join(map(str, devices)), why, "Try --engines cuda,numpy."))
    if problems:
        raise InputError(problems)
    return names


def _workers(name: str, threads: Sequence[int], devices: Sequence[int] | None) -> Iterator[Engine]:
    if ENGINES[name].uses_devices:
        yield choose(name, devices=devices)
    else:
        yield from (choose(name, n) for n in sorted(threads))


def _timed(worker: Engine, plan: EnginePlan, paths: int, repeats: int) -> tuple[Outcomes, float, float]:
    """Counts of a run, median seconds, and median seconds in the kernel, NaN for engines without a clock."""
    outcomes = worker.run(plan, SEED, 0, max(1, paths // 10))
    seconds, kernel_seconds = [], []
    for _ in range(repeats):
        began = time.perf_counter()
        outcomes = worker.run(plan, SEED, 0, paths)
        seconds.append(time.perf_counter() - began)
        kernel_seconds.append(worker.kernel_seconds if isinstance(worker, CudaEngine) else math.nan)
    return outcomes, statistics.median(seconds), statistics.median(kernel_seconds)


def _issue_limit(worker: Engine) -> float | None:
    """Path-steps per second of devices that issue without a pause; None for a processor and for unknown devices."""
    if not isinstance(worker, CudaEngine):
        return None
    limits = [issue_limit(*speed) for speed in device_speeds(worker.devices)]
    return None if None in limits else sum(limit for limit in limits if limit is not None)
