// Words of several paths at once, as wide as the processor's vectors. Compilers vectorise a loop over single words into
// twice as many instructions: a vector of products of 32 by 32 bits holds every other word's.
#pragma once

#include "device.cuh"

#include <cstring>
#ifdef __SSE2__
#include <immintrin.h>
#endif

#ifndef VECTOR_BYTES
#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#endif
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the word of an even number is the low half");

typedef Word64 Vector __attribute__((vector_size(VECTOR_BYTES)));

// Products of the low halves.
DEVICE Vector multiply_low_halves(Vector a, Vector b) {
#if VECTOR_BYTES == 64 && defined(__AVX512F__)
    return reinterpret_cast<Vector>(_mm512_mul_epu32(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif VECTOR_BYTES == 32 && defined(__AVX2__)
    return reinterpret_cast<Vector>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#elif VECTOR_BYTES == 16 && defined(__SSE2__)
    return reinterpret_cast<Vector>(_mm_mul_epu32(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#else
    return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu);
#endif
}

// One word of each of SIZE paths, in the low halves; what the high halves hold does not matter.
struct Lanes {
    static constexpr int SIZE = VECTOR_BYTES / sizeof(Word);

    Vector even;
    Vector odd;

    Lanes() = default;
    Lanes(Vector even_, Vector odd_) : even(even_), odd(odd_) {}
    explicit Lanes(Word word) : even(Vector{} + word), odd(Vector{} + word) {}

    static Lanes load(const Word* words) {
        Vector both;
        std::memcpy(&both, words, sizeof both);
        return {both, both >> 32};
    }

    void store(Word* words) const {
        const Vector both = (even & 0xFFFFFFFFu) | (odd << 32);
        std::memcpy(words, &both, sizeof both);
    }
};

DEVICE Lanes operator^(const Lanes& a, const Lanes& b) { return {a.even ^ b.even, a.odd ^ b.odd}; }

DEVICE Lanes operator^(const Lanes& a, Word b) { return {a.even ^ b, a.odd ^ b}; }

DEVICE ProductOf<Lanes> multiply(Word a, const Lanes& b) {
    const Vector even = multiply_low_halves(Vector{} + a, b.even);
    const Vector odd = multiply_low_halves(Vector{} + a, b.odd);
    return {{even >> 32, odd >> 32}, {even, odd}};
}
