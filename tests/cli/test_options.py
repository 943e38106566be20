"""Options that commands share: their limits and defaults are those of the modules that compute."""

from __future__ import annotations

import inspect

from sim.check.checks import run_checks
from sim.cli import options
from sim.run import simulation, stopping


def test_defaults_and_limits_are_those_of_a_run() -> None:
    assert int(options.DEFAULT_PATHS) == simulation.DEFAULT_PATHS
    assert inspect.signature(run_checks).parameters["paths"].default == simulation.DEFAULT_PATHS
    assert options.SMALLEST_TARGET_SE == stopping.SMALLEST_TARGET_SE
    assert options.ADDRESSES - 1 == options.SEEDS.max == simulation.LARGEST_SEED
