"""One step of a block of paths: the fundamental moves, the market clears, levels are touched.

    x1 = x + mean + sqrt(v)·z
    y1 = y + (x1 − x) − fade·(s − x) + flow            fade and flow in trading steps only
    s1 = Φ⁻¹(y1, t1)

Random words a step: one normal (two words a pair); two more of the bridge's own purpose for the paths that come
near an untouched level.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.kernel_constants import BRIDGE_REACH, CALLS_PER_SESSION, PURPOSE_BRIDGE
from sim.kernels_numpy.bridge import half_exponential, touched
from sim.kernels_numpy.normal import Float32Array
from sim.kernels_numpy.path_state import DOWN, UP, PathBlock
from sim.kernels_numpy.reaction import look_up
from sim.outcomes import LOWER, NEITHER, UPPER, WITH, WITHOUT, IntArray
from sim.plan import EnginePlan, Int32Array

IndexArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]


def take_step(block: PathBlock, step: int) -> None:
    """Advance every path of a block by one step; `step` counts from the start, gaps included."""
    plan = block.plan
    k = step % plan.steps_per_session
    move_fundamental(block, k)
    clear_market(block, step)
    near = near_levels(block, step)
    if near.size:
        touch_levels(block, step, near)
    for world in block.worlds:
        world.distance, world.distance_end = world.distance_end, world.distance
    block.x, block.x_end = block.x_end, block.x
    block.y, block.y_end = block.y_end, block.y


def move_fundamental(block: PathBlock, k: int) -> None:
    """1 Move the fundamental by `move` = mean + sqrt(v)·z; `t` keeps the impact s − x that fades in this step."""
    plan, z = block.plan, block.normals[k]
    if k == 0 and block.gap_outcome is not None:
        mean, variance = block.gap_outcome
        np.multiply(block.scaled_variance, plan.share[0], out=block.move)
        np.add(block.move, variance, out=block.move)
        np.sqrt(block.move, out=block.move)
        np.multiply(block.move, z, out=block.move)
        np.add(block.move, mean, out=block.move)
    else:
        np.multiply(block.volatility, plan.root_share[k], out=block.move)
        np.multiply(block.move, z, out=block.move)
    np.multiply(block.mean, plan.share[k], out=block.t)
    np.add(block.move, block.t, out=block.move)
    if k > 0 and plan.fade > 0:
        np.subtract(block.s, block.x, out=block.t)
    np.add(block.x, block.move, out=block.x_end)


def clear_market(block: PathBlock, step: int) -> None:
    """2 Clear the market: y1 from the move, the fading impact and the regime's flow; s1 from the map."""
    plan = block.plan
    trading = step % plan.steps_per_session > 0
    np.add(block.y, block.move, out=block.y_end)
    if trading and plan.fade > 0:
        np.multiply(block.t, plan.fade, out=block.t)
        np.subtract(block.y_end, block.t, out=block.y_end)
    if trading and block.any_flow:
        np.add(block.y_end, block.flow, out=block.y_end)
    if plan.identity_map:
        np.copyto(block.s, block.y_end)
    else:
        book = block.book if plan.books > 1 else None
        look_up(block.tables[plan.step_table[step]], block.y_end, book, block.s, block.look_up_work)


def near_levels(block: PathBlock, step: int) -> IndexArray:
    """3 Find the paths that may have touched their next level: d0·d1 within reach of the largest exponential."""
    plan = block.plan
    k = step % plan.steps_per_session
    np.multiply(block.scaled_variance, np.float32(plan.share[k] * np.float32(BRIDGE_REACH)), out=block.gate)
    near, mask = block.masks
    near.fill(False)
    for which, world in enumerate(block.worlds):
        place = block.y_end if which == WITH else block.x_end
        for side in (UP, DOWN):
            barrier = block.barriers[which][side]
            if which == WITH:
                table = (plan.above_end, plan.below_end)[side][step]
                np.take(table.reshape(-1), block.codes[side], out=barrier, mode="clip")
            end = world.distance_end[side]
            if side == UP:
                np.subtract(barrier, place, out=end)
            else:
                np.subtract(place, barrier, out=end)
            if k == 0:
                np.less_equal(end, np.float32(0), out=mask)
            else:
                np.multiply(world.distance[side], end, out=block.t)
                np.less(block.t, block.gate, out=mask)
            np.logical_or(near, mask, out=near)
    return np.flatnonzero(near)


