"""Synthetic daily data with known parameters: GJR-GARCH with Student-t shocks, ranges damped by gamma exposure."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from sim.market.calendar import trading_calendar

Float64s = npt.NDArray[np.float64]
GJR = {"omega": 0.03, "alpha": 0.03, "gamma": 0.18, "beta": 0.84, "tail_dof": 6.0, "mean": 0.05}


def sessions(days: int) -> pd.DatetimeIndex:
    calendar = trading_calendar(dt.date(2010, 1, 4))
    return pd.DatetimeIndex(calendar.days[:days].astype("datetime64[D]"))


def gjr_returns(days: int, seed: int) -> Float64s:
    """Percent log returns."""
    rng = np.random.default_rng(seed)
    dof = GJR["tail_dof"]
    z = rng.standard_t(dof, days) * np.sqrt((dof - 2) / dof)
    h = GJR["omega"] / (1 - GJR["alpha"] - GJR["gamma"] / 2 - GJR["beta"])
    returns = np.empty(days)
    for t in range(days):
        shock = np.sqrt(h) * z[t]
        returns[t] = GJR["mean"] + shock
        h = GJR["omega"] + (GJR["alpha"] + GJR["gamma"] * (shock < 0)) * shock**2 + GJR["beta"] * h
    return returns


def write_closes(path: Path, returns: Float64s) -> pd.DatetimeIndex:
    """File of closes; the first return is the second row's."""
    index = sessions(returns.size + 1)
    close = 1000 * np.exp(np.concatenate([[0.0], np.cumsum(returns)]) / 100)
    pd.DataFrame({"Date": index.strftime("%Y-%m-%d"), "Close": close}).to_csv(path, index=False)
    return index


def write_impact_files(folder: Path, k: float, days: int = 1200, seed: int = 5) -> pd.DatetimeIndex:
    """Files dix.csv, ohlc.csv and vix.csv: a day's volatility is VIX/(1 + k·GEX), both of the day before."""
    rng = np.random.default_rng(seed)
    index = sessions(days)
    calm = np.zeros(days)
    for t in range(1, days):
        calm[t] = 0.97 * calm[t - 1] + 0.12 * rng.standard_normal()
    vix = 17 * np.exp(-0.4 * calm + 0.05 * rng.standard_normal(days))
    gex = 4 + 2.5 * calm + 1.5 * rng.standard_normal(days)
    before = np.concatenate([[0], np.arange(days - 1)])
    sigma = vix[before] / 100 / np.sqrt(252) / (1 + k * gex[before])
    steps = rng.standard_normal((days, 78)) * (sigma / np.sqrt(78))[:, None]
    path = np.cumsum(steps, axis=1)
    start = 4000 * np.exp(np.concatenate([[0.0], np.cumsum(path[:-1, -1])]))
    prices = start[:, None] * np.exp(np.column_stack([np.zeros(days), path]))
    dates = index.strftime("%Y-%m-%d")
    ohlc = {
        "Open": prices[:, 0],
        "High": prices.max(axis=1),
        "Low": prices.min(axis=1),
        "Close": prices[:, -1],
    }
    pd.DataFrame({"date": dates, **ohlc}).to_csv(folder / "ohlc.csv", index=False)
    pd.DataFrame({"DATE": dates, "CLOSE": vix}).to_csv(folder / "vix.csv", index=False)
    pd.DataFrame({"date": dates, "dix": 0.4, "gex": gex * 1e9}).to_csv(folder / "dix.csv", index=False)
    return index
