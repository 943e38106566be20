"""Carry of each expiry, inferred from put–call parity.

    C − P = e^(−rτ)·(F − K)        b = ln(F/S)/τ

The forward F and the discount factor are fitted to the mid quotes of near strikes at which both sides are bid,
weighted by their spreads; quotes that are out of line count little (soft L1). Where an expiry has too few of them, or
they say what no market says, its carry is read off between its neighbours. Options of another root at the same strike
are other contracts, and no pair.

Source: Stoll (1969) for the parity; Black (1976) for the forward's carry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sim.market.black_scholes import FloatArray
from sim.market.elementary import exp, interpolate, log, sums_in_order
from sim.market.robust_line import fitted_line
from sim.problems import short_repr

FEWEST_PAIRS = 5
# Strikes used lie within this share of spot, or are the nearest few.
NEAR = 0.1
NARROWEST_SPREAD = 0.05
# Limits of what a market may say: |ln F/S| up to LARGEST_GAP, a jump after the close, and LARGEST_CARRY per year of
# life; |r| up to LARGEST_RATE per year.
LARGEST_GAP = 0.02
LARGEST_CARRY = 0.25
LARGEST_RATE = 0.25
LARGEST_ANNUAL = 1.0
LARGEST_CONDITION = 1e14
# Expiries that the index is inferred from, and strikes of each.
NEAREST_EXPIRIES = 3
NEAREST_STRIKES = 5


@dataclass(frozen=True)
class ExpiryCarry:
    """Carry of one expiry.

    Attributes
    ----------
    forward : F, index points.
    std_error : standard error of the forward, from the fit, index points; NaN where there was no fit.
    carry : b = ln(F/S)/τ, per year.
    rate : discount rate r, per year; NaN where there was no fit.
    pairs : number of strikes with a call and a put that the fit used.
    source : "parity"; "limited", where parity says more than 100% per year; "neighbours"; "none" (carry zero);
        "given".
    """

    forward: float
    std_error: float
    carry: float
    rate: float
    pairs: int
    source: str

    def __repr__(self) -> str:
        return short_repr(
            self, f"forward {self.forward:,.2f}, carry {self.carry:+.4f} per year, {self.source}"
        )


def parity_carries(options: pd.DataFrame, spot: float) -> dict[float, ExpiryCarry]:
    """Carry of each expiry by put–call parity, keyed by its years to settlement.

    Parameters
    ----------
    options : columns years, root, type ("call", "put"), strike, bid, ask; one row per option.
    spot : index points.
    """
    lives = options["years"].unique().tolist()
    fitted = {years: _fit(options[options["years"] == years], spot, years) for years in lives}
    known = {years: found.carry for years, found in fitted.items() if found.source == "parity"}
    return {
        t: _from_neighbours(found, t, known, spot) if found.source == "none" else found
        for t, found in fitted.items()
    }


def near_forwards(options: pd.DataFrame) -> list[tuple[float, float]]:
    """Life in years and forward in index points of the three nearest expiries with five pairs, without use of spot.

    A forward is the median of K + C − P over the five strikes with the least |C − P|.

    options : as in `parity_carries`.
    """
    found: list[tuple[float, float]] = []
    for years in np.sort(options["years"].unique()).tolist():
        pairs = _pairs(options[options["years"] == years])
        if len(pairs) >= FEWEST_PAIRS:
            difference, strike = _difference(pairs), pairs["strike"].to_numpy(dtype=np.float64)
            nearest = np.argsort(np.abs(difference), kind="stable")[:NEAREST_STRIKES]
            found.append((years, _median(strike[nearest] + difference[nearest])))
        if len(found) == NEAREST_EXPIRIES:
            break
    return found


def given_carries(years: FloatArray, spot: float, carry: float) -> dict[float, ExpiryCarry]:
    """Carry of each expiry where one is stated for all, keyed by years to settlement.

    Parameters
    ----------
    years : (n,) years to settlement, one per option.
    spot : index points.
    carry : per year.
    """
    lives = np.unique(years).tolist()
    return {t: ExpiryCarry(spot * exp(carry * t), math.nan, carry, math.nan, 0, "given") for t in lives}


def _fit(options: pd.DataFrame, spot: float, years: float) -> ExpiryCarry:
    pairs = _pairs(options)
    distance = np.abs(log(pairs["strike"].to_numpy(dtype=np.float64) / spot))
    near = pairs[(distance <= max(NEAR, np.sort(distance)[: 2 * FEWEST_PAIRS].max(initial=0.0)))]
    nothing = ExpiryCarry(spot, math.nan, 0.0, math.nan, len(near), "none")
    if len(near) < FEWEST_PAIRS:
        return nothing
    strike = near["strike"].to_numpy(dtype=np.float64)
    difference = _difference(near)
    width = sum(near[f"ask_{side}"] - near[f"bid_{side}"] for side in ("call", "put"))
    spread = np.maximum(0.5 * np.asarray(width), NARROWEST_SPREAD)
    # C − P = e^(−rτ)·(F − S) − e^(−rτ)·(K − S)
    moneyness = strike - spot
    line = fitted_line(moneyness, difference, spread, (_median(difference + moneyness), -1.0))
    if line is None:
        return nothing  # all at one strike: forward and discount cannot be told apart
    discount = -line[1]
    ratio = 1.0 + line[0] / (discount * spot) if discount > 0 else 0.0
    if not ratio > 0:
        return nothing
    rate, gap = -log(discount) / years, log(ratio)
    # A day's discount is too near one to tell its rate: a hundredth is allowed besides.
    if abs(gap) > LARGEST_GAP + LARGEST_CARRY * years or abs(log(discount)) > 0.01 + LARGEST_RATE * years:
        return nothing
    residual = (difference - line[0]) - line[1] * moneyness
    variance = _ratio_variance(spot * ratio - strike, residual / spread, spread, discount * spot)
    if variance is None:
        return nothing
    carry = gap / years
    if abs(carry) > LARGEST_ANNUAL:
        carry = math.copysign(LARGEST_ANNUAL, carry)
        return ExpiryCarry(spot * exp(carry * years), math.nan, carry, rate, len(near), "limited")
    return ExpiryCarry(spot * ratio, spot * math.sqrt(variance), carry, rate, len(near), "parity")


def _ratio_variance(
    apart: FloatArray, residual: FloatArray, spread: FloatArray, by_ratio: float
) -> float | None:
    """Variance of a fitted ratio F/S; None where the quotes do not tell it from the discount factor.

    It is that of the inverse of J'J, J = (F − K, e^(−rτ)·S)·(1 + r²)^(−3/4)/spread by rows, the curvature of the
    misfit, and grows with the misfit where quotes are further out of line than their spreads.

    Parameters
    ----------
    apart : (n,) F − K, index points.
    residual : (n,) r, in spreads.
    spread : (n,) index points.
    by_ratio : e^(−rτ)·S, index points.
    """
    bent = 1.0 + residual * residual
    root = np.sqrt(bent)
    weight = 1.0 / (bent * root * (spread * spread))
    total, first, second, misfit = sums_in_order(weight, weight * apart, weight * (apart * apart), root - 1.0)
    within = apart - first / total
    (about_middle,) = sums_in_order(weight * (within * within))
    of_ratio = by_ratio * by_ratio * total
    determinant, both = of_ratio * about_middle, second + of_ratio
    # The sum of the eigenvalues is hardly more than the larger one where their ratio is large.
    if not both * both < LARGEST_CONDITION * determinant:
        return None
    return second / determinant * max(1.0, 2.0 * misfit / max(1, apart.size - 2))


def _median(values: FloatArray) -> float:
    ascending = np.sort(values)
    return float(0.5 * (ascending[(values.size - 1) // 2] + ascending[values.size // 2]))


def _pairs(options: pd.DataFrame) -> pd.DataFrame:
    """Pairs of a root's call and put at a strike, both bid: root, strike, bid_call, ask_call, bid_put, ask_put."""
    quoted = options[(options["bid"] > 0) & (options["ask"] >= options["bid"])]
    sides = [quoted.loc[quoted["type"] == side, ["root", "strike", "bid", "ask"]] for side in ("call", "put")]
    return sides[0].merge(sides[1], on=["root", "strike"], suffixes=("_call", "_put"))


def _difference(pairs: pd.DataFrame) -> FloatArray:
    """C − P of mid quotes (n,)."""
    call, put = (0.5 * (pairs[f"bid_{side}"] + pairs[f"ask_{side}"]) for side in ("call", "put"))
    return (call - put).to_numpy(dtype=np.float64)


def _from_neighbours(found: ExpiryCarry, years: float, known: dict[float, float], spot: float) -> ExpiryCarry:
    if not known:
        return found
    lives = sorted(known)
    # ln F/S is what neighbours tell; the last carry goes on beyond them.
    if years <= lives[0] or years >= lives[-1]:
        carry = known[lives[0] if years <= lives[0] else lives[-1]]
    else:
        carry = interpolate(years, np.array(lives), np.array([known[t] * t for t in lives])) / years
    return replace(found, forward=spot * exp(carry * years), carry=carry, source="neighbours")
