"""What no batch wrote, in a batch's folder or behind a link there: never removed, never written to."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from pathlib import Path

import pytest
from support.batch_results import SINGLES, contents
from support.finished_batch import NO_DEALERS, simulate_tiny, snapshot, tiny_batch, write_document

from sim.batch.case_files import place_case
from sim.batch.merge import merge_folders
from sim.batch.opening import open_batch_folder
from sim.batch.tables import FINISHED
from sim.errors import GammawallError, InputError
from sim.files.own_files import foreign_entries

WAYS = [{"resume": True}, {"resume": True, "accept_changes": True}, {"overwrite": True}]


def put(path: Path, text: str = "years of work") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def change(file: Path, **changes: object) -> None:
    write_document(file, {**json.loads(file.read_text()), **changes})


def foreign_things(done: Path) -> list[Path]:
    """Put foreign files and folders into the cases of a finished batch; return their files."""
    cases = done / "cases"
    copy = Path(shutil.copytree(cases / NO_DEALERS, cases / f"{NO_DEALERS}-backup"))
    other = Path(shutil.copytree(cases / "base", cases / "of-another-batch"))
    change(other / "manifest.json", batch="another", case="of-another-batch")
    return [
        put(cases / "thesis" / "chapter.tex"),
        put(cases / "thesis" / "counts.npz"),
        put(cases / "notes.txt"),
        put(cases / ".gammawall-partial-notes" / "notes.txt"),
        put(cases / ".gammawall-partial-0123abcd" / "notes.txt"),
        put(cases / ".gammawall-notes-0123abcd"),
        put(done / ".gammawall-partial-1"),
        put(done / ".gammawall-former-0123abcd" / "batch.json"),
        *sorted(copy.iterdir()),
        *sorted(other.iterdir()),
    ]


class TestResume:
    @pytest.mark.parametrize("accept_changes", [False, True])
    def test_foreign_files_and_folders_stay(self, done: Path, accept_changes: bool) -> None:
        before = {file: file.read_bytes() for file in foreign_things(done)}
        (done / "cases" / "empty").mkdir()
        simulate_tiny(done, resume=True, accept_changes=accept_changes)
        assert {file: file.read_bytes() for file in before} == before
        assert (done / "cases" / "empty").is_dir()

    def test_a_case_that_the_batch_no_longer_has_goes(self, done: Path, tmp_path: Path) -> None:
        fewer = tiny_batch(case=SINGLES[1:])
        simulate_tiny(done, fewer, resume=True, accept_changes=True)
        assert not (done / "cases" / NO_DEALERS).exists()
        simulate_tiny(tmp_path / "fewer", fewer)
        for name in ("odds.csv", "differences.csv"):
            assert (done / name).read_bytes() == (tmp_path / "fewer" / name).read_bytes()

    def test_and_leaves_what_others_put_there(self, done: Path) -> None:
        notes = put(done / "cases" / NO_DEALERS / "notes.txt")
        simulate_tiny(done, tiny_batch(case=SINGLES[1:]), resume=True, accept_changes=True)
        assert os.listdir(notes.parent) == ["notes.txt"]
        assert notes.read_text() == "years of work"

    def test_a_case_of_a_batch_of_another_name_stays(self, done: Path) -> None:
        """Unless the folder was that batch's."""
        manifest = done / "cases" / NO_DEALERS / "manifest.json"
        change(manifest, batch="another")
        simulate_tiny(done, tiny_batch(case=SINGLES[1:]), resume=True, accept_changes=True)
        assert manifest.exists()

    def test_a_case_of_the_former_name_goes(self, done: Path) -> None:
        simulate_tiny(done, tiny_batch(case=SINGLES[1:], name="renamed"), resume=True, accept_changes=True)
        assert not (done / "cases" / NO_DEALERS).exists()

    def test_a_case_is_filed_beside_the_files_of_others(self, done: Path) -> None:
        """As after a kill: the case has not run, and its folder holds a user's notes."""
        before = contents(done)
        folder = done / "cases" / NO_DEALERS
        (folder / "manifest.json").unlink()
        put(folder / "traceback.txt")
        notes, picture = put(folder / "notes.txt"), put(folder / "pictures" / "a.png")
        simulate_tiny(done, resume=True)
        assert notes.read_text() == picture.read_text() == "years of work"
        for mine in (notes, picture):
            mine.unlink()
        assert contents(done) == before

    def test_a_case_that_is_counted_again_too(self, done: Path) -> None:
        notes = put(done / "cases" / "base" / "notes.txt")
        (done / "cases" / "base" / "records.npz").unlink()
        (done / "cases" / NO_DEALERS / "manifest.json").unlink()
        simulate_tiny(done, resume=True)
        assert notes.read_text() == "years of work"
        with open_batch_folder(tiny_batch(), done, resume=True) as folder:
            assert {folder.status(case) for case in folder.batch.cases} == {FINISHED}

    def test_a_folder_that_becomes_a_link_while_cases_are_counted(
        self, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        thesis = put(tmp_path / "thesis" / "counts.npz")

        def swap_first(target: Path, files: dict[str, bytes]) -> None:
            if not target.is_symlink():
                target.symlink_to(thesis.parent)
            place_case(target, files)

        shutil.rmtree(done / "cases" / NO_DEALERS)
        monkeypatch.setattr("sim.batch.folder.place_case", swap_first)
        with pytest.raises(GammawallError, match="is a link, not a folder"):
            simulate_tiny(done, resume=True)
        assert os.listdir(thesis.parent) == ["counts.npz"]
        assert thesis.read_text() == "years of work"


class TestOverwrite:
    def test_what_no_batch_wrote_is_named_and_nothing_is_removed(self, done: Path) -> None:
        foreign_things(done)
        before = snapshot(done)
        for _ in range(2):
            with pytest.raises(InputError, match=r"holds files that no batch wrote: .* more") as refused:
                simulate_tiny(done, overwrite=True)
            assert refused.value.exit_code == 2
        assert snapshot(done) == before

    @pytest.mark.parametrize(
        "name",
        [
            "cases/notes.txt",
            "cases/thesis/counts.npz",
            "cases/base/notes.txt",
            "cases/base/pictures/a.png",
            ".gammawall-partial-1",
            ".gammawall-former-0123abcd/manifest.json",
            "cases/.gammawall-partial-0123abcd/notes.txt",
            "cases/.gammawall-partial-0123ABCD/counts.npz",
        ],
    )
    def test_each_thing_is_named(self, done: Path, name: str) -> None:
        put(done / name)
        before = snapshot(done)
        with pytest.raises(InputError) as refused:
            simulate_tiny(done, overwrite=True)
        assert str(refused.value).partition("no batch wrote: ")[2].partition(")")[0] in name
        assert snapshot(done) == before

    def test_an_empty_folder_is_foreign_too(self, done: Path) -> None:
        (done / "cases" / "empty").mkdir()
        with pytest.raises(InputError, match="no batch wrote: cases/empty"):
            simulate_tiny(done, overwrite=True)

    @pytest.mark.parametrize("left", ["", "{", None])
    def test_without_a_whole_batch_json_the_manifests_tell(self, done: Path, left: str | None) -> None:
        before = contents(done)
        (done / "batch.json").unlink()
        if left is not None:
            put(done / "batch.json", left)
        notes = put(done / "cases" / "thesis" / "notes.txt")
        with pytest.raises(InputError, match="no batch wrote: cases/thesis"):
            simulate_tiny(done, overwrite=True)
        shutil.rmtree(notes.parent)
        simulate_tiny(done, overwrite=True)
        assert contents(done) == before

    def test_a_case_without_a_manifest_goes_if_batch_json_names_it(self, done: Path) -> None:
        """So does a removal that was killed come to its end."""
        before = contents(done)
        (done / "cases" / NO_DEALERS / "manifest.json").unlink()
        simulate_tiny(done, overwrite=True)
        assert contents(done) == before

    def test_of_another_batch(self, done: Path, tmp_path: Path) -> None:
        other = tiny_batch(name="other", case=SINGLES[1:], seed=2)
        simulate_tiny(done, other, overwrite=True)
        simulate_tiny(tmp_path / "other", other)
        assert contents(done) == contents(tmp_path / "other")


class TestLinks:
    @pytest.mark.parametrize("options", WAYS)
    @pytest.mark.parametrize(
        "name",
        [
            "cases",
            "batch.json",
            "batch.csv",
            "odds.csv",
            f"cases/{NO_DEALERS}",
            "cases/base/counts.npz",
            "cases/base/manifest.json",
        ],
    )
    def test_a_link_inside_is_refused(
        self, done: Path, tmp_path: Path, name: str, options: dict[str, bool]
    ) -> None:
        elsewhere = tmp_path / "elsewhere"
        (done / name).rename(elsewhere)
        (done / name).symlink_to(elsewhere)
        before = snapshot(tmp_path)
        with pytest.raises(
            InputError, match=r"is a link, where a batch has a .*Try putting the whole folder"
        ):
            simulate_tiny(done, **options)
        assert snapshot(tmp_path) == before

    @pytest.mark.parametrize("options", WAYS)
    @pytest.mark.parametrize(
        "name", ["odds.csv", "cases", "cases/base/counts.npz", "cases/base/manifest.json"]
    )
    def test_so_is_a_pipe(self, done: Path, name: str, options: dict[str, bool]) -> None:
        path = done / name
        path.rename(done.parent / "elsewhere")
        os.mkfifo(path)
        with pytest.raises(InputError, match="is a pipe or a device, where a batch has a"):
            simulate_tiny(done, **options)

    @pytest.mark.parametrize("options", WAYS)
    def test_the_folder_itself_may_be_one(self, done: Path, tmp_path: Path, options: dict[str, bool]) -> None:
        before = contents(done)
        (tmp_path / "link").symlink_to(done)
        simulate_tiny(tmp_path / "link", **options)
        assert (tmp_path / "link").is_symlink()
        assert contents(done) == before

    def test_links_among_foreign_things_stay(self, done: Path, tmp_path: Path) -> None:
        thesis = put(tmp_path / "thesis" / "counts.npz")
        (done / "cases" / "thesis").symlink_to(thesis.parent)
        (done / "cases" / ".gammawall-partial-0123abcd").symlink_to(thesis.parent)
        (done / ".gammawall-partial-0123abcd").symlink_to(thesis)
        before = snapshot(thesis.parent)
        simulate_tiny(done, resume=True)
        with pytest.raises(InputError, match="no batch wrote"):
            simulate_tiny(done, overwrite=True)
        assert snapshot(thesis.parent) == before
        assert len([path for path in done.rglob("*") if path.is_symlink()]) == 3


class TestLock:
    @pytest.mark.parametrize("options", [{}, *WAYS])
    @pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "pipe", "text"])
    def test_anything_else_in_its_place_is_refused(
        self, done: Path, tmp_path: Path, kind: str, options: dict[str, bool]
    ) -> None:
        lock, thesis = done / ".lock", put(tmp_path / "thesis.tex")
        lock.unlink(missing_ok=True)
        make = {
            "link": lambda: lock.symlink_to(thesis),
            "dangling link": lambda: lock.symlink_to(tmp_path / "nowhere"),
            "folder": lock.mkdir,
            "pipe": lambda: os.mkfifo(lock),
            "text": lambda: put(lock),
        }
        make[kind]()
        before = snapshot(tmp_path)
        with pytest.raises(InputError, match=r"\.lock \(is .*Try moving it away") as refused:
            simulate_tiny(done, **options)
        assert len(refused.value.problems) == 1
        assert snapshot(tmp_path) == before
        assert thesis.read_text() == "years of work"
        assert kind != "text" or lock.read_text() == "years of work"

    @pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
    def test_a_file_system_without_locks_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        """Lustre without flock, or NFS without its daemon."""
        monkeypatch.setattr("fcntl.flock", lambda *_: no_locks(number))
        with pytest.raises(
            GammawallError, match=r"its file system has no locks .*Choose an --out on another"
        ):
            simulate_tiny(tmp_path / "new")

    def test_a_share_there_is_read_without_one(
        self, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        flock = fcntl.flock
        places = [os.stat(done / ".lock").st_ino]

        def some(descriptor: int, operation: int) -> None:
            if os.fstat(descriptor).st_ino in places:
                no_locks()
            flock(descriptor, operation)

        monkeypatch.setattr("fcntl.flock", some)
        _, merged = merge_folders([done], tmp_path / "merged")
        assert merged.finished


def no_locks(number: int = errno.ENOSYS) -> None:
    raise OSError(number, os.strerror(number))


def test_an_unreadable_leftover_is_somebody_elses(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (done / ".gammawall-probe-aaaaaaaa").mkdir()

    def unreadable(folder: Path, names: object) -> list[str]:
        if folder.name.startswith(".gammawall-probe"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return foreign_entries(folder, names)  # type: ignore[arg-type]

    monkeypatch.setattr("sim.files.own_files.foreign_entries", unreadable)
    simulate_tiny(done, resume=True)
    with pytest.raises(InputError, match=r"\.gammawall-probe-aaaaaaaa"):
        simulate_tiny(done, overwrite=True)
