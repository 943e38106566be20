"""Fit of a session's variance to minute bars: its overnight share, and the U of the trading day.

The overnight share is q/(q + p), with q and p the mean squares of the log moves from the previous close to the open
and from open to close. Both are winsorised: a move beyond 5 robust standard deviations (each 1.4826 times the median
of its kind's absolute moves) counts as one of 5. Normal moves hardly ever are, the tails of Student-t sessions lose
about as much on either side, and a bad print or a split cannot decide the share.

For the U each session's squared minute returns are divided by their mean, so that a wild session counts like any
other and its volatility drops out, as in Andersen & Bollerslev 1997. Their mean over the sessions, minute by minute,
is fitted by the density's integral over each minute. The error of a mean square grows with what it estimates: the
weights are the inverse fitted density, found again until nothing changes.

Standard errors are the standard deviations over fits to sessions drawn with replacement; each session keeps its gap.
They take sessions as independent, and are too small for a share in times when calm and wild months take turns.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from sim.errors import InputError, Problem
from sim.fit.minute_bars import MinuteBars, read_minute_bars, until
from sim.fit.tables import Source, check_count, checked_day
from sim.market.calendar import trading_calendar
from sim.problems import short_repr
from sim.scenario.fragments import Fragment
from sim.scenario.intraday import u_shape_integral
from sim.scenario.model import UShape

Float64s = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

FEWEST_SESSIONS: Final = 20
MOST_MISSING: Final = 0.1
WINSORISED_AT: Final = 5.0
RESAMPLES: Final = 200
SEED: Final = 20260210

EARLY_CLOSE: Final = "close early"
NO_OPEN: Final = "have no bar in their first minute"
NO_CLOSE: Final = "have no bar in their last minute"
GAPPY: Final = "lack more than a tenth of their minutes"
UNMOVED: Final = "do not move"

# No stock or index has so small a share of its variance overnight.
LEAST_OVERNIGHT: Final = 0.05

_MINUTES: Final = 390
# A fade below a minute or beyond the day cannot be told from none.
_LEAST, _MOST = (0.0, 0.0, 1.0 / _MINUTES, 0.0, 1.0 / _MINUTES), (np.inf, np.inf, 1.0, np.inf, 1.0)
# A base below this, against a mean density of 1, is none: no market stands still in the middle of the day.
_NO_BASE: Final = 1e-3
_ROUNDS: Final = 50
_SETTLED: Final = 1e-6
_NAMES: Final = tuple(UShape.model_fields)


@dataclass(frozen=True, eq=False)
class IntradayFit:
    """Overnight share and U-shape of a session's variance, with standard errors.

    source : name of the file of minute bars, or "DataFrame bars".
    first, last : first and last session used.
    sessions : number of sessions used.
    dropped : number of sessions not used, by reason.
    gaps : number of sessions used whose previous close is known; the overnight share is theirs.
    winsorised : number of their moves that were cut, overnight and open to close.
    overnight_share, overnight_share_error : share of the gap in a session's variance.
    u_shape : density of the variance over the trading day, its integral 1.
    u_shape_error : standard error of each of its parts, by name.
    overnight_share_plain : overnight share without winsorising: where it differs much, a few moves decide it.
    at_limit : names of the parts that ended at the least or the greatest the fit allows.
    density : float64 (390,), mean squared minute returns of the sessions, their mean 1: what the U is fitted to.
    bars_left_out, minutes_missing, sessions_absent, bars_out_of_order : as in `MinuteBars`.
    resamples, seed : number of resamples for the standard errors, and their seed.
    """

    source: str
    first: dt.date
    last: dt.date
    sessions: int
    dropped: dict[str, int]
    gaps: int
    winsorised: int
    overnight_share: float
    overnight_share_error: float
    overnight_share_plain: float
    u_shape: UShape
    u_shape_error: dict[str, float]
    at_limit: tuple[str, ...]
    density: Float64s
    bars_left_out: dict[str, int]
    minutes_missing: int
    sessions_absent: int
    bars_out_of_order: int
    resamples: int
    seed: int

    def scenario_keys(self) -> dict[str, Any]:
        """Keys of a scenario that the fit sets, in nested tables: U to four digits, share to three decimals."""
        shape = {name: _digits(getattr(self.u_shape, name), 4) for name in _NAMES}
        share = min(round(self.overnight_share, 3), 0.999)
        return {"volatility": {"overnight_share": share, "intraday_shape": "u", "u_shape": shape}}

    def fragment(self) -> Fragment:
        """Fragment of the fit, for `load_scenario`."""
        return Fragment(f"intraday fit of {self.source}", self.scenario_keys(), self.metadata())

    def __repr__(self) -> str:
        used = f"{self.sessions:,} sessions of {self.source}, {self.first} to {self.last}"
        return short_repr(self, f"overnight share {self.overnight_share:.3f}; {used}")

    @property
    def warnings(self) -> tuple[str, ...]:
        """Doubts about the fit, a sentence each."""
        found = [
            f"{name} lies at the limit of what can be told apart" for name in self.at_limit if name != "base"
        ]
        if "base" in self.at_limit:
            found.append("nothing moves in the middle of the day: are the times New York's?")
        if self.overnight_share < LEAST_OVERNIGHT:
            found.append(
                "hardly anything moves overnight: are the opens the closes before, as in some index files?"
            )
        return tuple(found)

    def metadata(self) -> dict[str, Any]:
        """Values of the table [fit] of a fragment: texts, dates, numbers and tables of them."""
        return {
            "kind": "intraday",
            "source": self.source,
            "first": self.first,
            "last": self.last,
            "sessions": self.sessions,
            "sessions_dropped": dict(self.dropped),
            "sessions_absent": self.sessions_absent,
            "gaps": self.gaps,
            "moves_winsorised": self.winsorised,
            "overnight_share_plain": round(self.overnight_share_plain, 3),
            "bars_left_out": dict(self.bars_left_out),
            "bars_out_of_order": self.bars_out_of_order,
            "minutes_missing": self.minutes_missing,
            "overnight_share_error": _digits(self.overnight_share_error, 2),
            "u_shape_error": {name: _digits(error, 2) for name, error in self.u_shape_error.items()},
            "u_shape_at_limit": list(self.at_limit),
            "resamples": self.resamples,
            "seed": self.seed,
        }


def fit_intraday(
    bars: MinuteBars | Source, *, as_of: dt.date | None = None, resamples: int = RESAMPLES, seed: int = SEED
) -> IntradayFit:
    """Fit of the overnight share and the U-shape to the sessions in minute bars.

    Parameters
    ----------
    bars : CSV file, DataFrame or what `read_minute_bars` made of one, which see for columns, units and time zones. At
        least 20 sessions must be usable: of full length, with bars in their first and last minute and in nine tenths
        of the others.
    as_of : last session to use; the last there is if None.
    resamples : fits to resampled sessions, at least 2.
    seed : of the resampling, from 0.

    Raises
    ------
    InputError : with every problem of the data; or too few sessions can be used.

    Source: Andersen & Bollerslev 1997 for the shape; Efron 1979 for the standard errors.
    """
    check_count("resamples", resamples, 2)
    check_count("seed", seed, 0, math.inf)
    as_of = checked_day("as_of", as_of)
    bars = bars if isinstance(bars, MinuteBars) else read_minute_bars(bars)
    bars = bars if as_of is None else until(bars, as_of)
    days = _Days(bars)
    usable = np.flatnonzero(days.flaw == "")
    dropped = {str(reason): int(np.sum(days.flaw == reason)) for reason in np.unique(days.flaw) if reason}
    gap_days = usable[np.isfinite(days.gap[usable])]
    _check_numbers(bars, usable, dropped, gap_days)

    gap, trading = days.gap[usable], days.trading[usable]
    if not trading[np.isfinite(gap)].any():
        why = "no session closes at another price than it opened"
        raise InputError([Problem(bars.source, "", "", why, "Try the right file.")])
    share, winsorised = _overnight_share(gap, trading)
    squares = days.squares(usable)
    density = _mean_square(squares)
    fitted = _fitted(density)
    rng = np.random.default_rng(seed)
    shares, shapes = np.empty(resamples), np.empty((resamples, len(_NAMES)))
    for index in range(resamples):
        drawn = rng.integers(len(usable), size=len(usable))
        shares[index] = _overnight_share(gap[drawn], trading[drawn])[0]
        # the weights stay: what they do to the errors is of second order
        shapes[index] = _normalised(_weighted_fit(_mean_square(squares[drawn]), fitted, _minutes_of(fitted)))
    error = shapes.std(axis=0, ddof=1)
    return IntradayFit(
        source=bars.source,
        first=bars.sessions[usable[0]],
        last=bars.sessions[usable[-1]],
        sessions=len(usable),
        dropped=dropped,
        gaps=len(gap_days),
        winsorised=winsorised,
        overnight_share=share,
        overnight_share_error=float(np.nanstd(shares, ddof=1)),
        overnight_share_plain=_overnight_share(gap, trading, winsorised_at=np.inf)[0],
        u_shape=_shape(_normalised(fitted)),
        u_shape_error=dict(zip(_NAMES, error.tolist(), strict=True)),
        at_limit=tuple(
            name
            for name, value, least, most in zip(_NAMES, fitted, _LEAST, _MOST, strict=True)
            if (name.endswith("_fade") and not 1.001 * least < value < 0.999 * most)
            or (name == "base" and value < _NO_BASE)
        ),
        density=density,
        bars_left_out=dict(bars.left_out),
        minutes_missing=bars.missing,
        sessions_absent=bars.absent,
        bars_out_of_order=bars.out_of_order,
        resamples=resamples,
        seed=seed,
    )


class _Days:
    """Sessions of minute bars as rows.

    flaw : reason why a session cannot be used, "" if it can.
    gap, trading : log moves from the previous session's close to the open, NaN where that is not known, and from
        open to close.
    """

    def __init__(self, bars: MinuteBars):
        n_days, length = len(bars.sessions), bars.length
        self._close = np.full((n_days, max(_MINUTES, int(length.max()))), np.nan)
        self._close[bars.session, bars.minute] = np.log(bars.close)
        self._open = np.full(n_days, np.nan)
        at_open = bars.minute == 0
        self._open[bars.session[at_open]] = np.log(bars.open[at_open])
        last = self._close[np.arange(n_days), length - 1]
        before = np.concatenate(([np.nan], last[:-1]))
        before[~_follows(bars)] = np.nan
        self.gap = self._open - before
        self.trading = last - self._open
        held = np.bincount(bars.session, minlength=n_days)
        self.flaw = np.select(
            [
                length != _MINUTES,
                np.isnan(self._open),
                np.isnan(last),
                held < (1.0 - MOST_MISSING) * length,
                np.nansum(self._returns() ** 2, axis=1) == 0.0,
            ],
            [EARLY_CLOSE, NO_OPEN, NO_CLOSE, GAPPY, UNMOVED],
            default="",
        )

    def _returns(self) -> Float64s:
        """Log moves of each minute, from the open or the last minute's close; NaN beside a missing bar."""
        return np.diff(self._close[:, :_MINUTES], prepend=self._open[:, None])

    def squares(self, days: Int64s) -> Float64s:
        """Squared minute returns of some sessions, float64 (days, 390), each session's mean 1."""
        squares: Float64s = self._returns()[days] ** 2
        squares /= np.nanmean(squares, axis=1, keepdims=True)
        return squares


