"""Price impact of dealers' hedging, as far as volatility against published gamma exposure can tell.

    log σ_t = a + b·log VIX_{t−1} + Σ_j c_j·(mean log σ of the last j days) − log(1 + k·GEX_{t−1}) + error

σ_t is a day's volatility from its open, high, low and close (Garman & Klass 1980), j = 1, 5, 22 as in Corsi's (2009)
heterogeneous autoregression, GEX in $bn per 1% move. The clearing map damps volatility by the feedback factor
m = 1 + κ·S·G, and with G in $bn per 1%, m = 1 + 0.01·impact_bp_per_bn·GEX: so impact_bp_per_bn = 100·k.

This is an association and an upper bound, no causal effect: gamma exposure is high when markets are calm anyway, and
what the controls miss of that calm counts as the dealers' doing.

Intervals are the stationary bootstrap's (Politis & Romano 1994) over days, blocks as long as the residuals want
(Politis & White 2004), a month at least.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from sim.errors import GammawallError, InputError, Problem
from sim.fit.daily_data import OHLC, DailyTable, on_sessions, read_daily, refuse_absent, window
from sim.fit.tables import Source, check_count, checked_day
from sim.market.black_scholes import FloatArray
from sim.problems import short_repr
from sim.scenario.fragments import Fragment

INSTALL: Final = "pip install 'gammawall-sim[fit]'"
DEFAULT_SINCE: Final = dt.date(2023, 1, 1)
FEWEST_DAYS: Final = 250
LAGS: Final = (1, 5, 22)
# k is looked for where 1 + k·GEX stays above this on every day.
SMALLEST_DIVISOR: Final = 0.05
SMALLEST_K, LARGEST_K = -0.5, 2.0
GRID_POINTS: Final = 101
# A k within this share of the ends of where it is looked for has not been found.
EDGE: Final = 0.01
SHORTEST_BLOCK: Final = 22
# Limits of the median of published gamma exposure, USD per 1% move, and of the median close of the VIX, percent.
USUAL_GEX: Final = (1e7, 1e12)
USUAL_VIX: Final = (5.0, 100.0)
# Correlation of the daily moves of two files of prices that are of one index.
SAME_INDEX: Final = 0.9
# Share of a span's sessions that the files may lack.
MOST_ABSENT: Final = 0.1
BP_PER_K: Final = 100.0


@dataclass(frozen=True)
class ImpactSpecification:
    """Specification of the regression: the measure of a day's volatility, and the controls beside gamma exposure.

    Attributes
    ----------
    name : the specification in words.
    measure : "garman_klass" or "parkinson".
    vix : whether the VIX of the day before is a control.
    lags : days over which the range's own past is averaged, each a control.
    """

    name: str
    measure: str
    vix: bool
    lags: tuple[int, ...]

    def __repr__(self) -> str:
        return short_repr(self, f"{self.name}: {self.measure}, lags {list(self.lags)}")


MAIN: Final = ImpactSpecification("VIX and past ranges", "garman_klass", True, LAGS)
OTHERS: Final = (
    ImpactSpecification("the same, Parkinson's range", "parkinson", True, LAGS),
    ImpactSpecification("VIX alone", "garman_klass", True, ()),
    ImpactSpecification("past ranges alone", "garman_klass", False, LAGS),
    ImpactSpecification("no controls (naive)", "garman_klass", False, ()),
)


@dataclass(frozen=True)
class ImpactEstimate:
    """Estimate of k under one specification.

    Attributes
    ----------
    specification : measure and controls.
    k : per $bn of gamma exposure per 1% move.
    r_squared : R² of the log ranges.
    days : number of days explained.
    """

    specification: ImpactSpecification
    k: float
    r_squared: float
    days: int

    def __repr__(self) -> str:
        return short_repr(self, f"{self.specification.name}: k = {self.k:.4f}, R² {self.r_squared:.3f}")


@dataclass(frozen=True)
class ImpactFit:
    """Fit of the dealers' impact to volatility and published gamma exposure.

    Attributes
    ----------
    sources : names of the files, or "DataFrame gex" and so on: gamma exposure, prices, VIX.
    first, last : first and last day whose range is explained.
    days : number of days explained.
    lost : number of days since the first that are not in all three tables.
    unmoved : number of days since the first without a range; they, and the month after each, are not explained.
    main : estimate with all controls, the one that counts.
    others : estimates with other controls, for comparison.
    std_error, low, high : bootstrap standard error and 95% interval of the main k.
    block_days : mean length of a block of the bootstrap.
    repeats : number of draws of the bootstrap.
    gex_bn : published gamma exposure on the last day, $bn per 1% move.
    gex_mean_bn : mean gamma exposure over the days, $bn per 1% move.
    """

    sources: tuple[str, str, str]
    first: dt.date
    last: dt.date
    days: int
    lost: int
    unmoved: int
    main: ImpactEstimate
    others: tuple[ImpactEstimate, ...]
    std_error: float
    low: float
    high: float
    block_days: int
    repeats: int
    gex_bn: float
    gex_mean_bn: float

    @property
    def impact_bp_per_bn(self) -> float:
        """Impact as a scenario states it, 100·k, basis points per $bn."""
        return BP_PER_K * self.main.k

    def fragment(self) -> Fragment:
        """Fragment of the fit, for `load_scenario`.

        Errors: as of `scenario_keys`.
        """
        return Fragment(f"impact fit of {', '.join(self.sources)}", self.scenario_keys(), self.metadata())

    def __repr__(self) -> str:
        k = f"k = {self.main.k:.4f} per $bn, 95% {self.low:.4f} to {self.high:.4f}"
        return short_repr(self, f"{k}; {self.days:,} days, {self.first} to {self.last}")

    def scenario_keys(self) -> dict[str, Any]:
        """Keys of a scenario that the fit sets, in nested tables.

        Errors: `GammawallError` where k is negative, which no impact can be.
        """
        if self.main.k < 0:
            raise GammawallError(
                f"k = {self.main.k:.4f} is negative: volatility was no lower on days of high gamma exposure, and "
                "there is no impact to give a scenario. Try another first day."
            )
        return {"dealers": {"impact_bp_per_bn": round(self.impact_bp_per_bn, 3)}}

    def metadata(self) -> dict[str, Any]:
        """Values of the table [fit] of a fragment."""
        return {
            "kind": "impact",
            "sources": list(self.sources),
            "first": self.first,
            "last": self.last,
            "days": self.days,
            "k": round(self.main.k, 5),
            "k_std_error": round(self.std_error, 5),
            "k_low": round(self.low, 5),
            "k_high": round(self.high, 5),
            "gex_bn": round(self.gex_bn, 4),
        }


def fit_impact(
    gex: Source,
    prices: Source,
    vix: Source,
    *,
    since: dt.date = DEFAULT_SINCE,
    as_of: dt.date | None = None,
    repeats: int = 500,
    seed: int = 1,
) -> ImpactFit:
    """Fit of the impact to three daily tables, each a CSV file or a DataFrame.

    Each has a column of dates named date; a DataFrame may have a DatetimeIndex instead.

    Parameters
    ----------
    gex : published gamma exposure: gex, USD per 1% move; price, if there, must move as the prices do.
    prices : open, high, low, close of the index, any unit, > 0.
    vix : close of the VIX, percent.
    since : first day whose range is explained.
    as_of : last day whose range is explained; the last that all three tables have if None.
    repeats : number of draws of the bootstrap, at least 2.
    seed : seed of the bootstrap, from 0.

    Raises
    ------
    InputError : with every problem of one of the tables; or a table is not of its kind, as when two are swapped.
    GammawallError : arch is not installed, or no k is found.
    """
    check_count("repeats", repeats, 2)
    check_count("seed", seed, 0, math.inf)
    first_day, as_of = checked_day("since", since), checked_day("as_of", as_of)
    gamma = read_daily(gex, ["gex"], positive=[], optional=["price"], argument="gex")
    ranges = read_daily(prices, OHLC, positive=OHLC, argument="prices")
    fear = read_daily(vix, ["close"], positive=["close"], argument="vix")
    sources = gamma.source, ranges.source, fear.source
    _refuse_other_files(gamma, ranges, fear)
    together = pd.concat(
        [gamma.rows["gex"] / 1e9, on_sessions(ranges)[0][list(OHLC)], fear.rows["close"].rename("vix")],
        axis=1,
        join="outer",
        sort=True,
    )
    days = together.dropna()
    where = " and ".join(sources)
    if days.empty:
        raise InputError([Problem(where, "", "", "have no day in common", "Try files of the same years.")])
    first, last = window(pd.DatetimeIndex(days.index), first_day, as_of, where)
    lost = int(together.loc[first:last].isna().any(axis=1).sum())
    days = days.loc[:last]
    explained = days.loc[first:]
    refuse_absent(pd.DatetimeIndex(explained.index), where, MOST_ABSENT)
    main = _Regression(days, MAIN, first)
    if main.log_range.size < FEWEST_DAYS:
        span = f"from {first.date()} to {last.date()}"
        why = f"only {main.log_range.size} days {span}, and {FEWEST_DAYS} are the fewest"
        raise InputError([Problem(where, "", "", why, "Try an earlier first day.")])
    _refuse_edge(main, where)
    block = _block_length(main)
    draws = _bootstrap(main, block, repeats, seed)
    others = tuple(_estimate(_Regression(days, other, first), other) for other in OTHERS)
    return ImpactFit(
        sources,
        main.dates[0].date(),
        main.dates[-1].date(),
        main.log_range.size,
        lost,
        int(_range(explained, MAIN.measure).isna().sum()),
        _estimate(main, MAIN),
        others,
        float(np.std(draws, ddof=1)),
        float(np.quantile(draws, 0.025)),
        float(np.quantile(draws, 0.975)),
        block,
        repeats,
        float(days["gex"].iloc[-1]),
        float(main.exposure.mean()),
    )


def _refuse_other_files(gamma: DailyTable, prices: DailyTable, fear: DailyTable) -> None:
    """Refuse tables that are plainly of another kind: no gamma exposure in USD, no VIX, prices of another index."""
    problems = []
    size = float(gamma.rows["gex"].abs().median())
    if not USUAL_GEX[0] <= size <= USUAL_GEX[1]:
        why = f"has {size:.3g} in the middle, and USD per 1% move are expected, some 1e9"
        problems.append(
            Problem(gamma.source, "gex", "", why, "Try SqueezeMetrics' DIX file as it was downloaded.")
        )
    for table, column in ((gamma, "gex"), (prices, "close"), (fear, "close")):
        if table.rows[column].nunique() == 1 and len(table.rows) > 1:
            problems.append(Problem(table.source, column, "", "never changes", "Try the right file."))
    if problems:
        raise InputError(problems)
    middle = float(fear.rows["close"].median())
    if not USUAL_VIX[0] <= middle <= USUAL_VIX[1]:
        why = f"closes at {middle:.5g} in the middle, which is no VIX"
        problems.append(Problem(fear.source, "close", "", why, "Try the files in the order DIX, OHLC, VIX."))
    both = pd.concat([gamma.rows["price"], prices.rows["close"]], axis=1, sort=True).dropna()
    moves = both.where(both > 0).apply(np.log).diff().dropna()
    if len(moves) >= FEWEST_DAYS:
        alike = float(np.corrcoef(moves.to_numpy().T)[0, 1])
        if not alike >= SAME_INDEX:
            why = f"closes do not move as the prices of {gamma.source} do: their correlation is {alike:.2f}"
            problems.append(
                Problem(prices.source, "close", "", why, "Try the files in the order DIX, OHLC, VIX.")
            )
    if problems:
        raise InputError(problems)


def _refuse_edge(regression: _Regression, where: str) -> None:
    """Refuse a k at an end of the range searched: the data have no such law."""
    whole = np.arange(regression.log_range.size)
    k, (low, high) = regression.k(whole)[0], regression.bounds(whole)
    if min(k - low, high - k) < EDGE * (high - low):
        why = f"k = {k:.4g} lies at the end of where it is looked for, {low:.3g} to {high:.3g}"
        raise GammawallError(f"{where}: {why}. Is gex in USD per 1% move? Try another first day.")


class _Regression:
    """Log ranges of days, their controls and the gamma exposure of the day before.

    Parameters
    ----------
    days : gex, open, high, low, close, vix by date.
    specification : measure and controls.
    first : first day to explain.
    """

    def __init__(self, days: pd.DataFrame, specification: ImpactSpecification, first: pd.Timestamp):
        log_range = np.log(_range(days, specification.measure))
        controls = [pd.Series(1.0, index=days.index)]
        if specification.vix:
            controls.append(np.log(days["vix"]).shift(1))
        controls += [log_range.rolling(lag).mean().shift(1) for lag in specification.lags]
        table = pd.concat([log_range, days["gex"].shift(1), *controls], axis=1)
        table = table[np.isfinite(table).all(axis=1)].loc[first:]
        self.dates = pd.DatetimeIndex(table.index)
        numbers = table.to_numpy(dtype=np.float64)
        self.log_range, self.exposure, self.controls = numbers[:, 0], numbers[:, 1], numbers[:, 2:]

    def k(self, days: Any) -> tuple[float, FloatArray]:
        """Least-squares k of some days, and the residuals (days,); for a given k all else is linear."""
        y, gex, controls = self.log_range[days], self.exposure[days], self.controls[days]
        basis, _ = np.linalg.qr(controls)

        def residuals(k: float) -> FloatArray:
            own = y + np.log1p(k * gex)
            return np.asarray(own - basis @ (basis.T @ own))

        def loss(k: float) -> float:
            return float((residuals(k) ** 2).sum())

        grid = np.linspace(*self.bounds(days), GRID_POINTS)
        best = int(np.argmin([loss(k) for k in grid]))
        around = grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)]
        found = float(minimize_scalar(loss, bounds=around, method="bounded", options={"xatol": 1e-7}).x)
        return found, residuals(found)

    def bounds(self, days: Any) -> tuple[float, float]:
        """Lower and upper bound of the search for k on some days, so that 1 + k·GEX stays well above zero."""
        gex = self.exposure[days]
        low, high = SMALLEST_K, LARGEST_K
        if gex.max() > 0:
            low = max(low, (SMALLEST_DIVISOR - 1) / gex.max())
        if gex.min() < 0:
            high = min(high, (SMALLEST_DIVISOR - 1) / gex.min())
        return low, high


def _range(days: pd.DataFrame, measure: str) -> pd.Series:
    """Volatility of each day's trading by its range, log units; NaN for a day without a range."""
    high_low = np.log(days["high"] / days["low"])
    if measure == "parkinson":
        variance = pd.Series(high_low**2 / (4 * math.log(2)))
    else:
        variance = pd.Series(
            0.5 * high_low**2 - (2 * math.log(2) - 1) * np.log(days["close"] / days["open"]) ** 2
        )
    return pd.Series(np.sqrt(variance.where(variance > 0)), index=days.index)


