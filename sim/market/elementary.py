"""Logarithm, exponential and powers of float64 numbers in arithmetic that IEEE 754 pins down.

Every value is the result of additions, subtractions, multiplications, divisions and comparisons in a written order,
of roundings to whole numbers and of integer operations. Python, NumPy and every processor round these alike, so the
same bytes come out everywhere; libm's and NumPy's own log and exp differ between processors and releases.

The largest error is 0.501 ulp, whether an argument is a float or an entry of an array: nearly all results are the
correctly rounded ones. Pairs of numbers carry the digits beyond float64:

    ln x = e·ln 2 + ln c + ln(1 + q)       x = 2^e·m, c the multiple of 1/128 nearest to m, q = (m − c)/c
    e^x  = 2^k·2^(j/64)·e^r                64·k + j the whole number nearest to 64·x/ln 2, r the rest

Constants are made by integer arithmetic. No function warns: overflow gives inf, an argument outside the domain nan.

Source: Dekker (1971) for sums and products as pairs; Tang (1989, 1990) for the reductions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Number = TypeVar("Number", float, FloatArray)

# Bits behind the binary point of the whole numbers that constants are made from.
_BITS: Final = 160
# Numbers of an array that are dealt with at a time: they stay in the processor's cache.
_AT_ONCE: Final = 4096
# 2^27 + 1 splits a number into two of 26 bits, whose products are exact.
_SPLITTER: Final = 134217729.0
_SMALLEST_NORMAL: Final = 2.2250738585072014e-308
# Up to here 2^k is a normal number; beyond here e^x is 0 or inf.
_LARGEST_PLAIN: Final = 700.0
_LARGEST_EXPONENT: Final = 750.0
# Larger powers of numbers other than 1 are 0 or inf.
_LARGEST_POWER: Final = 2.0**64
_EXPONENT_BITS: Final = 52
_BIAS: Final = 1023

# Multiples of 1/128 around one: ln c for mantissas m from 181/256 up to twice as much.
_PLACES: Final = 128
_FIRST: Final = 90
_LAST: Final = 181
_LEAST_MANTISSA: Final = 181.0 / 256.0
# Bits behind the binary point of the leading part of logarithms, so that e·ln 2 + ln c is exact.
_LEADING: Final = 42
# Powers 2^(j/64).
_ROOTS: Final = 64


def _atanh_of_reciprocal(n: int) -> int:
    """Scaled atanh(1/n) = Σ 1/((2i + 1)·n^(2i+1))."""
    power, total = (1 << _BITS) // n, 0
    for odd in itertools.count(1, 2):
        if not power:
            return total
        total += power // odd
        power //= n * n
    raise AssertionError


def _nearest(scaled: int, bits: int) -> int:
    """Multiple of 2^−bits nearest to a scaled number."""
    return (scaled + (1 << (_BITS - bits - 1))) >> (_BITS - bits)


def _in_parts(scaled: int, *leading: int) -> list[float]:
    """Parts of a scaled number: a multiple of 2^−bits for each leading one, and the float64 nearest to the rest."""
    parts = []
    for bits in leading:
        multiple = _nearest(scaled, bits)
        parts.append(multiple / (1 << bits))
        scaled -= multiple << (_BITS - bits)
    return [*parts, scaled / (1 << _BITS)]


def _log_table(ln2: int) -> list[list[float]]:
    """Parts of ln(k/128), k from 90 to 181."""
    log = {_PLACES: 0}
    for k in range(_PLACES, _LAST):
        log[k + 1] = log[k] + 2 * _atanh_of_reciprocal(2 * k + 1)
    for k in range(_PLACES - 1, _FIRST - 1, -1):
        log[k] = log[k + 1] - 2 * _atanh_of_reciprocal(2 * k + 1)
    assert abs(log[_FIRST] - log[2 * _FIRST] + ln2) < 1 << 12  # 180 = 2·90
    return [_in_parts(log[k], _LEADING) for k in range(_FIRST, _LAST + 1)]


def _root_table() -> list[tuple[float, float, float]]:
    """2^(j/64) as the sum of 26 bits, the rest of the nearest float64, and what that lacks."""
    root = 2 << _BITS
    for _ in range(_ROOTS.bit_length() - 1):
        root = math.isqrt(root << _BITS)
    power, rows = 1 << _BITS, []
    for _ in range(_ROOTS):
        whole = power / (1 << _BITS)
        top = _nearest(power, 25) / (1 << 25)
        lacking = power - int(whole * (1 << 52) * (1 << (_BITS - 52)))
        rows.append((top, whole - top, lacking / (1 << _BITS)))
        power = power * root >> _BITS
    return rows


_LN2: Final = 2 * _atanh_of_reciprocal(3)
_LN2_HIGH, _LN2_LOW = _in_parts(_LN2, _LEADING)
_LN2_BY_64: Final = _in_parts(_LN2 // _ROOTS, 42, 79)
_64_BY_LN2: Final = (_ROOTS << _BITS) / _LN2
_LOGS: Final = _log_table(_LN2)
_LOG_HIGH, _LOG_LOW = np.array(_LOGS).T.copy()
_ROOT_ROWS: Final = _root_table()
_ROOT_TOP, _ROOT_REST, _ROOT_LOW = np.array(_ROOT_ROWS).T.copy()
for _table in (_LOG_HIGH, _LOG_LOW, _ROOT_TOP, _ROOT_REST, _ROOT_LOW):
    _table.flags.writeable = False


def _split(x: Number) -> tuple[Number, Number]:
    """Two numbers of at most 26 bits with the sum x, for |x| < 2^996."""
    scaled = x * _SPLITTER
    high = scaled - (scaled - x)
    return high, x - high


def _log_parts(e: Number, d: Number, c: Number, high: Number, low: Number) -> tuple[Number, Number]:
    """e·ln 2 + ln c + ln(1 + d/c) as the sum of a number and a small one; high + low = ln c, |d/c| < 2^−7."""
    q = d / c
    a, b = _split(q)
    rest = ((d - a * c) - b * c) / c
    square = q * q
    lacking = ((a * a - square) + 2.0 * (a * b)) + b * b
    series = 1.0 / 3.0 - q * (
        1.0 / 4.0 - q * (1.0 / 5.0 - q * (1.0 / 6.0 - q * (1.0 / 7.0 - q * (1.0 / 8.0))))
    )
    lead = e * _LN2_HIGH + high
    with_q = lead + q
    lost = q - (with_q - lead)
    half = -0.5 * square
    whole = with_q + half
    lost = lost + (half - (whole - with_q))
    small = ((rest - rest * q) - 0.5 * lacking) + q * square * series
    return whole, lost + (small + (low + e * _LN2_LOW))


def _exp_parts(r: Number, rest: Number, top: Number, root_rest: Number, low: Number) -> tuple[Number, Number]:
    """(top + root_rest + low)·e^(r + rest) as the sum of a number and a small one, |r| < 2^−7."""
    a, b = _split(r)
    bend = 1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0))))
    beyond = b + ((rest + rest * r) + r * r * (0.5 + r * bend))
    root = top + root_rest
    product = top * a
    whole = root + product
    lost = product - (whole - root)
    return whole, lost + ((root_rest * a + root * beyond) + (low + low * a))


def _rest_of_exp(x: Number, low: Number | float, n: Number) -> tuple[Number, Number]:
    """Rest of the exponent, x + low − n·ln 2/64, as the sum of a number and a small one."""
    first, second, third = _LN2_BY_64
    near = x - n * first
    taken = n * second
    r = near - taken
    given = r - near
    lost = (near - (r - given)) - (taken + given)
    return r, (lost - n * third) + low


def _log_pair_of_float(x: float) -> tuple[float, float]:
    """Parts of ln x, x > 0 and finite."""
    m, e = math.frexp(x)
    if m < _LEAST_MANTISSA:
        m, e = 2.0 * m, e - 1
    k = round(m * _PLACES)
    c = k / _PLACES
    return _log_parts(float(e), m - c, c, *_LOGS[k - _FIRST])


def _log_pair(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Parts of ln x, all x > 0 and finite."""
    lifted = x < _SMALLEST_NORMAL
    some_lifted = bool(lifted.any())
    bits = (x * np.where(lifted, 2.0**54, 1.0) if some_lifted else x).view(np.int64)
    exponent = (bits - _LEAST_BITS) >> _EXPONENT_BITS
    m = (bits - (exponent << _EXPONENT_BITS)).view(np.float64)
    e = exponent.astype(np.float64)
    if some_lifted:
        e = e - 54.0 * lifted
    k = np.rint(m * _PLACES)
    place = k.astype(np.int64) - _FIRST
    c = k * (1.0 / _PLACES)
    return _log_parts(e, m - c, c, _LOG_HIGH[place], _LOG_LOW[place])


