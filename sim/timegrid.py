"""Time grid: exchange sessions, their instants, and each step's share of a session's variance.

Instants are minutes since 1970-01-01T00:00 UTC. A session is one gap step (previous close to open) and M
equal trading steps (open to close), K = M + 1 steps in all; an early close makes the trading steps shorter.
"""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sim.errors import InputError, Problem
from sim.market.elementary import exp, expm1
from sim.scenario import FIRST_DATE, LAST_DATE, MAX_SESSIONS, Scenario, UShape
from sim.scenario_values import known, shown

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

_EPOCH: Final = dt.date(1970, 1, 1)
_DEFAULT_U: Final = UShape()


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
        return int(np.searchsorted(self.days, (session - _EPOCH).days))

    def is_session(self, day: dt.date) -> bool:
        """Whether the exchange trades on a date."""
        index = self.position(day)
        return index < len(self.days) and int(self.days[index]) == (day - _EPOCH).days

    def session(self, index: int) -> dt.date:
        """Date of the session at an index."""
        return _EPOCH + dt.timedelta(days=int(self.days[index]))

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


@dataclass(frozen=True, eq=False)
class TimeGrid:
    """Instants and variance shares of a scenario's D sessions of K = M + 1 steps.

    as_of, start_minute : the start, the close of session `as_of`.
    sessions : the D sessions after it.
    open_minute, close_minute : int64 (D,), minutes since 1970-01-01T00:00 UTC.
    steps_per_session : M, trading steps.
    share : float64 (K,), shares of a session's variance, the gap first, sum 1.
    """

    as_of: dt.date
    start_minute: int
    sessions: tuple[dt.date, ...]
    open_minute: Int64s
    close_minute: Int64s
    steps_per_session: int
    share: Float64s

    @property
    def n_sessions(self) -> int:
        """Number of sessions D."""
        return len(self.sessions)

    @property
    def n_steps(self) -> int:
        """Number of steps D·K."""
        return len(self.sessions) * (self.steps_per_session + 1)

    @property
    def step_end_minute(self) -> Float64s:
        """End of each step, float64 (D·K,): the open for a gap step, then equal parts of open to close."""
        part = np.arange(self.steps_per_session + 1) / self.steps_per_session
        length = (self.close_minute - self.open_minute)[:, None]
        return (self.open_minute[:, None] + length * part).ravel()

    @property
    def step_time(self) -> Float64s:
        """End of each step in sessions, float64 (D·K,): session index plus variance shares used so far."""
        used = np.cumsum(self.share)
        used[-1] = 1.0
        return (np.arange(self.n_sessions)[:, None] + used).ravel()


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
    minutes = calendar.open_minute if settlement == "AM" else calendar.close_minute
    return int(minutes[calendar.position(expiry)])


def variance_shares(
    overnight_share: float, steps: int, shape: str, u_shape: UShape | None = None
) -> Float64s:
    """Shares of a session's variance, float64 (steps + 1,), the gap first, sum 1.

    "flat" shares the trading day out equally; "u" in proportion to the integral of the `UShape` over each step's
    part of u ∈ [0, 1].

    overnight_share : share of the gap, in [0, 1).
    steps : number of trading steps.
    shape : "flat" or "u".
    u_shape : the U; None: its default.
    """
    edge = np.arange(steps + 1) / steps
    if shape == "flat":
        used = edge
    else:
        integral = u_shape_integral(edge, u_shape or _DEFAULT_U)
        used = integral / integral[-1]
    # what a density of nearly nothing adds may round to less than nothing
    parts = np.maximum(np.diff(used), 0.0)
    return np.concatenate(([overnight_share], (1.0 - overnight_share) * parts))


def u_shape_integral(u: Float64s, shape: UShape) -> Float64s:
    """Integral of a variance density from the open to each u, float64 like `u`.

        base·u + open·open_fade·(1 − e^(−u/open_fade)) + close·close_fade·(e^(−(1−u)/close_fade) − e^(−1/close_fade))

    u : parts of the trading day, in [0, 1].
    """
    # over a fade of nearly nothing u/fade is infinite, and its exponential zero
    with np.errstate(over="ignore"):
        after_open = -expm1(-u / shape.open_fade)
        before_close = exp(-(1.0 - u) / shape.close_fade) - exp(-1.0 / shape.close_fade)
    integral: Float64s = (
        shape.base * u
        + shape.open * shape.open_fade * after_open
        + shape.close * shape.close_fade * before_close
    )
    return integral


def build_time_grid(scenario: Scenario) -> TimeGrid:
    """Time grid of a scenario.

    Errors: `InputError` where a date of the scenario is no session or lies outside the horizon.
    """
    problems = calendar_problems(scenario)
    if problems:
        raise InputError(problems)
    calendar, market, volatility = trading_calendar(), scenario.market, scenario.volatility
    start = calendar.position(market.as_of)
    stop = start + 1 + len(_horizon(calendar, market))
    return TimeGrid(
        as_of=market.as_of,
        start_minute=int(calendar.close_minute[start]),
        sessions=tuple(calendar.session(index) for index in range(start + 1, stop)),
        open_minute=calendar.open_minute[start + 1 : stop],
        close_minute=calendar.close_minute[start + 1 : stop],
        steps_per_session=volatility.steps_per_session,
        share=variance_shares(
            volatility.overnight_share,
            volatility.steps_per_session,
            volatility.intraday_shape,
            volatility.u_shape,
        ),
    )


def calendar_problems(scenario: Any) -> list[Problem]:
    """Every date of a scenario that the exchange calendar refuses, each `Problem` without its `where`.

    scenario : a `Scenario`, or anything with its attributes in which unreadable parts are `UNKNOWN`.
    """
    calendar, market = trading_calendar(), scenario.market
    as_of, until, sessions = market.as_of, market.until, market.sessions
    problems = list(_no_session(calendar, "market.as_of", as_of))
    if until is not None and until > as_of:
        problems += _no_session(calendar, "market.until", until)
    horizon: tuple[dt.date, ...] = ()
    if known(as_of, until, sessions) and (until is None) != (sessions is None):
        horizon = _horizon(calendar, market)
        problems += _horizon_problems(market, len(horizon))
    for index, catalyst in enumerate(scenario.catalyst):
        key, session = f"catalyst[{index}].session", catalyst.session
        off = list(_no_session(calendar, key, session))
        problems += off
        if not off and horizon and known(session) and session not in horizon:
            why = f"is outside the horizon, {horizon[0]} to {horizon[-1]}"
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
        first = _EPOCH + dt.timedelta(days=int(off[0]))
        why = f"has positions that expire on {first}, which is no trading day of the New York Stock Exchange"
        more = f", like {off.size - 1} other of its expiries" if off.size > 1 else ""
        near = " or ".join(str(session) for session in calendar.nearest(first))
        yield Problem("", "dealers.book", shown(book.file), why + more, f"Try {near}.")


def _horizon(calendar: TradingCalendar, market: Any) -> tuple[dt.date, ...]:
    if market.until is not None:
        return calendar.sessions_after(market.as_of, market.until)
    first = calendar.position(market.as_of + dt.timedelta(days=1))
    stop = min(first + market.sessions, len(calendar.days))
    return tuple(calendar.session(index) for index in range(first, stop))


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
