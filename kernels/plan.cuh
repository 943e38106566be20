// The engine plan as the kernels see it. Python packs sim.plan.engine_plan.EnginePlan into the structs by the names
// below: one `type name;` per line, a pointer for an array, the meaning of each as documented there.
#pragma once

#include "device.cuh"

// A straight line: value = intercept + slope·x.
struct alignas(8) Line {
    float intercept;
    float slope;
};

// A table's lines, those of the panels first, and how x finds its panel; see reaction.cuh.
struct alignas(16) SegmentTable {
    float low;
    float high;
    float scale;
    float offset;
    const Line* lines;
    int panels;
    // Of a step's own table only: 1 − decay of the impact in the step.
    float fade;
};

// A step's share of the session's variance, its root, and the share in the unit of the bridge's bounds.
struct alignas(16) Shares {
    float variance;
    float root;
    float bound;
    float unused;
};

// One step of the time grid: its table of Φ⁻¹, its shares, and the table of Φ just after it (−1: none). The steps are
// `step_bytes` apart; each is followed by its barriers, (2, B, W) at its end, then as many at its start.
struct alignas(16) Step {
    SegmentTable table;
    Shares shares;
    int rebase;
    int settles;
    int unused_a;
    int unused_b;
};

// One regime: how it is entered, what it does, how long it lasts. `allowed` has bit r − 1 for each regime r that may
// be entered from this one.
struct alignas(16) Regime {
    int trigger;
    float level;
    int rank;
    int closes;
    int run;
    int run_start;
    Word allowed;
    int lasts;
    int successor;
    int book;
    float flow;
    int spare;
};

struct Plan {
    const Step* steps;
    const SegmentTable* tables;
    const float* level;
    const float* variance_atoms;
    const int* outcome_start;
    const Word* outcome_threshold;
    const float* outcome_mean;
    const float* outcome_variance;
    const Regime* regimes;
    float session_drift;
    float variance_start;
    float omega;
    float alpha;
    float alpha_gamma;
    float beta;
    float hedge_start;
    float close_low;
    float close_scale;
    int sessions;
    int steps_per_session;
    Word step_bytes;
    int books;
    int width;
    int regime_count;
    int close_triggers;
    int close_bins;
    int constant_variance;
    int target_above;
    int target_below;
    // Index of the first count of each array of counts, see tally.cuh.
    int joint_tally;
    int both_tally;
    int regime_tally;
    int first_tally;
    int touch_tally;
    int close_tally;
    int tallies;
};

// Where random words come from: the key of each round of Philox, and the high word of the paths' numbers.
struct Draws {
    Word key[PHILOX_KEY_WORDS];
    Word path_high;
};
