"""Paths of files and folders to be written, refused where no system could make them."""

from __future__ import annotations

import os
from pathlib import Path

from sim.errors import GammawallError, InputError, Problem
from sim.problems import check_type, shown


def folder_around(name: str, path: Path) -> Path:
    """Folder in which a path lies.

    name : name of the argument, or the option, that states it.

    Errors: `GammawallError` if the path is relative to a folder that is gone.
    """
    try:
        return path.absolute().parent
    except FileNotFoundError as error:
        why = f"the folder you are in is gone: {error.strerror}"
        raise GammawallError(str(Problem("", name, str(path), why, "Try a full path."))) from error


def output_path(name: str, value: object, expected: str, hint: str) -> Path:
    """Path that an argument names.

    name : name of the argument, or the option.
    expected : description of a right one, "the path of a folder" for instance.
    hint : sentence on what to try.

    Errors: `InputError` if it is no path, or one that no file can have.
    """
    check_type(name, value, (str, os.PathLike), expected, hint)
    assert isinstance(value, (str, os.PathLike))
    text = os.fspath(value)
    try:
        why = "has a null character" if b"\0" in os.fsencode(text) else ""
    except UnicodeError:
        why = "has a letter that no name of a file can have"
    if why:
        raise InputError([Problem("", name, shown(text), why, hint)])
    return Path(text)
