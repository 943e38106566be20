"""Overrides of a scenario's keys: texts as on the command line, `key=value`, or a mapping of keys to values.

A key is a dotted path; items of a list are chosen by index, `dealers.position[0].strike`, or by name,
`regime[breakout].level`, `catalyst[CPI].session`; `dealers.position[wall].iv` is all positions of that group.
With a star behind it, `dealers.position[wall].gex_bn*=0.5`, what stands there is multiplied.
In a text the value is a TOML value; what is none is taken as a number, as in .6, or as a bare string. In a mapping it
is a Python value: a number, a string, True, a `datetime.date`, a list of such, a path for a book file. A key of a
mapping names no whole table such as "dealers", whose other keys would be lost: {"dealers.impact_bp_per_bn": 1}.
"""

from __future__ import annotations

import copy
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from sim.errors import InputError, Problem, one_line
from sim.files.plain_values import DEEPEST, TOO_DEEP, nests_too_deep
from sim.problems import check_type, shown, shown_key, type_problem
from sim.scenario.key_problems import table_keys

WHERE: Final = "--set"
_LONGEST_TEXT: Final = 80
_SEGMENT: Final = re.compile(r"([A-Za-z0-9_-]+)((?:\[[^\[\]]+\])*)")
_NAMED_BY: Final = {"regime": "name", "catalyst": "name", "position": "group"}
RIVAL: Final = {"until": "sessions", "sessions": "until", "gex_bn": "contracts", "contracts": "gex_bn"}
_LOOSE_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.|[0-9]*\.[0-9]+)([eE][+-]?[0-9]{1,3})?", re.ASCII)
_WHOLE_NUMBER: Final = re.compile(r"[+-]?[0-9][0-9_]*", re.ASCII)
_LONGEST_NUMBER: Final = 1000
_KEY_HINT: Final = "Try a dotted path such as dealers.position[0].strike."
# An override that asks for no such value.
_VALUE_HINT: Final = "Try a number, a text, a date, or a list of these."

Path = tuple[str | int, ...]
Overrides = Mapping[str, Any] | Sequence[str]


class _RefusedError(Exception):
    """An override that cannot be applied."""

    def __init__(self, why: str, hint: str = ""):
        super().__init__(why)
        self.why, self.hint = why, hint


def place_of_overrides(overrides: Overrides, argument: str) -> str:
    """Place of problems with overrides: "--set" for texts, the name of the argument for a mapping."""
    return argument if isinstance(overrides, Mapping) else WHERE


def apply_overrides(
    data: dict[str, Any], overrides: Overrides, argument: str = "overrides"
) -> tuple[dict[str, str], list[Problem]]:
    """Put overrides into a scenario's data, in place and in order; return the keys set and the problems found.

    Stating `until` takes `sessions` away and the other way round; likewise `gex_bn` and `contracts`.

    data : nested tables as `tomllib` returns them.
    overrides : keys and their values, or "key=value" each.
    argument : name of the argument that holds them.

    Returns the dotted keys that were set, items by index, each with what problems with it name as their place, and a
    problem for each override that was refused. Where a text set a table that was not there before, or an item that
    it calls otherwise, that place is the text.

    Errors: `InputError` if `overrides` is neither a mapping nor a list of texts, or a value of it is a whole table.
    """
    _check_overrides(overrides, argument)
    if isinstance(overrides, Mapping):
        applied, problems = apply_settings(data, overrides.items(), argument)
        return dict.fromkeys(applied, argument), problems
    places: dict[str, str] = {}
    problems = []
    for text in overrides:
        key, equals, value = (part.strip() for part in text.partition("="))
        try:
            if not equals or not key:
                raise _RefusedError("is not key=value", "Try targets.upper=7150.")
            if not key.isprintable():
                raise _RefusedError("is no key", _KEY_HINT)
            if not value:
                raise _RefusedError("states no value", f'Try {key}=... (an empty text is "").')
            whole = f"{WHERE} {one_line(text, _LONGEST_TEXT) if text.isprintable() else shown(text)}"
            for path in _apply(data, key, _value(value)):
                places.pop(path, None)
                places[path] = WHERE if path == plain_key(key) else whole
        except _RefusedError as refusal:
            named, given = (key, shown(value)) if equals and key else (text.strip(), "")
            problems.append(_refusal(WHERE, named, given, refusal))
    return places, problems


