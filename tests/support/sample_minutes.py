"""Minute bars of a market whose overnight share and U-shape are known."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd

from sim.market.calendar import trading_calendar
from sim.scenario.intraday import variance_shares
from sim.scenario.model import UShape

ANNUAL = 0.15
SUBSTEPS = 4


def sample_minutes(
    n_sessions: int,
    overnight_share: float,
    u_shape: UShape,
    seed: int,
    *,
    first: dt.date = dt.date(2025, 1, 2),
    tail_dof: float | None = None,
) -> pd.DataFrame:
    """Bars of consecutive sessions: columns datetime, open, high, low, close; early closes end at their time."""
    rng = np.random.default_rng(seed)
    calendar = trading_calendar(first)
    level, times, prices = np.log(600.0), [], []
    for index in range(n_sessions):
        length = int(calendar.close_minute[index] - calendar.open_minute[index])
        shares = variance_shares(overnight_share, length * SUBSTEPS, "u", u_shape)
        mixed = 1.0 if tail_dof is None else (tail_dof - 2.0) / rng.chisquare(tail_dof)
        moves = ANNUAL / np.sqrt(252) * np.sqrt(shares * mixed) * rng.standard_normal(len(shares))
        path = level + np.cumsum(moves)
        level = path[-1]
        # each bar runs from the last one's end, the first from the open
        parts = np.lib.stride_tricks.sliding_window_view(path, SUBSTEPS + 1)[::SUBSTEPS]
        start = dt.datetime.combine(calendar.session(index), dt.time(9, 30))
        times += [start + dt.timedelta(minutes=minute) for minute in range(length)]
        prices.append(np.exp(np.stack([parts[:, 0], parts.max(1), parts.min(1), parts[:, -1]], axis=1)))
    table = pd.DataFrame(np.concatenate(prices), columns=["open", "high", "low", "close"])
    table.insert(0, "datetime", [time.isoformat(sep=" ") for time in times])
    return table


def write_minutes(table: pd.DataFrame, path: Path) -> Path:
    table.to_csv(path, index=False)
    return path
