// The differences between a CUDA compiler and a C++ compiler, so that every other header reads the same to both.
//
// Arithmetic is float32 add, subtract, multiply, square root and compare, one rounding per operation, never fused:
// compile CUDA with --fmad=false and C++ with -ffp-contract=off, and neither with fast-math.
#pragma once

using Word = unsigned int;
using Word64 = unsigned long long;

#ifdef __CUDACC__
#define DEVICE __device__ __forceinline__
// A loop whose trip count is small and known at compile time.
#define UNROLL _Pragma("unroll")
#else
#define DEVICE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#endif

DEVICE int bits_of(float value) {
#ifdef __CUDACC__
    return __float_as_int(value);
#else
    return __builtin_bit_cast(int, value);
#endif
}

DEVICE float float_of(int bits) {
#ifdef __CUDACC__
    return __int_as_float(bits);
#else
    return __builtin_bit_cast(float, bits);
#endif
}

DEVICE float square_root(float value) {
#ifdef __CUDACC__
    return __fsqrt_rn(value);
#else
    return __builtin_sqrtf(value);
#endif
}

// Square root, exactly rounded, of a zero or a number between 2^−100 and 2^100. On a GPU these are the steps of the
// compiler's own square root without its branch for other numbers. A zero of either sign stays what it is, since r,
// infinite with the zero's sign, is made finite and positive.
DEVICE float ordinary_square_root(float value) {
#ifdef __CUDACC__
    float r;
    asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(value));
    r = fminf(fabsf(r), 0x1p60f);
    const float root = value * r;
    const float error = __fmaf_rn(-root, root, value);
    return __fmaf_rn(error, 0.5f * r, root);
#else
    return __builtin_sqrtf(value);
#endif
}

DEVICE float smaller(float a, float b) {
#ifdef __CUDACC__
    return fminf(a, b);
#else
    return a < b ? a : b;
#endif
}

DEVICE float larger(float a, float b) {
#ifdef __CUDACC__
    return fmaxf(a, b);
#else
    return a > b ? a : b;
#endif
}

template <typename W>
struct ProductOf {
    W high;
    W low;
};

// Both words of a product.
DEVICE ProductOf<Word> multiply(Word a, Word b) {
    const Word64 product = static_cast<Word64>(a) * b;
    return {static_cast<Word>(product >> 32), static_cast<Word>(product)};
}

// Position of the lowest bit of a word that is not zero.
DEVICE int lowest_bit(Word word) {
#ifdef __CUDACC__
    return __ffs(static_cast<int>(word)) - 1;
#else
    return __builtin_ctz(word);
#endif
}
