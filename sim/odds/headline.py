"""Odds as text: few columns, as many decimals as their errors give a meaning to."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pandas as pd

from sim.files.terminal_text import for_stdout

COLUMNS = ("event", "level", "with", "without", "difference")


def price_text(price: float) -> str:
    """Price with thousands separators, and decimals where it has some."""
    return f"{price:,.2f}".rstrip("0").rstrip(".")


def decimals(std_errors: Iterable[float]) -> int:
    """Decimals of a percentage that are meaningful beside its largest standard error, a share."""
    return min(3, max(1, math.ceil(-math.log10(100 * max(std_errors)))))


def headline_table(odds: pd.DataFrame) -> pd.DataFrame:
    """Odds as a table of text, one row per event, at most 80 columns wide.

    odds : columns of `sim.odds.tables.odds_columns`.

    Columns: event, level, with, without (dealers; percent), difference (points); each ± half the width of its 95%
    interval, which is never shown as 0 unless it is; ± is +- where stdout has no such letter.
    """
    is_difference = odds["dealers"] == "difference"
    digits = {
        of_differences: decimals(odds.loc[is_difference == of_differences, "std_error"])
        for of_differences in (False, True)
    }
    either_way = for_stdout("±")
    rows: list[dict[str, str]] = []
    for _, worlds in odds.groupby(["event", "level"], sort=False, dropna=False):
        event, level = str(worlds["event"].iloc[0]), float(worlds["level"].iloc[0])
        row = {"event": event, "level": "" if math.isnan(level) else price_text(level)}
        for world in worlds.to_dict("records"):
            name = str(world["dealers"])
            points, half = 100 * world["probability"], 50 * (world["ci_high"] - world["ci_low"])
            sign, unit = ("+", "") if name == "difference" else ("", "%")
            places = digits[name == "difference"]
            row[name] = f"{points + 0.0:{sign}.{places}f}{unit} {either_way} {_half_text(half, places)}"
        rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _half_text(half: float, places: int) -> str:
    """Half-width in points, never 0 where it is not: "<0.1" for 0.03 with one decimal."""
    text = f"{half:.{places}f}"
    return f"<{10.0**-places:.{places}f}" if half > 0 and float(text) == 0 else text
