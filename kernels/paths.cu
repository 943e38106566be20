// Counts of a range of paths on a GPU, and their records where asked for.
//
// One thread simulates one path at a time, from the start to the last close, and takes the next one a grid further
// on. Its state stays in registers; of a path only its record is ever written to memory.
//
//     plan      by value; its arrays lie in global memory, see plan.cuh
//     draws     by value; key of each round of Philox, high word of all paths' numbers
//     first     low word of the first path's number; first + count must not exceed 2^32
//     count     number of paths, at most 2^30 so that no 32-bit count can overflow
//     private_count   leading counts that are privatised in the block's shared memory
//     totals    (tallies,) uint32, added to
//     records   (count,) uint16, see record_of; or null: nothing of a single path is kept
//
// Shared memory: private_count 32-bit counts, then 16-bit closes in a row, one per close trigger and thread.
// Random words: see session.cuh and path_step.cuh. Source: docs/methods.md; Philox, Salmon et al. (2011).
#define SHARED_TALLY
#include "paths.cuh"

#ifndef BLOCK_THREADS
#define BLOCK_THREADS 256
#endif
#ifndef SHARED_MEMORY
#define SHARED_MEMORY extern __shared__ Count shared[];
#endif

extern "C" __global__ void __launch_bounds__(BLOCK_THREADS, 1)
    simulate_paths(const __grid_constant__ Plan plan, const __grid_constant__ Draws draws, const Word first,
                   const Word count, const int private_count, Count* totals, Record* const records) {
    SHARED_MEMORY
    for (int i = threadIdx.x; i < private_count; i += blockDim.x) shared[i] = 0;
    __syncthreads();

    const Tally tally = {totals, shared, private_count};
    unsigned short* runs = reinterpret_cast<unsigned short*>(shared + private_count) + threadIdx.x;
    const Word stride = gridDim.x * blockDim.x;
    for (Word i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        const Record record = run_path(plan, draws, first + i, runs, static_cast<int>(blockDim.x), tally);
        if (records != nullptr) records[i] = record;
    }

    __syncthreads();
    for (int i = threadIdx.x; i < private_count; i += blockDim.x) {
        if (shared[i] != 0) atomicAdd(totals + i, shared[i]);
    }
}
