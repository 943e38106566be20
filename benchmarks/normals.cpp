// Loops of the ways to turn words into normals, for the processor: blocks to time, and the law of many draws.

#include "normal_candidates.cuh"
#include "philox.cuh"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace {

constexpr int BLOCK = 512;
constexpr int MOMENTS = 4;
constexpr int LIMITS = 3;

// Sums of the first powers, and numbers of normals beyond ±4, ±5 and ±6.
struct Law {
    double sums[MOMENTS];
    long long beyond[LIMITS];
};

void add_to_law(Law& law, const float* normals, int count) {
    double first = 0, second = 0, third = 0, fourth = 0;
    int four = 0, five = 0, six = 0;
#pragma omp simd reduction(+ : first, second, third, fourth, four, five, six)
    for (int i = 0; i < count; ++i) {
        const float z = normals[i];
        const float size = z < 0 ? -z : z;
        const double value = z, square = value * value;
        first += value;
        second += square;
        third += square * value;
        fourth += square * square;
        four += size > 4.0f;
        five += size > 5.0f;
        six += size > 6.0f;
    }
    const double sums[] = {first, second, third, fourth};
    const int beyond[] = {four, five, six};
    for (int k = 0; k < MOMENTS; ++k) law.sums[k] += sums[k];
    for (int k = 0; k < LIMITS; ++k) law.beyond[k] += beyond[k];
}

void draw_words(const Draws& draws, Word first_path, int count, Word (*words)[BLOCK]) {
#pragma omp simd
    for (int i = 0; i < count; ++i) {
        const Words drawn = path_words(draws, first_path + static_cast<Word>(i), 0, 0, PURPOSE_MOVES);
        words[0][i] = drawn.a;
        words[1][i] = drawn.b;
        words[2][i] = drawn.c;
        words[3][i] = drawn.d;
    }
}

}  // namespace

// name_block: `repeats` times the same pairs of words to normals. name_law: four normals for each of `paths` paths.
#define CANDIDATE_LOOPS(name)                                                                                     \
    EXPORTED void name##_block(const Word* first, const Word* second, const Cubic* table, float* cosine,          \
                               float* sine, int pairs, int repeats) {                                             \
        for (int r = 0; r < repeats; ++r) {                                                                       \
            _Pragma("omp simd") for (int i = 0; i < pairs; ++i) {                                                 \
                const NormalPair z = name(first[i], second[i], table);                                            \
                cosine[i] = z.cosine;                                                                             \
                sine[i] = z.sine;                                                                                 \
            }                                                                                                     \
            /* Without this the compiler may run the block once for all repeats. */                               \
            __asm__ volatile("" : : "r"(cosine), "r"(sine) : "memory");                                           \
        }                                                                                                         \
    }                                                                                                             \
    EXPORTED void name##_law(const Draws* draws, const Cubic* table, Word first_path, Word paths, Law* law) {     \
        alignas(64) Word words[4][BLOCK];                                                                         \
        alignas(64) float normals[4][BLOCK];                                                                      \
        for (Word done = 0; done < paths; done += BLOCK) {                                                        \
            const int count = static_cast<int>(paths - done < BLOCK ? paths - done : BLOCK);                      \
            draw_words(*draws, first_path + done, count, words);                                                  \
            name##_block(words[0], words[1], table, normals[0], normals[1], count, 1);                            \
            name##_block(words[2], words[3], table, normals[2], normals[3], count, 1);                            \
            for (const auto& row : normals) add_to_law(*law, row, count);                                         \
        }                                                                                                         \
    }

NORMAL_CANDIDATES(CANDIDATE_LOOPS)
