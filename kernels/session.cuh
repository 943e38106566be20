// Work done once per session: random words and variance before the open, variance and regime after the close.
//
// Random words per session: V's, the gap outcome's, then two for each pair of normals, four words per call.
#pragma once

#include "path_step.cuh"

DEVICE void scale_variance(const Plan&, Word, PathState&);
DEVICE GapOutcome gap_outcome(const Plan&, int, Word);
DEVICE void change_regime(const Plan&, Word, const Step&, PathState&);
DEVICE void count_close(const Plan&, int, const PathState&, const Tally&);
DEVICE int close_index(const Plan&, int, const PathState&);
DEVICE void update_variance(const Plan&, PathState&);
DEVICE int change_regimes(const Plan&, Word, PathState&);
DEVICE bool trigger_holds(const Plan&, const Regime&, const PathState&, int&);
DEVICE void enter(int, PathState&);
DEVICE void rebase(const Plan&, const Step&, PathState&);

// 1 Open a session: its variance V and its gap outcome from the first two words.
DEVICE GapOutcome open_session(const Plan& plan, int session, const Words& words, PathState& path) {
    scale_variance(plan, words.a, path);
    path.x_open = path.x;
    return gap_outcome(plan, session, words.b);
}

// 2 Scale the variance: h·V, its root, and the session's mean drift − h/2.
DEVICE void scale_variance(const Plan& plan, Word word, PathState& path) {
    path.scaled_variance = path.h * plan.variance_atoms[word >> (32 - VARIANCE_ATOMS_BITS)];
    path.volatility = square_root(path.scaled_variance);
    path.mean = plan.session_drift - path.h * 0.5f;
}

// The session's catalyst or jump outcome: the first whose threshold the word does not exceed.
DEVICE GapOutcome gap_outcome(const Plan& plan, int session, Word word) {
    int i = plan.outcome_start[session];
    const int last = plan.outcome_start[session + 1] - 1;
    if (i > last) return {false, 0.0f, 0.0f};
    while (i < last && word > plan.outcome_threshold[i]) ++i;
    return {true, plan.outcome_mean[i], plan.outcome_variance[i]};
}

// 9 Re-base every path when options settle at the end of a step: y = Φ(s), price unmoved.
DEVICE void settle_open(const Plan& plan, const Step& step, PathState& path) {
    if (step.settles) rebase(plan, step, path);
}

// 10 Close: count, update the variance, change regimes, re-base the hedge. `runs` are the path's qualifying closes in
// a row, one number per close trigger, `stride` apart.
template <typename Run>
DEVICE void close_session(const Plan& plan, int session, PathState& path, Run* runs, int stride, const Tally& tally) {
    const Step& step = *step_number(plan, (session + 1) * plan.steps_per_session - 1);
    count_close(plan, session, path, tally);
    update_variance(plan, path);
    Word held = 0;
    for (int r = 1; r < plan.regime_count; ++r) {
        const Regime& regime = plan.regimes[r];
        int run = regime.run < 0 ? 0 : runs[regime.run * stride];
        if (trigger_holds(plan, regime, path, run)) held |= 1u << (r - 1);
        if (regime.run >= 0) runs[regime.run * stride] = static_cast<Run>(run);
    }
    change_regime(plan, held, step, path);
    if (step.settles) rebase(plan, step, path);
    add_one(tally, plan.regime_tally + session * plan.regime_count + path.regime);
}

// Let a path change its regime and, with it, its book. Bit r − 1 of `held` says whether the trigger of regime r holds.
DEVICE void change_regime(const Plan& plan, Word held, const Step& step, PathState& path) {
    const int next = change_regimes(plan, held, path);
    if (next == path.regime) return;
    path.regime = next;
    path.flow = plan.regimes[next].flow;
    if (step.rebase >= 0) rebase(plan, step, path);
}

// 11 Count the close in the histogram.
DEVICE void count_close(const Plan& plan, int session, const PathState& path, const Tally& tally) {
    add_one(tally, close_index(plan, session, path));
}

// Index of the close's count: bin 0 lies below, the last bin above.
DEVICE int close_index(const Plan& plan, int session, const PathState& path) {
    const float bin = (path.s - plan.close_low) * plan.close_scale + 1.0f;
    const float clipped = smaller(larger(bin, 0.0f), static_cast<float>(plan.close_bins + 1));
    return plan.close_tally + session * (plan.close_bins + 2) + static_cast<int>(clipped);
}

// 12 Update the variance: h = ω + (α + γ·[n < 0])·n² + β·h, n the session's shock without the drift.
DEVICE void update_variance(const Plan& plan, PathState& path) {
    if (plan.constant_variance) return;
    const float shock = path.x - path.x_open - path.mean;
    const float weight = shock < 0.0f ? plan.alpha_gamma : plan.alpha;
    path.h = path.h * plan.beta + plan.omega + shock * shock * weight;
}

// 13 Choose the path's next regime: a hand-over that is due, else the first listed trigger that holds.
DEVICE int change_regimes(const Plan& plan, Word held, PathState& path) {
    const Regime& now = plan.regimes[path.regime];
    path.age += 1;
    int next = path.regime;
    if (path.age == now.lasts && !(path.visited >> (now.successor - 1) & 1u)) {
        next = now.successor;
    } else if (const Word open = held & now.allowed & ~path.visited) {
        next = lowest_bit(open) + 1;
    }
    if (next != path.regime) enter(next, path);
    return next;
}

// 14 Test a regime's trigger; `run`, its qualifying closes in a row, is kept up to date.
DEVICE bool trigger_holds(const Plan& plan, const Regime& regime, const PathState& path, int& run) {
    if (regime.run >= 0) {
        const bool qualifies = regime.trigger == CLOSES_ABOVE ? path.s > regime.level : path.s < regime.level;
        run = qualifies ? run + 1 : 0;
        return run >= regime.closes;
    }
    const int above = rank_of(plan, path, UP);
    const int below = rank_of(plan, path, DOWN);
    return regime.rank >= 0 && (regime.trigger == TOUCHES_ABOVE ? above : below) > regime.rank;
}

// 15 Enter a regime: mark it visited and start its age.
DEVICE void enter(int regime, PathState& path) {
    path.visited |= 1u << (regime - 1);
    path.age = 0;
}

// 16 Re-base the hedge: y = Φ_new(s) and the closest barriers that follow from it.
DEVICE void rebase(const Plan& plan, const Step& step, PathState& path) {
    const int book = plan.regimes[path.regime].book;
    const int shift = (book - path.book) * plan.width;
    path.book = book;
    path.y = look_up(plan.tables[step.rebase], path.s, book);
    path.next_barrier[UP] += shift;
    path.next_barrier[DOWN] += shift;
    // An empty step follows the last one.
    find_closest(plan, *step_after(plan, &step, 1), path);
}
