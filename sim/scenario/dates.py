"""Dates of a scenario, checked against the exchange calendar, and its sessions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from sim.errors import Problem
from sim.market.calendar import EPOCH, LAST_DATE, TradingCalendar, trading_calendar
from sim.problems import known, shown

MAX_SESSIONS: Final = 2520


def calendar_problems(scenario: Any) -> list[Problem]:
    """Problems of a scenario's dates with the exchange calendar, each `Problem` without its `where`.

    scenario : a `Scenario`, or anything with its attributes in which unreadable parts are `UNKNOWN`.
    """
    calendar, market = trading_calendar(), scenario.market
    as_of, until, sessions = market.as_of, market.until, market.sessions
    problems = list(_no_session(calendar, "market.as_of", as_of))
    if until is not None and until > as_of:
        problems += _no_session(calendar, "market.until", until)
    horizon = range(0)
    if known(as_of, until, sessions) and (until is None) != (sessions is None):
        horizon = horizon_positions(calendar, market)
        problems += _horizon_problems(market, len(horizon))
    for index, catalyst in enumerate(scenario.catalyst):
        key, session = f"catalyst[{index}].session", catalyst.session
        off = list(_no_session(calendar, key, session))
        problems += off
        if not off and horizon and known(session) and calendar.position(session) not in horizon:
            first, last = calendar.session(horizon[0]), calendar.session(horizon[-1])
            why = f"is outside the horizon, {first} to {last}"
            problems.append(Problem("", key, str(session), why, "Try a session inside it, or leave it out."))
    for index, position in enumerate(scenario.dealers.position):
        if position.expiry > as_of:
            problems += _no_session(calendar, f"dealers.position[{index}].expiry", position.expiry)
    return problems + list(_book_problems(calendar, scenario.dealers.book))


def _book_problems(calendar: TradingCalendar, book: Any) -> Iterator[Problem]:
    if not known(book) or book is None:
        return
    days = np.unique(book.expiry).astype(np.int64)
    off = days[~np.isin(days, calendar.days)]
    if off.size:
        first = EPOCH + dt.timedelta(days=int(off[0]))
        why = f"has positions that expire on {first}, which is no trading day of the New York Stock Exchange"
        more = f", like {off.size - 1} other of its expiries" if off.size > 1 else ""
        near = " or ".join(str(session) for session in calendar.nearest(first))
        yield Problem("", "dealers.book", shown(book.file), why + more, f"Try {near}.")


def horizon_positions(calendar: TradingCalendar, market: Any) -> range:
    """Positions in the calendar of the sessions simulated, from the one after `as_of` to the calendar's end at most.

    calendar : covers `as_of`.
    market : a `Market`, or anything with its dates, of which exactly one of `until` and `sessions` is None. The
        horizon ends with the last session on or before `until`, or after `sessions` sessions.
    """
    day = dt.timedelta(days=1)
    first = calendar.position(market.as_of + day)
    if market.until is not None:
        return range(first, calendar.position(market.until + day))
    return range(first, min(first + market.sessions, len(calendar.days)))


def count_sessions(market: Any) -> int:
    """Number of sessions D of a `Market`'s horizon."""
    return len(horizon_positions(trading_calendar(), market))


def _horizon_problems(market: Any, length: int) -> Iterator[Problem]:
    if market.sessions is not None and length < market.sessions:
        why = f"only {length} sessions are left until the calendar ends on {LAST_DATE}"
        yield Problem("", "market.sessions", str(market.sessions), why, "Try fewer sessions.")
    if market.until is not None and length > MAX_SESSIONS:
        why = f"is {length} sessions away, at most {MAX_SESSIONS} are supported"
        yield Problem("", "market.until", str(market.until), why, "Try an earlier date.")


def _no_session(calendar: TradingCalendar, key: str, day: Any) -> Iterator[Problem]:
    if known(day) and not calendar.is_session(day):
        near = " or ".join(str(session) for session in calendar.nearest(day))
        yield Problem("", key, str(day), "is no trading day of the New York Stock Exchange", f"Try {near}.")
