"""What a manifest can record, told from what it cannot."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from support.nested import nested_list

from sim.files.plain_values import DEEPEST, MOST_VALUES, nests_too_deep, record_problems

RECURSIVE: list[Any] = [1]
RECURSIVE.append(RECURSIVE)
SHARED: list[Any] = [1]
for _ in range(DEEPEST - 2):
    SHARED = [SHARED] * 2


@pytest.mark.parametrize(
    "value",
    [
        {"a": {"b": [1, 2.5, "é", True, dt.date(2026, 2, 10), dt.time(9, 30)]}},
        {"fit": {"last": dt.datetime(2026, 2, 10, 16, 0), "n": 2**64, "long": "x" * 10**6}},
        [],
        nested_list(DEEPEST),
    ],
)
def test_plain_values_can_be_recorded(value: Any) -> None:
    assert record_problems(value) == []


@pytest.mark.parametrize(
    ("value", "key", "why"),
    [
        ({"fit": {"error": float("nan")}}, "fit.error", "finite"),
        ({"fit": {"rows": [{"x y": float("-inf")}]}}, 'fit.rows[0]."x y"', "finite"),
        ({"fit": {"n": 10**400}}, "fit.n", "64 bits"),
        ({"name": "\udcff"}, "name", "Unicode"),
        ({"a": {"\udcff": 1}}, "a", "Unicode"),
        ({"a": {1: 1}}, "a", "no value that TOML has"),
        ({"a": {"b": None}}, "a.b", "no value that TOML has"),
        ({"a": {"b": object()}}, "a.b", "no value that TOML has"),
        ({"b": nested_list(DEEPEST)}, "b", "nested"),
        ({"b": nested_list(100_000)}, "b", "nested"),
        ({"b": RECURSIVE}, "b", "nested"),
        ({"b": SHARED}, "", f"more than {MOST_VALUES:,} values"),
    ],
)
def test_what_no_manifest_can_hold_is_told_with_its_key(value: Any, key: str, why: str) -> None:
    (found,) = record_problems(value)
    assert (found.key, why in found.why) == (key, True)
    assert found.hint
    assert len(str(found)) < 300


def test_depth_is_counted_through_tables_and_lists() -> None:
    assert not nests_too_deep(nested_list(DEEPEST))
    assert nests_too_deep(nested_list(DEEPEST + 1))
    assert nests_too_deep({"a": nested_list(DEEPEST)})
    assert not nests_too_deep("[[[")
