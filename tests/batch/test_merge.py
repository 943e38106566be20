"""Shares of a batch joined: the files of the whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from support.batch_results import contents, reseal, small_batch
from support.finished_batch import snapshot, write_document

import sim.batch.local_executor
from sim.batch.case_files import COUNTS, RECORDS
from sim.batch.documents import batch_from_document
from sim.batch.executors import choose_executor
from sim.batch.family import Batch, Case
from sim.batch.local_executor import CountedCase
from sim.batch.merge import merge_folders
from sim.batch.opening import open_batch_folder
from sim.batch.run import run_batch
from sim.batch.tables import FINISHED
from sim.errors import GammawallError, InputError


def run(batch: Batch, out: Path, shard: tuple[int, int] | None = None) -> Path:
    with open_batch_folder(batch, out) as folder, choose_executor("numpy", threads=1) as executor:
        run_batch(batch, folder, batch.selected(None, shard), executor)
    return out


@pytest.fixture(scope="module")
def shares(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    parent = tmp_path_factory.mktemp("shares")
    return [run(small_batch(), parent / f"share-{i}", (i, 3)) for i in range(3)]


def test_shares_merge_into_the_whole(shares: list[Path], tmp_path: Path) -> None:
    whole = run(small_batch(), tmp_path / "whole")
    before = [contents(share) for share in shares]
    batch, done = merge_folders(shares, tmp_path / "merged")
    assert contents(tmp_path / "merged") == contents(whole)
    assert done.finished == [case.name for case in batch.cases]
    assert [contents(share) for share in shares] == before
    # in any order, and a share named twice
    merge_folders([shares[2], shares[0], shares[2], shares[1]], tmp_path / "again")
    assert contents(tmp_path / "again") == contents(whole)


def test_each_share_has_the_baseline_and_its_part(shares: list[Path]) -> None:
    found = [sorted(path.name for path in (share / "cases").iterdir()) for share in shares]
    assert all(names[0] == "base" for names in found)
    others = [name for names in found for name in names[1:]]
    assert len(others) == len(set(others)) == 8


def test_a_missing_share(shares: list[Path], tmp_path: Path) -> None:
    batch, done = merge_folders(shares[:2], tmp_path / "merged")
    assert 0 < len(done.finished) < len(batch.cases)
    with open_batch_folder(small_batch(), tmp_path / "merged", resume=True) as folder:
        assert [case.name for case in batch.cases if folder.status(case) == FINISHED] == done.finished
        with choose_executor("numpy", threads=1) as executor:
            run_batch(small_batch(), folder, small_batch().cases, executor)
    merge_folders(shares, tmp_path / "whole")
    assert contents(tmp_path / "merged") == contents(tmp_path / "whole")


def test_a_share_without_a_baseline(
    shares: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cases lack their differences, so that they do not count as those of the whole."""
    count_case = sim.batch.local_executor._count_case

    def count(batch: Batch, case: Case, *rest: Any) -> CountedCase:
        if case.name == "base":
            raise MemoryError
        return count_case(batch, case, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(sim.batch.local_executor, "_count_case", count)
        alone = run(small_batch(), tmp_path / "alone", (1, 3))
    batch, done = merge_folders([shares[0], alone, shares[2]], tmp_path / "merged")
    theirs = [case.name for case in batch.selected(None, (1, 3))[1:]]
    assert [case.name for case in batch.cases if case.name not in done.finished] == theirs


def test_another_batch_is_refused(shares: list[Path], tmp_path: Path) -> None:
    other = run(small_batch(seed=2, grid={}), tmp_path / "other")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as refused:
        merge_folders([shares[0], other, tmp_path / "empty"], tmp_path / "merged")
    assert "holds another batch than" in str(refused.value)
    assert "holds no batch's results" in str(refused.value)
    assert not (tmp_path / "merged").exists()


def test_a_share_is_no_place_for_the_whole(shares: list[Path]) -> None:
    with pytest.raises(InputError, match="is one of the shares"):
        merge_folders(shares, shares[1])


def test_shares_that_may_only_be_read(
    shares: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot, for instance: no lock can be taken there, and none is needed."""
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    copies = [Path(shutil.copytree(share, tmp_path / share.name)) for share in shares]
    for copy in copies:
        (copy / ".lock").unlink(missing_ok=True)
    merge_folders(copies, tmp_path / "merged")
    assert not [copy for copy in copies if (copy / ".lock").exists()]
    merge_folders(shares, tmp_path / "usual")
    assert contents(tmp_path / "merged") == contents(tmp_path / "usual")


def test_a_share_without_batch_json(shares: list[Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(shares[1], tmp_path / "copy"))
    (copy / "batch.json").write_text("{")
    with pytest.raises(
        InputError, match=r"batch.json is missing or damaged.*Try running that share with --resume"
    ):
        merge_folders([shares[0], copy], tmp_path / "merged")
    with pytest.raises(InputError, match="holds no batch's results"):
        merge_folders([shares[0], tmp_path], tmp_path / "merged")


def test_a_share_still_running_is_refused(shares: list[Path], tmp_path: Path) -> None:
    with (
        open_batch_folder(small_batch(), shares[1], resume=True),
        pytest.raises(GammawallError, match="another process is at work there"),
    ):
        merge_folders(shares, tmp_path / "merged")


def test_shares_that_contradict_each_other(shares: list[Path], tmp_path: Path) -> None:
    """Counts of the same case that differ mean that something is badly wrong: nothing is merged in silence."""
    second = run(small_batch(), tmp_path / "second", (0, 3))
    counts = second / "cases" / "base" / COUNTS
    counts.write_bytes(counts.read_bytes()[:-1] + b"!")
    reseal(counts.parent)
    with pytest.raises(GammawallError, match=r"base: .* counted it differently"):
        merge_folders([shares[1], second], tmp_path / "merged")


@pytest.mark.parametrize(
    "folder", ["../../escaped", "{outside}/escaped", "a/b", ".", "..", "", ".hidden", "a\\b", "A", "x" * 80]
)
def test_no_share_names_a_place_outside(shares: list[Path], tmp_path: Path, folder: str) -> None:
    """A case's folder is one plain name; a batch.json with another one is damaged, however consistent."""
    copy = Path(shutil.copytree(shares[0], tmp_path / "deep" / "er" / "copy"))
    document = json.loads((copy / "batch.json").read_text())
    document["cases"][1]["folder"] = folder.format(outside=tmp_path)
    document["digest"] = batch_from_document(document).digest
    write_document(copy / "batch.json", document)
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match=r"batch\.json is missing or damaged"):
        merge_folders([copy], tmp_path / "deep" / "er" / "merged")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "name",
    ["cases", "cases/base", "cases/base/counts.npz", "cases/base/manifest.json", ".lock", "batch.json"],
)
def test_links_in_a_share_are_refused(shares: list[Path], tmp_path: Path, name: str) -> None:
    copy = Path(shutil.copytree(shares[0], tmp_path / "copy"))
    (copy / ".lock").touch()
    (copy / name).rename(tmp_path / "elsewhere")
    (copy / name).symlink_to(tmp_path / "elsewhere")
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match=r"is a link|batch\.json is missing or damaged"):
        merge_folders([copy], tmp_path / "merged")
    assert snapshot(tmp_path) == before


