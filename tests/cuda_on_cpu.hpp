// A CUDA kernel's launch on a processor: what stands before the kernel's source, and the launcher that ends it.
//
// A block is as many threads as on a GPU, which meet at real barriers and add by real atomics; blocks come one after
// another. What a GPU leaves to chance is made bad: shared memory starts as garbage, reciprocal roots are off by as
// much as the GPU's may be. Denormals are flushed, since CuPy compiles with -ftz=true.
#pragma once

#include <cmath>
#include <condition_variable>
#include <cstddef>
#include <cstring>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>
#ifdef __SSE2__
#include <immintrin.h>
#endif

struct Place {
    unsigned x;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(8) int2 {
    int x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
struct alignas(16) ulonglong2 {
    unsigned long long x, y;
};

static thread_local Place threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_on_cpu {

constexpr std::size_t GUARD = 256;
constexpr unsigned char GARBAGE = 0xA5;
enum Failure { NONE, DIVERGENT_BARRIER, OUT_OF_BOUNDS, NO_THREADS };

// Where all threads of a block meet. They must come to the same place in the code, as on a GPU; if they do not, the
// launch fails and nobody waits any more.
class Barrier {
  public:
    explicit Barrier(unsigned threads) : threads_(threads) {}

    void meet(int place) {
        std::unique_lock<std::mutex> lock(mutex_);
        if (arrived_ == 0) place_ = place;
        if (place_ != place) failure_ = DIVERGENT_BARRIER;
        if (++arrived_ == threads_ || failure_ != NONE) {
            arrived_ = 0;
            ++round_;
            all_here_.notify_all();
            return;
        }
        const unsigned round = round_;
        all_here_.wait(lock, [&] { return round != round_; });
    }

    void fail(Failure failure) {
        const std::lock_guard<std::mutex> lock(mutex_);
        failure_ = failure;
        ++round_;
        all_here_.notify_all();
    }

    Failure failure() {
        const std::lock_guard<std::mutex> lock(mutex_);
        return failure_;
    }

  private:
    std::mutex mutex_;
    std::condition_variable all_here_;
    const unsigned threads_;
    unsigned arrived_ = 0;
    unsigned round_ = 0;
    int place_ = 0;
    Failure failure_ = NONE;
};

// Shared memory of a block between two guards that nobody may write to.
class SharedMemory {
  public:
    explicit SharedMemory(std::size_t bytes) : bytes_(bytes), words_((bytes + 2 * GUARD) / sizeof(float4) + 1) {}

    unsigned char* begin() { return start() + GUARD; }
    void spoil() { std::memset(start(), GARBAGE, bytes_ + 2 * GUARD); }

    bool guards_are_whole() {
        for (std::size_t i = 0; i < GUARD; ++i) {
            if (start()[i] != GARBAGE || begin()[bytes_ + i] != GARBAGE) return false;
        }
        return true;
    }

  private:
    unsigned char* start() { return reinterpret_cast<unsigned char*>(words_.data()); }

    const std::size_t bytes_;
    std::vector<float4> words_;
};

static thread_local Barrier* barrier;
static thread_local unsigned char* shared_memory;

inline void flush_denormals() {
#ifdef __SSE2__
    _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
}

// Reciprocal root of a number, as far from the truth as rsqrt.approx.ftz.f32 may be: 2^−22.9 of it, one ulp or none.
inline float reciprocal_root(float value) {
    if (value < 1.17549435e-38f) return value < 0.0f ? NAN : INFINITY;
    const double exact = 1.0 / std::sqrt(static_cast<double>(value));
    const float nearest = static_cast<float>(exact);
    int bits;
    std::memcpy(&bits, &value, sizeof bits);
    const float other = std::nextafter(nearest, bits & 1 ? 0.0f : INFINITY);
    return std::fabs(other - exact) <= exact * 1.2778e-7 ? other : nearest;
}

// Every block of the grid, thread by thread; the same threads serve all blocks.
template <typename Kernel>
Failure launch(unsigned grid, unsigned block, std::size_t shared_bytes, const Kernel& kernel) {
    enum { START = -1, END = -2 };
    Barrier all(block);
    SharedMemory memory(shared_bytes);
    const auto live = [&](unsigned thread) {
        flush_denormals();
        threadIdx = {thread};
        blockDim = {block};
        gridDim = {grid};
        barrier = &all;
        shared_memory = memory.begin();
        for (unsigned i = 0; i < grid && all.failure() == NONE; ++i) {
            blockIdx = {i};
            if (thread == 0) memory.spoil();
            all.meet(START);
            kernel();
            all.meet(END);
            if (thread == 0 && !memory.guards_are_whole()) all.fail(OUT_OF_BOUNDS);
        }
    };
    std::vector<std::thread> threads;
    try {
        for (unsigned thread = 0; thread < block; ++thread) threads.emplace_back(live, thread);
    } catch (const std::system_error&) {
        all.fail(NO_THREADS);
    }
    for (std::thread& thread : threads) thread.join();
    return all.failure();
}

// Launch with arguments by address, as cuLaunchKernel takes them.
template <typename... Parameters, std::size_t... I>
Failure launch_by_address(void (*kernel)(Parameters...), unsigned grid, unsigned block, std::size_t shared_bytes,
                          void* const* arguments, std::index_sequence<I...>) {
    return launch(grid, block, shared_bytes, [&] { kernel(*static_cast<Parameters*>(arguments[I])...); });
}

template <typename... Parameters>
Failure launch_by_address(void (*kernel)(Parameters...), unsigned grid, unsigned block, std::size_t shared_bytes,
                          void* const* arguments) {
    return launch_by_address(kernel, grid, block, shared_bytes, arguments, std::index_sequence_for<Parameters...>());
}

// Size of each parameter, as many as there is room for; returns how many there are.
template <typename... Parameters>
int parameter_sizes(void (*)(Parameters...), std::size_t* sizes, int room) {
    const std::size_t all[] = {sizeof(Parameters)...};
    for (int i = 0; i < room && i < static_cast<int>(sizeof...(Parameters)); ++i) sizes[i] = all[i];
    return sizeof...(Parameters);
}

}  // namespace cuda_on_cpu

#define __global__
#define __device__
#define __forceinline__ static inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __syncthreads() cuda_on_cpu::barrier->meet(__LINE__)
#define SHARED_MEMORY Count* const shared = reinterpret_cast<Count*>(cuda_on_cpu::shared_memory);

static inline unsigned atomicAdd(unsigned* place, unsigned amount) {
    return __atomic_fetch_add(place, amount, __ATOMIC_RELAXED);
}

template <typename Value>
static inline Value __ldg(const Value* place) {
    Value value;
    std::memcpy(&value, place, sizeof value);
    return value;
}

static inline int __float_as_int(float value) { return __builtin_bit_cast(int, value); }
static inline float __int_as_float(int bits) { return __builtin_bit_cast(float, bits); }
static inline float __fsqrt_rn(float value) { return __builtin_sqrtf(value); }
static inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static inline int __ffs(int word) { return __builtin_ffs(word); }
using std::fmaxf;
using std::fminf;

// The CUDA branches of the sources that follow; the standard headers above have been read without it.
#define __CUDACC__ 1

#define EXPORTED extern "C" __attribute__((visibility("default")))
#define EXPORT_KERNEL(kernel)                                                                                  \
    EXPORTED int launch_kernel(unsigned grid, unsigned block, std::size_t shared_bytes, void* const* arguments) { \
        return cuda_on_cpu::launch_by_address(kernel, grid, block, shared_bytes, arguments);                   \
    }                                                                                                          \
    EXPORTED int kernel_parameters(std::size_t* sizes, int room) {                                             \
        return cuda_on_cpu::parameter_sizes(kernel, sizes, room);                                              \
    }
