"""GJR-GARCH with Student-t shocks, fitted to daily closes.

    r_t = μ + n_t,   n_t = √h_t·z_t,   h_{t+1} = ω + (α + γ·1[n_t<0])·n_t² + β·h_t

r in percent, z Student-t with ν degrees of freedom and variance one. The scenario's recursion is the same, with
ω = long_run·(1 − α − γ/2 − β).

Source: Glosten, Jagannathan & Runkle (1993); estimated by maximum likelihood by the arch package, errors robust to a
misspecified law (Bollerslev & Wooldridge 1992).
"""

from __future__ import annotations

import datetime as dt
import math
import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from sim.errors import GammawallError, InputError, Problem
from sim.fit.daily_data import on_sessions, read_daily, session_returns, window
from sim.fit.tables import Source, checked_day
from sim.market.black_scholes import SESSIONS_PER_YEAR, FloatArray
from sim.problems import short_repr
from sim.scenario.fragments import Fragment
from sim.scenario.model import LARGEST_TAIL_DOF, SMALLEST_TAIL_DOF

INSTALL: Final = "pip install 'gammawall-sim[fit]'"
FEWEST_RETURNS: Final = 500
# Largest share of returns that are 0. Of the S&P 500 since 2005 it is 0.04%, of closes that were carried over missing
# days much more.
MOST_STILL: Final = 0.2
YEARS: Final = 10
# The names of arch for what the scenario calls omega, alpha, gamma, beta and tail_dof.
NAMES: Final = {
    **{"omega": "omega", "alpha": "alpha[1]", "gamma": "gamma[1]", "beta": "beta[1]"},
    **{"tail_dof": "nu", "mean": "mu"},
}
# What a scenario takes: a persistence below one.
LARGEST_PERSISTENCE: Final = 0.9999
# Where the search for the maximum starts besides arch's own place: (alpha, gamma, beta, tail_dof).
STARTS: Final = ((0.03, 0.2, 0.85, 6.0), (0.05, 0.05, 0.9, 8.0), (0.01, 0.1, 0.7, 4.0))
# A search may end early: it is begun again where it ended, at most so often, while that gains so much.
MOST_SEARCHES: Final = 10
GAIN: Final = 0.01
# Log-likelihoods this near to one another are one maximum; two of the searches must end there.
SAME_MAXIMUM: Final = 0.5
# Standard errors of a plain mean that the fitted one may be away from it.
FURTHEST_MEAN: Final = 5.0
# No stock index has had such a volatility for long.
UNUSUAL_ANNUAL: Final = 0.6


@dataclass(frozen=True)
class ParameterEstimate:
    """Estimate of a parameter, and its standard error; NaN where that is not known."""

    value: float
    std_error: float


@dataclass(frozen=True)
class VolatilityFit:
    """Fit of the variance of daily returns.

    Attributes
    ----------
    source : name of the file, or "DataFrame prices".
    first, last : dates of the first and last return used; the last is the as-of date.
    returns : number of returns used.
    dropped : number of rows without a close.
    untraded : number of rows on days without trading, left out.
    spanning : number of returns over more than one session, left out.
    estimates : omega (percent² per session), alpha, gamma, beta, tail_dof and mean (percent per session).
    log_likelihood : log likelihood at the estimates.
    annual : volatility of the next session, √(252·h), per year.
    long_run_annual : volatility that the variance reverts to, per year.
    warnings : doubts about the fit, a sentence each.
    """

    source: str
    first: dt.date
    last: dt.date
    returns: int
    dropped: int
    untraded: int
    spanning: int
    estimates: dict[str, ParameterEstimate]
    log_likelihood: float
    annual: float
    long_run_annual: float
    warnings: tuple[str, ...]

    @property
    def persistence(self) -> float:
        """Share of today's excess variance that is left tomorrow, α + γ/2 + β."""
        return _persistence({name: estimate.value for name, estimate in self.estimates.items()})

    def scenario_keys(self) -> dict[str, Any]:
        """Keys of a scenario that the fit sets, in nested tables."""
        e = self.estimates
        return {
            "volatility": {
                "annual": _rounded(self.annual),
                "quoted": "observed",
                "long_run_annual": _rounded(self.long_run_annual),
                "alpha": _rounded(e["alpha"].value),
                "gamma": _rounded(e["gamma"].value),
                "beta": _rounded(e["beta"].value),
                "tail_dof": _rounded(
                    min(max(e["tail_dof"].value, SMALLEST_TAIL_DOF + 0.01), LARGEST_TAIL_DOF)
                ),
            }
        }

    def fragment(self) -> Fragment:
        """Fragment of the fit, for `load_scenario`."""
        return Fragment(f"volatility fit of {self.source}", self.scenario_keys(), self.metadata())

    def __repr__(self) -> str:
        found = f"annual {self.annual:.4g}, persistence {self.persistence:.4g}"
        return short_repr(
            self, f"{found}; {self.returns:,} returns of {self.source}, {self.first} to {self.last}"
        )

    def metadata(self) -> dict[str, Any]:
        """Values of the table [fit] of a fragment."""
        return {
            "kind": "volatility",
            "sources": [self.source],
            "first": self.first,
            "last": self.last,
            "returns": self.returns,
            "estimates": {name: _rounded(e.value) for name, e in self.estimates.items()},
            "std_errors": {
                name: _rounded(e.std_error)
                for name, e in self.estimates.items()
                if math.isfinite(e.std_error)
            },
            "log_likelihood": round(self.log_likelihood, 3),
        }