_LEAST_BITS: Final = int(np.array(_LEAST_MANTISSA).view(np.int64))


def _exp_pair_of_float(x: float, low: float = 0.0) -> tuple[float, float, int]:
    """Parts of e^(x + low) / 2^k, and k; |x| < 2^11."""
    n = round(x * _64_BY_LN2)
    r, rest = _rest_of_exp(x, low, float(n))
    return *_exp_parts(r, rest, *_ROOT_ROWS[n % _ROOTS]), n // _ROOTS


def _exp_pair(
    x: FloatArray, low: FloatArray | float = 0.0
) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    """Parts of e^(x + low) / 2^k, and k; |x| < 2^11."""
    n = np.rint(x * _64_BY_LN2)
    r, rest = _rest_of_exp(x, low, n)
    whole = n.astype(np.int64)
    j = whole & (_ROOTS - 1)
    return *_exp_parts(r, rest, _ROOT_TOP[j], _ROOT_REST[j], _ROOT_LOW[j]), whole >> 6


def _power_of_two(k: NDArray[np.int64]) -> FloatArray:
    return ((k + _BIAS) << _EXPONENT_BITS).view(np.float64)


def _scaled(x: FloatArray, k: NDArray[np.int64]) -> FloatArray:
    """x·2^k, |k| < 2,000."""
    half = k >> 1
    with np.errstate(over="ignore", under="ignore"):
        result: FloatArray = x * _power_of_two(half) * _power_of_two(k - half)
    return result


