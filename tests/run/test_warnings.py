"""Warnings about fits of other days; those about counts, books and maps are tested with the runs that have them."""

from __future__ import annotations

import datetime as dt

from sim.run.warnings import date_notes
from sim.scenario.fragments import Fragment


def fitted(kind: str, last: dt.date) -> Fragment:
    return Fragment(f"{kind}.toml", {"volatility": {"annual": 0.2}}, {"kind": kind, "last": last})


def test_fits_to_other_days_are_remarked() -> None:
    start = dt.date(2026, 2, 10)
    assert date_notes([fitted("volatility", start), fitted("impact", dt.date(2026, 1, 5))], start) == []
    assert date_notes([Fragment("own.toml", {}, {}), Fragment("own.toml", {}, {"last": "soon"})], start) == []
    (late,) = date_notes([fitted("impact", dt.date(2026, 2, 11))], start)
    assert "impact.toml was fitted to data up to 2026-02-11, and so knows what came after the start" in late
    (early,) = date_notes([fitted("volatility", dt.date(2020, 3, 16))], start)
    assert (
        "the volatility of the session after 2020-03-16, and paths start at the close of 2026-02-10" in early
    )
