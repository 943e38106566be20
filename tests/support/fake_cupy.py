"""A stand-in for CuPy on machines without a GPU: as much of it as the CUDA engine uses, kernels on the processor.

It refuses what CuPy or CUDA would refuse, and also what they would let pass and no correct program does, such as an
array of another device. What it says of CuPy was compared with CuPy 13.6 and 14.2.
"""

from __future__ import annotations

import copy
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace, TracebackType
from typing import Any

import numpy as np
import pytest

from sim.compiled.kernel_sources import CUDA_OPTIONS
from support import cuda_on_cpu

SHARED_BYTES = 48 * 1024
LARGEST_BLOCK = 1024
# CuPy's pool hands out multiples of this, and no two arrays share one.
ALLOCATION = 512
GUARD_BYTE = 0x5A
# What memory holds that nobody has written to.
RUBBISH_BYTE = 0xA5


class OutOfMemoryError(MemoryError):
    """cupy.cuda.memory.OutOfMemoryError."""


class CUDARuntimeError(RuntimeError):
    """cupy.cuda.runtime.CUDARuntimeError."""


class CUDADriverError(RuntimeError):
    """cupy.cuda.driver.CUDADriverError."""


class CompileException(Exception):  # noqa: N818
    """cupy.cuda.compiler.CompileException."""


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel; `arguments` as they were given."""

    device: int
    grid: int
    block: int
    shared_bytes: int
    arguments: tuple[Any, ...]


@dataclass
class Machine:
    """The devices of a machine, what was done on them, and what is to go wrong.

    Attributes
    ----------
    devices : number of devices.
    multiprocessors : of each device.
    memory : bytes of each device.
    launches, compilations : what was done; a compilation is (device, options).
    failures : what fails: place ("count", "upload", "compile", "launch", "wait", "download") to (after how many times
        it went well, error).
    inspect : called before each launch, in its thread.
    """

    devices: int = 1
    multiprocessors: int = 1
    memory: int = 1 << 30
    launches: list[Launch] = field(default_factory=list)
    compilations: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    failures: dict[str, tuple[int, BaseException]] = field(default_factory=dict)
    inspect: Callable[[Launch], None] = lambda launch: None
    used: Counter[int] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    arrays: weakref.WeakSet[DeviceArray] = field(default_factory=weakref.WeakSet)
    lock: Any = field(default_factory=threading.RLock)
    thread: Any = field(default_factory=threading.local)

    def pass_by(self, place: str) -> None:
        """Fail here if it is time to."""
        with self.lock:
            after, error = self.failures.get(place, (sys.maxsize, None))
            if error is not None and self.passed[place] >= after:
                raise error
            self.passed[place] += 1

    @property
    def current(self) -> int:
        """Device of the calling thread's context."""
        return getattr(self.thread, "device", 0)

    def take(self, device: int, size: int) -> None:
        """Take memory of a device, or give it back if negative."""
        with self.lock:
            if self.used[device] + size > self.memory:
                raise OutOfMemoryError(
                    f"Out of memory allocating {size:,} bytes (allocated so far: {self.used[device]:,} bytes)."
                )
            self.used[device] += size

    def array_at(self, address: int) -> DeviceArray:
        """Array that begins at an address."""
        return next(a for a in self.arrays if a.data.ptr == address)


