from __future__ import annotations

import time

import pytest

from sim.batch.heartbeats import Heartbeats


def test_silent_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told by this machine's clock, whatever the scheduler's is; one that comes back is none any more."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    heartbeats = Heartbeats(30)
    assert heartbeats.silent({"a": {"last_seen": 5e9}, "b": {"last_seen": 7.0}}) == []
    now[0] = 31
    assert heartbeats.silent({"a": {"last_seen": 5e9}, "b": {"last_seen": 8.0}}) == ["a"]
    assert heartbeats.silent({"b": {"last_seen": 8.0}}) == []
    assert heartbeats.silent({"a": {"last_seen": 5e9}, "b": {"last_seen": 8.0}}) == []
