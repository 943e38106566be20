"""Validation of a scenario's nested tables, with every problem at once, and the tables of a valid scenario."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sim.book.file import read_book
from sim.errors import InputError, Problem
from sim.problems import UNKNOWN
from sim.scenario.fragments import Fragment, merged
from sim.scenario.key_problems import Location, key_problems, table_of
from sim.scenario.overrides import Overrides, apply_overrides, place_of_overrides
from sim.scenario.rules import cross_field_problems

BOOK: Final = "dealers.book"
BOOK_KEY: Final = ("dealers", "book")

_Model = TypeVar("_Model", bound=BaseModel)


def changed_tables(
    model: type[_Model],
    data: dict[str, Any],
    where: str,
    overrides: Overrides,
    fragments: Sequence[Fragment] = (),
    *,
    folder: Path | None = None,
    argument: str = "overrides",
) -> _Model:
    """Scenario of nested tables with the keys of fragments, then of overrides, in place of their own.

    model : `sim.scenario.model.Scenario`, handed over because its own module imports this one.
    data : nested tables as `tomllib` returns them; they are changed.
    where : place that problems name.
    overrides, fragments : see `sim.scenario.file.load_scenario`.
    folder : what the path of a book file is relative to; the present folder if None.
    argument : name of the argument that holds the overrides.

    Errors: `InputError` with every problem.
    """
    data, places = merged(data, fragments)
    for fragment in fragments:
        if places.get(BOOK) == fragment.where:
            folder = Path(fragment.where).parent if fragment.folder is None else Path(fragment.folder)
    changed, problems = apply_overrides(data, overrides, argument)
    # Those stated last come last.
    places = {key: place for key, place in places.items() if key not in changed} | changed
    # What an override names lies in the present folder, what a file names lies beside it.
    beside = None if place_of(BOOK, changed) else folder
    try:
        return validated_tables(model, data, where, places, problems, folder=beside)
    except InputError as failure:
        if place_of_overrides(overrides, argument) != argument:
            raise
        raise InputError([_in_python(problem, argument) for problem in failure.problems]) from None


def _in_python(problem: Problem, argument: str) -> Problem:
    """Problem whose hint is written in Python, where its value was given as an argument."""
    is_date = problem.where == argument and problem.why == "a date is expected"
    return replace(problem, hint="Try datetime.date(2026, 2, 10).") if is_date else problem


def validated_tables(
    model: type[_Model],
    data: dict[str, Any],
    where: str,
    places: Mapping[str, str],
    problems: Sequence[Problem],
    *,
    folder: Path | None = None,
) -> _Model:
    """Scenario of nested tables, validated together with the problems found before.

    model : see `changed_tables`.
    data : nested tables as `tomllib` returns them.
    where : place that problems name.
    places : dotted key to the place that its problems name instead, "--set" for an overridden key.
    problems : those found before, reported first.
    folder : what the path of a book file is relative to; the present folder if None.

    Errors: `InputError` with every problem.
    """
    errors: Sequence[ErrorDetails] = ()
    scenario: Any
    data, book_problems = _with_book(data, folder or Path())
    try:
        scenario = model.model_validate(data)
        found = []
    except ValidationError as failure:
        errors = failure.errors(include_url=False)
        scenario = readable_part(model, data, {error["loc"] for error in errors})
        found = key_problems(errors, model) + cross_field_problems(scenario)
    except InputError as failure:
        found = list(failure.problems)
    if book_problems:
        # Without the book nothing can be said about its groups and expiries.
        broken = {BOOK_KEY, *(error["loc"] for error in errors)}
        unread = {**data, "dealers": {**data["dealers"], "book": None}}
        scenario = readable_part(model, unread, broken)
        found = key_problems(errors, model) + cross_field_problems(scenario)
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
    assert isinstance(scenario, model)
    return scenario


def _with_book(data: dict[str, Any], folder: Path) -> tuple[dict[str, Any], list[Problem]]:
    """Data with the rows of its book file for the path, or without the key if it cannot be read; and its problems."""
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


def scenario_data(scenario: Any) -> dict[str, Any]:
    """Nested tables of a scenario with every default, as a file would state them.

    Keys without a value are left out, and so are those that a regime's kind of trigger does not have.

    scenario : a `sim.scenario.model.Scenario`.
    """
    data = _lists(scenario.model_dump(by_alias=True, exclude_none=True, exclude={"dealers": {"book"}}))
    dealers = scenario.dealers
    if dealers.book is not None:
        # The rows themselves: nothing in them can change. A weight for each group, so that it can be multiplied.
        weights = {**dict.fromkeys(dealers.book.groups, 1.0), **dealers.book_weights}
        data["dealers"] |= {"book": dealers.book, "book_weights": weights}
    assert isinstance(data, dict)
    return data


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


def place_of(key: str, places: Mapping[str, str]) -> str | None:
    """Place of a key, or of the table or list stated last that it is part of; None if `places` has neither."""
    found = [
        place for path, place in places.items() if key == path or key.startswith((f"{path}.", f"{path}["))
    ]
    return found[-1] if found else None


class _Readable:
    """Table in which only the readable keys have values; the others are `UNKNOWN`."""

    def __init__(self, values: dict[str, Any], given: set[str]):
        self.__dict__.update(values)
        self.model_fields_set = given


def readable_part(table: type[BaseModel], data: Any, broken: set[Location], at: Location = ()) -> Any:
    """Readable part of a table: attributes as in its model, `UNKNOWN` at and below each broken location.

    table : model of the table.
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
