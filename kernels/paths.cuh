// The whole life of a path, from the start to the last close.
#pragma once

#include "session.cuh"

// 17 Count a finished path: the pair of first targets, and levels touched in both worlds.
DEVICE void count_paths(const Plan& plan, const PathState& path, const Tally& tally) {
    add_one(tally, plan.joint_tally + 3 * (path.first & FIRST_MASK) + (path.first >> RECORD_FIRST_BITS));
    UNROLL
    for (int side = UP; side <= DOWN; ++side) {
        const int with = rank_of(plan, path, side);
        const int without = rank_of(plan, path, 2 + side);
        add_one(tally, plan.both_tally + side * plan.width + (with < without ? with : without));
    }
}

// 18 The record of a finished path with dealers: first target, then levels touched above, then below.
DEVICE Record record_of(const Plan& plan, const PathState& path) {
    const int ranks = rank_of(plan, path, UP) | rank_of(plan, path, DOWN) << RECORD_RANK_BITS;
    return static_cast<Record>((path.first & FIRST_MASK) | ranks << RECORD_FIRST_BITS);
}

// One trading step, the one `steps` after the cursor's base; `left`: steps left in the session, this one included.
DEVICE void trade_step(const Plan& plan, const Draws& draws, StepCursor cursor, int steps, int left, float z, int known,
                       PathState& path, const Tally& tally) {
    cursor.left = left;
    cursor.offset = steps * static_cast<int>(step_bytes(plan));
    take_step<false>(plan, draws, cursor, z, known, {false, 0.0f, 0.0f}, path, tally);
}

// The trading steps of a session, four per call of the random generator. `sine` and `angle` are left over from the
// opening call, whose pair holds the gap's normal and that of the first trading step.
DEVICE void trade(const Plan& plan, const Draws& draws, StepCursor cursor, float sine, Word angle, PathState& path,
                  const Tally& tally) {
    Word address = address_of(cursor.session, 0);
    int left = plan.steps_per_session - 1;
    do {
        // The second step of the pair before, then both of the call's first pair and the first of its second.
        trade_step(plan, draws, cursor, 1, left, sine, known_bits(angle, 1), path, tally);
        if (left == 1) return;
        address += 1;
        const Words words = path_words(draws, cursor.path_low, address, PURPOSE_MOVES);
        const NormalPair first = normal_pair(words.a, words.b);
        trade_step(plan, draws, cursor, 2, left - 1, first.cosine, known_bits(words.b, 0), path, tally);
        if (left == 2) return;
        trade_step(plan, draws, cursor, 3, left - 2, first.sine, known_bits(words.b, 1), path, tally);
        if (left == 3) return;
        const NormalPair second = normal_pair(words.c, words.d);
        trade_step(plan, draws, cursor, 4, left - 3, second.cosine, known_bits(words.d, 0), path, tally);
        sine = second.sine;
        angle = words.d;
        cursor.base = step_after(plan, cursor.base, 4);
        left -= 4;
    } while (left > 0);
}

// Simulate one path, count it and return its record.
template <typename Run>
DEVICE Record run_path(const Plan& plan, const Draws& draws, Word path_low, Run* runs, int stride, const Tally& tally) {
    PathState path;
    start_path(plan, path);
    for (int r = 1; r < plan.regime_count; ++r) {
        const Regime& regime = plan.regimes[r];
        if (regime.run >= 0) runs[regime.run * stride] = static_cast<Run>(regime.run_start);
    }
    for (int session = 0; session < plan.sessions; ++session) {
        const Words words = path_words(draws, path_low, address_of(session, 0), PURPOSE_MOVES);
        const GapOutcome outcome = open_session(plan, session, words, path);
        const NormalPair pair = normal_pair(words.c, words.d);
        const Step* gap = step_number(plan, session * plan.steps_per_session);
        const StepCursor cursor = {path_low, session, plan.steps_per_session, gap, 0};
        take_step<true>(plan, draws, cursor, pair.cosine, known_bits(words.d, 0), outcome, path, tally);
        settle_open(plan, *gap, path);
        trade(plan, draws, cursor, pair.sine, words.d, path, tally);
        close_session(plan, session, path, runs, stride, tally);
    }
    count_paths(plan, path, tally);
    return record_of(plan, path);
}
