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
// distance to the next barrier of each ladder, and whether one of them may have been touched.
struct Ahead {
    float x;
    float y;
    float s;
    float distance[LADDERS];
    bool near;
};

// Which step of which path; the step has number k in its session, the gap 0.
struct Moment {
    Word path_low;
    int session;
    int k;
    const Step* step;
};

template <bool GAP>
DEVICE Ahead advance(const Step&, const PathState&, float, int, const GapOutcome&);
template <bool GAP>
DEVICE float move_fundamental(const Step&, const PathState&, float, const GapOutcome&);
template <bool GAP>
DEVICE void clear_market(const Step&, const PathState&, float, Ahead&);
template <bool GAP>
DEVICE void near_levels(const Step&, const PathState&, int, Ahead&);
template <bool GAP>
DEVICE void touch_levels(const Plan&, const Draws&, const Moment&, int, PathState&, Ahead&, const Tally&);
DEVICE void count_touches(const Plan&, const Moment&, int, int, const Tally&);
DEVICE void settle_first_targets(const Plan&, const Moment&, const float (&)[LADDERS], PathState&, const Tally&);

// Advance a path by one step; `z` is the step's normal, `known` its known bits of the bridge's U.
template <bool GAP>
DEVICE void take_step(const Plan& plan, const Draws& draws, const Moment& moment, float z, int known,
                      const GapOutcome& outcome, PathState& path, const Tally& tally) {
    Ahead ahead = advance<GAP>(*moment.step, path, z, known, outcome);
    if (ahead.near) touch_levels<GAP>(plan, draws, moment, known, path, ahead, tally);
    path.x = ahead.x;
    path.y = ahead.y;
    path.s = ahead.s;
    UNROLL
    for (int ladder = 0; ladder < LADDERS; ++ladder) path.distance[ladder] = ahead.distance[ladder];
}

// What every path does in a step, without a branch.
template <bool GAP>
DEVICE Ahead advance(const Step& step, const PathState& path, float z, int known, const GapOutcome& outcome) {
    Ahead ahead;
    const float move = move_fundamental<GAP>(step, path, z, outcome);
    clear_market<GAP>(step, path, move, ahead);
    near_levels<GAP>(step, path, known, ahead);
    return ahead;
}

// 3 Move the fundamental by mean + sqrt(v)·z.
template <bool GAP>
DEVICE float move_fundamental(const Step& step, const PathState& path, float z, const GapOutcome& outcome) {
    float move;
    if (GAP && outcome.present) {
        move = square_root(path.scaled_variance * step.share + outcome.variance) * z + outcome.mean;
    } else {
        move = path.volatility * step.root_share * z;
    }
    return move + path.mean * step.share;
}

// 4 Clear the market: y1 from the move, the fading impact and the regime's flow; s1 from the map.
template <bool GAP>
DEVICE void clear_market(const Step& step, const PathState& path, float move, Ahead& ahead) {
    ahead.x = path.x + move;
    ahead.y = path.y + move;
    if (!GAP) {
        ahead.y = ahead.y - (path.s - path.x) * step.table.fade;
        ahead.y = ahead.y + path.flow;
    }
    ahead.s = look_up(step.table, ahead.y, path.book);
}

// 5 Find whether a next level may have been touched: d0·d1 within reach of the largest exponential.
template <bool GAP>
DEVICE void near_levels(const Step& step, const PathState& path, int known, Ahead& ahead) {
    ahead.distance[UP] = barrier_at_end(step, path.place[UP]) - ahead.y;
    ahead.distance[DOWN] = barrier_at_end(step, path.place[DOWN]) + ahead.y;
    ahead.distance[2 + UP] = path.twin_barrier[UP] - ahead.x;
    ahead.distance[2 + DOWN] = path.twin_barrier[DOWN] + ahead.x;
    if constexpr (GAP) {
        const float above = smaller(ahead.distance[UP], ahead.distance[2 + UP]);
        const float below = smaller(ahead.distance[DOWN], ahead.distance[2 + DOWN]);
        ahead.near = smaller(above, below) <= 0.0f;
    } else {
        const float above = smaller(path.distance[UP] * ahead.distance[UP],
                                    path.distance[2 + UP] * ahead.distance[2 + UP]);
        const float below = smaller(path.distance[DOWN] * ahead.distance[DOWN],
                                    path.distance[2 + DOWN] * ahead.distance[2 + DOWN]);
        const float unit = path.scaled_variance * step.reach_share;
        const float bits = static_cast<float>(known);
        const bool near_above = above < unit * most_units(bits);
        const bool near_below = below < unit * most_units(static_cast<float>(KNOWN_MASK) - bits);
        ahead.near = near_above | near_below;
    }
}

// 6 Decide the touches of a path near a level, count them, and settle first targets. One exponential serves both
// ladders of a side; it is drawn only if its bounds leave a touch open.
template <bool GAP>
DEVICE void touch_levels(const Plan& plan, const Draws& draws, const Moment& moment, int known, PathState& path,
                         Ahead& ahead, const Tally& tally) {
    const float variance = path.scaled_variance * moment.step->share;
    float low[2] = {0.0f, 0.0f};
    float high[2] = {0.0f, 0.0f};
    UNROLL
    for (int side = UP; side <= DOWN && !GAP; ++side) {
        const float bits = static_cast<float>(side == UP ? known : KNOWN_MASK - known);
        low[side] = variance * (BRIDGE_UNIT * least_units(bits));
        high[side] = variance * (BRIDGE_UNIT * most_units(bits));
    }
    float to_target[LADDERS] = {NO_LEVEL, NO_LEVEL, NO_LEVEL, NO_LEVEL};
    bool open;
    do {
        open = false;
        UNROLL
        for (int ladder = 0; ladder < LADDERS; ++ladder) {
            const int side = ladder & 1;
            float start = path.distance[ladder];
            float end = ahead.distance[ladder];
            while (touched<GAP>(start, end, low[side])) {
                const int rank = rank_of(plan, path, ladder);
                count_touches(plan, moment, ladder, rank, tally);
                if (rank == (side == UP ? plan.target_above : plan.target_below)) to_target[ladder] = start;
                const int place = ++path.place[ladder];
                if (ladder < 2) {
                    end = barrier_at_end(*moment.step, place) - sign_of(side) * ahead.y;
                    start = barrier_at_start(plan, *moment.step, place) - sign_of(side) * path.y;
                } else {
                    path.twin_barrier[side] = plan.level[place];
                    end = path.twin_barrier[side] - sign_of(side) * ahead.x;
                    start = path.twin_barrier[side] - sign_of(side) * path.x;
                }
            }
            path.distance[ladder] = start;
            ahead.distance[ladder] = end;
            open = open || (!GAP && start * end < high[side]);
        }
        if (open) {
            const Words words = path_words(draws, moment.path_low, moment.session, moment.k, PURPOSE_BRIDGE);
            const Word word = bridge_word(known, words.a);
            low[UP] = high[UP] = half_exponential(word) * variance;
            low[DOWN] = high[DOWN] = half_exponential(~word) * variance;
        }
    } while (open);
    settle_first_targets(plan, moment, to_target, path, tally);
}

// 7 Count a touch of the level of a rank.
DEVICE void count_touches(const Plan& plan, const Moment& moment, int ladder, int rank, const Tally& tally) {
    const int number = moment.session * plan.steps_per_session + moment.k;
    add_one(tally, plan.touch_tally + (number * LADDERS + ladder) * plan.width + rank);
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
            const int number = moment.session * plan.steps_per_session + moment.k;
            add_one(tally, plan.first_tally + number * LADDERS + 2 * world + side);
        }
    }
}
