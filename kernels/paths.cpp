// Counts of a range of paths on a processor, and their records where asked for.
//
// Blocks of LANES paths go through each step together, so that a step's tables are read from cache once per block and
// the work every path does is vectorised across paths. The few paths near a level are then looked at one by one.
// Array names and their order follow path_state.cuh; a block's arrays have one number per lane.
//
// Random words: see session.cuh and path_step.cuh. Source: as paths.cu.
#include "lanes.cuh"
#include "paths.cuh"

#include <cfloat>
#include <cstring>
#include <memory>
#include <new>

namespace {

// Paths of a block: enough to share a step's tables, few enough that their state stays in the caches next to the core.
#ifndef LANES
#define LANES 256
#endif
static_assert(sizeof(void*) == 8, "the plan's pointers have 64 bits");
static_assert(FLT_EVAL_METHOD == 0, "float arithmetic is rounded to float");
static_assert(LANES % 8 == 0, "paths near a level are looked for eight at a time");
static_assert(LANES % Lanes::SIZE == 0, "random words are drawn for as many paths as a vector holds");
#define ALIGNED alignas(64)
#define VECTORISED _Pragma("omp simd")
// For loops that read here and there.
#define UNROLLED _Pragma("GCC unroll 8")

// Index of step k's normal among the four of its call, and of its angle's word among the four words.
int normal_of(int k) { return (k + OPENING_WORDS) % 4; }
int angle_of(int k) { return normal_of(k) | 1; }

// A block of paths. x and y have two versions, before and after a step.
struct Block {
    ALIGNED float x[2][LANES];
    ALIGNED float y[2][LANES];
    ALIGNED float s[LANES];
    ALIGNED float h[LANES];
    ALIGNED float scaled_variance[LANES];
    ALIGNED float volatility[LANES];
    ALIGNED float mean[LANES];
    ALIGNED float x_open[LANES];
    ALIGNED float flow[LANES];
    ALIGNED int book[LANES];
    ALIGNED int regime[LANES];
    ALIGNED int age[LANES];
    ALIGNED Word visited[LANES];
    ALIGNED Word held[LANES];
    ALIGNED int first[LANES];
    ALIGNED float closest[2][LANES];
    ALIGNED int next_barrier[WORLD_SIDES][LANES];
    ALIGNED float control_barrier[2][LANES];
    ALIGNED float gap_mean[LANES];
    ALIGNED float gap_variance[LANES];
    ALIGNED unsigned char near[LANES];
    ALIGNED Word path_low[LANES];
    // Which version of x and y is the present one.
    int now;

    PathState load(int i) const {
        PathState path;
        path.x = x[now][i];
        path.y = y[now][i];
        path.s = s[i];
        path.h = h[i];
        path.scaled_variance = scaled_variance[i];
        path.volatility = volatility[i];
        path.mean = mean[i];
        path.x_open = x_open[i];
        path.flow = flow[i];
        path.book = book[i];
        path.regime = regime[i];
        path.age = age[i];
        path.visited = visited[i];
        path.first = first[i];
        for (int world_side = 0; world_side < WORLD_SIDES; ++world_side) {
            path.next_barrier[world_side] = next_barrier[world_side][i];
        }
        for (int side = UP; side <= DOWN; ++side) {
            path.closest[side] = closest[side][i];
            path.control_barrier[side] = control_barrier[side][i];
        }
        return path;
    }

    void store(int i, const PathState& path) {
        x[now][i] = path.x;
        y[now][i] = path.y;
        s[i] = path.s;
        h[i] = path.h;
        scaled_variance[i] = path.scaled_variance;
        volatility[i] = path.volatility;
        mean[i] = path.mean;
        x_open[i] = path.x_open;
        flow[i] = path.flow;
        book[i] = path.book;
        regime[i] = path.regime;
        age[i] = path.age;
        visited[i] = path.visited;
        first[i] = path.first;
        for (int world_side = 0; world_side < WORLD_SIDES; ++world_side) {
            next_barrier[world_side][i] = path.next_barrier[world_side];
        }
        for (int side = UP; side <= DOWN; ++side) {
            closest[side][i] = path.closest[side];
            control_barrier[side][i] = path.control_barrier[side];
        }
    }
};

// State of one call: the plan, the block, and the arrays whose length depends on the plan.
struct Run {
    const Plan plan;
    const Draws draws;
    Tally tally;
    Block block = {};
    // The words of the present call, and the normals of its two pairs.
    ALIGNED Word words[4][LANES];
    ALIGNED float normals[4][LANES];
    // What a step looks up: indices of panels, of segments or of counts, the lines there, and barriers.
    ALIGNED int index[LANES];
    ALIGNED Line lines[LANES];
    ALIGNED Barriers barriers[LANES];
    // Qualifying closes in a row, (close triggers, LANES).
    std::unique_ptr<int[]> runs;

