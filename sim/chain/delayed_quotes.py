"""Cboe's delayed quotes: JSON text with the index's price and a list of its options."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections import Counter
from typing import Any, Final, NoReturn

import numpy as np
import pandas as pd

from sim.chain.option_chain import LACKS_FIELDS, NO_OBJECT, SPOT_HINT, ChainFormat, StatedChain
from sim.chain.quote_time import AS_OF_HINT, checked_quote_time
from sim.errors import InputError, Problem
from sim.market.calendar import NEW_YORK
from sim.problems import shown

_NEEDED: Final = ("option", "iv", "open_interest")
_NUMBERS: Final = ("bid", "ask", "iv", "open_interest", "gamma")
_HINT: Final = "Try downloading the file anew."


def is_json(text: str) -> bool:
    """Whether a text begins as JSON does, with a table or a list."""
    return text.lstrip("\ufeff \t\r\n")[:1] in ("{", "[")


def read_delayed_quotes(text: str, where: str, as_of: dt.datetime | None, spot: float | None) -> StatedChain:
    """Content of a file of delayed quotes: timestamp in UTC, data.options, data.current_price.

    Without a timestamp the time of the last trade, in New York time, is the quote time; without a current
    price the close is the spot.

    where : name of the file in messages.
    as_of, spot : quote time and spot if they are known; they are then not looked for in the text.

    Errors: `InputError`.
    """
    content = _parsed(text, where)
    data = content.get("data") if isinstance(content, dict) else None
    if not isinstance(data, dict):
        raise _refused(where, "is JSON, but no delayed quotes: it has no table data", _HINT)
    problems: list[Problem] = []
    entries = data.get("options")
    if not isinstance(entries, list):
        why = "must be a list" if "options" in data else "is missing"
        problems.append(Problem(where, "data.options", "", why, _HINT))
    elif not entries:
        problems.append(Problem(where, "data.options", "", "is an empty list: it holds no option", _HINT))
    if as_of is None:
        try:
            as_of = _quoted(content, data, where)
        except InputError as error:
            problems += error.problems
    if spot is None:
        key = "current_price" if data.get("current_price") is not None else "close"
        price = data.get(key)
        if price is None:
            why = "is missing, and so is data.close"
            problems.append(Problem(where, "data.current_price", "", why, SPOT_HINT))
        else:
            spot = _number(price)
            if not spot > 0.0:
                problems.append(Problem(where, f"data.{key}", shown(price), "is no price above 0", SPOT_HINT))
    if problems:
        raise InputError(problems)
    assert spot is not None
    assert as_of is not None
    assert isinstance(entries, list)
    name = next((x for x in (content.get("symbol"), data.get("symbol")) if isinstance(x, str)), "")
    title = name.lstrip("_^")
    return StatedChain(title if title.isprintable() else shown(title)[1:-1], spot, as_of, _stated(entries))


def _parsed(text: str, where: str) -> Any:
    def no_constant(name: str) -> NoReturn:
        raise _refused(where, f"is not valid JSON: {name} is no number", _HINT)

    def one_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) < len(pairs):
            twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
            raise _refused(where, f"is no delayed quotes: a table has the key {shown(twice)} twice", _HINT)
        return table

    try:
        text = text.removeprefix("\ufeff")
        return json.loads(text, parse_constant=no_constant, object_pairs_hook=one_of_each)
    except json.JSONDecodeError as error:
        at = f"{where}, line {error.lineno}, column {error.colno}"
        raise _refused(at, f"is not valid JSON: {error.msg}", _HINT) from error
    except ValueError as error:
        raise _refused(where, "is not valid JSON: a number has too many digits", _HINT) from error
    except RecursionError as error:
        raise _refused(where, "is not valid JSON: it is nested too deeply", _HINT) from error


def _quoted(content: dict[str, Any], data: dict[str, Any], where: str) -> dt.datetime:
    key, value = "timestamp", content.get("timestamp")
    zone: dt.tzinfo = dt.UTC
    if value is None and data.get("last_trade_time") is not None:
        key, value, zone = "data.last_trade_time", data["last_trade_time"], NEW_YORK
    if value is None:
        raise InputError([Problem(where, key, "", "is missing, and so is data.last_trade_time", AS_OF_HINT)])
    try:
        if len(value) <= len("2025-09-03T"):
            raise ValueError  # a day alone is none of the instants that it could be
        instant = dt.datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        why = "is no date and time such as 2025-09-03 20:18:00"
        raise InputError([Problem(where, key, shown(value), why, AS_OF_HINT)]) from error
    return checked_quote_time(instant if instant.tzinfo else instant.replace(tzinfo=zone), where)


def _stated(entries: list[Any]) -> pd.DataFrame:
    """Options of the list as `judged_options` takes them."""
    flaws = [_flaw(entry) for entry in entries]
    tables = [{} if flaw else entry for flaw, entry in zip(flaws, entries, strict=True)]
    symbols = [table.get("option") for table in tables]
    columns = {
        "line": np.arange(1, len(entries) + 1, dtype=np.int64),
        "flaw": np.array(flaws, dtype=object),
        "symbol": pd.Series([x if isinstance(x, str) else "" for x in symbols], dtype=object),
    }
    values = {name: np.array([_number(table.get(name)) for table in tables]) for name in _NUMBERS}
    return pd.DataFrame({**columns, **values})


def _flaw(entry: Any) -> str:
    if not isinstance(entry, dict):
        return NO_OBJECT
    return "" if all(name in entry for name in _NEEDED) else LACKS_FIELDS


def _number(value: Any) -> float:
    """Finite number of a JSON value; NaN for any other value."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    try:
        number = float(value)
    except OverflowError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def _refused(where: str, why: str, hint: str) -> InputError:
    return InputError([Problem(where, "", "", why, hint)])


DELAYED_QUOTES: Final = ChainFormat("Cboe's delayed-quotes JSON", "is no JSON", is_json, read_delayed_quotes)
