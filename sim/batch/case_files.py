"""Files of a batch's cases: put into place, told from those of others, and removed.

A case's folder is a real folder in a real folder `cases`, and counts as the batch's own if its manifest names the
case that it is called after. No link is followed, and what no batch wrote stays wherever it lies.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from sim.batch.documents import MOST_MANIFEST_BYTES, case_manifest
from sim.batch.family import case_folder_name
from sim.files.atomic_files import flush_folder, hidden_name, write_file
from sim.files.own_files import FOLDER, entry_kind, foreign_entries, read_regular, remove_files

CASES: Final = "cases"
MANIFEST, COUNTS, RECORDS, TRACEBACK = "manifest.json", "counts.npz", "records.npz", "traceback.txt"
# The manifest last: as long as it is there, the folder is known to be a case's.
CASE_FILES: Final = (COUNTS, RECORDS, TRACEBACK, MANIFEST)
# Sizes that no such file reaches but by accident; 2 bytes a path are added for records.
MOST_BYTES: Final = {
    MANIFEST: MOST_MANIFEST_BYTES,
    COUNTS: 1 << 31,
    RECORDS: 1 << 20,
    TRACEBACK: 1 << 24,
}
# What hidden folders beside the cases' own are for: one that is being filed, one that is being removed.
HIDDEN_CASES: Final = ("partial", "former")


def place_case(target: Path, files: Mapping[str, str | bytes]) -> None:
    """Put a case's files into its folder, in one step if it has none yet.

    In a folder that is there already, the former manifest goes first and the new one comes last: a case without a
    manifest has not run. Files of others stay there.

    Errors: OSError.
    """
    assert MANIFEST in files, "a case without a manifest has not run"
    assert set(files) <= set(CASE_FILES)
    hidden = hidden_name(target.parent, "partial")
    try:
        os.makedirs(target.parent, exist_ok=True)
        _expect_folder(target.parent)
        os.mkdir(hidden)
        for name, content in files.items():
            write_file(hidden / name, content)
        flush_folder(hidden)
        if entry_kind(target) is None:
            os.rename(hidden, target)
        else:
            _expect_folder(target)
            _replace_files(hidden, target, files)
        flush_folder(target.parent)
    finally:
        with contextlib.suppress(OSError):
            remove_files(hidden, CASE_FILES)


def _replace_files(hidden: Path, target: Path, files: Collection[str]) -> None:
    (target / MANIFEST).unlink(missing_ok=True)
    flush_folder(target)
    for name in CASE_FILES:
        if name == MANIFEST:
            flush_folder(target)
        if name in files:
            os.replace(hidden / name, target / name)
        else:
            (target / name).unlink(missing_ok=True)
    flush_folder(target)


def _expect_folder(path: Path) -> None:
    kind = entry_kind(path)
    if kind != FOLDER:
        raise OSError(errno.ENOTDIR, f"{path.name} is {kind}, not a folder", str(path))


def forget_case(folder: Path) -> None:
    """Remove a case's files, the manifest first, so that the case counts as not run from then on.

    Errors: OSError.
    """
    remove_files(folder, CASE_FILES[::-1])


def remove_case(folder: Path) -> None:
    """Remove a case's folder, or only its files if it holds files of others too.

    In one step: what an interruption leaves, or cannot be removed, is hidden, and a leftover for the next command.

    Errors: OSError.
    """
    if foreign_entries(folder, CASE_FILES):
        remove_files(folder, CASE_FILES)
        return
    aside = hidden_name(folder.parent, "former")
    os.rename(folder, aside)
    with contextlib.suppress(OSError):
        remove_files(aside, CASE_FILES)


def read_case_file(file: Path, paths: int) -> bytes:
    """Bytes of a file of a case.

    paths : paths of the case, by which its records grow.

    Errors: OSError if it cannot be read, or is far larger than such a file can be.
    """
    # What cannot be compressed grows by less than a thousandth.
    records = 2 * paths + paths // 100 if file.name == RECORDS else 0
    return read_regular(file, MOST_BYTES[file.name] + records)


def case_folders(path: Path) -> list[Path]:
    """Real folders in the real folder of a batch's cases, sorted; empty without it.

    Errors: OSError if it cannot be read.
    """
    if entry_kind(path / CASES) != FOLDER:
        return []
    return [entry for entry in sorted((path / CASES).iterdir()) if entry_kind(entry) == FOLDER]


def own_manifest(folder: Path) -> dict[str, Any] | None:
    """Manifest of a case's folder; None unless it names the case that the folder is called after."""
    manifest = case_manifest(folder / MANIFEST)
    named = manifest is not None and case_folder_name(manifest["case"]) == folder.name
    return manifest if named else None


def filed_cases(path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folders of the cases that are filed in a batch's folder, each with its manifest.

    Errors: OSError if they cannot be read.
    """
    for folder in case_folders(path):
        manifest = own_manifest(folder)
        if manifest is not None:
            yield folder, manifest