def _check_overrides(overrides: object, argument: str) -> None:
    expected = 'a mapping of keys to values or a list of "key=value" texts'
    if isinstance(overrides, (str, bytes)):
        hint = f"Try [{shown(overrides)}]." if "=" in str(overrides) else 'Try {"market.spot": 6900}.'
        raise InputError([type_problem(argument, overrides, expected, hint)])
    hint = 'Try {"dealers.impact_bp_per_bn": 1}.'
    check_type(argument, overrides, (Mapping, Sequence), expected, hint)
    if not isinstance(overrides, Mapping):
        assert isinstance(overrides, Sequence)
        for index, text in enumerate(overrides):
            check_type(f"{argument}[{index}]", text, str, 'a text "key=value"', 'Try ["market.spot=6900"].')
        return
    for key, value in overrides.items():
        check_type(f"{argument}: key", key, str, "a dotted key", hint)
        if isinstance(value, Mapping) and "." not in key:
            inner = next(((f"{key}.{name}", item) for name, item in value.items()), None)
            why = "is a whole table, and one key after the other is expected"
            example = (
                "Try leaving it out." if inner is None else f"Try {{{shown(inner[0])}: {shown(inner[1])}}}."
            )
            raise InputError([Problem(argument, key, shown(value), why, example)])


