"""Unreadable parts and one-line texts."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from sim.problems import UNKNOWN, known, problem, shown, shown_key


@pytest.mark.parametrize("other", [0, 1.5, "x", None, dt.date(2026, 2, 10), UNKNOWN])
def test_every_comparison_with_unknown_is_false(other: Any) -> None:
    for comparison in (
        other == UNKNOWN,
        other != UNKNOWN,
        other > UNKNOWN,
        other >= UNKNOWN,
        other < UNKNOWN,
        other <= UNKNOWN,
        other == UNKNOWN,
        other != UNKNOWN,
        other is not None and other < UNKNOWN,
        other is not None and other >= UNKNOWN,
    ):
        assert comparison is False


def test_arithmetic_attributes_and_items_stay_unknown() -> None:
    assert not known(abs(UNKNOWN + 1 - 2), 1 + UNKNOWN, 2 * UNKNOWN / 3, UNKNOWN.market.spot)
    assert list(UNKNOWN) == []
    assert not known(sum([0.5, UNKNOWN]))
    assert known(0, None, "")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (7000, "7000"),
        (6941.81, "6941.81"),
        (float("nan"), "nan"),
        ("a\n\x1b", '"a\\n\\u001b"'),
        ("é", '"é"'),
        ("\u2028", '"\\u2028"'),
        (dt.date(2026, 2, 10), "2026-02-10"),
        ([1, "x", [2.0]], '[1, "x", [2.0]]'),
        ({"a b": 1, "c": {}}, '{ "a b" = 1, c = {  } }'),
    ],
)
def test_shown(value: object, text: str) -> None:
    assert shown(value) == text


def test_shown_is_short() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    for value in ("x" * 10**6, list(range(10**6)), {str(i): i for i in range(1000)}, nested):
        assert len(shown(value)) <= 60
    while nested:
        nested = nested[0]


def test_shown_integer_beyond_what_python_prints() -> None:
    assert shown(-(10**5000)) == "an integer of more than 60 digits"


def test_shown_key() -> None:
    assert [shown_key("gex_bn"), shown_key("a b"), shown_key("")] == ["gex_bn", '"a b"', '""']


def test_problem_without_value() -> None:
    assert str(problem("a.b", None, "is missing", "Try it.")) == "a.b (is missing). Try it."
    assert str(problem("a.b", "x", "is wrong")) == 'a.b = "x" (is wrong).'
