// Philox4x32-10: random words as a pure function of their address.
//
//     counter = (path low, path high, session · CALLS_PER_SESSION + call, purpose);   key = seed (low, high)
//
// Source: Salmon, Moraes, Dror & Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3".
#pragma once

#include "plan.cuh"

// Four words of one path, or of several: `W` is Word or Lanes, see lanes.cuh.
template <typename W>
struct WordsOf {
    W a;
    W b;
    W c;
    W d;
};
using Words = WordsOf<Word>;

// Four random words of a counter; `key` holds the two key words of each round.
template <typename W>
DEVICE WordsOf<W> philox4x32(WordsOf<W> counter, const Word* key) {
    UNROLL
    for (int r = 0; r < PHILOX_ROUNDS; ++r) {
        const ProductOf<W> first = multiply(PHILOX_MULTIPLIER_0, counter.a);
        const ProductOf<W> second = multiply(PHILOX_MULTIPLIER_1, counter.c);
        const W a = second.high ^ (counter.b ^ key[2 * r]);
        const W c = first.high ^ (counter.d ^ key[2 * r + 1]);
        counter = {a, second.low, c, first.low};
    }
    return counter;
}

// Address of a call within a session.
DEVICE Word address_of(int session, int call) {
    return static_cast<Word>(session) * CALLS_PER_SESSION + static_cast<Word>(call);
}

// Words of a path, or of several, at an address, for a purpose.
template <typename W>
DEVICE WordsOf<W> path_words(const Draws& draws, W path_low, Word address, Word purpose) {
    return philox4x32<W>({path_low, W(draws.path_high), W(address), W(purpose)}, draws.key);
}
