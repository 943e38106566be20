"""Delta and gamma against QuantLib, parity, complex-step derivatives and limits."""

from __future__ import annotations

import numpy as np
import pytest
import QuantLib
from complex_delta import complex_delta
from scipy import stats

from sim import black_scholes

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
    delta, gamma = black_scholes.delta_and_gamma(SPOT, strike, years, iv, carry, is_call)
    np.testing.assert_allclose(delta, [w.deltaForward() for w in witnesses], rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(gamma, [w.gammaForward() * growth for w in witnesses], rtol=1e-9, atol=1e-16)


@pytest.mark.parametrize("is_call", [True, False])
@pytest.mark.parametrize(("strike", "years", "iv", "carry"), CASES)
def test_gamma_is_the_slope_of_delta(
    strike: float, years: float, iv: float, carry: float, is_call: bool
) -> None:
    """A complex step differentiates without cancellation."""
    step = 1e-25
    shifted = complex_delta(SPOT + 1j * step, strike, years, iv, carry, is_call)
    delta, gamma = black_scholes.delta_and_gamma(SPOT, strike, years, iv, carry, is_call)
    np.testing.assert_allclose(delta, shifted.real, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(gamma, shifted.imag / step, rtol=1e-10, atol=1e-300)


@pytest.mark.parametrize(("strike", "years", "iv", "carry"), CASES)
def test_call_less_put_is_one_index_unit(strike: float, years: float, iv: float, carry: float) -> None:
    call, call_gamma = black_scholes.delta_and_gamma(SPOT, strike, years, iv, carry, True)
    put, put_gamma = black_scholes.delta_and_gamma(SPOT, strike, years, iv, carry, False)
    assert np.all(call >= 0)
    assert np.all(put <= 0)
    np.testing.assert_allclose(call - put, 1.0, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(call_gamma, put_gamma)


@pytest.mark.parametrize(("is_call", "ends"), [(True, [0.0, 1.0]), (False, [-1.0, 0.0])])
def test_far_from_the_strike(is_call: bool, ends: list[float]) -> None:
    spot = np.array([3000.0, 14000.0])
    delta, gamma = black_scholes.delta_and_gamma(spot, 7000.0, 0.01, 0.1, 0.0, is_call)
    np.testing.assert_array_equal(delta, ends)
    np.testing.assert_array_equal(gamma, [0.0, 0.0])


def test_at_the_strike() -> None:
    """d1 = v/2 there."""
    total = 0.2 * np.sqrt(0.25)
    delta, gamma = black_scholes.delta_and_gamma(np.array([7000.0]), 7000.0, 0.25, 0.2, 0.0, True)
    assert delta[0] == pytest.approx(stats.norm.cdf(total / 2), rel=1e-14)
    assert gamma[0] == pytest.approx(stats.norm.pdf(total / 2) / (7000.0 * total), rel=1e-14)


def test_half_an_hour_is_the_shortest_life() -> None:
    minutes = np.array([-1e6, -1.0, 0.0, 1e-9, 29.999, 30.0])
    np.testing.assert_array_equal(black_scholes.years_to_settlement(minutes), HALF_HOUR)
    assert float(black_scholes.years_to_settlement(30.5)) == 30.5 / 525_600.0
    assert float(black_scholes.years_to_settlement(525_600.0)) == 1.0
