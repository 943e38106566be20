"""Rules of an option chain, for one that was not read from a file or was changed by hand since."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from sim.book.limits import LARGEST_PRICE, SMALLEST_PRICE
from sim.chain.option_chain import (
    COLUMNS,
    LARGEST_GAMMA,
    LARGEST_IV,
    LARGEST_OPEN_INTEREST,
    SPOT_HINT,
    OptionChain,
)
from sim.chain.quote_time import AS_OF_HINT, checked_quote_time
from sim.errors import InputError, Problem
from sim.problems import check_type, problem, type_problem

_HINT: Final = "Try the options as read_chain gives them."
_SAME: Final = ["root", "expiry", "type", "strike"]
# Lowest and highest number of each column, whether NaN is one, and what a number beyond them is told.
_RANGES: Final = {
    "strike": (0.0, np.inf, False, "a strike above 0 is expected"),
    "bid": (0.0, np.inf, True, "a price of at least 0 is expected"),
    "ask": (0.0, np.inf, True, "a price of at least 0 is expected"),
    "iv": (0.0, LARGEST_IV, True, "a volatility from 0 to 100, or NaN, is expected"),
    "open_interest": (0.0, LARGEST_OPEN_INTEREST, False, "contracts from 0 to 100 million are expected"),
    "gamma": (0.0, LARGEST_GAMMA, True, "a gamma from 0 to 100, or NaN, is expected"),
}


def refuse_wrong_chain(chain: OptionChain) -> None:
    """Refuse a chain whose parts are not as `OptionChain` describes them; one that was read always is right.

    Errors: InputError with every problem.
    """
    problems = [*_part_problems(vars(chain)), *_option_problems(chain.options)]
    if problems:
        raise InputError(problems)


def _part_problems(given: Mapping[str, Any]) -> Iterator[Problem]:
    for name in ("source", "title"):
        if not isinstance(given[name], str):
            yield type_problem(f"chain.{name}", given[name], "a text", f'Try {name}="".')
    try:
        check_type("chain.spot", given["spot"], (int, float), "a price of the index", SPOT_HINT)
        if not SMALLEST_PRICE <= given["spot"] <= LARGEST_PRICE:
            why = f"a price of the index from {SMALLEST_PRICE:g} to {LARGEST_PRICE:g} is expected"
            yield problem("chain.spot", given["spot"], why, SPOT_HINT)
    except InputError as failure:
        yield from failure.problems
    if not isinstance(given["quoted"], dt.datetime) or pd.isna(given["quoted"]):
        yield type_problem("chain.quoted", given["quoted"], "a time with its zone", AS_OF_HINT)
    else:
        try:
            checked_quote_time(given["quoted"], "chain.quoted")
        except InputError:
            why = "a time with its zone, in the years from 1990 to 2100, is expected"
            yield problem("chain.quoted", given["quoted"], why, AS_OF_HINT)
    if not isinstance(given["refused"], Mapping):
        yield type_problem("chain.refused", given["refused"], "counts by reason", "Try refused={}.")


def _option_problems(options: Any) -> Iterator[Problem]:
    """Problems of the table of options: its columns, then their kinds, then what they hold."""
    if not isinstance(options, pd.DataFrame):
        yield type_problem("chain.options", options, "a DataFrame", _HINT)
        return
    columns = options.columns.tolist()
    wrong = [name for name in COLUMNS if columns.count(name) != 1]
    if wrong:
        why = f"has not one column {wrong[0]}, but {columns.count(wrong[0])}"
        yield problem("chain.options", None, why, _HINT)
        return
    kinds = [found for name in COLUMNS if (found := _kind_problem(options[name]))]
    yield from kinds
    if kinds:
        return
    for name, (low, high, missing, why) in _RANGES.items():
        values = options[name].to_numpy(dtype=np.float64)
        right = (values >= low) & (values <= high) & np.isfinite(values) | missing & np.isnan(values)
        yield from _first_wrong(options[name], right if name != "strike" else right & (values > 0.0), why)
    sides = options["type"].isin(["call", "put"]).to_numpy()
    yield from _first_wrong(options["type"], sides, '"call" or "put" is expected')
    days = options["expiry"]
    yield from _first_wrong(
        days, (days == days.dt.normalize()).to_numpy(), "a day without a time is expected"
    )
    repeated = options.duplicated(_SAME).to_numpy()
    yield from _first_wrong(options["strike"], ~repeated, "its option comes twice")


def _kind_problem(column: pd.Series) -> Problem | None:
    name, kind = column.name, column.dtype
    if name in ("root", "type"):
        held, right = "texts", all(isinstance(cell, str) for cell in column)
    elif name == "expiry":
        held, right = "dates without a zone", isinstance(kind, np.dtype) and kind.kind == "M"
    else:
        # Smaller ones overflow, or round.
        held, right = "float64 numbers", kind in (np.dtype(np.float64), np.dtype(np.int64))
    why = f"is no column of {held}, but of {kind}"
    return None if right else problem(f"chain.options.{name}", None, why, _HINT)


def _first_wrong(column: pd.Series, right: Any, why: str) -> Iterator[Problem]:
    wrong = np.flatnonzero(~right)
    if len(wrong):
        key = f"chain.options.{column.name}, row {wrong[0]}"
        more = f"; so are {len(wrong) - 1:,} more rows" if len(wrong) > 1 else ""
        yield problem(key, str(column.iloc[wrong[0]]), f"{why}{more}", _HINT)
