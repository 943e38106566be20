"""Daily data from CSV files or DataFrames: prices, VIX and published gamma exposure, checked row by row."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd

from sim.errors import InputError, Problem
from sim.files.input_files import InputKind, file_refusal
from sim.fit.tables import MarketTable, Source, read_table
from sim.market.calendar import trading_calendar
from sim.problems import shown

OHLC: Final = ("open", "high", "low", "close")
# Another name that a column may have.
ALIASES: Final = {"close": "close/last"}
# Shares of a file's days that may be without trading, and of a span's sessions that it may lack.
MOST_UNTRADED: Final = 0.05
MOST_ABSENT: Final = 0.05
# No index has moved so far in a day, ln; a split or a misprint has.
LARGEST_MOVE: Final = 0.25
_DATE_HINT: Final = "Try it as 2026-02-10."
_SLASHED: Final = ["%m/%d/%Y", "%d/%m/%Y"]
_DATE_FORMS: Final = ("%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", *_SLASHED, "%d.%m.%Y", "%b %d, %Y", "%d %b %Y")
_KIND: Final = InputKind(
    "table of days",
    100_000_000,
    "Try a CSV file with a column of dates, 2026-02-10 each.",
    most_rows=200_000,
    most_cells=3_000_000,
)


@dataclass(frozen=True, eq=False)
class DailyTable:
    """Rows of daily data by date, from a file or a DataFrame.

    Attributes
    ----------
    source : name of the source in results, as in `sim.fit.tables.MarketTable`.
    rows : columns asked for, float64; index of dates, ascending, none of them twice.
    dropped : number of rows left out because some column has no number.
    """

    source: str
    rows: pd.DataFrame
    dropped: int


def read_daily(
    source: Source,
    columns: Sequence[str],
    *,
    positive: Sequence[str],
    optional: Sequence[str] = (),
    argument: str = "source",
) -> DailyTable:
    """Daily table of a CSV file or a DataFrame.

    Parameters
    ----------
    source : path of a CSV file with a column of dates, 2026-02-10 each or in another form that all of them have; or
        DataFrame with a DatetimeIndex or such a column. Names of columns in any case. Of times the day counts, as
        their own time zone has it.
    columns : those wanted, in lower case.
    positive : those of them that must be above zero.
    optional : further columns, NaN where there is none or no number.
    argument : name of the argument that the source is given as.

    Raises
    ------
    InputError : with every kind of problem; rows that are empty but for their date are no problem, but counted.
    """
    table = read_table(source, _KIND, argument, "date")
    where, cells = table.where, table.cells
    if cells.empty:
        raise file_refusal(where, "has no rows", _KIND.hint)
    aliases = {other: name for name, other in ALIASES.items() if name not in cells}
    table = replace(table, cells=cells.rename(columns=aliases))
    table.refuse_without(["date", *columns])
    problems: list[Problem] = []
    dates = _dates(table)
    table.note(problems, "date", dates.isna().to_numpy(), "is no date", _DATE_HINT)
    repeated = (dates.duplicated() & dates.notna()).to_numpy()
    table.note(problems, "date", repeated, "comes twice", "Try leaving one of the rows out.")
    rows = pd.DataFrame(index=pd.DatetimeIndex(dates, name=None))
    known = [*columns, *(column for column in optional if column in table.cells)]
    decimal_comma = table.decimal_comma(known)
    for column in known:
        values, empty = table.numbers(column, decimal_comma)
        if column not in optional:
            table.note(problems, column, ~empty & np.isnan(values), "is no number", "Try a plain number.")
        if column in positive:
            why = "a number above zero is expected"
            table.note(problems, column, values <= 0, why, "Try leaving the row out.")
        rows[column] = np.where(empty, np.nan, values)
    rows = rows.reindex(columns=[*columns, *optional])
    if set(OHLC) <= set(columns):
        _note_ranges(problems, rows, table)
    if problems:
        raise InputError(problems)
    whole = rows.dropna(subset=list(columns)).sort_index()
    if whole.empty:
        raise file_refusal(where, "has no row with every number", "Try the right data.")
    return DailyTable(table.source, whole, len(rows) - len(whole))


def on_sessions(table: DailyTable) -> tuple[pd.DataFrame, int]:
    """Rows of prices on sessions of the exchange, and the number of rows on other days.

    Errors: `InputError` if more than a twentieth are not.
    """
    rows = table.rows
    traded = rows.index.isin(_sessions(pd.DatetimeIndex(rows.index)))
    untraded = int(np.count_nonzero(~traded))
    if untraded > MOST_UNTRADED * len(rows):
        day = rows.index[~traded][0].date()
        why = f"{untraded:,} of its {len(rows):,} days are without trading in New York, {day} for one"
        raise file_refusal(table.source, why, "Try trading days only.")
    return rows[traded], untraded


def session_returns(close: pd.Series, source: str) -> tuple[pd.Series, int]:
    """Log returns from each session's close to the next one's, and the number left out for spanning more than one.

    Parameters
    ----------
    close : (n,) index points, by session.
    source : place that problems name.

    Returns
    -------
    returns : natural logarithms, indexed by the later session.
    spanning : number of returns left out.

    Raises
    ------
    InputError : more than a twentieth of the sessions are absent, or a return is beyond ±0.25, which no index
        has had.
    """
    days = pd.DatetimeIndex(close.index)
    refuse_absent(days, source, MOST_ABSENT)
    place = _sessions(days).get_indexer(days)
    returns = np.log(close).diff().iloc[1:]
    single = np.diff(place) == 1
    returns = returns[single]
    wild = returns[returns.abs() > LARGEST_MOVE]
    if len(wild):
        day, move = wild.index[0].date(), math.expm1(wild.iloc[0])
        more = f", and {len(wild) - 1} more such days" if len(wild) > 1 else ""
        why = f"moves by {move:+.0%} on {day}{more}: a split or a misprint"
        raise InputError(
            [Problem(source, "close", "", why, "Try prices adjusted for splits, or days after it alone.")]
        )
    return returns, int(np.count_nonzero(~single))


def refuse_absent(days: pd.DatetimeIndex, source: str, most: float) -> None:
    """Refuse days that lack too many sessions of the exchange between the first and the last of them.

    days : sessions, ascending.
    source : place that problems name.
    most : share of the sessions that may be absent.

    Errors: `InputError`.
    """
    sessions = len(_sessions(days))
    if sessions - len(days) > most * sessions:
        why = (
            f"{len(days):,} of the {sessions:,} sessions from {days[0].date()} to {days[-1].date()} are there: rows "
            "are not daily, or some are missing"
        )
        raise file_refusal(source, why, "Try every session, or days after what is missing alone.")


def _sessions(days: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Sessions of the exchange from the first of some days to the last."""
    return pd.DatetimeIndex(trading_calendar(days[0].date(), days[-1].date()).days.astype("datetime64[D]"))


