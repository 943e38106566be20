"""Black-Scholes delta and gamma with zero rate and dividend, each option at its own fixed volatility.

Legend: S spot, K strike, v = iv·sqrt(τ) total volatility, b annual carry, N and n the normal law and density.

Source: Black & Scholes (1973); Black (1976) for the carry inside d1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

FloatArray = NDArray[np.float64]

MINUTES_PER_YEAR = 525_600.0
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
    moneyness: FloatArray = (np.log(spot / strike) + carry * years) / total + 0.5 * total
    return moneyness


def delta(
    spot: FloatArray, strike: float, years: float, iv: float, carry: float, is_call: bool
) -> FloatArray:
    """Delta in index units an option: N(d1) for a call, N(d1) − 1 for a put.

    Parameters
    ----------
    spot : (n,) index points.
    strike, years, iv, carry : index points, years, 1/sqrt(year), 1/year.
    is_call : True for a call.
    """
    tail: FloatArray = ndtr(d1(spot, strike, years, iv, carry))
    return tail if is_call else tail - 1.0


def gamma(spot: FloatArray, strike: float, years: float, iv: float, carry: float) -> FloatArray:
    """Gamma n(d1) / (S·v) in index units per index point, the same for calls and puts."""
    standardised = d1(spot, strike, years, iv, carry)
    density: FloatArray = INVERSE_SQRT_TWO_PI * np.exp(-0.5 * standardised**2)
    result: FloatArray = density / (spot * iv * np.sqrt(years))
    return result
