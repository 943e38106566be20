"""Minute bars of a stock or an index, read from a CSV file or a DataFrame and checked as a whole.

Columns are `datetime`, `open`, `high`, `low` and `close`, in capitals or not and in any order; others, the volume
among them, are ignored. A time is New York's, at the start of its minute: 2026-02-10 09:30:00. A DataFrame may have
the times as its index; those with a time zone are taken to New York. Sessions, early closes included, are the
exchange calendar's.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from sim.errors import InputError, Problem
from sim.files.input_files import InputKind, file_refusal
from sim.fit.tables import MarketTable, Source, read_table
from sim.market.calendar import NEW_YORK, trading_calendar
from sim.problems import short_repr

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

PRICES: Final = ("open", "high", "low", "close")
COLUMNS: Final = ("datetime", *PRICES)


NO_SESSION: Final = "on days without trading"
OFF_HOURS: Final = "outside the regular session"
REPEATED: Final = "repeated word for word"

_KIND: Final = InputKind(
    "file of minute bars",
    200_000_000,
    "Try minute bars as CSV with the columns datetime, open, high, low, close.",
)
# Minutes since midnight between which stocks trade in New York, the end of the last bar included.
_FIRST_MINUTE: Final = 240
_LAST_MINUTE: Final = 1200
_MOST_AT_NIGHT: Final = 0.01
_FEWEST_STEPS: Final = 60
_TIME_HINT: Final = "Try it as 2026-02-10 09:30:00, New York time."
_TIME: Final = r"^(\d{4}-\d{2}-\d{2})[ T]+(\d{2}):(\d{2})(?::(\d{2})(?:\.0+)?)?$"
_ZONED: Final = r"^\d{4}-\d{2}-\d{2}[ T]+\d{2}:\d{2}.*(?:Z|[+-]\d{2}:?\d{2})$"


@dataclass(frozen=True, eq=False)
class MinuteBars:
    """Bars of regular sessions, ascending; n bars of m sessions.

    source : name of the source in results, as in `sim.fit.tables.MarketTable`.
    sessions : the m sessions that have bars.
    length : int64 (m,), minutes from open to close, fewer where a session closed early.
    session : int64 (n,), index of each bar's session.
    minute : int64 (n,), minutes from the open to the bar's start, from 0 to its session's length − 1.
    open, high, low, close : float64 (n,), prices > 0.
    left_out : number of bars of the file that are not among these, by reason.
    out_of_order : number of bars that stood in the file after a later one.
    missing : number of minutes of the sessions without a bar.
    absent : number of sessions between the first and the last without any bar.
    """

    source: str
    sessions: tuple[dt.date, ...]
    length: Int64s
    session: Int64s
    minute: Int64s
    open: Float64s
    high: Float64s
    low: Float64s
    close: Float64s
    left_out: dict[str, int]
    out_of_order: int
    missing: int
    absent: int

    def __repr__(self) -> str:
        span = f"{self.sessions[0]} to {self.sessions[-1]}"
        return short_repr(self, f"{len(self):,} of {len(self.sessions):,} sessions, {span}; {self.source}")

    def __len__(self) -> int:
        """Number of bars."""
        return len(self.session)


def read_minute_bars(source: Source) -> MinuteBars:
    """Minute bars of the regular sessions in a CSV file or a DataFrame.

    Bars outside a session and repeated ones are left out and counted, those out of order put in order and counted.
    Only bars inside a session are checked.

    source : path; or DataFrame with open, high, low and close (one unit, > 0), and the bars' starts as a column
        datetime or a DatetimeIndex, New York's or with a time zone.

    Limit: bars in another time zone look like bars with hours missing, unless hours outside sessions show it.

    Errors: `InputError` with every kind of problem and the lines or rows it is on.
    """
    return _Checked(_table(source)).bars()


def until(bars: MinuteBars, day: dt.date) -> MinuteBars:
    """Bars of the sessions up to and including a day; left_out and out_of_order stay those of the whole file.

    Errors: `InputError` if there is none.
    """
    kept = sum(session <= day for session in bars.sessions)
    if not kept:
        why = f"its first session is {bars.sessions[0]}"
        raise InputError([Problem(bars.source, "as_of", str(day), why, "Try a later one.")])
    first, last = bars.sessions[0], bars.sessions[kept - 1]
    among = bars.session < kept
    length = bars.length[:kept]
    calendar = trading_calendar(first, last)
    return replace(
        bars,
        sessions=bars.sessions[:kept],
        length=length,
        **{
            name: getattr(bars, name)[among] for name in ("session", "minute", "open", "high", "low", "close")
        },
        missing=int(length.sum()) - int(among.sum()),
        absent=len(calendar.days) - kept,
    )


def _table(source: Source) -> MarketTable:
    """Cells of the columns, one row per bar, without empty rows."""
    table = read_table(source, _KIND, "bars", "datetime")
    missing = [column for column in COLUMNS if column not in table.cells]
    if missing and table.row == "line":
        why = f"the header has no column {', '.join(missing)}"
        raise file_refusal(f"{table.where}, line 1", why, _KIND.hint)
    table.refuse_without(COLUMNS)
    cells = table.cells[list(COLUMNS)]
    filled = (cells.notna() & (cells != "")).any(axis=1)
    if not filled.any():
        why = "has no bars: nothing follows the header" if table.row == "line" else "has no bars"
        raise file_refusal(table.where, why, _KIND.hint)
    return replace(table, cells=cells[filled])


class _Checked:
    """Rows of a table of minute bars, and the problems found in them."""

    def __init__(self, table: MarketTable):
        self.table, self.where = table, table.where
        self.problems: list[Problem] = []
        self.left_out: dict[str, int] = {}

    def bars(self) -> MinuteBars:
        """Bars of the table.

        Errors: `InputError` with every problem.
        """
        day, clock = self._times()
        calendar = trading_calendar()
        place = np.minimum(np.searchsorted(calendar.days, day), len(calendar.days) - 1)
        opening = _wall_clock(calendar.open_minute[place])
        length = calendar.close_minute[place] - calendar.open_minute[place]
        minute = clock - opening
        traded = calendar.days[place] == day
        inside = traded & (minute >= 0) & (minute < length)
        self._check_stamps(place, minute, length, traded)
        self._check_zone(clock, place, traded)
        self._check_width(place[inside], minute[inside])
        self._leave_out(NO_SESSION, ~traded)
        self._leave_out(OFF_HOURS, traded & ~inside)
        if not inside.any():
            why = "no bar lies in a regular session of the New York Stock Exchange"
            raise file_refusal(self.where, why, "Try bars from 09:30 to 16:00, New York time.")
        self.table, place, minute = self.table.chosen(inside), place[inside], minute[inside]
        prices = self._prices()
        if self.problems:
            raise InputError(self.problems)

        instant = place * 1440 + minute
        out_of_order = int(np.count_nonzero(instant < np.maximum.accumulate(instant)))
        order = np.argsort(instant, kind="stable")
        kept = order[self._first_of_each(instant[order], prices[order], order)]
        days, session = np.unique(place[kept], return_inverse=True)
        lengths = calendar.close_minute[days] - calendar.open_minute[days]
        return MinuteBars(
            source=self.table.source,
            sessions=tuple(calendar.session(int(index)) for index in days),
            length=lengths,
            session=session.astype(np.int64),
            minute=minute[kept],
            open=prices[kept, 0],
            high=prices[kept, 1],
            low=prices[kept, 2],
            close=prices[kept, 3],
            left_out=self.left_out,
            out_of_order=out_of_order,
            missing=int(lengths.sum()) - len(kept),
            absent=int(days[-1] - days[0] + 1 - len(days)),
        )

    def _times(self) -> tuple[Int64s, Int64s]:
        """Days since 1970-01-01 and minutes since midnight, int64 (n,) each, of the rows' times."""
        if pd.api.types.is_datetime64_any_dtype(self.table.cells["datetime"].dtype):
            return self._stamps()
        cells = self.table.text("datetime")
        parts = cells.str.extract(_TIME)
        date = pd.to_datetime(parts[0], format="%Y-%m-%d", errors="coerce")
        hour, minute = (
            pd.to_numeric(parts[column], errors="coerce").to_numpy(np.float64) for column in (1, 2)
        )
        wrong = date.isna().to_numpy() | ~((hour < 24) & (minute < 60))
        zoned = wrong & cells.str.match(_ZONED).to_numpy(np.bool_)
        self._refuse(
            "datetime", zoned, "states a zone, but New York time without one is expected", _TIME_HINT
        )
        self._refuse("datetime", wrong & ~zoned, "is no date and time", _TIME_HINT)
        odd = ~wrong & ~parts[3].isin(["00"]).to_numpy() & parts[3].notna().to_numpy()
        self._refuse("datetime", odd, "is no whole minute", "Try bars of a minute, or of whole minutes.")
        if self.problems:
            raise InputError(self.problems)
        days = date.to_numpy().astype("datetime64[D]").astype(np.int64)
        return days, (60 * hour + minute).astype(np.int64)

    def _stamps(self) -> tuple[Int64s, Int64s]:
        """Days since 1970-01-01 and minutes since midnight, int64 (n,) each, of a column of timestamps."""
        times = self.table.cells["datetime"]
        if times.dt.tz is not None:
            times = times.dt.tz_convert(NEW_YORK).dt.tz_localize(None)
        stamps = times.to_numpy()
        minutes = stamps.astype("datetime64[m]")
        self._refuse("datetime", np.isnat(stamps), "is no date and time", _TIME_HINT)
        odd = ~np.isnat(stamps) & (minutes != stamps)
        self._refuse("datetime", odd, "is no whole minute", "Try bars of a minute, or of whole minutes.")
        if self.problems:
            raise InputError(self.problems)
        days = minutes.astype("datetime64[D]")
        return days.astype(np.int64), (minutes - days).astype(np.int64)

    def _check_stamps(self, place: Int64s, minute: Int64s, length: Int64s, traded: Flags) -> None:
        starts = set(place[traded & (minute == 0)].tolist())
        ends = set(place[traded & (minute == length)].tolist())
        if len(ends - starts) > len(starts):
            why = (
                "its bars carry the time of their end: many sessions have one at the close, none at the open"
            )
            if np.any(traded & (minute > length)):
                why = "its times are not New York's: many sessions have bars at the close and later, none at the open"
                raise file_refusal(self.where, why, _TIME_HINT)
            raise file_refusal(self.where, why, "Try times a minute earlier.")

    def _check_zone(self, clock: Int64s, place: Int64s, traded: Flags) -> None:
        """Refuse times of another zone, and of the bars' ends, where the hours outside sessions show them."""
        night = traded & ((clock < _FIRST_MINUTE) | (clock > _LAST_MINUTE))
        if np.count_nonzero(night) > _MOST_AT_NIGHT * np.count_nonzero(traded):
            first = self.table.cells.index[night][0]
            others = f"{np.count_nonzero(night) - 1:,} more"
            why = f"{self.table.row} {first} and {others} lie before 04:00 or after 20:00 in New York"
            raise file_refusal(self.where, why, "Try times in New York; leave bars of the night out, if any.")
        starts, ends = (set(place[traded & (clock == at)].tolist()) for at in (_FIRST_MINUTE, _LAST_MINUTE))
        if len(ends - starts) > max(len(starts), 0.5 * np.unique(place[traded]).size):
            why = "its bars carry the time of their end: many days have one at 20:00, none at 04:00"
            raise file_refusal(self.where, why, "Try times a minute earlier.")

    def _check_width(self, place: Int64s, minute: Int64s) -> None:
        instant = np.unique(place * 1440 + minute)
        steps = np.diff(instant)
        steps = steps[steps < 390]
        width = int(np.median(steps)) if steps.size >= _FEWEST_STEPS else 1
        if width > 1:
            why = f"its bars are {width} minutes apart, and bars of one minute are expected"
            raise file_refusal(self.where, why, "Try bars of a minute.")

    def _prices(self) -> Float64s:
        """Open, high, low and close, float64 (n, 4)."""
        prices = np.empty((len(self.table.cells), len(PRICES)))
        decimal_comma = self.table.decimal_comma(PRICES)
        for column, name in enumerate(PRICES):
            values, _ = self.table.numbers(name, decimal_comma)
            finite = np.isfinite(values)
            self._refuse(name, ~finite, "is no number", "Try a plain number such as 692.09.")
            self._refuse(name, finite & ~(values > 0), "is no price above 0", "Try leaving the row out.")
            prices[:, column] = values
        opening, high, low, close = prices.T
        sound = np.all(np.isfinite(prices) & (prices > 0), axis=1)
        crossed = sound & (high < low)
        self._refuse("high", crossed, "is below the bar's low", "Try leaving the row out.")
        for name, values in (("open", opening), ("close", close)):
            outside = sound & ~crossed & ~((low <= values) & (values <= high))
            self._refuse(name, outside, "is not between the bar's low and high", "Try leaving the row out.")
        return prices

    def _first_of_each(self, instant: Int64s, prices: Float64s, row: Int64s) -> Flags:
        """Flags (n,) of the rows, in order of time, that are the first of their minute.

        Errors: `InputError` where rows of the same minute have other prices.
        """
        again = np.concatenate(([False], instant[1:] == instant[:-1]))
        contradicts = again.copy()
        contradicts[1:] &= np.any(prices[1:] != prices[:-1], axis=1)
        if contradicts.any():
            rows = np.zeros(len(row), dtype=np.bool_)
            rows[row[contradicts]] = True
            self._refuse(
                "datetime", rows, "has another bar with other prices", "Try leaving one of them out."
            )
            raise InputError(self.problems)
        self._leave_out(REPEATED, again)
        return ~again

    def _leave_out(self, reason: str, rows: Flags) -> None:
        count = int(np.count_nonzero(rows))
        if count:
            self.left_out[reason] = count

    def _refuse(self, name: str, wrong: Flags, why: str, hint: str) -> None:
        self.table.note(self.problems, name, wrong, why, hint)


def _wall_clock(instant: Int64s) -> Int64s:
    """Minutes since midnight in New York, (n,), of instants in minutes since 1970-01-01T00:00 UTC, (n,)."""
    distinct, inverse = np.unique(instant, return_inverse=True)
    local: Any = pd.to_datetime(distinct * 60, unit="s", utc=True).tz_convert(NEW_YORK)
    minutes: Int64s = (60 * local.hour + local.minute).to_numpy(dtype=np.int64)[inverse]
    return minutes
