"""Logarithm, exponential and powers against decimals of 50 digits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sim.market import elementary
from sim.market.elementary import (
    exp,
    expm1,
    floor_log2,
    floor_log10,
    interpolate,
    log,
    power,
    sum_in_order,
    sums_in_order,
    whole_powers,
)

Float64s = npt.NDArray[np.float64]
RNG = np.random.default_rng(17)
COUNT = 1500
DIGITS = 50


def largest_error(found: Float64s, exact: Sequence[Decimal]) -> float:
    """Largest error, in units of the last place of the exact values, none of which is zero."""
    with localcontext(prec=DIGITS):
        errors = [
            abs(Decimal(f) - e) / Decimal(float(np.spacing(abs(float(e)))))
            for f, e in zip(found.tolist(), exact, strict=True)
        ]
    return float(max(errors))


def decimals(function: Callable[..., Decimal], *arguments: Float64s) -> list[Decimal]:
    with localcontext(prec=DIGITS):
        return [function(*map(Decimal, row)) for row in zip(*(a.tolist() for a in arguments), strict=True)]


def powers_of_two(low: int, high: int) -> Float64s:
    return np.ldexp(1.0, RNG.integers(low, high, COUNT))


def beside(places: Float64s) -> Float64s:
    """Each place and the floats next to it."""
    return np.concatenate([np.nextafter(places, -np.inf), places, np.nextafter(places, np.inf)])


# Ends of the cells in which mantissas share a table entry, and the powers of e where 2^(j/64) changes.
MANTISSA_ENDS = np.append((np.arange(90, 182) + 0.5) / 128, [181 / 256, 181 / 128])
EXPONENT_ENDS = (np.arange(-320, 320) + 0.5) * (math.log(2.0) / 64)

POSITIVE = {
    "any": RNG.uniform(1.0, 2.0, COUNT) * powers_of_two(-1021, 1023),
    "subnormal": RNG.uniform(1.0, 2.0, COUNT) * powers_of_two(-1060, -1023),
    "strikes": RNG.uniform(2000.0, 12000.0, COUNT) / 7000.0,
    "around one": 1.0 + RNG.uniform(-0.3, 0.42, COUNT),
    "beside one": np.maximum(1.0 + RNG.uniform(-1.0, 1.0, COUNT) * powers_of_two(-52, -4), 0.5),
    "cell ends": np.concatenate([beside(MANTISSA_ENDS), beside(MANTISSA_ENDS * 2.0**-60)]),
}
EXPONENTS = {
    "any": RNG.uniform(-708.0, 709.5, COUNT),
    "densities": RNG.uniform(-40.0, 0.0, COUNT),
    "around zero": RNG.uniform(-1.0, 1.0, COUNT),
    "beside zero": RNG.uniform(-1.0, 1.0, COUNT) * powers_of_two(-60, -2),
    "cell ends": beside(EXPONENT_ENDS),
}


@pytest.mark.parametrize("where", POSITIVE)
def test_log(where: str) -> None:
    x = POSITIVE[where][POSITIVE[where] != 1.0]
    assert largest_error(log(x), decimals(Decimal.ln, x)) < 0.501


@pytest.mark.parametrize("where", EXPONENTS)
def test_exp(where: str) -> None:
    x = EXPONENTS[where]
    assert largest_error(exp(x), decimals(Decimal.exp, x)) < 0.501


@pytest.mark.parametrize("where", EXPONENTS)
def test_expm1(where: str) -> None:
    x = EXPONENTS[where][EXPONENTS[where] != 0.0]
    assert largest_error(expm1(x), decimals(lambda own: own.exp() - 1, x)) < 0.501


@pytest.mark.parametrize(("largest", "error"), [(5.0, 0.501), (100.0, 0.502), (700.0, 0.51)])
def test_power(largest: float, error: float) -> None:
    x = RNG.uniform(1.0, 2.0, COUNT) * powers_of_two(-8, 8)
    y = RNG.uniform(-largest, largest, COUNT) / np.maximum(np.abs(np.log(x)), 1e-3)
    assert largest_error(power(x, y), decimals(lambda a, b: a**b, x, y)) < error
    y = RNG.uniform(-largest, largest, 500) / math.log(2.0)
    assert largest_error(power(2.0, y), decimals(lambda own: Decimal(2) ** own, y)) < error


def test_most_results_are_the_nearest_floats() -> None:
    """Of 1,500 each, the expected number that are not is one."""
    x, y = POSITIVE["strikes"], EXPONENTS["densities"]
    for found, exact in ((log(x), decimals(Decimal.ln, x)), (exp(y), decimals(Decimal.exp, y))):
        assert np.count_nonzero(found != [float(e) for e in exact]) <= 3


def test_exact_results() -> None:
    assert log(1.0) == 0.0
    assert exp(0.0) == exp(-0.0) == 1.0
    assert expm1(np.array([0.0, -0.0])).tolist() == [0.0, 0.0]
    k = np.arange(-1074, 1024)
    assert power(2.0, k.astype(np.float64)).tolist() == np.ldexp(1.0, k).tolist()
    assert power(3.0, np.arange(30.0)).tolist() == [3.0**i for i in range(30)]
    assert power(np.array([0.3, 7.0]), 0.0).tolist() == [1.0, 1.0]


def same(found: Any, expected: Any) -> bool:
    return bool(np.array_equal(np.asarray(found), np.asarray(expected), equal_nan=True))


@pytest.mark.parametrize(
    ("function", "places", "expected"),
    [
        (
            log,
            [0.0, -0.0, math.inf, -1.0, -5e-324, -math.inf],
            [-math.inf, -math.inf, math.inf] + 3 * [math.nan],
        ),
        (exp, [math.inf, 709.8, 1e300, -math.inf, -745.2, -1e300], 3 * [math.inf] + 3 * [0.0]),
        (expm1, [math.inf, 709.8, 1e300, -math.inf, -40.0, -1e300], 3 * [math.inf] + 3 * [-1.0]),
    ],
)
def test_special_values(function: Any, places: list[float], expected: list[float]) -> None:
    """Silently, and the same beside usual numbers."""
    places, expected = [*places, math.nan], [*expected, math.nan]
    with np.errstate(all="raise"):
        assert same(function(np.array(places)), expected)
        assert same([function(x) for x in places], expected)
        mixed = function(np.array([0.7, *places, 0.3]))
    assert same(mixed[1:-1], expected)
    assert same(mixed[[0, -1]], [function(0.7), function(0.3)])


def test_powers_of_other_numbers() -> None:
    x = np.array([-1.0, 0.0, math.inf, math.nan, 2.0, 2.0, 2.0, 2.0, 0.5, 1.0])
    y = np.array([2.0, 2.0, 1.0, 1.0, math.nan, math.inf, 1e300, -1e300, 1e300, 1e300])
    expected = [math.nan] * 6 + [math.inf, 0.0, 0.0, 1.0]
    with np.errstate(all="raise"):
        assert same(power(x, y), expected)
        assert same([power(float(a), float(b)) for a, b in zip(x, y, strict=True)], expected)


def test_smallest_results() -> None:
    """Subnormal numbers, to a little more than half their spacing."""
    x = RNG.uniform(-745.0, -708.0, 500)
    errors = [abs(Decimal(f) - e) for f, e in zip(exp(x).tolist(), decimals(Decimal.exp, x), strict=True)]
    assert float(max(errors)) <= 0.502 * 5e-324
    assert exp(-745.1) == 5e-324


@pytest.mark.parametrize("function", [log, exp, expm1])
def test_numbers_and_arrays_agree(function: Any) -> None:
    x = np.concatenate([*POSITIVE.values(), *EXPONENTS.values()])
    if function is log:
        x = np.abs(x)
    found = function(x)
    numbers = [function(value) for value in x.tolist()]
    assert all(type(number) is float for number in numbers)
    assert same(found, numbers)
    assert same(function(np.float64(0.37)), function(0.37))
    # neither shape, nor order in memory, nor a number's neighbours count
    pair = x[: x.size // 2 * 2].reshape(2, -1)
    assert same(function(pair), found[: pair.size].reshape(2, -1))
    assert same(function(pair.T), function(pair).T)
    assert same(function(np.tile(x, 8)), np.tile(found, 8))
    assert function(np.empty((0, 3))).shape == (0, 3)


def test_powers_of_numbers_and_arrays_agree() -> None:
    x = POSITIVE["around one"][:300]
    y = EXPONENTS["any"][:300]
    numbers = [power(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    assert same(power(x, y), numbers)
    assert same(power(x[:, None], y[None, :7])[:, 3], [power(a, float(y[3])) for a in x.tolist()])


@pytest.mark.parametrize(
    ("function", "ends"), [(log, MANTISSA_ENDS), (exp, EXPONENT_ENDS), (expm1, EXPONENT_ENDS)]
)
def test_results_rise(function: Any, ends: Float64s) -> None:
    """From float to float where one table entry hands over to the next."""
    for end in ends.tolist():
        x = [end]
        for _ in range(20):
            x = [math.nextafter(x[0], -math.inf), *x, math.nextafter(x[-1], math.inf)]
        assert np.all(np.diff(function(np.array(x))) >= 0.0)


def test_constants_are_exact() -> None:
    """Leading parts have so few bits that their products with whole numbers are exact."""
    with localcontext(prec=DIGITS):
        ln2 = Decimal(2).ln()
        for k, (high, low) in enumerate(elementary._LOGS, start=90):
            assert abs(Decimal(high) + Decimal(low) - (Decimal(k) / 128).ln()) < Decimal("1e-28")
            assert (Fraction(high) * 2**42).denominator == 1
        for j, parts in enumerate(elementary._ROOT_ROWS):
            assert abs(sum(map(Decimal, parts)) - (ln2 * j / 64).exp()) < Decimal("1e-31")
            assert (Fraction(parts[0]) * 2**25).denominator == 1
        assert abs(sum(map(Decimal, elementary._LN2_BY_64)) - ln2 / 64) < Decimal("1e-39")


def test_whole_powers() -> None:
    assert whole_powers(1.15, 78).tolist() == [float(Fraction(1.15) ** k) for k in range(78)]


@pytest.mark.parametrize("x", [1e-300, 0.5, np.nextafter(1.0, 0.0), 1.0, 1.5, 1023.9, 1024.0, 1e300])
def test_floor_log2(x: float) -> None:
    assert Fraction(2) ** floor_log2(x) <= Fraction(x) < Fraction(2) ** (floor_log2(x) + 1)


@pytest.mark.parametrize("x", [1e-300, 0.1, np.nextafter(100.0, 0.0), 100.0, 139.0, 999.9999999999999, 1e22])
def test_floor_log10(x: float) -> None:
    assert Fraction(10) ** floor_log10(x) <= Fraction(x) < Fraction(10) ** (floor_log10(x) + 1)


def test_sums_in_order() -> None:
    values = RNG.normal(size=1001) * 10.0 ** RNG.integers(-8, 8, 1001)
    total = 0.0
    for value in values.tolist():
        total += value
    assert sum_in_order(values) == total
    assert sums_in_order(values, -values) == [total, -total]
    assert sum_in_order(np.array([])) == 0.0


def test_interpolate() -> None:
    places, values = np.array([0.0, 1.0, 3.0]), np.array([5.0, 7.0, -1.0])
    x = np.array([-1.0, 0.0, 0.25, 1.0, 2.0, 3.0, 9.0])
    expected = [5.0, 5.0, 5.5, 7.0, 3.0, -1.0, -1.0]
    assert interpolate(x, places, values).tolist() == expected
    assert [interpolate(own, places, values) for own in x.tolist()] == expected
