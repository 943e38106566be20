"""Dollar gamma exposure: one definition, forwards and backwards."""

from __future__ import annotations

import numpy as np

from sim.market.black_scholes import gamma
from sim.market.contracts import UNITS_PER_CONTRACT, GexColumns, dollar_gex, own_gamma_gex, units_of_gex

STRIKE = np.array([6800.0, 7000.0, 7020.0])
IV = np.array([0.155, 0.115, 0.113])
YEARS = np.array([0.1, 0.02, 0.005])
CARRY = np.array([0.0, 0.04, -0.01])
CONTRACTS = np.array([-6_000.0, 15_000.0, 200.0])


def test_it_is_the_change_of_the_hedge_for_a_move_of_one_percent() -> None:
    """n·Γ·S² · 1% in dollars, which is G·S times the move of S·1%."""
    price = 6941.81
    expected = 100 * CONTRACTS * gamma(price, STRIKE, YEARS, IV, CARRY) * price * (0.01 * price) / 1e9
    found = dollar_gex(price, GexColumns(CONTRACTS, np.log(STRIKE), IV, YEARS, CARRY))
    own = own_gamma_gex(price, CONTRACTS, gamma(price, STRIKE, YEARS, IV, CARRY))
    # ln S − ln K loses digits that ln(S/K) keeps, and d1² multiplies what is lost.
    np.testing.assert_allclose(found, expected, rtol=1e-11)
    np.testing.assert_allclose(own, expected, rtol=1e-14)


def test_units_of_an_exposure_have_that_exposure_at_the_strike() -> None:
    gex = np.array([-7.0, 9.0, 2.0])
    units = units_of_gex(gex, STRIKE, IV, YEARS, CARRY)
    # A gamma at its own strike, one position after the other on the diagonal.
    options = GexColumns(units / UNITS_PER_CONTRACT, np.log(STRIKE), IV, YEARS, CARRY)
    at_strike = [dollar_gex(k, options)[i] for i, k in enumerate(STRIKE.tolist())]
    np.testing.assert_allclose(at_strike, gex, rtol=1e-13)
