"""Index option contracts: their size, and gamma exposure in dollars.

Legend: n = 100 × contracts index units, Γ gamma, S index points;
GEX = n·Γ·S²·0.01/1e9, $bn of hedge trading per 1% move.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sim.market.black_scholes import FloatArray, gamma, gamma_of_logs
from sim.market.elementary import exp, log

UNITS_PER_CONTRACT = 100.0
ONE_PERCENT = 0.01
DOLLARS_PER_BN = 1e9
# A gamma exposure, $bn per 1% move, over the dollar gamma n·Γ·S².
BN_PER_PERCENT = ONE_PERCENT / DOLLARS_PER_BN


class GexColumns(NamedTuple):
    """Columns of options that their gamma exposure depends on, (n,) each.

    contracts : of 100 index units, signed from the dealers' side.
    log_strike : ln K.
    iv, years, carry : 1/sqrt(year), years to settlement, 1/year.
    """

    contracts: FloatArray
    log_strike: FloatArray
    iv: FloatArray
    years: FloatArray
    carry: FloatArray


def dollar_gex(
    price: float, options: GexColumns, *, exponential: Callable[[FloatArray], FloatArray] = exp
) -> FloatArray:
    """Gamma exposure of options if the index stood at a price, (n,) $bn of hedge trading per 1% move.

    Parameters
    ----------
    price : index points.
    options : n of them.
    exponential : e^x; NumPy's own is faster, but its last bit differs between machines.
    """
    log_moneyness = log(price) - options.log_strike
    own_gamma = gamma_of_logs(
        price, log_moneyness, options.years, options.iv, options.carry, exponential=exponential
    )
    return own_gamma_gex(price, options.contracts, own_gamma)


def own_gamma_gex(price: float, contracts: FloatArray, own_gamma: FloatArray) -> FloatArray:
    """Gamma exposure of options whose gammas are known, (n,) $bn of hedge trading per 1% move.

    own_gamma : (n,) index units per option and index point.
    """
    return np.asarray(UNITS_PER_CONTRACT * contracts * own_gamma * (price * price * BN_PER_PERCENT))


def units_of_gex(
    gex_bn: FloatArray, strike: FloatArray, iv: FloatArray, years: FloatArray, carry: FloatArray
) -> FloatArray:
    """Index units of positions sized by the gamma exposure they had if the index stood at their strike, (n,).

        n = gex_bn·1e9 / (Γ(K)·K²·0.01)

    gex_bn, strike, iv, years, carry : (n,) $bn per 1% move, index points, 1/sqrt(year), years, 1/year.
    """
    at_strike = gamma(strike, strike, years, iv, carry)
    return np.asarray(gex_bn * DOLLARS_PER_BN / (at_strike * (strike * strike) * ONE_PERCENT))
