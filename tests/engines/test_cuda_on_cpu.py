"""The emulation of launches itself: it must not forgive what a GPU would not."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from support.cuda_on_cpu import (
    PTX,
    CompileError,
    CpuKernel,
    compile_kernel,
    compile_library,
    needs_compiler,
    without_ptx,
)

from sim.compiled.kernel_sources import constant_definitions, kernel_folder, translation_unit

pytestmark = needs_compiler
BLOCKS, THREADS = 3, 40

TOY = """
using Count = unsigned;
struct Pair { float a; double b; };

extern "C" __global__ void __launch_bounds__(64, 1)
toy(const int mode, const __grid_constant__ Pair pair, Count* out, float* reals) {
    SHARED_MEMORY
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (mode == 0) {  // every thread reads what another wrote
        shared[threadIdx.x] = i;
        __syncthreads();
        out[i] = shared[blockDim.x - 1 - threadIdx.x];
    } else if (mode == 1) {  // shared memory as it comes
        out[i] = shared[threadIdx.x];
        shared[threadIdx.x] = 0;
    } else if (mode == 2) {  // one beyond the end
        shared[blockDim.x] = i;
    } else if (mode == 3) {  // barriers that not all threads bound
        if (threadIdx.x == 5) { __syncthreads(); } else { out[i] = 1; }
    } else if (mode == 4) {  // two barriers
        if (threadIdx.x % 2) { __syncthreads(); }
        else { __syncthreads(); }
    } else if (mode == 5) {
        for (int k = 0; k < 1000; ++k) atomicAdd(out + k % 7, 1u);
    } else if (mode == 6) {
        reals[i] = reals[i] * 0.5f + static_cast<float>(pair.b);
    }
}
"""


@pytest.fixture(scope="module")
def kernel() -> CpuKernel:
    return compile_kernel(TOY, "toy")


def launched(kernel: CpuKernel, mode: int, reals: np.ndarray | None = None) -> np.ndarray:
    out = np.zeros(BLOCKS * THREADS, dtype=np.uint32)
    reals = np.zeros(out.size, dtype=np.float32) if reals is None else reals
    pair = np.zeros((), dtype=np.dtype([("a", "f4"), ("b", "f8")], align=True))
    addresses = (np.uint64(array.ctypes.data).tobytes() for array in (out, reals))
    kernel.launch(BLOCKS, THREADS, 4 * THREADS, [np.int32(mode).tobytes(), pair.tobytes(), *addresses])
    return out


def test_threads_of_a_block_share_memory_and_meet(kernel: CpuKernel) -> None:
    threads = np.arange(BLOCKS * THREADS).reshape(BLOCKS, THREADS)
    for _ in range(20):
        np.testing.assert_array_equal(launched(kernel, 0), threads[:, ::-1].ravel())


def test_shared_memory_is_garbage_at_the_start_of_every_block(kernel: CpuKernel) -> None:
    assert set(launched(kernel, 1)) == {0xA5A5A5A5}


def test_atomic_additions_lose_nothing(kernel: CpuKernel) -> None:
    assert launched(kernel, 5).sum() == 1000 * BLOCKS * THREADS


def test_counts_are_added_atomically() -> None:
    """The kernels' own counting, all threads at the same few places; on one processor this cannot fail."""
    loop = """
extern "C" __global__ void count(Count* totals, const int private_count) {
    SHARED_MEMORY
    if (threadIdx.x == 0) for (int i = 0; i < private_count; ++i) shared[i] = 0;
    __syncthreads();
    const Tally tally = {totals, shared, private_count};
    for (int k = 0; k < 3000; ++k) add_one(tally, k % 6);
    __syncthreads();
    if (threadIdx.x == 0) for (int i = 0; i < private_count; ++i) atomicAdd(totals + i, shared[i]);
}
"""
    kernel = compile_kernel(f"#define SHARED_TALLY\n{translation_unit('tally.cuh')}{loop}", "count")
    for private_count in (0, 3, 6):
        totals = np.zeros(6, dtype=np.uint32)
        address = np.uint64(totals.ctypes.data).tobytes()
        kernel.launch(BLOCKS, THREADS, 4 * private_count, [address, np.int32(private_count).tobytes()])
        assert set(totals) == {BLOCKS * THREADS * 500}


