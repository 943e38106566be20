// A CUDA kernel's launch on a processor: what stands before the kernel's source, and the launcher that ends it.
//
// A block is as many threads as on a GPU, which meet at real barriers and add by real atomics; blocks come one after
// another. What a GPU leaves to chance is made bad: shared memory starts as garbage, reciprocal roots are off by as
// much as the GPU's may be. Denormals are flushed, since CuPy compiles with -ftz=true.
#pragma once

// Few headers and light ones: most of the time of a compilation goes into them.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <utility>
#ifdef __SSE2__
#include <xmmintrin.h>
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

constexpr size_t GUARD = 256;
constexpr unsigned char GARBAGE = 0xA5;
enum Failure { NONE, DIVERGENT_BARRIER, OUT_OF_BOUNDS, NO_THREADS, NO_MEMORY };

// Where all threads of a block meet. They must come to the same place in the code, as on a GPU; if they do not, the
// launch fails and nobody waits any more.
class Barrier {
  public:
    explicit Barrier(unsigned threads) : threads_(threads) {}

    void meet(int place) {
        pthread_mutex_lock(&mutex_);
        if (arrived_ == 0) place_ = place;
        if (failure_ == NONE && place_ != place) end(DIVERGENT_BARRIER);
        if (++arrived_ == threads_) {
            arrived_ = 0;
            ++round_;
            pthread_cond_broadcast(&all_here_);
        } else {
            const unsigned round = round_;
            while (round == round_ && failure_ == NONE) pthread_cond_wait(&all_here_, &mutex_);
        }
        pthread_mutex_unlock(&mutex_);
    }

    void fail(Failure failure) {
        pthread_mutex_lock(&mutex_);
        if (failure_ == NONE) end(failure);
        pthread_mutex_unlock(&mutex_);
    }

    Failure failure() {
        pthread_mutex_lock(&mutex_);
        const Failure failure = failure_;
        pthread_mutex_unlock(&mutex_);
        return failure;
    }

  private:
    void end(Failure failure) {
        failure_ = failure;
        pthread_cond_broadcast(&all_here_);
    }

    pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t all_here_ = PTHREAD_COND_INITIALIZER;
    const unsigned threads_;
    unsigned arrived_ = 0;
    unsigned round_ = 0;
    int place_ = 0;
    Failure failure_ = NONE;
};

// Shared memory of a block between two guards that nobody may write to.
class SharedMemory {
  public:
    explicit SharedMemory(size_t bytes)
        : bytes_(bytes), start_(static_cast<unsigned char*>(malloc(bytes + 2 * GUARD))) {}
    SharedMemory(const SharedMemory&) = delete;
    ~SharedMemory() { free(start_); }

    bool is_there() const { return start_ != nullptr; }
    unsigned char* begin() const { return start_ + GUARD; }
    void spoil() const { memset(start_, GARBAGE, bytes_ + 2 * GUARD); }

    bool guards_are_whole() const {
        for (size_t i = 0; i < GUARD; ++i) {
            if (start_[i] != GARBAGE || begin()[bytes_ + i] != GARBAGE) return false;
        }
        return true;
    }

  private:
    const size_t bytes_;
    unsigned char* const start_;
};

static thread_local Barrier* barrier;
static thread_local unsigned char* shared_memory;

inline void flush_denormals() {
#ifdef __SSE2__
    _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
}

// Reciprocal root of a number, nearest or, for every other number, up to an ulp below: rsqrt.approx.ftz.f32 is within
// 2^−22.9. What an ulp above would do, tests/engines/test_cuda_on_cpu.py tells.
inline float reciprocal_root(float value) {
    // Of a zero, -0 included, an infinity of its sign.
    if (value <= -0x1p-126f) return __builtin_nanf("");
    if (value < 0x1p-126f) return __builtin_copysignf(__builtin_inff(), value);
    const double exact = 1.0 / __builtin_sqrt(static_cast<double>(value));
    const float nearest = static_cast<float>(exact);
    const float below = __builtin_bit_cast(float, __builtin_bit_cast(int, nearest) - 1);
    return __builtin_bit_cast(int, value) % 2 && exact - below <= exact * 0x1.126p-23 ? below : nearest;
}

template <typename Kernel>
struct Launch {
    const unsigned grid;
    const unsigned block;
    const Kernel& kernel;
    const SharedMemory& memory;
    Barrier all;
};

