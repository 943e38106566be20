// One step of a path: the fundamental moves, the market clears, levels are touched.
//
//     x1 = x + mean + sqrt(v)·z
//     y1 = y + (x1 − x) − fade·(s − x) + flow            fade and flow in trading steps only
//     s1 = Φ⁻¹(y1, t1)
//
// Random words per step: one normal (two words per pair); one more of the bridge's own purpose for the few paths whose
// known bits leave a touch open.
#pragma once

#include "bridge.cuh"
#include "path_state.cuh"
#include "philox.cuh"
#include "reaction.cuh"

// Mean and variance that the session's catalyst or jump adds to the gap, if there is one.
struct GapOutcome {
    bool present;
    float mean;
    float variance;
};

// A path at the end of a step, before touches are decided: the fundamental, y and the price, the distance to the next
// barrier on each world_side, the nearer world's on each side, and whether one may have been touched.
struct ProposedState {
    float x;
    float y;
    float s;
    float distance[WORLD_SIDES];
    float closest[2];
    bool near;
};

// The next barriers of a path with dealers at the end of a step, above and below.
struct Barriers {
    float above;
    float below;
};

// Which step of which path. `left`: steps left in the session, this one included. The step lies `offset` bytes after
// `base`, known at compile time on a GPU.
struct StepCursor {
    Word path_low;
    int session;
    int left;
    const Step* base;
    int offset;
};

// Number of a step in its session, the gap 0, and from the start.
DEVICE int number_in_session(const Plan& plan, const StepCursor& cursor) {
    return plan.steps_per_session - cursor.left;
}

DEVICE int number_of(const Plan& plan, const StepCursor& cursor) {
    return cursor.session * plan.steps_per_session + number_in_session(plan, cursor);
}

DEVICE const Step& step_at(const StepCursor& cursor) {
    return *reinterpret_cast<const Step*>(reinterpret_cast<const char*>(cursor.base) + cursor.offset);
}

// A step's shares, in one read on a GPU.
DEVICE Shares shares_of(const Step& step) {
#ifdef __CUDACC__
    const float4 shares = __ldg(reinterpret_cast<const float4*>(&step.shares));
    return {shares.x, shares.y, shares.z, shares.w};
#else
    return step.shares;
#endif
}

template <bool GAP>
DEVICE ProposedState advance(const StepCursor&, const PathState&, float, int, const GapOutcome&);
template <bool GAP>
DEVICE float move_fundamental(const Shares&, const PathState&, float, const GapOutcome&);
template <bool GAP>
DEVICE void clear_market(const SegmentTable&, const PathState&, float, ProposedState&);
template <bool GAP>
DEVICE void move_demand(float, const PathState&, float, ProposedState&);
DEVICE Barriers next_barriers(const StepCursor&, const PathState&);
template <bool GAP>
DEVICE void near_levels(const Barriers&, float, const PathState&, int, ProposedState&);
template <bool GAP>
DEVICE void touch_levels(const Plan&, const Draws&, const StepCursor&, int, PathState&, ProposedState&, const Tally&);
DEVICE void count_touches(const Plan&, const StepCursor&, int, int, const Tally&);
DEVICE void settle_first_targets(const Plan&, const StepCursor&, const float (&)[WORLD_SIDES], PathState&,
                                 const Tally&);

// Advance a path by one step; `z` is the step's normal, `known` its known bits of the bridge's U.
template <bool GAP>
DEVICE void take_step(const Plan& plan, const Draws& draws, const StepCursor& cursor, float z, int known,
                      const GapOutcome& outcome, PathState& path, const Tally& tally) {
    ProposedState proposed = advance<GAP>(cursor, path, z, known, outcome);
    if (proposed.near) touch_levels<GAP>(plan, draws, cursor, known, path, proposed, tally);
    path.x = proposed.x;
    path.y = proposed.y;
    path.s = proposed.s;
    UNROLL
    for (int side = UP; side <= DOWN; ++side) path.closest[side] = proposed.closest[side];
}