def touch_levels(block: PathBlock, step: int, near: IndexArray) -> None:
    """4 Decide the touches of the paths near a level, count them, and settle first targets."""
    plan = block.plan
    k = step % plan.steps_per_session
    reach: list[Float32Array | None] = [None, None]
    if k > 0:
        words = np.empty((4, near.size), dtype=np.uint32)
        call = (step // plan.steps_per_session) * CALLS_PER_SESSION + k
        block.words.draw(block.path_low[near], block.path_high, call, PURPOSE_BRIDGE, words)
        variance = block.scaled_variance[near] * plan.share[k]
        reach = [variance * half_exponential(words[side]) for side in (UP, DOWN)]
    for which in (WITH, WITHOUT):
        targets = [touch_side(block, step, near, which, side, reach[side]) for side in (UP, DOWN)]
        hit = targets[UP][0] | targets[DOWN][0]
        if hit.any():
            settle_first_target(block, step, which, near, hit, targets)


def touch_side(
    block: PathBlock, step: int, near: IndexArray, which: int, side: int, reach: Float32Array | None
) -> tuple[BoolArray, Float32Array]:
    """Touches of one world's levels on one side by the paths `near`.

    Returns
    -------
    hit : (m,) bool, whether the target on this side was touched in this step.
    distance : (m,) float32 from the path to that target at the step's start, right where `hit`.
    """
    plan, world = block.plan, block.worlds[which]
    target = plan.upper_rank if side == UP else plan.lower_rank
    hit = np.zeros(near.size, dtype=np.bool_)
    to_target = np.zeros(near.size, dtype=np.float32)
    start = world.distance[side][near]
    end = world.distance_end[side][near]
    now = np.flatnonzero(touched(start, end, reach))
    if not now.size:
        return hit, to_target
    paths = near[now]
    rank = world.rank[side][paths]
    start, end = start[now], end[now]
    counts = block.outcomes.touch[which, :, step]
    advanced, final_rank, final_end = [], [], []
    while now.size:
        count_levels(plan, side, rank, counts)
        reached = rank == target
        hit[now[reached]] = True
        to_target[now[reached]] = start[reached]
        rank = rank + np.int32(1)
        start, end, barrier = next_distances(block, step, which, side, paths, rank)
        again = touched(start, end, reach[now] if reach is not None else None)
        done = ~again
        advanced.append(paths[done])
        final_rank.append(rank[done])
        final_end.append((end[done], barrier[done]))
        now, paths, rank, start, end = now[again], paths[again], rank[again], start[again], end[again]
    moved = np.concatenate(advanced)
    world.rank[side][moved] = np.concatenate(final_rank)
    world.distance_end[side][moved] = np.concatenate([e for e, _ in final_end])
    if which == WITH:
        width = (plan.above_end, plan.below_end)[side].shape[2]
        block.codes[side][moved] = block.book[moved] * np.int32(width) + world.rank[side][moved]
    else:
        block.barriers[which][side][moved] = np.concatenate([b for _, b in final_end])
    return hit, to_target


def next_distances(
    block: PathBlock, step: int, which: int, side: int, paths: IndexArray, rank: Int32Array
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Distances to the levels of given ranks at both ends of a step, and the barrier at its end."""
    plan = block.plan
    if which == WITH:
        starts, ends = ((plan.above_start, plan.above_end), (plan.below_start, plan.below_end))[side]
        book = block.book[paths]
        first, last = starts[step][book, rank], ends[step][book, rank]
        place_start, place_end = block.y[paths], block.y_end[paths]
    else:
        first = last = (plan.level_above, plan.level_below)[side][rank]
        place_start, place_end = block.x[paths], block.x_end[paths]
    if side == UP:
        return first - place_start, last - place_end, last
    return place_start - first, place_end - last, last


def count_levels(plan: EnginePlan, side: int, rank: Int32Array, counts: IntArray) -> None:
    """Add touches by place on a side to the counts by place in the ladder."""
    below = plan.level_below.size - 1
    if side == UP:
        tally = np.bincount(rank, minlength=plan.level_above.size)[:-1]
        counts[below:] += tally
    else:
        tally = np.bincount(rank, minlength=plan.level_below.size)[:-1]
        counts[:below] += tally[::-1]


def settle_first_target(
    block: PathBlock,
    step: int,
    which: int,
    near: IndexArray,
    hit: BoolArray,
    targets: list[tuple[BoolArray, Float32Array]],
) -> None:
    """First target of the paths that hit one in this step: with both, the one nearer at the step's start."""
    first = block.worlds[which].first
    rows = np.flatnonzero(hit)
    rows = rows[first[near[rows]] == NEITHER]
    (hit_up, to_upper), (hit_down, to_lower) = targets
    upper = hit_up[rows] & (~hit_down[rows] | (to_upper[rows] <= to_lower[rows]))
    first[near[rows]] = np.where(upper, np.int8(UPPER), np.int8(LOWER))
    uppers = int(np.count_nonzero(upper))
    block.outcomes.first[which, 0, step] += uppers
    block.outcomes.first[which, 1, step] += rows.size - uppers