template <typename Kernel>
struct Thread {
    Launch<Kernel>* launch;
    unsigned number;
    pthread_t handle;
};

// What one thread does, block after block.
template <typename Kernel>
void* live(void* argument) {
    enum { START = -1, END = -2 };
    const auto* thread = static_cast<Thread<Kernel>*>(argument);
    Launch<Kernel>& launch = *thread->launch;
    flush_denormals();
    threadIdx = {thread->number};
    blockDim = {launch.block};
    gridDim = {launch.grid};
    barrier = &launch.all;
    shared_memory = launch.memory.begin();
    for (unsigned i = 0; i < launch.grid; ++i) {
        blockIdx = {i};
        if (thread->number == 0) launch.memory.spoil();
        launch.all.meet(START);
        if (launch.all.failure() != NONE) break;
        launch.kernel();
        launch.all.meet(END);
        if (thread->number == 0 && !launch.memory.guards_are_whole()) launch.all.fail(OUT_OF_BOUNDS);
    }
    return nullptr;
}

// Every block of the grid; the same threads serve them all.
template <typename Kernel>
Failure run(unsigned grid, unsigned block, size_t shared_bytes, const Kernel& kernel) {
    const SharedMemory memory(shared_bytes);
    auto* threads = static_cast<Thread<Kernel>*>(calloc(block, sizeof(Thread<Kernel>)));
    if (threads == nullptr || !memory.is_there()) {
        free(threads);
        return NO_MEMORY;
    }
    Launch<Kernel> launch = {grid, block, kernel, memory, Barrier(block)};
    unsigned started = 0;
    for (; started < block; ++started) {
        Thread<Kernel>& thread = threads[started];
        thread.launch = &launch;
        thread.number = started;
        if (pthread_create(&thread.handle, nullptr, live<Kernel>, &thread) != 0) break;
    }
    if (started < block) launch.all.fail(NO_THREADS);
    for (unsigned i = 0; i < started; ++i) pthread_join(threads[i].handle, nullptr);
    free(threads);
    return launch.all.failure();
}

// Launch with arguments by address, as cuLaunchKernel takes them.
template <typename... Parameters, size_t... I>
Failure launch_by_address(void (*kernel)(Parameters...), unsigned grid, unsigned block, size_t shared_bytes,
                          void* const* arguments, std::index_sequence<I...>) {
    return run(grid, block, shared_bytes, [&] { kernel(*static_cast<Parameters*>(arguments[I])...); });
}

template <typename... Parameters>
Failure launch_by_address(void (*kernel)(Parameters...), unsigned grid, unsigned block, size_t shared_bytes,
                          void* const* arguments) {
    return launch_by_address(kernel, grid, block, shared_bytes, arguments, std::index_sequence_for<Parameters...>());
}

// Size of each parameter, as many as there is room for; returns how many there are.
template <typename... Parameters>
int parameter_sizes(void (*)(Parameters...), size_t* sizes, int room) {
    const size_t all[] = {sizeof(Parameters)...};
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
    memcpy(&value, place, sizeof value);
    return value;
}

static inline int __float_as_int(float value) { return __builtin_bit_cast(int, value); }
static inline float __int_as_float(int bits) { return __builtin_bit_cast(float, bits); }
static inline float __fsqrt_rn(float value) { return __builtin_sqrtf(value); }
static inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static inline int __ffs(int word) { return __builtin_ffs(word); }
static inline float fabsf(float a) { return __builtin_fabsf(a); }
static inline float fminf(float a, float b) { return __builtin_fminf(a, b); }
static inline float fmaxf(float a, float b) { return __builtin_fmaxf(a, b); }

// The CUDA branches of the sources that follow; the standard headers above have been read without it.
#define __CUDACC__ 1

#define EXPORTED extern "C" __attribute__((visibility("default")))
#define EXPORT_KERNEL(kernel)                                                                                \
    EXPORTED int launch_kernel(unsigned grid, unsigned block, size_t shared_bytes, void* const* arguments) { \
        return cuda_on_cpu::launch_by_address(kernel, grid, block, shared_bytes, arguments);                 \
    }                                                                                                        \
    EXPORTED int kernel_parameters(size_t* sizes, int room) {                                                \
        return cuda_on_cpu::parameter_sizes(kernel, sizes, room);                                            \
    }
