"""The whole life of a block of paths, from the start to the last close."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sim.compiled.kernel_constants import DOWN, RECORD_FIRST_BITS, RECORD_RANK_BITS, UP, WITH, WITHOUT
from sim.kernels_numpy.path_state import PathBlock
from sim.kernels_numpy.path_step import take_step
from sim.kernels_numpy.session import close_session, open_session, settle_open

Observer = Callable[[int, PathBlock], None]


def run_block(block: PathBlock, first_path: int, n: int, observer: Observer | None = None) -> None:
    """Simulate paths `first_path` … `first_path + n − 1` and add them to the block's outcomes.

    Parameters
    ----------
    block : state and scratch.
    first_path, n : which paths; they share their number's high word.
    observer : called after each close with the session and the block, whose arrays it must not change.
    """
    plan = block.plan
    block.start(first_path, n)
    for session in range(plan.sessions):
        open_session(block, session)
        first_step = session * plan.steps_per_session
        take_step(block, first_step)
        settle_open(block, first_step)
        for step in range(first_step + 1, first_step + plan.steps_per_session):
            take_step(block, step)
        close_session(block, session)
        if observer is not None:
            observer(session, block)
    count_paths(block)


def count_paths(block: PathBlock) -> None:
    """17 Count finished paths: the pair of first targets, and levels touched in both worlds."""
    plan, outcomes = block.plan, block.outcomes
    outcomes.paths += block.n
    pairs = block.first[WITH].astype(np.int32) * 3 + block.first[WITHOUT]
    outcomes.joint += np.bincount(pairs, minlength=9).reshape(3, 3)
    above, below = (int(count) for count in plan.level_count)
    for side, count in ((UP, above), (DOWN, below)):
        touched_both = np.minimum(block.rank[side], block.rank[side + 2])
        at_least = np.bincount(touched_both, minlength=count + 1)[::-1].cumsum()[::-1][1:]
        if side == UP:
            outcomes.touch_both[below:] += at_least
        else:
            outcomes.touch_both[:below] += at_least[::-1]


def record_of(block: PathBlock) -> NDArray[np.uint16]:
    """18 The records of finished paths with dealers, (n,): first target, then levels touched above, then below."""
    ranks = block.rank[UP] | block.rank[DOWN] << RECORD_RANK_BITS
    records: NDArray[np.int32] = block.first[WITH] | ranks << RECORD_FIRST_BITS
    return records.astype(np.uint16)
