"""Problems with a user's values: their wording, arguments of a wrong type, and the stand-in for unreadable parts."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, Final

from sim.errors import InputError, Problem, cut, one_line

_SHOWN_LENGTH: Final = 60
_LONGEST_LINE: Final = 120
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


class Unknown:
    """Stand-in for an unreadable part of a scenario, which behaves like SQL's NULL.

    Its attributes and the results of arithmetic with it are unknown too, it has no items, and every comparison with
    it is false. A rule written as "if this holds, it is a problem" is therefore silent about what cannot be judged.
    """

    def __getattr__(self, name: str) -> Unknown:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def _same(self, *_: object) -> Unknown:
        return self

    def _never(self, _: object) -> bool:
        return False

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __abs__ = _same
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = _never
    __hash__ = object.__hash__


UNKNOWN: Final = Unknown()


def known(*values: object) -> bool:
    """Whether none of the values is `UNKNOWN`."""
    return not any(isinstance(value, Unknown) for value in values)


def shown(value: object) -> str:
    """Text of a value in a message: TOML-like, on one line, cut after 60 characters."""
    return cut(_toml_like(value, 0), _SHOWN_LENGTH)


def _toml_like(value: object, depth: int) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        start = value[: 2 * _SHOWN_LENGTH]
        return json.dumps(start, ensure_ascii=not start.isprintable())
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, int):
        return str(value) if abs(value) < 10**_SHOWN_LENGTH else "an integer of more than 60 digits"
    if isinstance(value, (list, tuple)):
        items = value[:_SHOWN_LENGTH] if depth < 3 else ()
        return f"[{', '.join(_toml_like(item, depth + 1) for item in items)}]"
    if isinstance(value, dict):
        pairs = list(value.items())[:_SHOWN_LENGTH] if depth < 3 else ()
        inner = (f"{_any_key(key)} = {_toml_like(item, depth + 1)}" for key, item in pairs)
        return f"{{ {', '.join(inner)} }}"
    return _object_text(value)


def _any_key(key: object) -> str:
    return shown_key(key) if isinstance(key, str) else shown(key)


def _object_text(value: object) -> str:
    """Text of an object that TOML does not have: its representation if that says what it is, else its type."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # foreign code
        text = ""
    if not text or text.startswith("<") or " at 0x" in text:
        return _kind_of(value)
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def shown_key(part: str) -> str:
    """Text of a key in a dotted path: bare where TOML allows that, else quoted."""
    return part if _BARE_KEY.fullmatch(part) else shown(part)


def problem(key: str, value: object, why: str, hint: str = "") -> Problem:
    """Problem with a key, without its `where`; a `value` of None is not shown."""
    return Problem(where="", key=key, value="" if value is None else shown(value), why=why, hint=hint)


def check_type(name: str, value: object, kinds: type | tuple[type, ...], expected: str, hint: str) -> None:
    """Refuse an argument of a wrong type.

    name : name of the argument.
    kinds : types that it may have; a path must be one of text. True and False count as numbers only where bool is
        among them, and a whole number in the place of a float must be one that a float can be near to.
    expected : description of a right one with its article, "a Scenario" for instance.
    hint : sentence on what to try.

    Errors: `InputError`.
    """
    wanted = kinds if isinstance(kinds, tuple) else (kinds,)
    if isinstance(value, wanted) and (bool in wanted or not isinstance(value, bool)):
        if float in wanted and isinstance(value, int) and abs(value) > sys.float_info.max:
            raise InputError([Problem("", name, shown(value), "is too large for a number", hint)])
        if os.PathLike in wanted and isinstance(value, os.PathLike) and not gives_text(value):
            raise InputError([Problem("", name, shown(value), f"{expected} is expected as text", hint)])
        return
    raise InputError([type_problem(name, value, expected, hint)])


def gives_text(path: os.PathLike[Any]) -> bool:
    """Whether a path is one of text; entries of a folder that was listed by bytes are none."""
    try:
        return isinstance(os.fspath(path), str)
    except Exception:  # foreign code
        return False


def type_problem(name: str, value: object, expected: str, hint: str) -> Problem:
    """Problem with an argument of a wrong type; see `check_type`."""
    plain = isinstance(value, (str, int, float, list, tuple, dict, dt.date, dt.time))
    why = f"{expected} is expected, not {_kind_of(value)}"
    return Problem("", name, shown(value) if plain else "", why, hint)


def _kind_of(value: object) -> str:
    """Name of a value's type with its article."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def short_repr(value: object, text: str) -> str:
    """Representation of an object on one line of at most 120 characters: its class with a text in brackets."""
    name = type(value).__name__
    return f"{name}({one_line(text, _LONGEST_LINE - len(name) - 2)})"