def _scaled_float(x: float, k: int) -> float:
    half = k >> 1
    return x * math.ldexp(1.0, half) * math.ldexp(1.0, k - half)


def _in_blocks(function: Callable[[FloatArray], FloatArray], x: FloatArray) -> FloatArray:
    """Function of an array of any shape, worked out block by block."""
    flat = np.ascontiguousarray(x, dtype=np.float64).reshape(-1)
    if flat.size <= _AT_ONCE:
        return function(flat).reshape(x.shape)
    result = np.empty_like(flat)
    for first in range(0, flat.size, _AT_ONCE):
        result[first : first + _AT_ONCE] = function(flat[first : first + _AT_ONCE])
    return result.reshape(x.shape)


@overload
def log(x: float) -> float: ...
@overload
def log(x: FloatArray) -> FloatArray: ...
def log(x: float | FloatArray) -> float | FloatArray:
    """Natural logarithm ln x of a number, or of each in an array of any shape.

    ln 0 = −inf, ln inf = inf; nan below zero.
    """
    if isinstance(x, np.ndarray):
        return _in_blocks(_log, x)
    x = float(x)
    if 0.0 < x < math.inf:
        whole, small = _log_pair_of_float(x)
        return whole + small
    return -math.inf if x == 0.0 else x if x > 0.0 else math.nan


def _log(x: FloatArray) -> FloatArray:
    usual = (x > 0.0) & (x < math.inf)
    if usual.all():
        whole, small = _log_pair(x)
        return whole + small
    whole, small = _log_pair(np.where(usual, x, 1.0))
    rest = np.where(x == 0.0, -math.inf, np.where(x > 0.0, x, math.nan))
    return np.where(usual, whole + small, rest)


@overload
def exp(x: float) -> float: ...
@overload
def exp(x: FloatArray) -> FloatArray: ...
def exp(x: float | FloatArray) -> float | FloatArray:
    """Exponential e^x of a number, or of each in an array of any shape.

    e^inf and whatever is too large = inf, e^−inf and whatever is too small = 0. Below 2^−1022 the error is that of
    subnormal numbers, 0.501 of their spacing, but for a second rounding.
    """
    if isinstance(x, np.ndarray):
        return _in_blocks(_exp, x)
    x = float(x)
    if math.isnan(x):
        return x
    whole, small, k = _exp_pair_of_float(min(max(x, -_LARGEST_EXPONENT), _LARGEST_EXPONENT))
    return _scaled_float(whole + small, k)


def _exp(x: FloatArray) -> FloatArray:
    if (np.abs(x) <= _LARGEST_PLAIN).all():
        whole, small, k = _exp_pair(x)
        return (whole + small) * _power_of_two(k)
    unknown = np.isnan(x)
    inside = np.minimum(np.maximum(np.where(unknown, 0.0, x), -_LARGEST_EXPONENT), _LARGEST_EXPONENT)
    whole, small, k = _exp_pair(inside)
    return np.where(unknown, x, _scaled(whole + small, k))


@overload
def expm1(x: float) -> float: ...
@overload
def expm1(x: FloatArray) -> FloatArray: ...
def expm1(x: float | FloatArray) -> float | FloatArray:
    """e^x − 1 of a number, or of each in an array of any shape, to 0.501 ulp near zero too.

    inf where e^x is too large; −1 from about −38 down.
    """
    if isinstance(x, np.ndarray):
        return _in_blocks(_expm1, x)
    return float(_expm1(np.array([float(x)]))[0])


def _expm1(x: FloatArray) -> FloatArray:
    unknown, large = np.isnan(x), x > _LARGEST_PLAIN
    inside = np.minimum(np.maximum(np.where(unknown, 0.0, x), -100.0), _LARGEST_PLAIN)
    whole, small, k = _exp_pair(inside)
    scale = _power_of_two(k)
    whole, small = whole * scale, small * scale
    less = whole - 1.0
    given = less - whole
    lost = (whole - (less - given)) - (1.0 + given)
    near_zero = inside + inside * inside * (0.5 + inside * (1.0 / 6.0))
    result = np.where(np.abs(x) < 2.0**-20, near_zero, less + (lost + small))
    return np.where(unknown, x, np.where(large, _exp(x), result)) if (unknown | large).any() else result


