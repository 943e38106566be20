from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from support.result_files import FILES, everything_in
from support.sample_outcomes import SampleRun

from sim.errors import GammawallError, InputError
from sim.files import output_folder
from sim.files.output_folder import OutputFolder, prepare_output
from sim.run.results import RUN_FOLDER, write_results, write_run


@pytest.fixture(scope="module")
def run() -> SampleRun:
    return SampleRun()


# --- never over something else


@pytest.mark.parametrize("kind", ["results", "empty", "foreign", "file", "dangling"])
def test_anything_in_the_way_is_refused(run: SampleRun, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    if kind == "results":
        write_results(run, out)
    elif kind == "file":
        out.write_text("mine")
    elif kind == "dangling":
        out.symlink_to(tmp_path / "nowhere")
    else:
        out.mkdir()
        if kind == "foreign":
            (out / "notes.txt").write_text("mine")
    before = everything_in(tmp_path)
    for attempt in (lambda: write_results(run, out), lambda: prepare_output("s", RUN_FOLDER, out)):
        with pytest.raises(InputError) as caught:
            attempt()
        assert str(out) in str(caught.value)
        assert "--out" in str(caught.value)
        assert caught.value.exit_code == 2
    assert everything_in(tmp_path) == before


def test_overwrite_replaces_former_results_and_leaves_nothing_else(run: SampleRun, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_results(run, out)
    write_results(SampleRun(warnings=("another",)), out, overwrite=True)
    assert json.loads((out / "manifest.json").read_text())["warnings"] == ["another"]
    assert everything_in(tmp_path) == ["out", *(f"out/{name}" for name in FILES)]


def test_overwrite_takes_an_empty_folder(run: SampleRun, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_results(run, tmp_path / "out", overwrite=True)
    assert sorted(os.listdir(tmp_path / "out")) == FILES
    assert everything_in(tmp_path)[0] == "out"


@pytest.mark.parametrize(
    "files",
    [
        {"notes.txt": "mine"},
        {"odds.csv": "mine"},
        {"manifest.json": '{"name": "some web app"}'},
        {"manifest.json": "not JSON"},
        {"manifest.json": "[1]"},
        {"manifest.json": '{"format": "gammawall-results/1"}', "thesis.tex": "mine"},
        {"manifest.json": '{"format": "gammawall-results/1"}', "pictures/a.png": "mine"},
    ],
)
def test_overwrite_never_touches_foreign_files(run: SampleRun, tmp_path: Path, files: dict[str, str]) -> None:
    out = tmp_path / "out"
    for name, text in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for attempt in (
        lambda: write_results(run, out, overwrite=True),
        lambda: prepare_output("s", RUN_FOLDER, out, overwrite=True),
    ):
        with pytest.raises(InputError, match="--out"):
            attempt()
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert os.listdir(tmp_path) == ["out"]


def test_overwrite_through_a_link_replaces_what_it_points_to(run: SampleRun, tmp_path: Path) -> None:
    write_results(run, tmp_path / "real" / "out")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "out")
    write_results(SampleRun(warnings=("another",)), tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "real" / "out" / "manifest.json").read_text())["warnings"] == ["another"]
    assert os.listdir(tmp_path / "real") == ["out"]


def test_foreign_file_that_appears_during_the_swap_is_kept(
    run: SampleRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write_results(run, out)
    rename = os.rename

    def drop_a_file(source: Path, target: Path) -> None:
        rename(source, target)
        if "former" in Path(target).name:
            (Path(target) / "late.txt").write_text("mine")

    monkeypatch.setattr(output_folder.os, "rename", drop_a_file)
    with pytest.raises(GammawallError, match="in place") as caught:
        write_results(SampleRun(warnings=("another",)), out, overwrite=True)
    (former,) = tmp_path.glob(".gammawall-former-*")
    assert former.name in str(caught.value)
    assert (former / "late.txt").read_text() == "mine"
    assert sorted(os.listdir(out)) == FILES


def test_folder_taken_during_the_simulation_is_refused(run: SampleRun, tmp_path: Path) -> None:
    place = prepare_output("s", RUN_FOLDER, tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        write_run(run, place)
    assert everything_in(tmp_path) == ["out", "out/notes.txt"]


# --- the place, chosen beforehand


def test_default_place_is_the_first_free_one(
    run: SampleRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for expected in ("siege", "siege-2", "siege-3"):
        place = prepare_output("siege", RUN_FOLDER)
        assert place == OutputFolder(Path("results", expected), RUN_FOLDER, overwrite=False, numbered=True)
        assert write_run(run, place) == Path("results", expected)
    assert sorted(os.listdir("results")) == ["siege", "siege-2", "siege-3"]


def test_default_place_with_overwrite_is_the_first_one(
    run: SampleRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(run, prepare_output("siege", RUN_FOLDER))
    assert write_run(run, prepare_output("siege", RUN_FOLDER, overwrite=True)) == Path("results", "siege")
    assert os.listdir("results") == ["siege"]


def test_runs_side_by_side_get_a_place_each(
    run: SampleRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    places = [prepare_output("siege", RUN_FOLDER) for _ in range(4)]
    assert {place.folder for place in places} == {Path("results/siege")}
    written: list[Path] = []
    threads = [threading.Thread(target=lambda p=p: written.append(write_run(run, p))) for p in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(str(path) for path in written) == [
        "results/siege",
        "results/siege-2",
        "results/siege-3",
        "results/siege-4",
    ]
    assert all(sorted(os.listdir(path)) == FILES for path in written)
    assert len(os.listdir("results")) == 4


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("siege-of-7000", "siege-of-7000"),
        ("two words", "two-words"),
        ("../../etc", "etc"),
        ("..", "scenario"),
        ("名前", "scenario"),
        ("a/b\\c", "a-b-c"),
        ("x" * 300, "x" * 80),
    ],
)
def test_scenario_names_become_safe_folder_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert prepare_output(name, RUN_FOLDER).folder == Path("results", folder)


def test_looking_for_a_place_leaves_nothing_behind(tmp_path: Path) -> None:
    place = prepare_output("s", RUN_FOLDER, tmp_path / "a" / "b" / "out")
    assert place == OutputFolder(tmp_path / "a" / "b" / "out", RUN_FOLDER)
    assert everything_in(tmp_path) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_place_that_cannot_be_written_is_found_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(output_folder.os, "mkdir", fail)
    with pytest.raises(GammawallError, match=os.strerror(number)):
        prepare_output("s", RUN_FOLDER, tmp_path / "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_parent_is_found_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(GammawallError, match="Permission denied"):
        prepare_output("s", RUN_FOLDER, tmp_path / "locked" / "out")


@pytest.mark.parametrize("out", ["file/out", "file/deeper/out", "n" * 300])
def test_impossible_places_are_found_before_the_run(tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(GammawallError, match="cannot be written"):
        prepare_output("s", RUN_FOLDER, tmp_path / out)
    assert everything_in(tmp_path) == ["file"]


@pytest.mark.parametrize("out", ["", ".", "/"])
def test_place_without_a_name_is_refused(out: str) -> None:
    with pytest.raises(InputError, match="--out"):
        prepare_output("s", RUN_FOLDER, out)
