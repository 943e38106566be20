"""Carry of each expiry, inferred from put–call parity.

    C − P = e^(−rτ)·(F − K)        b = ln(F/S)/τ

The forward F and the discount factor are fitted to the mid quotes of near strikes at which both sides are bid,
weighted by their spreads; quotes that are out of line count little (soft L1). Where an expiry has too few of them, or
they say what no market says, its carry is read off between its neighbours.

Source: Stoll (1969) for the parity; Black (1976) for the forward's carry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from sim.black_scholes import FloatArray

FEWEST_PAIRS = 5
# Strikes used lie within this share of spot, or are the nearest few.
NEAR = 0.1
NARROWEST_SPREAD = 0.05
# What a market may say: |ln F/S| up to a jump after the close and this carry; rates between these.
LARGEST_GAP = 0.02
LARGEST_CARRY = 0.25
LARGEST_RATE = 0.25
LARGEST_ANNUAL = 1.0


@dataclass(frozen=True)
class ExpiryCarry:
    """Carry of one expiry.

    Attributes
    ----------
    forward : F, index points.
    std_error : of the forward, from the fit, index points; NaN where there was none.
    carry : b = ln(F/S)/τ, a year.
    rate : discount rate r, a year; NaN where there was no fit.
    pairs : strikes with a call and a put that the fit used.
    source : "parity", "neighbours", "none" (carry zero) or "given".
    """

    forward: float
    std_error: float
    carry: float
    rate: float
    pairs: int
    source: str


def parity_carries(options: pd.DataFrame, spot: float) -> dict[float, ExpiryCarry]:
    """Carry of each expiry, by years to settlement.

    Parameters
    ----------
    options : columns years, type ("call", "put"), strike, bid, ask; one row an option.
    spot : index points.
    """
    lives = options["years"].unique().tolist()
    fitted = {years: _fit(options[options["years"] == years], spot, years) for years in lives}
    known = {years: found.carry for years, found in fitted.items() if found.source == "parity"}
    return {t: found if t in known else _from_neighbours(found, t, known, spot) for t, found in fitted.items()}


def given_carries(years: FloatArray, spot: float, carry: float) -> dict[float, ExpiryCarry]:
    """The same carry for all expiries."""
    lives = np.unique(years).tolist()
    return {t: ExpiryCarry(spot * math.exp(carry * t), math.nan, carry, math.nan, 0, "given") for t in lives}


def _fit(options: pd.DataFrame, spot: float, years: float) -> ExpiryCarry:
    quoted = options[(options["bid"] > 0) & (options["ask"] >= options["bid"])]
    sides = [quoted.loc[quoted["type"] == side, ["strike", "bid", "ask"]] for side in ("call", "put")]
    pairs = sides[0].merge(sides[1], on="strike", suffixes=("_call", "_put"))
    distance = np.abs(np.log(pairs["strike"].to_numpy(dtype=np.float64) / spot))
    near = pairs[(distance <= max(NEAR, np.sort(distance)[: 2 * FEWEST_PAIRS].max(initial=0.0)))]
    nothing = ExpiryCarry(spot, math.nan, 0.0, math.nan, len(near), "none")
    if len(near) < FEWEST_PAIRS:
        return nothing
    strike = near["strike"].to_numpy(dtype=np.float64)
    bid, ask = (near[f"{name}_call"].to_numpy() for name in ("bid", "ask"))
    bid_put, ask_put = (near[f"{name}_put"].to_numpy() for name in ("bid", "ask"))
    difference = 0.5 * (bid + ask) - 0.5 * (bid_put + ask_put)
    spread = np.maximum(0.5 * (ask - bid + ask_put - bid_put), NARROWEST_SPREAD)

    def misfit(x: FloatArray) -> FloatArray:
        return np.asarray((difference - x[0] * (spot * x[1] - strike)) / spread)

    start = np.array([1.0, 1.0 + float(np.median(difference + strike - spot)) / spot])
    fit = least_squares(misfit, start, loss="soft_l1", x_scale=(0.01, 0.001))
    discount, ratio = (float(x) for x in fit.x)
    if not (fit.success and discount > 0 and ratio > 0):
        return nothing
    rate, gap = -math.log(discount) / years, math.log(ratio)
    # A day's discount is too near one to tell its rate: a hundredth is allowed besides.
    if abs(gap) > LARGEST_GAP + LARGEST_CARRY * years or abs(math.log(discount)) > 0.01 + LARGEST_RATE * years:
        return nothing
    jacobian = np.asarray(fit.jac, dtype=np.float64)
    covariance = np.linalg.inv(jacobian.T @ jacobian) * max(1.0, 2.0 * fit.cost / max(1, strike.size - 2))
    carry = min(max(gap / years, -LARGEST_ANNUAL), LARGEST_ANNUAL)
    std_error = spot * math.sqrt(float(covariance[1, 1]))
    return ExpiryCarry(spot * math.exp(carry * years), std_error, carry, rate, len(near), "parity")


def _from_neighbours(found: ExpiryCarry, years: float, known: dict[float, float], spot: float) -> ExpiryCarry:
    if not known:
        return found
    lives = sorted(known)
    # ln F/S is what neighbours tell; the last carry goes on beyond them.
    if years <= lives[0] or years >= lives[-1]:
        carry = known[lives[0] if years <= lives[0] else lives[-1]]
    else:
        carry = float(np.interp(years, lives, [known[t] * t for t in lives])) / years
    return replace(found, forward=spot * math.exp(carry * years), carry=carry, source="neighbours")
