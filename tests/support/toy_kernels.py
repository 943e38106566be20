"""Small CUDA kernels whose machine code has what the kernel gate must tell apart, one thing each."""

from __future__ import annotations

import functools

import pytest

from support import cuda_toolchain
from support.sass import Kernel, parse

# Turing; Ampere, whose far jumps are written as calls; Hopper; Blackwell.
ARCHITECTURES = ("sm_75", "sm_80", "sm_90", "sm_120")
each_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)

SOURCE = """
using Word = unsigned int;

extern "C" __global__ void plain(float* out, const float* in) {
    __shared__ float row[64];
    row[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = row[63 - threadIdx.x] * in[1] + in[2];
}

extern "C" __global__ void indexed_local(float* out, const int* where, int n) {
    float sums[16] = {};
    for (int i = 0; i < n; ++i) sums[where[i] & 15] += 1.0f;
    out[threadIdx.x] = sums[where[n] & 15];
}

// 128 numbers alive at once, of which 64 registers cannot hold all.
extern "C" __global__ void __launch_bounds__(1024) spilled(float* out, const float* in, int n) {
    float a[128];
    #pragma unroll
    for (int i = 0; i < 128; ++i) a[i] = in[threadIdx.x + 32 * i];
    #pragma unroll 1
    for (int k = 0; k < n; ++k) {
        #pragma unroll
        for (int i = 0; i < 128; ++i) a[i] = a[i] * a[(i + 61) % 128] + in[k];
    }
    #pragma unroll
    for (int i = 0; i < 128; ++i) out[threadIdx.x + 32 * i] = a[i];
}

extern "C" __global__ void in_double(float* out, double factor) {
    out[threadIdx.x] = static_cast<float>(out[threadIdx.x] * factor);
}

// Eight atomics a rare time.
extern "C" __global__ void rare_branch(float* out, Word* counts, const float* in, int n) {
    float x = out[threadIdx.x];
    #pragma unroll 1
    for (int i = 0; i < n; ++i) {
        x = x * in[i];
        if (x > 1e9f) {
            #pragma unroll
            for (int k = 0; k < 8; ++k) atomicAdd(counts + k, i);
        }
    }
    out[threadIdx.x] = x;
}

// Correctly rounded division, whose rare cases are left to a routine.
extern "C" __global__ void divides(float* out, const float* in, int n) {
    float x = out[threadIdx.x];
    #pragma unroll 1
    for (int i = 0; i < n; ++i) x = x / in[i];
    out[threadIdx.x] = x;
}

__device__ __noinline__ float slow(float x, int n) {
    #pragma unroll 1
    for (int i = 0; i < n; ++i) x = x * x + 0.5f;
    return x;
}

extern "C" __global__ void calls(float* out, int n) {
    float x = out[threadIdx.x];
    #pragma unroll 1
    for (int i = 0; i < n; ++i) {
        if (x > 3.0f) x = slow(x, i);
        x = x + 1.0f;
        if (x < -5.0f) x = slow(x, 3);
    }
    out[threadIdx.x] = x;
}

extern "C" __global__ void switches(float* out, const int* which, int n) {
    float x = out[threadIdx.x];
    #pragma unroll 1
    for (int i = 0; i < n; ++i) {
        switch (which[i]) {
            case 0: x = x * 2.0f; out[i] = x; break;
            case 1: x = x + 3.0f; out[i + 1] = x * x; break;
            case 2: x = sqrtf(x); break;
            case 3: x = x / 3.0f; out[i + 5] = x; break;
            case 4: atomicAdd(out, x); break;
            case 5: x = __shfl_xor_sync(0xffffffffu, x, 1); break;
            case 6: out[i + 9] = x; x = -x * x; break;
        }
        if (x > 1e9f) return;
    }
    out[threadIdx.x] = x;
}

struct Words {
    Word a, b, c, d;
};

__device__ __forceinline__ Words philox(Word a, Word b, Word c, Word d, Word k0, Word k1) {
    #pragma unroll
    for (int round = 0; round < 10; ++round) {
        const Word low0 = 0xD2511F53u * a, high0 = __umulhi(0xD2511F53u, a);
        const Word low1 = 0xCD9E8D57u * c, high1 = __umulhi(0xCD9E8D57u, c);
        a = high1 ^ b ^ k0;
        b = low1;
        c = high0 ^ d ^ k1;
        d = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {a, b, c, d};
}

// One step: a look-up, some sums, and rarely more words, an atomic and a loop with another.
template <int SUMS>
__device__ __forceinline__ void step(Word word, const float2* table, Word* counts, Word key, float& x) {
    const float2 line = table[word >> 20];
    x = x * line.x;
    #pragma unroll
    for (int k = 0; k < SUMS; ++k) x = x + line.y;
    if (x > 100.0f) {
        const Words more = philox(word, 1, 2, 3, key, 5);
        atomicAdd(counts + (more.a & 63), 1u);
        #pragma unroll 1
        for (Word k = 0; k < (more.b & 7); ++k) {
            x = x - 0.5f;
            atomicAdd(counts + k, more.c);
        }
    }
}

// Paths, sessions, calls of the random generator, four steps per call.
template <int SUMS>
__device__ __forceinline__ void walk(float* out, const float2* table, Word* counts, Word key, int paths, int sessions,
                                     int last) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < paths; i += gridDim.x * blockDim.x) {
        float x = 1.0f;
        #pragma unroll 1
        for (int session = 0; session < sessions; ++session) {
            int k = 0;
            #pragma unroll 1
            for (int call = 0;; ++call) {
                const Words words = philox(i, session, call, 0, key, key ^ 77u);
                step<SUMS>(words.a, table, counts, key, x);
                if (k++ == last) break;
                step<SUMS>(words.b, table, counts, key, x);
                if (k++ == last) break;
                step<SUMS>(words.c, table, counts, key, x);
                if (k++ == last) break;
                step<SUMS>(words.d, table, counts, key, x);
                if (k++ == last) break;
            }
        }
        out[i] = x;
    }
}

extern "C" __global__ void four_steps(float* out, const float2* table, Word* counts, Word key, int paths,
                                      int sessions, int last) {
    walk<1>(out, table, counts, key, paths, sessions, last);
}

extern "C" __global__ void four_longer_steps(float* out, const float2* table, Word* counts, Word key, int paths,
                                             int sessions, int last) {
    walk<11>(out, table, counts, key, paths, sessions, last);
}
"""


def compiled(architecture: str) -> cuda_toolchain.Compiled:
    """All toy kernels compiled for one architecture."""
    return cuda_toolchain.compile_cuda(SOURCE, architecture)


@functools.cache
def kernels(architecture: str) -> dict[str, Kernel]:
    """All toy kernels' machine code for one architecture."""
    return parse(cuda_toolchain.disassemble(compiled(architecture).cubin))
