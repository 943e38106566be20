"""How fast the engines are here, and whether they count the same."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sim.engines.choice import ENGINES, Engine, choose, engine_problem
from sim.engines.cuda_engine import CudaEngine, device_speeds
from sim.engines.kernel_budget import issue_limit
from sim.engines.native_engine import usable_builds
from sim.outcomes import LOWER, UPPER, Outcomes
from sim.plan_builder import prepare
from sim.scenario import Scenario

BASE = "numpy"
SEED = 1


@dataclass(frozen=True)
class EngineState:
    """Whether an engine can be used here.

    Attributes
    ----------
    engine : its name.
    available : whether it can.
    device : what it computes on; empty if it cannot.
    note : why not and how to get it, or what more there is to know.
    """

    engine: str
    available: bool
    device: str
    note: str


def engine_states() -> list[EngineState]:
    """Every engine, the fastest first."""
    states = []
    for name in ENGINES[1:]:
        problem = engine_problem(name)
        device = "" if problem else choose(name).device
        note = problem or ""
        if name == "native" and not problem:
            note = f"builds this processor can run: {', '.join(usable_builds())}"
        states.append(EngineState(name, problem is None, device, note))
    return states


@dataclass(frozen=True)
class Timing:
    """One configuration of `benchmark`, a row of its table.

    Attributes
    ----------
    engine, device, workers : name, what it ran on, and threads, worker processes or GPUs.
    paths : number of paths a run.
    seconds : median wall time of a run, compiling and preparing the scenario apart.
    compile_seconds : time to compile the kernels, for cuda; else 0.
    kernel_seconds : median time by the GPU's clock; NaN for the others.
    path_steps_per_s : paths × steps / seconds, by the GPU's clock where there is one.
    ns_per_path_step : nanoseconds a path-step.
    speed : ratio to NumPy on one processor in the same benchmark; NaN if that was not run.
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


def benchmark(
    scenario: Scenario,
    *,
    engines: Sequence[str] | None = None,
    paths: Sequence[int] = (100_000,),
    threads: Sequence[int] = (1,),
    devices: Sequence[int] | None = None,
    repeats: int = 3,
    target_se: float = 0.0005,
    where: str | None = None,
) -> pd.DataFrame:
    """Timings of engines × paths × threads, one `Timing` a row; every run is warmed up once.

    Parameters
    ----------
    scenario : what to simulate.
    engines : names; those available here if None.
    paths, threads : numbers to try; cuda takes no threads.
    devices : GPUs for cuda, used together; device 0 if None.
    repeats : runs of which the median is taken.
    target_se : standard error for `seconds_to_target`.
    where : what to call the scenario in an error.

    Raises
    ------
    GammawallError, InputError : as `choose` and `prepare`.
    """
    names = list(engines or [s.engine for s in engine_states() if s.available])
    # NumPy on one processor, the base of the ratios, comes first.
    names.sort(key=lambda name: name != BASE)
    workers = [worker for name in names for worker in _workers(name, threads, devices)]
    plan = prepare(scenario, where).plan
    rows: list[Timing] = []
    first: dict[int, Outcomes] = {}
    base = float("nan")
    for worker in workers:
        for count in paths:
            worker.run(plan, SEED, 0, min(count, max(1, count // 10)))
            seconds, kernel_seconds = [], []
            for _ in range(repeats):
                began = time.perf_counter()
                outcomes = worker.run(plan, SEED, 0, count)
                seconds.append(time.perf_counter() - began)
                kernel_seconds.append(getattr(worker, "kernel_seconds", float("nan")))
            same = "identical" if first.get(count) == outcomes else "DIFFERENT"
            counts = same if count in first else "first"
            first.setdefault(count, outcomes)
            timed = statistics.median(seconds if worker.name != "cuda" else kernel_seconds)
            rate = count * plan.steps / (timed / (len(worker.devices) if isinstance(worker, CudaEngine) else 1))
            if worker.name == BASE and worker.threads == 1 and np.isnan(base):
                base = rate
            rows.append(
                Timing(
                    worker.name,
                    worker.device,
                    worker.threads,
                    count,
                    statistics.median(seconds),
                    getattr(worker, "compile_seconds", 0.0),
                    statistics.median(kernel_seconds),
                    rate,
                    1e9 / rate,
                    rate / base,
                    paths_for(outcomes, target_se) * plan.steps / rate,
                    rate / limit if (limit := _issue_limit(worker)) else float("nan"),
                    counts,
                )
            )
    return pd.DataFrame(rows)


def _workers(name: str, threads: Sequence[int], devices: Sequence[int] | None) -> Iterator[Engine]:
    if name == "cuda":
        yield choose(name, devices=devices)
    else:
        yield from (choose(name, n) for n in sorted(threads))


def _issue_limit(worker: Engine) -> float | None:
    """Path-steps a second at which the worker's devices would issue without a pause."""
    if not isinstance(worker, CudaEngine):
        return None
    limits = [issue_limit(*speed) for speed in device_speeds(worker.devices)]
    return None if None in limits else sum(limit for limit in limits if limit is not None)


def paths_for(outcomes: Outcomes, target_se: float) -> float:
    """Paths at which both first-target odds with dealers have a standard error: p·(1 − p)/se²."""
    share = outcomes.joint.sum(axis=1)[[UPPER, LOWER]] / outcomes.paths
    return float(np.max(share * (1 - share))) / target_se**2
