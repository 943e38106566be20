"""Rows of a book that are made in Python, and what is wrong with them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from sim.book.rows import BookRows
from sim.errors import InputError
from sim.scenario.file import load_scenario
from sim.scenario.model import Dealers


def rows(**columns: Any) -> BookRows:
    usual = {
        "file": "own.csv",
        "groups": ("wall", "puts"),
        "group": np.array([0, 1], dtype=np.int32),
        "is_call": np.array([True, False]),
        "strike": np.array([7000.0, 6900.0]),
        "expiry": np.array(["2026-03-20", "2026-02-20"], dtype="datetime64[D]"),
        "at_open": np.array([False, True]),
        "iv": np.array([0.12, 0.16]),
        "contracts": np.array([1000.0, -500.0]),
        "carry": np.array([0.0, 0.03]),
    }
    return BookRows(**{**usual, **columns})


def test_positions_have_no_flaw() -> None:
    assert rows().flaw == ""
    assert rows(group=np.array([1, 1]), strike=np.array([1e7, 1e-3], dtype=np.float32)).flaw == ""
    assert rows().taken(np.array([1])).flaw == ""


@pytest.mark.parametrize("unit", ["h", "s", "ms", "ns", "25s"])
def test_days_of_any_finer_unit_are_taken(unit: str) -> None:
    days = rows().expiry
    assert rows(expiry=days.astype(f"datetime64[{unit}]")).expiry.dtype == "datetime64[D]"
    assert rows(expiry=days.astype(f"datetime64[{unit}]")) == rows()


@pytest.mark.parametrize(
    "expiry",
    [
        np.array(["2026-03-20", "2026-02-20"], dtype="datetime64[W]"),
        np.array(["2026-03", "2026-02"], dtype="datetime64[M]"),
        np.array(["2026-03-20T09", "2026-02-20T00"], dtype="datetime64[h]"),
        np.array(["2026-03-20T09:30:01", "2026-02-20"], dtype="datetime64[ns]"),
    ],
)
def test_times_that_are_no_days_are_refused(expiry: Any) -> None:
    assert rows(expiry=expiry).flaw == "its column expiry is no array of 2 dates"


def test_small_numbers_are_widened() -> None:
    made = rows(contracts=np.array([1000, -500], dtype=np.float16), group=np.array([0, 1]))
    assert made == rows()
    assert (made.contracts.dtype, made.group.dtype) == (np.float64, np.int32)


def test_the_arrays_given_stay_the_callers_own() -> None:
    """Nor does a change of one of them, or of a view, change a book whose hash is known."""
    whole = np.array([7000.0, 6900.0, 1.0])
    made = rows(strike=whole[:2])
    before = made.digest
    whole[0] = 5000.0
    assert whole.flags.writeable
    assert made.strike.tolist() == [7000.0, 6900.0]
    assert rows(strike=made.strike).digest == before


def test_a_mask_is_refused() -> None:
    with pytest.raises(InputError, match=r"iv .*without a mask is expected, not a MaskedArray"):
        rows(iv=np.ma.array([0.12, 0.16], mask=[True, False]))


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"strike": np.array([7000.0, np.nan])}, "its column strike has another number"),
        ({"strike": np.array([7000.0, -6900.0])}, "its column strike has another number"),
        ({"strike": np.array([7000.0])}, "its column group is no array of 1 whole numbers"),
        ({"strike": np.array(["7000", "6900"])}, "its column strike is no array of 2 floats"),
        ({"iv": np.array([0.12, 0.0])}, "a volatility lies between 0.01 and 5"),
        ({"contracts": np.array([np.inf, 0.0])}, "contracts lie between -1e9 and 1e9"),
        ({"carry": np.array([np.nan, 0.0])}, "a carry lies between -1 and 1"),
        ({"group": np.array([0, 2])}, "numbers a group that it has no name for"),
        ({"group": np.array([0, -1])}, "numbers a group that it has no name for"),
        ({"group": np.array([0.0, 1.0])}, "its column group is no array of 2 whole numbers"),
        ({"groups": ("wall", "wall")}, "two of its groups have one name"),
        ({"groups": ("wall", "the puts")}, "its groups are no tuple of names"),
        ({"groups": None}, "its groups are no tuple of names"),
        ({"expiry": np.array(["2026-03-20", "NaT"], dtype="datetime64[D]")}, "a row without a date"),
        ({"expiry": np.array([1.0, 2.0])}, "its column expiry is no array of 2 dates"),
        ({"is_call": np.array([1.0, 0.0])}, "its column is_call is no array of 2 true and false"),
        ({"file": None}, "the name of its file is no Unicode text"),
        ({"file": os.fsdecode(b"\xff.csv")}, "the name of its file is no Unicode text"),
    ],
)
def test_rows_that_are_no_positions_are_refused(columns: dict[str, Any], why: str) -> None:
    odd = rows(**columns)
    assert why in odd.flaw
    with pytest.raises(InputError) as caught:
        load_scenario("no-dealers", {"dealers.book": odd})
    (problem,) = caught.value.problems
    assert (problem.where, problem.key, why in problem.why) == ("overrides", "dealers.book", True)
    assert str(caught.value).isprintable()
    with pytest.raises(ValidationError):
        Dealers(book=odd)


def test_a_column_that_is_no_array_is_refused() -> None:
    with pytest.raises(InputError, match=r"^strike = \[7000\.0\] \(a NumPy array is expected, not a list\)"):
        rows(strike=[7000.0])
