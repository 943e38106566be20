"""Closed forms: odds that the simulator is tested against, and rules of thumb that traders use.

All of them describe an arithmetic Brownian motion X from X(0) = 0 in log-price units, with a total drift
`mean` and a total `variance` over the horizon. Odds by an earlier time are the same functions of what is
spent by then: `corridor(upper, lower, f * mean, f * variance)` is the first-passage law at its share f.

Legend: a = upper, b = -lower, L = a + b, mu = mean, v = variance, theta = mu / v, N the standard normal law.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erfc, erfcx, ndtr

from sim.errors import InputError, Problem
from sim.market.black_scholes import SESSIONS_PER_YEAR

Reals: TypeAlias = NDArray[np.float64]


# Up to this variance, in units of L^2, a handful of images are exact while the eigenfunctions cancel; beyond
# it the eigenfunctions' weight exp(theta a - theta^2 v / 2) <= exp(a^2 / 2v) < e^2, and no digits are lost.
_IMAGES_UP_TO = 0.3

# A drift theta L this small moves no digit of the odds, while one near the smallest float has lost its own.
_NO_DRIFT = 1e-17


class CorridorOdds(NamedTuple):
    """Probabilities of what happens first: the upper barrier, the lower one, or neither by the horizon."""

    first_upper: Reals
    first_lower: Reals
    neither: Reals


class FlatVolatilityOdds(NamedTuple):
    """Odds of two targets in a market of constant volatility: which of them is touched first, or neither."""

    first_upper: float
    first_lower: float
    neither: float


def corridor_by_images(
    upper: ArrayLike, lower: ArrayLike, mean: ArrayLike, variance: ArrayLike, tol: float = 1e-16
) -> CorridorOdds:
    """First-exit odds of a corridor, by the method of images.

        first_upper = sum over n >= 0 of g(a + 2nL) - sum over n >= 1 of g(2nL - a)
        g(c) = exp(theta (a - c)) N((mu - c) / sqrt v) + exp(theta (a + c)) N((-mu - c) / sqrt v)

    and first_lower by reflection. Converges fast for a small v / L^2.

    Source: Cox & Miller 1965, section 5.7; Kunitomo & Ikeda 1992.

    Parameters
    ----------
    upper : barrier above the start, > 0, log units; broadcasts with the next three.
    lower : barrier below the start, < 0, log units.
    mean : total drift over the horizon, log units.
    variance : total variance over the horizon, > 0, log units squared.
    tol : absolute size below which images are left out.

    Raises
    ------
    InputError
        Where a barrier lies on the wrong side of the start, or a number is out of range.
    """
    a, b, mu, v = _checked_corridor(upper, lower, mean, variance, positive_variance=True)
    first_upper = _first_exit_by_images(a, b, mu, v, tol)
    first_lower = _first_exit_by_images(b, a, -mu, v, tol)
    return CorridorOdds(first_upper, first_lower, np.asarray(1.0 - first_upper - first_lower))


def corridor_by_eigenfunctions(
    upper: ArrayLike, lower: ArrayLike, mean: ArrayLike, variance: ArrayLike, tol: float = 1e-16
) -> CorridorOdds:
    """First-exit odds of a corridor, by the eigenfunctions sin(k pi x / L) of the killed motion.

        first_upper = (1 - exp(-2 theta b)) / (1 - exp(-2 theta L)) - sum over k >= 1 of later_k
        later_k = (-1)^(k+1) (k pi / L^2) sin(k pi b / L) exp(theta a - lambda_k v) / lambda_k
        lambda_k = (theta^2 + (k pi / L)^2) / 2

    first_lower by reflection, and neither is the two sums together. Converges fast for a large v / L^2; loses
    digits to cancellation where that is small and the drift large.

    Source: Cox & Miller 1965, section 5.7; Hui 1996 (double-barrier binary options).

    Parameters
    ----------
    upper : barrier above the start, > 0, log units; broadcasts with the next three.
    lower : barrier below the start, < 0, log units.
    mean : total drift over the horizon, log units.
    variance : total variance over the horizon, > 0, log units squared.
    tol : absolute size below which eigenfunctions are left out.

    Raises
    ------
    InputError
        Where a barrier lies on the wrong side of the start, or a number is out of range.
    """
    a, b, mu, v = _checked_corridor(upper, lower, mean, variance, positive_variance=True)
    ever_upper, later_upper = _first_exit_by_eigenfunctions(a, b, mu, v, tol)
    ever_lower, later_lower = _first_exit_by_eigenfunctions(b, a, -mu, v, tol)
    return CorridorOdds(
        np.asarray(ever_upper - later_upper),
        np.asarray(ever_lower - later_lower),
        np.asarray(later_upper + later_lower),
    )


def corridor(
    upper: ArrayLike, lower: ArrayLike, mean: ArrayLike, variance: ArrayLike, tol: float = 1e-16
) -> CorridorOdds:
    """First-exit odds of a corridor, each element by the series that converges better.

    Source: `corridor_by_images` and `corridor_by_eigenfunctions`, which agree to 1e-12 where both converge.

    Parameters
    ----------
    upper : barrier above the start, > 0, log units; broadcasts with the next three.
    lower : barrier below the start, < 0, log units.
    mean : total drift over the horizon, log units.
    variance : total variance over the horizon, >= 0, log units squared; 0 leaves the drift alone.
    tol : absolute size below which terms of a series are left out.

    Raises
    ------
    InputError
        Where a barrier lies on the wrong side of the start, or a number is out of range.
    """
    a, b, mu, v = _checked_corridor(upper, lower, mean, variance, positive_variance=False)
    odds = np.empty((3, *v.shape))
    still = v == 0.0
    few_images = ~still & (v <= _IMAGES_UP_TO * (a + b) ** 2)
    many_images = ~still & ~few_images
    odds[:, still] = (mu >= a)[still], (mu <= -b)[still], ((-b < mu) & (mu < a))[still]
    for chosen, series in ((few_images, corridor_by_images), (many_images, corridor_by_eigenfunctions)):
        if chosen.any():
            odds[:, chosen] = series(a[chosen], -b[chosen], mu[chosen], v[chosen], tol)
    return CorridorOdds(*np.clip(odds, 0.0, 1.0))


def touch_probability(level: ArrayLike, mean: ArrayLike, variance: ArrayLike) -> Reals:
    """Probability that a single level is touched by the horizon.

        P = N((mu - a) / sqrt v) + exp(2 theta a) N((-mu - a) / sqrt v)        a = level > 0

    and the mirror image below the start.

    Source: Cox & Miller 1965, section 5.7; Karatzas & Shreve 1991, section 3.5.C.

    Parameters
    ----------
    level : level relative to the start, > 0 above it, < 0 below it, log units; broadcasts with the next two.
    mean : total drift over the horizon, log units.
    variance : total variance over the horizon, >= 0, log units squared; 0 leaves the drift alone.

    Raises
    ------
    InputError
        Where a number is not finite or the variance is negative.
    """
    c, mu, v = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (level, mean, variance)))
    _refuse(
        (~np.isfinite(c), "level", c, "must be finite"),
        (~np.isfinite(mu), "mean", mu, "must be finite"),
        (~(np.isfinite(v) & (v >= 0.0)), "variance", v, "must be finite and not negative"),
    )
    mu = np.where(c < 0.0, -mu, mu)
    distance = np.abs(c)
    still = v == 0.0
    touched = _reflected_passage(distance, distance, mu, np.where(still, 1.0, v))
    certain = (distance == 0.0) | (still & (mu >= distance))
    return np.asarray(np.where(certain, 1.0, np.where(still, 0.0, np.minimum(touched, 1.0))))


def two_delta_rule(spot: float, level: float, annual_volatility: float, years: float) -> float:
    """Traders' rule of thumb for a touch: twice the delta of the option struck at the level.

        P = min(1, 2 N(d1)) above the spot (call), min(1, 2 N(-d1)) below it (put)
        d1 = ln(spot / level) / (sigma sqrt T) + sigma sqrt T / 2

    at a zero rate and dividend: the unsigned delta of the out-of-the-money option. It is the reflection
    principle with the delta read as the probability of expiring in the money.

    Source: tastytrade 2016, "Best practices around probability of touch"; Black & Scholes 1973 for the delta;
    Karatzas & Shreve 1991, section 2.6, for the reflection principle.

    Parameters
    ----------
    spot : the index now, > 0, index points.
    level : the level to be touched, > 0, index points; at the spot it is touched for sure.
    annual_volatility : volatility sigma, > 0, per square root of a year.
    years : time T to the horizon, > 0, in the volatility's years.

    Raises
    ------
    InputError
        Where an argument is not positive and finite.
    """
    _refuse_unless_positive(spot=spot, level=level, annual_volatility=annual_volatility, years=years)
    if level == spot:
        return 1.0
    sd = annual_volatility * np.sqrt(years)
    d1 = np.log(spot / level) / sd + sd / 2.0
    return float(min(1.0, 2.0 * ndtr(d1 if level > spot else -d1)))


def flat_volatility_odds(
    spot: float,
    upper: float,
    lower: float,
    annual_volatility: float,
    sessions: float,
    annual_drift: float = 0.0,
) -> FlatVolatilityOdds:
    """Odds of two targets in a market of constant volatility, without dealers, gaps or jumps.

        v = sessions * annual_volatility^2 / 252        mean = sessions * annual_drift / 252 - v / 2

    Source: geometric Brownian motion; `corridor`.

    Parameters
    ----------
    spot : the index now, > 0, index points.
    upper : upper target, > spot, index points.
    lower : lower target, between 0 and the spot, index points.
    annual_volatility : volatility of the log price, > 0, per square root of 252 sessions.
    sessions : number of sessions to the horizon, > 0.
    annual_drift : growth rate of the expected price, per 252 sessions.

    Raises
    ------
    InputError
        Where a target lies on the wrong side of the spot, or a number is out of range.
    """
    _refuse_unless_positive(
        spot=spot, upper=upper, lower=lower, annual_volatility=annual_volatility, sessions=sessions
    )
    variance = sessions * annual_volatility**2 / SESSIONS_PER_YEAR
    mean = sessions * annual_drift / SESSIONS_PER_YEAR - variance / 2.0
    above, below = np.log(upper / spot), np.log(lower / spot)
    odds = corridor(above, below, mean, variance)
    return FlatVolatilityOdds(float(odds.first_upper), float(odds.first_lower), float(odds.neither))


def _first_exit_by_images(a: Reals, b: Reals, mu: Reals, v: Reals, tol: float) -> Reals:
    """Return the probability that a is reached before -b, by the horizon."""
    width = a + b
    log_tolerance = np.log(1.0 / tol)
    by_variance = np.maximum(np.abs(mu), np.sqrt(a**2 + 2.0 * v * log_tolerance))
    with np.errstate(divide="ignore", over="ignore"):
        by_drift = a + log_tolerance * v / np.abs(mu)
    farthest = np.minimum(by_variance, by_drift)
    images = int(np.ceil(np.max(farthest / (2.0 * width), initial=0.0))) + 1
    a_, mu_, v_ = a[..., None], mu[..., None], v[..., None]
    shift = 2.0 * width[..., None] * np.arange(images + 1)
    same_sign = _reflected_passage(a_ + shift, a_, mu_, v_)
    other_sign = _reflected_passage(shift[..., 1:] - a_, a_, mu_, v_)
    return np.asarray(same_sign.sum(axis=-1) - other_sign.sum(axis=-1))


def _reflected_passage(c: Reals, a: Reals, mu: Reals, v: Reals) -> Reals:
    """Return g(c) of `corridor_by_images` for c >= a, exponents joined before they can overflow."""
    root = np.sqrt(2.0 * v)
    peak = np.exp(-((mu - a) ** 2 + (c - a) * (c + a)) / (2.0 * v))
    theta = mu / v
    total = np.zeros(np.broadcast_shapes(c.shape, a.shape, mu.shape))
    for argument, log_weight in (((c - mu) / root, theta * (a - c)), ((c + mu) / root, theta * (a + c))):
        in_tail = peak * erfcx(np.maximum(argument, 0.0))
        # A negative argument means a drift past c, and then this weight is at most 1.
        in_body = np.exp(np.minimum(log_weight, 0.0)) * erfc(np.minimum(argument, 0.0))
        total += 0.5 * np.where(argument >= 0.0, in_tail, in_body)
    return total


def _first_exit_by_eigenfunctions(a: Reals, b: Reals, mu: Reals, v: Reals, tol: float) -> tuple[Reals, Reals]:
    """Return the probabilities that a is reached before -b: ever, and of these only after the horizon."""
    width = a + b
    theta, alpha, beta, spent = mu / v * width, a / width, b / width, v / width**2
    excess = np.maximum(theta * alpha - theta**2 * spent / 2.0, 0.0)
    highest = np.sqrt(2.0 / spent * (np.log(1.0 / tol) + excess)) / np.pi
    k = np.arange(1, int(np.ceil(np.max(highest, initial=0.0))) + 2)
    rate = (theta[..., None] ** 2 + (k * np.pi) ** 2) / 2.0
    exponent = (theta * alpha)[..., None] - rate * spent[..., None]
    wave = np.where(k % 2 == 1, 1.0, -1.0) * np.sin(k * np.pi * beta[..., None])
    later = np.sum(k * np.pi * wave / rate * np.exp(exponent), axis=-1)
    strength = np.abs(theta)
    with np.errstate(invalid="ignore"):
        ratio = np.expm1(-2.0 * strength * beta) / np.expm1(-2.0 * strength)
    against = np.exp(np.minimum(2.0 * theta * alpha, 0.0))
    ever = np.where(strength > _NO_DRIFT, against * ratio, beta)
    return np.asarray(ever), np.asarray(later)


def _checked_corridor(
    upper: ArrayLike, lower: ArrayLike, mean: ArrayLike, variance: ArrayLike, *, positive_variance: bool
) -> tuple[Reals, Reals, Reals, Reals]:
    """Return (a, b, mu, v) broadcast together, or raise with every argument that is out of range."""
    arrays = (np.asarray(x, dtype=np.float64) for x in (upper, lower, mean, variance))
    above, below, mu, v = np.broadcast_arrays(*arrays)
    in_range, wanted = (v > 0.0, "positive") if positive_variance else (v >= 0.0, "not negative")
    _refuse(
        (~(np.isfinite(above) & (above > 0.0)), "upper", above, "must be finite and above 0, the start"),
        (~(np.isfinite(below) & (below < 0.0)), "lower", below, "must be finite and below 0, the start"),
        (~np.isfinite(mu), "mean", mu, "must be finite"),
        (~(np.isfinite(v) & in_range), "variance", v, f"must be finite and {wanted}"),
    )
    return above, -below, mu, v


def _refuse(*checks: tuple[NDArray[np.bool_], str, Reals, str]) -> None:
    problems = [
        Problem("", key, f"{np.ravel(values)[np.argmax(np.ravel(bad))]:g}", why)
        for bad, key, values, why in checks
        if np.any(bad)
    ]
    if problems:
        raise InputError(problems)


def _refuse_unless_positive(**numbers: float) -> None:
    problems = [
        Problem("", key, f"{number:g}", "must be positive and finite")
        for key, number in numbers.items()
        if not (np.isfinite(number) and number > 0.0)
    ]
    if problems:
        raise InputError(problems)
