"""The kernels' sources: where they are, what they receive from Python, and a digest of all of it.

Only the standard library is used, since the installation reads this module before anything else is there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

from sim.compiled import kernel_constants as constants

# A file that tells the kernels' folder from any other folder of that name.
LANDMARK = "path_step.cuh"
SUFFIXES = (".cuh", ".cu", ".hpp", ".cpp")
INCLUDE = re.compile(r'^#include "([^"]+)"$')

WHOLE = (
    "PHILOX_ROUNDS",
    "SQRT_HALF_BITS",
    "VARIANCE_ATOMS_BITS",
    "OPENING_WORDS",
    "ANGLE_SPARE_BITS",
    "BRIDGE_KNOWN_BITS",
    "UNIFORM_BITS",
    "RECORD_FIRST_BITS",
    "RECORD_RANK_BITS",
)
WORDS = ("PURPOSE_MOVES", "PURPOSE_BRIDGE", "CALLS_PER_SESSION")
REALS = ("MINUS_TWO_LN_TWO", "BRIDGE_UNIT")
POLYNOMIALS = ("LOG_POLYNOMIAL", "SINE_POLYNOMIAL", "COSINE_POLYNOMIAL")
CODES = ("UP", "DOWN", "WITH", "WITHOUT", "NEITHER", "UPPER", "LOWER", "WORLD_SIDES", "INVERSE", "FORWARD")
TRIGGERS = tuple(code.name for code in constants.TriggerCode)


def kernel_folder() -> Path:
    """Folder of the kernels: inside an installed package, or at the top of a checkout.

    Raises
    ------
    FileNotFoundError : neither is there; the installation is broken.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_kernels", package.parent / "kernels"):
        if (folder / LANDMARK).is_file():
            return folder
    raise FileNotFoundError(
        f"the kernels are missing: no {LANDMARK} in {package}/_kernels. Try installing again."
    )


def kernel_files() -> list[Path]:
    """All source files of the kernels, by name."""
    return sorted(p for p in kernel_folder().iterdir() if p.suffix in SUFFIXES)


@cache
def constant_definitions() -> str:
    """Definition of every number that the kernels receive from `sim.compiled.kernel_constants`, one per line.

    Names of codes are constants and no macros: words as short as theirs stand in other headers too.
    """
    numbers: dict[str, object] = {name: getattr(constants, name) for name in WHOLE}
    numbers |= {name: f"{getattr(constants, name)}u" for name in WORDS}
    numbers |= {f"PHILOX_MULTIPLIER_{i}": f"{m}u" for i, m in enumerate(constants.PHILOX_MULTIPLIERS)}
    numbers["PHILOX_KEY_WORDS"] = 2 * constants.PHILOX_ROUNDS
    numbers |= {name: f"{getattr(constants, name)!r}f" for name in REALS}
    # The largest float, shifted out of range: infinity to every compiler, NVRTC included.
    numbers["NO_LEVEL"] = "(3.4e38f * 10.0f)"
    for name in POLYNOMIALS:
        numbers[name] = ", ".join(f"{c!r}f" for c in getattr(constants, name))
    codes = [f"constexpr int {name} = {int(getattr(constants, name))};\n" for name in (*CODES, *TRIGGERS)]
    return "".join([*(f"#define {name} {value}\n" for name, value in numbers.items()), *codes])


def kernel_digest() -> str:
    """SHA-256, in hexadecimal, of the kernels' sources, the constants they receive and the compilers' options."""
    sha = hashlib.sha256(constant_definitions().encode())
    sha.update(repr((CXX_OPTIONS, NATIVE_BUILDS, CUDA_OPTIONS)).encode())
    for path in kernel_files():
        text = path.read_bytes()
        sha.update(f"\n{path.name} {len(text)}\n".encode() + text)
    return sha.hexdigest()


def translation_unit(name: str) -> str:
    """One self-contained source text of a kernel file: the constants, then the file with the text of its headers."""
    return constant_definitions() + "".join(_expanded(kernel_folder() / name, set()))


def _expanded(path: Path, seen: set[str]) -> Iterator[str]:
    seen.add(path.name)
    yield f'#line 1 "{path.name}"\n'
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        include = INCLUDE.match(line)
        if include and include[1] not in seen:
            yield from _expanded(path.parent / include[1], seen)
            yield f'#line {number + 1} "{path.name}"\n'
        elif include or line == "#pragma once":
            # An empty line keeps the numbers of those that follow.
            yield "\n"
        else:
            yield line + "\n"


# What the native engine is compiled from, headers apart.
NATIVE_FILES = ("paths.cpp", "map_tables.cpp")
# Builds of the native engine, fastest first: name to (compiler options, processor features it needs).
NATIVE_BUILDS = {
    "avx512": (
        ["-march=x86-64-v4", "-mtune=skylake-avx512", "-mprefer-vector-width=512"],
        ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"],
    ),
    "avx2": (["-march=x86-64-v3", "-mtune=haswell"], ["avx2", "fma", "bmi", "bmi2"]),
    "baseline": ([], []),
}
# Exactly rounded arithmetic in the order it is written; errno and traps alone are given up, so that loops vectorise.
CXX_OPTIONS = [
    "-std=c++17",
    "-O3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-tree-vectorize",
    "-fopenmp-simd",
    "-fvisibility=hidden",
    "-fPIC",
    "-shared",
    "-Wno-unknown-pragmas",
    "-Wno-pass-failed",
]
CUDA_OPTIONS = ["-std=c++17", "--fmad=false", "--prec-sqrt=true", "--prec-div=true"]


def native_builds(machine: str) -> list[str]:
    """Names of the builds that make sense for an architecture, as `platform.machine()` calls it."""
    return list(NATIVE_BUILDS) if machine.lower() in ("x86_64", "amd64") else ["baseline"]


def native_command(compiler: Sequence[str], build: str, constants_file: Path, output: Path) -> list[str]:
    """Command that compiles a build of the native engine; `constants_file` holds `constant_definitions()`."""
    return [
        *compiler,
        *CXX_OPTIONS,
        *NATIVE_BUILDS[build][0],
        f'-DKERNEL_DIGEST="{kernel_digest()}"',
        "-include",
        str(constants_file),
        *(str(kernel_folder() / name) for name in NATIVE_FILES),
        "-o",
        str(output),
    ]


@cache
def code_digest() -> str:
    """Version of the package and digest of its kernels: results of others are not mixed with theirs."""
    return f"{version('gammawall-sim')} {kernel_digest()}"