def test_files_of_others_in_a_share_are_left_out(shares: list[Path], tmp_path: Path) -> None:
    copies = [Path(shutil.copytree(share, tmp_path / share.name)) for share in shares]
    (tmp_path / "secret").write_text("mine")
    base = copies[0] / "cases" / "base"
    (base / "notes.txt").symlink_to(tmp_path / "secret")
    (base / "pictures").mkdir()
    (base / "pictures" / "a.png").write_text("mine")
    merge_folders(copies, tmp_path / "merged")
    merge_folders(shares, tmp_path / "usual")
    assert snapshot(tmp_path / "merged").keys() == snapshot(tmp_path / "usual").keys()


def test_a_place_inside_a_share_is_refused(shares: list[Path], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(shares[0])
    before = snapshot(shares[0])
    for out in (shares[0] / "merged", shares[0] / "cases" / "merged", tmp_path / "link" / "merged"):
        with pytest.raises(InputError, match="lies inside the share"):
            merge_folders(shares, out)
    assert snapshot(shares[0]) == before


def test_a_share_named_by_two_paths_is_one(shares: list[Path], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(shares[0])
    merge_folders([*shares, tmp_path / "link", shares[1] / ".." / shares[1].name], tmp_path / "merged")
    merge_folders(shares, tmp_path / "usual")
    assert contents(tmp_path / "merged") == contents(tmp_path / "usual")


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["manifest.json", COUNTS, RECORDS])
def test_a_damaged_case_is_taken_from_another_share(shares: list[Path], tmp_path: Path, name: str) -> None:
    """The first share's copy of the baseline is damaged, the others' are not."""
    merge_folders(shares, tmp_path / "whole")
    broken = tmp_path / "broken"
    shutil.copytree(shares[0], broken)
    damage(broken / "cases" / "base" / name)
    _, done = merge_folders([broken, *shares[1:]], tmp_path / "merged")
    assert contents(tmp_path / "merged") == contents(tmp_path / "whole")
    assert done.notes == [
        f"{broken / 'cases' / 'base' / name} is damaged: it is not used, and its case is counted again if wanted"
    ]


@pytest.mark.parametrize("name", ["manifest.json", COUNTS])
def test_a_damaged_case_that_no_other_share_has(shares: list[Path], tmp_path: Path, name: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(shares[0], broken)
    case = next(path for path in sorted((broken / "cases").iterdir()) if path.name != "base")
    damage(case / name)
    with pytest.raises(GammawallError) as caught:
        merge_folders([broken, *shares[1:]], tmp_path / "merged")
    assert str(caught.value).startswith(f"{case / name}: it is damaged, and no other share has the case ")
    assert str(caught.value).endswith("Try running that share with --resume.")


def test_counts_that_are_gone_from_two_shares(shares: list[Path], tmp_path: Path) -> None:
    copies = [Path(shutil.copytree(share, tmp_path / share.name)) for share in shares]
    for copy in copies:
        (copy / "cases" / "base" / COUNTS).unlink()
    with pytest.raises(GammawallError):
        merge_folders(copies, tmp_path / "merged")


# --- shares that do not agree, or may not be written to


def with_document(share: Path, copy: Path, change: Callable[[Any], object], name: str = "batch.json") -> Path:
    """Copy of a share in which a document is another, and sealed."""
    shutil.copytree(share, copy)
    document = json.loads((copy / name).read_text())
    change(document)
    write_document(copy / name, document)
    return copy


def test_other_parameters_in_a_share_are_refused(shares: list[Path], tmp_path: Path) -> None:
    """The digest of a batch leaves them out, and tables have them."""

    def change(document: Any) -> None:
        document["cases"][1]["parameters"]["dealers.impact_bp_per_bn"] = "99"

    copy = with_document(shares[1], tmp_path / "copy", change)
    with pytest.raises(InputError, match=r"has other labels than that of .*: case ") as caught:
        merge_folders([shares[0], copy, shares[2]], tmp_path / "merged")
    assert len(caught.value.problems) == 1
    assert not (tmp_path / "merged").exists()


def test_a_case_counted_by_another_plan_is_refused(shares: list[Path], tmp_path: Path) -> None:
    def change(document: Any) -> None:
        document["plan_digest"] = "0" * 64

    copy = with_document(shares[1], tmp_path / "copy", change, "cases/base/manifest.json")
    with pytest.raises(GammawallError, match=r"^base: .* counted it differently"):
        merge_folders([shares[0], copy, shares[2]], tmp_path / "merged")


def test_a_share_whose_lock_may_not_be_opened_is_only_read(
    shares: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire = FileLock.acquire

    def refuse(lock: FileLock, *rest: Any, **how: Any) -> Any:
        if "merged" not in str(lock.lock_file):
            raise PermissionError(13, "Permission denied", lock.lock_file)
        return acquire(lock, *rest, **how)

    monkeypatch.setattr(FileLock, "acquire", refuse)
    merge_folders(shares, tmp_path / "merged")
    assert (tmp_path / "merged" / "odds.csv").exists()


@pytest.mark.skipif(os.name != "posix", reason="other systems keep a folder that is in use")
def test_the_current_folder_is_gone(
    shares: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    with pytest.raises(GammawallError, match="The current folder is gone"):
        merge_folders(shares, "merged")


def test_a_former_whole_stays_if_the_shares_do_not_fit(shares: list[Path], tmp_path: Path) -> None:
    merge_folders(shares, tmp_path / "whole")
    before = snapshot(tmp_path / "whole")
    broken = Path(shutil.copytree(shares[1], tmp_path / "broken"))
    damage(next(case for case in sorted((broken / "cases").iterdir()) if case.name != "base") / COUNTS)
    with pytest.raises(GammawallError, match="no other share has the case"):
        merge_folders([shares[0], broken, shares[2]], tmp_path / "whole", overwrite=True)
    assert snapshot(tmp_path / "whole") == before