def fit_volatility(
    prices: Source, *, since: dt.date | None = None, as_of: dt.date | None = None
) -> VolatilityFit:
    """Fit of GJR-GARCH with Student-t shocks to the closes of a file or a DataFrame.

    Parameters
    ----------
    prices : CSV file with the columns date and close, or a DataFrame with close and a DatetimeIndex or a column date;
        close in index points or any other unit, > 0. Rows in any order; those without a close are counted.
    since : first date of a return; 1 January ten years before the as-of date's year if None.
    as_of : last close; the last there is if None.

    Returns over more than one session, where a close is missing, are left out.

    Raises
    ------
    InputError : with every problem of the data; or they are not daily, too few, or of no index.
    GammawallError : arch is not installed, or the likelihood has no maximum inside.
    """
    since, as_of = checked_day("since", since), checked_day("as_of", as_of)
    table = read_daily(prices, ["close"], positive=["close"], argument="prices")
    rows, untraded = on_sessions(table)
    index = pd.DatetimeIndex(rows.index)
    last = window(index, None, as_of, table.source)[1]
    first, last = window(index, since or dt.date(last.year - YEARS, 1, 1), as_of, table.source)
    before = max(int(index.searchsorted(first)) - 1, 0)
    log_returns, spanning = session_returns(rows["close"].iloc[before:].loc[:last], table.source)
    returns = 100.0 * log_returns
    if len(returns) < FEWEST_RETURNS:
        why = f"only {len(returns)} returns from {first.date()} to {last.date()}, and {FEWEST_RETURNS} are the fewest"
        raise InputError([Problem(table.source, "", "", why, "Try an earlier first day.")])
    if not float(returns.std()) > 0:
        raise InputError([Problem(table.source, "close", "", "never changes", "Try the right file.")])
    still = float((returns == 0).mean())
    if still > MOST_STILL:
        why = f"{still:.0%} of the returns are 0, as where missing closes were filled with the ones before"
        raise InputError([Problem(table.source, "close", "", why, "Try the file without filled rows.")])
    result, complaints = _estimated(returns, table.source)
    estimates = {
        name: ParameterEstimate(float(result.params[own]), float(result.std_err[own]))
        for name, own in NAMES.items()
    }
    persistence = _persistence({name: estimate.value for name, estimate in estimates.items()})
    variance = float(result.forecast(horizon=1, reindex=False).variance.iloc[-1, 0])
    long_run = estimates["omega"].value / (1.0 - persistence)
    return VolatilityFit(
        table.source,
        returns.index[0].date(),
        returns.index[-1].date(),
        len(returns),
        table.dropped,
        untraded,
        spanning,
        estimates,
        float(result.loglikelihood),
        _annual(variance),
        _annual(long_run),
        (*complaints, *_boundary_warnings(estimates), *_scale_warnings(_annual(long_run))),
    )


