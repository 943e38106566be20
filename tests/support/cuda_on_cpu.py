"""CUDA kernels compiled for the processor and launched there, so that their source runs where there is no GPU.

The source is compiled as it stands, its CUDA branches included, behind `cuda_on_cpu.hpp`. One thing is replaced:
inline PTX, for which C++ has no word, by a function that does the same.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from sim.compiled.kernel_sources import CXX_OPTIONS

SHIM = Path(__file__).with_name("cuda_on_cpu.hpp")
PTX = re.compile(r'asm\("([^"]*)"\s*:\s*"=f"\((\w+)\)\s*:\s*"f"\((\w+)\)\);')
PTX_FUNCTIONS = {"rsqrt.approx.ftz.f32 %0, %1;": "cuda_on_cpu::reciprocal_root"}
FAILURES = {
    1: "threads of a block wait at different barriers",
    2: "the kernel wrote outside its shared memory",
    3: "the system gives no more threads",
    4: "the system gives no more memory",
}
MOST_PARAMETERS = 16


class CompileError(Exception):
    """Source that the C++ compiler refuses; the message is what it says."""


@dataclass(frozen=True)
class CpuKernel:
    """A kernel on the processor.

    Attributes
    ----------
    library : its shared library.
    parameter_bytes : size of each parameter, by the compiler.
    """

    library: ctypes.CDLL
    parameter_bytes: tuple[int, ...]

    def launch(self, grid: int, block: int, shared_bytes: int, arguments: Sequence[bytes]) -> None:
        """Run `grid` blocks of `block` threads; each argument is the bytes of a value.

        Raises
        ------
        AssertionError : the kernel does what no GPU would stand; the counts are worthless.
        """
        assert tuple(map(len, arguments)) == self.parameter_bytes
        # Parameters are read as their own type, which wants them aligned: one place for all, 256 bytes apart.
        places = _offsets(self.parameter_bytes)
        memory = ctypes.create_string_buffer(places[-1] + 256)
        start = -(-ctypes.addressof(memory) // 256) * 256
        for place, value in zip(places, arguments, strict=False):
            ctypes.memmove(start + place, value, len(value))
        addresses = (ctypes.c_void_p * len(arguments))(*(start + p for p in places[:-1]))
        failure = self.library.launch_kernel(grid, block, shared_bytes, addresses)
        assert not failure, FAILURES[failure]


def _offsets(sizes: Sequence[int]) -> list[int]:
    """Multiples of 256 at which values of these sizes begin, and the end of the last."""
    offsets = [0]
    for size in sizes:
        offsets.append(offsets[-1] + -(-size // 256) * 256)
    return offsets


def compiler() -> str | None:
    """C++ compiler: the one CXX names, else the first that is there."""
    candidates = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++"]
    return next((found for name in candidates if (found := shutil.which(name))), None)


needs_compiler = pytest.mark.skipif(
    compiler() is None or os.name != "posix", reason="no C++ compiler for a POSIX system"
)
"""Mark of a test that runs kernels on the processor."""


def without_ptx(source: str) -> str:
    """The source with inline PTX replaced. Raises KeyError for an instruction that has no function here."""
    replaced = PTX.sub(lambda found: f"{found[2]} = {PTX_FUNCTIONS[found[1]]}({found[3]});", source)
    assert not re.search(r"\basm\b", replaced), "inline PTX that this emulation does not know"
    return replaced


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="cuda_on_cpu_")


@cache
def compile_library(source: str, defines: tuple[str, ...] = ()) -> ctypes.CDLL:
    """Shared library of C++ code behind the shim; `defines` are options such as "-DSTEP_BYTES=256".

    Raises
    ------
    CompileError : the compiler refuses it.
    """
    found = compiler()
    assert found is not None
    name = hashlib.sha256("\n".join((source, *defines)).encode()).hexdigest()[:16]
    folder = Path(_folder().name)
    (folder / f"{name}.cpp").write_text(source, encoding="utf-8")
    command = [
        found,
        *CXX_OPTIONS,
        "-pthread",
        *defines,
        "-include",
        str(SHIM),
        f"{name}.cpp",
        "-o",
        f"{name}.so",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CompileError(done.stderr)
    return ctypes.CDLL(str(folder / f"{name}.so"))


def compile_kernel(source: str, name: str, defines: tuple[str, ...] = ()) -> CpuKernel:
    """Kernel of a CUDA source text.

    Raises
    ------
    CompileError : the compiler refuses it.
    """
    library = compile_library(f"{without_ptx(source)}\nEXPORT_KERNEL({name})\n", defines)
    library.launch_kernel.argtypes = [ctypes.c_uint, ctypes.c_uint, ctypes.c_size_t, ctypes.c_void_p]
    sizes = (ctypes.c_size_t * MOST_PARAMETERS)()
    count = library.kernel_parameters(sizes, MOST_PARAMETERS)
    assert count <= MOST_PARAMETERS
    return CpuKernel(library, tuple(sizes[:count]))
