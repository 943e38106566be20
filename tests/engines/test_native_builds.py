"""Damaged builds of the native engine: none counts, the next good one does, and it is said."""

from __future__ import annotations

import json
import os
import platform
import random
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli_runner import gammawall
from support.damaged_libraries import copied, copied_libraries, flip_bit, section
from support.needs import needs_native
from support.short_scenarios import scenario_of

from sim import simulate
from sim.compiled import native_library
from sim.compiled.kernel_constants import LOG_POLYNOMIAL
from sim.compiled.native_library import file_of, library_problem, runnable_builds, write_record
from sim.engines.choice import choose
from sim.engines.native_builds import native_problem, refused_builds, usable_builds
from sim.engines.native_engine import NativeEngine
from sim.errors import GammawallError
from sim.reaction import known_tables
from sim.run.warnings import engine_warnings

FLIPS = 100
pytestmark = needs_native


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Path]]:
    """Copies of all builds, found in place of the real ones, on a machine without a GPU."""
    monkeypatch.setattr("sim.engines.cuda_engine.cuda_problem", lambda devices=(0,): "no GPU. Try harder.")
    known_tables.working_library.cache_clear()
    yield copied_libraries(tmp_path, monkeypatch)
    known_tables.working_library.cache_clear()


def damage(file: Path) -> None:
    flip_bit(file, 8 * 30_000)


# --- what is passed over, and said


def test_a_damaged_build_is_passed_over_for_the_next_good_one(files: dict[str, Path]) -> None:
    builds = usable_builds()
    for number, build in enumerate(builds):
        assert NativeEngine().build == build
        damage(files[build])
        assert usable_builds() == builds[number + 1 :]
        assert list(refused_builds()) == builds[: number + 1]
        with pytest.raises(
            GammawallError, match=r"native engine is not available: its library is damaged: .*Install"
        ):
            NativeEngine(build=build)
    assert choose("auto").name == "numpy"
    with pytest.raises(GammawallError, match=r"native engine is not available: its library is damaged: "):
        choose("native")


def test_a_damaged_baseline_leaves_the_others(files: dict[str, Path]) -> None:
    builds = usable_builds()
    if len(builds) < 2 or not Path("/proc/cpuinfo").exists():
        pytest.skip("only the baseline build runs here, or the system does not tell what the processor can")
    damage(files["baseline"])
    assert native_problem() is None
    assert usable_builds() == builds[:-1]
    assert list(refused_builds()) == ["baseline"]
    # It would not have run.
    assert engine_warnings("auto", "native") == []


def test_faster_builds_that_were_refused_are_a_warning(files: dict[str, Path]) -> None:
    builds = usable_builds()
    if len(builds) < 2:
        pytest.skip("only the baseline build runs here")
    expected = simulate(scenario_of(), paths=300, engine="native", threads=1)
    assert not [warning for warning in expected.warnings if "native" in warning]
    damage(files[builds[0]])
    for engine in ("auto", "native"):
        if engine == "auto" and choose("auto").name != "native":
            continue
        result = simulate(scenario_of(), paths=300, engine=engine, threads=1)
        assert result.outcomes == expected.outcomes
        assert f"({builds[1]} build)" in result.manifest["device"]
        told = f"the {builds[0]} build of the native engine was not used: its library is damaged: _native_"
        assert [warning for warning in result.warnings if warning.startswith(told)]


def test_auto_without_a_good_build_runs_numpy_and_says_why(files: dict[str, Path], tmp_path: Path) -> None:
    expected = simulate(scenario_of(), paths=300, engine="native", threads=1)
    for file in files.values():
        damage(file)
    result = simulate(scenario_of(), paths=300, threads=1)
    assert (result.manifest["engine"], result.outcomes) == ("numpy", expected.outcomes)
    (warning,) = [warning for warning in result.warnings if "native" in warning]
    assert warning.startswith("the native engine was not used: its library is damaged: _native_")
    out = tmp_path / "out"
    done = gammawall("run", "no-dealers", "--paths", "200", "--threads", "1", "--out", str(out))
    assert done.exit_code == 0
    assert "the native engine was not used: its library is damaged" in " ".join(done.stdout.split())
    assert [w for w in json.loads((out / "manifest.json").read_text())["warnings"] if "is damaged" in w]
    done = gammawall("run", "no-dealers", "--engine", "native")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("error: the native engine is not available: its library is damaged: ")


def test_engines_are_shown_with_what_was_refused(files: dict[str, Path]) -> None:
    builds = usable_builds()
    damage(files[builds[0]])
    text = " ".join(gammawall("engines").stdout.split())
    assert f"native {builds[0]} build refused: its library is damaged: " in text
    (native,) = (
        e for e in json.loads(gammawall("engines", "--json").stdout)["engines"] if e["engine"] == "native"
    )
    assert list(native["refused_builds"]) == builds[:1]
    assert native["usable_builds"] == builds[1:]