    Run(const Plan& plan_, const Draws& draws_, Count* tallies) : plan(plan_), draws(draws_) {
        tally = {tallies, nullptr, 0};
        runs.reset(new int[(plan.close_triggers + 1) * LANES]());
    }

    void start(Word first_path);
    void open(int session);
    void draw(int session, int call);
    void fetch(const Line* table);
    template <bool GAP>
    void step(int session, int k, int count);
    template <bool GAP>
    void touch(int lane, const StepCursor& step);
    void settle(int number, int count);
    void close(int session, int count);
    void change(int lane, int number);
    void live(Word first_path, int count, Record* records);
};

// Every lane at the start; lanes beyond the last path go along and are not counted.
void Run::start(Word first_path) {
    block.now = 0;
    PathState path = {};
    start_path(plan, path);
    for (int i = 0; i < LANES; ++i) {
        block.store(i, path);
        block.path_low[i] = first_path + static_cast<Word>(i);
    }
    for (int r = 1; r < plan.regime_count; ++r) {
        const Regime& regime = plan.regimes[r];
        if (regime.run < 0) continue;
        for (int i = 0; i < LANES; ++i) runs[regime.run * LANES + i] = regime.run_start;
    }
}

// A session's opening: its variance V, its gap outcome, the first normals.
void Run::open(int session) {
    // Copies that no store can alias, here and below, so that the loops vectorise.
    const Plan plan = this->plan;
    draw(session, 0);
    const Word* word = words[0];
    VECTORISED
    for (int i = 0; i < LANES; ++i) {
        PathState path;
        path.h = block.h[i];
        scale_variance(plan, word[i], path);
        block.scaled_variance[i] = path.scaled_variance;
        block.volatility[i] = path.volatility;
        block.mean[i] = path.mean;
    }
    std::memcpy(block.x_open, block.x[block.now], sizeof block.x_open);
    if (plan.outcome_start[session + 1] == plan.outcome_start[session]) return;
    for (int i = 0; i < LANES; ++i) {
        const GapOutcome outcome = gap_outcome(plan, session, words[1][i]);
        block.gap_mean[i] = outcome.mean;
        block.gap_variance[i] = outcome.variance;
    }
}

// The words of a call for every lane, and the normals of its pairs. The first call of a session has V and the gap
// outcome in place of a pair.
void Run::draw(int session, int call) {
    const Draws draws = this->draws;
    const Word address = address_of(session, call);
    for (int i = 0; i < LANES; i += Lanes::SIZE) {
        const WordsOf<Lanes> four = path_words(draws, Lanes::load(block.path_low + i), address, PURPOSE_MOVES);
        four.a.store(words[0] + i);
        four.b.store(words[1] + i);
        four.c.store(words[2] + i);
        four.d.store(words[3] + i);
    }
    for (int pair = call == 0 ? OPENING_WORDS : 0; pair < 4; pair += 2) {
        const Word* radius = words[pair];
        const Word* angle = words[pair + 1];
        float* cosine = normals[pair];
        float* sine = normals[pair + 1];
        VECTORISED
        for (int i = 0; i < LANES; ++i) {
            const NormalPair normal = normal_pair(radius[i], angle[i]);
            cosine[i] = normal.cosine;
            sine[i] = normal.sine;
        }
    }
}

// The lines at the indices of all lanes. Instructions that gather are slower than reads one by one.
void Run::fetch(const Line* table) {
    UNROLLED
    for (int i = 0; i < LANES; ++i) std::memcpy(lines + i, table + index[i], sizeof(Line));
}

// Step k of a session, for all lanes together, then for those near a level one by one.
template <bool GAP>
void Run::step(int session, int k, int count) {
    const Plan plan = this->plan;
    const int number = session * plan.steps_per_session + k;
    const Step& step = *step_number(plan, number);
    const float* normal = normals[normal_of(k)];
    const Word* angle = words[angle_of(k)];
    const bool outcomes = GAP && plan.outcome_start[session + 1] > plan.outcome_start[session];
    const int now = block.now;
    const float* x = block.x[now];
    const float* y = block.y[now];
    float* x_end = block.x[1 - now];
    float* y_end = block.y[1 - now];
    float (*closest)[LANES] = block.closest;
    const SegmentTable table = step.table;
    const Shares shares = step.shares;
    VECTORISED
    for (int i = 0; i < LANES; ++i) {
        PathState path;
        path.x = x[i];
        path.y = y[i];
        path.s = block.s[i];
        path.scaled_variance = block.scaled_variance[i];
        path.volatility = block.volatility[i];
        path.mean = block.mean[i];
        path.flow = block.flow[i];
        const GapOutcome outcome = {outcomes, GAP ? block.gap_mean[i] : 0.0f, GAP ? block.gap_variance[i] : 0.0f};
        ProposedState proposed;
        move_demand<GAP>(table.fade, path, move_fundamental<GAP>(shares, path, normal[i], outcome), proposed);
        x_end[i] = proposed.x;
        y_end[i] = proposed.y;
        index[i] = panel_index(table, proposed.y, block.book[i]);
    }
    fetch(table.lines);
    VECTORISED
    for (int i = 0; i < LANES; ++i) index[i] = segment_index(table, lines[i], y_end[i]);
    fetch(table.lines);
    const StepCursor cursor = {0, session, plan.steps_per_session - k, &step, 0};
    UNROLLED
    for (int i = 0; i < LANES; ++i) {
        PathState path;
        path.next_barrier[UP] = block.next_barrier[UP][i];
        path.next_barrier[DOWN] = block.next_barrier[DOWN][i];
        barriers[i] = next_barriers(cursor, path);
    }
    VECTORISED
    for (int i = 0; i < LANES; ++i) {
        PathState path;
        path.scaled_variance = block.scaled_variance[i];
        for (int side = UP; side <= DOWN; ++side) {
            path.closest[side] = closest[side][i];
            path.control_barrier[side] = block.control_barrier[side][i];
        }
        ProposedState proposed;
        proposed.x = x_end[i];
        proposed.y = y_end[i];
        proposed.s = value_at(lines[i], proposed.y);
        near_levels<GAP>(barriers[i], shares.bound, path, known_bits(angle[i], k), proposed);
        block.s[i] = proposed.s;
        for (int side = UP; side <= DOWN; ++side) closest[side][i] = proposed.closest[side];
        block.near[i] = proposed.near;
    }
    for (int i = 0; i < count; i += 8) {
        Word64 near;
        std::memcpy(&near, block.near + i, sizeof near);
        for (; near != 0; near &= near - 1) {
            const int lane = i + __builtin_ctzll(near) / 8;
            if (lane < count) touch<GAP>(lane, cursor);
        }
    }
    block.now = 1 - now;
}

// The touches of one path.
template <bool GAP>
void Run::touch(int lane, const StepCursor& step) {
    const int next = 1 - block.now;
    StepCursor cursor = step;
    cursor.path_low = block.path_low[lane];
    PathState path = block.load(lane);
    ProposedState proposed;
    proposed.x = block.x[next][lane];
    proposed.y = block.y[next][lane];
    const int k = number_in_session(plan, cursor);
    const int known = known_bits(words[angle_of(k)][lane], k);
    near_levels<GAP>(next_barriers(cursor, path), step_at(cursor).shares.bound, path, known, proposed);
    touch_levels<GAP>(plan, draws, cursor, known, path, proposed, tally);
    block.first[lane] = path.first;
    for (int world_side = 0; world_side < WORLD_SIDES; ++world_side) {
        block.next_barrier[world_side][lane] = path.next_barrier[world_side];
    }
    for (int side = UP; side <= DOWN; ++side) {
        block.closest[side][lane] = proposed.closest[side];
        block.control_barrier[side][lane] = path.control_barrier[side];
    }
}

void Run::settle(int number, int count) {
    const Step& step = *step_number(plan, number);
    if (!step.settles) return;
    for (int i = 0; i < count; ++i) {
        PathState path = block.load(i);
        settle_open(plan, step, path);
        block.store(i, path);
    }
}

// The close, in the order of close_session; regimes change for the few paths where a trigger lets them or a hand-over
// is due.
void Run::close(int session, int count) {
    const Plan plan = this->plan;
    const int number = (session + 1) * plan.steps_per_session - 1;
    const float* x = block.x[block.now];
    VECTORISED
    for (int i = 0; i < LANES; ++i) {
        PathState path;
        path.s = block.s[i];
        index[i] = close_index(plan, session, path);
    }
    for (int i = 0; i < count; ++i) add_one(tally, index[i]);
    VECTORISED
    for (int i = 0; i < LANES; ++i) {
        PathState path;
        path.x = x[i];
        path.x_open = block.x_open[i];
        path.mean = block.mean[i];
        path.h = block.h[i];
        update_variance(plan, path);
        block.h[i] = path.h;
        block.held[i] = 0;
    }
    for (int r = 1; r < plan.regime_count; ++r) {
        const Regime regime = plan.regimes[r];
        int* run = runs.get() + (regime.run < 0 ? 0 : regime.run) * LANES;
        VECTORISED
        for (int i = 0; i < LANES; ++i) {
            PathState path;
            path.s = block.s[i];
            path.book = block.book[i];
            path.next_barrier[UP] = block.next_barrier[UP][i];
            path.next_barrier[DOWN] = block.next_barrier[DOWN][i];
            const bool holds = trigger_holds(plan, regime, path, run[i]);
            block.held[i] |= holds ? 1u << (r - 1) : 0u;
        }
    }
    for (int i = 0; i < count; ++i) {
        const Regime& regime = plan.regimes[block.regime[i]];
        const bool due = block.age[i] + 1 == regime.lasts;
        if (due || (block.held[i] & regime.allowed & ~block.visited[i])) {
            change(i, number);
        } else {
            block.age[i] += 1;
        }
        tally.total[plan.regime_tally + session * plan.regime_count + block.regime[i]] += 1;
    }
    settle(number, count);
}

void Run::change(int lane, int number) {
    PathState path = block.load(lane);
    change_regime(plan, block.held[lane], *step_number(plan, number), path);
    block.store(lane, path);
}

// The whole life of a block of paths, whose records are kept unless `records` is null.
void Run::live(Word first_path, int count, Record* records) {
    start(first_path);
    for (int session = 0; session < plan.sessions; ++session) {
        open(session);
        step<true>(session, 0, count);
        settle(session * plan.steps_per_session, count);
        for (int k = 1; k < plan.steps_per_session; ++k) {
            if (normal_of(k) == 0) draw(session, (k + OPENING_WORDS) / 4);
            step<false>(session, k, count);
        }
        close(session, count);
    }
    for (int i = 0; i < count; ++i) {
        const PathState path = block.load(i);
        count_paths(plan, path, tally);
        if (records != nullptr) records[i] = record_of(plan, path);
    }
}

}  // namespace

