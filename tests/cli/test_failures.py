from __future__ import annotations

import errno
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.cli_runner import gammawall, stand_in_for_simulate
from support.result_files import FILES
from support.sample_outcomes import SampleRun

import sim.run.simulation
from sim.errors import GammawallError, InputError, Problem


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    return stand_in_for_simulate(monkeypatch)


# --- run: where the results go


def test_results_go_to_a_folder_named_after_the_scenario(asked: list[dict[str, Any]]) -> None:
    for folder in ("siege-of-7000", "siege-of-7000-2", "siege-of-7000-3"):
        done = gammawall("run")
        assert done.exit_code == 0
        assert f"results: {Path('results', folder)}" in done.stderr
        assert sorted(os.listdir(Path("results", folder))) == FILES
    assert len(os.listdir("results")) == 3


def test_out_names_the_folder(asked: list[dict[str, Any]]) -> None:
    assert gammawall("run", "--out", "a/b").exit_code == 0
    assert sorted(os.listdir("a/b")) == FILES
    assert os.listdir() == ["a"]


def test_no_save_writes_nothing(asked: list[dict[str, Any]]) -> None:
    done = gammawall("run", "--no-save")
    assert done.exit_code == 0
    assert "7,100 first" in done.stdout
    assert done.stderr == ""
    assert os.listdir() == []


def test_existing_folder_is_refused_before_the_run(asked: list[dict[str, Any]]) -> None:
    assert gammawall("run", "--out", "x").exit_code == 0
    before = {name: Path("x", name).stat().st_mtime_ns for name in FILES}
    done = gammawall("run", "--out", "x")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert "--out = x (exists already)" in done.stderr
    assert "--overwrite" in done.stderr
    assert len(asked) == 1
    assert {name: Path("x", name).stat().st_mtime_ns for name in FILES} == before
    assert gammawall("run", "--out", "x", "--overwrite").exit_code == 0
    assert sorted(os.listdir()) == ["x"]


def test_foreign_folder_is_refused_even_with_overwrite(asked: list[dict[str, Any]]) -> None:
    Path("x").mkdir()
    Path("x/thesis.tex").write_text("mine")
    assert gammawall("run", "--out", "x", "--overwrite").exit_code == 2
    assert asked == []
    assert os.listdir("x") == ["thesis.tex"]


def test_unwritable_place_is_found_before_the_run(asked: list[dict[str, Any]]) -> None:
    Path("file").write_text("mine")
    done = gammawall("run", "--out", "file/x")
    assert done.exit_code == 1
    assert re.fullmatch(r"error: file/x: the results cannot be written there \(.*\)\. .*\n", done.stderr)
    assert asked == []


# --- results that cannot be written once the work is done


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary directory."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def fails_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def fail_then_work(descriptor: int) -> None:
        monkeypatch.setattr("sim.files.output_folder.os.fsync", fsync)
        full_disk()

    monkeypatch.setattr("sim.files.output_folder.os.fsync", fail_then_work)


@pytest.mark.parametrize("form", [[], ["--json"], ["--quiet"]])
@pytest.mark.usefixtures("asked", "fails_once")
def test_finished_work_goes_to_a_temporary_folder(temporary: Path, form: list[str]) -> None:
    done = gammawall("run", "--out", "x", *form)
    assert done.exit_code == 1
    (folder,) = temporary.glob("gammawall-*/x")
    assert sorted(os.listdir(folder)) == FILES
    assert os.listdir() == []
    *places, failure, instead = done.stderr.splitlines()
    assert places == ([] if form == ["--quiet"] else [f"results: {folder}"])
    assert failure.startswith("error: x: the results cannot be written there (No space left on device). ")
    assert instead == f"error: x: the results are in {folder} instead."
    if form == ["--json"]:
        assert json.loads(done.stdout)["results"] == str(folder)
    elif form == ["--quiet"]:
        assert done.stdout == f"{folder}\n"
    else:
        assert "7,100 first" in done.stdout


@pytest.mark.parametrize("form", [[], ["--json"], ["--quiet"]])
@pytest.mark.usefixtures("asked")
def test_finished_work_is_printed_where_nothing_can_be_written(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, form: list[str]
) -> None:
    monkeypatch.setattr("sim.files.output_folder.os.fsync", full_disk)
    done = gammawall("run", "--out", "x", *form)
    assert done.exit_code == 1
    if form == ["--json"]:
        document = json.loads(done.stdout)
        assert document["results"] is None
        assert len(document["odds"]) > 9
    else:
        assert "7,100 first" in done.stdout
    first, second = done.stderr.splitlines()
    assert "x: the results cannot be written there (No space left on device)" in first
    assert f"{temporary}/gammawall-" in second
    assert (os.listdir(), os.listdir(temporary)) == ([], [])