def _estimate(regression: _Regression, specification: ImpactSpecification) -> ImpactEstimate:
    k, residuals = regression.k(np.arange(regression.log_range.size))
    r_squared = 1.0 - float(residuals.var() / regression.log_range.var())
    return ImpactEstimate(specification, k, r_squared, regression.log_range.size)


def _block_length(regression: _Regression) -> int:
    """Length of a bootstrap block in days: the longest that residuals, their squares or the score of k ask for.

    It is a month at least.
    """
    try:
        from arch.bootstrap import optimal_block_length
    except ImportError as error:
        raise GammawallError(f"fitting an impact needs the arch package ({error}). Try {INSTALL}.") from error
    k, residuals = regression.k(np.arange(regression.log_range.size))
    score = residuals * regression.exposure / (1 + k * regression.exposure)
    lengths = optimal_block_length(np.column_stack([residuals, residuals**2, score]))["stationary"]
    return max(SHORTEST_BLOCK, math.ceil(float(lengths.max())))


def _bootstrap(regression: _Regression, block: int, repeats: int, seed: int) -> FloatArray:
    from arch.bootstrap import StationaryBootstrap

    days = np.arange(regression.log_range.size)
    bootstrap = StationaryBootstrap(block, days, seed=np.random.default_rng(seed))
    return np.array([regression.k(data[0][0])[0] for data in bootstrap.bootstrap(repeats)])
