"""Text of a fragment: keys of a scenario that a fit has found, and in [fit] where they are from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from sim.errors import InputError, Problem
from sim.files.atomic_files import cannot_write, replace_file
from sim.scenario.fragments import FIT


def fragment_text(comments: Sequence[str], keys: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """TOML text of a fragment.

    Parameters
    ----------
    comments : lines at its top.
    keys : nested tables of scenario keys.
    metadata : the table [fit].
    """
    lines = [f"# {line}" for line in comments]
    return "\n".join([*lines, "", tomli_w.dumps({**keys, FIT: dict(metadata)})])


def refuse_fragment_file(path: Path, *, overwrite: bool) -> None:
    """Refuse a place for a fragment before any time is spent.

    Errors: `InputError`.
    """
    why = ""
    if path.is_dir():
        why, hint = "is a folder", f"Try --out {path / 'fit.toml'}."
    elif path.exists() and not overwrite:
        why, hint = "exists already", "Try another --out, or add --overwrite to replace it."
    elif not path.absolute().parent.is_dir():
        why, hint = f"there is no folder {path.parent}", "Try another --out."
    elif path.suffix != ".toml":
        why, hint = "is no name of a TOML file", f"Try --out {path.name}.toml."
    if why:
        raise InputError([Problem("--out", "", str(path), why, hint)])


def write_fragment(path: Path, text: str) -> None:
    """Write a fragment, whole or not at all.

    Errors: `GammawallError`.
    """
    try:
        replace_file(path, text)
    except OSError as error:
        raise cannot_write(path, error) from error
