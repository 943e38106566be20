"""Work done once per session: random words and variance before the open, variance and regime after the close.

Legend: n paths; `words` (n,) uint32, a random word of each; `paths` (k,) indices of paths in the block; r index of a
regime; `free` (n,) whether a path may still change its regime at this close. The state is in `PathBlock`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.compiled.kernel_constants import (
    CALLS_PER_SESSION,
    CLOSES_ABOVE,
    DOWN,
    OPENING_WORDS,
    PURPOSE_MOVES,
    TOUCHES_ABOVE,
    UP,
    VARIANCE_ATOMS_BITS,
    WITH,
    WITHOUT,
)
from sim.kernels_numpy.normal import Float32Array, normal_pair
from sim.kernels_numpy.path_state import PathBlock
from sim.kernels_numpy.philox import WordArray
from sim.kernels_numpy.reaction import look_up
from sim.plan.engine_plan import NO_TABLE

HALF = np.float32(0.5)


def open_session(block: PathBlock, session: int) -> None:
    """1 Draw the session's variance V, its gap outcome and its normals.

    Random words per session: one for V, one for the outcome, then two per pair of normals, drawn whether used or not.
    """
    words = block.random_words
    for call in range(-(-(OPENING_WORDS + block.normal_count) // 4)):
        address = session * CALLS_PER_SESSION + call
        block.words.draw(block.path_low, block.path_high, address, PURPOSE_MOVES, words)
        if call == 0:
            scale_variance(block, words[0])
            block.gap_outcome = gap_outcome(block, session, words[1])
        else:
            draw_pair(block, 2 * call - 1, words[0], words[1])
        if 4 * call < block.normal_count:
            draw_pair(block, 2 * call, words[2], words[3])
    np.copyto(block.x_open, block.coordinate[WITHOUT])


def draw_pair(block: PathBlock, pair: int, radius_words: WordArray, angle_words: WordArray) -> None:
    """Turn two words, (n,) uint32 each, into the normals of two steps; the angle's spare bits go to their bridges."""
    np.copyto(block.spare[pair], angle_words, casting="unsafe")
    cosine, sine = block.normals[2 * pair], block.normals[2 * pair + 1]
    normal_pair(radius_words, angle_words, cosine, sine, block.scratch)


def scale_variance(block: PathBlock, words: WordArray) -> None:
    """2 Scale the variance: h·V, its root, and the session's mean drift − h/2."""
    plan = block.plan
    if plan.variance_atoms.size:
        atom = np.right_shift(words, np.uint32(32 - VARIANCE_ATOMS_BITS))
        np.multiply(block.h, plan.variance_atoms[atom], out=block.scaled_variance)
    else:
        np.copyto(block.scaled_variance, block.h)
    np.sqrt(block.scaled_variance, out=block.volatility)
    np.multiply(block.h, HALF, out=block.mean)
    np.subtract(plan.session_drift, block.mean, out=block.mean)


def gap_outcome(block: PathBlock, session: int, words: WordArray) -> tuple[Float32Array, Float32Array] | None:
    """Mean and variance that the catalyst or jump adds to the gap, (n,) float32 each; None in a session without any.

    words : (n,) uint32, which choose the outcome.
    """
    plan = block.plan
    first, last = int(plan.outcome_start[session]), int(plan.outcome_start[session + 1])
    if last == first:
        return None
    outcome = np.searchsorted(plan.outcome_threshold[first:last], words, side="left")
    return plan.outcome_mean[first:last][outcome], plan.outcome_variance[first:last][outcome]


def settle_open(block: PathBlock, step: int) -> None:
    """9 Re-base every path when options settle at the end of a step: y = Φ(s), price unmoved."""
    if block.plan.settles[step]:
        rebase(block, step, None)


def close_session(block: PathBlock, session: int) -> None:
    """10 Close: count, update the variance, change regimes, re-base the hedge."""
    plan = block.plan
    step = (session + 1) * plan.steps_per_session - 1
    count_close(block, session)
    update_variance(block)
    change_regimes(block)
    changed = np.flatnonzero(block.next_regime != block.regime)
    block.regime, block.next_regime = block.next_regime, block.regime
    if changed.size:
        block.book[changed] = plan.book_of_regime[block.regime[changed]]
        block.flow[changed] = plan.regime_flow[block.regime[changed]]
    if plan.settles[step]:
        rebase(block, step, None)
    elif changed.size and plan.rebase_table[step] != NO_TABLE:
        rebase(block, step, changed)
    block.outcomes.regime[session] += np.bincount(block.regime, minlength=plan.trigger.size)


