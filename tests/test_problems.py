"""Unreadable parts, one-line texts, and messages of several problems."""

from __future__ import annotations

import datetime as dt
import threading
from decimal import Decimal
from typing import Any

import pytest

from sim.errors import InputError, Problem
from sim.problems import UNKNOWN, check_type, known, problem, shown, shown_key


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


class Silent:
    """Object whose representation fails."""

    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (threading.Lock(), "a lock"),
        (object(), "an object"),
        ([object()], "[an object]"),
        (len, "a builtin_function_or_method"),
        (Silent(), "a Silent"),
        (Decimal("1.5"), "Decimal('1.5')"),
        (None, "None"),
    ],
)
def test_shown_object_is_named_without_its_address(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize("value", [10**400, -(10**400)])
def test_whole_number_beyond_every_float_is_refused_where_a_float_is_expected(value: int) -> None:
    with pytest.raises(InputError, match=r"^spot = an integer of more than 60 digits \(is too large"):
        check_type("spot", value, (int, float), "a price", "Try spot=6900.0.")
    check_type("paths", value, int, "a count", "Try paths=100.")


def test_long_keys_and_reasons_are_cut() -> None:
    assert len(str(Problem("x" * 10_000, "", "", "no such file"))) < 600
    line = str(Problem("x.toml", "k" * 10_000, "1", "y" * 10_000, "z" * 10_000))
    assert line.startswith(f"x.toml: {'k' * 100}")
    assert len(line) < 2500


def test_message_lists_fifty_problems_by_place_and_counts_the_others() -> None:
    problems = [Problem(f"{'ab'[i % 2]}.toml", f"levels[{i}]", "", "is wrong") for i in range(10_000)]
    error = InputError(problems)
    assert error.problems == tuple(problems)
    lines = str(error).splitlines()
    assert lines[:2] == ["a.toml: levels[0] (is wrong).", "a.toml: levels[2] (is wrong)."]
    assert all(line.startswith("a.toml") for line in lines[:-1])
    assert (len(lines), lines[-1]) == (51, "and 9,950 more.")
    assert len(repr(error)) < 130
    few = InputError([problems[0], problems[1], problems[2]])
    assert [line[0] for line in str(few).splitlines()] == ["a", "a", "b"]