def _estimated(returns: pd.Series, source: str) -> tuple[Any, list[str]]:
    try:
        from arch import arch_model
    except ImportError as error:
        raise GammawallError(
            f"fitting a volatility needs the arch package ({error}). Try {INSTALL}."
        ) from error
    model = arch_model(returns, mean="Constant", vol="GARCH", p=1, o=1, q=1, dist="t", rescale=False)
    starts = (None, *(_start(returns, *parameters) for parameters in STARTS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [_searched(model, start) for start in starts]
    # A start may end beside the maximum, whatever its flag says; which one does may depend on the processor.
    result = max(found, key=lambda each: each.loglikelihood)
    agreeing = sum(result.loglikelihood - each.loglikelihood < SAME_MAXIMUM for each in found)
    converged = sum(each.convergence_flag == 0 for each in found)
    persistence = _persistence({name: float(result.params[own]) for name, own in NAMES.items()})
    # Where there is no maximum, which of these shows it depends on the processor: one reason tells them all.
    if agreeing < 2 or converged == 0 or persistence > LARGEST_PERSISTENCE:
        why = "the likelihood has no clear maximum where the variance is stationary"
        ends = f"of {len(found)} searches {agreeing} end at the best and {converged} converge"
        facts = f"{ends}, alpha + gamma/2 + beta = {persistence:.5f} at the best"
        raise GammawallError(f"{source}: {why} ({facts}). Try the right file, or another first day.")
    mean, spread = float(result.params[NAMES["mean"]]), float(returns.std()) / math.sqrt(len(returns))
    if abs(mean - float(returns.mean())) > FURTHEST_MEAN * spread:
        why = f"the mean found, {mean:.3g}% per session, is far from the returns' own, {returns.mean():.3g}%"
        raise GammawallError(
            f"{source}: {why}: they follow no such law. Try the right file, or another first day."
        )
    if not np.isfinite(result.std_err).all():
        return result, ["some standard errors cannot be worked out: the likelihood is flat there"]
    return result, []


def _searched(model: Any, start: FloatArray | None) -> Any:
    """Best result of a search from a start, begun again where it ended."""
    best = model.fit(disp="off", show_warning=False, starting_values=start)
    for _ in range(MOST_SEARCHES - 1):
        again = model.fit(disp="off", show_warning=False, starting_values=best.params.to_numpy())
        gain = again.loglikelihood - best.loglikelihood
        if gain > 0:
            best = again
        if not gain > GAIN:
            break
    return best


def _persistence(values: dict[str, float]) -> float:
    """Persistence of the variance, α + γ/2 + β."""
    return values["alpha"] + values["gamma"] / 2 + values["beta"]


def _start(returns: pd.Series, alpha: float, gamma: float, beta: float, dof: float) -> FloatArray:
    """Start of the search, (6,): mean, omega, alpha, gamma, beta and degrees of freedom, in arch's order."""
    omega = float(returns.var()) * (1.0 - alpha - gamma / 2 - beta)
    return np.array([float(returns.mean()), omega, alpha, gamma, beta, dof])


def _scale_warnings(long_run_annual: float) -> list[str]:
    if long_run_annual <= UNUSUAL_ANNUAL:
        return []
    return [f"a long-run volatility of {long_run_annual:.0%} is none of a stock index: is it the right file?"]


def _boundary_warnings(estimates: dict[str, ParameterEstimate]) -> list[str]:
    """Warnings about parameters at the edge of their range, where standard errors mean little."""
    found = [
        f"{name} lies at its boundary of zero: its standard error means little"
        for name in ("alpha", "gamma", "beta")
        if abs(estimates[name].value) < 1e-6
    ]
    if (
        abs(estimates["alpha"].value) >= 1e-6
        and abs(estimates["alpha"].value + estimates["gamma"].value) < 1e-6
    ):
        found.append("alpha + gamma lies at its boundary of zero: their standard errors mean little")
    if estimates["tail_dof"].value > 100:
        found.append("tail_dof is so large that shocks are normal for all that matters")
    if estimates["tail_dof"].value < SMALLEST_TAIL_DOF + 0.05:
        found.append("tail_dof lies at its boundary of 2.05: the variance hardly exists")
    return found


def _annual(variance: float) -> float:
    return math.sqrt(SESSIONS_PER_YEAR * variance) / 100.0


def _rounded(value: float) -> float:
    """Number rounded to six digits: more is noise."""
    return float(f"{value:.6g}")
