"""Closed forms: two series against each other, against QuantLib, against limits and against known numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import QuantLib
from hypothesis import example, given
from hypothesis import strategies as st
from support.places import CASES
from support.scale_function import scale_function_odds

from sim.errors import InputError
from sim.market.closed_forms import (
    corridor,
    corridor_by_eigenfunctions,
    corridor_by_images,
    flat_volatility_odds,
    touch_probability,
    two_delta_rule,
)

distance = st.floats(0.002, 1.0)
# theta L and v / L^2: a drift and a variance in the corridor's own units.
strength = st.floats(-6.0, 6.0)
spent = st.floats(0.003, 30.0)


def in_corridor_units(a: float, b: float, theta: float, share: float) -> tuple[float, float, float, float]:
    """Return (upper, lower, mean, variance)."""
    width = a + b
    return a, -b, theta * share * width, share * width**2


@given(distance, distance, strength, spent)
@example(1.0, 0.5, 5e-324, 1.0)
def test_two_series_agree_and_every_choice_is_one_of_them(a, b, theta, share):
    problem = in_corridor_units(a, b, theta, share)
    images, eigenfunctions = corridor_by_images(*problem), corridor_by_eigenfunctions(*problem)
    np.testing.assert_allclose(images, eigenfunctions, rtol=0, atol=1e-12)
    np.testing.assert_allclose(corridor(*problem), images, rtol=0, atol=1e-12)


@given(distance, distance, st.floats(-50.0, 50.0), st.floats(1e-6, 1e3))
def test_odds_are_probabilities_that_sum_to_one(a, b, theta, share):
    odds = corridor(*in_corridor_units(a, b, theta, share))
    assert all(0.0 <= p <= 1.0 for p in odds)
    assert abs(sum(odds) - 1.0) <= 1e-13


@given(distance, distance, strength, spent)
def test_reflection_swaps_the_barriers(a, b, theta, share):
    upper, lower, mean, variance = in_corridor_units(a, b, theta, share)
    odds, mirrored = corridor(upper, lower, mean, variance), corridor(-lower, -upper, -mean, variance)
    np.testing.assert_allclose((odds[1], odds[0], odds[2]), mirrored, rtol=0, atol=1e-14)


@given(distance, distance, strength, spent, st.floats(1.001, 3.0))
def test_a_farther_barrier_is_reached_less_often(a, b, theta, share, factor):
    upper, lower, mean, variance = in_corridor_units(a, b, theta, share)
    near, far = corridor(upper, lower, mean, variance), corridor(upper * factor, lower, mean, variance)
    assert far.first_upper <= near.first_upper + 1e-13
    assert far.first_lower >= near.first_lower - 1e-13


@given(distance, distance, strength, spent)
def test_first_passage_distribution_never_falls(a, b, theta, share):
    upper, lower, mean, variance = in_corridor_units(a, b, theta, share)
    gone = np.linspace(0.0, 1.0, 41)
    odds = corridor(upper, lower, mean * gone, variance * gone)
    assert odds.first_upper[0] == odds.first_lower[0] == 0.0
    assert np.all(np.diff(odds.first_upper) >= -1e-13)
    assert np.all(np.diff(odds.first_lower) >= -1e-13)


@given(distance, distance, strength)
def test_endless_variance_gives_the_scale_function(a, b, theta):
    upper, lower, mean, variance = in_corridor_units(a, b, theta, 200.0)
    rate = mean / variance
    expected = b / (a + b) if abs(theta) < 1e-9 else np.expm1(-2 * rate * b) / np.expm1(-2 * rate * (a + b))
    odds = corridor(upper, lower, mean, variance)
    assert odds.first_upper == pytest.approx(expected, abs=1e-9)
    assert odds.neither <= 1e-12


@pytest.mark.parametrize("spent", [2.0, 5.0, 20.0])
def test_small_odds_of_neither_keep_their_digits(spent):
    leading = 4 / np.pi * np.sin(np.pi * 0.3) * np.exp(-(np.pi**2) * spent / 2)
    assert corridor(0.7, -0.3, 0.0, spent).neither == pytest.approx(leading, rel=1e-12, abs=0)


@pytest.mark.parametrize(("mean", "expected"), [(0.0, (0, 0, 1)), (0.3, (1, 0, 0)), (-0.3, (0, 1, 0))])
@pytest.mark.parametrize("variance", [0.0, 1e-9])
def test_vanishing_variance_leaves_the_drift_alone(mean, expected, variance):
    assert corridor(0.2, -0.1, mean, variance) == pytest.approx(expected, abs=1e-15)


@given(distance, st.sampled_from((1, -1)), st.floats(-3.0, 3.0), st.floats(0.01, 4.0))
def test_touch_is_the_corridor_with_the_other_barrier_out_of_reach(a, side, drift, share):
    mean, variance = drift * a, share * a**2
    far = a + abs(mean) + 12.0 * np.sqrt(variance)
    odds = corridor(a if side > 0 else far, -far if side > 0 else -a, mean, variance)
    expected = odds.first_upper if side > 0 else odds.first_lower
    assert touch_probability(side * a, mean, variance) == pytest.approx(expected, abs=1e-13)


def test_touch_at_the_edges():
    levels = [0.0, 0.1, -0.1, 0.1]
    np.testing.assert_array_equal(touch_probability(levels, [0, 0.1, 0.1, 0.09], 0.0), [1, 1, 0, 0])
    # Without drift the reflection principle: twice the normal tail at one standard deviation.
    assert touch_probability(0.1, 0.0, 0.01) == pytest.approx(0.31731050786291415, abs=1e-15)


def test_arrays_broadcast_and_equal_their_elements():
    upper, variance = np.array([[0.02], [0.3]]), np.array([1e-5, 4e-4, 1e-2, 1.0])
    odds = corridor(upper, -0.05, 0.001, variance)
    assert odds.first_upper.shape == (2, 4)
    for i, j in np.ndindex(2, 4):
        one = corridor(float(upper[i, 0]), -0.05, 0.001, float(variance[j]))
        np.testing.assert_allclose([p[i, j] for p in odds], one, rtol=0, atol=1e-14)


def quantlib_odds(spot: float, upper: float, lower: float, volatility: float, days: int) -> dict[str, float]:
    """Return the values at zero rates of double-barrier binaries that pay 1, keyed by what they pay for."""
    today = QuantLib.Date(10, 2, 2026)
    QuantLib.Settings.instance().evaluationDate = today
    counter = QuantLib.Actual365Fixed()
    rate = QuantLib.YieldTermStructureHandle(QuantLib.FlatForward(today, 0.0, counter))
    smile = QuantLib.BlackConstantVol(today, QuantLib.NullCalendar(), volatility, counter)
    process = QuantLib.BlackScholesMertonProcess(
        QuantLib.QuoteHandle(QuantLib.SimpleQuote(spot)),
        rate,
        rate,
        QuantLib.BlackVolTermStructureHandle(smile),
    )
    engine = QuantLib.AnalyticDoubleBarrierBinaryEngine(process)
    at_hit, at_expiry = (
        QuantLib.AmericanExercise(today, today + days),
        QuantLib.EuropeanExercise(today + days),
    )
    values = {}
    for name, kind, exercise in (
        ("first_upper", QuantLib.DoubleBarrier.KOKI, at_hit),
        ("first_lower", QuantLib.DoubleBarrier.KIKO, at_hit),
        ("neither", QuantLib.DoubleBarrier.KnockOut, at_expiry),
    ):
        payoff = QuantLib.CashOrNothingPayoff(QuantLib.Option.Call, 0.0, 1.0)
        option = QuantLib.DoubleBarrierOption(kind, lower, upper, 0.0, payoff, exercise)
        option.setPricingEngine(engine)
        values[name] = option.NPV()
    return values


@pytest.mark.parametrize(
    ("spot", "upper", "lower", "volatility", "days"),
    [
        (6941.81, 7100.0, 6800.0, 0.14, 30),
        (6941.81, 7100.0, 6800.0, 0.14, 5),
        (6941.81, 7300.0, 6300.0, 0.20, 60),
        (100.0, 130.0, 80.0, 0.30, 365),
        (100.0, 101.0, 50.0, 0.25, 20),
    ],
)
def test_quantlib_prices_the_same_odds(spot, upper, lower, volatility, days):
    variance = volatility**2 * days / 365
    odds = corridor(np.log(upper / spot), np.log(lower / spot), -variance / 2, variance)
    witness = quantlib_odds(spot, upper, lower, volatility, days)
    # QuantLib stops its series at terms of 1e-8.
    for name, value in witness.items():
        assert getattr(odds, name) == pytest.approx(value, abs=1e-8), name


@pytest.mark.parametrize(("level", "kind"), [(7100.0, QuantLib.Option.Call), (6800.0, QuantLib.Option.Put)])
def test_two_delta_rule_doubles_quantlib_delta(level, kind):
    volatility, years = 0.14, 21 / 252
    payoff = QuantLib.PlainVanillaPayoff(kind, level)
    delta = QuantLib.BlackCalculator(payoff, 6941.81, volatility * np.sqrt(years), 1.0).deltaForward()
    assert two_delta_rule(6941.81, level, volatility, years) == pytest.approx(2 * abs(delta), abs=1e-13)


def test_two_delta_rule_is_capped_and_certain_at_the_spot():
    assert two_delta_rule(100.0, 100.0, 0.2, 1.0) == 1.0
    # A call a shade above the spot has a delta above one half.
    assert two_delta_rule(100.0, 100.01, 0.2, 1.0) == 1.0
    assert two_delta_rule(100.0, 99.99, 0.2, 1.0) < 1.0


def test_flat_volatility_odds_are_the_corridor_in_prices():
    odds = flat_volatility_odds(6941.81, 7100.0, 6800.0, 0.14, 21, annual_drift=0.05)
    variance = 0.14**2 * 21 / 252
    mean = 0.05 * 21 / 252 - variance / 2
    upper, lower = np.log(7100 / 6941.81), np.log(6800 / 6941.81)
    np.testing.assert_allclose(odds, corridor(upper, lower, mean, variance), rtol=0, atol=1e-15)


def test_flat_volatility_odds_agree_with_the_reference():
    reference = json.loads((CASES / "flat.json").read_text())
    odds = flat_volatility_odds(6941.81, 7100.0, 6800.0, 0.14, 21)
    neither, first_upper, first_lower = (row[i] for i, row in enumerate(reference["joint"]))
    touch_lower, touch_upper = reference["touch"][-1]
    variance = 0.14**2 * 21 / 252
    touches = touch_probability(np.log([7100 / 6941.81, 6800 / 6941.81]), -variance / 2, variance)
    names, values = (*odds._fields, "touch_upper", "touch_lower"), (*odds, *touches)
    expected = (first_upper, first_lower, neither, touch_upper, touch_lower)
    for name, value, share in zip(names, values, expected, strict=True):
        # Five comparisons at 4 standard errors: a false alarm once in 3,000 references.
        assert abs(value - share) <= 4.0 * np.sqrt(share * (1.0 - share) / reference["paths"]), name


def test_scale_function_of_simple_factors():
    # A constant factor leaves the odds of a martingale: the distance to the other barrier.
    assert scale_function_odds(lambda s: 3.0, 0.02, -0.03) == pytest.approx((0.6, 0.4), abs=1e-14)
    # m = 1 + 10 s: areas 0.02 + 5 * 0.0004 above and 0.03 - 5 * 0.0009 below.
    odds = scale_function_odds(lambda s: 1.0 + 10.0 * s, 0.02, -0.03)
    assert odds == pytest.approx((0.0255 / 0.0475, 0.0220 / 0.0475), abs=1e-14)


def test_scale_function_with_a_step_at_a_breakpoint():
    odds = scale_function_odds(lambda s: 4.0 if s > 0.01 else 1.0, 0.02, -0.03, breakpoints=(0.01, 5.0))
    assert odds == pytest.approx((0.03 / 0.08, 0.05 / 0.08), abs=1e-14)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ((0.0, -0.1, 0.0, 1.0), "upper"),
        ((0.1, 0.1, 0.0, 1.0), "lower"),
        ((0.1, -0.1, np.nan, 1.0), "mean"),
        ((0.1, -0.1, 0.0, -1.0), "variance"),
        ((0.1, -0.1, 0.0, np.inf), "variance"),
        ((np.array([0.1, np.inf]), -0.1, 0.0, 1.0), "upper"),
    ],
)
@pytest.mark.parametrize("odds", [corridor, corridor_by_images, corridor_by_eigenfunctions])
def test_a_corridor_out_of_range_is_refused(odds, arguments, key):
    with pytest.raises(InputError, match=key):
        odds(*arguments)


def test_the_series_refuse_a_variance_of_zero():
    for series in (corridor_by_images, corridor_by_eigenfunctions):
        with pytest.raises(InputError, match="variance = 0"):
            series(0.1, -0.1, 0.0, 0.0)


def test_every_problem_is_reported_at_once():
    with pytest.raises(InputError) as refused:
        corridor(-0.1, 0.1, np.nan, -1.0)
    assert [problem.key for problem in refused.value.problems] == ["upper", "lower", "mean", "variance"]
    with pytest.raises(InputError) as refused:
        two_delta_rule(0.0, -1.0, np.inf, np.nan)
    assert len(refused.value.problems) == 4


@pytest.mark.parametrize(
    "arguments", [(np.nan, 0.0, 1.0), (0.1, np.inf, 1.0), (0.1, 0.0, -1e-9), (0.1, 0.0, np.inf)]
)
def test_a_touch_out_of_range_is_refused(arguments):
    with pytest.raises(InputError):
        touch_probability(*arguments)


@pytest.mark.parametrize(("upper", "lower"), [(6900.0, 6800.0), (7100.0, 6941.81), (7100.0, -1.0)])
def test_targets_on_the_wrong_side_are_refused(upper, lower):
    with pytest.raises(InputError):
        flat_volatility_odds(6941.81, upper, lower, 0.14, 21)
