// Random words to exponentials and normals, by polynomials in float32.
//
//     −2·ln u,  u an odd multiple of 2^−31;    (z0, z1) = sqrt(−2·ln u)·(±cos θ, sin θ),  θ uniform on (−π/2, π/2)
//
// The top bit of the angle's word is the sign of the cosine, the next 19 are the angle; the low 12 are left to the
// bridge. The farthest normal is 6.55 standard deviations out.
//
// Source: Box & Muller (1958); argument reduction of the logarithm as in Cephes.
#pragma once

#include "device.cuh"

struct NormalPair {
    float cosine;
    float sine;
};

// Polynomial c0 + c1·t + c2·t² + …, one multiply and one add per coefficient.
DEVICE float horner(float, float c0) { return c0; }

template <typename... Rest>
DEVICE float horner(float t, float c0, Rest... rest) {
    return horner(t, rest...) * t + c0;
}

// −2·ln u of a word, twice a unit exponential. The word's top bit is ignored and its lowest taken as set.
DEVICE float minus_two_log(Word word) {
    const int bits = bits_of(static_cast<float>(static_cast<int>((word & (0xFFFFFFFFu >> (32 - UNIFORM_BITS))) | 1u)));
    const int exponent = (bits - (SQRT_HALF_BITS + (UNIFORM_BITS << 23))) & static_cast<int>(0xFF800000u);
    const float t = float_of(bits - (UNIFORM_BITS << 23) - exponent) - 1.0f;
    return static_cast<float>(exponent) * (MINUS_TWO_LN_TWO * 0x1p-23f) + horner(t, LOG_POLYNOMIAL) * t;
}

// Two independent standard normals from two words.
DEVICE NormalPair normal_pair(Word radius_word, Word angle_word) {
    const float radius = ordinary_square_root(minus_two_log(radius_word));
    const Word angle = ((angle_word << 1) & (0xFFFFFFFFu << (ANGLE_SPARE_BITS + 1))) | (1u << ANGLE_SPARE_BITS);
    const float t = static_cast<float>(static_cast<int>(angle)) * 0x1p-31f;
    const float square = t * t;
    const float sine = horner(square, SINE_POLYNOMIAL) * t * radius;
    const float cosine = horner(square, COSINE_POLYNOMIAL) * radius;
    return {float_of(bits_of(cosine) ^ static_cast<int>(angle_word & 0x80000000u)), sine};
}
