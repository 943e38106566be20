"""The kernels compiled for processors: builds, their files and functions, and reasons why one cannot be loaded.

Beside each library lies a record of its SHA-256, which the installation writes. A library is loaded only if it is the
one recorded: a damaged one could give other numbers, or end the process. What it computes is proved by known answers
(`sim.reaction.known_tables`, `sim.engines.native_builds`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from io import BufferedReader
from pathlib import Path
from typing import Final

from sim.compiled.kernel_sources import NATIVE_BUILDS, kernel_digest

# Without its cache, which holds the package as it was built before.
REINSTALL = (
    "pip install --force-reinstall --no-deps --no-cache-dir with gammawall-sim or the folder it was installed from, "
    "or make clean and make run in a checkout"
)
UNLOADABLE = (OSError, AttributeError)  # no library, or one without our functions
# Many times what the installation writes.
MOST_LIBRARY_BYTES: Final = 64 << 20
MOST_RECORD_BYTES: Final = 4096
# Features of this processor as Linux names them, where it differs from the compilers' names.
PROCESSOR_FILE = Path("/proc/cpuinfo")
LINUX_NAMES = {"bmi": "bmi1"}


def library_file(build: str) -> Path | None:
    """File of a build, or None where it was not compiled; its record shows that it was, even if it is gone."""
    folder = Path(__file__).resolve().parents[1] / "engines"
    files = (folder / f"_native_{build}{suffix}" for suffix in EXTENSION_SUFFIXES)
    return next((file for file in files if any(map(os.path.lexists, (file, record_file(file))))), None)


def record_file(library: Path) -> Path:
    """File that records the SHA-256 of a library; `sha256sum --check` reads it too."""
    return library.with_name(f"{library.name}.sha256")


def write_record(library: Path) -> None:
    """Record the SHA-256 of a library that has just been compiled."""
    text = f"{hashlib.sha256(library.read_bytes()).hexdigest()}  {library.name}\n"
    record_file(library).write_text(text, encoding="ascii")


@cache
def load_library(file: Path) -> ctypes.CDLL:
    """Shared library with the types of its functions declared.

    Raises
    ------
    OSError : it cannot be loaded.
    AttributeError : it lacks a function.
    """
    library = ctypes.CDLL(str(file))
    library.simulate_paths.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_uint64,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    library.simulate_paths.restype = ctypes.c_int
    library.build_map_tables.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    library.build_map_tables.restype = ctypes.c_void_p
    library.free_map_tables.argtypes = [ctypes.c_void_p]
    library.free_map_tables.restype = None
    library.kernel_digest.restype = ctypes.c_char_p
    library.processor_has.argtypes = [ctypes.c_char_p]
    library.processor_has.restype = ctypes.c_int
    return library


def compiled_builds() -> list[str]:
    """Names of the builds that were compiled, fastest first."""
    return [build for build in NATIVE_BUILDS if library_file(build) is not None]


def runnable_builds() -> list[str]:
    """Names of the builds that were compiled and run on this processor; the others are never loaded."""
    builds = compiled_builds()
    if "baseline" not in builds:
        return []
    processor_has = _processor_test()
    return [build for build in builds if all(map(processor_has, NATIVE_BUILDS[build][1]))]


def _processor_test() -> Callable[[str], bool]:
    """Function of whether the processor has a feature: the baseline build asks or, where that is damaged, Linux."""
    if library_problem("baseline") is None:
        asks = load_library(file_of("baseline")).processor_has
        return lambda feature: bool(asks(feature.encode()))
    try:
        flags = PROCESSOR_FILE.read_text(encoding="utf-8").partition("\nflags")[2].partition("\n")[0].split()
    except OSError:
        flags = []
    return lambda feature: LINUX_NAMES.get(feature, feature) in flags


def file_of(build: str) -> Path:
    """File of a build that is here."""
    file = library_file(build)
    assert file is not None
    return file


def library_problem(build: str) -> str | None:
    """Reason why the library of a build that was compiled may not be used, with a remedy; None if it may."""
    file = file_of(build)
    again = f"Install the package again: {REINSTALL}."
    if problem := _record_problem(file):
        return f"{problem} {again}"
    try:
        compiled_from = load_library(file).kernel_digest()
    except UNLOADABLE as error:
        return f"its library cannot be loaded ({error}). {again}"
    try:
        installed = kernel_digest()
    except OSError as error:
        return str(error)
    if compiled_from != installed.encode():
        return f"it was compiled from other kernels than those installed here. {again}"
    return None


def _record_problem(file: Path) -> str | None:
    """Reason why a library is not the one that was installed; None if it is."""
    record = record_file(file)
    if not os.path.lexists(file):
        return f"its library is missing: {file} is not there."
    try:
        with _regular_file(record, MOST_RECORD_BYTES) as stream:
            recorded = stream.read(MOST_RECORD_BYTES).decode("ascii", "replace").split()
    except FileNotFoundError:
        return f"its library cannot be verified: {record} is missing."
    except OSError as error:
        return f"its library cannot be verified: {record} is damaged ({error.strerror})."
    try:
        with _regular_file(file, MOST_LIBRARY_BYTES) as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return f"its library is damaged: {file} cannot be read ({error.strerror})."
    if recorded[:1] == [found]:
        return None
    return f"its library is damaged: {file} is not what {record.name} recorded when it was compiled."


@contextlib.contextmanager
def _regular_file(file: Path, most_bytes: int) -> Iterator[BufferedReader]:
    """Context with an open regular file; a pipe is not waited for. Links are followed: some installers make them.

    Errors: OSError if it is none, cannot be read, or has more than `most_bytes`.
    """
    if not stat.S_ISREG(os.stat(file).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(file))
    with open(os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as stream:
        if os.fstat(stream.fileno()).st_size > most_bytes:
            raise OSError(errno.EFBIG, f"more than {most_bytes:,} bytes", str(file))
        yield stream
