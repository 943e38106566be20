"""One step of a block of paths: the fundamental moves, the market clears, levels are touched.

    x1 = x + mean + sqrt(v)·z
    y1 = y + (x1 − x) − fade·(s − x) + flow            fade and flow in trading steps only
    s1 = Φ⁻¹(y1, t1)

Random words per step: one normal (two words per pair); one more of the bridge's own purpose for the paths that come
near an untouched level.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.compiled.kernel_constants import (
    CALLS_PER_SESSION,
    DOWN,
    LOWER,
    NEITHER,
    PURPOSE_BRIDGE,
    UP,
    UPPER,
    WITH,
    WITHOUT,
    WORLD_SIDES,
)
from sim.kernels_numpy.bridge import (
    BRIDGE_BOUND,
    bridge_word,
    half_exponential,
    known_bits,
    largest_bounds,
    touched,
)
from sim.kernels_numpy.normal import Float32Array
from sim.kernels_numpy.path_state import PathBlock
from sim.kernels_numpy.reaction import look_up

IndexArray = NDArray[np.intp]
# Outward direction of each side.
SIGN = np.array([1, -1], dtype=np.float32)
SIGN.flags.writeable = False
LARGEST_BOUNDS = largest_bounds()


def take_step(block: PathBlock, step: int) -> None:
    """Advance every path of a block by one step; `step` counts from the start, gaps included."""
    k = step % block.plan.steps_per_session
    move_fundamental(block, k)
    clear_market(block, step, k)
    near = near_levels(block, step, k)
    if near.size:
        touch_levels(block, step, k, near)
    block.distance, block.distance_end = block.distance_end, block.distance
    block.coordinate, block.coordinate_end = block.coordinate_end, block.coordinate


def move_fundamental(block: PathBlock, k: int) -> None:
    """3 Move the fundamental by `move` = mean + sqrt(v)·z; `t` keeps the impact s − x that fades in this step."""
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
        np.subtract(block.s, block.coordinate[WITHOUT], out=block.t)
    np.add(block.coordinate[WITHOUT], block.move, out=block.coordinate_end[WITHOUT])


def clear_market(block: PathBlock, step: int, k: int) -> None:
    """4 Clear the market: y1 from the move, the fading impact and the regime's flow; s1 from the map."""
    plan, y = block.plan, block.coordinate_end[WITH]
    np.add(block.coordinate[WITH], block.move, out=y)
    if k > 0 and plan.fade > 0:
        np.multiply(block.t, plan.fade, out=block.t)
        np.subtract(y, block.t, out=y)
    if k > 0 and block.any_flow:
        np.add(y, block.flow, out=y)
    if plan.identity_map:
        np.copyto(block.s, y)
    else:
        book = block.book if plan.books > 1 else None
        look_up(block.tables[plan.step_table[step]], y, book, block.s, block.look_up_work)


