"""Convergence in the number of steps per session: the same market with 6, 13, 26 and 78.

    python benchmarks/steps_per_session.py [SCENARIO] [--paths N]

Prints the odds with dealers for each number of steps, with the standard error, and the Richardson difference: what
is left of a first-order error at the finest two numbers, (odds(78) − odds(26))·26/(78 − 26). The draws differ
between rows, so that differences carry sampling error.
"""

from __future__ import annotations

import argparse

import numpy as np

from sim import load_scenario, simulate
from sim.plan.outcomes import LOWER, UPPER

STEPS = (6, 13, 26, 78)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenario", nargs="?", default="siege-of-7000")
    parser.add_argument("--paths", type=int, default=400_000)
    options = parser.parse_args()
    rows = []
    for steps in STEPS:
        scenario = load_scenario(options.scenario, [f"volatility.steps_per_session={steps}"])
        joint = simulate(scenario, paths=options.paths, seed=1).outcomes.joint
        rows.append(joint.sum(axis=1)[[UPPER, LOWER]] / options.paths)
    error = np.sqrt(0.25 / options.paths)
    print(f"{options.scenario}: {options.paths:,} paths, standard error at most {error:.5f}")
    print(f"{'steps per session':>17} {'first upper':>12} {'first lower':>12}")
    for steps, (upper, lower) in zip(STEPS, rows, strict=True):
        print(f"{steps:17} {upper:12.5f} {lower:12.5f}")
    left = (rows[-1] - rows[-2]) * STEPS[-2] / (STEPS[-1] - STEPS[-2])
    print(f"{'Richardson':>17} {left[0]:+12.5f} {left[1]:+12.5f}")


if __name__ == "__main__":
    main()
