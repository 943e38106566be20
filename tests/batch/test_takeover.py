"""A batch's folder that another batch takes over, and what cannot be removed there."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from support.batch_results import SINGLES, reseal
from support.cli_runner import gammawall
from support.finished_batch import NO_DEALERS, simulate_tiny, tiny_batch, write_document

import sim.batch.case_files
from sim.batch.case_counts import archive_key, read_records, records_bytes
from sim.batch.case_files import remove_case
from sim.batch.executors import choose_executor
from sim.batch.family import Batch
from sim.batch.folder import TABLE_FILES, BatchFolder
from sim.batch.opening import open_batch_folder
from sim.batch.run import BatchRun, run_batch
from sim.errors import GammawallError

OTHER_SEED = {"seed": 2}


def run(out: Path, batch: Batch, **options: bool) -> BatchRun:
    with open_batch_folder(batch, out, **options) as folder, choose_executor("numpy", threads=1) as executor:
        return run_batch(batch, folder, batch.cases, executor)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "b"
    simulate_tiny(out)
    return out


@pytest.fixture
def done(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "b"))


def tables(out: Path) -> list[str]:
    return sorted(set(TABLE_FILES) & set(os.listdir(out)))


# --- tables of the former batch


def test_no_table_of_the_former_batch_stays(done: Path) -> None:
    """Not even one that the new batch does not write."""
    (done / "sensitivity.csv").write_text("of the former batch")
    run(done, tiny_batch(), resume=True)
    assert "sensitivity.csv" in tables(done)
    again = run(done, tiny_batch(**OTHER_SEED), resume=True, accept_changes=True)
    assert "sensitivity.csv" not in tables(done)
    assert "odds.csv" in tables(done)
    why = "3 finished cases of the former batch, not the same in this one, had to be removed"
    assert again.notes == [f"{done}: {why}"]


def test_tables_and_batch_json_are_of_one_batch_at_any_moment(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill may come right before batch.json is written, and right after."""
    save, seen = BatchFolder.save_state, []

    def save_state(folder: BatchFolder) -> None:
        seen.append((json.loads((done / "batch.json").read_text())["seed"], tables(done)))
        save(folder)

    monkeypatch.setattr(BatchFolder, "save_state", save_state)
    before = tables(done)
    open_batch_folder(tiny_batch(), done, resume=True).close()
    open_batch_folder(tiny_batch(**OTHER_SEED), done, resume=True, accept_changes=True).close()
    assert seen == [(tiny_batch().seed, before), (tiny_batch().seed, [])]


def test_the_command_tells_of_removed_cases(done: Path, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('schema = 1\nname = "s"\nbase = "no-dealers"\npaths = 20\n')
    options = ("--out", str(tmp_path / "out"), "--quiet")
    assert gammawall("batch", str(tmp_path / "s.toml"), *options).exit_code == 0
    again = gammawall(
        "batch", str(tmp_path / "s.toml"), *options, "--seed", "2", "--resume", "--accept-changes"
    )
    assert "note: " in again.stderr
    assert "1 finished case of the former batch" in again.stderr


# --- counts of another case


@pytest.mark.parametrize("name", ["counts.npz", "records.npz"])
def test_archives_of_another_batch_are_not_used(done: Path, tmp_path: Path, name: str) -> None:
    """Though a manifest says that they belong to it: their margins would agree."""
    simulate_tiny(tmp_path / "other", tiny_batch(**OTHER_SEED))
    base = done / "cases" / "base"
    mine = (base / name).read_bytes()
    theirs = (tmp_path / "other" / "cases" / "base" / name).read_bytes()
    key = archive_key(theirs)
    assert key not in (None, archive_key(mine))
    if name == "records.npz":  # in another order: no margin tells
        theirs = records_bytes(read_records(mine, base / name)[::-1], str(key))
    (base / name).write_bytes(theirs)
    reseal(base)
    more = tiny_batch(case=[*SINGLES, {"name": "more", "set": {"volatility.annual*": 1.5}}])
    again = run(done, more, resume=True, accept_changes=True)
    assert any(note.startswith(f"{base / name} is damaged") for note in again.notes)
    assert (base / name).read_bytes() == mine


# --- what cannot be used or removed


@pytest.mark.parametrize("name", ["counts.npz", "records.npz", "manifest.json"])
def test_a_file_larger_than_the_memory_is_damaged(done: Path, name: str) -> None:
    file = done / "cases" / "base" / name
    before = file.read_bytes()
    os.truncate(file, 1 << 40)
    more = tiny_batch(case=[*SINGLES, {"name": "more", "set": {"volatility.annual*": 1.5}}])
    again = run(done, more, resume=True, accept_changes=True)
    assert any(note.startswith(f"{file} is damaged") for note in again.notes)
    assert name == "manifest.json" or file.read_bytes() == before


def test_missing_counts_are_missing(done: Path) -> None:
    file = done / "cases" / "base" / "counts.npz"
    file.unlink()
    assert run(done, tiny_batch(), resume=True).notes == [
        f"{file} is missing: it is not used, and its case is counted again if wanted"
    ]


def test_times_whose_sum_is_no_number_are_damage(done: Path) -> None:
    for case in ("base", NO_DEALERS):
        file = done / "cases" / case / "manifest.json"
        document = json.loads(file.read_text())
        document["timings"]["simulate_s"] = 1e308
        write_document(file, document)
    assert len(run(done, tiny_batch(), resume=True).notes) == 2


def test_a_case_that_cannot_be_removed_stops_nothing(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Like one with a file that may not be changed; it stays hidden, and is told of."""
    remove = os.unlink

    def unlink(path: Any, *rest: Any, **how: Any) -> None:
        if ".gammawall-former-" in str(path):
            raise PermissionError(1, "Operation not permitted", str(path))
        remove(path, *rest, **how)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", unlink)
        remove_case(done / "cases" / "base")
        (left,) = (done / "cases").glob(".gammawall-former-*")
        for options in ({"resume": True}, {"overwrite": True}):
            again = run(done, tiny_batch(), **options)
            expected = f"{left} is not needed any more, and cannot be removed (Operation not permitted)"
            assert expected in again.notes
    run(done, tiny_batch(), resume=True)
    assert not left.exists()


def test_the_file_at_fault_is_named(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mkdir(path: Any, *_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    shutil.rmtree(done / "cases" / "base")
    monkeypatch.setattr(sim.batch.case_files.os, "mkdir", mkdir)
    with pytest.raises(GammawallError, match=r"cannot be written there \(Permission denied: cases\)\."):
        run(done, tiny_batch(), resume=True)


def test_a_lock_at_fault_is_named(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its place in the folder, whatever the folder is called by."""

    def acquire(lock: FileLock, *_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", os.path.abspath(lock.lock_file))

    monkeypatch.chdir(done.parent)
    monkeypatch.setattr(FileLock, "acquire", acquire)
    with pytest.raises(GammawallError) as caught:
        run(Path("b"), tiny_batch(), resume=True)
    hint = "Try giving yourself permission to change that, or choose another --out."
    assert str(caught.value) == f"b: the results cannot be written there (Permission denied: .lock). {hint}"


def test_a_name_with_a_line_end_is_told_on_one_line(done: Path) -> None:
    (done / "a\nerror: b").write_text("mine")
    result = gammawall("batch", "story", "--paths", "10", "--out", str(done), "--overwrite")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert r"a\x0aerror: b" in line
