"""Black-Scholes gamma with zero rate and dividend, each option at its own fixed volatility.

Legend: S spot, K strike, v = iv·sqrt(τ) total volatility, b annual carry, N and n the normal law and density.

Source: Black & Scholes (1973); Black (1976) for the carry inside d1.
"""

from __future__ import annotations

from collections.abc import Callable

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
    return gamma_of_logs(spot, log(np.asarray(spot / strike)), years, iv, carry)


def gamma_of_logs(
    spot: FloatArray | float,
    log_moneyness: FloatArray,
    years: FloatArray | float,
    iv: FloatArray | float,
    carry: FloatArray | float,
    *,
    exponential: Callable[[FloatArray], FloatArray] = exp,
) -> FloatArray:
    """Gamma of options whose ln(S/K) is known: n(d1) / (S·v), d1 = [ln(S/K) + b·τ + v²/2] / v.

    Parameters
    ----------
    spot, years, iv, carry : see `gamma`.
    log_moneyness : (n,) ln(S/K).
    exponential : e^x; NumPy's own is faster, but its last bit differs between machines.
    """
    total = iv * np.sqrt(years)
    d1 = (log_moneyness + carry * years) / total + 0.5 * total
    return np.asarray(INVERSE_SQRT_TWO_PI * exponential(-0.5 * (d1 * d1)) / (spot * total))
