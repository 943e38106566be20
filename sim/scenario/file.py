"""Scenario files: TOML to a validated `Scenario` and back.

Everything wrong with a file is reported at once: what pydantic finds key by key, then the rules across keys,
the exchange calendar's among them, as far as the remaining keys let them be judged.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sim.book.file import read_book
from sim.errors import InputError, Problem
from sim.files.toml_file import FileKind, is_path
from sim.problems import UNKNOWN
from sim.scenario.fragments import Fragment, merged
from sim.scenario.key_problems import Location, key_problem, table_of
from sim.scenario.model import Scenario
from sim.scenario.overrides import WHERE as OVERRIDES
from sim.scenario.overrides import apply_overrides
from sim.scenario.rules import cross_field_problems
from sim.scenario.toml import scenario_to_toml

__all__ = [
    "builtin_scenarios",
    "load_scenario",
    "scenario_from_mapping",
    "scenario_hash",
    "scenario_to_toml",
]

BOOK: Final = "dealers.book"
BOOK_KEY: Final = ("dealers", "book")
SCENARIO_FILE: Final = FileKind("scenario", "sim.scenarios", "gammawall scenario show siege-of-7000")


def load_scenario(
    source: str | os.PathLike[str], overrides: Sequence[str] = (), fragments: Sequence[Fragment] = ()
) -> Scenario:
    """Scenario read from a file or from the built-in ones.

    source : a path, or the name of a built-in scenario; a string is a path if it has a separator or ends in
        ".toml".
    overrides : "key=value" each, applied in order before validation; grammar: `sim.scenario.overrides`.
    fragments : keys merged into the scenario's, before the overrides.

    Errors: `InputError` with every problem; those of an override have "--set" as their place.
    """
    where, data = SCENARIO_FILE.read(source)
    folder = Path(os.fspath(source)).parent if is_path(source) else Path()
    return _changed_scenario(data, where, overrides, fragments, folder)


def scenario_from_mapping(
    data: Mapping[str, Any], where: str, overrides: Sequence[str] = (), fragments: Sequence[Fragment] = ()
) -> Scenario:
    """Scenario from the nested tables of a file, as `tomllib` returns them.

    where : what problems name as their place, usually the file.
    overrides, fragments : see `load_scenario`.

    Errors: `InputError` with every problem.
    """
    return _changed_scenario(deepcopy(dict(data)), where, overrides, fragments, Path())


def _changed_scenario(
    data: dict[str, Any], where: str, overrides: Sequence[str], fragments: Sequence[Fragment], folder: Path
) -> Scenario:
    data, places = merged(data, fragments)
    for fragment in fragments:
        if places.get(BOOK) == fragment.where:
            folder = Path(fragment.where).parent
    overridden, problems = apply_overrides(data, overrides)
    places |= dict.fromkeys(overridden, OVERRIDES)
    # What the command line names lies where the command runs, what a file names lies beside it.
    beside = Path() if place_of(BOOK, places) == OVERRIDES else folder
    return validated_scenario(data, where, places, problems, folder=beside)


def builtin_scenarios() -> dict[str, str]:
    """Names of the built-in scenarios, each with the first line of its description."""
    return SCENARIO_FILE.builtin()


def scenario_hash(scenario: Scenario) -> str:
    """SHA-256 (hex) of a scenario's canonical JSON, defaults included; equal scenarios have equal hashes."""
    data = _without_negative_zero(scenario.model_dump(mode="json", by_alias=True))
    if scenario.dealers.book is not None:
        data["dealers"]["book"] = scenario.dealers.book.digest  # wherever it lies
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _without_negative_zero(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_negative_zero(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_negative_zero(item) for item in value]
    return value + 0.0 if isinstance(value, float) else value


def validated_scenario(
    data: dict[str, Any],
    where: str,
    places: Mapping[str, str],
    problems: Sequence[Problem],
    *,
    folder: Path | None = None,
) -> Scenario:
    """Scenario from data, or every problem: those found so far, then the data's own.

    data : nested tables as `tomllib` returns them.
    where : what problems name as their place.
    places : dotted key to what they name instead, "--set" for what was overridden.
    problems : what is wrong already.
    folder : what the path of a book file is relative to; the present folder if None.
    """
    errors: Sequence[ErrorDetails] = ()
    scenario: Any
    data, book_problems = _with_book(data, folder or Path())
    try:
        scenario = Scenario.model_validate(data)
        found = []
    except ValidationError as failure:
        errors = failure.errors(include_url=False)
        scenario = readable_part(Scenario, data, {error["loc"] for error in errors})
        found = [key_problem(error, Scenario) for error in errors] + cross_field_problems(scenario)
    except InputError as failure:
        found = list(failure.problems)
    if book_problems:
        # Without the book nothing can be said about its groups and expiries.
        broken = {BOOK_KEY, *(error["loc"] for error in errors)}
        unread = {**data, "dealers": {**data["dealers"], "book": None}}
        scenario = readable_part(Scenario, unread, broken)
        found = [key_problem(error, Scenario) for error in errors] + cross_field_problems(scenario)
        problems = [*problems, *book_problems]
    placed = [
        Problem(
            where=place_of(problem.key, places) or where,
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


def _with_book(data: dict[str, Any], folder: Path) -> tuple[dict[str, Any], list[Problem]]:
    """Data with the rows of its book file in place of the path; without the key if the file cannot be read."""
    dealers = data.get("dealers")
    stated = dealers.get("book") if isinstance(dealers, Mapping) else None
    if not isinstance(stated, str):
        return data, []
    try:
        book, problems = {"book": read_book(folder / stated, stated)}, []
    except InputError as failure:
        book, problems = {}, list(failure.problems)
    assert isinstance(dealers, Mapping)
    rest = {key: value for key, value in dealers.items() if key != "book"}
    return {**data, "dealers": {**rest, **book}}, problems


def place_of(key: str, places: Mapping[str, str]) -> str | None:
    """Place of a key, or of the last table or list stated that it is part of."""
    found = [
        place for path, place in places.items() if key == path or key.startswith((f"{path}.", f"{path}["))
    ]
    return found[-1] if found else None


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
            values[name] = _readable_value(table_of(field.annotation), data[key], broken, (*at, key))
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
