// Philox4x32-10: random words as a pure function of their address.
//
//     counter = (path low, path high, session · CALLS_PER_SESSION + call, purpose);   key = seed (low, high)
//
// Source: Salmon, Moraes, Dror & Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3".
#pragma once

#include "plan.cuh"

struct Words {
    Word a;
    Word b;
    Word c;
    Word d;
};

// Four random words of a counter; `key` holds the two key words of each round.
DEVICE Words philox4x32(Words counter, const Word* key) {
    UNROLL
    for (int r = 0; r < PHILOX_ROUNDS; ++r) {
        const Product first = multiply(PHILOX_MULTIPLIER_0, counter.a);
        const Product second = multiply(PHILOX_MULTIPLIER_1, counter.c);
        const Word a = second.high ^ counter.b ^ key[2 * r];
        const Word c = first.high ^ counter.d ^ key[2 * r + 1];
        counter = {a, second.low, c, first.low};
    }
    return counter;
}

// Address of a call within a session.
DEVICE Word address_of(int session, int call) {
    return static_cast<Word>(session) * CALLS_PER_SESSION + static_cast<Word>(call);
}

// Words of a path at an address, for a purpose.
DEVICE Words path_words(const Draws& draws, Word path_low, Word address, Word purpose) {
    return philox4x32({path_low, draws.path_high, address, purpose}, draws.key);
}