def _follows(bars: MinuteBars) -> npt.NDArray[np.bool_]:
    """Flags (sessions,): whether the bars also have the exchange's session before."""
    calendar = trading_calendar(bars.sessions[0], bars.sessions[-1])
    places = np.array([calendar.position(session) for session in bars.sessions])
    follows: npt.NDArray[np.bool_] = np.diff(places, prepend=-1) == 1
    return follows


def _check_numbers(bars: MinuteBars, usable: Int64s, dropped: dict[str, int], gap_days: Int64s) -> None:
    reasons = [f"{count:,} {reason}" for reason, count in dropped.items()]
    left_out = [f"{count:,} bars {reason} were left out" for reason, count in bars.left_out.items()]
    why = ""
    if len(usable) < FEWEST_SESSIONS:
        n = len(usable)
        why = f"{n} of its {len(bars.sessions)} sessions can be used, at least {FEWEST_SESSIONS} are needed"
    elif len(gap_days) < FEWEST_SESSIONS:
        why = f"{len(gap_days)} sessions follow on one whose close is known, at least {FEWEST_SESSIONS} are needed"
    if why:
        told = "; ".join([why, *reasons, *left_out])
        raise InputError([Problem(bars.source, "", "", told, "Try minute bars of a month or more.")])


def _overnight_share(
    gap: Float64s, trading: Float64s, winsorised_at: float = WINSORISED_AT
) -> tuple[float, int]:
    """Share of the gap in the variance of sessions whose gap is known, and the number of moves winsorised."""
    known = np.isfinite(gap)
    means, cut = [], 0
    for moves in (np.abs(gap[known]), np.abs(trading[known])):
        limit = winsorised_at * 1.4826 * float(np.median(moves))
        # a median of zero says nothing about the spread
        limit = limit if limit > 0.0 else np.inf
        cut += int(np.count_nonzero(moves > limit))
        means.append(float(np.mean(np.minimum(moves, limit) ** 2)))
    total = sum(means)
    return (means[0] / total if total > 0.0 else np.nan), cut


