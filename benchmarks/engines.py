"""Speed of the simulation, with a peer timed in the same run.

    python benchmarks/engines.py [--paths N] [--repeats R] [--csv FILE]

Each row is one configuration: nanoseconds a path-step (a path moved through one step, gaps included), the median
of the repeats, and the ratio to NumPy on one thread. The peer is QuantLib's Monte Carlo barrier engine: one
barrier, constant volatility, no gaps, dealers, twin or regimes. Absolute times depend on the machine; compare the
ratios of one run. The counts of every configuration of ours are compared and must be identical.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from peers import QuantLibBarrier

from sim.engines.numpy_engine import NumpyEngine
from sim.plan_builder import prepare
from sim.scenario_file import load_scenario

SCENARIO = "siege-of-7000"
QUANTLIB_PATHS = 4_000


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Median wall time of a call, after one warm-up."""
    work()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def command_seconds(arguments: list[str], repeats: int) -> float:
    """Median wall time of a command of `gammawall`, start of Python included."""
    command = [sys.executable, "-m", "sim.cli", *arguments]
    return median_seconds(lambda: subprocess.run(command, check=True, capture_output=True), repeats)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--paths", type=int, default=1 << 19)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()

    prepared = prepare(load_scenario(SCENARIO))
    path_steps = options.paths * prepared.plan.steps
    rows: list[tuple[str, float, str]] = []
    counts = []
    for threads in options.threads:
        engine = NumpyEngine(threads)
        seconds = median_seconds(lambda e=engine: e.run(prepared.plan, 1, 0, options.paths), options.repeats)
        counts.append(engine.run(prepared.plan, 1, 0, options.paths))
        rows.append((f"numpy, {threads} thread{'s'[: threads > 1]}", seconds / path_steps * 1e9, ""))
        rows[-1] = (*rows[-1][:2], "identical" if counts[-1] == counts[0] else "DIFFERENT")
    quantlib = QuantLibBarrier(prepared)
    seconds = median_seconds(lambda: quantlib.run(QUANTLIB_PATHS), options.repeats)
    quantlib_steps = QUANTLIB_PATHS * prepared.plan.steps
    rows.append((quantlib.name, seconds / quantlib_steps * 1e9, "another model"))

    base = rows[0][1]
    print(f"{SCENARIO}: {options.paths:,} paths of {prepared.plan.steps} steps, median of {options.repeats}")
    print(f"{'engine':36} {'ns a path-step':>15} {'speed':>7}  counts")
    for name, nanoseconds, same in rows:
        print(f"{name:36} {nanoseconds:15.1f} {base / nanoseconds:6.2f}x  {same}")
    help_seconds = command_seconds(["--help"], 5)
    fixed_seconds = command_seconds(["run", "--paths", "1", "--no-save"], options.repeats)
    print(f"gammawall --help {help_seconds:.2f} s; a run of one path (fixed cost) {fixed_seconds:.2f} s")
    if options.csv:
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("engine", "ns_per_path_step", "speed", "counts"))
            writer.writerows((n, f"{ns:.2f}", f"{base / ns:.3f}", same) for n, ns, same in rows)
    if any(same == "DIFFERENT" for _, _, same in rows):
        raise SystemExit("the counts differ between configurations")


if __name__ == "__main__":
    main()
