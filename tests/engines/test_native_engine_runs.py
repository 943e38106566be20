"""How the native engine runs: progress, interruptions, memory, cuts, and what it says when it cannot run."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.compiled_kernels import compile_kernels, first_compiler, needs_compiler
from support.needs import needs_native
from support.short_scenarios import prepared_of

from sim.compiled import native_library
from sim.compiled.kernel_sources import NATIVE_BUILDS
from sim.compiled.native_library import load_library, write_record
from sim.engines import native_engine
from sim.engines.choice import choose, engine_problem
from sim.engines.kernel_plan import MOST_PATHS
from sim.engines.native_builds import native_problem, refused_builds, usable_builds
from sim.engines.native_engine import NativeEngine
from sim.errors import GammawallError
from sim.plan.engine_plan import EnginePlan

LONG = 50_000_000


@pytest.fixture(scope="module")
def plan() -> EnginePlan:
    return prepared_of().plan


class FakeLibrary:
    """Kernels that only note what they are asked to count; `status` is what they return."""

    def __init__(self, status: int = 0):
        self.status = status
        self.ranges: list[tuple[int, int]] = []

    def simulate_paths(
        self, plan: int, draws: int, first: int, count: int, counts: int, records: int | None
    ) -> int:
        self.ranges.append((first, count))
        return self.status


def faked(library: Any, threads: int = 1, block_paths: int | None = None) -> NativeEngine:
    engine = NativeEngine(threads, block_paths)
    engine.library = library
    return engine


@needs_native
def test_progress_counts_every_path_once_in_the_calling_thread(plan: EnginePlan) -> None:
    lots: list[int] = []
    callers = set()

    def progress(paths: int) -> None:
        lots.append(paths)
        callers.add(threading.current_thread())

    NativeEngine(2, 500).run(plan, 1, 0, 2_250, progress)
    assert sorted(lots) == [250, 500, 500, 500, 500]
    assert callers == {threading.current_thread()}


@needs_native
def test_ranges_are_short_enough_to_be_interrupted(plan: EnginePlan) -> None:
    library = FakeLibrary()
    faked(library).run(plan, 1, 0, LONG)
    assert max(count for _, count in library.ranges) <= native_engine.RANGE_STEPS // plan.steps
    assert sum(count for _, count in library.ranges) == LONG


@needs_native
def test_ranges_of_long_paths_hold_fewer() -> None:
    library, long = FakeLibrary(), prepared_of({"volatility.steps_per_session": 390}).plan
    faked(library).run(long, 1, 0, 100 * LONG // long.steps)
    assert max(count for _, count in library.ranges) * long.steps <= native_engine.RANGE_STEPS
    assert library.ranges[0][1] * long.steps > native_engine.RANGE_STEPS // 8


@needs_native
def test_no_call_of_a_kernel_outgrows_its_counts(plan: EnginePlan) -> None:
    """However large the ranges are asked to be, and however the high word of the paths changes under way."""
    library = FakeLibrary()
    paths = 5 * MOST_PATHS + 11
    assert faked(library, block_paths=paths).run(plan, 1, 7, paths).paths == paths
    assert max(count for _, count in library.ranges) == MOST_PATHS
    assert sum(count for _, count in library.ranges) == paths
    assert all(first + count <= 1 << 32 for first, count in library.ranges)
    assert MOST_PATHS < 1 << 32


@needs_native
@pytest.mark.parametrize("threads", [1, 2])
def test_want_of_memory_in_a_kernel_is_an_error(plan: EnginePlan, threads: int) -> None:
    with pytest.raises(MemoryError, match="no memory for a block of paths"):
        faked(FakeLibrary(1), threads, 100).run(plan, 1, 0, 1_000)
    assert not counting_threads()


WANT_OF_MEMORY_PROGRAM = """
import ctypes, resource
from types import SimpleNamespace
import numpy as np
from sim.compiled.struct_layout import struct_dtype
from sim.engines.native_engine import NativeEngine
from support.short_scenarios import prepared_of
engine, plan = NativeEngine(), prepared_of().plan
simulate_paths, Plan = engine.library.simulate_paths, struct_dtype("Plan")
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))

