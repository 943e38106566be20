"""A worker process of the NumPy engine: ranges of paths come on stdin, counts and records go out on stdout, pickled.

It ends when stdin does, so it never outlives the main process for longer than a range takes, however that one ended.
"""

from __future__ import annotations

import os
import pickle
import sys
from typing import BinaryIO

from sim.kernels_numpy.path_state import PathBlock
from sim.kernels_numpy.paths import record_of, run_block
from sim.plan.outcomes import Outcomes


def work(ranges: BinaryIO, counts: BinaryIO) -> None:
    """Read a job, then ranges of paths; answer each with its counts and its records or None.

    The job is (plan, seed, block size, whether records are wanted); a range is (first path, number of paths).
    """
    plan, seed, capacity, wanted = pickle.load(ranges)
    block = PathBlock(plan, seed, capacity)
    while True:
        try:
            first, paths = pickle.load(ranges)
        except EOFError:
            return
        block.outcomes = Outcomes.zeros(plan.outcome_shape)
        run_block(block, first, paths)
        records = record_of(block) if wanted else None
        pickle.dump((block.outcomes, records), counts, pickle.HIGHEST_PROTOCOL)
        counts.flush()


def main() -> None:
    """Entry point: work until stdin ends or the main process is gone."""
    counts, sys.stdout = sys.stdout.buffer, sys.stderr
    try:
        work(sys.stdin.buffer, counts)
    except (MemoryError, EOFError, BrokenPipeError, pickle.UnpicklingError):
        # Ending quietly is enough: the engine reports a dead worker and what to try.
        os._exit(1)
