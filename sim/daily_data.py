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
from numpy.typing import NDArray

from sim.errors import InputError, Problem
from sim.scenario_values import shown

MAX_BYTES: Final = 100_000_000
ROWS_NAMED: Final = 3
OHLC: Final = ("open", "high", "low", "close")


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
    name = os.fspath(path)
    where = name if name.isprintable() and name else shown(name)
    table = _cells(Path(path), where)
    missing = [column for column in ("date", *columns) if column not in table]
    if missing:
        why = f"has no column {', '.join(missing)}; its columns are {', '.join(map(str, table.columns[:12]))}"
        raise InputError([Problem(where, "", "", why, "Try the right file.")])
    problems: list[Problem] = []
    dates = pd.to_datetime(table["date"].str[:10], format="%Y-%m-%d", errors="coerce")
    _note(problems, where, table["date"], dates.isna().to_numpy(), "is no date", "Try it as 2026-02-10.")
    repeated = (dates.duplicated() & dates.notna()).to_numpy()
    _note(problems, where, table["date"], repeated, "comes twice", "Try leaving one of the rows out.")
    rows = pd.DataFrame(index=pd.DatetimeIndex(dates))
    for column in columns:
        cells = table[column].str.replace(",", "", regex=False)
        numbers = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64)
        empty = cells.isin(["", "null", "nan", "NaN", "NA", "."]).to_numpy()
        _note(problems, where, table[column], ~empty & ~np.isfinite(numbers), "is no number", "Try a plain number.")
        if column in positive:
            why = "a number above zero is expected"
            _note(problems, where, table[column], numbers <= 0, why, "Try leaving the row out.")
        rows[column] = np.where(empty, np.nan, numbers)
    if {"high", "low"} <= set(columns):
        upside = (rows["high"] < rows["low"]).to_numpy()
        _note(problems, where, table["high"], upside, "is below the day's low", "Try leaving the row out.")
    if problems:
        raise InputError(problems)
    whole = rows.dropna().sort_index()
    if whole.empty:
        raise InputError([Problem(where, "", "", "has no row with every number", "Try the right file.")])
    return DailyTable(Path(name).name, whole, len(rows) - len(whole))


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


def _cells(path: Path, where: str) -> pd.DataFrame:
    """Cells as text, rows that are wholly empty left out; the index is the line."""
    try:
        if path.is_dir():
            raise _refused(where, "is a directory, not a table", "Try a file inside it.")
        if path.stat().st_size > MAX_BYTES:
            raise _refused(where, "is larger than 100 MB, no daily table", "Try the right file.")
        with open(path, encoding="utf-8-sig", newline="") as file:
            start = file.read(200).lstrip()
            if start.startswith("<"):
                raise _refused(where, "is a web page, not a table", "Try downloading the file itself.")
            if "\0" in start:
                raise _refused(where, "is a binary file, not a table", "Try a CSV file.")
            file.seek(0)
            table: pd.DataFrame = pd.read_csv(
                file, header=None, dtype=str, keep_default_na=False, skipinitialspace=True, skip_blank_lines=False
            )
    except FileNotFoundError as error:
        raise _refused(where, "no such file", "Try a path that exists.") from error
    except PermissionError as error:
        raise _refused(where, "may not be read", "Try giving yourself permission to read it.") from error
    except UnicodeDecodeError as error:
        raise _refused(where, "is not UTF-8 text", "Try saving it as CSV in UTF-8.") from error
    except pd.errors.EmptyDataError as error:
        raise _refused(where, "is empty", "Try the right file.") from error
    except pd.errors.ParserError as error:
        raise _refused(where, f"is no CSV table: {' '.join(str(error).split())}", "Try the right file.") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no readable path"
        raise _refused(where, f"cannot be read: {why}", "Try another path.") from error
    # Read with the rest, so that pandas does not rename what comes twice.
    table.columns = pd.Index([str(cell).strip().lower() for cell in table.iloc[0]])
    table = table.iloc[1:]
    if table.columns.has_duplicates:
        twice = table.columns[table.columns.duplicated()][0]
        raise _refused(where, f"has two columns {twice}", "Try leaving one of them out.")
    table.index = pd.RangeIndex(2, len(table) + 2)
    stripped = pd.DataFrame({column: table[column].str.strip() for column in table.columns})
    filled = (stripped != "").any(axis=1)
    if not filled.any():
        raise _refused(where, "has no rows", "Try the right file.")
    return stripped.loc[filled]


def _note(
    problems: list[Problem], where: str, cells: pd.Series, wrong: NDArray[np.bool_], why: str, hint: str
) -> None:
    """Note the first rows with a problem, and how many there are."""
    lines = cells.index[wrong]
    if len(lines):
        more = f" and {len(lines) - ROWS_NAMED:,} more" if len(lines) > ROWS_NAMED else ""
        place = f"{where}, line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines[:ROWS_NAMED]))}{more}"
        problems.append(Problem(place, str(cells.name), shown(cells[wrong].iloc[0]), why, hint))


def _refused(where: str, why: str, hint: str) -> InputError:
    return InputError([Problem(where, "", "", why, hint)])
