"""A finished batch whose files are damaged: what is damaged is counted again, and never becomes a table."""

from __future__ import annotations

import csv
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.batch_results import SINGLES, contents, reseal, small_batch
from support.cli_runner import gammawall

from sim.batch import local_executor
from sim.batch.case_counts import archive_key, counts_bytes, read_counts, read_records, records_bytes
from sim.batch.executors import choose_executor
from sim.batch.family import Batch, Case
from sim.batch.local_executor import CountedCase
from sim.batch.opening import open_batch_folder
from sim.batch.run import BatchRun, run_batch
from sim.errors import GammawallError
from sim.files.json_text import SEAL

PATHS, FLIPS = 300, 200
NOTE = "{} is damaged: it is not used, and its case is counted again if wanted"


def tiny_batch(more: bool = False) -> Batch:
    """Three cases, or one more."""
    further = {"name": "more", "set": {"volatility.annual*": 1.5}}
    return small_batch(grid={}, paths=PATHS, case=[*SINGLES, *([further] if more else [])])


def run(out: Path, batch: Batch | None = None, **options: bool) -> BatchRun:
    batch = batch or tiny_batch()
    with open_batch_folder(batch, out, **options) as folder, choose_executor("numpy", threads=1) as executor:
        return run_batch(batch, folder, batch.cases, executor)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "b"
    run(out)
    return out


@pytest.fixture
def done(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "b"))


def case_folder(out: Path, name: str) -> Path:
    return next(path for path in (out / "cases").iterdir() if path.name.startswith(name))


def flip(file: Path, place: int, mask: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= mask
    file.write_bytes(content)


# --- any byte of any file


def test_a_flipped_byte_is_refused_recomputed_or_harmless(whole: Path, tmp_path: Path) -> None:
    """In every file of the folder: afterwards all files are those of before, or one message says why not."""
    expected = contents(whole)
    files = sorted(Path(name) for name in expected)
    assert {"batch.json", "batch.csv", "manifest.json", "counts.npz", "records.npz"} <= {
        f.name for f in files
    }
    rng = random.Random(20_260_210)
    told, refusals = 0, []
    for number in range(FLIPS):
        out = Path(shutil.copytree(whole, tmp_path / str(number)))
        file = rng.choice(files)
        flip(out / file, rng.randrange((out / file).stat().st_size), rng.randrange(1, 256))
        try:
            told += bool(run(out, resume=True).notes)
        except GammawallError as error:
            refusals.append(str(error))
        else:
            found = contents(out)
            if file.name == "records.npz":  # nothing needs them any more
                found.pop(file.as_posix())
            assert found == {name: content for name, content in expected.items() if name in found}, file
            assert expected.keys() - found.keys() <= {file.as_posix()}
        shutil.rmtree(out)
    assert not [message for message in refusals if "\n" in message]
    # Half of the files are read again, and nearly every flip in them matters.
    assert told > FLIPS / 4


# --- what is read again


@pytest.mark.parametrize("name", ["counts.npz", "manifest.json"])
@pytest.mark.parametrize("case", ["base", "no-dealers"])
def test_a_damaged_case_is_counted_again(done: Path, case: str, name: str) -> None:
    before = contents(done)
    file = case_folder(done, case) / name
    flip(file, file.stat().st_size // 2, 1)
    again = run(done, resume=True)
    assert again.notes == [NOTE.format(file)]
    assert (len(again.finished), len(again.kept)) == (1, 2)
    assert contents(done) == before


@pytest.mark.parametrize("name", ["counts.npz", "manifest.json"])
def test_files_of_another_case_are_not_used(done: Path, name: str) -> None:
    """They are whole, and wrong."""
    before = contents(done)
    shutil.copy(case_folder(done, "base") / name, case_folder(done, "no-dealers") / name)
    assert len(run(done, resume=True).finished) == 1
    assert contents(done) == before


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("paired", False),
        ("warnings", ["all is well"]),
        ("engine", "cuda"),
        ("plan_digest", "0"),
        ("timings", {"simulate_s": 1e9}),
        ("paths", PATHS + 1),
        (SEAL, "0"),
    ],
)
def test_a_manifest_edited_by_hand_is_damaged(done: Path, key: str, value: Any) -> None:
    file = case_folder(done, "no-dealers") / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    assert run(done, resume=True).notes == [NOTE.format(file)]


def test_documents_may_be_laid_out_again(done: Path) -> None:
    for file in (done / "batch.json", *done.glob("cases/*/manifest.json")):
        file.write_text(json.dumps(dict(reversed(json.loads(file.read_text()).items())), indent=7))
    again = run(done, resume=True)
    assert (again.finished, again.notes) == ([], [])


@pytest.mark.parametrize("name", ["cases", "digest", "parameters", "description"])
def test_an_edited_batch_json_counts_as_a_missing_one(done: Path, name: str) -> None:
    before = contents(done)
    document = json.loads((done / "batch.json").read_text())
    (done / "batch.json").write_text(json.dumps({**document, name: []}))
    assert run(done, resume=True).finished == []
    assert contents(done) == before


