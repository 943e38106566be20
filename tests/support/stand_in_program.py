"""The command line in a process of its own, with a ready run standing in for the engine."""

from __future__ import annotations

import sys

from support.places import TESTS

STAND_IN = """
import sys, time, types
sys.path.insert(0, {tests!r})
from support.sample_outcomes import SampleRun
stand_in = types.ModuleType("sim.run.simulation")
def simulate(scenario, *, progress, **options):
    if progress is not None:
        for done in range(0, 1_000_001, 100_000):
            progress(done, 1_000_000)
            time.sleep(0.02)
    print("simulating", file=sys.stderr, flush=True)
    {while_it_runs}
    return SampleRun()
stand_in.simulate = simulate
sys.modules["sim.run.simulation"] = stand_in
{before}
from sim.cli.main import main
main({arguments!r})
"""


def stand_in_program(
    arguments: list[str], seconds: float = 0.0, *, while_it_runs: str | None = None, before: str = ""
) -> list[str]:
    """Command that runs `gammawall` with a stand-in for the simulation.

    while_it_runs : a line of Python in place of the simulation, which by default sleeps for some seconds.
    before : lines of Python that come first.
    """
    line = f"time.sleep({seconds})" if while_it_runs is None else while_it_runs
    text = STAND_IN.format(tests=str(TESTS), while_it_runs=line, before=before, arguments=arguments)
    return [sys.executable, "-c", text]
