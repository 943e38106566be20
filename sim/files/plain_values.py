"""Plain values: what TOML can state and a manifest can record, told from what it cannot.

A value that a run records is refused where it is read, so that no run is simulated whose manifest cannot be written.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sim.errors import Problem
from sim.problems import problem, shown_key

# Tables and lists within one another: a scenario has 5, and more than this is a slip or an attack.
DEEPEST: Final = 20
# Values in one document: a fragment of a fit has some dozens.
MOST_VALUES: Final = 100_000
_LARGEST_INTEGER: Final = 2**64
TOO_DEEP: Final = f"is nested more than {DEEPEST} deep"
_NUMBER_HINT: Final = "Try a plain number."


def nests_too_deep(value: Any) -> bool:
    """Whether tables and lists lie within one another deeper than `DEEPEST`, as those that hold themselves do."""
    level = [value]
    for _ in range(DEEPEST):
        level = list({id(inner): inner for outer in level for inner in _inside(outer)}.values())
        if not level:
            return False
    return True


def _inside(value: Any) -> list[Any]:
    """Tables and lists that a table or a list holds."""
    items = (
        value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    )
    return [item for item in items if isinstance(item, (Mapping, list, tuple))]


def record_problems(value: Any, key: str = "") -> list[Problem]:
    """Problems of a value that a manifest cannot record, each `Problem` without its `where`.

    value : a plain value, or a table or a list of such.
    key : dotted key of the value.
    """
    if nests_too_deep(value):
        return [problem(key or _first_key(value), None, TOO_DEEP, "Try leaving it out.")]
    found: list[Problem] = []
    for count, (place, item) in enumerate(_leaves(value, key)):
        if count >= MOST_VALUES:
            why = f"there are more than {MOST_VALUES:,} values"
            return [problem(key, None, why, "Try leaving out what is no key of a scenario.")]
        why, hint = _refusal(item)
        if why:
            found.append(problem(place, item, why, hint))
    return found


def as_json(value: Any) -> Any:
    """Plain value as JSON has it: dates and times in ISO form, at any depth."""
    if isinstance(value, Mapping):
        return {name: as_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    return value.isoformat() if isinstance(value, (dt.date, dt.time)) else value


def _first_key(value: Any) -> str:
    """Name of the first part of a table that is nested too deeply."""
    if not isinstance(value, Mapping):
        return ""
    return next((shown_key(str(name)) for name, item in value.items() if nests_too_deep({name: item})), "")


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Dotted key and value of all that is no table and no list, and of names that are no text."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if not (isinstance(name, str) and is_unicode(name)):
                yield key, name if isinstance(name, str) else {name}
                continue
            yield from _leaves(item, f"{key}.{shown_key(name)}" if key else shown_key(name))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{key}[{index}]")
    else:
        yield key, value


def _refusal(value: Any) -> tuple[str, str]:
    """Reason why a single value is refused, and what to try; empty texts for one that can be recorded."""
    if isinstance(value, str):
        return ("", "") if is_unicode(value) else ("is no Unicode text", "Try plain letters.")
    if isinstance(value, (bool, dt.date, dt.time)):
        return "", ""
    if isinstance(value, int):
        return ("", "") if abs(value) <= _LARGEST_INTEGER else ("has more than 64 bits", _NUMBER_HINT)
    if isinstance(value, float):
        return ("", "") if math.isfinite(value) else ("must be finite", _NUMBER_HINT)
    return "is no value that TOML has", "Try a number, a text, a date, or a list or a table of these."


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8, which one with halves of surrogate pairs cannot."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
