"""Exchange calendar: sessions of the New York Stock Exchange, their instants, and when options settle.

Instants are minutes since 1970-01-01T00:00 UTC.
"""

from __future__ import annotations

import datetime as dt
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

FIRST_DATE: Final = dt.date(1990, 1, 1)
LAST_DATE: Final = dt.date(2100, 12, 31)
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
EPOCH: Final = dt.date(1970, 1, 1)
NEW_YORK: Final = ZoneInfo("America/New_York")


@dataclass(frozen=True, eq=False)
class TradingCalendar:
    """Sessions of the New York Stock Exchange (XNYS), ascending.

    days : int64 (n,), days since 1970-01-01.
    open_minute, close_minute : int64 (n,), minutes since 1970-01-01T00:00 UTC; early closes as they are.
    """

    days: Int64s
    open_minute: Int64s
    close_minute: Int64s

    def position(self, session: dt.date) -> int:
        """Index of the first session on or after a date (the number of sessions if there is none)."""
        return int(np.searchsorted(self.days, (session - EPOCH).days))

    def is_session(self, day: dt.date) -> bool:
        """Whether the exchange trades on a date."""
        index = self.position(day)
        return index < len(self.days) and int(self.days[index]) == (day - EPOCH).days

    def session(self, index: int) -> dt.date:
        """Date of the session at an index."""
        return EPOCH + dt.timedelta(days=int(self.days[index]))

    def sessions_after(self, day: dt.date, until: dt.date) -> tuple[dt.date, ...]:
        """Sessions later than `day`, up to and including `until`."""
        first = self.position(day + dt.timedelta(days=1))
        last = self.position(until + dt.timedelta(days=1))
        return tuple(self.session(index) for index in range(first, last))

    def nearest(self, day: dt.date) -> tuple[dt.date, ...]:
        """The sessions just before and just after a date, as far as the calendar reaches."""
        index = self.position(day)
        after = index + 1 if self.is_session(day) else index
        return tuple(self.session(i) for i in (index - 1, after) if 0 <= i < len(self.days))


@cache
def _whole_calendar() -> TradingCalendar:
    # Building all supported years costs about 30 ms more than building one month (200 ms).
    from exchange_calendars.exchange_calendar_xnys import XNYSExchangeCalendar

    with warnings.catch_warnings():
        # exchange_calendars uses idioms that recent pandas announces to change.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        exchange = XNYSExchangeCalendar(start=FIRST_DATE.isoformat(), end=LAST_DATE.isoformat())
        opens = exchange.opens.dt.tz_convert(None).to_numpy()
        closes = exchange.closes.dt.tz_convert(None).to_numpy()
        sessions = exchange.sessions.to_numpy()
    days = sessions.astype("datetime64[D]").astype(np.int64)
    open_minute = opens.astype("datetime64[m]").astype(np.int64)
    close_minute = closes.astype("datetime64[m]").astype(np.int64)
    for shared in (days, open_minute, close_minute):
        shared.flags.writeable = False
    return TradingCalendar(days, open_minute, close_minute)


def trading_calendar(first: dt.date = FIRST_DATE, last: dt.date = LAST_DATE) -> TradingCalendar:
    """XNYS sessions from `first` to `last`, both included, within 1990 to 2100.

    Source: the exchange_calendars package; years not yet published follow the exchange's present rules.
    """
    whole = _whole_calendar()
    window = slice(whole.position(first), whole.position(last + dt.timedelta(days=1)))
    return TradingCalendar(whole.days[window], whole.open_minute[window], whole.close_minute[window])


def settlement_minute(calendar: TradingCalendar, expiry: dt.date, settlement: str) -> int:
    """Instant at which an option leaves the book, in minutes since 1970-01-01T00:00 UTC.

    calendar : covers `expiry`.
    expiry : a session.
    settlement : "AM", the open of that session (09:30 New York), or "PM", its close.
    """
    assert calendar.is_session(expiry), expiry
    assert settlement in ("AM", "PM"), settlement
    minutes, _ = settlement_minutes(
        calendar, np.array([expiry], dtype="datetime64[D]"), np.array([settlement == "AM"])
    )
    return int(minutes[0])


def settlement_minutes(
    calendar: TradingCalendar, expiry: npt.NDArray[np.datetime64], at_open: npt.NDArray[np.bool_]
) -> tuple[Int64s, npt.NDArray[np.bool_]]:
    """Instants at which options leave the book, and whether each expiry is a session.

    Parameters
    ----------
    calendar : covers the expiries that are sessions.
    expiry : (n,) days.
    at_open : (n,) settled at the open of that session rather than at its close.

    Returns
    -------
    minutes : (n,) minutes since 1970-01-01T00:00 UTC; of the next session where the expiry is none.
    is_session : (n,).
    """
    days = expiry.astype("datetime64[D]").astype(np.int64)
    index = np.minimum(np.searchsorted(calendar.days, days), calendar.days.size - 1)
    minutes = np.where(at_open, calendar.open_minute[index], calendar.close_minute[index])
    return minutes, calendar.days[index] == days
