from __future__ import annotations

import threading

import pytest

from sim.batch.patience import Deadline, within


def test_a_call_in_time() -> None:
    assert within(10, lambda: 5) == 5


def test_what_a_call_raises() -> None:
    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        within(10, fail)


def test_a_call_that_takes_too_long() -> None:
    release = threading.Event()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.1 s"):
        within(0.1, lambda: release.wait(30))
    release.set()


def test_a_deadline_that_has_passed() -> None:
    assert Deadline(0).left == 0