class DeviceArray:
    """cupy.ndarray of one dimension, surrounded by bytes that nobody may write to."""

    def __init__(self, machine: Machine, values: np.ndarray):
        size = -(-max(1, values.nbytes) // ALLOCATION) * ALLOCATION
        self.machine, self.device = machine, machine.current
        machine.take(self.device, size)
        weakref.finalize(self, machine.take, self.device, -size)
        self._memory = np.full(size + 3 * ALLOCATION, GUARD_BYTE, dtype=np.uint8)
        begin = -self._memory.ctypes.data % ALLOCATION + ALLOCATION
        self._inside = slice(begin, begin + values.nbytes)
        self.host = self._memory[self._inside].view(values.dtype)
        self.host[:] = values
        self.data = SimpleNamespace(ptr=self.host.ctypes.data)
        machine.arrays.add(self)

    def fill(self, value: int) -> None:
        """Set every element."""
        assert self.machine.current == self.device, "fill on another device than the current one"
        self.host.fill(value)

    def __getitem__(self, part: slice) -> DeviceArray:
        """A view of the first elements; like CuPy's it keeps the memory alive."""
        assert (part.start, part.step) == (None, None)
        assert 0 <= part.stop <= self.host.size
        view = copy.copy(self)
        view.host = self.host[part]
        return view

    def check_guards(self) -> None:
        """Fail if anything was written beside the array."""
        around = np.delete(self._memory, np.r_[self._inside])
        assert (around == GUARD_BYTE).all(), "a kernel wrote outside an array"


class Device:
    """cupy.cuda.Device."""

    machine: Machine

    def __init__(self, device: int | None = None):
        self.id = self.machine.current if device is None else device
        self._before: list[int] = []

    def __enter__(self) -> Device:
        if not 0 <= self.id < self.machine.devices:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self._before.append(self.machine.current)
        self.machine.thread.device = self.id
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.machine.thread.device = self._before.pop()

    @property
    def attributes(self) -> dict[str, int]:
        return {"MultiProcessorCount": self.machine.multiprocessors}

    def synchronize(self) -> None:
        self.machine.pass_by("wait")


class Event:
    """cupy.cuda.Event."""

    machine: Machine

    def __init__(self) -> None:
        self.device = self.machine.current
        self.time: float | None = None
        self.reached = False

    def record(self) -> None:
        assert self.machine.current == self.device, "an event of another device"
        self.time = time.perf_counter()

    def synchronize(self) -> None:
        assert self.time is not None, "an event that was never recorded"
        self.machine.pass_by("wait")
        self.reached = True


def get_elapsed_time(start: Event, end: Event) -> float:
    """Milliseconds between two events; like CUDA, only once the later has happened."""
    assert start.time is not None
    assert end.time is not None
    if not end.reached:
        raise CUDARuntimeError("cudaErrorNotReady: device not ready")
    return (end.time - start.time) * 1000


class RawModule:
    """cupy.RawModule: compiled when the first function is asked for, for the current device."""

    machine: Machine

    def __init__(self, *, code: str, options: tuple[str, ...] = (), backend: str = "nvrtc"):
        if not isinstance(code, str) or not isinstance(options, tuple):
            raise TypeError("Argument 'code' or 'options' has incorrect type")
        assert all(isinstance(option, str) for option in options)
        assert backend == "nvrtc"
        self.code, self.options = code, options

    def get_function(self, name: str) -> RawKernel:
        machine = self.machine
        machine.pass_by("compile")
        machine.compilations.append((machine.current, self.options))
        defines = tuple(option for option in self.options if option.startswith("-D"))
        unknown = [o for o in self.options if o not in (*defines, *CUDA_OPTIONS)]
        if unknown:
            raise CompileException(f"nvrtc: error: invalid value for --gpu-architecture or option {unknown}")
        try:
            kernel = cuda_on_cpu.compile_kernel(self.code, name, defines)
        except cuda_on_cpu.CompileError as error:
            raise CompileException(str(error)) from None
        limits = [
            int(d.removeprefix("-DBLOCK_THREADS=")) for d in defines if d.startswith("-DBLOCK_THREADS=")
        ]
        return RawKernel(machine, kernel, limits[0] if limits else LARGEST_BLOCK)


class RawKernel:
    """cupy.RawKernel, on the device it was compiled for."""

    def __init__(self, machine: Machine, kernel: cuda_on_cpu.CpuKernel, largest_block: int):
        self.machine, self.kernel, self.largest_block = machine, kernel, largest_block
        self.device = machine.current

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], *, shared_mem: int = 0
    ) -> None:
        machine = self.machine
        assert machine.current == self.device, "a kernel of another device than the current one"
        values = [self._bytes_of(a) for a in args]
        sizes = tuple(map(len, values))
        assert sizes == self.kernel.parameter_bytes, f"{sizes} for {self.kernel.parameter_bytes}"
        ((blocks,), (threads,)) = grid, block
        assert isinstance(blocks, int)
        assert isinstance(threads, int)
        if not (
            0 < blocks < 1 << 31 and 0 < threads <= self.largest_block and 0 <= shared_mem <= SHARED_BYTES
        ):
            raise CUDADriverError("CUDA_ERROR_INVALID_VALUE: invalid argument")
        machine.pass_by("launch")
        machine.launches.append(Launch(self.device, blocks, threads, shared_mem, args))
        machine.inspect(machine.launches[-1])
        self.kernel.launch(blocks, threads, shared_mem, values)
        for array in args:
            if isinstance(array, DeviceArray):
                array.check_guards()

    def _bytes_of(self, argument: Any) -> bytes:
        """What the kernel receives: an array of a device by address, a NumPy value by value."""
        if isinstance(argument, DeviceArray):
            assert argument.device == self.device, "an array of another device"
            return np.uint64(argument.data.ptr).tobytes()
        if isinstance(argument, np.ndarray):
            if argument.size != 1:
                raise TypeError("Only numpy.ndarrays of size one can be passed by value.")
            return argument.tobytes()
        if isinstance(argument, np.number):
            return argument.tobytes()
        raise TypeError(f"Unsupported type {type(argument)}")