@pytest.mark.usefixtures("asked")
def test_no_temporary_directory_is_one_more_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.files.output_folder.os.fsync", full_disk)
    monkeypatch.setattr(tempfile, "mkdtemp", full_disk)
    done = gammawall("run", "--out", "x")
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 2)
    assert "7,100 first" in done.stdout
    assert os.listdir() == []


def test_place_taken_during_the_simulation_does_not_lose_it(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def simulate(*_: Any, **__: Any) -> SampleRun:
        Path("x").mkdir()
        Path("x/mine.txt").write_text("mine")
        return SampleRun()

    monkeypatch.setattr(sim.run.simulation, "simulate", simulate)
    done = gammawall("run", "--out", "x")
    assert done.exit_code == 1
    assert "--out = x (exists already)" in done.stderr
    assert os.listdir("x") == ["mine.txt"]
    (folder,) = temporary.glob("gammawall-*/x")
    assert sorted(os.listdir(folder)) == FILES


def test_working_directory_removed_during_the_simulation(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def simulate(*_: Any, **__: Any) -> SampleRun:
        Path.cwd().rmdir()
        return SampleRun()

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sim.run.simulation, "simulate", simulate)
    done = gammawall("run")
    assert done.exit_code == 1
    assert "cannot be written there (No such file or directory)" in done.stderr
    assert len(list(temporary.glob("gammawall-*/siege-of-7000/manifest.json"))) == 1


@pytest.mark.usefixtures("asked")
def test_former_results_that_cannot_be_removed_are_no_reason_to_write_twice(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gammawall("run", "--out", "x").exit_code == 0
    monkeypatch.setattr("sim.files.output_folder._remove_result", lambda *_: False)
    done = gammawall("run", "--out", "x", "--overwrite")
    assert done.exit_code == 1
    assert "the new results are in place" in done.stderr
    assert "7,100 first" in done.stdout
    assert os.listdir(temporary) == []
    assert sorted(os.listdir("x")) == FILES


# --- failures


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GammawallError("it went wrong"), 1),
        (InputError([Problem("s.toml", "a.b", "1", "too big"), Problem("s.toml", "c", "2", "too small")]), 2),
    ],
)
def test_expected_failures_are_messages(
    monkeypatch: pytest.MonkeyPatch, error: GammawallError, code: int
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(sim.run.simulation, "simulate", fail)
    done = gammawall("run")
    assert done.exit_code == code
    assert done.stdout == ""
    assert done.stderr == "".join(f"error: {line}\n" for line in str(error).splitlines())
    assert os.listdir() == []


def test_want_of_memory_is_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise np._core._exceptions._ArrayMemoryError((10**9,), np.dtype("f8"))  # type: ignore[attr-defined]

    monkeypatch.setattr(sim.run.simulation, "simulate", fail)
    done = gammawall("run")
    assert (done.exit_code, done.stdout) == (1, "")
    assert re.fullmatch(r"error: out of memory\. Try fewer --threads, [^\n]*\n", done.stderr)
    assert os.listdir() == []


def test_unexpected_failures_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(sim.run.simulation, "simulate", fail)
    assert isinstance(gammawall("run").exception, ZeroDivisionError)
    assert os.listdir() == []


@pytest.mark.parametrize("place", ["no-such-scenario", "missing.toml", "folder.toml"])
def test_missing_scenarios_exit_2(place: str) -> None:
    Path("folder.toml").mkdir()
    for arguments in (
        ["run", place],
        ["scenario", "show", place],
        ["scenario", "check", place],
        ["trace", "0", place],
    ):
        done = gammawall(*arguments)
        assert done.exit_code == 2, done.output
        assert place in done.stderr
        assert done.stderr.startswith("error: ")


def test_all_problems_of_a_file_are_told_at_once() -> None:
    Path("bad.toml").write_text(
        sim.scenario_to_toml(sim.load_scenario("no-dealers")).replace("spot =", "spott =")
    )
    done = gammawall("scenario", "check", "bad.toml", "--set", "volatility.annual=-1")
    assert done.exit_code == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) >= 3
    assert all(line.startswith("error: ") for line in lines)
    for key in ("spott", "volatility.annual"):
        assert key in done.stderr


def test_interruption_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sim.run.simulation, "simulate", interrupted)
    done = gammawall("run")
    assert done.exit_code == 130
    assert (done.stdout, done.stderr) == ("", "interrupted: nothing was written\n")
    assert os.listdir() == []


def test_interruption_while_writing_leaves_nothing(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sim.files.output_folder.os.fsync", interrupted)
    done = gammawall("run", "--out", "x")
    assert done.exit_code == 130
    assert done.stderr == "interrupted: nothing was written\n"
    assert os.listdir() == []


def test_interruption_after_writing_says_what_is_kept(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sim.report.run.print_report", interrupted)
    done = gammawall("run", "--out", "x")
    assert done.exit_code == 130
    assert done.stderr == "interrupted: the results are in x\n"
    assert sorted(os.listdir("x")) == FILES
