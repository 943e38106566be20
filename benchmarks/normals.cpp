// Loops of the ways to turn words into normals, for the processor: blocks to time, and the law of many draws.

#include "normal_candidates.cuh"
#include "philox.cuh"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace {

constexpr int BLOCK = 512;
constexpr int MOMENTS = 4;
constexpr float LIMITS[] = {TAIL_LIMITS};
constexpr int LIMIT_COUNT = sizeof(LIMITS) / sizeof(LIMITS[0]);

// Sums of the first powers, and numbers of normals beyond each limit on either side.
struct Law {
    double sums[MOMENTS];
    long long beyond[LIMIT_COUNT];
};

int count_beyond(float limit, const float* normals, int count) {
    int beyond = 0;
#pragma omp simd reduction(+ : beyond)
    for (int i = 0; i < count; ++i) beyond += normals[i] > limit || normals[i] < -limit;
    return beyond;
}

void add_to_law(Law& law, const float* normals, int count) {
    double first = 0, second = 0, third = 0, fourth = 0;
#pragma omp simd reduction(+ : first, second, third, fourth)
    for (int i = 0; i < count; ++i) {
        const double value = normals[i], square = value * value;
        first += value;
        second += square;
        third += square * value;
        fourth += square * square;
    }
    const double sums[] = {first, second, third, fourth};
    for (int k = 0; k < MOMENTS; ++k) law.sums[k] += sums[k];
    for (int k = 0; k < LIMIT_COUNT; ++k) law.beyond[k] += count_beyond(LIMITS[k], normals, count);
}

void draw_words(const Draws& draws, Word first_path, int count, Word (*words)[BLOCK]) {
#pragma omp simd
    for (int i = 0; i < count; ++i) {
        const Words drawn = path_words(draws, first_path + static_cast<Word>(i), address_of(0, 0), PURPOSE_MOVES);
        words[0][i] = drawn.a;
        words[1][i] = drawn.b;
        words[2][i] = drawn.c;
        words[3][i] = drawn.d;
    }
}

}  // namespace

// name_block: `repeats` times the same pairs of words to normals. name_law: four normals for each of `paths` paths.
#define CANDIDATE_LOOPS(name)                                                                                         \
    EXPORTED void name##_block(const Word* first, const Word* second, const Cubic* table, float* cosine, float* sine, \
                               int pairs, int repeats) {                                                              \
        for (int r = 0; r < repeats; ++r) {                                                                           \
            _Pragma("omp simd") for (int i = 0; i < pairs; ++i) {                                                     \
                const NormalPair z = name(first[i], second[i], table);                                                \
                cosine[i] = z.cosine;                                                                                 \
                sine[i] = z.sine;                                                                                     \
            }                                                                                                         \
            /* Without this the compiler may run the block once for all repeats. */                                   \
            __asm__ volatile("" : : "r"(cosine), "r"(sine) : "memory");                                               \
        }                                                                                                             \
    }                                                                                                                 \
    EXPORTED void name##_law(const Draws* draws, const Cubic* table, Word paths, Law* law) {                          \
        alignas(64) Word words[4][BLOCK];                                                                             \
        alignas(64) float normals[4][BLOCK];                                                                          \
        for (Word64 done = 0; done < paths; done += BLOCK) {                                                          \
            const int count = static_cast<int>(paths - done < BLOCK ? paths - done : BLOCK);                          \
            draw_words(*draws, static_cast<Word>(done), count, words);                                                \
            name##_block(words[0], words[1], table, normals[0], normals[1], count, 1);                                \
            name##_block(words[2], words[3], table, normals[2], normals[3], count, 1);                                \
            for (const auto& row : normals) add_to_law(*law, row, count);                                             \
        }                                                                                                             \
    }

NORMAL_CANDIDATES(CANDIDATE_LOOPS)