def near_levels(block: PathBlock, step: int, k: int) -> IndexArray:
    """5 Find the paths that may have touched their next level: d0·d1 within bound of the largest exponential that
    the bits known of it allow.
    """
    barriers, ends = block.barrier_end[step], block.distance_end
    np.take(barriers, block.next_barrier[:2], out=ends[:2], mode="clip")
    for first, offer in ((0, ends), (2, block.control_barrier)):
        coordinate = block.coordinate_end[first // 2]
        source = offer[:2]
        np.subtract(source[UP], coordinate, out=ends[first + UP])
        np.add(source[DOWN], coordinate, out=ends[first + DOWN])
    near = block.mask
    if k == 0:
        closest = np.minimum(ends[0], ends[1], out=block.t)
        np.minimum(closest, ends[2], out=closest)
        np.minimum(closest, ends[3], out=closest)
        np.less_equal(closest, np.float32(0), out=near)
        return np.flatnonzero(near)
    share = block.plan.share[k]
    by_side, work = block.scratch[:2], block.scratch[2]
    for side in (UP, DOWN):
        np.multiply(block.distance[side], ends[side], out=by_side[side])
        np.multiply(block.distance[side + 2], ends[side + 2], out=work)
        np.minimum(by_side[side], work, out=by_side[side])
    closest = np.minimum(by_side[UP], by_side[DOWN], out=work)
    gate = np.multiply(block.scaled_variance, np.float32(share * np.float32(BRIDGE_BOUND)), out=block.t)
    np.less(closest, gate, out=near)
    # Most paths are out of any bound; the bits known beforehand bring in few of the others.
    candidates = np.flatnonzero(near)
    variance = np.take(block.scaled_variance, candidates) * share
    known = known_bits(np.take(block.spare[k // 2], candidates), k)
    gates = np.take(LARGEST_BOUNDS, known, axis=1) * variance
    within = np.take(by_side, candidates, axis=1) < gates
    within_either: IndexArray = candidates[within[UP] | within[DOWN]]
    return within_either


def touch_levels(block: PathBlock, step: int, k: int, near: IndexArray) -> None:
    """6 Decide the touches of the paths near a level, count them, and settle first targets.

    One exponential serves all world_sides of a side, with dealers and without; one word serves both sides.
    """
    plan, m, n = block.plan, near.size, block.n
    start = np.take(block.distance, near, axis=1)
    end = np.take(block.distance_end, near, axis=1)
    bound = None
    if k > 0:
        words = np.empty((4, m), dtype=np.uint32)
        call = (step // plan.steps_per_session) * CALLS_PER_SESSION + k
        block.words.draw(block.path_low[near], block.path_high, call, PURPOSE_BRIDGE, words)
        variance = block.scaled_variance[near] * plan.share[k]
        bound = np.empty((WORLD_SIDES, m), dtype=np.float32)
        word = bridge_word(known_bits(block.spare[k // 2][near], k), words[0])
        bound[:2] = half_exponential(np.concatenate((word, ~word))).reshape(2, m) * variance
        bound[2:] = bound[:2]
    # An event is a touch, by its index in a (world_side, near path) array; several levels may be touched in one step.
    event = np.flatnonzero(touched(start, end, bound))
    if not event.size:
        return
    start_now = start.reshape(-1)[event]
    ranks, next_barriers, ends = (
        block.rank.reshape(-1),
        block.next_barrier.reshape(-1),
        block.distance_end.reshape(-1),
    )
    coordinates, coordinates_end = block.coordinate.reshape(-1), block.coordinate_end.reshape(-1)
    touches, targets, distances = [], [], []
    while event.size:
        world_side = event // m
        path = near[event - world_side * m]
        flat = world_side * n + path
        sides = world_side & 1
        rank = ranks[flat]
        touches.append(world_side * block.width + rank)
        at_target = rank == plan.target_rank[sides]
        targets.append(event[at_target])
        distances.append(start_now[at_target])
        next_barrier = next_barriers[flat] + 1
        ranks[flat] = rank + np.int32(1)
        next_barriers[flat] = next_barrier
        moving = (world_side >> 1) * n + path
        sign = SIGN[sides]
        barrier = block.barrier_end[step][next_barrier]
        end_now = barrier - sign * coordinates_end[moving]
        start_now = block.barrier_start[step][next_barrier] - sign * coordinates[moving]
        ends[flat] = end_now
        control = world_side >= 2
        block.control_barrier.reshape(-1)[(flat - 2 * n)[control]] = barrier[control]
        again = touched(start_now, end_now, None if bound is None else bound.reshape(-1)[event])
        event, start_now = event[again], start_now[again]
    count_touches(block, step, np.concatenate(touches))
    event = np.concatenate(targets)
    if event.size:
        settle_first_targets(block, step, near, event, np.concatenate(distances))


def count_touches(block: PathBlock, step: int, touches: IndexArray) -> None:
    """7 Count touches, each world_side·W + rank, into the outcomes' order: levels ascending."""
    above, below = (int(count) for count in block.plan.level_count)
    tally = np.bincount(touches, minlength=WORLD_SIDES * block.width).reshape(2, 2, block.width)
    counts = block.outcomes.touch[:, :, step]
    counts[:, below:] += tally[:, UP, :above]
    counts[:, :below] += tally[:, DOWN, :below][:, ::-1]


def settle_first_targets(
    block: PathBlock, step: int, near: IndexArray, event: IndexArray, distance: Float32Array
) -> None:
    """8 Settle the first target of the paths that touched one: with both, the one nearer at the step's start.

    Parameters
    ----------
    near : (m,) the paths near a level.
    event : (k,) targets touched now, each world_side·m + index in `near`.
    distance : (k,) from the path to the target at the step's start.
    """
    m = near.size
    to_target = np.full(WORLD_SIDES * m, np.inf, dtype=np.float32)
    to_target[event] = distance
    world_side = event // m
    world, side, path = world_side >> 1, world_side & 1, near[event - world_side * m]
    opposite = to_target[event + m * (1 - 2 * side)]
    # Of two as near the upper one counts.
    first = (distance < opposite) | ((distance == opposite) & (side == UP))
    first &= block.first[world, path] == NEITHER
    world_side = world_side[first]
    block.first[world[first], path[first]] = np.where(side[first] == UP, np.int8(UPPER), np.int8(LOWER))
    block.outcomes.first[:, :, step] += np.bincount(world_side, minlength=WORLD_SIDES).reshape(2, 2)