// The part of a step that every path goes through, without a branch.
template <bool GAP>
DEVICE ProposedState advance(const StepCursor& cursor, const PathState& path, float z, int known,
                             const GapOutcome& outcome) {
    ProposedState proposed;
    const Step& step = step_at(cursor);
    const Shares shares = shares_of(step);
    const float move = move_fundamental<GAP>(shares, path, z, outcome);
    clear_market<GAP>(head_of(step.table), path, move, proposed);
    near_levels<GAP>(next_barriers(cursor, path), shares.bound, path, known, proposed);
    return proposed;
}

// 3 Move the fundamental by mean + sqrt(v)·z.
template <bool GAP>
DEVICE float move_fundamental(const Shares& shares, const PathState& path, float z, const GapOutcome& outcome) {
    float move;
    if (GAP && outcome.present) {
        move = square_root(path.scaled_variance * shares.variance + outcome.variance) * z + outcome.mean;
    } else {
        move = path.volatility * shares.root * z;
    }
    return move + path.mean * shares.variance;
}

// 4 Clear the market: y1 from the move, the fading impact and the regime's flow; s1 from the map.
template <bool GAP>
DEVICE void clear_market(const SegmentTable& table, const PathState& path, float move, ProposedState& proposed) {
    move_demand<GAP>(table.fade, path, move, proposed);
    proposed.s = look_up(table, proposed.y, path.book);
}

// The fundamental and y at the end of the step.
template <bool GAP>
DEVICE void move_demand(float fade, const PathState& path, float move, ProposedState& proposed) {
    proposed.x = path.x + move;
    proposed.y = path.y + move;
    if (!GAP) {
        proposed.y = proposed.y - (path.s - path.x) * fade;
        proposed.y = proposed.y + path.flow;
    }
}

DEVICE Barriers next_barriers(const StepCursor& cursor, const PathState& path) {
    const float* above = &barrier_at_end(*cursor.base, path.next_barrier[UP]);
    const float* below = &barrier_at_end(*cursor.base, path.next_barrier[DOWN]);
    const int skipped = cursor.offset / static_cast<int>(sizeof(float));
    return {above[skipped], below[skipped]};
}

// 5 Find whether a next level may have been touched: the product of the distances at both ends, of the
// nearer world each time, is within bound of the largest exponential.
template <bool GAP>
DEVICE void near_levels(const Barriers& next, float bound_share, const PathState& path, int known,
                        ProposedState& proposed) {
    proposed.distance[UP] = next.above - proposed.y;
    proposed.distance[DOWN] = next.below + proposed.y;
    proposed.distance[2 + UP] = path.control_barrier[UP] - proposed.x;
    proposed.distance[2 + DOWN] = path.control_barrier[DOWN] + proposed.x;
    proposed.closest[UP] = smaller(proposed.distance[UP], proposed.distance[2 + UP]);
    proposed.closest[DOWN] = smaller(proposed.distance[DOWN], proposed.distance[2 + DOWN]);
    if constexpr (GAP) {
        proposed.near = smaller(proposed.closest[UP], proposed.closest[DOWN]) <= 0.0f;
    } else {
        const float unit = path.scaled_variance * bound_share;
        const float bits = static_cast<float>(known);
        const float bound_above = unit * most_units(bits);
        const float bound_below = unit * most_units(static_cast<float>(KNOWN_MASK) - bits);
        const bool near_above = path.closest[UP] * proposed.closest[UP] < bound_above;
        const bool near_below = path.closest[DOWN] * proposed.closest[DOWN] < bound_below;
        proposed.near = near_above | near_below;
    }
}

