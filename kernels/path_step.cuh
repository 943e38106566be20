// One step of a path: the fundamental moves, the market clears, levels are touched.
//
//     x1 = x + mean + sqrt(v)·z
//     y1 = y + (x1 − x) − fade·(s − x) + flow            fade and flow in trading steps only
//     s1 = Φ⁻¹(y1, t1)
//
// Random words a step: one normal (two words a pair); one more of the bridge's own purpose for the few paths whose
// known bits leave a touch open.
#pragma once

#include "bridge.cuh"
#include "path_state.cuh"
#include "philox.cuh"
#include "reaction.cuh"

// What the session's catalyst or jump adds to the gap.
struct GapOutcome {
    bool present;
    float mean;
    float variance;
};

// Where a path stands at the end of a step, before touches are decided: the fundamental, y and the price, the
// distance to the next barrier of each ladder, the nearer world's, and whether one may have been touched.
struct Ahead {
    float x;
    float y;
    float s;
    float distance[LADDERS];
    float closest[2];
    bool near;
};

// The next barriers of a path with dealers at the end of a step, above and below.
struct Barriers {
    float above;
    float below;
};

// Which step of which path: so many are left in the session, this one included. It lies `ahead` bytes, known at compile
// time on a GPU, behind `base`.
struct Moment {
    Word path_low;
    int session;
    int left;
    const Step* base;
    int ahead;
};

// Number of a step in its session, the gap 0, and from the start.
DEVICE int number_in_session(const Plan& plan, const Moment& moment) { return plan.steps_per_session - moment.left; }

DEVICE int number_of(const Plan& plan, const Moment& moment) {
    return moment.session * plan.steps_per_session + number_in_session(plan, moment);
}

