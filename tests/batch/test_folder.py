"""A batch's folder: whose it is, who may use it, and what a kill may leave there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.batch_results import contents, small_batch

from sim.batch.executors import choose_executor
from sim.batch.folder import BatchFolder
from sim.batch.opening import open_batch_folder
from sim.batch.run import run_batch
from sim.batch.tables import FINISHED, NOT_RUN
from sim.errors import GammawallError, InputError


def run(out: Path, **options: bool) -> None:
    batch = small_batch(grid={})
    with open_batch_folder(batch, out, **options) as folder, choose_executor("numpy", threads=1) as executor:
        run_batch(batch, folder, batch.cases, executor)


@pytest.fixture
def done(tmp_path: Path) -> Path:
    run(tmp_path / "done")
    return tmp_path / "done"


class TestRefusals:
    def test_results_are_never_overwritten_unasked(self, done: Path) -> None:
        before = contents(done)
        with pytest.raises(InputError, match=r"exists already.*--resume.*--overwrite"):
            run(done)
        assert contents(done) == before

    @pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
    def test_a_folder_of_something_else(self, tmp_path: Path, options: dict[str, bool]) -> None:
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
        with pytest.raises(InputError, match="holds no batch's results"):
            run(tmp_path / "thesis", **options)
        assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"

    def test_a_run_of_one_scenario_is_no_batch(self, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "manifest.json").write_text('{"format": "gammawall-results/1"}')
        with pytest.raises(InputError, match="holds no batch's results"):
            run(tmp_path / "run", resume=True)

    def test_foreign_files_are_not_removed(self, done: Path) -> None:
        (done / "notes.txt").write_text("mine")
        with pytest.raises(InputError, match=r"holds files that no batch wrote: notes\.txt"):
            run(done, overwrite=True)
        run(done, resume=True)
        assert (done / "notes.txt").read_text() == "mine"

    def test_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="is not a folder"):
            run(tmp_path / "file")

    def test_no_name(self) -> None:
        with pytest.raises(InputError, match="not the name of a folder"):
            run(Path("/"))

    def test_two_at_once(self, done: Path) -> None:
        with open_batch_folder(small_batch(grid={}), done, resume=True):
            for options in ({"resume": True}, {"overwrite": True}):
                with pytest.raises(GammawallError, match="another process is at work there"):
                    run(done, **options)
        run(done, resume=True)

    def test_a_refused_folder_is_not_locked(self, done: Path) -> None:
        with pytest.raises(InputError):
            open_batch_folder(small_batch(seed=2, grid={}), done, resume=True)
        run(done, resume=True)


def test_resuming_nothing_starts(tmp_path: Path) -> None:
    """So that one command line serves a first start and a restart."""
    run(tmp_path / "new", resume=True)
    run(tmp_path / "other")
    assert contents(tmp_path / "new") == contents(tmp_path / "other")


def test_overwriting(done: Path) -> None:
    before = contents(done)
    (done / "odds.parquet").write_bytes(b"old")
    run(done, overwrite=True)
    assert contents(done) == before


def test_leftovers_of_a_kill_go(done: Path) -> None:
    before = contents(done)
    (done / ".gammawall-partial-0123abcd").write_text("half a batch.json")
    (done / ".gammawall-odds.csv-0123abcd").write_text("half a table")
    (done / ".gammawall-probe-0123abcd").mkdir()
    for what in ("partial", "former"):
        (done / "cases" / f".gammawall-{what}-0123abcd").mkdir()
        (done / "cases" / f".gammawall-{what}-0123abcd" / "counts.npz").write_text("half")
    run(done, resume=True)
    assert contents(done) == before


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"case_key": "of another time"}'])
def test_a_damaged_manifest_means_not_run(done: Path, damage: str) -> None:
    before = contents(done)
    batch = small_batch(grid={})
    (done / "cases" / "no-dealers-f2a8574f" / "manifest.json").write_text(damage)
    with open_batch_folder(batch, done, resume=True) as folder:
        assert [folder.status(case) for case in batch.cases] == [FINISHED, NOT_RUN, FINISHED]
    run(done, resume=True)
    assert contents(done) == before


def test_a_damaged_batch_json_is_not_taken_over_without_cases(done: Path) -> None:
    (done / "batch.json").write_text("{")
    for manifest in done.glob("cases/*/manifest.json"):
        manifest.write_text('{"case": "of something else"}')
    with pytest.raises(InputError, match="holds no batch's results"):
        run(done, resume=True)


def test_a_running_batch_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """batch.csv and batch.json are brought up to date while cases are still to come."""
    monkeypatch.setattr("sim.batch.folder.REFRESH_S", 0.0)
    seen: list[list[str]] = []
    save_case = BatchFolder.save_case

    def look(self: BatchFolder, *arguments: object, **options: object) -> None:
        save_case(self, *arguments, **options)  # type: ignore[arg-type]
        document = json.loads((self.path / "batch.json").read_text())
        seen.append([case["status"] for case in document["cases"]])
        lines = (self.path / "batch.csv").read_text().splitlines()
        assert [line.count(",finished,") for line in lines[1:]] == [
            int(status == FINISHED) for status in seen[-1]
        ]

    monkeypatch.setattr(BatchFolder, "save_case", look)
    run(tmp_path / "b")
    assert seen == [[FINISHED, NOT_RUN, NOT_RUN], [FINISHED, FINISHED, NOT_RUN], [FINISHED] * 3]
