// State of one path.
//
// A path has four world_sides, 2·world + side: with dealers above and below, then the control path above and below.
#pragma once

#include "tally.cuh"

struct PathState {
    // Fundamental, y = s + q with dealers, and price; all ln relative to S0.
    float x;
    float y;
    float s;
    // Variance of the session; V·h and its root; mean drift per session; x at the last close.
    float h;
    float scaled_variance;
    float volatility;
    float mean;
    float x_open;
    // Log price pressure of the regime in one trading step, and its book.
    float flow;
    int book;
    int regime;
    int age;
    Word visited;
    // First target with dealers in the lowest RECORD_FIRST_BITS, and above them that without.
    int first;
    // Distance from the nearer world's path to its next barrier at the start of the step, above and below.
    float closest[2];
    // Index of the next barrier on each world_side, see first_barrier.
    int next_barrier[WORLD_SIDES];
    // Next barrier of the control path on each side.
    float control_barrier[2];
};

constexpr int FIRST_MASK = (1 << RECORD_FIRST_BITS) - 1;

// Outward direction of each side.
DEVICE float sign_of(int side) { return side == UP ? 1.0f : -1.0f; }

// Floats before the barriers of a step.
constexpr int STEP_FLOATS = sizeof(Step) / sizeof(float);

// Index of a world_side's first barrier: with dealers among the floats from the step's address on, for the control path
// in `level`.
DEVICE int first_barrier(const Plan& plan, int world_side, int book) {
    const int side = world_side & 1;
    return world_side < 2 ? STEP_FLOATS + (side * plan.books + book) * plan.width : side * plan.width;
}

// Levels touched so far on a world_side; the next one has this rank.
DEVICE int rank_of(const Plan& plan, const PathState& path, int world_side) {
    return path.next_barrier[world_side] - first_barrier(plan, world_side, path.book);
}

// A barrier at the end of a step, and at its start.
DEVICE const float& barrier_at_end(const Step& step, int barrier) {
    return reinterpret_cast<const float*>(&step)[barrier];
}

DEVICE float barrier_at_start(const Plan& plan, const Step& step, int barrier) {
    return barrier_at_end(step, barrier + 2 * plan.books * plan.width);
}

// Bytes from one step to the next: known at compile time on a GPU, so that four steps share one address.
DEVICE Word step_bytes(const Plan& plan) {
#ifdef STEP_BYTES
    return STEP_BYTES;
#else
    return plan.step_bytes;
#endif
}

// The step that lies some steps after another; the step of a number.
DEVICE const Step* step_after(const Plan& plan, const Step* step, int steps) {
    const Word64 offset = static_cast<Word64>(steps) * step_bytes(plan);
    return reinterpret_cast<const Step*>(reinterpret_cast<const char*>(step) + offset);
}

DEVICE const Step* step_number(const Plan& plan, int number) { return step_after(plan, plan.steps, number); }

// Distance to the next barrier of a world_side at the start of a step, none below zero.
DEVICE float distance_at_start(const Plan& plan, const Step& step, const PathState& path, int world_side) {
    const int side = world_side & 1;
    if (world_side >= 2) return path.control_barrier[side] - sign_of(side) * path.x;
    return larger(barrier_at_start(plan, step, path.next_barrier[side]) - sign_of(side) * path.y, 0.0f);
}

// The nearer of both worlds on each side, at the start of a step.
DEVICE void find_closest(const Plan& plan, const Step& step, PathState& path) {
    UNROLL
    for (int side = UP; side <= DOWN; ++side) {
        path.closest[side] =
            smaller(distance_at_start(plan, step, path, side), distance_at_start(plan, step, path, 2 + side));
    }
}

// A path at the start.
DEVICE void start_path(const Plan& plan, PathState& path) {
    path.x = 0.0f;
    path.y = plan.hedge_start;
    path.s = 0.0f;
    path.h = plan.variance_start;
    path.flow = 0.0f;
    path.book = 0;
    path.regime = 0;
    path.age = 0;
    path.visited = 0;
    path.first = NEITHER;
    UNROLL
    for (int side = UP; side <= DOWN; ++side) {
        path.next_barrier[side] = first_barrier(plan, side, 0);
        path.next_barrier[2 + side] = first_barrier(plan, 2 + side, 0);
        path.control_barrier[side] = plan.level[path.next_barrier[2 + side]];
    }
    find_closest(plan, *plan.steps, path);
}
