"""Judgement of what lies at the place of a batch's folder: free, a batch's, or somebody else's."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sim.batch.case_files import CASE_FILES, CASES, HIDDEN_CASES, filed_cases, own_manifest
from sim.batch.documents import BATCH, batch_document
from sim.batch.family import Batch
from sim.batch.folder import LOCK, OWN_NAMES, TABLE_FILES
from sim.errors import InputError, Problem
from sim.files.atomic_files import cannot_write
from sim.files.own_files import FILE, FOLDER, LINK, entry_kind, foreign_entries, is_leftover

# What hidden files and folders beside the tables are for.
HIDDEN_FILES = ("partial", *TABLE_FILES)
HIDDEN_FOLDERS = ("probe",)
# Names that an error lists.
MOST_NAMED = 3


def refuse_unusable(path: Path, batch: Batch, *, resume: bool, overwrite: bool, may_resume: bool) -> None:
    """Refuse a path unless it is free, or holds a batch that may be resumed or replaced.

    Parameters
    ----------
    path : the folder asked for; it may be a link to one.
    batch : the batch to be run there.
    resume, overwrite, may_resume : see `sim.batch.opening.open_batch_folder`.

    Errors: InputError; GammawallError if the folder cannot be read.
    """
    if not os.path.lexists(path):
        return
    if not path.is_dir():
        raise _refused(path, "exists and is not a folder", "Choose another --out.")
    try:
        refuse_lock(path)
        if set(_entries(path)) <= {LOCK}:
            return
        former = batch_document(path)
        refuse_links(path, [case.folder for case in batch.cases] + _folders(former))
        if former is None and not any(True for _ in filed_cases(path)):
            raise _refused(path, "exists and holds no batch's results", "Choose another --out.")
        if not resume and not overwrite:
            going_on = "--resume to go on with it, " if may_resume else ""
            hint = f"Add {going_on}--overwrite to start anew, or choose another --out."
            raise _refused(path, "exists already", hint)
        if overwrite and not resume:
            _refuse_foreign(path, former)
    except OSError as error:
        raise cannot_write(path, error) from error


def is_batch_folder(path: Path) -> bool:
    """Whether a folder holds a batch.json or any filed case."""
    return batch_document(path) is not None or any(True for _ in filed_cases(path))


def refuse_links(path: Path, folders: Iterable[str]) -> None:
    """Refuse a batch's folder in which a file or a folder of the batch's own is something else, a link for one.

    folders : names of the cases' folders.

    Errors: InputError with the first such things.
    """
    problems = []
    for entry, expected in _expected_entries(path, set(folders)):
        kind = entry_kind(entry)
        if kind in (None, expected):
            continue
        hint = "Try moving it away, or another folder."
        if kind == LINK:
            hint = "Try putting the whole folder where that leads, and naming that place instead."
        problems.append(Problem("", "", str(entry), f"is {kind}, where a batch has {expected}", hint))
        if len(problems) == MOST_NAMED:
            break
    if problems:
        raise InputError(problems)


def _expected_entries(path: Path, folders: set[str]) -> Iterator[tuple[Path, str]]:
    """Paths of what a batch may have in its folder, each with the kind that it has to be of."""
    for name in (BATCH, *TABLE_FILES):
        yield path / name, FILE
    yield path / CASES, FOLDER
    if entry_kind(path / CASES) != FOLDER:
        return
    for name in sorted(folders & set(os.listdir(path / CASES))):
        yield path / CASES / name, FOLDER
        if entry_kind(path / CASES / name) == FOLDER:
            for file in CASE_FILES:
                yield path / CASES / name / file, FILE


def refuse_lock(path: Path) -> None:
    """Refuse a folder whose lock is no empty file, and so might be harmed by locking.

    Errors: InputError.
    """
    kind = entry_kind(path / LOCK)
    if kind is None:
        return
    why = f"is {kind}, where a batch has an empty file"
    if kind == FILE:
        if not os.lstat(path / LOCK).st_size:
            return
        why = "is not empty, and so is no batch's lock"
    hint = "Try moving it away, or another folder."
    raise InputError([Problem("", "", str(path / LOCK), why, hint)])


def _refuse_foreign(path: Path, former: Mapping[str, Any] | None) -> None:
    """Refuse to replace a folder that holds what no batch wrote."""
    foreign = [name for name in _entries(path) if name not in OWN_NAMES]
    foreign += _foreign_in_cases(path, former)
    if foreign:
        named = ", ".join(foreign[:MOST_NAMED])
        more = f" and {len(foreign) - MOST_NAMED:,} more" if len(foreign) > MOST_NAMED else ""
        hint = "Choose another --out, or move them away."
        raise _refused(path, f"holds files that no batch wrote: {named}{more}", hint)


def _entries(path: Path) -> list[str]:
    """Names of what lies in a batch's folder, sorted, without what killed commands left hidden there."""
    return sorted(
        name for name in os.listdir(path) if not is_leftover(path / name, HIDDEN_FILES, HIDDEN_FOLDERS, ())
    )


def _foreign_in_cases(path: Path, former: Mapping[str, Any] | None) -> Iterator[str]:
    """Names of what no batch wrote in the folder of its cases."""
    cases = path / CASES
    if entry_kind(cases) != FOLDER:
        return
    own = set(own_folders(path, former))
    for entry in sorted(cases.iterdir()):
        if entry in own:
            yield from (f"{CASES}/{entry.name}/{name}" for name in foreign_entries(entry, CASE_FILES))
        elif not is_leftover(entry, (), HIDDEN_CASES, CASE_FILES):
            yield f"{CASES}/{entry.name}"


def own_folders(path: Path, former: Mapping[str, Any] | None) -> list[Path]:
    """Folders of the cases of the batch that a folder holds.

    They are those that batch.json names, and those whose manifest names that batch, or any batch if batch.json is
    missing or damaged.

    former : content of batch.json; None if it is missing or damaged.
    """
    named = set(_folders(former))
    found = []
    for entry in sorted((path / CASES).iterdir()) if entry_kind(path / CASES) == FOLDER else ():
        if entry_kind(entry) != FOLDER:
            continue
        manifest = None if entry.name in named else own_manifest(entry)
        of_batch = manifest is not None and (former is None or manifest["batch"] == former["name"])
        if entry.name in named or of_batch:
            found.append(entry)
    return found


def _folders(former: Mapping[str, Any] | None) -> list[str]:
    return [case["folder"] for case in former["cases"]] if former is not None else []


def _refused(path: Path, why: str, hint: str) -> InputError:
    return InputError([Problem("", "--out", str(path), why, hint)])
