"""Paths of results that no file can have are refused with one clear error, before any time is spent."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.batch_results import small_batch
from support.cli_runner import gammawall
from support.result_files import FILES
from support.sample_outcomes import SampleRun

import sim
from sim.batch.simulation import simulate_batch
from sim.errors import GammawallError, InputError
from sim.files.output_folder import prepare_output
from sim.files.paths import output_path
from sim.run.results import RUN_FOLDER, write_results


class BytesPath:
    def __fspath__(self) -> bytes:
        return b"x"


WRONG: dict[str, tuple[Any, str]] = {
    "null": ("a\0b", '= "a\\u0000b" (has a null character)'),
    "surrogate": ("a\ud800", '= "a\\ud800" (has a letter that no name of a file can have)'),
    "bytes": (b"x", "is expected, not a bytes)"),
    "bytes of a path": (BytesPath(), "(the path of a folder is expected as text)"),
    "number": (5, "= 5 (the path of a folder is expected, not an int)"),
}
WRITERS: dict[str, Callable[[Any], Any]] = {
    "folder": lambda path: write_results(SampleRun(), path),
    "out": lambda path: simulate_batch(small_batch(), path, engine="numpy", threads=1),
    "--out": lambda path: prepare_output("s", RUN_FOLDER, path),
}


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("argument", WRITERS)
@pytest.mark.parametrize("kind", WRONG)
def test_a_path_that_no_file_can_have(argument: str, kind: str) -> None:
    path, expected = WRONG[kind]
    with pytest.raises(InputError) as refused:
        WRITERS[argument](path)
    (problem,) = refused.value.problems
    assert problem.key == argument
    assert expected in str(problem)
    assert str(problem).isprintable()
    assert os.listdir() == []


def test_names_in_any_letters_are_fine() -> None:
    for name in ("naïve 名前", os.fsdecode(b"caf\xe9"), "with\nline"):
        assert output_path("out", name, "a path", "") == Path(name)
        assert write_results(SampleRun(), name) == Path(name)
        assert sorted(os.listdir(name)) == FILES


@pytest.mark.parametrize("overwrite", ["no", 1, None])
def test_overwrite_is_true_or_false(overwrite: Any) -> None:
    write_results(SampleRun(), "x")
    before = {name: Path("x", name).stat().st_mtime_ns for name in FILES}
    with pytest.raises(InputError, match=r"^overwrite( = .*)? \(True or False is expected"):
        write_results(SampleRun(), "x", overwrite=overwrite)
    assert {name: Path("x", name).stat().st_mtime_ns for name in FILES} == before


@pytest.mark.parametrize(
    "name", ["resume", "accept_changes", "retry_failed", "fail_fast", "overwrite", "parquet"]
)
def test_so_are_the_answers_of_a_batch(name: str) -> None:
    with pytest.raises(InputError, match=rf'^{name} = "no" \(True or False is expected'):
        simulate_batch(small_batch(), "b", **{name: "no"})  # type: ignore[arg-type]
    assert os.listdir() == []


@pytest.fixture
def gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Current folder that has been removed."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()


@pytest.mark.skipif(os.name != "posix", reason="other systems keep a folder that is in use")
@pytest.mark.usefixtures("gone")
def test_a_current_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(GammawallError, match=r"^x: the results cannot be written there \(No such file"):
        write_results(SampleRun(), "x")
    for command in (
        ["run", "no-dealers", "--paths", "10"],
        ["run", "no-dealers", "--paths", "10", "--out", "x"],
        ["batch", "story", "--paths", "10"],
        ["bench", "--csv", "t.csv"],
        ["fit", "volatility", "days.csv", "--out", "v.toml"],
    ):
        done = gammawall(*command)
        assert done.exit_code == 1, done.output
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ")
        assert "No such file or directory" in line
        assert "run" not in command or "The current folder is gone" in line
    done = gammawall("run", "no-dealers", "--paths", "10", "--out", str(tmp_path / "x"))
    assert done.exit_code == 0, done.output
    assert sorted(os.listdir(tmp_path / "x")) == FILES


@pytest.mark.parametrize(
    "read", [sim.load_scenario, sim.load_batch, sim.read_chain, sim.fit_volatility, sim.read_fragment]
)
def test_no_input_is_a_path_of_bytes(read: Callable[[Any], Any]) -> None:
    with pytest.raises(InputError, match="is expected as text"):
        read(BytesPath())