def _dates(table: MarketTable) -> pd.Series:
    """Days (n,) of the column of dates, read in the form that most cells have; NaT where a cell has another."""
    if pd.api.types.is_datetime64_any_dtype(table.cells["date"].dtype):
        times = table.cells["date"]
        local = times if times.dt.tz is None else times.dt.tz_localize(None)
        return pd.Series(local.dt.normalize().astype("datetime64[ns]"))
    cells = table.text("date")
    days = cells.str.replace(r"[T ]+\d{1,2}:\d{2}.*$", "", regex=True)
    read = {form: pd.to_datetime(days, format=form, errors="coerce") for form in _DATE_FORMS}
    most = max(int(found.notna().sum()) for found in read.values())
    best = [form for form, found in read.items() if int(found.notna().sum()) == most]
    if best[:2] == _SLASHED and not read[best[0]].equals(read[best[1]]):
        why = f"{shown(str(cells.iloc[0]))} and all others may have the day first or the month"
        raise file_refusal(table.where, why, f"{_DATE_HINT[:-1]}, or with later days of a month too.")
    return read[best[0]]


def _note_ranges(problems: list[Problem], rows: pd.DataFrame, table: MarketTable) -> None:
    upside = (rows["high"] < rows["low"]).to_numpy()
    hint = "Try leaving the row out."
    table.note(problems, "high", upside, "is below the day's low", hint)
    for name in ("open", "close"):
        beside = (rows[name] < rows["low"]) | (rows[name] > rows["high"])
        why = "lies outside the day's low and high"
        table.note(problems, name, beside.to_numpy() & ~upside, why, hint)


def window(
    index: pd.DatetimeIndex, since: dt.date | None, as_of: dt.date | None, where: str
) -> tuple[pd.Timestamp, pd.Timestamp]:
    """First and last date to use, the last one a date of the index.

    since : first date to use; the first of the index if None.
    as_of : last date to use; the last of the index if None.

    Errors: `InputError`.
    """
    last = index[-1] if as_of is None else pd.Timestamp(as_of)
    if last not in index:
        beside = [str(day.date()) for day in (*index[index < last][-1:], *index[index > last][:1])]
        why = f"has no row of {last.date()}"
        raise InputError([Problem(where, "as_of", "", why, f"Try {' or '.join(beside)}.")])
    first = index[0] if since is None else pd.Timestamp(since)
    if first >= last:
        why = f"is not before {last.date()}"
        raise InputError([Problem("", "since", str(first.date()), why, "Try an earlier date.")])
    return first, last
