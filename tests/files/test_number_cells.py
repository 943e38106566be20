"""Numbers as spreadsheets write them."""

from __future__ import annotations

import numpy as np
import pytest

from sim.files.number_cells import comma_is_decimal, number, numbers


@pytest.mark.parametrize(
    ("cell", "point", "comma"),
    [
        ("0", 0.0, 0.0),
        ("-12", -12.0, -12.0),
        ("+7", 7.0, 7.0),
        ("1e3", 1000.0, 1000.0),
        ("0.1368", 0.1368, np.nan),
        ("0,1368", np.nan, 0.1368),
        (".5", 0.5, np.nan),
        (",5", np.nan, 0.5),
        ("2600.00", 2600.0, np.nan),
        ("2600,00", np.nan, 2600.0),
        ("89,468,957", 89_468_957.0, np.nan),
        ("89.468.957", np.nan, 89_468_957.0),
        ("1,234.5", 1234.5, np.nan),
        ("1.234,5", np.nan, 1234.5),
        ("1.234", 1.234, 1234.0),
        ("1,234", 1234.0, 1.234),
        ("0.125", 0.125, np.nan),
        ("1 234", 1234.0, 1234.0),
        ("1\u00a0234,5", np.nan, 1234.5),
        ("1'234.5", 1234.5, np.nan),
        ("1,23,456", np.nan, np.nan),
        ("12,34.5", np.nan, np.nan),
        ("", np.nan, np.nan),
        ("--", np.nan, np.nan),
        ("nan", np.nan, np.nan),
        ("inf", np.nan, np.nan),
        ("1e999", np.nan, np.nan),
        ("0x1F", np.nan, np.nan),
        ("1_000", np.nan, np.nan),
        ("True", np.nan, np.nan),
        ("\u0661\u0662", np.nan, np.nan),
        ("9" * 400, np.nan, np.nan),
        ("14.2%", np.nan, np.nan),
    ],
)
def test_numbers(cell: str, point: float, comma: float) -> None:
    for decimal_comma, expected in ((False, point), (True, comma)):
        np.testing.assert_equal(number(cell, decimal_comma), expected)
        # one cell among others reads as it does alone
        np.testing.assert_equal(numbers(["1", cell, "x", "2"], decimal_comma), [1.0, expected, np.nan, 2.0])


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([], False),
        (["1", "x", ""], False),
        (["0,5"], True),
        (["0.5", "0,5"], False),
        (["0.5", "0,5", "12,25"], True),
        (["1,234"], False),
        (["1,234", "1.234"], False),
        (["1,234", "1.234,5"], True),
        (["1,234", "12.5"], False),
    ],
)
def test_decimal_mark(cells: list[str], expected: bool) -> None:
    assert comma_is_decimal(cells) is expected


def test_no_numbers() -> None:
    assert numbers([], False).shape == numbers([], True).shape == (0,)