def test_denormals_are_flushed(kernel: CpuKernel) -> None:
    reals = np.full(BLOCKS * THREADS, np.finfo(np.float32).tiny, dtype=np.float32)
    launched(kernel, 6, reals)
    assert (reals == 0).all()
    # in the kernel's threads alone
    assert np.float32(1e-40) * np.float32(0.5) > 0


@pytest.mark.parametrize(("mode", "why"), [(2, "outside its shared"), (3, "barriers"), (4, "barriers")])
def test_what_no_gpu_would_stand_fails(kernel: CpuKernel, mode: int, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        launched(kernel, mode)


def test_sizes_of_parameters_are_the_compilers(kernel: CpuKernel) -> None:
    assert kernel.parameter_bytes == (4, 16, 8, 8)
    with pytest.raises(AssertionError):
        kernel.launch(1, 1, 0, [bytes(8), bytes(16), bytes(8), bytes(8)])


def test_source_that_cannot_be_compiled() -> None:
    with pytest.raises(CompileError, match="error"):
        compile_kernel("__global__ void toy(", "toy")
    with pytest.raises(KeyError, match="ex2"):
        without_ptx('asm("ex2.approx.f32 %0, %1;" : "=f"(r) : "f"(value));')
    with pytest.raises(AssertionError, match="inline PTX"):
        without_ptx('asm volatile("bar.sync 0;");')


TRIAL = """
// A reciprocal root some ulps from the nearest.
static thread_local int ulps;
static float trial_root(float value) {
    if (value == 0.0f) return __builtin_copysignf(__builtin_inff(), value);
    const float nearest = static_cast<float>(1.0 / __builtin_sqrt(static_cast<double>(value)));
    return __int_as_float(__float_as_int(nearest) + ulps);
}
"""
ROOTS = """
// Numbers whose root comes out wrong, from a trial root that the GPU's bound allows; the last of them in `worst`.
EXPORTED int wrong_roots(float first, float end, int off, float* worst) {
    int wrong = 0;
    ulps = off;
    for (float value = first; value < end; value = float_of(bits_of(value) + 1)) {
        const double error = __builtin_fabs(trial_root(value) * __builtin_sqrt(static_cast<double>(value)) - 1.0);
        if (value > 0.0f && error > 0x1.126p-23) continue;
        if (bits_of(ordinary_square_root(value)) == bits_of(__builtin_sqrtf(value))) continue;
        worst[wrong++ % 2] = value;
    }
    return wrong;
}

EXPORTED int keeps_minus_zero() {
    ulps = 0;
    return bits_of(ordinary_square_root(-0.0f)) == bits_of(-0.0f);
}
"""


def test_the_square_root_without_branches() -> None:
    """It is exact for all trial roots within 2^−22.9 but two in 2^24, one ulp above the nearest.

    The compiler's own root takes the same steps, and its makers have tried it on every number: no GPU's reciprocal
    root is off that way at those two. tests/engines/test_gpu.py tries them all on the GPU at hand. Two octaves stand
    for all, which differ in their exponents alone as long as nothing under- or overflows.

    Source: PTX ISA, rsqrt.
    """
    device = (kernel_folder() / "device.cuh").read_text().replace("#pragma once", "")
    device, count = PTX.subn(r"\2 = trial_root(\3);", device)
    assert count == 1
    library = compile_library(constant_definitions() + TRIAL + device + ROOTS)
    worst = (ctypes.c_float * 2)()
    library.wrong_roots.argtypes = [ctypes.c_float, ctypes.c_float, ctypes.c_int, ctypes.c_void_p]
    for ulps, wrong in ((-2, 0), (-1, 0), (0, 0), (1, 2), (2, 0)):
        assert library.wrong_roots(1.0, 4.0, ulps, worst) == wrong
    assert [float(value).hex() for value in worst] == ["0x1.f822940000000p+0", "0x1.dd26e40000000p+1"]
    for exponent in (-100, -57, 59, 98):
        assert library.wrong_roots(2.0**exponent, 2.0**exponent * 1.001, 0, worst) == 0
    # zeros, whose reciprocal root is an infinity of their sign
    assert library.wrong_roots(0.0, 1e-45, 0, worst) == 0
    assert library.keeps_minus_zero() == 1
