"""Numbers as spreadsheets write them."""

from __future__ import annotations

import numpy as np
import pytest

from sim.files.number_cells import comma_is_decimal, number, numbers, plain_numbers


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


@pytest.mark.parametrize("digits", range(1, 25))
def test_every_number_is_the_nearest_one(digits: int) -> None:
    """Fast readers of other libraries are an ulp off for some numbers of many digits."""
    draw = np.random.default_rng(digits)
    texts = [f"{x:.{digits}f}" for x in draw.uniform(0, 10_000, 2_000)] + [
        f"{x:.{digits}e}" for x in draw.normal(size=200)
    ]
    expected = [float(text) for text in texts]
    assert numbers(texts, False).tolist() == expected
    assert plain_numbers(texts).tolist() == expected


def test_plain_numbers_are_those_that_programs_write() -> None:
    found = plain_numbers(["1", "-2.5", "1e-3", ".5", "", "1,5", "nan", "inf", "1_000", "1e999", " 1"])
    np.testing.assert_equal(found, [1.0, -2.5, 1e-3, 0.5, *[np.nan] * 7])
