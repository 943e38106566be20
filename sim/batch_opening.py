"""Opening a batch's folder: whose results are there, may they be gone on with or replaced, is anybody at work."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sim.atomic_files import cannot_write
from sim.batch_family import Batch
from sim.batch_folder import BATCH, CASES, LOCK, OWN_NAMES, BatchFolder, read_json
from sim.batch_tables import NOT_RUN
from sim.errors import GammawallError, InputError, Problem
from sim.results import DEFAULT_PARENT, folder_name, probe


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
    """Folder of a batch, locked, new or with the cases finished so far.

    Parameters
    ----------
    batch : what will be run.
    out : the folder; ``results/<name>`` if None.
    resume : go on with what is there. A folder that does not exist is made.
    accept_changes : resume although the batch or the code differs; cases that are still the same are kept.
    overwrite : remove a former batch's results.
    parquet : write tables as .parquet too.
    may_resume : whether the caller can resume, and may say so.

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
        former = read_json(path / BATCH)
        if former is not None and overwrite and not resume:
            _remove_contents(path)
        elif former is not None:
            changes = _changes(former, folder.document())
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
    """Path of a batch's folder, once it is known that it may be used; nothing is left there.

    Errors: InputError if it may not be used as it is; GammawallError if it cannot be written.
    """
    path = Path(DEFAULT_PARENT, folder_name(batch.name)) if out is None else Path(out)
    if not path.name:
        raise InputError([Problem("", "--out", os.fspath(path), "not the name of a folder to make")])
    _refuse_foreign(path, resume=resume, overwrite=overwrite, may_resume=may_resume)
    if not path.exists():
        probe(path)
    return path


def lock_folder(path: Path) -> FileLock:
    """Lock of a folder, which is made if it is not there.

    Errors: GammawallError if another process holds it, or the folder cannot be written.
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
    """Whether a folder holds a batch's results."""
    document = read_json(path / BATCH)
    return document is not None and str(document.get("format", "")).startswith("gammawall-batch/")


def _refuse_foreign(path: Path, *, resume: bool, overwrite: bool, may_resume: bool) -> None:
    """Raise InputError if there is something at the path that may not be gone on with or replaced."""

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
    foreign = sorted(name for name in entries - OWN_NAMES if not name.startswith(".gammawall-"))
    if overwrite and not resume and foreign:
        raise refused(f"holds files that no batch wrote: {', '.join(foreign[:3])}", "Choose another --out.")


def _changes(former: Mapping[str, Any], present: Mapping[str, Any]) -> str:
    """What differs between two batch.json, in words; empty if nothing that matters."""
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
    """Remove what a kill has left, and cases that do not belong to the batch as it is now."""
    for parent in (folder.path, folder.path / CASES):
        if parent.is_dir():
            for entry in parent.iterdir():
                if entry.name.startswith(".gammawall-"):
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    present = {case.folder for case in folder.batch.cases if folder.status(case) != NOT_RUN}
    if (folder.path / CASES).is_dir():
        for entry in (folder.path / CASES).iterdir():
            if entry.name not in present and entry.is_dir():
                shutil.rmtree(entry)