def test_libraries_that_are_all_right_are_not_mentioned() -> None:
    assert refused_builds() == {}
    assert engine_warnings("auto", "native") == engine_warnings("auto", "numpy") == []
    assert "refused" not in gammawall("engines").stdout


def test_damaged_libraries_build_no_tables(files: dict[str, Path]) -> None:
    assert known_tables.working_library() is not None
    for file in files.values():
        damage(file)
    known_tables.working_library.cache_clear()
    assert known_tables.working_library() is None


# --- any bit of a library


def test_a_flipped_bit_is_refused_before_the_library_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, library = random.Random(20_260_210), file_of("baseline")
    monkeypatch.setattr(native_library, "load_library", lambda file: pytest.fail("it was loaded"))
    for number in range(FLIPS):
        file = copied(library, tmp_path / f"{number}.so")
        flip_bit(file, rng.randrange(8 * file.stat().st_size))
        monkeypatch.setattr(native_library, "library_file", {"baseline": file}.get)
        assert "its library is damaged" in str(library_problem("baseline"))


# A child for each library: one that a flipped constant ends, or keeps for ever, is told from one that refuses.
PROGRAM = """
import os, signal, sys
from pathlib import Path
import numpy as np
from sim.compiled import native_library
from sim.compiled.native_library import load_library, library_problem
from sim.engines.native_engine import NativeEngine
from sim.plan import map_tables
from sim.plan.builder import prepare
from sim.reaction.known_tables import tables_problem
from support.path_records import counted
from support.short_scenarios import prepared_of

PATHS = 2_000
prepared = prepared_of()
expected = counted(NativeEngine(), [(prepared.plan, (1, 0, PATHS))])

def verdict(file):
    native_library.library_file = {"baseline": file}.get
    if library_problem("baseline") or tables_problem(file) or counts_problem(file):
        return 1
    engine = NativeEngine.__new__(NativeEngine)
    engine.threads, engine.block_paths, engine.library = 1, None, load_library(file)
    map_tables.working_library = lambda: engine.library
    again = prepare(prepared.scenario)
    return 2 if counted(engine, [(again.plan, (1, 0, PATHS))]) == expected else 3

for file in sys.argv[1:]:
    child = os.fork()
    if not child:
        signal.alarm(20)
        os._exit(verdict(Path(file)))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
REFUSED, HARMLESS, WRONG = 1, 2, 3


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.machine() != "x86_64",
    reason="libraries as on x86-64 Linux",
)
def test_flipped_constants_whose_record_was_renewed_are_refused_or_harmless(tmp_path: Path) -> None:
    """The known answers alone tell: what they do not see makes no difference to a run."""
    rng, library = random.Random(20_260_210), file_of("baseline")
    constants = section(library, ".rodata")
    files = []
    for number in range(FLIPS):
        files.append(copied(library, tmp_path / f"{number}.so"))
        flip_bit(files[-1], 8 * constants[0] + rng.randrange(8 * len(constants)))
        write_record(files[-1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM, *map(str, files)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300)
    verdicts = Counter(map(int, done.stdout.split()))
    assert verdicts.total() == FLIPS
    assert verdicts[WRONG] == 0, verdicts
    # Texts, room between constants, and bits that nothing reads are most of what there is. A child that a signal has
    # ended has given no numbers.
    assert verdicts[REFUSED] > FLIPS / 10, verdicts
    assert verdicts[REFUSED] + verdicts[HARMLESS] > 0.9 * FLIPS, verdicts


@pytest.mark.parametrize("build", runnable_builds())
def test_a_changed_constant_is_refused_by_the_known_counts(files: dict[str, Path], build: str) -> None:
    """The first coefficient of the logarithm's polynomial four times as large, and the library's record renewed."""
    before, after = (struct.pack("<f", factor * LOG_POLYNOMIAL[0]) for factor in (1, 4))
    content = files[build].read_bytes()
    if before not in content:
        pytest.skip("the compiler has not written the coefficient as a number of its own")
    files[build].unlink()
    files[build].write_bytes(content.replace(before, after))
    write_record(files[build])
    assert library_problem(build) is None
    assert "counts known paths otherwise than it must" in str(native_problem(build))
    assert build not in usable_builds()


def test_other_tables_are_refused(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the engine nor the maps take a library that does not build the known tables."""
    monkeypatch.setattr(known_tables, "KNOWN_TABLES", "another digest")
    assert usable_builds() == []
    assert "builds other tables of a known map than it must" in str(native_problem())
    assert known_tables.working_library() is None