def _mean_square(squares: Float64s) -> Float64s:
    """Mean over the sessions of their squared minute returns, float64 (390,), its mean 1."""
    known = np.isfinite(squares)
    # no session may have a minute: it then counts as an average one
    sums, counts = np.where(known, squares, 0.0).sum(axis=0), known.sum(axis=0)
    mean: Float64s = np.where(counts > 0, sums / np.maximum(counts, 1), 1.0)
    mean /= mean.mean()
    return mean


def _minutes_of(parts: Float64s) -> Float64s:
    """Mean density over each minute, float64 (390,)."""
    edges = np.arange(_MINUTES + 1) / _MINUTES
    minutes: Float64s = np.diff(u_shape_integral(edges, _shape(parts))) * _MINUTES
    return minutes


def _fitted(density: Float64s) -> Float64s:
    """Parts of the U nearest to a density by least squares, weighted by the inverse of the fitted density."""
    parts = np.array([getattr(UShape(), name) for name in _NAMES])
    spread = _minutes_of(parts)
    for _ in range(_ROUNDS):
        before = spread
        parts = _weighted_fit(density, parts, spread)
        spread = _minutes_of(parts)
        if np.max(np.abs(spread / before - 1.0)) < _SETTLED:
            break
    return parts


def _weighted_fit(density: Float64s, start: Float64s, spread: Float64s) -> Float64s:
    # a minute that is expected to be still must not outweigh all others
    weight = 1.0 / np.maximum(spread, 0.01)
    inside = np.clip(start, np.array(_LEAST) + 1e-4, np.array(_MOST) - 1e-4)

    def residuals(parts: Float64s) -> Float64s:
        return weight * (_minutes_of(parts) - density)

    found = least_squares(residuals, inside, bounds=(_LEAST, _MOST), x_scale=np.maximum(inside, 0.01))
    return np.asarray(found.x, dtype=np.float64)


def _normalised(parts: Float64s) -> Float64s:
    """Parts of the U of the same shape whose integral is 1."""
    area = float(u_shape_integral(np.ones(1), _shape(parts))[0])
    return parts / np.where([name.endswith("_fade") for name in _NAMES], 1.0, area)


def _shape(parts: Float64s) -> UShape:
    # unchecked, as the search asks for thousands
    return UShape.model_construct(**dict(zip(_NAMES, parts.tolist(), strict=True)))


def _digits(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")
