"""Opening of a batch's folder, with the rules by which results there are resumed, replaced or left alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sim.batch.family import Batch
from sim.batch.folder import BATCH, BATCH_FORM, CASES, LOCK, MANIFEST, OWN_NAMES, BatchFolder, case_key
from sim.batch.tables import NOT_RUN
from sim.errors import GammawallError, InputError, Problem
from sim.files.atomic_files import HIDDEN, cannot_write
from sim.files.json_text import has_form, is_sealed, read_json
from sim.files.output_folder import DEFAULT_PARENT, folder_name, probe

# Keys of batch.json without which it is damaged.
NEEDED = {"format", "code", "digest", "name", "baseline", "parameters", "axes", "cases"}


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
    lock = lock_folder(path)
    try:
        folder = BatchFolder(path, batch, lock, parquet)
        _refuse_foreign(path, resume=resume, overwrite=overwrite, may_resume=may_resume)
        if overwrite and not resume:
            if is_batch_folder(path):
                _remove_contents(path)
        else:
            changes = _changes_since(folder)
            if changes and not accept_changes:
                hint = "Try another --out, or add --accept-changes to keep the cases that are still the same."
                raise InputError(
                    [Problem("", "--resume", str(path), f"the batch has changed: {changes}", hint)]
                )
        _remove_leftovers(folder)
        folder.save_state()
    except OSError as error:
        lock.release()
        raise cannot_write(path, error) from error
    except BaseException:
        lock.release()
        raise
    return folder


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
        _refuse_foreign(path, resume=resume, overwrite=overwrite, may_resume=may_resume)
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
    """Lock of a folder that is only read; None where this process may not write to the folder.

    Errors: GammawallError if another process holds the lock.
    """
    return lock_folder(path) if os.access(path, os.W_OK) else None


def lock_folder(path: Path) -> FileLock:
    """Lock of a folder; the folder is made if it does not exist.

    Errors: GammawallError if another process holds the lock, or the folder cannot be written.
    """
    try:
        os.makedirs(path, exist_ok=True)
        lock = FileLock(path / LOCK, timeout=0)
        lock.acquire()
    except Timeout as error:
        raise GammawallError(
            f"{path}: another process is at work there. Wait until it has ended, or choose another --out."
        ) from error
    except OSError as error:
        raise cannot_write(path, error) from error
    return lock


def is_batch_folder(path: Path) -> bool:
    """Whether a folder holds a batch.json or any filed case."""
    return batch_document(path) is not None or any(True for _ in _filed_cases(path))


def batch_document(path: Path) -> dict[str, Any] | None:
    """Content of a folder's batch.json; None if it is missing or damaged."""
    document = read_json(path / BATCH) or {}
    whole = document.keys() >= NEEDED and has_form(document, BATCH_FORM) and is_sealed(document)
    return document if whole else None


def _filed_cases(path: Path) -> Iterator[str]:
    """Keys of the cases that are filed in a folder."""
    for manifest in sorted(path.glob(f"{CASES}/*/{MANIFEST}")):
        key = (read_json(manifest) or {}).get("case_key")
        if key is not None:
            yield str(key)


def _refuse_foreign(path: Path, *, resume: bool, overwrite: bool, may_resume: bool) -> None:
    """Raise InputError unless the path is free, or holds a batch that may be resumed or replaced."""

    def refused(why: str, hint: str) -> InputError:
        return InputError([Problem("", "--out", str(path), why, hint)])

    if not os.path.lexists(path):
        return
    if not path.is_dir():
        raise refused("exists and is not a folder", "Choose another --out.")
    try:
        entries = set(os.listdir(path)) - {LOCK}
    except OSError as error:
        raise cannot_write(path, error) from error
    if not entries:
        return
    if not is_batch_folder(path):
        raise refused("exists and holds no batch's results", "Choose another --out.")
    if not resume and not overwrite:
        going_on = "--resume to go on with it, " if may_resume else ""
        hint = f"Add {going_on}--overwrite to start anew, or choose another --out."
        raise refused("exists already", hint)
    foreign = sorted(name for name in entries - OWN_NAMES if not name.startswith(HIDDEN))
    if overwrite and not resume and foreign:
        raise refused(f"holds files that no batch wrote: {', '.join(foreign[:3])}", "Choose another --out.")


def _changes_since(folder: BatchFolder) -> str:
    """Differences between a batch and the one that its folder holds, in words; empty if none matters."""
    former = batch_document(folder.path)
    if former is not None:
        return _changes(former, folder.document())
    known = {case_key(folder.batch, case) for case in folder.batch.cases}
    foreign = sum(key not in known for key in _filed_cases(folder.path))
    return (
        f"{BATCH} is missing or damaged, and {foreign:,} of the cases there are another's" if foreign else ""
    )


def _changes(former: Mapping[str, Any], present: Mapping[str, Any]) -> str:
    """Differences between the contents of two batch.json, in words; empty if none matters."""
    found = [
        f"{key} was {former.get(key)}, is {present[key]}"
        for key in ("name", "baseline", "paths", "seed", "target_se", "max_paths")
        if former.get(key) != present[key]
    ]
    if former.get("code") != present["code"]:
        found.append("gammawall or its kernels are of another version")
    if former.get("digest") != present["digest"] and not found:
        before, now = (
            {case["name"]: case["scenario_hash"] for case in document.get("cases", [])}
            for document in (former, present)
        )
        names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
        found.append(f"other scenarios: {shown}" if names else "other cases")
    return "; ".join(found)


def _remove_contents(path: Path) -> None:
    """Remove a former batch, batch.json last, so that an interrupted removal can be done again."""
    for name in sorted(OWN_NAMES - {LOCK}, key=lambda name: name == BATCH):
        if (path / name).is_dir():
            shutil.rmtree(path / name)
        else:
            (path / name).unlink(missing_ok=True)


def _remove_leftovers(folder: BatchFolder) -> None:
    """Remove the hidden files of killed processes, and the cases that the batch no longer has."""
    for parent in (folder.path, folder.path / CASES):
        if parent.is_dir():
            for entry in parent.iterdir():
                if entry.name.startswith(HIDDEN):
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    present = {case.folder for case in folder.batch.cases if folder.status(case) != NOT_RUN}
    if (folder.path / CASES).is_dir():
        for entry in (folder.path / CASES).iterdir():
            if entry.name not in present and entry.is_dir():
                shutil.rmtree(entry)
