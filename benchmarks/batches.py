"""Throughput of batches: in one process, on dask workers, and many small cases against a big one.

    python benchmarks/batches.py [--engine NAME] [--cases N] [--paths N] [--small-cases N] [--small-paths N]
                                 [--workers 1 2] [--rounds R] [--csv FILE]

All configurations take turns, round after round, and are compared within a round: a machine's speed drifts with its
other guests. A batch is a grid of price impacts and half-lives on `siege-of-7000`. Its time runs from the first case
to the last table written; starting the workers is not in it, and is told apart. Speeds are path-steps per second,
medians of the rounds with the lowest and the highest ratio beside them; on a processor only the ratios mean something
elsewhere.

    scaling   the same batch with one thread and with several in one process, and on one dask worker and on several
    cases     many small cases against one case of as many paths: what a case costs beside its paths

The tables of all configurations of a batch must be identical, byte for byte.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from sim.batch.executors import choose_executor
from sim.batch.family import Batch
from sim.batch.file import batch_from_mapping
from sim.batch.folder import DIFFERENCES
from sim.batch.opening import open_batch_folder
from sim.batch.run import Executor, run_batch
from sim.compiled.kernel_sources import code_digest
from sim.engines.choice import choose
from sim.odds.tables import TABLES
from sim.plan.time_grid import count_steps

IMPACTS = 4


@dataclass
class Contestant:
    """One way of running a batch, and how fast it was in each round."""

    part: str
    name: str
    batch: Batch
    executor: Callable[[], AbstractContextManager[Executor]]
    start_s: float = 0.0
    speeds: list[float] = field(default_factory=list)
    tables: dict[str, bytes] = field(default_factory=dict)

    @property
    def path_steps(self) -> int:
        """Path-steps of the whole batch."""
        steps = (count_steps(case.scenario) for case in self.batch.cases if case.scenario)
        return sum(steps) * self.batch.paths

    def run(self, executor: Executor, folder: Path) -> None:
        """Time the batch once."""
        began = time.perf_counter()
        with open_batch_folder(self.batch, folder) as opened:
            done = run_batch(self.batch, opened, self.batch.cases, executor)
        self.speeds.append(self.path_steps / (time.perf_counter() - began))
        assert not done.failed
        tables = {
            name: (folder / f"{name}.csv").read_bytes()
            for name in (*TABLES, DIFFERENCES)
            if (folder / f"{name}.csv").exists()
        }
        assert self.tables in ({}, tables), f"{self.name}: two rounds differ"
        self.tables = tables


def batch_of(name: str, cases: int, paths: int) -> Batch:
    """Batch of a grid of so many cases: impacts times half-lives, the first of them the baseline."""
    impacts = [0.5 * (1 + i) for i in range(min(IMPACTS, cases))]
    half_lives = [0.25 * (1 + i) for i in range(-(-cases // len(impacts)))]
    points = [(impact, half_life) for half_life in half_lives for impact in impacts][:cases]
    data: dict[str, Any] = {
        "schema": 1,
        "name": name,
        "baseline": "case 0",
        "paths": paths,
        "case": [
            {"name": f"case {i}", "set": {"dealers.impact_bp_per_bn": a, "dealers.impact_half_life": h}}
            for i, (a, h) in enumerate(points)
        ],
    }
    return batch_from_mapping(data, name)


def contestants(arguments: argparse.Namespace) -> list[Contestant]:
    """Every configuration asked for."""
    engine = arguments.engine

    def here(threads: int) -> Callable[[], AbstractContextManager[Executor]]:
        return lambda: choose_executor(engine, threads=threads)

    def workers(count: int) -> Callable[[], AbstractContextManager[Executor]]:
        return lambda: choose_executor(engine, workers=count)

    scaled = batch_of("scaling", arguments.cases, arguments.paths)
    found = [
        Contestant("scaling", f"{n} {'thread' if n == 1 else 'threads'}, one process", scaled, here(n))
        for n in arguments.workers
    ]
    found += [
        Contestant("scaling", f"{n} dask {'worker' if n == 1 else 'workers'}", scaled, workers(n))
        for n in arguments.workers
    ]
    small, most = arguments.small_cases, max(arguments.workers)
    found.append(
        Contestant("cases", "one big case", batch_of("big", 1, small * arguments.small_paths), here(most))
    )
    found.append(
        Contestant(
            "cases", f"{small} small cases", batch_of("small", small, arguments.small_paths), here(most)
        )
    )
    return found


def table(found: Sequence[Contestant], engine: Any, arguments: argparse.Namespace) -> pd.DataFrame:
    """A row for each configuration, compared with the first of its part."""
    rows = []
    for one in found:
        first = next(other for other in found if other.part == one.part)
        ratios = [mine / theirs for mine, theirs in zip(one.speeds, first.speeds, strict=True)]
        rows.append(
            {
                "part": one.part,
                "configuration": one.name,
                "cases": len(one.batch.cases),
                "paths_a_case": one.batch.paths,
                "path_steps_per_s": round(statistics.median(one.speeds)),
                "cases_per_s": round(
                    statistics.median(one.speeds) * len(one.batch.cases) / one.path_steps, 3
                ),
                "ratio": round(statistics.median(ratios), 3),
                "ratio_lowest": round(min(ratios), 3),
                "ratio_highest": round(max(ratios), 3),
                "start_s": round(one.start_s, 2),
                "tables": "identical" if one.part == "cases" or one.tables == first.tables else "DIFFERENT",
                "rounds": arguments.rounds,
                "engine": engine.name,
                "device": engine.device,
                "date": datetime.now(UTC).date().isoformat(),
                "code": code_digest()[:30],
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--cases", type=int, default=24, help="cases of the batch that is scaled")
    parser.add_argument("--paths", type=int, default=200_000, help="paths of each of them")
    parser.add_argument("--small-cases", type=int, default=40, help="number of small cases")
    parser.add_argument("--small-paths", type=int, default=50_000, help="paths of each of them")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv", type=Path, help="file for the table")
    arguments = parser.parse_args()
    engine = choose(arguments.engine)
    found = contestants(arguments)
    with ExitStack() as stack:
        executors = []
        for one in found:
            began = time.perf_counter()
            executors.append(stack.enter_context(one.executor()))
            one.start_s = time.perf_counter() - began
        for number in range(arguments.rounds):
            for one, executor in zip(found, executors, strict=True):
                with tempfile.TemporaryDirectory() as folder:
                    one.run(executor, Path(folder, "batch"))
                print(f"round {number + 1}: {one.name}, {one.speeds[-1]:.3g} path-steps/s", flush=True)
    result = table(found, engine, arguments)
    print(result.to_string(index=False))
    if arguments.csv is not None:
        result.to_csv(arguments.csv, index=False, lineterminator="\n")
    if (result["tables"] == "DIFFERENT").any():
        raise SystemExit("the tables differ between configurations")


if __name__ == "__main__":
    main()
