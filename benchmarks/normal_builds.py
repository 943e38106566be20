"""The candidates of normal_candidates.cuh compiled: for the processor to run, and for sm_90 to read the machine code.

The second needs no GPU, but the `test` extra and the modules in tests/ that compile and read kernels.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from normal_candidates import CANDIDATES, HALF, SEGMENT_SHIFT, low_bits
from normal_fits import FIRST_SEGMENT, candidate_definitions, cubic_table
from numpy.typing import NDArray

from sim.compiled.kernel_sources import (
    CUDA_OPTIONS,
    CXX_OPTIONS,
    NATIVE_BUILDS,
    constant_definitions,
    kernel_folder,
)
from sim.engines.kernel_plan import kernel_draws

HERE = Path(__file__).resolve().parent
SEED = 2026
LIMITS = (4, 5, 6)
DRAWS_A_PATH = 4
WARP, BANK_GROUPS, WARPS_TRIED = 32, 8, 1 << 16


class Law(ctypes.Structure):
    """Sums of the first four powers, and numbers of normals beyond each of LIMITS on both sides."""

    _fields_ = (("sums", ctypes.c_double * 4), ("beyond", ctypes.c_longlong * len(LIMITS)))


class CompiledCandidates:
    """The candidates compiled for the processor.

    Parameters
    ----------
    build : one of `sim.compiled.kernel_sources.NATIVE_BUILDS`; the processor must have it.
    compiler : C++ compiler.

    Raises
    ------
    subprocess.CalledProcessError : the compiler refuses the source.
    """

    def __init__(self, build: str, compiler: str):
        with tempfile.TemporaryDirectory() as folder:
            constants, output = Path(folder, "constants.cuh"), Path(folder, "normals.so")
            limits = "#define TAIL_LIMITS " + ", ".join(f"{limit}.0f" for limit in LIMITS) + "\n"
            text = constant_definitions() + candidate_definitions() + limits
            constants.write_text(text, encoding="utf-8")
            command = [compiler, *CXX_OPTIONS, *NATIVE_BUILDS[build][0], "-include", str(constants)]
            command += ["-I", str(kernel_folder()), str(HERE / "normals.cpp"), "-o", str(output)]
            subprocess.run(command, check=True)
            self._library = ctypes.CDLL(str(output))
        # Rows are read as aligned 16-byte structs.
        self._table = aligned(cubic_table())

    def block(
        self,
        name: str,
        first: NDArray[np.uint32],
        second: NDArray[np.uint32],
        out: NDArray[np.float32],
        repeats: int = 1,
    ) -> None:
        """Normals of pairs of words into `out` (2, n), so many times."""
        addresses = (a.ctypes.data for a in (first, second, self._table, out[0], out[1]))
        self._function(f"{name}_block")(*map(ctypes.c_void_p, addresses), first.size, repeats)

    def law(self, name: str, draws: int) -> Law:
        """Law of `draws` normals, four a path, of the simulation's own words."""
        struct, law = kernel_draws(SEED, 0), Law()
        paths = ctypes.c_uint32(draws // DRAWS_A_PATH)
        arrays = (ctypes.c_void_p(struct.ctypes.data), ctypes.c_void_p(self._table.ctypes.data))
        self._function(f"{name}_law")(*arrays, paths, ctypes.byref(law))
        return law

    def _function(self, name: str) -> Any:
        function = getattr(self._library, name)
        function.restype = None
        return function


def aligned(array: NDArray[np.float32], boundary: int = 64) -> NDArray[np.float32]:
    """Copy of an array that begins at a multiple of `boundary` bytes."""
    room = np.empty(array.nbytes + boundary, dtype=np.uint8)
    start = -room.ctypes.data % boundary
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def cxx_compiler() -> str | None:
    """C++ compiler: the one CXX names, else the first that is there."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++"]
    return next((found for name in names if (found := shutil.which(name))), None)


def wavefronts_a_read() -> float:
    """Mean passes of the shared memory's port for one warp's read of the table's rows.

    A model: threads are served eight at a time, as 16 bytes of eight threads fill the 32 banks; rows whose numbers
    agree modulo eight share banks, and every further one of them takes another pass. Equal rows are read together.
    """
    number = np.empty(WARPS_TRIED * WARP, dtype=np.float32)
    low_bits(np.random.default_rng(7).integers(0, 1 << 32, number.size, dtype=np.uint32), number)
    rows = (np.maximum(number, HALF).view(np.int32) >> SEGMENT_SHIFT) - FIRST_SEGMENT
    rows = np.sort(rows.reshape(-1, BANK_GROUPS), axis=1)
    fresh = np.concatenate([np.ones((rows.shape[0], 1), dtype=bool), np.diff(rows, axis=1) > 0], axis=1)
    wanted = np.stack([(fresh & (rows % BANK_GROUPS == group)).sum(axis=1) for group in range(BANK_GROUPS)])
    return float(wanted.max(axis=0).mean()) * WARP / BANK_GROUPS


def machine_code() -> tuple[dict[str, tuple[float, float]], str | None]:
    """Instructions and table reads a normal by candidate, and why there are none if so."""
    if importlib.util.find_spec("pytest") is None:
        return {}, "pytest is not installed. Try pip install 'gammawall-sim[test]'"
    sys.path.append(str(HERE.parent / "tests"))
    from support import cuda_toolchain, sass_loops
    from support.sass import parse

    if reason := cuda_toolchain.why_missing():
        return {}, reason
    source = constant_definitions() + candidate_definitions() + '#include "normals.cu"\n'
    compiled = cuda_toolchain.compile_cuda(source, "sm_90", tuple(CUDA_OPTIONS), (HERE, kernel_folder()))
    kernels = parse(cuda_toolchain.disassemble(compiled.cubin))
    ways = {
        name: sass_loops.innermost_loop(kernel, [sass_loops.Through(lambda i: i.name == "STG")])[1]
        for name, kernel in kernels.items()
    }
    common = len(ways["words_alone"])
    counts = {}
    for candidate in CANDIDATES:
        way = ways[f"transform_by_{candidate.name}"]
        counts[candidate.name] = ((len(way) - common) / 2, way.count(lambda i: i.name == "LDS") / 2)
    return counts, None
