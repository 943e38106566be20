"""Scenario files: TOML to a validated `Scenario` and back.

Everything wrong with a file is reported at once: what pydantic finds key by key, then the rules across keys
and the exchange calendar as far as the remaining keys let them be judged.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.resources
import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sim.errors import InputError, Problem
from sim.scenario import Scenario
from sim.scenario_overrides import apply_overrides
from sim.scenario_rules import cross_field_problems
from sim.scenario_toml import scenario_to_toml
from sim.scenario_values import UNKNOWN, shown, shown_key
from sim.timegrid import calendar_problems

__all__ = [
    "builtin_scenarios",
    "load_scenario",
    "scenario_from_mapping",
    "scenario_hash",
    "scenario_to_toml",
]

MAX_BYTES: Final = 10_000_000
_SYNTAX_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")

Location = tuple[int | str, ...]


def load_scenario(source: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Scenario:
    """Scenario read from a file or from the built-in ones.

    source : a path, or the name of a built-in scenario; a string is a path if it has a separator or ends in
        ".toml".
    overrides : "key=value" each, applied in order before validation; grammar: `sim.scenario_overrides`.

    Errors: `InputError` with every problem; those of an override have "--set" as their place.
    """
    name = os.fspath(source)
    where = name if name.isprintable() and name else shown(name)
    is_path = not isinstance(source, str) or "/" in name or os.sep in name or name.endswith(".toml")
    data = _parse(_read_file(name, where) if is_path else _read_builtin(name, where), where)
    overridden, problems = apply_overrides(data, overrides)
    return _validated(data, where, overridden, problems)


def scenario_from_mapping(data: Mapping[str, Any], where: str) -> Scenario:
    """Scenario from the nested tables of a file, as `tomllib` returns them.

    where : what problems name as their place, usually the file.

    Errors: `InputError` with every problem.
    """
    return _validated(dict(data), where, (), ())


def builtin_scenarios() -> dict[str, str]:
    """Names of the built-in scenarios, each with the first line of its description."""
    found = {}
    for entry in importlib.resources.files("sim.scenarios").iterdir():
        if entry.name.endswith(".toml"):
            description = tomllib.loads(entry.read_text(encoding="utf-8"))["description"]
            found[entry.name.removesuffix(".toml")] = description.strip().splitlines()[0]
    return dict(sorted(found.items()))


def scenario_hash(scenario: Scenario) -> str:
    """SHA-256 (hex) of a scenario's canonical JSON, defaults included; equal scenarios have equal hashes."""
    data = _without_negative_zero(scenario.model_dump(mode="json", by_alias=True))
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _without_negative_zero(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_negative_zero(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_negative_zero(item) for item in value]
    return value + 0.0 if isinstance(value, float) else value


def _refused(where: str, why: str, hint: str) -> InputError:
    return InputError([Problem(where=where, key="", value="", why=why, hint=hint)])


def _read_builtin(name: str, where: str) -> bytes:
    names = list(builtin_scenarios())
    if name in names:
        return (importlib.resources.files("sim.scenarios") / f"{name}.toml").read_bytes()
    near = difflib.get_close_matches(name, names, n=1)
    why = "is no built-in scenario, and no path: a path has a separator or ends in .toml"
    hint = f"Try {near[0]}; built in are" if near else "Built in are"
    raise _refused(where, why, f"{hint} {', '.join(names)}.")


def _read_file(path: str, where: str) -> bytes:
    try:
        if Path(path).is_dir():
            raise _refused(where, "is a directory, not a scenario file", "Try a .toml file inside it.")
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        hint = f"Try a path that exists, or a built-in scenario: {', '.join(builtin_scenarios())}."
        raise _refused(where, "no such file", hint) from error
    except PermissionError as error:
        raise _refused(where, "may not be read", "Try giving yourself permission to read it.") from error
    except OSError as error:
        why = f"cannot be read: {error.strerror or 'input error'}"
        raise _refused(where, why, "Try another path.") from error
    except ValueError as error:
        raise _refused(where, f"is no path: {error}", "Try another path.") from error
    if len(content) > MAX_BYTES:
        raise _refused(where, "is larger than 10 MB, no scenario file", "Try the right file.")
    return content


def _parse(content: bytes, where: str) -> dict[str, Any]:
    if b"\0" in content:
        raise _refused(where, "is a binary file, not TOML text", "Try a scenario written as TOML.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        why = f"is not UTF-8 text: byte 0x{content[error.start]:02x}"
        raise _refused(f"{where}, line {line}", why, "Try saving it as UTF-8.") from error
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = _SYNTAX_PLACE.search(message)
        what = message[: place.start()] if place else message
        if place and place[1]:
            at = f"{where}, line {place[1]}, column {place[2]}"
        else:
            at = f"{where}, end of file" if place else where
        raise _refused(at, f"is not valid TOML: {what}", "Try correcting the syntax there.") from error
    except (ValueError, RecursionError) as error:
        why = "a number has too many digits" if isinstance(error, ValueError) else "is nested too deeply"
        raise _refused(where, f"is not valid TOML: {why}", "Try correcting it.") from error
    if not data:
        hint = "Try gammawall scenario show siege-of-7000 for an example to start from."
        raise _refused(where, "is empty: it states no key", hint)
    return data


def _validated(
    data: dict[str, Any], where: str, overridden: Sequence[str], problems: Sequence[Problem]
) -> Scenario:
    """Scenario from data, or every problem: those found so far, then the data's own."""
    errors: Sequence[ErrorDetails] = ()
    scenario: Any
    try:
        scenario = Scenario.model_validate(data)
        found = []
    except ValidationError as failure:
        errors = failure.errors(include_url=False)
        scenario = readable_part(Scenario, data, {error["loc"] for error in errors})
        found = [_key_problem(error) for error in errors] + cross_field_problems(scenario)
    except InputError as failure:
        scenario = readable_part(Scenario, data, set())
        found = list(failure.problems)
    found += calendar_problems(scenario)
    placed = [
        Problem(
            where="--set" if _is_overridden(problem.key, overridden) else where,
            key=problem.key,
            value=problem.value,
            why=problem.why,
            hint=problem.hint,
        )
        for problem in found
    ]
    if problems or placed:
        raise InputError([*problems, *placed])
    assert isinstance(scenario, Scenario)
    return scenario


def _is_overridden(key: str, overridden: Sequence[str]) -> bool:
    return any(key == path or key.startswith((f"{path}.", f"{path}[")) for path in overridden)


class _Readable:
    """A table of which only the readable keys have values; the others are `UNKNOWN`."""

    def __init__(self, values: dict[str, Any], given: set[str]):
        self.__dict__.update(values)
        self.model_fields_set = given


def readable_part(table: type[BaseModel], data: Any, broken: set[Location], at: Location = ()) -> Any:
    """What can be read of a table: attributes as in its model, `UNKNOWN` at and below each broken location.

    table : the model the table stands for.
    data : the table as given.
    broken : locations of the problems found, keys as in the file.
    at : location of this table.
    """
    if at in broken or not isinstance(data, Mapping):
        return UNKNOWN
    values: dict[str, Any] = {}
    given = set()
    for name, field in table.model_fields.items():
        key = field.alias or name
        if key in data:
            given.add(name)
            values[name] = _readable_value(_table_of(field.annotation), data[key], broken, (*at, key))
        else:
            values[name] = UNKNOWN if field.is_required() else field.get_default(call_default_factory=True)
    return _Readable(values, given)


def _readable_value(table: type[BaseModel] | None, value: Any, broken: set[Location], at: Location) -> Any:
    if at in broken:
        return UNKNOWN
    if isinstance(value, (list, tuple)):
        return tuple(_readable_value(table, item, broken, (*at, i)) for i, item in enumerate(value))
    if table is not None:
        return readable_part(table, value, broken, at)
    if isinstance(value, Mapping):
        return {key: _readable_value(None, item, broken, (*at, key)) for key, item in value.items()}
    return value


def _table_of(annotation: Any) -> type[BaseModel] | None:
    """The model of a field that is a table or an array of tables."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_table_of, getattr(annotation, "__args__", ()))), None)


def _dotted(location: Location) -> str:
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{shown_key(part)}" if text else shown_key(part)
    return text


def _known_keys(location: Location) -> list[str]:
    """Keys the table at a location may have."""
    table: type[BaseModel] | None = Scenario
    for part in location:
        if isinstance(part, str) and table is not None:
            fields = {field.alias or name: field for name, field in table.model_fields.items()}
            table = _table_of(fields[part].annotation) if part in fields else None
    return [field.alias or name for name, field in table.model_fields.items()] if table else []


_EXPECTED: Final = {
    "float_type": ("a number is expected", "Try a plain number such as 0.14, without quotes."),
    "int_type": ("a whole number is expected", "Try a plain integer such as 13, without quotes or decimals."),
    "string_type": ("a string is expected", 'Try it in quotes: "...".'),
    "date_type": ("a date is expected", "Try a TOML date such as 2026-02-10, without quotes or time."),
    "finite_number": ("must be finite", "Try a plain number."),
    "string_too_short": ("is empty", "Try a name."),
    "string_pattern_mismatch": (
        "must begin with a letter and have only letters, digits, _ and -",
        'Try a name such as "wall".',
    ),
    "dict_type": ("a table is expected", "Try { wall = 0.5 }."),
}

_LIMITED: Final = {
    "greater_than": ("must be greater than {gt}", "Try a value greater than {gt}."),
    "greater_than_equal": ("must be at least {ge}", "Try a value of {ge} or more."),
    "less_than": ("must be less than {lt}", "Try a value less than {lt}."),
    "less_than_equal": ("must be at most {le}", "Try a value of {le} or less."),
    "too_long": ("has too many items, at most {max_length} are possible", "Try fewer items."),
    "too_short": ("has too few items, at least {min_length} is needed", "Try more items."),
    "string_too_long": ("is too long, at most {max_length} characters are possible", "Try a shorter text."),
}


def _key_problem(error: ErrorDetails) -> Problem:
    """Problem with one key, from pydantic's account of it."""
    kind, location, context = error["type"], error["loc"], error.get("ctx", {})
    key, value = _dotted(location), shown(error["input"])
    last = location[-1] if location else ""
    if kind == "missing":
        table, inner = _dotted(location[:-1]), _known_keys(location)
        place = f"to {table}" if table else "at the top of the file"
        what = f"a table [{key}] with {', '.join(inner)}" if inner else f"{last} = ... {place}"
        return Problem("", key, "", "the key is required but missing", f"Try adding {what}.")
    if kind == "extra_forbidden":
        names = _known_keys(location[:-1])
        near = difflib.get_close_matches(str(last), names, n=1)
        hint = f"Try {near[0]}." if near else f"Known here: {', '.join(names)}."
        return Problem("", key, value, "unknown key", hint)
    if kind == "tuple_type":
        is_table = isinstance(error["input"], Mapping) and _known_keys(location)
        hint = f"Try [[{key}]] with double brackets." if is_table else "Try [ ... ]."
        return Problem("", key, value, "a list is expected", hint)
    if kind in ("model_type", "model_attributes_type"):
        hint = f"Try a table with the keys {', '.join(_known_keys(location))}."
        return Problem("", key, value, "a table is expected", hint)
    if kind == "literal_error":
        return Problem("", key, value, "is none of the possible values", f"Try {context['expected']}.")
    if key == "schema":
        return Problem("", key, value, "is not the version of these keys", "Try schema = 1.")
    if kind == "float_type" and type(error["input"]) is int:
        return Problem("", key, value, "is too large", "Try a plain number.")
    if kind in _EXPECTED:
        return Problem("", key, value, *_EXPECTED[kind])
    if kind in _LIMITED:
        limits = {name: f"{x:g}" if isinstance(x, float) else str(x) for name, x in context.items()}
        why, hint = (text.format(**limits) for text in _LIMITED[kind])
        return Problem("", key, value, why, hint)
    if kind == "value_error":
        return Problem("", key, value, str(context["error"]), 'Try a short name such as "my-scenario".')
    return Problem("", key, value, error["msg"][:1].lower() + error["msg"][1:], "Try another value.")
