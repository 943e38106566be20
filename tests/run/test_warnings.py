"""Warnings about fits of other days; those about counts, books and maps are tested with the runs that have them."""

from __future__ import annotations

import datetime as dt

from sim.run.simulation import simulate
from sim.run.warnings import date_notes
from sim.scenario.file import load_scenario
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


def test_a_fragment_that_the_scenario_does_not_hold_is_no_silent_record() -> None:
    wild = Fragment("wild.toml", {"volatility": {"annual": 0.6, "quoted": "observed"}}, {})
    few = {"paths": 500, "engine": "numpy", "threads": 1}
    without = simulate("no-dealers", **few)
    named = simulate("no-dealers", fragments=[wild], **few)
    assert named.scenario.volatility.annual == 0.6
    assert named.outcomes != without.outcomes
    assert not [note for note in named.warnings if "wild.toml" in note]
    existing = load_scenario("no-dealers", {"volatility.quoted": "fundamental"})
    (note,) = [note for note in simulate(existing, fragments=[wild], **few).warnings if "wild.toml" in note]
    assert "holds none of the keys of wild.toml" in note
    held = load_scenario("no-dealers", (), [wild])
    assert not [note for note in simulate(held, fragments=[wild], **few).warnings if "wild.toml" in note]
