"""Opening of a batch's folder, with the rules by which results there are resumed, replaced or left alone."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sim.batch.case_files import (
    CASE_FILES,
    CASES,
    HIDDEN_CASES,
    case_folders,
    filed_cases,
    own_manifest,
    remove_case,
)
from sim.batch.documents import BATCH, batch_document
from sim.batch.family import Batch
from sim.batch.folder import LOCK, TABLE_FILES, BatchFolder, case_key
from sim.batch.folder_rules import HIDDEN_FILES, HIDDEN_FOLDERS, own_folders, refuse_unusable
from sim.batch.tables import NOT_RUN
from sim.errors import GammawallError, InputError, Problem, one_line
from sim.files.atomic_files import cannot_write, flush_folder
from sim.files.output_folder import DEFAULT_PARENT, folder_name, probe
from sim.files.own_files import FOLDER, entry_kind, remove_leftovers

# Errors of file systems on which nothing can be locked.
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
# Characters of a former setting that a message shows.
SHOWN_LENGTH = 60


def open_batch_folder(
    batch: Batch,
    out: str | os.PathLike[str] | None = None,
    *,
    resume: bool = False,
    accept_changes: bool = False,
    overwrite: bool = False,
    parquet: bool = False,
    may_resume: bool = True,
) -> BatchFolder:
    """Locked folder of a batch, new or with the cases finished so far.

    Parameters
    ----------
    batch : batch to be run.
    out : the folder; ``results/<name>`` if None.
    resume : keep the cases finished there; a folder that does not exist is made.
    accept_changes : resume although the batch or the code differs; cases that are still the same are kept.
    overwrite : remove a former batch's results.
    parquet : write tables as .parquet too.
    may_resume : whether messages offer --resume.

    Raises
    ------
    InputError : the folder may not be used as it is, or holds another batch.
    GammawallError : another process is at work there, or it cannot be written.
    """
    path = check_batch_folder(batch, out, resume=resume, overwrite=overwrite, may_resume=may_resume)
    with ExitStack() as stack:
        folder = stack.enter_context(BatchFolder(path, batch, lock_folder(path), parquet))
        with folder.errors():
            refuse_unusable(path, batch, resume=resume, overwrite=overwrite, may_resume=may_resume)
            former = batch_document(path)
            if overwrite and not resume:
                _remove_contents(path, former)
            else:
                _take_over(folder, former, accept_changes=accept_changes)
            folder.notes += _remove_leftovers(path)
            removed = _remove_other_cases(folder, former)
            if removed:
                folder.notes.append(_former_cases_text(path, removed))
            folder.save_state()
        stack.pop_all()  # it stays locked
    return folder


def _take_over(folder: BatchFolder, former: Mapping[str, Any] | None, *, accept_changes: bool) -> None:
    """Refuse a folder whose batch has changed or, where that is accepted, remove the tables there.

    former : content of batch.json; None if it is missing or damaged.

    Errors: InputError.
    """
    changes = _changes_since(folder, former)
    if not changes:
        return
    if not accept_changes:
        hint = "Try another --out, or add --accept-changes to keep the cases that are still the same."
        raise InputError(
            [Problem("", "--resume", str(folder.path), f"the batch has changed: {changes}", hint)]
        )
    # Before batch.json: no table may lie beside that of another batch.
    _remove_tables(folder.path)


def check_batch_folder(
    batch: Batch,
    out: str | os.PathLike[str] | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    may_resume: bool = True,
) -> Path:
    """Path of a batch's folder, checked to be usable; nothing is left there.

    batch, out, resume, overwrite, may_resume : see `open_batch_folder`.

    Errors: InputError if it may not be used as it is; GammawallError if it cannot be written.
    """
    path = _folder_path(batch, out)
    if not path.name:
        raise InputError([Problem("", "--out", os.fspath(path), "not the name of a folder to make")])
    try:
        refuse_unusable(path, batch, resume=resume, overwrite=overwrite, may_resume=may_resume)
        if not path.exists():
            probe(path)
    except OSError as error:  # a name that is too long, for one
        raise cannot_write(path, error) from error
    return path


def filed_statuses(batch: Batch, out: str | os.PathLike[str] | None) -> dict[str, str]:
    """Name of each case of a batch to its status in the folder."""
    folder = BatchFolder(_folder_path(batch, out), batch, None)
    return {case.name: folder.status(case) for case in batch.cases}


def _folder_path(batch: Batch, out: str | os.PathLike[str] | None) -> Path:
    return Path(DEFAULT_PARENT, folder_name(batch.name)) if out is None else Path(out)


def lock_share(path: Path) -> FileLock | None:
    """Lock of a folder that is only read; None where it cannot be locked, for want of permission or space for one.

    Errors: GammawallError if another process holds the lock.
    """
    if not os.access(path, os.W_OK):
        return None
    try:
        return _acquired(path)
    except OSError:
        return None


def lock_folder(path: Path) -> FileLock:
    """Lock of a folder; the folder is made if it does not exist.

    Errors: GammawallError if another process holds the lock, or the folder cannot be written.
    """
    try:
        os.makedirs(path, exist_ok=True)
        return _acquired(path)
    except OSError as error:
        if error.errno in NO_LOCKS:
            why = f"its file system has no locks ({error.strerror}), which keep two commands apart"
            raise GammawallError(f"{path}: {why}. Choose an --out on another one.") from error
        raise cannot_write(path, error) from error


def _acquired(path: Path) -> FileLock:
    """Lock of a folder.

    Errors: GammawallError if another process holds it; OSError if there can be none.
    """
    _expect_locks(path / LOCK)
    lock = FileLock(path / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise GammawallError(
            f"{path}: another process is at work there. Wait until it has ended, or choose another --out."
        ) from error
    return lock


def _expect_locks(file: Path) -> None:
    """Raise OSError unless a file can be locked; the library would use a file of another kind without a word."""
    if os.name != "posix":
        return
    import fcntl

    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # which changes nothing
    finally:
        os.close(descriptor)


def _changes_since(folder: BatchFolder, former: Mapping[str, Any] | None) -> str:
    """Differences between a batch and the one that its folder holds, in words; empty if none matters.

    former : content of batch.json; None if it is missing or damaged.
    """
    if former is not None:
        return _changes(former, folder.document())
    known = {case_key(folder.batch, case) for case in folder.batch.cases}
    foreign = sum(manifest["case_key"] not in known for _, manifest in filed_cases(folder.path))
    return (
        f"{BATCH} is missing or damaged, and {foreign:,} of the cases there are another's" if foreign else ""
    )


def _changes(former: Mapping[str, Any], present: Mapping[str, Any]) -> str:
    """Differences between the contents of two batch.json, in words; empty if none matters."""
    found = [
        f"{key} was {one_line(str(former[key]), SHOWN_LENGTH)}, is {present[key]}"
        for key in ("name", "baseline", "paths", "seed", "target_se", "max_paths")
        if former[key] != present[key]
    ]
    if former["code"] != present["code"]:
        found.append("gammawall or its kernels are of another version")
    if former["digest"] != present["digest"] and not found:
        before, now = (
            {case["name"]: case["scenario_hash"] for case in document["cases"]}
            for document in (former, present)
        )
        names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
        found.append(f"other scenarios: {shown}" if names else "other cases")
    return "; ".join(found)


def _remove_contents(path: Path, former: Mapping[str, Any] | None) -> None:
    """Remove a former batch, batch.json last, so that an interrupted removal can be done again.

    former : content of batch.json; None if it is missing or damaged.
    """
    for case in own_folders(path, former):
        remove_case(case)
    _remove_leftovers(path)
    if entry_kind(path / CASES) == FOLDER:
        with contextlib.suppress(OSError):  # something of others has come meanwhile
            os.rmdir(path / CASES)
    _remove_tables(path)
    (path / BATCH).unlink(missing_ok=True)


def _remove_tables(path: Path) -> None:
    for name in TABLE_FILES:
        (path / name).unlink(missing_ok=True)
    flush_folder(path)


def _remove_leftovers(path: Path) -> list[str]:
    """Remove what killed processes left hidden in a batch's folder; return sentences on what has to stay."""
    left = remove_leftovers(path, HIDDEN_FILES, HIDDEN_FOLDERS, ())
    if entry_kind(path / CASES) == FOLDER:
        left |= remove_leftovers(path / CASES, (), HIDDEN_CASES, CASE_FILES)
    return [f"{entry} is not needed any more, and cannot be removed ({why})" for entry, why in left.items()]


def _former_cases_text(path: Path, removed: int) -> str:
    cases = "1 finished case" if removed == 1 else f"{removed:,} finished cases"
    return f"{path}: {cases} of the former batch, not the same in this one, had to be removed"


def _remove_other_cases(folder: BatchFolder, former: Mapping[str, Any] | None) -> int:
    """Remove filed cases that the batch no longer has; what is not known to be the batch's stays.

    Return the number of finished cases among them.
    """
    removed, damaged = 0, {file.parent for file in folder.damage}
    names = {folder.batch.name} | ({former["name"]} if former is not None else set())
    present = {case.folder for case in folder.batch.cases if folder.status(case) != NOT_RUN}
    for entry in case_folders(folder.path):
        manifest = None if entry.name in present else own_manifest(entry)
        if manifest is not None and manifest["batch"] in names:
            remove_case(entry)
            removed += "error" not in manifest and entry not in damaged
    return removed
