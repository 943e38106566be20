"""Gamma against QuantLib, a complex-step derivative of delta, and limits."""

from __future__ import annotations

import numpy as np
import pytest
import QuantLib
from scipy import stats
from support.options import delta, slope_of_delta

from sim.market import black_scholes

SPOT = np.array([5200.0, 6300.0, 6800.0, 6941.81, 7000.0, 7020.0, 7100.0, 8400.0])
HALF_HOUR = 30.0 / 525_600.0
CASES = [
    (7000.0, 10 / 365, 0.115, 0.0),
    (6800.0, 38 / 365, 0.155, 0.0),
    (7020.0, HALF_HOUR, 0.113, 0.0),
    (6900.0, 2.0, 0.6, 0.0),
    (7000.0, 0.5, 0.2, 0.03),
    (7000.0, 0.5, 0.2, -0.03),
]


@pytest.mark.parametrize("is_call", [True, False])
@pytest.mark.parametrize(("strike", "years", "iv", "carry"), CASES)
def test_quantlib(strike: float, years: float, iv: float, carry: float, is_call: bool) -> None:
    """The carry moves the forward only: delta is N(d1), the derivative by the forward."""
    payoff = QuantLib.PlainVanillaPayoff(QuantLib.Option.Call if is_call else QuantLib.Option.Put, strike)
    growth = np.exp(carry * years)
    witnesses = [QuantLib.BlackCalculator(payoff, s * growth, iv * np.sqrt(years), 1.0) for s in SPOT]
    gamma = black_scholes.gamma(SPOT, strike, years, iv, carry)
    np.testing.assert_allclose(gamma, [w.gammaForward() * growth for w in witnesses], rtol=1e-9, atol=1e-16)
    # and so the delta that tests differentiate is the right one
    by_scipy = delta(SPOT, strike, years, iv, carry, is_call)
    np.testing.assert_allclose(by_scipy, [w.deltaForward() for w in witnesses], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(("strike", "years", "iv", "carry"), CASES)
def test_gamma_is_the_slope_of_delta(strike: float, years: float, iv: float, carry: float) -> None:
    gamma = black_scholes.gamma(SPOT, strike, years, iv, carry)
    np.testing.assert_allclose(gamma, slope_of_delta(SPOT, strike, years, iv, carry), rtol=1e-10, atol=1e-300)


def test_positions_side_by_side_are_positions_one_by_one() -> None:
    columns = [np.array(column) for column in zip(*CASES, strict=True)]
    together = black_scholes.gamma(7000.0, *columns)
    np.testing.assert_array_equal(together, [float(black_scholes.gamma(7000.0, *case)) for case in CASES])


def test_far_from_the_strike() -> None:
    spot = np.array([3000.0, 14000.0])
    np.testing.assert_array_equal(black_scholes.gamma(spot, 7000.0, 0.01, 0.1, 0.0), [0.0, 0.0])


def test_at_the_strike() -> None:
    """d1 = v/2 there."""
    total = 0.2 * np.sqrt(0.25)
    gamma = black_scholes.gamma(np.array([7000.0]), 7000.0, 0.25, 0.2, 0.0)
    assert gamma[0] == pytest.approx(stats.norm.pdf(total / 2) / (7000.0 * total), rel=1e-14)


def test_half_an_hour_is_the_shortest_life() -> None:
    minutes = np.array([-1e6, -1.0, 0.0, 1e-9, 29.999, 30.0])
    np.testing.assert_array_equal(black_scholes.years_to_settlement(minutes), HALF_HOUR)
    assert float(black_scholes.years_to_settlement(30.5)) == 30.5 / 525_600.0
    assert float(black_scholes.years_to_settlement(525_600.0)) == 1.0
