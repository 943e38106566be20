// Whether a path touched a barrier between the two ends of a step.
//
//     P(touch | y0, y1) = exp(−2·d0·d1 / v),   decided by   v·E/2 > d0·d1,   E = −ln U
//
// d0, d1 are the distances to the barrier at the two ends, v the variance of the step. One U serves all levels above
// and 1 − U all below, so that touching a farther level implies touching the nearer one. Six bits of U are spare bits
// of the step's own angle word: they bound E, and mostly settle the matter without a draw.
//
// Source: Brownian-bridge extremum law, Andersen & Brotherton-Ratcliffe (1996); Glasserman (2003) section 6.4.
#pragma once

#include "normal.cuh"

constexpr int KNOWN_MASK = (1 << BRIDGE_KNOWN_BITS) - 1;

// Bounds of E/2 come in units of BRIDGE_UNIT = ½·ln 2·2^−23: the bits of a float, read as a number, are
// 2^23·(127 + log2) up to an error of −0.0861 to 0 in log2. The margin, 1e-5 of E/2 and more, is above any rounding of
// the bounds and of the exponential itself.
constexpr float LOG2_OF_BITS_ERROR = 0.0862f;
constexpr float UNITS_MARGIN = 512.0f;
constexpr float UNITS_OF_ZERO = (127 + BRIDGE_KNOWN_BITS) * 0x1p23f;

// Top bits of U that a pair's angle word holds for a step; `k` counts within the session, the two steps of a pair
// share the word.
DEVICE int known_bits(Word angle_word, int k) {
    return static_cast<int>(angle_word >> (BRIDGE_KNOWN_BITS * (k & 1))) & KNOWN_MASK;
}

// Word of U: the known bits on top of those that count, drawn ones below. Its complement is the word of 1 − U.
DEVICE Word bridge_word(int known, Word drawn) {
    return (static_cast<Word>(known) << (UNIFORM_BITS - BRIDGE_KNOWN_BITS)) |
           (drawn >> (32 - UNIFORM_BITS + BRIDGE_KNOWN_BITS));
}

// E/2 of a word.
DEVICE float half_exponential(Word word) { return minus_two_log(word) * 0.25f; }

// Upper bound of E/2, in units, when U lies at or above known/2^BRIDGE_KNOWN_BITS; 46 when known = 0.
DEVICE float most_units(float known) { return (UNITS_OF_ZERO + UNITS_MARGIN) - static_cast<float>(bits_of(known)); }

// Lower bound of E/2, in units, when U lies below (known + 1)/2^BRIDGE_KNOWN_BITS; it may be negative.
DEVICE float least_units(float known) {
    return (UNITS_OF_ZERO - LOG2_OF_BITS_ERROR * 0x1p23f - UNITS_MARGIN) - static_cast<float>(bits_of(known + 1.0f));
}

// Whether the barrier was touched. `start`, `end`: distances to it, positive on the near side, log units; `bound`:
// v·E/2. A gap jumps over levels, so that only its end counts.
template <bool GAP>
DEVICE bool touched(float start, float end, float bound) {
    return end <= 0.0f || (!GAP && (start <= 0.0f || start * end < bound));
}
