"""One answer from every compiler, build, optimisation and block length; nothing fused, no memory misused."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from support.compiled_kernels import (
    BUILDS,
    COMPILERS,
    compile_kernels,
    compiler_of,
    engine_of,
    needs_compiler,
    runs_here,
)
from support.path_records import Run, counted
from support.random_scenarios import features_of, random_scenarios

from sim.engines.numpy_engine import NumpyEngine
from sim.plan.engine_plan import EnginePlan
from sim.plan.outcomes import Outcomes

PATHS, SEED = 700, 11
SANITIZERS = ("-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
FUSED = re.compile(r"\t(vfn?m(?:add|sub)\w*|fn?m(?:add|sub)|fml[as])\s")

pytestmark = needs_compiler


class Kind(NamedTuple):
    """What to compile: compiler, build, optimisation level, further options."""

    compiler: str
    build: str = "baseline"
    optimisation: str = "-O3"
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.compiler, self.build, self.optimisation, *self.options))

    def library(self) -> Path:
        return compile_kernels(compiler_of(self.compiler), self.build, self.optimisation, *self.options)


INSTALLED = [Kind(compiler, build) for compiler in COMPILERS for build in BUILDS]
PLAIN = [Kind(compiler, build, "-O1") for compiler in COMPILERS for build in BUILDS if build != "avx512"]
# In kernels/paths.cpp a block is looked through eight paths at a time: its length must be a multiple of eight.
LENGTHS = (("g++", 8), ("g++", 72), ("clang++", 64), ("clang++", 72))
LANES = [Kind(compiler, "baseline", "-O1", (f"-DLANES={n}",)) for compiler, n in LENGTHS]
# Vectors of words that no instruction of the build multiplies.
WIDE = [
    Kind("g++", "baseline", "-O1", ("-DVECTOR_BYTES=64", "-Wno-psabi")),
    Kind("clang++", "baseline", "-O1", ("-DVECTOR_BYTES=32", "-Wno-psabi")),
]
SANITIZED = [Kind(compiler, "baseline", "-O1", SANITIZERS) for compiler in COMPILERS]


@pytest.fixture(scope="module")
def compiled() -> dict[Kind, Future[Path]]:
    """All libraries, compiled side by side; a test that needs one waits for it.

    One of several test processes compiles only what its own tests need.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        return {}
    present = [
        kind for kind in (*INSTALLED, *PLAIN, *LANES, *WIDE, *SANITIZED) if shutil.which(kind.compiler)
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return {kind: pool.submit(kind.library) for kind in present}


def library_of(compiled: dict[Kind, Future[Path]], kind: Kind) -> Path:
    return compiled[kind].result() if kind in compiled else kind.library()


@pytest.fixture(scope="module", params=[*INSTALLED, *PLAIN], ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each of the builds; both tests of one follow each other, so that one process runs both."""
    found: Kind = request.param
    return found


@cache
def plans() -> tuple[EnginePlan, ...]:
    """The two shortest scenarios with books of several regimes, of which one ends between two calls' normals."""
    rich = sorted(random_scenarios(), key=lambda p: len(features_of(p)) - p.plan.steps / 10)
    return tuple(prepared.plan for prepared in rich[-2:])


@cache
def expected() -> list[tuple[Outcomes, bytes]]:
    return counted(NumpyEngine(), [(plan, (SEED, 0, PATHS)) for plan in plans()])


def test_short_scenarios_differ() -> None:
    assert all(plan.books > 1 and plan.steps < 64 for plan in plans())
    assert len({plan.steps_per_session for plan in plans()}) == 2


def test_counts_are_those_of_numpy(compiled: dict[Kind, Future[Path]], kind: Kind) -> None:
    library = library_of(compiled, kind)
    if not runs_here(kind.build):
        pytest.skip(f"this processor cannot run the {kind.build} build")
    assert counted_by(library) == expected()


@pytest.mark.skipif(not shutil.which("objdump"), reason="needs objdump to read the machine code")
def test_no_operation_is_fused(compiled: dict[Kind, Future[Path]], kind: Kind) -> None:
    code = disassembled(library_of(compiled, kind))
    assert "<simulate_paths>:" in code
    assert FUSED.findall(code) == []


@pytest.mark.parametrize("other", [*LANES, *WIDE], ids=str)
def test_lengths_of_blocks_and_vectors_change_nothing(
    compiled: dict[Kind, Future[Path]], other: Kind
) -> None:
    assert counted_by(library_of(compiled, other)) == expected()


def counted_by(library: Path) -> list[tuple[Outcomes, bytes]]:
    return counted(engine_of(library, 2, 301), [(plan, (SEED, 0, PATHS)) for plan in plans()])


def test_fused_operations_would_be_seen() -> None:
    """The same kernels with contraction allowed."""
    if "avx2" not in BUILDS or not shutil.which("objdump"):
        pytest.skip("needs x86-64 and objdump")
    fused = compile_kernels(compiler_of("g++"), "avx2", "-O2", "-ffp-contract=fast")
    assert len(FUSED.findall(disassembled(fused))) > 20


def disassembled(library: Path) -> str:
    done = subprocess.run(["objdump", "-d", str(library)], capture_output=True, text=True, check=True)
    return done.stdout


RUN_PROGRAM = """
import pickle, sys
from pathlib import Path
from support.compiled_kernels import engine_of
from support.path_records import counted
library, runs = pickle.load(sys.stdin.buffer)
pickle.dump(counted(engine_of(library), runs), sys.stdout.buffer)
"""


def run_under(preload: str, library: Path, runs: Sequence[tuple[EnginePlan, Run]]) -> bytes:
    """Pickled counts and records of a process of its own that loads a run-time library first."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "LD_PRELOAD": preload,
        # Python itself leaves memory to the system at its end.
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN_PROGRAM],
        input=pickle.dumps((library, runs)),
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-6000:]
    return done.stdout


def address_sanitizer(compiler: str) -> str:
    """Run-time library that must be loaded before a library compiled with -fsanitize=address."""
    name = "libasan.so" if compiler == "g++" else f"libclang_rt.asan-{os.uname().machine}.so"
    command = [compiler_of(compiler), f"-print-file-name={name}"]
    path = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    if not path.is_file():
        pytest.skip(f"{compiler} comes without {name}")
    return str(path)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="preloads as on Linux")
@pytest.mark.parametrize("sanitized", SANITIZED, ids=lambda kind: kind.compiler)
def test_no_memory_is_misused_and_nothing_undefined(
    compiled: dict[Kind, Future[Path]], sanitized: Kind
) -> None:
    """Whole and cut blocks of every random scenario up to 64 steps."""
    preload = address_sanitizer(sanitized.compiler)
    plans = [p.plan for p in random_scenarios() if p.plan.steps <= 64]
    runs = [(plan, (SEED, 0, 300)) for plan in plans]
    found = pickle.loads(run_under(preload, library_of(compiled, sanitized), runs))
    assert found == counted(NumpyEngine(), runs)