DEVICE const Step& step_at(const Moment& moment) {
    return *reinterpret_cast<const Step*>(reinterpret_cast<const char*>(moment.base) + moment.ahead);
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
DEVICE Ahead advance(const Moment&, const PathState&, float, int, const GapOutcome&);
template <bool GAP>
DEVICE float move_fundamental(const Shares&, const PathState&, float, const GapOutcome&);
template <bool GAP>
DEVICE void clear_market(const LineTable&, const PathState&, float, Ahead&);
template <bool GAP>
DEVICE void move_demand(float, const PathState&, float, Ahead&);
DEVICE Barriers next_barriers(const Moment&, const PathState&);
template <bool GAP>
DEVICE void near_levels(const Barriers&, float, const PathState&, int, Ahead&);
template <bool GAP>
DEVICE void touch_levels(const Plan&, const Draws&, const Moment&, int, PathState&, Ahead&, const Tally&);
DEVICE void count_touches(const Plan&, const Moment&, int, int, const Tally&);
DEVICE void settle_first_targets(const Plan&, const Moment&, const float (&)[LADDERS], PathState&, const Tally&);

// Advance a path by one step; `z` is the step's normal, `known` its known bits of the bridge's U.
template <bool GAP>
DEVICE void take_step(const Plan& plan, const Draws& draws, const Moment& moment, float z, int known,
                      const GapOutcome& outcome, PathState& path, const Tally& tally) {
    Ahead ahead = advance<GAP>(moment, path, z, known, outcome);
    if (ahead.near) touch_levels<GAP>(plan, draws, moment, known, path, ahead, tally);
    path.x = ahead.x;
    path.y = ahead.y;
    path.s = ahead.s;
    UNROLL
    for (int side = UP; side <= DOWN; ++side) path.closest[side] = ahead.closest[side];
}

// What every path does in a step, without a branch.
template <bool GAP>
DEVICE Ahead advance(const Moment& moment, const PathState& path, float z, int known, const GapOutcome& outcome) {
    Ahead ahead;
    const Step& step = step_at(moment);
    const Shares shares = shares_of(step);
    const float move = move_fundamental<GAP>(shares, path, z, outcome);
    clear_market<GAP>(head_of(step.table), path, move, ahead);
    near_levels<GAP>(next_barriers(moment, path), shares.reach, path, known, ahead);
    return ahead;
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
DEVICE void clear_market(const LineTable& table, const PathState& path, float move, Ahead& ahead) {
    move_demand<GAP>(table.fade, path, move, ahead);
    ahead.s = look_up(table, ahead.y, path.book);
}

// The fundamental and y at the end of the step.
template <bool GAP>
DEVICE void move_demand(float fade, const PathState& path, float move, Ahead& ahead) {
    ahead.x = path.x + move;
    ahead.y = path.y + move;
    if (!GAP) {
        ahead.y = ahead.y - (path.s - path.x) * fade;
        ahead.y = ahead.y + path.flow;
    }
}

DEVICE Barriers next_barriers(const Moment& moment, const PathState& path) {
    const float* above = &barrier_at_end(*moment.base, path.place[UP]);
    const float* below = &barrier_at_end(*moment.base, path.place[DOWN]);
    const int skipped = moment.ahead / static_cast<int>(sizeof(float));
    return {above[skipped], below[skipped]};
}

// 5 Find whether a next level may have been touched: the product of the distances at both ends, of the
// nearer world each time, is within reach of the largest exponential.
template <bool GAP>
DEVICE void near_levels(const Barriers& next, float reach_share, const PathState& path, int known, Ahead& ahead) {
    ahead.distance[UP] = next.above - ahead.y;
    ahead.distance[DOWN] = next.below + ahead.y;
    ahead.distance[2 + UP] = path.twin_barrier[UP] - ahead.x;
    ahead.distance[2 + DOWN] = path.twin_barrier[DOWN] + ahead.x;
    ahead.closest[UP] = smaller(ahead.distance[UP], ahead.distance[2 + UP]);
    ahead.closest[DOWN] = smaller(ahead.distance[DOWN], ahead.distance[2 + DOWN]);
    if constexpr (GAP) {
        ahead.near = smaller(ahead.closest[UP], ahead.closest[DOWN]) <= 0.0f;
    } else {
        const float unit = path.scaled_variance * reach_share;
        const float bits = static_cast<float>(known);
        const float reach_above = unit * most_units(bits);
        const float reach_below = unit * most_units(static_cast<float>(KNOWN_MASK) - bits);
        const bool near_above = path.closest[UP] * ahead.closest[UP] < reach_above;
        const bool near_below = path.closest[DOWN] * ahead.closest[DOWN] < reach_below;
        ahead.near = near_above | near_below;
    }
}

// 6 Decide the touches of a path near a level, count them, and settle first targets. One exponential serves both
// ladders of a side; it is drawn only if its bounds leave a touch open.
template <bool GAP>
DEVICE void touch_levels(const Plan& plan, const Draws& draws, const Moment& moment, int known, PathState& path,
                         Ahead& ahead, const Tally& tally) {
    const float variance = path.scaled_variance * step_at(moment).shares.variance;
    float low[2] = {0.0f, 0.0f};
    float high[2] = {0.0f, 0.0f};
    UNROLL
    for (int side = UP; side <= DOWN && !GAP; ++side) {
        const float bits = static_cast<float>(side == UP ? known : KNOWN_MASK - known);
        low[side] = variance * (BRIDGE_UNIT * least_units(bits));
        high[side] = variance * (BRIDGE_UNIT * most_units(bits));
    }
    float starts[LADDERS];
    UNROLL
    for (int ladder = 0; ladder < LADDERS; ++ladder) {
        starts[ladder] = distance_at_start(plan, step_at(moment), path, ladder);
    }
    float to_target[LADDERS] = {NO_LEVEL, NO_LEVEL, NO_LEVEL, NO_LEVEL};
    bool open;
    do {
        open = false;
        UNROLL
        for (int ladder = 0; ladder < LADDERS; ++ladder) {
            const int side = ladder & 1;
            float start = starts[ladder];
            float end = ahead.distance[ladder];
            while (touched<GAP>(start, end, low[side])) {
                const int rank = rank_of(plan, path, ladder);
                count_touches(plan, moment, ladder, rank, tally);
                if (rank == (side == UP ? plan.target_above : plan.target_below)) to_target[ladder] = start;
                const int place = ++path.place[ladder];
                if (ladder < 2) {
                    end = barrier_at_end(step_at(moment), place) - sign_of(side) * ahead.y;
                    start = barrier_at_start(plan, step_at(moment), place) - sign_of(side) * path.y;
                } else {
                    path.twin_barrier[side] = plan.level[place];
                    end = path.twin_barrier[side] - sign_of(side) * ahead.x;
                    start = path.twin_barrier[side] - sign_of(side) * path.x;
                }
            }
            starts[ladder] = start;
            ahead.distance[ladder] = end;
            open = open || (!GAP && start * end < high[side]);
        }
        if (open) {
            const Word address = address_of(moment.session, number_in_session(plan, moment));
            const Words words = path_words(draws, moment.path_low, address, PURPOSE_BRIDGE);
            const Word word = bridge_word(known, words.a);
            low[UP] = high[UP] = half_exponential(word) * variance;
            low[DOWN] = high[DOWN] = half_exponential(~word) * variance;
        }
    } while (open);
    ahead.closest[UP] = smaller(ahead.distance[UP], ahead.distance[2 + UP]);
    ahead.closest[DOWN] = smaller(ahead.distance[DOWN], ahead.distance[2 + DOWN]);
    settle_first_targets(plan, moment, to_target, path, tally);
}

// 7 Count a touch of the level of a rank.
DEVICE void count_touches(const Plan& plan, const Moment& moment, int ladder, int rank, const Tally& tally) {
    add_one(tally, plan.touch_tally + (number_of(plan, moment) * LADDERS + ladder) * plan.width + rank);
}

// 8 Settle the first target of a path that touched one: with both, the one nearer at the step's start. `to_target` is
// the distance at the step's start of each ladder's target if it was touched now, else infinite.
DEVICE void settle_first_targets(const Plan& plan, const Moment& moment, const float (&to_target)[LADDERS],
                                 PathState& path, const Tally& tally) {
    UNROLL
    for (int world = WITH; world <= WITHOUT; ++world) {
        const float upper = to_target[2 * world + UP];
        const float lower = to_target[2 * world + DOWN];
        const bool open = (path.first >> 2 * world & 3) == NEITHER;
        if (open && smaller(upper, lower) < NO_LEVEL) {
            const int side = upper <= lower ? UP : DOWN;
            path.first |= (side == UP ? UPPER : LOWER) << 2 * world;
            add_one(tally, plan.first_tally + number_of(plan, moment) * LADDERS + 2 * world + side);
        }
    }
}
