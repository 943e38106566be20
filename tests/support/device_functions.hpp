// The kernels' functions, one by one, over arrays; compiled by tests/kernels/test_device_functions.py.
#include "paths.cuh"

extern "C" {

void each_philox4x32(int n, const Word* counters, const Word* keys, Word* out) {
    for (int i = 0; i < n; ++i) {
        const Words words =
            philox4x32<Word>({counters[4 * i], counters[4 * i + 1], counters[4 * i + 2], counters[4 * i + 3]},
                             keys + i * PHILOX_KEY_WORDS);
        out[4 * i] = words.a;
        out[4 * i + 1] = words.b;
        out[4 * i + 2] = words.c;
        out[4 * i + 3] = words.d;
    }
}

void each_path_words(int n, const Draws* draws, const Word* path_low, const int* session, const int* call, Word purpose,
                     Word* out) {
    for (int i = 0; i < n; ++i) {
        const Words words = path_words(*draws, path_low[i], address_of(session[i], call[i]), purpose);
        out[4 * i] = words.a;
        out[4 * i + 1] = words.b;
        out[4 * i + 2] = words.c;
        out[4 * i + 3] = words.d;
    }
}

void each_multiply(int n, const Word* a, const Word* b, Word64* out) {
    for (int i = 0; i < n; ++i) {
        const ProductOf<Word> product = multiply(a[i], b[i]);
        out[i] = static_cast<Word64>(product.high) << 32 | product.low;
    }
}

void each_lowest_bit(int n, const Word* words, int* out) {
    for (int i = 0; i < n; ++i) out[i] = lowest_bit(words[i]);
}

void each_order(int n, const float* a, const float* b, float* least, float* most) {
    for (int i = 0; i < n; ++i) {
        least[i] = smaller(a[i], b[i]);
        most[i] = larger(a[i], b[i]);
    }
}

void each_root(int n, const float* values, float* root, float* ordinary) {
    for (int i = 0; i < n; ++i) {
        root[i] = square_root(values[i]);
        ordinary[i] = ordinary_square_root(values[i]);
    }
}

void each_bits(int n, const float* values, int* bits, float* back) {
    for (int i = 0; i < n; ++i) {
        bits[i] = bits_of(values[i]);
        back[i] = float_of(bits[i]);
    }
}

void each_horner(int n, const float* t, float* log, float* sine, float* cosine) {
    for (int i = 0; i < n; ++i) {
        log[i] = horner(t[i], LOG_POLYNOMIAL);
        sine[i] = horner(t[i], SINE_POLYNOMIAL);
        cosine[i] = horner(t[i], COSINE_POLYNOMIAL);
    }
}

void each_minus_two_log(int n, const Word* words, float* out) {
    for (int i = 0; i < n; ++i) out[i] = minus_two_log(words[i]);
}

void each_normal_pair(int n, const Word* radius, const Word* angle, float* cosine, float* sine) {
    for (int i = 0; i < n; ++i) {
        const NormalPair pair = normal_pair(radius[i], angle[i]);
        cosine[i] = pair.cosine;
        sine[i] = pair.sine;
    }
}

void each_known_bits(int n, const Word* angle, int k, int* out) {
    for (int i = 0; i < n; ++i) out[i] = known_bits(angle[i], k);
}

void each_bridge_word(int n, const int* known, const Word* drawn, Word* out) {
    for (int i = 0; i < n; ++i) out[i] = bridge_word(known[i], drawn[i]);
}

void each_half_exponential(int n, const Word* words, float* out) {
    for (int i = 0; i < n; ++i) out[i] = half_exponential(words[i]);
}

void each_bound(int n, const float* known, float* least, float* most) {
    for (int i = 0; i < n; ++i) {
        least[i] = least_units(known[i]);
        most[i] = most_units(known[i]);
    }
}

void each_touched(int n, const float* start, const float* end, const float* bound, bool* step, bool* gap) {
    for (int i = 0; i < n; ++i) {
        step[i] = touched<false>(start[i], end[i], bound[i]);
        gap[i] = touched<true>(start[i], end[i], bound[i]);
    }
}

void each_look_up(int n, const SegmentTable* table, const float* x, const int* book, float* out) {
    for (int i = 0; i < n; ++i) out[i] = look_up(head_of(*table), x[i], book[i]);
}

void each_gap_outcome(int n, const Plan* plan, int session, const Word* words, bool* present, float* mean,
                      float* variance) {
    for (int i = 0; i < n; ++i) {
        const GapOutcome outcome = gap_outcome(*plan, session, words[i]);
        present[i] = outcome.present;
        mean[i] = outcome.mean;
        variance[i] = outcome.variance;
    }
}

void each_scale_variance(int n, const Plan* plan, const Word* words, const float* h, float* out) {
    for (int i = 0; i < n; ++i) {
        PathState path;
        path.h = h[i];
        scale_variance(*plan, words[i], path);
        out[3 * i] = path.scaled_variance;
        out[3 * i + 1] = path.volatility;
        out[3 * i + 2] = path.mean;
    }
}

void each_update_variance(int n, const Plan* plan, const float* x, const float* x_open, const float* mean, float* h) {
    for (int i = 0; i < n; ++i) {
        PathState path;
        path.x = x[i];
        path.x_open = x_open[i];
        path.mean = mean[i];
        path.h = h[i];
        update_variance(*plan, path);
        h[i] = path.h;
    }
}

// Distances of a path at the start of step `number`: of each world_side, and the nearer world's on each side.
void each_distance(int n, const Plan* plan, int number, const float* x, const float* y, const int* rank,
                   const int* book, float* world_sides, float* closest) {
    const Step& step = *step_number(*plan, number);
    for (int i = 0; i < n; ++i) {
        PathState path;
        start_path(*plan, path);
        path.x = x[i];
        path.y = y[i];
        path.book = book[i];
        for (int world_side = 0; world_side < WORLD_SIDES; ++world_side) {
            path.next_barrier[world_side] =
                first_barrier(*plan, world_side, book[i]) + rank[WORLD_SIDES * i + world_side];
        }
        path.control_barrier[UP] = plan->level[path.next_barrier[2 + UP]];
        path.control_barrier[DOWN] = plan->level[path.next_barrier[2 + DOWN]];
        find_closest(*plan, step, path);
        for (int world_side = 0; world_side < WORLD_SIDES; ++world_side) {
            world_sides[WORLD_SIDES * i + world_side] = distance_at_start(*plan, step, path, world_side);
        }
        for (int side = UP; side <= DOWN; ++side) closest[2 * i + side] = path.closest[side];
    }
}

// Records of paths of given first targets, books and levels touched.
void each_record(int n, const Plan* plan, const int* first, const int* book, const int* rank, Record* out) {
    for (int i = 0; i < n; ++i) {
        PathState path = {};
        path.first = first[i];
        path.book = book[i];
        for (int world_side = 0; world_side < WORLD_SIDES; ++world_side) {
            path.next_barrier[world_side] =
                first_barrier(*plan, world_side, book[i]) + rank[WORLD_SIDES * i + world_side];
        }
        out[i] = record_of(*plan, path);
    }
}

// Counts and records of n paths, one after the other as on a GPU.
void each_path(int n, const Plan* plan, const Draws* draws, Word first, Count* tallies, Record* records) {
    unsigned short runs[2 * 32];
    const Tally tally = {tallies, nullptr, 0};
    for (int i = 0; i < n; ++i) records[i] = run_path(*plan, *draws, first + static_cast<Word>(i), runs + 1, 2, tally);
}
}
