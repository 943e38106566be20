"""Speed of the engines, with their peers timed in the same run.

    python benchmarks/engines.py [--paths N] [--numpy-paths N] [--threads 1 2] [--repeats R] [--csv FILE]

Each row is one configuration: nanoseconds a path-step (a path moved through one step, gaps included), the median of
the repeats, and the ratio to QuantLib's Monte Carlo barrier engine. The peers do less than the engines: each row says
what it leaves out. Absolute times depend on the machine and on its other guests; compare the ratios of one run. The
counts of our engines are compared and must be identical.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from peers import ArrayPaths, NumbaPaths, Peer, QuantLibBarrier

from sim.bench import benchmark, engine_states
from sim.plan_builder import Prepared, prepare
from sim.scenario_file import load_scenario

SCENARIO = "siege-of-7000"
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


def peer_row(peer: Peer, workers: int, paths: int, steps: int, repeats: int) -> dict[str, object]:
    """Timing of a peer after its warm-up, which compiles it."""
    compiled = peer.warm_up()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        peer.run(paths)
        seconds.append(time.perf_counter() - began)
    nanoseconds = statistics.median(seconds) / paths / steps * 1e9
    return {
        "engine": peer.name,
        "workers": workers,
        "paths": paths,
        "path_steps_per_s": 1e9 / nanoseconds,
        "ns_per_path_step": nanoseconds,
        "compile_seconds": compiled,
        "counts": f"without {peer.leaves_out}",
    }


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
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()

    scenario = load_scenario(SCENARIO)
    prepared = prepare(scenario)
    steps = prepared.plan.steps
    here = [state.engine for state in engine_states() if state.available]
    peers = peers_of(prepared, options.paths, options.threads, gpu="cuda" in here)
    rows = benchmark(
        scenario, engines=here, paths=[options.numpy_paths], threads=options.threads, repeats=options.repeats
    )
    fast = [name for name in here if name != "numpy"]
    if fast:
        more = benchmark(
            scenario, engines=fast, paths=[options.paths], threads=options.threads, repeats=options.repeats
        )
        rows = pd.concat([rows, more], ignore_index=True)
    peer_rows = [peer_row(*peer, steps, options.repeats) for peer in peers]
    table = pd.concat([rows[list(peer_rows[0])], pd.DataFrame(peer_rows)], ignore_index=True)
    table["speed"] = table["ns_per_path_step"].iloc[-1] / table["ns_per_path_step"]

    print(f"{SCENARIO}: paths of {steps} steps, median of {options.repeats}; speed against QuantLib")
    print(f"{'engine':34} {'workers':>7} {'paths':>9} {'ns a path-step':>15} {'speed':>8}  counts")
    for row in table.itertuples(index=False):
        size = f"{row.workers:7} {row.paths:9,}"
        print(f"{row.engine:34} {size} {row.ns_per_path_step:15.2f} {row.speed:7.1f}x  {row.counts}")
    help_seconds = command_seconds(["--help"], 5)
    fixed_seconds = command_seconds(["run", "--paths", "1", "--no-save"], options.repeats)
    print(f"gammawall --help {help_seconds:.2f} s; a run of one path (fixed cost) {fixed_seconds:.2f} s")
    if options.csv:
        table.to_csv(options.csv, index=False, float_format="%.4g", lineterminator="\n")
    if (rows["counts"] == "DIFFERENT").any():
        raise SystemExit("the counts differ between configurations")


if __name__ == "__main__":
    main()
