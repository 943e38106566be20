"""The CUDA engine: the kernels compiled for each device by CuPy, a grid of threads, one path per thread at a time.

The only module that imports cupy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.compiled.kernel_sources import CUDA_OPTIONS, kernel_digest, translation_unit
from sim.engines.kernel_plan import (
    MOST_PATHS,
    WORD_MASK,
    KernelArray,
    TallyLayout,
    kernel_draws,
    kernel_plan,
    outcomes_from_tallies,
)
from sim.engines.path_ranges import WORD, RunRecords, even_size, path_ranges, share_ranges
from sim.errors import GammawallError
from sim.plan.engine_plan import EnginePlan
from sim.plan.outcomes import Outcomes

# Path-steps of one launch: long against the launch itself, short enough for a progress bar and an interruption. A
# launch of fewer paths would leave the device partly idle.
LAUNCH_STEPS = 1 << 33
SMALLEST_LAUNCH = 1 << 18
# Paths of a launch whose records are kept: they take 128 MB of a device's memory.
MOST_RECORDS = 1 << 26
BLOCK_THREADS = 256
BLOCKS_PER_MULTIPROCESSOR = 16
# Shared memory of a block that every device grants without being asked.
SHARED_BYTES = 48 * 1024
CACHE_HINT = "Try setting CUPY_CACHE_DIR to a folder that may be written to."
INSTALL = "pip install 'gammawall-sim[cuda13]' (or [cuda12], by what nvidia-smi calls the CUDA version)"


class CudaEngine:
    """Engine that simulates on NVIDIA GPUs.

    Parameters
    ----------
    devices : numbers of the devices that share the paths; device 0 if None.
    block_paths : paths of a launch; it changes speed, never counts.

    Attributes
    ----------
    compile_seconds : what compiling the kernels took, next to nothing once they are in CuPy's cache.
    kernel_seconds : time the busiest device spent in the kernel during the last run, by its own clock.

    Raises
    ------
    GammawallError : CuPy, the driver or a device is missing.
    """

    name = "cuda"

    def __init__(self, devices: Sequence[int] | None = None, block_paths: int | None = None):
        self.devices = tuple(dict.fromkeys(devices or (0,)))
        problem = cuda_problem(self.devices)
        if problem:
            raise GammawallError(f"the cuda engine is not available: {problem}")
        self.block_paths = block_paths
        self.at_work = len(self.devices)
        self.compile_seconds = 0.0
        self.kernel_seconds = 0.0
        self._kernels: dict[tuple[int, int], Any] = {}

    @staticmethod
    def problem() -> str | None:
        """Reason why the engine is unavailable here, with a remedy; None if it is available."""
        return cuda_problem()

    @property
    def threads(self) -> int:
        """Number of host threads, one per device."""
        return len(self.devices)

    @property
    def device(self) -> str:
        """Names of the devices."""
        names = device_names()
        return ", ".join(f"{names[d]} (device {d})" for d in self.devices)

    def run(
        self,
        plan: EnginePlan,
        seed: int,
        first_path: int,
        paths: int,
        progress: Callable[[int], None] | None = None,
        records: NDArray[np.uint16] | None = None,
    ) -> Outcomes:
        """Outcomes of paths `first_path` … `first_path + paths − 1`; see `NumpyEngine.run`.

        Raises
        ------
        GammawallError : a device has too little memory, cannot compile the kernels, or was lost.
        KeyboardInterrupt : after the launches under way.
        """
        size = self.block_paths or even_size(
            paths, len(self.devices), SMALLEST_LAUNCH, LAUNCH_STEPS // plan.steps
        )
        size = min(size, MOST_PATHS if records is None else MOST_RECORDS)
        kept = RunRecords(records, first_path, paths)
        self.kernel_seconds = 0.0
        with _device_failures():
            workers = [
                _DeviceRun(self, device, plan, seed, kept, min(size, paths)) for device in self.devices
            ]
            ranges = path_ranges(first_path, paths, size)
            share_ranges([worker.count_paths for worker in workers], ranges, progress)
        self.kernel_seconds = max(worker.kernel_seconds for worker in workers)
        return outcomes_from_tallies(plan, np.sum([w.total for w in workers], axis=0), paths)

    def kernel(self, device: int, step_bytes: int) -> Any:
        """Kernel compiled for a device, which must be the current one, and for `step_bytes` between steps."""
        key = device, step_bytes
        if key not in self._kernels:
            began = time.perf_counter()
            options = (
                *CUDA_OPTIONS,
                f"-DSTEP_BYTES={step_bytes}",
                f"-DBLOCK_THREADS={BLOCK_THREADS}",
                # CuPy's cache goes by source and options: no change of any file may find the former binary.
                f"-DKERNEL_DIGEST=0x{kernel_digest()[:16]}ull",
            )
            source = translation_unit("paths.cu")
            with _compile_failures():
                module = _cupy().RawModule(code=source, options=options, backend="nvrtc")
                self._kernels[key] = module.get_function("simulate_paths")
            self.compile_seconds += time.perf_counter() - began
        return self._kernels[key]


class _DeviceRun:
    """One device's share of a run: the plan in its memory, its counts and, if wanted, the records of a launch."""

    def __init__(
        self, engine: CudaEngine, device: int, plan: EnginePlan, seed: int, kept: RunRecords, capacity: int
    ):
        cupy = _cupy()
        self.device, self.seed, self.kept = device, seed, kept
        self.kernel_seconds = 0.0
        self.arrays: dict[str, Any] = {}
        layout = TallyLayout.of(plan)
        self.total: NDArray[np.int64] = np.zeros(layout.tallies, dtype=np.int64)
        with cupy.cuda.Device(device) as current:
            self.plan = kernel_plan(plan, self._place)
            self.kernel = engine.kernel(device, int(self.plan["step_bytes"]))
            self.counts = cupy.zeros(layout.tallies, dtype=np.uint32)
            # A null pointer is passed as a number of its size.
            self.records: Any = cupy.empty(capacity, dtype=np.uint16) if kept.wanted else np.uint64(0)
            self.blocks = BLOCKS_PER_MULTIPROCESSOR * int(current.attributes["MultiProcessorCount"])
            # Launches come from another thread, which has a stream of its own where CuPy is told to give it one.
            current.synchronize()
        runs = 2 * BLOCK_THREADS * int(self.plan["close_triggers"])
        self.private_count = max((e for e in [0, *layout.ends()] if 4 * e + runs <= SHARED_BYTES), default=0)
        self.shared_bytes = 4 * self.private_count + runs

    def _place(self, name: str, array: KernelArray) -> int:
        flat = np.frombuffer(array.tobytes() or bytes(1), dtype=np.uint8)
        self.arrays[name] = _cupy().asarray(flat)
        return int(self.arrays[name].data.ptr)

    def count_paths(self, first: int, count: int) -> None:
        """Count a range of paths and keep their records."""
        cupy = _cupy()
        with cupy.cuda.Device(self.device):
            start, end = cupy.cuda.Event(), cupy.cuda.Event()
            self.counts.fill(0)
            start.record()
            self.kernel(
                (min(self.blocks, -(-count // BLOCK_THREADS)),),
                (BLOCK_THREADS,),
                (
                    self.plan,
                    kernel_draws(self.seed, first >> WORD),
                    np.uint32(first & WORD_MASK),
                    np.uint32(count),
                    np.int32(self.private_count),
                    self.counts,
                    self.records,
                ),
                shared_mem=self.shared_bytes,
            )
            end.record()
            end.synchronize()
            self.kernel_seconds += cupy.cuda.get_elapsed_time(start, end) / 1000
            self.total += cupy.asnumpy(self.counts)
            records = self.kept.of_range(first, count)
            if records is not None:
                cupy.asnumpy(self.records[:count], out=records)


def _cupy() -> Any:
    import cupy

    return cupy


@contextmanager
def _device_failures() -> Iterator[None]:
    """Context in which failures of a device become one `GammawallError` with a remedy; nothing is written by then."""
    cupy = _cupy()
    try:
        yield
    except cupy.cuda.memory.OutOfMemoryError as error:
        raise GammawallError(
            f"the GPU has too little free memory ({error}). Try a shorter horizon, fewer levels or "
            "volatility.steps_per_session, another --devices, or --engine native."
        ) from error
    except (cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError) as error:
        raise GammawallError(
            f"the GPU failed during the run ({error}); nothing was counted. Look at nvidia-smi, then try again, "
            "or try --engine native."
        ) from error


@contextmanager
def _compile_failures() -> Iterator[None]:
    """Context in which failures of the compiler become one `GammawallError`; those of the device pass through."""
    cupy = _cupy()
    try:
        yield
    except (cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError):
        raise
    except OSError as error:
        raise GammawallError(f"CuPy cannot keep the compiled kernels ({error}). {CACHE_HINT}") from error
    # A missing compiler library is a bare RuntimeError.
    except (cupy.cuda.compiler.CompileException, RuntimeError) as error:
        raise GammawallError(
            f"the kernels could not be compiled for this GPU: {str(error).strip()}\n"
            f"Try installing CuPy with its CUDA libraries: {INSTALL}."
        ) from error


def cuda_problem(devices: Sequence[int] = (0,)) -> str | None:
    """Reason why the CUDA engine, or one of the devices, is unavailable, with a remedy; None if all are available."""
    try:
        cupy = _cupy()
        driver_error = cupy.cuda.runtime.CUDARuntimeError
    except OSError as error:
        return f"CuPy cannot make its cache folder ({error}). {CACHE_HINT}"
    except Exception as error:  # whatever a broken installation raises must not stop the other engines
        return f"CuPy cannot be imported ({error}). Try {INSTALL}."
    try:
        present = cupy.cuda.runtime.getDeviceCount()
    except driver_error as error:
        return (
            f"no usable NVIDIA driver or device was found ({error}). Install the NVIDIA driver; the extra must not "
            f"be newer than the CUDA version that nvidia-smi shows: {INSTALL}."
        )
    if present == 0:
        return "there is no NVIDIA GPU in this machine. Try --engine native or numpy."
    missing = [d for d in devices if not 0 <= d < present]
    if missing:
        there = ",".join(map(str, range(present)))
        return f"there is no device {', '.join(map(str, missing))}. Try --devices {there}."
    return None


def device_names() -> list[str]:
    """Names of the GPUs, by device number; empty without a GPU or without CuPy."""
    if cuda_problem() is not None:
        return []
    runtime = _cupy().cuda.runtime
    return [runtime.getDeviceProperties(d)["name"].decode() for d in range(runtime.getDeviceCount())]


def device_speeds(devices: Sequence[int]) -> list[tuple[str, int, float]]:
    """Architecture such as "sm_90", number of multiprocessors and clock in Hz of each device."""
    cupy = _cupy()
    speeds = []
    for number in devices:
        device = cupy.cuda.Device(number)
        attributes = device.attributes
        clock = 1000.0 * float(attributes["ClockRate"])
        speeds.append((f"sm_{device.compute_capability}", int(attributes["MultiProcessorCount"]), clock))
    return speeds
