// Ways to turn two random words into two standard normals, each under the exact arithmetic of kernels/device.cuh.
//
//     as_used             Box–Muller, half a turn by polynomials and a sign: kernels/normal.cuh
//     octants             Box–Muller, an eighth of a turn by shorter polynomials, then sine and cosine swapped or not
//     long_polynomials    as used, with one coefficient more for the logarithm and for the sine
//     segments            inverse distribution, each word by itself: a cubic for each eighth of a binade of the tail
//     two_polynomials     inverse distribution, each word by itself: z/(1 − u) by two polynomials, no table
//
// The logarithm has seven coefficients as used and eight in every other candidate that takes one.
//
// An inverse distribution takes its sign from a word's top bit and u, twice the tail's probability, from the others.
//
// Source: Box & Muller (1958); Giles (2010), "Approximating the erfinv function", for the variable −ln(u·(2 − u)).
#pragma once

#include "normal.cuh"

#define NORMAL_CANDIDATES(X) X(as_used) X(octants) X(long_polynomials) X(segments) X(two_polynomials)

// One segment's normals: c0 + c1·t + c2·t² + c3·t³, t from the segment's middle, in units of its binade.
struct alignas(16) Cubic {
    float c0;
    float c1;
    float c2;
    float c3;
};

// −2·ln of value·2^−scale, for a positive value.
template <typename... Coefficients>
DEVICE float minus_two_log_of(float value, int scale, Coefficients... coefficients) {
    const int bits = bits_of(value);
    const int exponent = (bits - (SQRT_HALF_BITS + (scale << 23))) & static_cast<int>(0xFF800000u);
    const float t = float_of(bits - (scale << 23) - exponent) - 1.0f;
    return static_cast<float>(exponent) * (MINUS_TWO_LN_TWO * 0x1p-23f) + horner(t, coefficients...) * t;
}

DEVICE float with_sign(float value, Word word) {
    return float_of(bits_of(value) ^ static_cast<int>(word & 0x80000000u));
}

DEVICE float low_bits(Word word) { return static_cast<float>(static_cast<int>(word & 0x7FFFFFFFu)); }

// Radius of Box–Muller, its logarithm by the long polynomial.
DEVICE float long_radius(Word word) {
    const float uniform = static_cast<float>(static_cast<int>((word & 0x7FFFFFFFu) | 1u));
    return ordinary_square_root(minus_two_log_of(uniform, UNIFORM_BITS, LONG_LOG));
}

DEVICE NormalPair as_used(Word radius_word, Word angle_word, const Cubic*) {
    return normal_pair(radius_word, angle_word);
}

// Bit 31 of the angle's word signs the cosine, bit 30 swaps, the next 18 are the angle.
DEVICE NormalPair octants(Word radius_word, Word angle_word, const Cubic*) {
    const float radius = long_radius(radius_word);
    const Word angle = ((angle_word << 2) & (0xFFFFFFFFu << (ANGLE_SPARE_BITS + 2))) | (1u << (ANGLE_SPARE_BITS + 1));
    const float t = static_cast<float>(static_cast<int>(angle)) * 0x1p-31f;
    const float square = t * t;
    const float sine = horner(square, OCTANT_SINE) * t * radius;
    const float cosine = with_sign(horner(square, OCTANT_COSINE) * radius, angle_word);
    const bool swaps = (angle_word & 0x40000000u) != 0;
    return {swaps ? sine : cosine, swaps ? cosine : sine};
}

DEVICE NormalPair long_polynomials(Word radius_word, Word angle_word, const Cubic*) {
    const float radius = long_radius(radius_word);
    const Word angle = ((angle_word << 1) & (0xFFFFFFFFu << (ANGLE_SPARE_BITS + 1))) | (1u << ANGLE_SPARE_BITS);
    const float t = static_cast<float>(static_cast<int>(angle)) * 0x1p-31f;
    const float square = t * t;
    return {with_sign(horner(square, COSINE_POLYNOMIAL) * radius, angle_word), horner(square, LONG_SINE) * t * radius};
}

// The table's argument is the number in the low bits, or ½ for 0: the outermost cell has segments of its own.
DEVICE float segment_normal(Word word, const Cubic* table) {
    const int bits = bits_of(larger(low_bits(word), 0.5f));
    const Cubic cubic = table[(bits >> (23 - SEGMENT_BITS)) - FIRST_SEGMENT];
    const int within = bits & ((1 << (23 - SEGMENT_BITS)) - 1);
    const float t = float_of(within | bits_of(1.0f)) - SEGMENT_MIDDLE;
    return with_sign(horner(t, cubic.c0, cubic.c1, cubic.c2, cubic.c3), word);
}

DEVICE NormalPair segments(Word first, Word second, const Cubic* table) {
    return {segment_normal(first, table), segment_normal(second, table)};
}

// z/(1 − u) as a polynomial in w = −2·ln(u·(2 − u)), far out in its square root.
DEVICE float two_polynomial_normal(Word word) {
    const float u = (low_bits(word) + 0.5f) * 0x1p-31f;
    const float w = minus_two_log_of(u * (2.0f - u), 0, LONG_LOG);
    float ratio;
    if (w < CENTRE_END) {
        ratio = horner(w - CENTRE_MIDDLE, CENTRE_POLYNOMIAL);
    } else {
        ratio = horner(square_root(w) - TAIL_MIDDLE, TAIL_POLYNOMIAL);
    }
    return with_sign((1.0f - u) * ratio, word);
}

DEVICE NormalPair two_polynomials(Word first, Word second, const Cubic*) {
    return {two_polynomial_normal(first), two_polynomial_normal(second)};
}