def _plain(value: Any) -> Any:
    """Copy of a Python value in TOML's types: a list for a tuple, a plain number for NumPy's, a text for a path."""
    value = table_keys(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    try:
        return copy.deepcopy(value)
    except Exception as error:  # the copying of foreign objects fails in many ways
        raise _RefusedError("is no value that a scenario has", _VALUE_HINT) from error


def apply_settings(
    data: dict[str, Any], settings: Iterable[tuple[str, Any]], where: str
) -> tuple[list[str], list[Problem]]:
    """Put settings into a scenario's data, in place and in order; return as `apply_overrides` does.

    settings : keys, a star behind one multiplies, and their TOML values.
    where : place that problems name.
    """
    applied: list[str] = []
    problems: list[Problem] = []
    for key, value in settings:
        try:
            applied += _apply(data, key.strip(), value)
        except _RefusedError as refusal:
            problems.append(_refusal(where, key.strip(), shown(value), refusal))
    return applied, problems


def values_at(data: dict[str, Any], key: str) -> list[Any]:
    """Values at a key, one for each position of a group; empty where the data has no such place."""
    try:
        return [_get(data, path) for path in _resolve(data, plain_key(key))]
    except _RefusedError:
        return []


def plain_key(key: str) -> str:
    """Key of a setting without the star that makes it a factor."""
    return key.strip().removesuffix("*").rstrip()


def short_key(key: str, others: Iterable[str]) -> str:
    """Shortest end of a key that no other key shares: iv, or position[wall].iv where another ends in iv."""
    parts = plain_key(key).split(".")
    rivals = [plain_key(other).split(".") for other in others if plain_key(other) != plain_key(key)]
    length = 1
    while length < len(parts) and any(rival[-length:] == parts[-length:] for rival in rivals):
        length += 1
    return ".".join(parts[-length:])


def contradiction(keys: Iterable[str]) -> tuple[str, str] | None:
    """First two of the keys that contradict each other, such as market.until and market.sessions; None if none do."""
    stated = {plain_key(key) for key in keys}
    for key in stated:
        table, _, last = key.rpartition(".")
        rival = f"{table}.{RIVAL[last]}" if last in RIVAL else ""
        if rival in stated and key < rival:
            return key, rival
    return None


def _apply(data: dict[str, Any], key: str, value: Any) -> Iterator[str]:
    """Put a copy of a value at every path of a key, or multiply what stands there; yield the dotted keys set."""
    path_key = plain_key(key)
    if not path_key or not path_key.isprintable():
        raise _RefusedError("is no key", _KEY_HINT)
    if nests_too_deep(value):
        raise _RefusedError(TOO_DEEP, _VALUE_HINT)
    value = _plain(value)
    for path in _resolve(data, path_key):
        if path_key != key:
            yield from _put(data, path, _product(_get(data, path), path, value))
        else:
            # A copy: one value may stand at several places, and what is inside may be changed at one of them.
            yield from _put(data, path, copy.deepcopy(value))


def _product(present: Any, path: Path, factor: Any) -> Any:
    for number, what in ((present, f"{_dotted(path)} holds"), (factor, "the factor is")):
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            stands = "no number" if number is not None else "nothing"
            raise _RefusedError(
                f"{what} {stands}, so there is nothing to multiply", f"Try {_dotted(path)}=... ."
            )
    try:
        result = present * factor
        whole = isinstance(present, int) and float(result).is_integer()
    except OverflowError as error:
        raise _RefusedError("the product is too large", "Try a smaller factor.") from error
    return int(result) if whole else result


def _refusal(where: str, key: str, value: str, refusal: _RefusedError) -> Problem:
    return Problem(where, key if key.isprintable() and key else shown(key), value, refusal.why, refusal.hint)


def _value(text: str) -> Any:
    """TOML value of a text, or the number of one that TOML would write otherwise, such as .6, or the text itself."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        if _WHOLE_NUMBER.fullmatch(text) and len(text) > _LONGEST_NUMBER:
            raise _RefusedError("is too large", "Try a plain number.") from None
        return float(text) if _LOOSE_NUMBER.fullmatch(text) else text
    return parsed["value"] if len(parsed) == 1 else text


def _resolve(data: dict[str, Any], key: str) -> list[Path]:
    """Paths of a key: one, or one for each position of a group."""
    paths: list[Path] = [()]
    for segment in _segments(key):
        name, selectors = segment[0], segment[1:]
        paths = [(*path, name) for path in paths]
        for selector in selectors:
            paths = [found for path in paths for found in _select(data, path, name, selector)]
    return paths


def _segments(key: str) -> list[list[str]]:
    """Parts of a dotted key, each with its selectors: [["dealers"], ["position", "wall"], ["iv"]]."""
    segments = []
    position = 0
    while True:
        match = _SEGMENT.match(key, position)
        if match is None:
            raise _RefusedError("is no key", _KEY_HINT)
        segments.append([match[1], *re.findall(r"\[([^\[\]]+)\]", match[2])])
        if sum(map(len, segments)) > DEEPEST:
            raise _RefusedError(f"has more than {DEEPEST} parts", _KEY_HINT)
        position = match.end()
        if position == len(key):
            return segments
        if key[position] != ".":
            raise _RefusedError("is no key", _KEY_HINT)
        position += 1


def _select(data: dict[str, Any], path: Path, name: str, selector: str) -> list[Path]:
    """Paths of the items that a selector, an index or a name, chooses from the list at a path."""
    items = _get(data, path)
    if not isinstance(items, list):
        raise _RefusedError(
            f"{_dotted(path)} is no list, it has no item [{selector}]", f"Try {_dotted(path)}=[...]."
        )
    if re.fullmatch(r"[0-9]{1,9}", selector):
        if int(selector) >= len(items):
            last = f"the last is [{len(items) - 1}]" if items else "it is empty"
            raise _RefusedError(f"{_dotted(path)} has no item [{selector}]: {last}", "Items count from 0.")
        return [(*path, int(selector))]
    label = _NAMED_BY.get(name)
    names = [item.get(label) if isinstance(item, dict) else None for item in items] if label else []
    chosen: list[Path] = [(*path, index) for index, item in enumerate(names) if item == selector]
    if not chosen:
        listed = ", ".join(dict.fromkeys(shown_key(item) for item in names if isinstance(item, str)))
        hint = f"Try one of: {listed}." if listed else "Try an index: items count from 0."
        raise _RefusedError(f"{_dotted(path)} has no item named {selector}", hint)
    return chosen


def _get(data: Any, path: Path) -> Any:
    """Value at a path; None without one."""
    for part in path:
        if isinstance(part, int):
            data = data[part]
        elif isinstance(data, dict):
            data = data.get(part)
        else:
            return None
    return data


def _put(data: dict[str, Any], path: Path, value: Any) -> Iterator[str]:
    """Put a value at a path; yield its dotted key, after that of the first table which had to be made for it."""
    node: Any = data
    new = len(path)
    for depth, part in enumerate(path[:-1], start=1):
        if not isinstance(part, int) and part not in node:
            new = min(new, depth)
            node[part] = {}
        node = node[part]
        if not isinstance(node, list if isinstance(path[depth], int) else dict):
            raise _RefusedError(
                f"{_dotted(path[:depth])} is no table", f"Try {_dotted(path[:depth])}=... as a whole."
            )
    last = path[-1]
    node[last] = value
    if isinstance(last, str) and last in RIVAL:
        node.pop(RIVAL[last], None)
    yield from dict.fromkeys((_dotted(path[:new]), _dotted(path)))


def _dotted(path: Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
