"""Black-Scholes gamma with zero rate and dividend, each option at its own fixed volatility.

Legend: S spot, K strike, v = iv·sqrt(τ) total volatility, b annual carry, N and n the normal law and density.

Source: Black & Scholes (1973); Black (1976) for the carry inside d1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.market.elementary import exp, log

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


def d1(
    spot: FloatArray | float,
    strike: FloatArray | float,
    years: FloatArray | float,
    iv: FloatArray | float,
    carry: FloatArray | float,
) -> FloatArray:
    """Standardised log-moneyness d1 = [ln(S/K) + b·τ + v²/2] / v; arguments of shapes that broadcast."""
    total = iv * np.sqrt(years)
    moneyness: FloatArray = (log(np.asarray(spot / strike)) + carry * years) / total + 0.5 * total
    return moneyness


def gamma(
    spot: FloatArray | float,
    strike: FloatArray | float,
    years: FloatArray | float,
    iv: FloatArray | float,
    carry: FloatArray | float,
) -> FloatArray:
    """Gamma n(d1) / (S·v) of a call or a put, in index units per option and index point.

    Parameters
    ----------
    spot, strike, years, iv, carry : index points, index points, years, 1/sqrt(year), 1/year; shapes that broadcast.
    """
    standardised = d1(spot, strike, years, iv, carry)
    density = INVERSE_SQRT_TWO_PI * exp(-0.5 * (standardised * standardised))
    return np.asarray(density / (spot * iv * np.sqrt(years)))
