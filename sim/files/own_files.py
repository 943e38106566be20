"""Files and folders that commands wrote, told from all others: no link is followed, and nothing else is removed."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from sim.files.atomic_files import HIDDEN

FILE, FOLDER, LINK, SPECIAL = "a file", "a folder", "a link", "a pipe or a device"
_HIDDEN_NAME: Final = re.compile(re.escape(HIDDEN) + r"(.+)-[0-9a-f]{8}")


def entry_kind(path: Path) -> str | None:
    """Kind of what lies at a path, links being a kind of their own; None if nothing does.

    Errors: OSError if that cannot be told.
    """
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    kinds = ((stat.S_ISLNK, LINK), (stat.S_ISREG, FILE), (stat.S_ISDIR, FOLDER))
    return next((kind for holds, kind in kinds if holds(mode)), SPECIAL)


def read_regular(file: Path, most_bytes: int) -> bytes:
    """Bytes of a regular file; a pipe is not waited for, nor a link followed.

    Errors: OSError if it is none, cannot be read, or has more than `most_bytes`.
    """
    flags = (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_CLOEXEC"))
    with open(os.open(file, os.O_RDONLY | sum(flags)), "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(file))
        # A file of holes takes no space, and may be larger than the memory.
        content = stream.read(most_bytes + 1) if status.st_size <= most_bytes else None
    if content is None or len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"more than {most_bytes:,} bytes", str(file))
    return content


def is_leftover(
    entry: Path, files: Collection[str], folders: Collection[str], names: Collection[str]
) -> bool:
    """Whether a killed command left this hidden file or folder behind.

    Its name is exactly one of `hidden_name`, it is no link, and a folder holds regular files of known names alone.

    Parameters
    ----------
    entry : what lies in the folder of the results.
    files, folders : what hidden files, and hidden folders, are for; see `hidden_name`.
    names : names of the files in hidden folders.
    """
    match = _HIDDEN_NAME.fullmatch(entry.name)
    if match is None:
        return False
    kind = entry_kind(entry)
    if kind == FILE:
        return match[1] in files
    if kind != FOLDER or match[1] not in folders:
        return False
    try:
        return not foreign_entries(entry, names)
    except PermissionError:  # somebody else's
        return False


def foreign_entries(folder: Path, names: Collection[str]) -> list[str]:
    """Names of what a folder holds besides regular files of known names, sorted."""
    return sorted(
        name for name in os.listdir(folder) if name not in names or entry_kind(folder / name) != FILE
    )


def remove_leftovers(
    parent: Path,
    files: Collection[str],
    folders: Collection[str],
    names: Sequence[str],
    *,
    age_s: float = 0.0,
) -> dict[Path, str]:
    """Remove what killed commands left hidden in a folder; return what has to stay there, with the reasons.

    files, folders, names : see `is_leftover`.
    age_s : seconds that it must have lain untouched; a command may be writing the rest right now.

    Errors: OSError if the folder cannot be read.
    """
    left: dict[Path, str] = {}
    for entry in sorted(parent.iterdir()):
        try:
            if not is_leftover(entry, files, folders, names):
                continue
            if age_s and time.time() - _last_change(entry) < age_s:
                continue
            if entry_kind(entry) == FOLDER:
                remove_files(entry, names)
            else:
                entry.unlink()
        except FileNotFoundError:  # another command was faster
            continue
        except OSError as error:
            left[entry] = error.strerror or str(error)
    return left


def _last_change(entry: Path) -> float:
    """Time of the last change of a file, or of a folder and what it holds, in seconds since 1970."""
    inside = os.listdir(entry) if entry_kind(entry) == FOLDER else ()
    return max(os.lstat(path).st_mtime for path in (entry, *(entry / name for name in inside)))


def remove_files(folder: Path, names: Sequence[str]) -> bool:
    """Remove regular files and links of known names in their order, then the folder unless it holds anything else.

    Return whether the folder is gone. A link instead of the folder is left alone.
    """
    if entry_kind(folder) != FOLDER:
        return False
    for name in names:
        if entry_kind(folder / name) in (FILE, LINK):
            (folder / name).unlink(missing_ok=True)
    try:
        os.rmdir(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True
