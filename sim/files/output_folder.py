"""Result folders: checked to be free before the work, written whole or not at all, replaced if asked.

Files are written into a hidden folder beside the final one, flushed to the disk, and renamed into place in one step.
A full disk, a kill or an interruption leaves nothing under the final name. Each command has its own `FolderKind`,
which lists its files.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sim.errors import GammawallError, InputError, Problem, error_text
from sim.files.atomic_files import cannot_write, flush_folder, hidden_name, write_file
from sim.files.json_text import has_form, read_json
from sim.files.own_files import entry_kind, foreign_entries, remove_files, remove_leftovers
from sim.files.paths import output_path

MANIFEST = "manifest.json"
DEFAULT_PARENT = "results"
# Seconds after which a hidden folder is that of a killed command; before, one may still be writing it.
LEFT_S = 3600.0
Contents = Callable[[], Iterator[tuple[str, str | bytes]]]
# Names of files, each with the function that makes its content.
Files = Sequence[tuple[str, Callable[[], str | bytes]]]


@dataclass(frozen=True)
class FolderKind:
    """Kind of result folder.

    Attributes
    ----------
    noun : name of its writer in messages, "run" or "book".
    files : names of all files that it may hold, `MANIFEST` the last of them.
    form : "format" of its manifest, a name and a version; a folder is of this kind if its manifest has that name.
    """

    noun: str
    files: tuple[str, ...]
    form: str


@dataclass(frozen=True)
class OutputFolder:
    """Place of a result folder that is still to be written.

    Attributes
    ----------
    folder : the final path.
    kind : kind of the folder; only a folder of the same kind is ever replaced.
    overwrite : whether a former result folder there may be replaced.
    numbered : whether a sibling ``-2``, ``-3`` … is used instead if the folder has been taken meanwhile.
    """

    folder: Path
    kind: FolderKind
    overwrite: bool = False
    numbered: bool = False


class Saved(NamedTuple):
    """Folder in which results were saved, and the failures on the way.

    Attributes
    ----------
    folder : the folder written; None if none could be written.
    failures : sentences, one per failure; empty if all is in its place.
    whole : whether the folder holds all files.
    """

    folder: Path | None
    failures: tuple[str, ...]
    whole: bool = True


class FormerResultsLeftError(GammawallError):
    """Error about former results that could not be removed; the new ones are in place."""

    def __init__(self, folder: Path, former: Path):
        super().__init__(
            f"{folder}: the new results are in place, but the former ones could not be removed; "
            f"they are in {former.name} beside it."
        )
        self.folder = folder


class UnmadeFileError(GammawallError):
    """Error about a file of finished work whose content cannot be made."""

    def __init__(self, name: str, error: Exception):
        super().__init__(f"{name} cannot be made ({error_text(error)}).")
        self.name = name


def prepare_output(
    name: str,
    kind: FolderKind,
    out: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
) -> OutputFolder:
    """Place for results, checked to be free and writable before any time is spent; nothing is left there.

    Parameters
    ----------
    name : name of the scenario or the chain. Without ``out`` the results go to ``results/<name>``, or when that is
        taken to ``results/<name>-2``, ``-3`` …
    kind : kind of the folder.
    out : the folder asked for, or None.
    overwrite : replace a former result folder at ``out``; without ``out``, replace ``results/<name>``.

    Errors: InputError if the folder exists and may not be replaced; GammawallError if it cannot be written.
    """
    if out is None:
        folder = Path(DEFAULT_PARENT, folder_name(name))
        if not overwrite:
            folder = _first_free(folder)
    else:
        folder = output_path("--out", out, "the path of a folder", "Try --out results/mine.")
        if not folder.name:
            raise InputError(
                [Problem("", "--out", os.fspath(out) or '""', "not the name of a folder to make")]
            )
    _refuse_occupied(folder, overwrite, kind)
    probe(folder)
    _remove_old_leftovers(folder, kind)
    return OutputFolder(folder, kind, overwrite=overwrite, numbered=out is None and not overwrite)


def write_folder(place: OutputFolder, contents: Contents) -> Path:
    """Write files into a folder that appears complete or not at all; return the folder.

    Parameters
    ----------
    place : place of the folder. Only an empty folder, or one with files of its kind and nothing else, is replaced.
    contents : function that yields the names and contents of the files.

    Errors: InputError if the folder exists and may not be replaced; GammawallError if it cannot be written.
    """
    if not place.numbered:
        _refuse_occupied(place.folder, place.overwrite, place.kind)
    try:
        target = Path(os.path.realpath(place.folder))
    except OSError as error:  # the current folder is gone
        raise cannot_write(place.folder, error) from error
    hidden = hidden_name(target.parent, "partial")
    placed = False
    try:
        os.makedirs(target.parent, exist_ok=True)
        os.mkdir(hidden)
        for name, text in contents():
            assert name in place.kind.files, name
            write_file(hidden / name, text)
        flush_folder(hidden)
        if place.numbered:
            target, formers = _rename_to_first_free(hidden, target), []
        else:
            formers = _rename_into_place(hidden, target, place)
        placed = True
        flush_folder(target.parent)
    except OSError as error:
        raise cannot_write(place.folder, error) from error
    finally:
        if not placed:
            _remove_result(hidden, place.kind)
    for former in formers:
        if not _remove_result(former, place.kind):
            raise FormerResultsLeftError(place.folder, former)
    return place.folder.with_name(target.name) if place.numbered else place.folder


def made_files(files: Files) -> Contents:
    """Contents of a folder, for `write_folder`; a file that cannot be made is an UnmadeFileError."""

    def contents() -> Iterator[tuple[str, str | bytes]]:
        for name, make in files:
            try:
                content = make()
            except Exception as error:
                raise UnmadeFileError(name, error) from error
            yield name, content

    return contents


def save_folder(place: OutputFolder, files: Files) -> Saved:
    """Write files to their place or, if that fails, to a new temporary folder, so that no finished work is lost.

    The temporary folder gets all files that can be made.

    place, files : see `write_folder` and `made_files`.
    """
    try:
        return Saved(write_folder(place, made_files(files)), ())
    except FormerResultsLeftError as error:
        return Saved(error.folder, (str(error),))
    except Exception as error:  # whatever it is: the work is done
        failure = _reason(place.folder, error)
    unmade: list[str] = []

    def contents() -> Iterator[tuple[str, str | bytes]]:
        for one in files:
            try:
                yield from made_files([one])()
            except UnmadeFileError as error:
                unmade.append(error.name)
        if len(unmade) == len(files):
            raise GammawallError("none of the files can be made.")

    folder = None
    try:
        parent = Path(tempfile.mkdtemp(prefix="gammawall-"))
        try:
            folder = write_folder(OutputFolder(parent / place.folder.name, place.kind), contents)
        finally:
            if folder is None:
                os.rmdir(parent)
    except Exception as error:  # likewise
        return Saved(None, (failure, _reason(Path("temporary folder"), error)), whole=False)
    saved = "the results" + (f", all but {', '.join(unmade)}," if unmade else "")
    return Saved(folder, (failure, f"{place.folder}: {saved} are in {folder} instead."), not unmade)


def _rename_into_place(hidden: Path, target: Path, place: OutputFolder) -> list[Path]:
    """Give the hidden folder its final name; return the present paths of the folders it replaces.

    There may be several of them: another command may put its results there at the same time.
    """
    formers: list[Path] = []
    placed = False
    try:
        while not placed:
            if os.path.lexists(target):
                # checked again, since the target may have changed while the files were written
                _refuse_occupied(place.folder, place.overwrite, place.kind)
                former = hidden_name(target.parent, "former")
                with contextlib.suppress(FileNotFoundError):  # another command was faster
                    os.rename(target, former)
                    formers.append(former)
            placed = _renamed_to_free(hidden, target)
    finally:
        if not placed and formers and not os.path.lexists(target):
            os.rename(formers[-1], target)
    return formers


def _renamed_to_free(hidden: Path, target: Path) -> bool:
    """Give the hidden folder a name; return whether that was free."""
    try:
        os.rename(hidden, target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        return False
    return True


def _rename_to_first_free(hidden: Path, target: Path) -> Path:
    """Give the hidden folder the first free numbered name, even if other runs take names meanwhile."""
    while True:
        free = _first_free(target)
        if _renamed_to_free(hidden, free):
            return free


def _remove_result(folder: Path, kind: FolderKind) -> bool:
    """Remove a command's own files and then the folder; other files stay. Return whether all is gone."""
    try:
        return entry_kind(folder) is None or remove_files(folder, kind.files)
    except OSError:
        return False


