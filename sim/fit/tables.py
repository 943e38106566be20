"""Tables of market data from CSV files and DataFrames, in one shape, so that both are checked alike.

A file's cells are text; a DataFrame's columns may be numbers and times too. Names of columns are taken in lower case.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from sim.errors import InputError, Problem
from sim.files.input_files import (
    InputKind,
    csv_cells,
    file_refusal,
    note_lines,
    place_name,
    refuse_repeated_columns,
)
from sim.files.number_cells import comma_is_decimal, numbers
from sim.market.calendar import FIRST_DATE, LAST_DATE
from sim.problems import check_type, shown

Float64s = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Source = str | os.PathLike[str] | pd.DataFrame

# Repetitions that a fit may be asked for: their results are kept in memory.
MOST_COUNTED: Final = 100_000
_EMPTY: Final = ("", "null", "nan", "NaN", "NA", "N/A", ".", "-")


@dataclass(frozen=True, eq=False)
class MarketTable:
    """Columns of a file or of a DataFrame.

    Attributes
    ----------
    source : its name in results: that of the file without folders, or "DataFrame" and the argument's name.
    where : its name in messages: the path of the file, or for a DataFrame the same as `source`.
    row : name of its rows in messages: "line" of a file, from 1; "row" of a DataFrame, from 0.
    cells : columns by name, text or as the DataFrame has them; the index is the number of the row.
    """

    source: str
    where: str
    row: str
    cells: pd.DataFrame

    def chosen(self, rows: Flags) -> MarketTable:
        """Table of some of the rows; `rows` is (n,) bool."""
        return replace(self, cells=self.cells[rows])

    def refuse_without(self, columns: Sequence[str]) -> None:
        """Refuse a table that lacks a column.

        Errors: `InputError`.
        """
        missing = [column for column in columns if column not in self.cells]
        if not missing:
            return
        names = ", ".join(map(str, self.cells.columns[:12]))
        why = f"has no column {', '.join(missing)}; its columns are {names}"
        hint = (
            "Try the right file."
            if self.row == "line"
            else "Try frame.rename(columns={...}), or the right data."
        )
        raise InputError([Problem(self.where, "", "", why, hint)])

    def text(self, column: str) -> pd.Series:
        """Cells of a column as text (n,), without blanks around it; "" for empty cells."""
        cells = self.cells[column]
        if self.row == "line":
            return cells
        text = [
            "" if missing else str(cell).strip() for cell, missing in zip(cells, cells.isna(), strict=True)
        ]
        return pd.Series(text, index=cells.index, name=column, dtype=object)

    def is_text(self, column: str) -> bool:
        """Whether a column holds neither numbers nor times."""
        dtype = self.cells[column].dtype
        is_number = pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)
        return not (is_number or pd.api.types.is_datetime64_any_dtype(dtype))

    def decimal_comma(self, columns: Iterable[str]) -> bool:
        """Whether columns of text write their numbers with a decimal comma."""
        texts = (self.text(column) for column in columns if self.is_text(column))
        return comma_is_decimal(cell for text in texts for cell in text)

    def numbers(self, column: str, decimal_comma: bool) -> tuple[Float64s, Flags]:
        """Numbers of a column, NaN where a cell states none, and which cells are empty; (n,) each."""
        cells = self.cells[column]
        if self.is_text(column) or pd.api.types.is_datetime64_any_dtype(cells.dtype):
            text = self.text(column)
            return numbers(text.tolist(), decimal_comma), text.isin(_EMPTY).to_numpy()
        if pd.api.types.is_complex_dtype(cells.dtype):
            return np.full(len(cells), np.nan), np.zeros(len(cells), dtype=np.bool_)
        empty = cells.isna().to_numpy(dtype=np.bool_)
        values = cells.to_numpy(dtype=np.float64, na_value=np.nan)
        return np.where(np.isfinite(values), values, np.nan), empty

    def note(self, problems: list[Problem], column: str, wrong: Flags, why: str, hint: str) -> None:
        """Note the first rows with a problem in a column, and how many there are; `wrong` is (n,) bool."""
        cells = self.cells[column][wrong].astype(object)
        note_lines(problems, self.where, cells, np.ones(len(cells), dtype=np.bool_), why, hint, self.row)


def read_table(source: Source, kind: InputKind, argument: str, time: str) -> MarketTable:
    """Table of a CSV file or a DataFrame.

    Parameters
    ----------
    source : path or DataFrame; it stays as it is.
    kind : kind of table that is expected, for messages.
    argument : name of the argument that the source is given as.
    time : name of the column of times; a DataFrame may have them in its index instead.

    Raises
    ------
    InputError : it is neither, cannot be read, or has two columns of a name.
    """
    expected = f"a path or a DataFrame, a {kind.noun}"
    hint = 'Try "prices.csv", or a DataFrame with an index of dates.'
    check_type(argument, source, (str, os.PathLike, pd.DataFrame), expected, hint)
    if isinstance(source, pd.DataFrame):
        name = f"DataFrame {argument}"
        return MarketTable(name, name, "row", _frame_cells(source, name, time))
    where, name = place_name(source), Path(source).name
    name = name if name.isprintable() else shown(name)[1:-1]
    return MarketTable(name, where, "line", csv_cells(source, where, kind))


def _frame_cells(frame: pd.DataFrame, where: str, time: str) -> pd.DataFrame:
    """Columns of a DataFrame by lower-case name, its index among them if that has the times; rows from 0."""
    if isinstance(frame.columns, pd.MultiIndex):
        why = f"has columns of {frame.columns.nlevels} levels, and names are expected"
        raise file_refusal(where, why, "Try frame.droplevel(1, axis=1).")
    names = [str(name).strip().lower() for name in frame.columns]
    refuse_repeated_columns(names, where)
    cells = frame.set_axis(names, axis=1).set_axis(pd.RangeIndex(len(frame)), axis=0)
    if time in names:
        return cells.assign(**{time: _plain_days(cells[time])})
    index = frame.index
    if not (isinstance(index, pd.DatetimeIndex) or str(index.name).strip().lower() == time):
        why = f"has no column {time}, and its index is no DatetimeIndex; its columns are {', '.join(names[:12])}"
        raise file_refusal(where, why, f'Try frame.set_index(pd.DatetimeIndex(...)), or a column "{time}".')
    return pd.concat([_plain_days(pd.Series(index, index=cells.index, name=time)), cells], axis=1)


def _plain_days(times: pd.Series) -> pd.Series:
    """Column of times; Arrow's days, which pandas counts among times but cannot take apart, as Python's dates."""
    return times.astype(object) if str(times.dtype).startswith(("date32", "date64")) else times


def checked_day(name: str, value: dt.date | None) -> dt.date | None:
    """Day of an argument that is a date or a time at midnight, such as a pandas Timestamp; None for None.

    Errors: `InputError`.
    """
    if value is None:
        return None
    hint = "Try datetime.date(2026, 2, 10)."
    check_type(name, value, dt.date, "a date", hint)
    if pd.isna(value):
        raise InputError([Problem("", name, "NaT", "is no date", hint)])
    if not FIRST_DATE <= (value.date() if isinstance(value, dt.datetime) else value) <= LAST_DATE:
        why = f"the year is not from {FIRST_DATE.year} to {LAST_DATE.year}"
        raise InputError([Problem("", name, shown(value), why, hint)])
    if not isinstance(value, dt.datetime):
        return value
    if value.time() != dt.time():
        raise InputError([Problem("", name, shown(value), "has a time of day", "Try its .date().")])
    return value.date()


def check_count(name: str, value: Any, least: int, most: float = MOST_COUNTED) -> None:
    """Refuse an argument that is no whole number, too small or too large.

    Errors: `InputError`.
    """
    check_type(name, value, (int, np.integer), "a whole number", f"Try {name}={max(least, 1)}.")
    if value < least:
        raise InputError([Problem("", name, shown(value), f"must be at least {least}", "Try more.")])
    if value > most:
        raise InputError([Problem("", name, shown(value), f"must be at most {most:,}", "Try fewer.")])