def fake_module(machine: Machine) -> ModuleType:
    """Module `cupy` for a machine."""

    def bound(kind: type) -> type:
        return type(kind.__name__, (kind,), {"machine": machine})

    def count() -> int:
        machine.pass_by("count")
        return machine.devices

    def upload(values: np.ndarray) -> DeviceArray:
        machine.pass_by("upload")
        assert isinstance(values, np.ndarray)
        assert values.ndim == 1
        return DeviceArray(machine, values)

    def download(array: DeviceArray, out: np.ndarray | None = None) -> np.ndarray:
        assert machine.current == array.device, "an array of another device than the current one"
        if out is None:
            return array.host.copy()
        if (array.host.dtype, array.host.shape) != (out.dtype, out.shape):
            raise TypeError("Shape or dtype mismatch")
        assert out.flags.c_contiguous
        machine.pass_by("download")
        out[:] = array.host
        return out

    def empty(length: int, dtype: type) -> DeviceArray:
        rubbish = np.full(length * np.dtype(dtype).itemsize, RUBBISH_BYTE, dtype=np.uint8)
        return DeviceArray(machine, rubbish.view(dtype))

    cupy = ModuleType("cupy")
    runtime = SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        getDeviceCount=count,
        getDeviceProperties=lambda device: {"name": f"Imaginary GPU {device}".encode()},
    )
    names = {
        "RawModule": bound(RawModule),
        "asarray": upload,
        "zeros": lambda length, dtype: DeviceArray(machine, np.zeros(length, dtype)),
        "empty": empty,
        "asnumpy": download,
        "cuda": SimpleNamespace(
            Device=bound(Device),
            Event=bound(Event),
            get_elapsed_time=get_elapsed_time,
            runtime=runtime,
            memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
            compiler=SimpleNamespace(CompileException=CompileException),
            driver=SimpleNamespace(CUDADriverError=CUDADriverError),
        ),
    }
    for name, value in names.items():
        setattr(cupy, name, value)
    return cupy


def install(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> Machine:
    """Let `import cupy` find a machine's stand-in."""
    monkeypatch.setitem(sys.modules, "cupy", fake_module(machine))
    return machine
