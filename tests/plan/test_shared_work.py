"""What cases share: values by key, within a limit of memory, from several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from sim.plan.shared_work import ENTRY_BYTES, SharedWork


class Builder:
    """Builds a key's value, which is the key, and counts how often."""

    def __init__(self) -> None:
        self.built: list[str] = []

    def get(self, shared: SharedWork, key: str, size: int = 1000) -> str:
        def build() -> str:
            self.built.append(key)
            return key * 2

        return shared.get(key, build, lambda value: {id(value): size})


def test_a_value_is_built_once() -> None:
    shared, builder = SharedWork(), Builder()
    assert [builder.get(shared, key) for key in "abab"] == ["aa", "bb", "aa", "bb"]
    assert builder.built == ["a", "b"]
    assert shared.bytes == 2 * (1000 + ENTRY_BYTES)


def test_the_least_recently_used_goes_first() -> None:
    shared, builder = SharedWork(3 * (1000 + ENTRY_BYTES)), Builder()
    for key in "abcad":
        builder.get(shared, key)
    assert shared.bytes == shared.most_bytes
    # b has gone, and brings c down
    for key in "adcb":
        builder.get(shared, key)
    assert builder.built == ["a", "b", "c", "d", "b"]


def test_what_is_too_large_is_not_kept_and_drives_nothing_out() -> None:
    shared, builder = SharedWork(5000), Builder()
    for key, size in (("a", 1000), ("b", 5001 - ENTRY_BYTES), ("a", 1000), ("b", 5001 - ENTRY_BYTES)):
        assert builder.get(shared, key, size) == key * 2
    assert builder.built == ["a", "b", "b"]
    builder.get(shared, "c", 5000 - ENTRY_BYTES)
    assert shared.bytes == 5000


def test_a_failure_is_raised_and_not_kept() -> None:
    shared, builder = SharedWork(), Builder()

    def fail() -> str:
        raise ValueError("no such value")

    for _ in range(2):
        with pytest.raises(ValueError, match="no such value"):
            shared.get("a", fail, lambda value: {})
    assert shared.bytes == 0
    assert builder.get(shared, "a") == "aa"


def test_threads() -> None:
    """Each is given its key's value and the bytes add up, whatever goes in and out meanwhile."""
    shared, builder = SharedWork(5 * (1000 + ENTRY_BYTES)), Builder()
    keys = [str(7 * i % 12) for i in range(4000)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda key: builder.get(shared, key), keys))
    assert found == [key * 2 for key in keys]
    assert shared.bytes == shared.most_bytes


def test_what_several_values_hold_counts_once_and_stays_counted() -> None:
    whole = 1000 + 10 + 2 * ENTRY_BYTES
    shared = SharedWork(whole + 20)
    shared.get("table", lambda: "table", lambda _: {1: 1000})
    shared.get("plan", lambda: "plan", lambda _: {1: 1000, 2: 10})
    assert shared.bytes == whole
    # the table's entry has gone, and the plan holds it still
    shared.get("more", lambda: "more", lambda _: {3: 20})
    assert shared.bytes == 1000 + 10 + 20 + 2 * ENTRY_BYTES
    # the plan has gone, and with it the table
    shared.get("other", lambda: "other", lambda _: {4: 5})
    assert shared.bytes == 20 + 5 + 2 * ENTRY_BYTES


def test_threads_that_build_side_by_side_are_given_the_same() -> None:
    shared = SharedWork()
    both_build = Barrier(2)

    def build() -> list[int]:
        both_build.wait(timeout=10)
        return []

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: shared.get("a", build, lambda value: {id(value): 10}), range(2))
    assert first is second
    assert shared.bytes == 10 + ENTRY_BYTES
