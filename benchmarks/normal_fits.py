"""Coefficients and table of the candidates in normal_candidates.cuh.

They are fitted in float64 against scipy's ndtri and NumPy's log, sin and cos, rounded to float32 once, and handed to
the compiled candidates as `#define` lines and as an array.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Curve = Callable[[Float64Array], Float64Array]

FIT_POINTS = 2000
MANTISSA_BITS = 23

# Eight segments a binade. The numbers 1 … 2^31 take the binades 0 to 31, of which the last holds 2^31 alone; the
# outermost cell stands for itself in the binade of ½.
SEGMENT_BITS = 3
SEGMENTS_A_BINADE = 1 << SEGMENT_BITS
FIRST_BINADE, LAST_BINADE = -1, 31
SEGMENTS = (LAST_BINADE - FIRST_BINADE) * SEGMENTS_A_BINADE + 1
FIRST_SEGMENT = (127 + FIRST_BINADE) << SEGMENT_BITS
SEGMENT_MIDDLE = np.float32(1 + 0.5 / SEGMENTS_A_BINADE)
# Twice the tail's probability is (number + ½)/2^31, and for the outermost cell (⅛)/2^31: 6.55 standard deviations,
# as far as Box–Muller goes.
OUTERMOST = 0.125

# −2·ln(u·(2 − u)): the central polynomial ends here; the tail's reaches to the outermost cell.
CENTRE_END = 12.0
TAIL_END = 44.0


def fitted(
    curve: Curve, low: float, high: float, terms: int, weight: Curve = np.ones_like
) -> tuple[float, ...]:
    """Coefficients c0, c1, … of a polynomial near the curve, all float32: close to the least weighted error.

    Each coefficient is rounded before those after it are fitted, so that they make up for what it lost.
    """
    k = np.arange(FIT_POINTS)
    x = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (k + 0.5) / FIT_POINTS)
    w = weight(x)
    powers = np.stack([x**i * w for i in range(terms)], axis=1)
    scales = np.abs(powers).max(axis=0)
    left = curve(x) * w
    coefficients = []
    for i in range(terms):
        solution = np.linalg.lstsq(powers[:, i:] / scales[i:], left, rcond=None)[0] / scales[i:]
        coefficients.append(float(np.float32(solution[0])))
        left = left - coefficients[-1] * powers[:, i]
    return tuple(coefficients)


def log_ratio(t: Float64Array) -> Float64Array:
    """−2·ln(1 + t)/t."""
    return -2 * np.log1p(t) / t


def sine_ratio(turn: float) -> Curve:
    """sin(turn·sqrt(x))/sqrt(x)."""
    return lambda x: np.sin(turn * np.sqrt(x)) / np.sqrt(x)


def normal_ratio(w: Float64Array) -> Float64Array:
    """z/(1 − u) where w = −2·ln(u·(2 − u)) and z has the tail u/2 beyond it."""
    rest = np.sqrt(-np.expm1(-w / 2))
    u = np.exp(-w / 2) / (1 + rest)
    return -ndtri(u / 2) / rest


def rest_of(w: Float64Array) -> Float64Array:
    """1 − u where w = −2·ln(u·(2 − u))."""
    return np.sqrt(-np.expm1(-w / 2))


CENTRE_MIDDLE = np.float32(CENTRE_END / 2)
TAIL_MIDDLE = np.float32((np.sqrt(CENTRE_END) + np.sqrt(TAIL_END)) / 2)


@cache
def polynomials() -> dict[str, tuple[float, ...]]:
    """Coefficients of the candidates' own polynomials by name."""
    centre, tail = float(CENTRE_MIDDLE), float(TAIL_MIDDLE)
    half, quarter = np.pi / 2, np.pi / 4
    return {
        "LONG_LOG": fitted(log_ratio, np.sqrt(0.5) - 1, np.sqrt(2) - 1, 8, lambda t: 1 / log_ratio(t)),
        "LONG_SINE": fitted(sine_ratio(half), 0, 1, 5, lambda x: 1 / sine_ratio(half)(x)),
        "OCTANT_SINE": fitted(sine_ratio(quarter), 0, 1, 4, lambda x: 1 / sine_ratio(quarter)(x)),
        "OCTANT_COSINE": fitted(lambda x: np.cos(quarter * np.sqrt(x)), 0, 1, 4),
        "CENTRE_POLYNOMIAL": fitted(
            lambda t: normal_ratio(t + centre), -centre, CENTRE_END - centre, 9, lambda t: rest_of(t + centre)
        ),
        "TAIL_POLYNOMIAL": fitted(
            lambda t: normal_ratio((t + tail) ** 2), np.sqrt(CENTRE_END) - tail, np.sqrt(TAIL_END) - tail, 9
        ),
    }


@cache
def cubic_table() -> Float32Array:
    """Cubics of all segments, (SEGMENTS, 4) float32, read-only; the last one, next to ½, is 0.

    Each goes through the curve at the segment's ends and half-way between them and its middle. A constant is rounded
    before the square's coefficient is taken from the ends, and so with the odd powers: at the ends the cubics
    of two segments agree so closely that normals never rise with the number.
    """
    half = 0.5 / SEGMENTS_A_BINADE
    segment = np.arange(SEGMENTS - 1)
    scale = 2.0 ** (segment // SEGMENTS_A_BINADE + FIRST_BINADE)
    middle = 1 + (segment % SEGMENTS_A_BINADE + 0.5) / SEGMENTS_A_BINADE
    t = half * np.array([[-1.0], [-0.5], [0.5], [1.0]])
    low, inner_low, inner_high, high = -ndtri((scale * (middle + t) + 0.5) * 2.0**-32)
    even, inner_even = (high + low) / 2, (inner_high + inner_low) / 2
    odd, inner_odd = (high - low) / (2 * half), (inner_high - inner_low) / half
    table = np.zeros((SEGMENTS, 4), dtype=np.float32)
    table[:-1, 0] = (4 * inner_even - even) / 3
    table[:-1, 1] = (4 * inner_odd - odd) / 3
    table[:-1, 2] = (even - table[:-1, 0]) / half**2
    table[:-1, 3] = (odd - table[:-1, 1]) / half**2
    table[:SEGMENTS_A_BINADE] = (-ndtri(OUTERMOST * 2.0**-32), 0, 0, 0)
    table.flags.writeable = False
    return table


def candidate_definitions() -> str:
    """`#define` lines of every number that the compiled candidates receive."""
    numbers: dict[str, object] = {
        "SEGMENT_BITS": SEGMENT_BITS,
        "FIRST_SEGMENT": FIRST_SEGMENT,
        "SEGMENTS": SEGMENTS,
        "SEGMENT_MIDDLE": f"{float(SEGMENT_MIDDLE)!r}f",
        "CENTRE_END": f"{CENTRE_END!r}f",
        "CENTRE_MIDDLE": f"{float(CENTRE_MIDDLE)!r}f",
        "TAIL_MIDDLE": f"{float(TAIL_MIDDLE)!r}f",
    }
    numbers |= {name: ", ".join(f"{c!r}f" for c in values) for name, values in polynomials().items()}
    return "".join(f"#define {name} {value}\n" for name, value in numbers.items())