def _remove_old_leftovers(folder: Path, kind: FolderKind) -> None:
    """Remove what killed commands of this kind left hidden beside a folder; what cannot be removed stays.

    A hidden former result is no such thing: it may be the only one that there is.
    """
    with contextlib.suppress(OSError):
        parent = Path(os.path.realpath(folder)).parent
        remove_leftovers(parent, (), ("partial", "probe"), kind.files, age_s=LEFT_S)


def _refuse_occupied(folder: Path, overwrite: bool, kind: FolderKind) -> None:
    """Raise InputError unless the folder is free or may be replaced."""
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() and not folder.exists():
        raise _occupied(folder, "is a link that leads nowhere", "choose another --out")
    if not folder.is_dir():
        raise _occupied(folder, "exists and is not a folder", "choose another --out")
    if not overwrite:
        raise _occupied(folder, "exists already", "choose another --out, or add --overwrite to replace it")
    try:
        entries = os.listdir(folder)
        foreign = foreign_entries(folder, kind.files)
    except OSError as error:
        raise cannot_write(folder, error) from error
    if not entries:
        return
    if foreign:
        shown = ", ".join(foreign[:3]) + (" …" if len(foreign) > 3 else "")
        raise _occupied(folder, f"holds files that no {kind.noun} wrote: {shown}", "choose another --out")
    if not has_form(read_json(folder / MANIFEST) or {}, kind.form):
        raise _occupied(folder, f"has no {MANIFEST} of a {kind.noun}", "choose another --out")


def _occupied(folder: Path, why: str, hint: str) -> InputError:
    return InputError([Problem("", "--out", str(folder), why, hint[0].upper() + hint[1:] + ".")])


def probe(folder: Path) -> None:
    """Check that a folder can be made, by making and removing one beside it or in the nearest parent that exists.

    Errors: GammawallError if it cannot be written.
    """
    try:
        parent = Path(os.path.realpath(folder)).parent
        while not os.path.lexists(parent):
            parent = parent.parent
        probe = hidden_name(parent, "probe")
        with contextlib.suppress(FileNotFoundError):
            os.lstat(folder)  # a name that is too long, or lies under a file, shows here
        os.mkdir(probe)
        os.rmdir(probe)
    except OSError as error:
        raise cannot_write(folder, error) from error


def _reason(folder: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        error = cannot_write(folder, error)
    if isinstance(error, UnmadeFileError):
        return f"{folder}: the results cannot be written there: {error}"
    if isinstance(error, GammawallError):
        return str(error)
    return f"{folder}: the results cannot be written there ({error_text(error)})."


def _first_free(folder: Path) -> Path:
    candidate, number = folder, 1
    while os.path.lexists(candidate):
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate


def folder_name(name: str) -> str:
    """Name of a folder made from any name, such that every file system takes it."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")[:80] or "scenario"
