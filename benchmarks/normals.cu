// Instruction counts of the ways to turn words into normals: one kernel a candidate, and one that only copies.
//
// One thread transforms every `stride`-th pair of words. Arrays, one element a pair:
//     words     uint2    random words
//     normals   float2   standard normals
// `table` holds the segments' cubics. Random words used: two a pair.
//
// The loop of `words_alone` loads and stores as the others do; a candidate's own instructions are the difference.

#include "normal_candidates.cuh"

using Transform = NormalPair (*)(Word, Word, const Cubic*);

template <Transform transform>
DEVICE void transform_pairs(const uint2* words, const Cubic* table, float2* normals, int pairs, int stride) {
#pragma unroll 1
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < pairs; i += stride) {
        const uint2 pair = words[i];
        const NormalPair z = transform(pair.x, pair.y, table);
        normals[i] = make_float2(z.cosine, z.sine);
    }
}

DEVICE NormalPair unchanged(Word first, Word second, const Cubic*) {
    return {float_of(static_cast<int>(first)), float_of(static_cast<int>(second))};
}

#define KERNEL(name, transform)                                                                                       \
    extern "C" __global__ void name(const uint2* words, const Cubic* table, float2* normals, int pairs, int stride) { \
        __shared__ Cubic rows[SEGMENTS];                                                                              \
        for (int k = threadIdx.x; k < SEGMENTS; k += blockDim.x) rows[k] = table[k];                                  \
        __syncthreads();                                                                                              \
        transform_pairs<transform>(words, rows, normals, pairs, stride);                                              \
    }

#define CANDIDATE_KERNEL(name) KERNEL(transform_by_##name, name)

KERNEL(words_alone, unchanged)
NORMAL_CANDIDATES(CANDIDATE_KERNEL)