def count_close(block: PathBlock, session: int) -> None:
    """11 Count the close in the histogram: bin 0 lies below, the last bin above."""
    plan = block.plan
    np.subtract(block.s, plan.close_low, out=block.t)
    np.multiply(block.t, plan.close_scale, out=block.t)
    np.add(block.t, np.float32(1), out=block.t)
    np.maximum(block.t, np.float32(0), out=block.t)
    np.minimum(block.t, np.float32(plan.close_bins + 1), out=block.t)
    block.outcomes.closes[session] += np.bincount(block.t.astype(np.int32), minlength=plan.close_bins + 2)


def update_variance(block: PathBlock) -> None:
    """12 Update the variance: h = ω + (α + γ·[n < 0])·n² + β·h, n the session's shock without the drift."""
    plan = block.plan
    if plan.constant_variance:
        return
    np.subtract(block.coordinate[WITHOUT], block.x_open, out=block.t)
    np.subtract(block.t, block.mean, out=block.t)
    weight = np.where(block.t < 0, np.float32(plan.alpha + plan.gamma), plan.alpha)
    np.multiply(block.t, block.t, out=block.t)
    np.multiply(block.t, weight, out=block.t)
    np.multiply(block.h, plan.beta, out=block.h)
    np.add(block.h, plan.omega, out=block.h)
    np.add(block.h, block.t, out=block.h)


def change_regimes(block: PathBlock) -> None:
    """13 Choose each path's next regime: a hand-over that is due, else the first listed trigger that holds."""
    plan = block.plan
    np.copyto(block.next_regime, block.regime)
    if plan.trigger.size == 1:
        return
    np.add(block.age, np.int32(1), out=block.age)
    free = np.ones(block.n, dtype=np.bool_)
    for r in map(int, np.flatnonzero(plan.lasts)):
        due = np.flatnonzero((block.regime == r) & (block.age == plan.lasts[r]))
        if due.size:
            bit = np.int32(1 << (int(plan.successor[r]) - 1))
            due = due[(block.visited[due] & bit) == 0]
            enter(block, due, int(plan.successor[r]), free)
    for r in range(1, plan.trigger.size):
        holds = trigger_holds(block, r)
        if holds is not None:
            holds &= free
            holds &= (block.visited & np.int32(1 << (r - 1))) == 0
            paths = np.flatnonzero(holds)
            if paths.size:
                paths = paths[plan.allowed_from[r][block.regime[paths]]]
                enter(block, paths, r, free)


def trigger_holds(block: PathBlock, r: int) -> NDArray[np.bool_] | None:
    """14 Test a regime's trigger for every path, (n,); None for one that is entered by hand-over only."""
    plan = block.plan
    trigger, level = plan.trigger[r], plan.trigger_level[r]
    if r in block.runs:
        run = block.runs[r]
        qualifies = block.s > level if trigger == CLOSES_ABOVE else block.s < level
        np.add(run, np.int32(1), out=run)
        np.multiply(run, qualifies, out=run, casting="unsafe")
        enough: NDArray[np.bool_] = run >= plan.trigger_closes[r]
        return enough
    if plan.trigger_rank[r] < 0:
        return None
    side = UP if trigger == TOUCHES_ABOVE else DOWN
    reached: NDArray[np.bool_] = block.rank[side] > plan.trigger_rank[r]
    return reached


def enter(block: PathBlock, paths: NDArray[np.intp], r: int, free: NDArray[np.bool_]) -> None:
    """15 Enter a regime: mark it visited, start its age, and spare the paths from further triggers this close."""
    block.next_regime[paths] = r
    block.visited[paths] |= np.int32(1 << (r - 1))
    block.age[paths] = 0
    free[paths] = False


def rebase(block: PathBlock, step: int, paths: NDArray[np.intp] | None) -> None:
    """16 Re-base the hedge of all paths, or of those given: y = Φ_new(s) and the distances that follow from it."""
    plan, y = block.plan, block.coordinate[WITH]
    table = block.tables[plan.rebase_table[step]]
    if paths is None:
        look_up(table, block.s, block.book if plan.books > 1 else None, y, block.look_up_work)
    else:
        hedged = np.empty(paths.size, dtype=np.float32)
        look_up(table, block.s[paths], block.book[paths], hedged, block.look_up_work.cut(paths.size))
        y[paths] = hedged
    if step + 1 == plan.steps:
        return
    which = slice(None) if paths is None else paths
    for side, sign in ((UP, np.float32(1)), (DOWN, np.float32(-1))):
        next_barrier = block.first_barrier[side] + block.book[which] * block.width + block.rank[side][which]
        block.next_barrier[side][which] = next_barrier
        distance = block.barrier_start[step + 1][next_barrier] - sign * y[which]
        block.distance[side][which] = np.maximum(distance, np.float32(0))
