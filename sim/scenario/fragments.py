"""Fragments of scenarios: TOML files with some of a scenario's keys, such as the results of a fit.

The table [fit] of a fragment records its source; it is no part of the scenario.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import tomli_w

from sim.errors import InputError, Problem
from sim.files.atomic_files import cannot_write, replace_file
from sim.files.paths import folder_around
from sim.files.plain_values import TOO_DEEP, as_json, nests_too_deep, record_problems
from sim.files.toml_file import FileKind
from sim.problems import check_type, short_repr, shown, shown_key, type_problem
from sim.scenario.overrides import RIVAL

FRAGMENT_FILE: Final = FileKind("fragment", "", "gammawall fit volatility OHLC.csv")
FIT: Final = "fit"


@dataclass(frozen=True)
class Fragment:
    """Keys of a scenario, read from a fragment's file or stated by options.

    Attributes
    ----------
    where : its name in messages, usually the path of its file.
    keys : nested tables of scenario keys.
    fit : content of the table [fit].
    folder : folder that the path of a book file in it is relative to; None: that of the path `where`.
    """

    where: str
    keys: Mapping[str, Any]
    fit: Mapping[str, Any]
    folder: Path | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        keys = TOO_DEEP if nests_too_deep(self.keys) else ", ".join(_dotted(self.keys))
        return short_repr(self, f"{shown(self.where)}: {keys}")


def read_fragment(source: str | os.PathLike[str]) -> Fragment:
    """Fragment read from a file; its keys are checked when they are merged into a scenario.

    Errors: `InputError` if the file cannot be read, states no key, or has a value that no manifest can record.
    """
    check_type("source", source, (str, os.PathLike), "the path of a fragment's file", 'Try "fit.toml".')
    where, data = FRAGMENT_FILE.read(Path(source))
    unrecorded = record_problems(data)
    if unrecorded:
        raise InputError([replace(problem, where=where) for problem in unrecorded])
    fit = data.pop(FIT, {})
    if not isinstance(fit, dict):
        raise InputError([Problem(where, FIT, "", "a table is expected", "Try leaving it out.")])
    if not data:
        raise InputError(
            [Problem(where, "", "", "states no key of a scenario", f"Try {FRAGMENT_FILE.example}.")]
        )
    return Fragment(where, data, fit, Path(source).parent)


def check_fragments(fragments: object) -> None:
    """Refuse an argument that is not a sequence of fragments, and fragments that no manifest can record.

    Errors: `InputError`.
    """
    hint = 'Try [read_fragment("fit.toml")], or [fit.fragment()] of what was fitted.'
    if isinstance(fragments, str):
        raise InputError([type_problem("fragments", fragments, "a list of fragments", hint)])
    check_type("fragments", fragments, Sequence, "a list of fragments", hint)
    assert isinstance(fragments, Sequence)
    for index, fragment in enumerate(fragments):
        check_type(f"fragments[{index}]", fragment, Fragment, "a Fragment", hint)
        parts = {
            "where": (str, "the name of its file"),
            "keys": (Mapping, "a table"),
            "fit": (Mapping, "a table"),
        }
        for part, (kind, expected) in parts.items():
            check_type(f"fragments[{index}].{part}", getattr(fragment, part), kind, expected, hint)
        kinds = (str, os.PathLike, type(None))
        check_type(f"fragments[{index}].folder", fragment.folder, kinds, "the path of a folder", hint)
        problems = [
            *record_problems(fragment.where, "where"),
            *record_problems(fragment.keys),
            *record_problems(fragment.fit, FIT),
        ]
        if problems:
            raise InputError([replace(found, where=f"fragments[{index}]") for found in problems])


def read_fragments(sources: Iterable[str | os.PathLike[str]]) -> list[Fragment]:
    """Fragments of several files, in their order.

    Errors: `InputError` with the problems of all.
    """
    found: list[Fragment] = []
    problems: list[Problem] = []
    for source in sources:
        try:
            found.append(read_fragment(source))
        except InputError as failure:
            problems += failure.problems
    if problems:
        raise InputError(problems)
    return found


def merged(data: Mapping[str, Any], fragments: Sequence[Fragment]) -> tuple[dict[str, Any], dict[str, str]]:
    """Scenario data overlaid with fragments, later ones over earlier, and the fragment that each key is from.

    Tables are merged key by key, lists are replaced as a whole. A key takes away its rival, until sessions for one.

    Returns
    -------
    data : a new mapping.
    places : dotted key to the fragment that it is from; a table is one key where there was none before.
    """
    result: dict[str, Any] = dict(data)
    places: dict[str, str] = {}
    for fragment in fragments:
        stated: list[str] = []
        result = _over(result, fragment.keys, "", stated)
        for key in stated:
            places.pop(key, None)
            places[key] = fragment.where
    return result, places


def holds_fragment(tables: Mapping[str, Any], fragment: Fragment) -> bool:
    """Whether any key of a fragment has the fragment's value in a scenario's nested tables."""

    def stated(keys: Mapping[str, Any], found: Any) -> bool:
        for key, value in keys.items():
            present = found.get(key) if isinstance(found, Mapping) else None
            if isinstance(value, Mapping) and value:
                if stated(value, present):
                    return True
            elif present == value:
                return True
        return False

    return stated(fragment.keys, tables)


def fragment_record(fragment: Fragment) -> dict[str, Any]:
    """Record of a fragment in a manifest, ready for JSON: its file's name, its keys and its table [fit]."""
    return {"file": Path(fragment.where).name, "keys": as_json(fragment.keys), "fit": as_json(fragment.fit)}


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
    """Refuse a path to which a fragment could not be written, before any time is spent.

    Errors: `InputError`.
    """
    why = ""
    if path.is_dir():
        why, hint = "is a folder", f"Try --out {path / 'fit.toml'}."
    elif path.is_symlink() and not path.exists():
        why, hint = "is a link that leads nowhere", "Try another --out."
    elif path.exists() and not path.is_file():
        why, hint = "is a pipe or a device", "Try another --out."
    elif path.exists() and not overwrite:
        why, hint = "exists already", "Try another --out, or add --overwrite to replace it."
    elif not folder_around("--out", path).is_dir():
        why, hint = f"there is no folder {path.parent}", "Try another --out."
    elif path.suffix != ".toml":
        why, hint = "is no name of a TOML file", f"Try --out {path.name}.toml."
    if why:
        raise InputError([Problem("--out", "", str(path), why, hint)])


