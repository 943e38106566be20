"""Size of index option contracts, and dollar gamma exposure."""

from __future__ import annotations

import numpy as np

from sim.market.black_scholes import INVERSE_SQRT_TWO_PI, FloatArray

UNITS_PER_CONTRACT = 100.0


def dollar_gex(
    price: float,
    contracts: FloatArray,
    strike: FloatArray,
    iv: FloatArray,
    years: FloatArray,
    carry: FloatArray,
) -> FloatArray:
    """The same from arrays, each with one number an option: n·S·n(d1)/(iv·√τ)·0.01/1e9."""
    width = iv * np.sqrt(years)
    d1 = (np.log(price / strike) + carry * years) / width + 0.5 * width
    gamma = INVERSE_SQRT_TWO_PI * np.exp(-0.5 * d1**2) / (price * width)
    return np.asarray(UNITS_PER_CONTRACT * contracts * gamma * (price * price * 0.01 / 1e9))
