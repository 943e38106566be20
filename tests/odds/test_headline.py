"""Odds as text: decimals that mean something, and a width that every terminal has."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from sim.odds.headline import decimals, headline_table
from sim.run.simulation import Result, simulate


@pytest.fixture(scope="module")
def result() -> Result:
    return simulate("siege-of-7000", paths=2000, seed=3, engine="numpy", threads=1)


def test_headline_odds_are_printed_whole(result: Result) -> None:
    table = result.headline_odds
    assert list(table.columns) == ["event", "level", "with", "without", "difference"]
    assert len(table) == 3 + len(result.axes.levels)
    text = str(table)
    assert "..." not in text
    assert "\\" not in text
    assert max(map(len, text.splitlines())) <= 80
    odds = result.odds.set_index(["event", "dealers"]).sort_index()
    for column, world in (("with", "with"), ("without", "without"), ("difference", "difference")):
        row = odds.loc["first_upper", world]
        cell = table.set_index("event").loc["first_upper", column]
        found = re.fullmatch(r"([+-]?[\d.]+)%? ± ([\d.]+)", cell)
        assert found is not None
        stated, half = found.groups()
        assert float(stated) == pytest.approx(100 * row["probability"], abs=0.051)
        assert float(half) == pytest.approx(50 * (row["ci_high"] - row["ci_low"]), abs=0.051)


def test_headline_odds_of_a_large_run_fit_too() -> None:
    rows = [
        {
            "event": event,
            "level": level,
            "dealers": dealers,
            "probability": p,
            "std_error": 4e-6,
            "ci_low": p - 1e-5,
            "ci_high": p + 1e-5,
        }
        for event, level in (("first_upper", 9_999_999.25), ("neither", np.nan), ("touch", 1e7))
        for dealers, p in (("with", 1.0), ("without", 1.0), ("difference", -1.0))
    ]
    text = str(headline_table(pd.DataFrame(rows)))
    assert "100.000% ± 0.001" in text
    assert "-100.000 ± 0.001" in text
    assert "9,999,999.25" in text
    assert max(map(len, text.splitlines())) <= 80


def errors(probability: float) -> dict[str, float]:
    return {"std_error": 4e-6, "ci_low": probability - 1e-5, "ci_high": probability + 1e-5}


@pytest.mark.parametrize(("std_error", "expected"), [(0.1, 1), (2e-3, 1), (9e-4, 2), (9e-5, 3), (1e-9, 3)])
def test_decimals(std_error: float, expected: int) -> None:
    assert decimals([std_error, std_error / 10]) == expected


def test_an_error_is_never_shown_as_none() -> None:
    """A touch that is all but certain has a small error, not no error."""
    shares = {"first_upper": (0.4, 7e-3), "touch": (0.995, 3e-4)}
    rows = [
        {
            "scenario": "s",
            "event": event,
            "level": 7100.0,
            "dealers": dealers,
            "probability": share,
            "std_error": half / 2,
            "ci_low": share - half,
            "ci_high": share + half,
        }
        for event, (share, half) in shares.items()
        for dealers in ("with", "without", "difference")
    ]
    table = headline_table(pd.DataFrame(rows)).set_index("event")
    assert table.loc["first_upper", "with"] == "40.0% ± 0.7"
    assert table.loc["touch", "with"] == "99.5% ± <0.1"
