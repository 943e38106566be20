"""CUDA C++ compiled and disassembled without a GPU or a driver.

NVRTC is called through ctypes from the wheel nvidia-cuda-nvrtc, and nvdisasm is run from the wheel
nvidia-cuda-nvdisasm; both belong to the `test` extra. Nothing else of a CUDA installation is looked at, so that
the same versions judge a kernel wherever the tests run.

Source: NVRTC and CUDA Binary Utilities, parts of NVIDIA's CUDA Toolkit Documentation.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import struct
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
"""Every real architecture that the kernels are judged on, Turing to Blackwell."""

EXACT = ("--fmad=false", "--prec-div=true", "--prec-sqrt=true", "--ftz=false")
"""Options under which NVRTC rounds every float32 operation once and as IEEE 754 says."""


class CompileError(Exception):
    """Source that NVRTC refuses; the message is NVRTC's log."""


@dataclass(frozen=True)
class Resources:
    """What one kernel takes: registers per thread; bytes per thread, or for shared and constant memory per block.

    Routines that a kernel calls are part of it. Shared memory is the static part, without what a launch adds and
    the driver reserves; constant memory is the kernel's own banks (parameters, literals), without the module's
    `__constant__` data.
    """

    registers: int
    stack_bytes: int
    spill_store_bytes: int
    spill_load_bytes: int
    shared_bytes: int
    constant_bytes: int


@dataclass(frozen=True)
class Compiled:
    """A translation unit compiled for one architecture; resources by the kernel's symbol."""

    architecture: str
    cubin: bytes
    ptx: str
    log: str
    resources: Mapping[str, Resources]


def _wheel_file(distribution: str, pattern: str) -> Path:
    """A wheel's only file whose name matches the pattern. Raises FileNotFoundError with the reason."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        raise FileNotFoundError(
            f"{distribution} is not installed. Try pip install 'gammawall-sim[test]'"
        ) from None
    found = [Path(str(f.locate())) for f in files if re.fullmatch(pattern, f.name)]
    if len(found) != 1 or not found[0].is_file():
        raise FileNotFoundError(f"{distribution} holds no file {pattern} for this platform")
    return found[0]


@functools.cache
def _nvrtc() -> ctypes.CDLL:
    """NVRTC as a loaded library. Raises OSError where it is missing or cannot be loaded."""
    # Loaded first, since not every release of NVRTC looks for its second library beside itself.
    ctypes.CDLL(str(_wheel_file("nvidia-cuda-nvrtc", r"libnvrtc-builtins\.so\.[\d.]+")))
    library = ctypes.CDLL(str(_wheel_file("nvidia-cuda-nvrtc", r"libnvrtc\.so\.\d+")))
    library.nvrtcGetErrorString.restype = ctypes.c_char_p
    return library


@functools.cache
def _nvdisasm() -> Path:
    """nvdisasm's path. Raises OSError where it is missing or may not be run."""
    program = _wheel_file("nvidia-cuda-nvdisasm", r"nvdisasm")
    if not os.access(program, os.X_OK):
        raise PermissionError(f"{program} may not be executed")
    return program


def why_missing() -> str | None:
    """Reason why kernels cannot be compiled here; None where they can."""
    try:
        _nvrtc(), _nvdisasm()
    except OSError as error:
        return f"no CUDA compiler: {error}"
    return None


needs_cuda_toolchain = pytest.mark.skipif(why_missing() is not None, reason=str(why_missing()))
"""Mark of a test that compiles kernels; it needs no GPU."""


def nvrtc_version() -> tuple[int, int]:
    """NVRTC's release, which instruction counts depend on."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(_nvrtc().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
    return major.value, minor.value


def _check(status: int) -> None:
    if status:
        raise RuntimeError(f"NVRTC: {_nvrtc().nvrtcGetErrorString(status).decode()}")


def _product(program: ctypes.c_void_p, what: str) -> bytes:
    """One of a program's products: "CUBIN", "PTX" or "ProgramLog"."""
    size = ctypes.c_size_t()
    _check(getattr(_nvrtc(), f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(getattr(_nvrtc(), f"nvrtcGet{what}")(program, buffer))
    return buffer.raw


def _text(product: bytes) -> str:
    return product.rstrip(b"\0").decode()


@functools.cache
def compile_cuda(
    source: str,
    architecture: str,
    options: tuple[str, ...] = EXACT,
    include_dirs: tuple[Path, ...] = (),
    name: str = "kernel.cu",
) -> Compiled:
    """CUDA C++ source compiled for one architecture, such as "sm_90".

    Include directories are searched for `#include "…"`. The compilation is remembered for equal arguments, though
    not the contents of included files. Raises CompileError with NVRTC's log.
    """
    # With a driver present NVRTC may answer from its cache and then leaves ptxas' report out of the log.
    arguments = [f"--gpu-architecture={architecture}", "--ptxas-options=-v", "--no-cache", *options]
    arguments += [f"--include-path={folder}" for folder in include_dirs]
    program = ctypes.c_void_p()
    library = _nvrtc()
    _check(library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), name.encode(), 0, None, None))
    try:
        array = (ctypes.c_char_p * len(arguments))(*(a.encode() for a in arguments))
        status = library.nvrtcCompileProgram(program, len(arguments), array)
        log = _text(_product(program, "ProgramLog"))
        if status:
            reason = library.nvrtcGetErrorString(status).decode()
            raise CompileError(f"{name} for {architecture}: {reason}\n{log}")
        cubin, ptx = _product(program, "CUBIN"), _text(_product(program, "PTX"))
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))
    return Compiled(architecture, cubin, ptx, log, resources_of(cubin, log))


