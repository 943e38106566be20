"""Chains changed by hand: each change that would give a wrong book, or none, is one clear error."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.sample_options import chain_of, option

from sim.chain.book import book_of_chain
from sim.errors import InputError

CHAIN = chain_of(option(), option(type="put"), option(strike=6600.0))
OPTIONS = CHAIN.options


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"spot": 0.0}, "chain.spot = 0.0 (a price of the index from 0.001 to 1e+07 is expected)"),
        ({"spot": "6400"}, 'chain.spot = "6400" (a price of the index is expected, not a str)'),
        ({"spot": np.nan}, "chain.spot = nan (a price"),
        ({"spot": 1e308}, "chain.spot = 1e+308 (a price"),
        ({"quoted": dt.datetime(2025, 9, 3, 16)}, "chain.quoted = 2025-09-03T16:00:00 (a time with its zone"),
        ({"quoted": pd.NaT}, "chain.quoted"),
        ({"refused": None}, "chain.refused"),
        ({"source": None}, "chain.source"),
        ({"options": [1]}, "chain.options = [1] (a DataFrame is expected, not a list)"),
        ({"options": OPTIONS.drop(columns="iv")}, "chain.options (has not one column iv, but 0)"),
        ({"options": pd.concat([OPTIONS, OPTIONS["iv"]], axis=1)}, "has not one column iv, but 2"),
        (
            {"options": pd.concat([OPTIONS, OPTIONS])},
            'chain.options.strike, row 3 = "6500.0" (its option comes twice',
        ),
    ],
)
def test_a_wrong_part_is_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        book_of_chain(dataclasses.replace(CHAIN, **changes))
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("column", "cells", "expected"),
    [
        (
            "type",
            OPTIONS["type"].str.upper(),
            'row 0 = "CALL" ("call" or "put" is expected; so are 2 more rows)',
        ),
        ("type", [1, 2, 3], "is no column of texts, but of int64"),
        ("open_interest", [1.0, np.nan, 3.0], 'row 1 = "nan" (contracts from 0 to 100 million are expected)'),
        ("open_interest", [1.0, 2.0, -3.0], 'row 2 = "-3.0"'),
        ("open_interest", [1.0, 2.0, np.inf], 'row 2 = "inf"'),
        ("open_interest", np.array([1, 2, 3], dtype=np.int8), "is no column of float64 numbers, but of int8"),
        ("strike", [0.0, 6500.0, 6600.0], 'row 0 = "0.0" (a strike above 0 is expected)'),
        ("strike", ["6500", "6500", "6600"], "is no column of float64 numbers"),
        ("iv", [np.inf, 0.1, 0.1], 'row 0 = "inf"'),
        ("gamma", [np.inf, 0.1, 0.1], 'row 0 = "inf"'),
        ("bid", [-1.0, 0.1, 0.1], 'row 0 = "-1.0"'),
        ("expiry", OPTIONS["expiry"] + pd.Timedelta(hours=1), "a day without a time is expected"),
        ("expiry", OPTIONS["expiry"].dt.tz_localize("UTC"), "is no column of dates without a zone"),
        ("expiry", pd.Series([pd.NaT, *OPTIONS["expiry"][1:]]), 'row 0 = "NaT"'),
        ("root", [None, "SPXW", "SPXW"], "is no column of texts"),
    ],
)
def test_a_wrong_column_is_refused(column: str, cells: Any, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        book_of_chain(dataclasses.replace(CHAIN, options=OPTIONS.assign(**{column: cells})))
    assert str(caught.value).startswith(f"chain.options.{column}")
    assert expected in str(caught.value)


def test_a_change_in_place_is_seen() -> None:
    chain = chain_of(option(), option(type="put"))
    chain.options.loc[0, "open_interest"] = np.nan
    with pytest.raises(InputError, match="open_interest, row 0"):
        book_of_chain(chain)


def test_harmless_changes_are_taken() -> None:
    whole = OPTIONS.assign(open_interest=np.int64(1000), type=OPTIONS["type"].astype("category"))
    chain = dataclasses.replace(CHAIN, options=whole, spot=int(CHAIN.spot), quoted=pd.Timestamp(CHAIN.quoted))
    assert book_of_chain(chain).rows == book_of_chain(dataclasses.replace(CHAIN, spot=int(CHAIN.spot))).rows
