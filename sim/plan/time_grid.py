"""Time grid: exchange sessions, their instants, and each step's share of a session's variance.

Instants are minutes since 1970-01-01T00:00 UTC. A session is one gap step (previous close to open) and M
equal trading steps (open to close), K = M + 1 steps in all; an early close makes the trading steps shorter.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np

from sim.market.calendar import Float64s, Int64s, trading_calendar
from sim.scenario.dates import count_sessions, horizon_positions
from sim.scenario.intraday import variance_shares
from sim.scenario.model import Scenario


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


def count_steps(scenario: Scenario) -> int:
    """Number of steps D·K of a scenario's paths, without its time grid."""
    return count_sessions(scenario.market) * (scenario.volatility.steps_per_session + 1)


def build_time_grid(scenario: Scenario) -> TimeGrid:
    """Time grid of a scenario.

    scenario : its dates are sessions, as those of every `Scenario` are.
    """
    calendar, market, volatility = trading_calendar(), scenario.market, scenario.volatility
    horizon = horizon_positions(calendar, market)
    within = slice(horizon.start, horizon.stop)
    return TimeGrid(
        as_of=market.as_of,
        start_minute=int(calendar.close_minute[horizon.start - 1]),
        sessions=tuple(map(calendar.session, horizon)),
        open_minute=calendar.open_minute[within],
        close_minute=calendar.close_minute[within],
        steps_per_session=volatility.steps_per_session,
        share=variance_shares(
            volatility.overnight_share,
            volatility.steps_per_session,
            volatility.intraday_shape,
            volatility.u_shape,
        ),
    )