// Add the counts of paths first … first + count − 1, whose numbers share their high word, to `tallies`, and write
// their records to `records`, (count,), unless it is null. Returns 0, or 1 for want of memory.
extern "C" __attribute__((visibility("default"))) int simulate_paths(const Plan* plan, const Draws* draws, Word first,
                                                                     Word64 count, Count* tallies, Record* records) {
    try {
        const std::unique_ptr<Run> run(new Run(*plan, *draws, tallies));
        for (Word64 done = 0; done < count; done += LANES) {
            const Word64 left = count - done;
            Record* const own = records == nullptr ? nullptr : records + done;
            run->live(first + static_cast<Word>(done), static_cast<int>(left < LANES ? left : LANES), own);
        }
        return 0;
    } catch (const std::bad_alloc&) {
        return 1;
    }
}

// SHA-256 of the sources this library was compiled from.
extern "C" __attribute__((visibility("default"))) const char* kernel_digest() { return KERNEL_DIGEST; }

// Whether this processor has a feature of an instruction set, by the name the compilers give it.
extern "C" __attribute__((visibility("default"))) int processor_has(const char* feature) {
#if defined(__x86_64__) || defined(__i386__)
#define HAS(name) \
    if (std::strcmp(feature, name) == 0) return __builtin_cpu_supports(name) != 0
    __builtin_cpu_init();
    HAS("avx2");
    HAS("fma");
    HAS("bmi");
    HAS("bmi2");
    HAS("avx512f");
    HAS("avx512bw");
    HAS("avx512cd");
    HAS("avx512dq");
    HAS("avx512vl");
#undef HAS
#endif
    (void)feature;
    return 0;
}
