"""Tables of a batch, written while further cases are counted."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from support.batch_results import SINGLES, contents, small_batch

import sim.batch.case_files
import sim.batch.local_executor
from sim.batch.case_counts import CaseCounts
from sim.batch.executors import choose_executor
from sim.batch.family import Batch, Case
from sim.batch.local_executor import CountedCase
from sim.batch.opening import open_batch_folder
from sim.batch.run import run_batch
from sim.batch.table_writer import TableWriter, save_tables
from sim.errors import GammawallError
from sim.files.table_files import TableFile


def run(batch: Batch, out: Path) -> Path:
    with open_batch_folder(batch, out) as folder, choose_executor("numpy", threads=1) as executor:
        run_batch(batch, folder, batch.cases, executor)
    return out


def test_they_are_written_before_the_last_case_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of counts at hand: none is read back from the disk."""
    batch, happened = small_batch(), []
    count_case, add = sim.batch.local_executor._count_case, TableWriter._add

    def counting(*arguments: Any) -> CountedCase:
        happened.append(("counted", arguments[1].name))
        return count_case(*arguments)

    def adding(tables: TableWriter, case: Case, counts: CaseCounts | None) -> None:
        happened.append(("written" if counts is not None else "read back", case.name))
        add(tables, case, counts)

    monkeypatch.setattr(sim.batch.local_executor, "_count_case", counting)
    monkeypatch.setattr(TableWriter, "_add", adding)
    run(batch, tmp_path / "b")
    names = [case.name for case in batch.cases]
    assert [name for what, name in happened if what == "written"] == names
    assert [name for what, name in happened if what == "counted"] == names
    assert happened.index(("written", names[0])) < happened.index(("counted", names[-1]))


@pytest.mark.parametrize("full_at", ["tables", "cases"])
def test_a_disk_too_small_for_the_tables_takes_all_cases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_at: str
) -> None:
    """The tables give way; that they cannot be written is an error only at the end."""
    batch, out = small_batch(), tmp_path / "b"
    room = 3 if full_at == "tables" else 4

    def full() -> bool:
        return len(list(out.glob("cases/*/counts.npz"))) >= room

    write_file, add = sim.batch.case_files.write_file, TableFile.add

    def adding(file: TableFile, piece: Any) -> None:
        if full() and full_at == "tables":
            raise OSError(errno.ENOSPC, "No space left on device")
        add(file, piece)

    def writing(path: Path, content: str | bytes) -> None:
        if full() and full_at == "cases" and list(out.glob(".gammawall-odds*")):
            raise OSError(errno.ENOSPC, "No space left on device")
        write_file(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(TableFile, "add", adding)
        patched.setattr(sim.batch.case_files, "write_file", writing)
        if full_at == "tables":
            with pytest.raises(GammawallError, match="No space left on device"):
                run(batch, out)
        else:
            run(batch, out)
    assert len(list(out.glob("cases/*/counts.npz"))) == len(batch.cases)
    assert not list(out.rglob(".gammawall-*"))
    with (
        open_batch_folder(batch, out, resume=True) as folder,
        choose_executor("numpy", threads=1) as executor,
    ):
        assert run_batch(batch, folder, batch.cases, executor).finished == []
    assert contents(out) == contents(run(batch, tmp_path / "whole"))


def test_tables_of_what_is_filed_are_those_of_the_run(tmp_path: Path) -> None:
    batch = small_batch()
    out = run(batch, tmp_path / "b")
    whole = contents(out)
    for file in out.glob("*.csv"):
        file.unlink()
    with open_batch_folder(batch, out, resume=True) as folder:
        rows = save_tables(folder)
    assert [row["scenario"] for row in rows] == [case.name for case in batch.cases]
    assert contents(out) == whole


def test_none_is_written_before_the_baseline_has_ended(tmp_path: Path) -> None:
    """Which may be any case, and differences need it."""
    batch = small_batch(baseline="no dealers", case=[{"name": "base", "set": {}}, *SINGLES])
    out = run(batch, tmp_path / "b")
    with (
        open_batch_folder(batch, out, resume=True) as folder,
        TableWriter(folder, [case.name for case in batch.cases]) as tables,
    ):
        first, baseline = batch.cases[0], batch.baseline_case
        assert first.name != baseline.name
        tables.settle(first, folder.counts(first))
        assert tables.done == 0
        tables.settle(baseline, folder.counts(baseline))
        assert tables.done == 2
