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


@pytest.mark.parametrize("what", ["link", "dangling link", "folder", "pipe"])
@pytest.mark.parametrize("name", ["odds.csv", "manifest.json"])
def test_overwrite_takes_nothing_but_files(run: SampleRun, tmp_path: Path, name: str, what: str) -> None:
    """What has the name of a run's file, but is none, no run wrote."""
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    write_results(run, out)
    (out / name).rename(elsewhere)
    if what == "link":
        (out / name).symlink_to(elsewhere)
    elif what == "dangling link":
        (out / name).symlink_to(tmp_path / "nowhere")
    elif what == "folder":
        (out / name).mkdir()
    else:
        os.mkfifo(out / name)
    before, content = everything_in(tmp_path), elsewhere.read_bytes()
    with pytest.raises(InputError, match=rf"holds files that no run wrote: {name}"):
        write_results(run, out, overwrite=True)
    assert everything_in(tmp_path) == before
    assert elsewhere.read_bytes() == content


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


def test_two_commands_that_replace_the_same_folder(
    run: SampleRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The later one stays, whole, and nothing else does."""
    out = tmp_path / "out"
    write_results(run, out)
    rename, moved = os.rename, []

    def while_another_writes(source: Path, target: Path) -> None:
        rename(source, target)
        if "former" in Path(target).name and not moved:
            moved.append(target)
            write_results(SampleRun(warnings=("of another",)), out)

    monkeypatch.setattr(output_folder.os, "rename", while_another_writes)
    write_results(SampleRun(warnings=("mine",)), out, overwrite=True)
    assert json.loads((out / "manifest.json").read_text())["warnings"] == ["mine"]
    assert everything_in(tmp_path) == ["out", *(f"out/{name}" for name in FILES)]


def test_results_that_another_command_puts_in_the_way_are_not_replaced_unasked(
    run: SampleRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    rename = os.rename

    def after_another(source: Path, target: Path) -> None:
        monkeypatch.setattr(output_folder.os, "rename", rename)
        write_results(SampleRun(warnings=("of another",)), out)
        rename(source, target)

    monkeypatch.setattr(output_folder.os, "rename", after_another)
    with pytest.raises(InputError, match="exists already"):
        write_results(run, out)
    assert json.loads((out / "manifest.json").read_text())["warnings"] == ["of another"]
    assert everything_in(tmp_path) == ["out", *(f"out/{name}" for name in FILES)]


class TestLeftovers:
    """Hidden folders beside the results."""

    @staticmethod
    def leave(parent: Path, name: str, *files: str, age_s: float = 7200.0) -> Path:
        folder = parent / name
        folder.mkdir(parents=True)
        for file in files:
            (folder / file).write_text("half")
        for path in (*folder.iterdir(), folder):
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age_s))
        return folder

    def test_those_of_killed_runs_go(self, tmp_path: Path) -> None:
        self.leave(tmp_path, ".gammawall-partial-0123abcd", "odds.csv", "manifest.json")
        self.leave(tmp_path, ".gammawall-probe-0123abcd")
        prepare_output("s", RUN_FOLDER, tmp_path / "out")
        assert everything_in(tmp_path) == []

    @pytest.mark.parametrize(
        "name",
        [
            ".gammawall-partial-0123abc",
            ".gammawall-partial-0123abcde",
            ".gammawall-partial-0123ABCD",
            ".gammawall-partial",
            ".gammawall-notes-0123abcd",
            ".gammawall-former-0123abcd",
            "x.gammawall-partial-0123abcd",
        ],
    )
    def test_other_names_stay(self, tmp_path: Path, name: str) -> None:
        left = self.leave(tmp_path, name, "odds.csv")
        prepare_output("s", RUN_FOLDER, tmp_path / "out")
        assert (left / "odds.csv").read_text() == "half"

    def test_one_that_may_still_be_written_stays(self, tmp_path: Path) -> None:
        left = self.leave(tmp_path, ".gammawall-partial-0123abcd", "odds.csv", age_s=60.0)
        prepare_output("s", RUN_FOLDER, tmp_path / "out")
        assert (left / "odds.csv").exists()
        self.leave(tmp_path, ".gammawall-partial-0123abce", "odds.csv")
        (tmp_path / ".gammawall-partial-0123abce" / "odds.csv").write_text("just now")
        prepare_output("s", RUN_FOLDER, tmp_path / "out")
        assert (tmp_path / ".gammawall-partial-0123abce" / "odds.csv").exists()

    def test_one_that_holds_anything_else_stays(self, tmp_path: Path) -> None:
        left = self.leave(tmp_path, ".gammawall-partial-0123abcd", "odds.csv", "notes.txt")
        prepare_output("s", RUN_FOLDER, tmp_path / "out")
        assert sorted(os.listdir(left)) == ["notes.txt", "odds.csv"]

    def test_no_link_is_followed(self, tmp_path: Path) -> None:
        real = self.leave(tmp_path / "elsewhere", ".gammawall-partial-0123abcd", "odds.csv")
        (tmp_path / "results").mkdir()
        (tmp_path / "results" / ".gammawall-partial-0123abcd").symlink_to(real)
        prepare_output("s", RUN_FOLDER, tmp_path / "results" / "out")
        assert (real / "odds.csv").exists()
        assert (tmp_path / "results" / ".gammawall-partial-0123abcd").is_symlink()


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