@functools.cache
def disassemble(cubin: bytes) -> str:
    """nvdisasm's listing of a cubin's code, with labels, addresses and the targets of indirect branches."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernel.cubin")
        file.write_bytes(cubin)
        return subprocess.run(
            [_nvdisasm(), "--print-code", file], capture_output=True, text=True, check=True
        ).stdout


def elf_section_sizes(cubin: bytes) -> dict[str, int]:
    """Sizes in bytes of a cubin's sections by name. Raises ValueError if it is no 64-bit little-endian ELF file."""
    if cubin[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    (table,) = struct.unpack_from("<Q", cubin, 0x28)
    entry, count, names = struct.unpack_from("<HHH", cubin, 0x3A)
    # sh_name, sh_offset and sh_size of each header
    headers = [struct.unpack_from("<I20xQQ", cubin, table + entry * k) for k in range(count)]
    start = headers[names][1]
    return {cubin[start + n : cubin.index(b"\0", start + n)].decode(): size for n, _, size in headers}


def resources_of(cubin: bytes, log: str) -> dict[str, Resources]:
    """Each kernel's resources: constant memory from the cubin, as ptxas leaves it out for sm_90 and later, the rest
    from ptxas' report: spills stand nowhere else, and the cubin counts reserved shared memory as the kernel's.

    A kernel's called routines report their own stack and spills below it; they are added up. Raises ValueError if
    ptxas has not reported every kernel of the cubin.
    """
    sizes = elf_section_sizes(cubin)
    reports = re.split(r"Compiling entry function '([^']+)'.*", log)[1:]
    result = {}
    for kernel, report in zip(reports[::2], reports[1::2], strict=True):
        registers = re.search(r"Used (\d+) registers", report)
        memory = re.findall(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", report
        )
        if registers is None or not memory:
            raise ValueError(f"ptxas has not reported {kernel} in full:\n{report}")
        shared = re.search(r"(\d+) bytes smem", report)
        stack, stores, loads = (sum(map(int, column)) for column in zip(*memory, strict=True))
        result[kernel] = Resources(
            int(registers[1]),
            stack,
            stores,
            loads,
            int(shared[1]) if shared else 0,
            sum(v for k, v in sizes.items() if re.fullmatch(rf"\.nv\.constant\d+\.{re.escape(kernel)}", k)),
        )
    unreported = {name[6:] for name in sizes if name.startswith(".text.")} - set(result)
    if unreported:
        raise ValueError(f"ptxas has not reported {', '.join(sorted(unreported))}:\n{log}")
    return result


def ptx_operations(ptx: str) -> Counter[str]:
    """How often each PTX operation, such as "mul.rn.f32", stands in the code."""
    code = re.sub(r"//.*", "", ptx)
    return Counter(
        re.findall(r"(?:^|[;{}])\s*(?:@!?%?\w+\s+)?([a-z]\w*(?:\.\w+|::\w+)+)\s", code, re.MULTILINE)
    )


def inexact_operations(ptx: str) -> Counter[str]:
    """PTX operations that do not round once as IEEE 754 says, or that ptxas may still contract.

    Fused multiply-adds; approximate, full-range or flush-to-zero operations; and a floating-point addition or
    multiplication without rounding mode, which ptxas may fuse. SASS cannot answer this: correctly rounded division
    and square root are sequences of FFMA there. Source: PTX ISA, "Floating Point Instructions".
    """
    fused = re.compile(r"(fma\.|mad\..*\bf(16|32|64)).*")
    loose = re.compile(
        r".*\.(approx|full|ftz)\b.*|(add|sub|mul)(\.sat)?\.f(32|64)(x2)?|(div|sqrt|rcp)\.f(32|64)"
    )
    return Counter({o: n for o, n in ptx_operations(ptx).items() if fused.fullmatch(o) or loose.fullmatch(o)})
