"""Libraries and the records of what was compiled: none but the recorded one is loaded."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from support.damaged_libraries import copied_libraries, flip_bit
from support.needs import needs_native

from sim.compiled import native_library
from sim.compiled.native_library import (
    REINSTALL,
    compiled_builds,
    file_of,
    library_problem,
    record_file,
    runnable_builds,
    write_record,
)
from sim.engines.native_builds import native_problem
from sim.run.warnings import engine_warnings

pytestmark = needs_native


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    return copied_libraries(tmp_path, monkeypatch)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that are loaded."""
    found: list[Path] = []
    load = native_library.load_library
    monkeypatch.setattr(native_library, "load_library", lambda file: found.append(file) or load(file))
    return found


def test_libraries_of_this_installation_are_those_recorded() -> None:
    for build in compiled_builds():
        file = file_of(build)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert record_file(file).read_text() == f"{digest}  {file.name}\n"
        assert library_problem(build) is None


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_records_are_read_by_hand_too() -> None:
    file = record_file(file_of("baseline"))
    done = subprocess.run(
        ["sha256sum", "--check", file.name], cwd=file.parent, capture_output=True, check=False
    )
    assert done.returncode == 0


@pytest.mark.parametrize("kept", [0, 64, 4096, 60_000, -1])
def test_a_truncated_library_is_refused_unloaded(
    files: dict[str, Path], loads: list[Path], kept: int
) -> None:
    """The system would map it all the same, and end the process at the first page that is missing."""
    content = files["baseline"].read_bytes()
    files["baseline"].write_bytes(content[:kept])
    name = files["baseline"].name
    assert library_problem("baseline") == (
        f"its library is damaged: {files['baseline']} is not what {name}.sha256 recorded when it was compiled. "
        f"Install the package again: {REINSTALL}."
    )
    assert loads == []


def test_a_library_without_a_record_is_refused_unloaded(files: dict[str, Path], loads: list[Path]) -> None:
    record = record_file(files["baseline"])
    record.unlink()
    problem = library_problem("baseline")
    assert problem is not None
    assert problem.startswith(
        f"its library cannot be verified: {record} is missing. Install the package again: "
    )
    assert loads == []


@pytest.mark.parametrize("record", [b"", b"\xff\xfe", b"0" * 64, b"no digest at all"])
def test_a_damaged_record_verifies_nothing(files: dict[str, Path], loads: list[Path], record: bytes) -> None:
    record_file(files["baseline"]).write_bytes(record)
    assert "its library is damaged" in str(library_problem("baseline"))
    assert loads == []


@pytest.mark.skipif(os.name != "posix", reason="needs pipes and devices")
@pytest.mark.parametrize("place", ["library", "record"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "huge", "dangling"])
def test_nothing_but_a_small_regular_file_is_read(
    files: dict[str, Path], loads: list[Path], place: str, kind: str
) -> None:
    file = files["baseline"] if place == "library" else record_file(files["baseline"])
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "huge":
        with file.open("wb") as stream:
            stream.truncate(2 << 30)
    else:
        file.symlink_to("/dev/zero" if kind == "device" else "nowhere")
    problem = str(library_problem("baseline"))
    assert problem.startswith(("its library is damaged: ", "its library cannot be verified: "))
    assert str(file) in problem
    assert loads == []


def test_libraries_may_be_links(files: dict[str, Path]) -> None:
    """As some installers make them."""
    for file in (files["baseline"], record_file(files["baseline"])):
        file.symlink_to(file.rename(file.with_suffix(".elsewhere")))
    assert library_problem("baseline") is None


def test_the_record_of_a_missing_library_shows_that_it_was_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "engines").mkdir()
    suffix = EXTENSION_SUFFIXES[0]
    (tmp_path / "engines" / f"_native_baseline{suffix}.sha256").write_text("0" * 64)
    monkeypatch.setattr(native_library, "__file__", str(tmp_path / "compiled" / "native_library.py"))
    assert compiled_builds() == ["baseline"]
    file = tmp_path / "engines" / f"_native_baseline{suffix}"
    expected = f"its library is missing: {file} is not there. Install the package again: {REINSTALL}."
    assert library_problem("baseline") == expected
    assert native_problem() == expected
    assert engine_warnings("auto", "numpy") != []


def test_a_record_may_be_renewed(files: dict[str, Path]) -> None:
    content = files["baseline"].read_bytes()
    files["baseline"].write_bytes(content + b"appended")
    assert "its library is damaged" in str(library_problem("baseline"))
    write_record(files["baseline"])
    assert library_problem("baseline") is None


def test_with_a_damaged_baseline_linux_tells_what_the_processor_can(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = runnable_builds()
    flip_bit(files["baseline"], 12_345)
    if Path("/proc/cpuinfo").exists():
        assert runnable_builds() == expected
    for flags, runnable in (
        ("fpu avx2 fma bmi1 bmi2", ["avx2", "baseline"]),
        ("fpu avx2 fma bmi1", ["baseline"]),
        ("", ["baseline"]),
    ):
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t: none\n")
        monkeypatch.setattr(native_library, "PROCESSOR_FILE", tmp_path / "cpuinfo")
        assert runnable_builds() == [build for build in runnable if build in files]
    monkeypatch.setattr(native_library, "PROCESSOR_FILE", tmp_path / "none")
    assert runnable_builds() == ["baseline"]


PROGRAM = """
import sys
from pathlib import Path
from sim.compiled import native_library
native_library.library_file = {"baseline": Path(sys.argv[1])}.get
from sim.cli.main import main
main(["run", "no-dealers", "--paths", "200", "--no-save", "--engine", sys.argv[2], "--threads", "1"])
"""


@pytest.mark.parametrize(("engine", "code"), [("native", 1), ("auto", 0)])
def test_a_truncated_library_ends_no_process(files: dict[str, Path], engine: str, code: int) -> None:
    """It did, by SIGBUS and without a message."""
    content = files["baseline"].read_bytes()
    files["baseline"].write_bytes(content[: len(content) // 2])
    command = [sys.executable, "-c", PROGRAM, str(files["baseline"]), engine]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    told = " ".join((done.stderr if code else done.stdout).split())
    assert "its library is damaged" in told
