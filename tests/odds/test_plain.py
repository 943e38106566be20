"""Odds in plain form, against the table of odds."""

from __future__ import annotations

from support.sample_outcomes import SampleRun

from sim.odds.plain import plain_odds


def test_odds_in_plain_form_are_those_of_the_table() -> None:
    run = SampleRun()
    found = plain_odds(run.outcomes, run.axes)
    assert found["paths"] == "2000"
    table = run.odds.set_index(["event", "level", "dealers"])["probability"]
    for event, name in (("first_upper", "7100.0 first"), ("first_lower", "6800.0 first")):
        level = float(name.split()[0])
        with_dealers, without = (100 * table[event, level, world] for world in ("with", "without"))
        assert found[name] == f"{with_dealers:.4f}% with dealers, {without:.4f}% without"
    for level in run.axes.levels:
        with_dealers, without = (100 * table["touch", level, world] for world in ("with", "without"))
        assert found[f"touch {level!r}"] == f"{with_dealers:.4f}% with dealers, {without:.4f}% without"