def simulate_too_many_triggers(plan, *rest):
    memory = (ctypes.c_char * Plan.itemsize).from_address(plan)
    np.frombuffer(memory, dtype=Plan)["close_triggers"] = 4_000_000
    return simulate_paths(plan, *rest)

engine.library = SimpleNamespace(simulate_paths=simulate_too_many_triggers)
try:
    engine.run(plan, 1, 0, 10)
except MemoryError as error:
    print(error)
"""


@needs_native
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory as on Linux")
def test_a_kernel_without_memory_says_so() -> None:
    """A block whose closes in a row alone take 4 GB, in a process that may have 2."""
    assert program_output(WANT_OF_MEMORY_PROGRAM) == "no memory for a block of paths\n"


def counting_threads() -> list[threading.Thread]:
    """Workers, but for those that have said that they ended and are about to."""
    return [t for t in threading.enumerate() if t.name == "worker" and not t.ended.is_set()]  # type: ignore[attr-defined]


@needs_native
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_failing_callback_stops_the_run(plan: EnginePlan, error: type[BaseException]) -> None:
    def fail(_: int) -> None:
        raise error

    started = time.monotonic()
    with pytest.raises(error):
        NativeEngine(2).run(plan, 1, 0, 40 * LONG, fail)
    assert time.monotonic() - started < 10
    assert not counting_threads()


@needs_native
@pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")
def test_interruption_stops_the_threads(plan: EnginePlan) -> None:
    """Ctrl-C is heeded within a range or two, not at the end of the run."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    started = time.monotonic()
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            NativeEngine(2).run(plan, 1, 0, 40 * LONG)
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - started < 10
    assert not counting_threads()


def program_output(program: str) -> str:
    """Output of a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    environment["OPENBLAS_NUM_THREADS"] = "1"
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


MEMORY_PROGRAM = """
import resource
from sim.engines.native_engine import NativeEngine
from support.short_scenarios import prepared_of
plan, engine = prepared_of({"market.sessions": 2}).plan, NativeEngine(2)
for paths in (200_000, 2_000_000):
    engine.run(plan, 1, 0, paths)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@needs_native
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in KiB on Linux")
def test_memory_does_not_grow_with_the_paths() -> None:
    """Ten times the paths within 1.5 MB: one byte a path would take 1.8."""
    few, many = map(int, program_output(MEMORY_PROGRAM).split())
    assert many - few < 1_500


@needs_native
def test_the_engine_says_what_it_is() -> None:
    engine = NativeEngine(3)
    assert (engine.name, engine.threads, engine.build) == ("native", 3, usable_builds()[0])
    assert f"({engine.build} build)" in engine.device


