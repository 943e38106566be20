"""What runs in a worker process of the NumPy engine: a block's state, kept from one range of paths to the next."""

from __future__ import annotations

import os
import signal
import threading
import time

from sim.kernels_numpy.path_state import PathBlock
from sim.kernels_numpy.paths import run_block
from sim.outcomes import Outcomes
from sim.plan import EnginePlan

PARENT_CHECK_S = 0.5

_block: PathBlock | None = None


def start_worker(plan: EnginePlan, seed: int, capacity: int) -> None:
    """Make the process ready for ranges of up to `capacity` paths; Ctrl-C is the main process's to handle."""
    global _block
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    try:
        _block = PathBlock(plan, seed, capacity)
    except MemoryError:
        # Ending quietly is enough: the engine reports a dead worker and what to try.
        os._exit(1)


def _end_with_parent(parent: int) -> None:
    """End the process when its parent has gone: a killed run must not leave its workers waiting for ever."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_S)
    os._exit(1)


def count_range(first_path: int, paths: int) -> Outcomes:
    """Outcomes of one range of paths."""
    assert _block is not None
    _block.outcomes = Outcomes.zeros(_block.plan.outcome_shape)
    run_block(_block, first_path, paths)
    return _block.outcomes
