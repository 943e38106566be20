// Counts of paths, all in one array whose parts begin at the plan's `…_tally`:
//
//     joint (3, 3)  first target with dealers × without          both  (2, W)  side × levels touched in both worlds
//     regime (D, R) regime after each close                      first (N, 4) step × (2·world + side), first targets
//     touch (N, 4, W) step × (2·world + side) × level            close (D, H + 2) histogram of each close
//
// On a GPU the leading `private_count` of them are privatised in the block's shared memory, whose threads share them.
#pragma once

#include "plan.cuh"

// A range of paths must be short enough for 32 bits; the totals over ranges have 64.
using Count = Word;

// A path's record, see record_of.
using Record = unsigned short;

struct Tally {
    Count* total;
    Count* block;
    int private_count;
};

DEVICE void add_one(const Tally& tally, int index) {
#ifdef SHARED_TALLY
    if (index < tally.private_count) {
        atomicAdd(tally.block + index, 1u);
    } else {
        atomicAdd(tally.total + index, 1u);
    }
#else
    tally.total[index] += 1;
#endif
}
