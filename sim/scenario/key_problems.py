"""Problems with a file's keys, made of pydantic's errors, each with a hint on what to try."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from sim.errors import MOST_LISTED, Problem
from sim.problems import shown, shown_key

Location = tuple[int | str, ...]


def table_of(annotation: Any) -> type[BaseModel] | None:
    """Model of a field that is a table or an array of tables; None for any other field."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(table_of, getattr(annotation, "__args__", ()))), None)


def table_keys(value: Any) -> Any:
    """Keys that were given to a table, as a file names them, those of tables within it too; any other value itself.

    So a table made by `model_construct` is validated where it is used.
    """
    if isinstance(value, BaseModel):
        given = value.__dict__.keys() & value.model_fields_set
        fields = type(value).model_fields.items()
        return {
            field.alias or name: table_keys(getattr(value, name)) for name, field in fields if name in given
        }
    if isinstance(value, (list, tuple)) and any(isinstance(item, BaseModel) for item in value):
        return [table_keys(item) for item in value]
    return value


def dotted(location: Location) -> str:
    """Dotted key of a location, items by index: dealers.position[0].iv."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{shown_key(part)}" if text else shown_key(part)
    return text


def _known_keys(location: Location, top: type[BaseModel]) -> list[str]:
    """Keys that the table at a location may have; empty if there is no table."""
    table: type[BaseModel] | None = top
    for part in location:
        if isinstance(part, str) and table is not None:
            fields = {field.alias or name: field for name, field in table.model_fields.items()}
            table = table_of(fields[part].annotation) if part in fields else None
    return [field.alias or name for name, field in table.model_fields.items()] if table else []


_EXPECTED: Final = {
    "float_type": ("a number is expected", "Try a plain number such as 0.14, without quotes."),
    "int_type": ("a whole number is expected", "Try a plain integer such as 13, without quotes or decimals."),
    "string_type": ("a string is expected", 'Try it in quotes: "...".'),
    "string_unicode": ("is no Unicode text", "Try plain letters."),
    "date_type": ("a date is expected", "Try a TOML date such as 2026-02-10, without quotes or time."),
    "finite_number": ("must be finite", "Try a plain number."),
    "string_too_short": ("is empty", "Try a name."),
    "string_pattern_mismatch": (
        "must begin with a letter and have only letters, digits, _ and -",
        'Try a name such as "wall".',
    ),
    "dataclass_exact_type": ("the path of a book file is expected", 'Try book = "book.csv".'),
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


def key_problems(errors: Iterable[ErrorDetails], model: type[BaseModel]) -> list[Problem]:
    """Problems with the keys of a file, in pydantic's order; those that no message lists have its words, no hint.

    model : model of the whole file.
    """
    return [
        key_problem(error, model) if number < MOST_LISTED else _brief(error)
        for number, error in enumerate(errors)
    ]


def _brief(error: ErrorDetails) -> Problem:
    """Problem in pydantic's words: a hint takes long to find where there are 100,000 problems."""
    return Problem("", dotted(error["loc"]), shown(error["input"]), _first_small(error["msg"]))


def _first_small(text: str) -> str:
    return text[:1].lower() + text[1:]


def key_problem(error: ErrorDetails, model: type[BaseModel]) -> Problem:
    """Problem with one key of a file, made of pydantic's error; its place is still open.

    model : model of the whole file.
    """
    kind, location, context = error["type"], error["loc"], error.get("ctx", {})
    key, value = dotted(location), shown(error["input"])
    last = location[-1] if location else ""
    if kind == "missing":
        table, inner = dotted(location[:-1]), _known_keys(location, model)
        place = f"to {table}" if table else "at the top of the file"
        what = f"a table [{key}] with {', '.join(inner)}" if inner else f"{last} = ... {place}"
        return Problem("", key, "", "the key is required but missing", f"Try adding {what}.")
    if kind == "extra_forbidden":
        names = _known_keys(location[:-1], model)
        near = difflib.get_close_matches(str(last), names, n=1)
        hint = f"Try {near[0]}." if near else f"Known here: {', '.join(names)}."
        return Problem("", key, value, "unknown key", hint)
    if kind == "tuple_type":
        is_table = isinstance(error["input"], Mapping) and _known_keys(location, model)
        hint = f"Try [[{key}]] with double brackets." if is_table else "Try [ ... ]."
        return Problem("", key, value, "a list is expected", hint)
    if kind in ("model_type", "model_attributes_type"):
        hint = f"Try a table with the keys {', '.join(_known_keys(location, model))}."
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
    return Problem("", key, value, _first_small(error["msg"]), "Try another value.")