// 6 Decide the touches of a path near a level, count them, and settle first targets. One exponential serves both
// world_sides of a side; it is drawn only if its bounds leave a touch open.
template <bool GAP>
DEVICE void touch_levels(const Plan& plan, const Draws& draws, const StepCursor& cursor, int known, PathState& path,
                         ProposedState& proposed, const Tally& tally) {
    const float variance = path.scaled_variance * step_at(cursor).shares.variance;
    float low[2] = {0.0f, 0.0f};
    float high[2] = {0.0f, 0.0f};
    UNROLL
    for (int side = UP; side <= DOWN && !GAP; ++side) {
        const float bits = static_cast<float>(side == UP ? known : KNOWN_MASK - known);
        low[side] = variance * (BRIDGE_UNIT * least_units(bits));
        high[side] = variance * (BRIDGE_UNIT * most_units(bits));
    }
    float starts[WORLD_SIDES];
    UNROLL
    for (int world_side = 0; world_side < WORLD_SIDES; ++world_side) {
        starts[world_side] = distance_at_start(plan, step_at(cursor), path, world_side);
    }
    float to_target[WORLD_SIDES] = {NO_LEVEL, NO_LEVEL, NO_LEVEL, NO_LEVEL};
    bool open;
    do {
        open = false;
        UNROLL
        for (int world_side = 0; world_side < WORLD_SIDES; ++world_side) {
            const int side = world_side & 1;
            float start = starts[world_side];
            float end = proposed.distance[world_side];
            while (touched<GAP>(start, end, low[side])) {
                const int rank = rank_of(plan, path, world_side);
                count_touches(plan, cursor, world_side, rank, tally);
                if (rank == (side == UP ? plan.target_above : plan.target_below)) to_target[world_side] = start;
                const int barrier = ++path.next_barrier[world_side];
                if (world_side < 2) {
                    end = barrier_at_end(step_at(cursor), barrier) - sign_of(side) * proposed.y;
                    start = barrier_at_start(plan, step_at(cursor), barrier) - sign_of(side) * path.y;
                } else {
                    path.control_barrier[side] = plan.level[barrier];
                    end = path.control_barrier[side] - sign_of(side) * proposed.x;
                    start = path.control_barrier[side] - sign_of(side) * path.x;
                }
            }
            starts[world_side] = start;
            proposed.distance[world_side] = end;
            open = open || (!GAP && start * end < high[side]);
        }
        if (open) {
            const Word address = address_of(cursor.session, number_in_session(plan, cursor));
            const Words words = path_words(draws, cursor.path_low, address, PURPOSE_BRIDGE);
            const Word word = bridge_word(known, words.a);
            low[UP] = high[UP] = half_exponential(word) * variance;
            low[DOWN] = high[DOWN] = half_exponential(~word) * variance;
        }
    } while (open);
    proposed.closest[UP] = smaller(proposed.distance[UP], proposed.distance[2 + UP]);
    proposed.closest[DOWN] = smaller(proposed.distance[DOWN], proposed.distance[2 + DOWN]);
    settle_first_targets(plan, cursor, to_target, path, tally);
}

// 7 Count a touch of the level of a rank.
DEVICE void count_touches(const Plan& plan, const StepCursor& cursor, int world_side, int rank, const Tally& tally) {
    add_one(tally, plan.touch_tally + (number_of(plan, cursor) * WORLD_SIDES + world_side) * plan.width + rank);
}

// 8 Settle the first target of a path that touched one: with both, the one nearer at the step's start. `to_target` is
// the distance at the step's start of each world_side's target if it was touched now, else infinite.
DEVICE void settle_first_targets(const Plan& plan, const StepCursor& cursor, const float (&to_target)[WORLD_SIDES],
                                 PathState& path, const Tally& tally) {
    UNROLL
    for (int world = WITH; world <= WITHOUT; ++world) {
        const float upper = to_target[2 * world + UP];
        const float lower = to_target[2 * world + DOWN];
        const bool open = (path.first >> RECORD_FIRST_BITS * world & FIRST_MASK) == NEITHER;
        if (open && smaller(upper, lower) < NO_LEVEL) {
            const int side = upper <= lower ? UP : DOWN;
            path.first |= (side == UP ? UPPER : LOWER) << RECORD_FIRST_BITS * world;
            add_one(tally, plan.first_tally + number_of(plan, cursor) * WORLD_SIDES + 2 * world + side);
        }
    }
}
