"""Speed of the engines, with their peers timed in the same run.

    python benchmarks/engines.py [--paths N] [--numpy-paths N] [--threads 1 2] [--rounds R] [--csv FILE]

Each row is one configuration: nanoseconds per path-step (a path moved through one step, gaps included), and the speed
against QuantLib's Monte Carlo barrier engine. All configurations take turns, round after round, and are compared
within a round: a machine's speed drifts with its other guests. Both numbers are medians of the rounds; the lowest and
the highest speed stand beside them. The peers do less than the engines: each row says what it leaves out. The counts
of our engines are compared and must be identical.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from peers import ArrayPaths, NumbaPaths, Peer, QuantLibBarrier

from sim.engines.choice import choose
from sim.engines.cuda_engine import CudaEngine
from sim.plan.builder import Prepared, prepare
from sim.plan.engine_plan import EnginePlan
from sim.plan.outcomes import Outcomes
from sim.run.bench import engine_states
from sim.scenario.file import load_scenario

SCENARIO = "siege-of-7000"
SEED = 1
QUANTLIB_PATHS = 4_000
ARRAY_PATHS = 1 << 16
CUPY_PATHS = 1 << 20


def peers_of(prepared: Prepared, paths: int, threads: list[int], *, gpu: bool) -> list[tuple[Peer, int, int]]:
    """Peers, each with its number of processors and of paths; QuantLib last."""
    try:
        found: list[tuple[Peer, int, int]] = [(NumbaPaths(prepared.plan, n, 1), n, paths) for n in threads]
        quantlib = QuantLibBarrier(prepared)
    except ModuleNotFoundError as error:
        raise SystemExit(f"{error}. Try pip install 'gammawall-sim[bench]', or make bench.") from error
    found.append((ArrayPaths(prepared.plan, np, 1), 1, ARRAY_PATHS))
    if gpu:
        import cupy

        found.append((ArrayPaths(prepared.plan, cupy, 1), 1, CUPY_PATHS))
    found.append((quantlib, 1, QUANTLIB_PATHS))
    return found


@dataclass
class Contestant:
    """One row of the table: what to run, and the seconds that each round took."""

    name: str
    workers: int
    paths: int
    run: Callable[[int], object]
    counts: str
    compile_seconds: float
    own_clock: Callable[[], float] | None = None
    seconds: list[float] = field(default_factory=list)

    def take_turn(self) -> None:
        """Run once."""
        began = time.perf_counter()
        self.run(self.paths)
        elapsed = time.perf_counter() - began
        self.seconds.append(self.own_clock() if self.own_clock else elapsed)

    def nanoseconds(self, steps: int) -> list[float]:
        """Nanoseconds per path-step of each round."""
        return [s / self.paths / steps * 1e9 for s in self.seconds]


def our_engines(plan: EnginePlan, paths: int, numpy_paths: int, threads: list[int]) -> Iterator[Contestant]:
    """Every engine that is here; their counts of `numpy_paths` paths are compared, which warms them up."""
    first: Outcomes | None = None
    for state in reversed(engine_states()):
        for workers in threads if state.available else []:
            engine = choose(state.engine, workers)
            if engine.threads != workers and workers != threads[0]:
                continue  # a GPU takes no threads
            outcomes = engine.run(plan, SEED, 0, numpy_paths)
            counts = "first" if first is None else "identical" if outcomes == first else "DIFFERENT"
            first = outcomes if first is None else first
            cuda = engine if isinstance(engine, CudaEngine) else None
            yield Contestant(
                name=engine.name,
                workers=engine.threads,
                paths=numpy_paths if engine.name == "numpy" else paths,
                run=partial(engine.run, plan, SEED, 0),
                counts=counts,
                compile_seconds=cuda.compile_seconds if cuda else 0.0,
                own_clock=partial(getattr, cuda, "kernel_seconds") if cuda else None,
            )


def contestant_of(peer: Peer, workers: int, paths: int) -> Contestant:
    """A peer, warmed up, which compiles it."""
    compiled = peer.warm_up()
    return Contestant(peer.name, workers, paths, peer.run, f"without {peer.leaves_out}", compiled)


def table_of(contestants: Sequence[Contestant], steps: int) -> pd.DataFrame:
    """A row a contestant; speeds are against the last one's."""
    base = contestants[-1].nanoseconds(steps)
    rows = []
    for one in contestants:
        nanoseconds = one.nanoseconds(steps)
        speeds = [b / ns for b, ns in zip(base, nanoseconds, strict=True)]
        row = {
            "engine": one.name,
            "workers": one.workers,
            "paths": one.paths,
            "ns_per_path_step": statistics.median(nanoseconds),
            "speed": statistics.median(speeds),
            "lowest_speed": min(speeds),
            "highest_speed": max(speeds),
            "compile_seconds": one.compile_seconds,
            "counts": one.counts,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def command_seconds(arguments: list[str], repeats: int) -> float:
    """Median wall time of a command of `gammawall`, start of Python included."""
    command = [sys.executable, "-m", "sim.cli", *arguments]
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--paths", type=int, default=400_000)
    parser.add_argument("--numpy-paths", type=int, default=1 << 17)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()

    prepared = prepare(load_scenario(SCENARIO))
    plan = prepared.plan
    cuda = any(state.available for state in engine_states() if state.engine == "cuda")
    peers = peers_of(prepared, options.paths, options.threads, gpu=cuda)
    contestants = list(our_engines(plan, options.paths, options.numpy_paths, options.threads))
    contestants += [contestant_of(*peer) for peer in peers]
    for _ in range(options.rounds):
        for one in contestants:
            one.take_turn()
    table = table_of(contestants, plan.steps)

    print(
        f"{SCENARIO}: paths of {plan.steps} steps, median of {options.rounds} rounds; speed against QuantLib"
    )
    ahead = f"{'engine':34} {'workers':>7} {'paths':>9} {'ns per path-step':>16}"
    print(f"{ahead} {'speed':>8} {'from':>6} {'to':>6}  counts")
    for row in table.itertuples(index=False):
        size = f"{row.workers:7} {row.paths:9,}"
        speeds = f"{row.speed:7.1f}x {row.lowest_speed:6.1f} {row.highest_speed:6.1f}"
        print(f"{row.engine:34} {size} {row.ns_per_path_step:16.2f} {speeds}  {row.counts}")
    help_seconds = command_seconds(["--help"], 5)
    fixed_seconds = command_seconds(["run", "--paths", "1", "--no-save"], options.rounds)
    print(f"gammawall --help {help_seconds:.2f} s; a run of one path (fixed cost) {fixed_seconds:.2f} s")
    if options.csv:
        table.to_csv(options.csv, index=False, float_format="%.4g", lineterminator="\n")
    if (table["counts"] == "DIFFERENT").any():
        raise SystemExit("the counts differ between configurations")


if __name__ == "__main__":
    main()