@overload
def power(x: float, y: float) -> float: ...
@overload
def power(x: float | FloatArray, y: FloatArray) -> FloatArray: ...
@overload
def power(x: FloatArray, y: float | FloatArray) -> FloatArray: ...
def power(x: float | FloatArray, y: float | FloatArray) -> float | FloatArray:
    """x^y of positive, finite x and finite y, numbers or arrays whose shapes go together.

    nan for other x and y. The error is below 0.502 ulp as long as |y·ln x| < 100, and 0.51 ulp beyond.
    """
    if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
        base, exponent = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
        return _power(base.reshape(-1), exponent.reshape(-1)).reshape(base.shape)
    x, y = float(x), float(y)
    if not (0.0 < x < math.inf and abs(y) < math.inf):
        return math.nan
    product, low = _product_pair(min(max(y, -_LARGEST_POWER), _LARGEST_POWER), *_log_pair_of_float(x))
    if abs(product) > _LARGEST_EXPONENT:
        return math.inf if product > 0.0 else 0.0
    whole, small, k = _exp_pair_of_float(product, low)
    return _scaled_float(whole + small, k)


def _product_pair(y: Number, whole: Number, small: Number) -> tuple[Number, Number]:
    """y·(whole + small) as the sum of a number and a small one."""
    log_x = whole + small
    small = small - (log_x - whole)
    product = y * log_x
    y_high, y_low = _split(y)
    log_high, log_low = _split(log_x)
    lost = ((y_high * log_high - product) + (y_high * log_low + y_low * log_high)) + y_low * log_low
    return product, lost + y * small


def _power(x: FloatArray, y: FloatArray) -> FloatArray:
    usual = (x > 0.0) & (x < math.inf) & (np.abs(y) < math.inf)
    y = np.minimum(np.maximum(np.where(usual, y, 0.0), -_LARGEST_POWER), _LARGEST_POWER)
    product, low = _product_pair(y, *_log_pair(np.where(usual, x, 1.0)))
    inside = np.abs(product) <= _LARGEST_EXPONENT
    whole, small, k = _exp_pair(np.where(inside, product, 0.0), np.where(inside, low, 0.0))
    beyond = np.where(product > 0.0, math.inf, 0.0)
    return np.where(usual, np.where(inside, _scaled(whole + small, k), beyond), math.nan)


def whole_powers(base: float, count: int) -> FloatArray:
    """base^k for k from 0 to count − 1, each the nearest float64 to the exact power; base positive."""
    numerator, denominator = float(base).as_integer_ratio()
    return np.array([numerator**k / denominator**k for k in range(count)])


def floor_log2(x: float) -> int:
    """Largest k with 2^k ≤ x, for a positive, finite x."""
    return math.frexp(x)[1] - 1


def floor_log10(x: float) -> int:
    """Largest k with 10^k ≤ x, for a positive, finite x."""
    return Decimal(x).adjusted()


def sum_in_order(values: Any) -> float:
    """Sum of numbers (n,), one after the other from the first on; 0 for none. NumPy's own sum adds in pairs."""
    numbers = np.asarray(values, dtype=np.float64)
    return float(np.add.accumulate(numbers)[-1]) if numbers.size else 0.0


def sums_in_order(*rows: FloatArray) -> list[float]:
    """`sum_in_order` of each row, all of them (n,), n ≥ 1."""
    totals: list[float] = np.add.accumulate(np.stack(rows), axis=1)[:, -1].tolist()
    return totals


@overload
def interpolate(x: float, places: FloatArray, values: FloatArray) -> float: ...
@overload
def interpolate(x: FloatArray, places: FloatArray, values: FloatArray) -> FloatArray: ...
def interpolate(x: float | FloatArray, places: FloatArray, values: FloatArray) -> float | FloatArray:
    """Values at x on the straight lines through (places, values); the end values beyond both ends.

    Parameters
    ----------
    x : a number, or an array of any shape.
    places, values : (n,) each, n ≥ 2, places ascending.
    """
    below = np.minimum(np.maximum(np.searchsorted(places, x, side="right") - 1, 0), places.size - 2)
    low, start = places[below], values[below]
    inside = start + (values[below + 1] - start) * ((x - low) / (places[below + 1] - low))
    result = np.where(x <= places[0], values[0], np.where(x >= places[-1], values[-1], inside))
    return result if isinstance(x, np.ndarray) else float(result)


def squared(x: float) -> float:
    """Return x², by a product: Python's power is libm's."""
    return x * x
