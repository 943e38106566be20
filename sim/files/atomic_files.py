"""Files and folders that appear whole or not at all, however a command ends."""

from __future__ import annotations

import errno
import os
import secrets
from itertools import takewhile
from pathlib import Path

from sim.errors import GammawallError
from sim.files.terminal_text import printable_line

# Start of the names of files and folders that are not whole yet; only a killed process leaves them.
HIDDEN = ".gammawall-"


def write_file(path: Path, content: str | bytes) -> None:
    """Write a new file and flush it to the disk."""
    data = content.encode("utf-8", errors="backslashreplace") if isinstance(content, str) else content
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file under a hidden name and move it to its path, over a former file, in one step."""
    hidden = hidden_name(path.parent, "partial")
    try:
        write_file(hidden, content)
        os.replace(hidden, path)
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Flush the entries of a folder to the disk; only POSIX systems can open a folder for that."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems without such a flush
            raise
    finally:
        os.close(descriptor)


def hidden_name(parent: Path, what: str) -> Path:
    """Unused hidden path for a file or folder that is not whole yet.

    what : part of the name, "partial" for instance.
    """
    return parent / f"{HIDDEN}{what}-{secrets.token_hex(4)}"


def cannot_write(folder: Path, error: OSError) -> GammawallError:
    """Error about results that cannot be written to a folder, with a hint."""
    reason = error.strerror or str(error)
    hints = {
        errno.ENOSPC: "Free some space or choose another --out.",
        errno.EDQUOT: "Free some space or choose another --out.",
        errno.EFBIG: "The limit on file sizes is too low for the results.",
        errno.ENAMETOOLONG: "Choose a shorter --out.",
    }
    hint = hints.get(error.errno or 0, "Choose another --out.")
    if not folder.is_absolute() and _current_folder_is_gone():
        hint = "The current folder is gone: choose an --out that begins with /."
    culprit = _part_at_fault(folder, error)
    if culprit:
        reason = f"{reason}: {culprit}"
        if error.errno in (errno.EACCES, errno.EPERM):
            hint = "Try giving yourself permission to change that, or choose another --out."
    return GammawallError(
        f"{printable_line(str(folder))}: the results cannot be written there ({reason}). {hint}"
    )


def _current_folder_is_gone() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _part_at_fault(folder: Path, error: OSError) -> str:
    """Path within a folder that an error is about, up to the first hidden name; empty if it names none."""
    named = error.filename2 or error.filename  # of a move, where to
    if not isinstance(named, (str, os.PathLike)) or error.errno == errno.ENAMETOOLONG:
        return ""
    path = Path(named)
    if path.is_absolute() and not folder.is_absolute() and not _current_folder_is_gone():
        folder = Path(os.path.abspath(folder))
    if not path.is_relative_to(folder):
        return ""
    parts = takewhile(lambda part: not part.startswith(HIDDEN), path.relative_to(folder).parts)
    return printable_line("/".join(parts))
