"""TOML text of a scenario with every key; defaults are marked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import tomli_w
from pydantic import BaseModel

from sim.book.rows import BookRows
from sim.problems import check_type
from sim.scenario.model import Regime, Scenario, UShape
from sim.scenario.triggers import TRIGGERS

_NO_VALUE: Final = {
    "until": "sessions is given",
    "sessions": "until is given",
    "long_run_annual": "the same as annual",
    "tail_dof": "normal shocks",
    "u_shape": "the default shape",
    "gex_bn": "contracts is given",
    "contracts": "gex_bn is given",
    "from": "any other regime",
    "lasts": "until another regime is entered",
    "then": "lasts is not given",
    "book": "the positions below are the whole book",
}


def scenario_to_toml(scenario: Scenario) -> str:
    """TOML text of a scenario: every key, defaults marked `# default`, absent values as comments.

    Read again it gives an equal `Scenario`, if the file of its book lies where it says. Only
    `sim.scenario.writing.write_scenario` writes that file too, of a chain's book for one.

    Errors: `InputError` if it is no `Scenario`.
    """
    check_type("scenario", scenario, Scenario, "a Scenario", 'Try load_scenario("siege-of-7000").')
    plain, tables = _split(scenario)
    lines = list(plain)
    for key, value in tables:
        for item in value if isinstance(value, tuple) else (value,):
            lines += _table(key, item, is_list=isinstance(value, tuple))
    return "\n".join(lines) + "\n"


def _table(path: str, table: BaseModel, *, is_list: bool) -> list[str]:
    """Lines of a table and of the tables in it, after a blank line.

    path : its dotted key.
    is_list : whether it is an item of an array of tables.
    """
    plain, tables = _split(table)
    lines = ["", f"[[{path}]]" if is_list else f"[{path}]", *plain]
    for key, value in tables:
        assert isinstance(value, tuple), key
        for item in value:
            lines += _table(f"{path}.{key}", item, is_list=True)
    return lines


def _split(table: BaseModel) -> tuple[list[str], list[tuple[str, Any]]]:
    """Lines of a table's plain keys, and its keys that are tables or filled arrays of tables."""
    lines, tables = [], []
    for name, field in type(table).model_fields.items():
        key, value = field.alias or name, getattr(table, name)
        mark = "" if name in table.model_fields_set else "  # default"
        lacks = _lacks(table, key)
        if lacks:
            lines.append(f"# {key} =  (none: {lacks})")
        elif value is None:
            lines.append(f"# {key} =  (none: {_NO_VALUE[key]})")
        elif key == "outcomes":
            lines += [f"{key} = [", *(f"  {{ {', '.join(_inline(item))} }}," for item in value), "]"]
        elif isinstance(value, UShape):
            lines.append(f"{key} = {{ {', '.join(_inline(value))} }}")
        elif isinstance(value, BaseModel) or _has_tables(value):
            tables.append((key, value))
        elif key == "description" and "\n" in value and "\r" not in value:
            lines.append(tomli_w.dumps({key: value}, multiline_strings=True).rstrip("\n"))
        else:
            lines.append(f"{key} = {_literal(value)}{mark}")
    return lines, tables


def _lacks(table: BaseModel, key: str) -> str:
    """Reason why a table lacks a key, in words; empty if it has the key."""
    if isinstance(table, Regime):
        trigger = TRIGGERS[table.when]
        if key == "level" and not trigger.has_level:
            return f'when = "{table.when}" has no level'
        if key == "closes" and not trigger.counts_closes:
            return f'when = "{table.when}" counts no closes'
    return ""


def _has_tables(value: object) -> bool:
    return isinstance(value, tuple) and any(isinstance(item, BaseModel) for item in value)


def _inline(table: BaseModel) -> Iterator[str]:
    for name, value in table:
        yield f"{name} = {_literal(value)}"


def _literal(value: Any) -> str:
    """TOML text of a plain value on one line."""
    if isinstance(value, BookRows):
        value = value.file
    if isinstance(value, tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        items = (f"{_pair(key, item)}" for key, item in value.items())
        return f"{{ {', '.join(items)} }}" if value else "{}"
    return _pair("x", value).partition(" = ")[2]


def _pair(key: str, value: Any) -> str:
    return tomli_w.dumps({key: value}).rstrip("\n")