# --- the baseline's records


@pytest.mark.parametrize("fitting", [False, True], ids=["changed", "written so"])
def test_zeroed_records_are_not_paired_with(done: Path, tmp_path: Path, fitting: bool) -> None:
    """Neither where their digest tells, nor where the baseline's counts alone do."""
    run(tmp_path / "expected", tiny_batch(more=True))
    file = case_folder(done, "base") / "records.npz"
    key = archive_key(file.read_bytes())
    assert key is not None
    file.write_bytes(records_bytes(np.zeros(PATHS, dtype=np.uint16), key))
    if fitting:
        reseal(file.parent)
    again = run(done, tiny_batch(more=True), resume=True, accept_changes=True)
    assert again.notes == [NOTE.format(file)]
    assert sorted(again.finished) == ["base", "more"]
    assert contents(done) == contents(tmp_path / "expected")


def test_records_in_another_order_are_not_paired_with(done: Path, tmp_path: Path) -> None:
    """Their counts are the same; the digest alone tells."""
    run(tmp_path / "expected", tiny_batch(more=True))
    file = case_folder(done, "base") / "records.npz"
    content = file.read_bytes()
    key = archive_key(content)
    assert key is not None
    file.write_bytes(records_bytes(read_records(content, file)[::-1], key))
    again = run(done, tiny_batch(more=True), resume=True, accept_changes=True)
    assert again.notes == [NOTE.format(file)]
    assert contents(done) == contents(tmp_path / "expected")


def test_records_that_are_gone_are_no_damage(done: Path) -> None:
    (case_folder(done, "base") / "records.npz").unlink()
    again = run(done, tiny_batch(more=True), resume=True, accept_changes=True)
    assert (sorted(again.finished), again.notes) == (["base", "more"], [])


def test_damaged_records_that_nothing_needs_stay_unused(done: Path) -> None:
    before = (done / "differences.csv").read_bytes()
    flip(case_folder(done, "base") / "records.npz", 100, 1)
    assert run(done, resume=True).finished == []
    assert (done / "differences.csv").read_bytes() == before


# --- counts that do not belong together


@pytest.mark.parametrize(
    ("rows", "whose"), [([0, 0], "the baseline's"), ([0, 1], "the case's own")], ids=["column", "row"]
)
def test_pairs_that_do_not_fit_are_no_table(done: Path, rows: list[int], whose: str) -> None:
    """Their digest is right, and they add up; only the columns, or the rows, are not those of the counts."""
    before = (done / "differences.csv").read_bytes()
    file = case_folder(done, "no-dealers") / "counts.npz"
    counts = read_counts(file.read_bytes(), file)
    assert counts.pairs is not None
    counts.pairs.first[rows, [0, 1] if rows == [0, 0] else [0, 0]] += (-1, 1)
    key = archive_key(file.read_bytes())
    assert key is not None
    file.write_bytes(counts_bytes(counts, key))
    reseal(file.parent)
    with pytest.raises(GammawallError) as caught:
        run(done, resume=True)
    why = f"its pairs do not fit {whose} counts: first counts other paths"
    hint = f"Try removing the folder {file.parent} and running with --resume."
    assert str(caught.value) == f"{file}: holds no counts of a case ({why}). {hint}"
    assert (done / "differences.csv").read_bytes() == before


def test_a_case_that_is_counted_wrongly_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be its pairs is never filed as finished."""
    count_case = local_executor._count_case

    def miscount(batch: Batch, case: Case, *rest: Any) -> CountedCase:
        counted = count_case(batch, case, *rest)
        if case.name == "no dealers":
            assert counted.counts.pairs is not None
            counted.counts.pairs.first[[0, 1], 0] += (1, -1)
        return counted

    monkeypatch.setattr(local_executor, "_count_case", miscount)
    assert run(tmp_path / "b").failed == ["no dealers"]
    with open(tmp_path / "b" / "batch.csv", encoding="utf-8", newline="") as file:
        (error,) = (row["error"] for row in csv.DictReader(file) if row["status"] == "failed")
    why = "its pairs do not fit the case's own counts: first counts other paths"
    hint = "Please report this with the batch and gammawall engines."
    assert error == f"it was counted wrongly ({why}). {hint}"


# --- the command line

FILE = """
schema = 1
name = "small"
[grid]
"dealers.impact_bp_per_bn" = [1.0]
"""


def test_the_command_line_tells_what_was_damaged(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(FILE)
    command = [
        "batch",
        str(tmp_path / "small.toml"),
        "--out",
        str(tmp_path / "b"),
        "--engine",
        "numpy",
        "--quiet",
    ]
    for key in ("market.sessions=2", "volatility.steps_per_session=3", "regime=[]"):
        command += ["--set", key]
    command += ["--paths", "100"]
    assert gammawall(*command).exit_code == 0
    file = case_folder(tmp_path / "b", "base") / "counts.npz"
    flip(file, 100, 255)
    done = gammawall(*command, "--resume")
    assert (done.exit_code, done.stderr) == (0, f"note: {NOTE.format(file)}\n")