@needs_native
@pytest.mark.skipif(
    platform.machine() != "x86_64" or not Path("/proc/cpuinfo").exists(), reason="x86-64 Linux"
)
def test_processor_features_are_those_the_system_names() -> None:
    flags = Path("/proc/cpuinfo").read_text().partition("\nflags")[2].split("\n")[0].split()
    file = native_library.library_file("baseline")
    assert file is not None
    # Linux calls bmi "bmi1".
    names = {"bmi": "bmi1"}
    for _, features in NATIVE_BUILDS.values():
        for feature in features:
            asked = load_library(file).processor_has(feature.encode())
            assert bool(asked) == (names.get(feature, feature) in flags), feature
    assert load_library(file).processor_has(b"no such feature") == 0


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Files of the builds as the engine finds them; a test may change them."""
    found = {build: file for build in NATIVE_BUILDS if (file := native_library.library_file(build))}
    monkeypatch.setattr(native_library, "library_file", found.get)
    return found


def refusal(build: str | None = None) -> str:
    with pytest.raises(GammawallError) as caught:
        NativeEngine(build=build)
    assert str(caught.value) == f"the native engine is not available: {native_problem(build)}"
    return str(caught.value)


def test_engine_that_was_not_compiled(files: dict[str, Path]) -> None:
    files.clear()
    assert usable_builds() == []
    for build in (None, "baseline", "avx2"):
        assert "not compiled" in refusal(build)
        assert "Install g++ 11, clang++ 14 or newer" in refusal(build)
    assert engine_problem("native") == native_problem()
    with pytest.raises(GammawallError, match="not compiled"):
        choose("native")
    assert choose("auto").name != "native"


@needs_native
def test_one_build_that_was_not_compiled(files: dict[str, Path]) -> None:
    for build in [b for b in files if b != "baseline"]:
        del files[build]
        assert "not compiled" in refusal(build)
    assert native_problem() is None
    assert NativeEngine().build == "baseline"


def test_unknown_build() -> None:
    assert "there is no build 'sse9'. Try one of avx512, avx2, baseline." in refusal("sse9")


@pytest.mark.parametrize(
    "content", [b"", b"no library at all", b"\x7fELF" + bytes(60)], ids=["empty", "text", "cut"]
)
def test_file_that_cannot_be_loaded(files: dict[str, Path], tmp_path: Path, content: bytes) -> None:
    files.clear()
    files["baseline"] = tmp_path / "broken.so"
    files["baseline"].write_bytes(content)
    write_record(files["baseline"])
    assert "its library cannot be loaded" in refusal()
    assert "Install the package again" in refusal()
    assert choose("auto").name != "native"


@needs_native
def test_a_damaged_build_is_passed_over(files: dict[str, Path], tmp_path: Path) -> None:
    for build in [b for b in files if b != "baseline"]:
        files[build] = tmp_path / f"{build}.so"
        files[build].write_bytes(b"no library at all")
        write_record(files[build])
    assert (native_problem(), usable_builds(), NativeEngine().build) == (None, ["baseline"], "baseline")
    assert all("its library cannot be loaded" in why for why in refused_builds().values())


@needs_compiler
def test_library_without_our_functions(files: dict[str, Path], tmp_path: Path) -> None:
    files.clear()
    files["baseline"] = tmp_path / "other.so"
    command = [first_compiler(), "-shared", "-fPIC", "-x", "c++", "-", "-o", str(files["baseline"])]
    subprocess.run(command, input="int other;", text=True, check=True)
    write_record(files["baseline"])
    assert "its library cannot be loaded" in refusal()
    assert "undefined symbol: simulate_paths" in refusal()
    assert choose("auto").name != "native"


@needs_compiler
def test_library_of_other_kernels(files: dict[str, Path]) -> None:
    other = compile_kernels(first_compiler(), "baseline", "-O0", "-UKERNEL_DIGEST", '-DKERNEL_DIGEST="other"')
    files.clear()
    files["baseline"] = other
    write_record(other)
    assert "compiled from other kernels" in refusal()
    assert "compiled from other kernels" in refusal("baseline")


@needs_native
def test_builds_that_the_processor_cannot_run(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best of those it can run is taken; one it cannot is refused by name, before any of its code is run."""
    real = load_library(files["baseline"])
    loaded: list[Path] = []

    def old_processor(file: Path) -> Any:
        loaded.append(file)
        return SimpleNamespace(processor_has=lambda feature: 0, kernel_digest=real.kernel_digest)

    for module in (native_library, native_engine):
        monkeypatch.setattr(module, "load_library", old_processor)
    assert usable_builds() == ["baseline"]
    assert NativeEngine().build == "baseline"
    for build in [b for b in files if b != "baseline"]:
        assert f"this processor cannot run the {build} build. Try baseline." in refusal(build)
    assert set(loaded) == {files["baseline"]}


@needs_native
def test_counts_are_added_up_over_ranges_in_64_bits(plan: EnginePlan) -> None:
    """Three ranges that each fill a 32-bit count to the brim."""

    class Brimful(FakeLibrary):
        def simulate_paths(
            self, plan: int, draws: int, first: int, count: int, counts: int, *rest: Any
        ) -> int:
            ctypes.c_uint32.from_address(counts).value = 0xFFFFFFFF
            return super().simulate_paths(plan, draws, first, count, counts, *rest)

    outcomes = faked(Brimful(), 2, 100).run(plan, 1, 0, 300)
    assert outcomes.joint[0, 0] == 3 * 0xFFFFFFFF
    assert outcomes.joint.dtype == np.int64
