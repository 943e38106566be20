"""Black-Scholes delta and gamma with zero rate and dividend, each option at its own fixed volatility.

Legend: S spot, K strike, v = iv·sqrt(τ) total volatility, b annual carry, N and n the normal law and density.

Source: Black & Scholes (1973); Black (1976) for the carry inside d1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.market.elementary import exp, log
from sim.market.normal_law import law_and_density

FloatArray = NDArray[np.float64]

MINUTES_PER_YEAR = 525_600.0
SESSIONS_PER_YEAR = 252
SHORTEST_LIFE_MINUTES = 30.0
INVERSE_SQRT_TWO_PI = 0.3989422804014327


def years_to_settlement(minutes: float | FloatArray) -> FloatArray:
    """Time to settlement in calendar years, floored at 30 minutes.

    Parameters
    ----------
    minutes : any shape, minutes from now to settlement; may be zero or negative.
    """
    return np.maximum(np.asarray(minutes, dtype=np.float64), SHORTEST_LIFE_MINUTES) / MINUTES_PER_YEAR


def d1(spot: FloatArray, strike: float, years: float, iv: float, carry: float) -> FloatArray:
    """Standardised log-moneyness d1 = [ln(S/K) + b·τ + v²/2] / v."""
    total = iv * np.sqrt(years)
    moneyness: FloatArray = (log(spot / strike) + carry * years) / total + 0.5 * total
    return moneyness


def delta_and_gamma(
    spot: FloatArray, strike: float, years: float, iv: float, carry: float, is_call: bool
) -> tuple[FloatArray, FloatArray]:
    """Delta N(d1), less one for a put, and gamma n(d1) / (S·v), the same for both.

    Parameters
    ----------
    spot : (n,) index points.
    strike, years, iv, carry : index points, years, 1/sqrt(year), 1/year.
    is_call : True for a call.

    Returns
    -------
    delta : (n,) index units an option.
    gamma : (n,) index units an option and index point.
    """
    standardised = d1(spot, strike, years, iv, carry)
    delta, _ = law_and_density(standardised)
    if not is_call:
        delta -= 1.0
    gamma: FloatArray = (
        INVERSE_SQRT_TWO_PI * exp(-0.5 * (standardised * standardised)) / (spot * iv * np.sqrt(years))
    )
    return delta, gamma
