"""Daily data from CSV files: prices, VIX and published gamma exposure, checked row by row."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from sim.errors import InputError, Problem
from sim.input_files import InputKind, csv_cells, file_refusal, note_lines, place_name

OHLC: Final = ("open", "high", "low", "close")
_KIND: Final = InputKind("table of days", 100_000_000, "Try a CSV file with a column of dates, 2026-02-10 each.")


@dataclass(frozen=True, eq=False)
class DailyTable:
    """Rows of a file by date.

    Attributes
    ----------
    source : name of the file, without folders.
    rows : columns asked for, float64; index of dates, ascending, none of them twice.
    dropped : rows without a number in some column, left out.
    """

    source: str
    rows: pd.DataFrame
    dropped: int


def read_daily(path: str | os.PathLike[str], columns: Sequence[str], *, positive: Sequence[str]) -> DailyTable:
    """Daily table of a CSV file with a column of dates, 2026-02-10 each.

    Parameters
    ----------
    path : the file; names of columns in any case.
    columns : those wanted, in lower case.
    positive : those of them that must be above zero.

    Raises
    ------
    InputError : with every kind of problem; rows that are empty but for their date are no problem, but counted.
    """
    where = place_name(path)
    table = csv_cells(path, where, _KIND)
    if table.empty:
        raise file_refusal(where, "has no rows", _KIND.hint)
    missing = [column for column in ("date", *columns) if column not in table]
    if missing:
        why = f"has no column {', '.join(missing)}; its columns are {', '.join(map(str, table.columns[:12]))}"
        raise InputError([Problem(where, "", "", why, "Try the right file.")])
    problems: list[Problem] = []
    dates = pd.to_datetime(table["date"].str[:10], format="%Y-%m-%d", errors="coerce")
    note_lines(problems, where, table["date"], dates.isna().to_numpy(), "is no date", "Try it as 2026-02-10.")
    repeated = (dates.duplicated() & dates.notna()).to_numpy()
    note_lines(problems, where, table["date"], repeated, "comes twice", "Try leaving one of the rows out.")
    rows = pd.DataFrame(index=pd.DatetimeIndex(dates))
    for column in columns:
        cells = table[column].str.replace(",", "", regex=False)
        numbers = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64)
        empty = cells.isin(["", "null", "nan", "NaN", "NA", "."]).to_numpy()
        wrong = ~empty & ~np.isfinite(numbers)
        note_lines(problems, where, table[column], wrong, "is no number", "Try a plain number.")
        if column in positive:
            why = "a number above zero is expected"
            note_lines(problems, where, table[column], numbers <= 0, why, "Try leaving the row out.")
        rows[column] = np.where(empty, np.nan, numbers)
    if {"high", "low"} <= set(columns):
        upside = (rows["high"] < rows["low"]).to_numpy()
        note_lines(problems, where, table["high"], upside, "is below the day's low", "Try leaving the row out.")
    if problems:
        raise InputError(problems)
    whole = rows.dropna().sort_index()
    if whole.empty:
        raise InputError([Problem(where, "", "", "has no row with every number", "Try the right file.")])
    return DailyTable(Path(path).name, whole, len(rows) - len(whole))


def window(
    index: pd.DatetimeIndex, since: dt.date | None, as_of: dt.date | None, where: str
) -> tuple[pd.Timestamp, pd.Timestamp]:
    """First and last date to use, the last one a date of the index.

    since : None: the first there is.
    as_of : None: the last there is.

    Errors: `InputError`.
    """
    last = index[-1] if as_of is None else pd.Timestamp(as_of)
    if last not in index:
        beside = [str(day.date()) for day in (*index[index < last][-1:], *index[index > last][:1])]
        why = f"has no row of {last.date()}"
        raise InputError([Problem(where, "--as-of", "", why, f"Try {' or '.join(beside)}.")])
    first = index[0] if since is None else pd.Timestamp(since)
    if first >= last:
        why = f"is not before {last.date()}"
        raise InputError([Problem("--since", "", str(first.date()), why, "Try an earlier date.")])
    return first, last