def write_fragment(path: Path, text: str) -> None:
    """Write a fragment's file, whole or not at all; a link to a file stays one.

    Errors: `GammawallError` if it cannot be written.
    """
    try:
        replace_file(Path(os.path.realpath(path)), text)
    except OSError as error:
        raise cannot_write(path, error) from error


def _over(below: Mapping[str, Any], above: Mapping[str, Any], at: str, stated: list[str]) -> dict[str, Any]:
    """Tables with those above laid over those below.

    at : dotted key of both, with a dot behind it; "" at the top.
    stated : list to which the dotted keys are added that are from above.
    """
    result = dict(below)
    for key, value in above.items():
        former, path = result.get(key), f"{at}{shown_key(key)}"
        if isinstance(former, Mapping) and isinstance(value, Mapping):
            result[key] = _over(former, value, f"{path}.", stated)
        else:
            result[key] = value
            stated.append(path)
        if key in RIVAL and RIVAL[key] not in above:
            result.pop(RIVAL[key], None)
    return result


def _dotted(keys: Mapping[str, Any]) -> Iterator[str]:
    """Dotted keys of nested tables, without those of the tables themselves."""
    for key, value in keys.items():
        if isinstance(value, Mapping) and value:
            yield from (f"{key}.{inner}" for inner in _dotted(value))
        else:
            yield key
