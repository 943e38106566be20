"""Backward Kolmogorov equation for the first-target odds: permanent impact, constant variance, no regimes.

With Phi(s, t) the clearing map, y = Phi(s, t) is the fundamental, shifted: inside a trading step it diffuses
with the step's mean and variance, whatever the book. The odds V(s, t) therefore solve, backward in time,

    V_t + [(mean - Phi_t) / Phi_s] V_s + (variance / 2) (1 / Phi_s) d/ds (V_s / Phi_s) = 0

which is U_t + mean U_y + (variance / 2) U_yy = 0 on nodes y_i(t) = Phi(s_i, t) that move with the map. Only
values of Phi enter, so a map whose slope is floored needs no special case. At the targets V is held at 1 on
the one asked for and at 0 on the other; over a gap V is averaged through the map.

Legend: s = ln(S / S0), y = Phi(s, t), Phi_s = m the feedback factor; time runs from 0 to 1 over a step.

Source: Schönbucher & Wilmott 2000 (diffusion through a reaction function); Crank & Nicolson 1947;
Rannacher 1984 and Giles & Carter 2006 (implicit half steps after a rough event).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.polynomial.chebyshev import chebpts1, chebval, chebvander
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.linalg import solve_banded
from scipy.special import ndtr

from sim.errors import InputError, Problem

Reals: TypeAlias = NDArray[np.float64]
ClearingMap: TypeAlias = Callable[[Reals, float, bool], Reals]
Mixture: TypeAlias = tuple[tuple[float, float, float], ...]

NO_EXTRA_MOVE: Mixture = ((1.0, 0.0, 0.0),)

# Number of Crank-Nicolson substeps that are replaced, each by two implicit halves, after the odds lost smoothness.
_IMPLICIT_SUBSTEPS = 2

# An average over a Gaussian is smooth on the scale of its standard deviation sd: on an interval of half width
# R its Chebyshev coefficients fall like exp(-(n sd / R)^2 / 2), below rounding error from n = 9 R / sd on.
_NODES_PER_DEVIATION = 9.0
_LEAST_NODES = 16

# A standard normal's density and tail both underflow out here.
_NOTHING_BEYOND = 39.0


@dataclass(frozen=True)
class CorridorProblem:
    """Two targets, the steps up to the horizon, and the clearing map between fundamental and price.

    Attributes
    ----------
    step_minute : (N+1,) float64, minutes; the instants between steps, increasing, the start first.
    is_gap : (N,) bool; True where the step is a gap, which jumps over levels.
    variance : (N,) float64, log units squared; the fundamental's variance in each step, > 0 in trading steps.
    mean : (N,) float64, log units; the fundamental's drift in each step.
    phi : (s, minute, after_settlement) -> Phi(s, minute), log units, increasing in s. At an instant at which
        options settle, after_settlement False is the book that still holds them, True the book without them.
    upper : upper target ln(S / S0) > 0.
    lower : lower target ln(S / S0) < 0.
    gap_mixture : one entry per gap, in order: the (probability, mean, variance) that the gap gains, the
        probabilities adding up to 1. Empty where no gap gains anything.

    Raises
    ------
    InputError
        Where shapes disagree or a number is out of range.
    """

    step_minute: Reals
    is_gap: NDArray[np.bool_]
    variance: Reals
    mean: Reals
    phi: ClearingMap
    upper: float
    lower: float
    gap_mixture: tuple[Mixture, ...] = ()

    def __post_init__(self) -> None:
        problems = [
            Problem("CorridorProblem", key, "", why)
            for key, holds, why in self._shape_checks() or self._value_checks()
            if not holds
        ]
        if problems:
            raise InputError(problems)

    def _shape_checks(self) -> list[tuple[str, bool, str]]:
        """Failed checks of the shapes, without which the values cannot be read."""
        steps = self.is_gap.size
        gaps = int(np.count_nonzero(self.is_gap))
        checks = (
            ("is_gap", self.is_gap.shape == (steps,) and steps > 0, "must be one-dimensional and not empty"),
            (
                "step_minute",
                self.step_minute.shape == (steps + 1,),
                "must hold one instant more than the steps",
            ),
            ("variance", self.variance.shape == (steps,), "must hold one number per step"),
            ("mean", self.mean.shape == (steps,), "must hold one number per step"),
            (
                "gap_mixture",
                len(self.gap_mixture) in (0, gaps),
                "must hold one mixture per gap, or none at all",
            ),
        )
        return [check for check in checks if not check[1]]

    def _value_checks(self) -> list[tuple[str, bool, str]]:
        """Checks of the values, (key, whether it holds, why it must)."""
        v, minute = self.variance, self.step_minute
        outcomes = np.array([outcome for mixture in self.gap_mixture for outcome in mixture]).reshape(-1, 3)
        totals = np.array([sum(outcome[0] for outcome in mixture) for mixture in self.gap_mixture])
        enough = np.where(self.is_gap, v >= 0.0, v > 0.0)
        orderly = bool(np.all(np.isfinite(outcomes)) and np.all(outcomes[:, [0, 2]] >= 0.0))
        return [
            (
                "step_minute",
                bool(np.all(np.isfinite(minute)) and np.all(np.diff(minute) > 0.0)),
                "must increase",
            ),
            (
                "variance",
                bool(np.all(np.isfinite(v) & enough)),
                "must be finite, >= 0 in gaps, > 0 elsewhere",
            ),
            ("mean", bool(np.all(np.isfinite(self.mean))), "must be finite"),
            (
                "upper",
                bool(np.isfinite(self.upper) and self.upper > 0.0),
                "must be finite and above 0, the start",
            ),
            (
                "lower",
                bool(np.isfinite(self.lower) and self.lower < 0.0),
                "must be finite and below 0, the start",
            ),
            ("gap_mixture", orderly, "must be finite, with no negative probability or variance"),
            (
                "gap_mixture",
                bool(np.all(np.abs(totals - 1.0) <= 1e-9)),
                "must have probabilities adding up to 1",
            ),
        ]


def first_target_odds(
    problem: CorridorProblem, *, points: int = 1601, steps_per_step: int = 24, map_samples: int = 2
) -> tuple[float, float, float]:
    """Probabilities (first upper, first lower, neither by the horizon) of a corridor problem.

    Second order in the spacing of the prices and in the substeps. The targets are watched continuously inside
    trading steps and only at the open over a gap. The map is evaluated twice per gap and map_samples + 1 times per
    trading step.

    Parameters
    ----------
    problem : the corridor, its steps and the clearing map.
    points : number of prices from target to target, equally spaced in log units, >= 5.
    steps_per_step : substeps of the equation in a trading step, >= 1; rounded up to multiples of map_samples.
    map_samples : equal parts of a trading step at whose ends the map is evaluated, >= 1. In between, y is
        linear in time: 1 gives the targets the very path in y that a simulation's Brownian bridge assumes.

    Raises
    ------
    InputError
        Where a resolution is too small, or the map does not increase with the price.
    """
    _check_resolution(points, steps_per_step, map_samples)
    s = np.linspace(problem.lower, problem.upper, points)
    substeps = -(-steps_per_step // map_samples)
    odds = np.zeros((2, points))
    mixtures = list(problem.gap_mixture or (NO_EXTRA_MOVE,) * np.count_nonzero(problem.is_gap))
    # The odds bend where a gap or the horizon follows; a settlement leaves them as smooth in the price.
    is_smooth = False
    for step in reversed(range(problem.is_gap.size)):
        start, end = (float(minute) for minute in problem.step_minute[step : step + 2])
        mean, variance = float(problem.mean[step]), float(problem.variance[step])
        if problem.is_gap[step]:
            moves = [(p, mean + extra, variance + spread) for p, extra, spread in mixtures.pop()]
            y_open, y_close = _nodes(problem, s, end, False), _nodes(problem, s, start, True)
            odds = _before_gap(odds, y_open, y_close, moves)
        else:
            minutes = np.linspace(start, end, map_samples + 1)
            y = [_nodes(problem, s, float(minute), i < map_samples) for i, minute in enumerate(minutes)]
            odds = _before_trading_step(odds, y, mean, variance, substeps, is_smooth)
        is_smooth = not problem.is_gap[step]
    first_upper, first_lower = (float(CubicSpline(s, row)(0.0)) for row in odds)
    return first_upper, first_lower, 1.0 - first_upper - first_lower


def _check_resolution(points: int, steps_per_step: int, map_samples: int) -> None:
    sizes = (("points", points, 5), ("steps_per_step", steps_per_step, 1), ("map_samples", map_samples, 1))
    problems = [Problem("", key, str(n), f"must be at least {least}") for key, n, least in sizes if n < least]
    if problems:
        raise InputError(problems)


def _nodes(problem: CorridorProblem, s: Reals, minute: float, after_settlement: bool) -> Reals:
    y = np.asarray(problem.phi(s, minute, after_settlement), dtype=np.float64)
    if y.shape != s.shape or not np.all(np.diff(y) > 0.0):
        raise InputError([Problem("", "phi", f"at minute {minute:.0f}", "must increase with the price")])
    return y


def _before_trading_step(
    odds: Reals, y: Sequence[Reals], mean: float, variance: float, substeps: int, is_smooth: bool
) -> Reals:
    """Odds (2, n) at a trading step's start, from those at its end.

    y holds the nodes at equally spaced instants from start to end; each part in between takes the given
    number of Crank-Nicolson substeps, the first ones as implicit halves unless the odds at the end are
    smooth.
    """
    odds = odds.copy()
    odds[:, 0] = 0.0, 1.0
    odds[:, -1] = 1.0, 0.0
    parts = len(y) - 1
    implicit_left = 0 if is_smooth else _IMPLICIT_SUBSTEPS
    for part in reversed(range(parts)):
        moved = y[part + 1] - y[part]
        drift = (mean - parts * moved)[1:-1]
        for substep in reversed(range(substeps)):
            halves, implicitness = (2, 1.0) if implicit_left > 0 else (1, 0.5)
            implicit_left -= 1
            for half in reversed(range(halves)):
                middle = y[part] + (substep + (half + 0.5) / halves) / substeps * moved
                _advance(odds, middle, drift, variance, 1.0 / (parts * substeps * halves), implicitness)
    return odds


def _advance(odds: Reals, y: Reals, drift: Reals, variance: float, width: float, implicitness: float) -> None:
    """Move the odds (2, n) back over a share `width` of the step, in place, on the nodes y of its middle.

    Three-point differences on unequal spacings; the outermost values are held.
    """
    h = np.diff(y)
    h_down, h_up = h[:-1], h[1:]
    span = h_down + h_up
    to_down = (variance - drift * h_up) / (h_down * span)
    to_up = (variance + drift * h_down) / (h_up * span)
    stay = to_down + to_up
    inside = odds[:, 1:-1]
    target = inside.copy()
    if implicitness < 1.0:
        explicit = (1.0 - implicitness) * width
        target += explicit * (to_down * odds[:, :-2] + to_up * odds[:, 2:] - stay * inside)
    share = implicitness * width
    target[:, 0] += share * to_down[0] * odds[:, 0]
    target[:, -1] += share * to_up[-1] * odds[:, -1]
    bands = np.zeros((3, stay.size))
    bands[0, 1:] = -share * to_up[:-1]
    bands[1] = 1.0 + share * stay
    bands[2, :-1] = -share * to_down[1:]
    solved = solve_banded((1, 1), bands, target.T, overwrite_ab=True, overwrite_b=True, check_finite=False)
    odds[:, 1:-1] = solved.T


def _before_gap(
    odds: Reals, y_open: Reals, y_close: Reals, moves: Sequence[tuple[float, float, float]]
) -> Reals:
    """Odds (2, n) at the close, from those at the open; a move is (probability, mean, variance)."""
    at_open = CubicSpline(y_open, odds, axis=1)
    before = np.zeros_like(odds)
    for probability, mean, variance in moves:
        before += probability * _moved(at_open, y_close + mean, float(np.sqrt(variance)))
    return before


def _moved(at_open: CubicSpline, centre: Reals, sd: float) -> Reals:
    """Odds (2, n) averaged over a Gaussian around each of n increasing centres."""
    middle, half = 0.5 * (centre[-1] + centre[0]), 0.5 * (centre[-1] - centre[0])
    if sd * centre.size <= _NODES_PER_DEVIATION * half:
        return _gaussian_average(at_open, centre, sd)
    nodes = _LEAST_NODES + int(_NODES_PER_DEVIATION * half / sd)
    x = chebpts1(nodes)
    basis = chebvander(x, nodes - 1)
    series = 2.0 / nodes * basis.T @ _gaussian_average(at_open, middle + half * x, sd).T
    series[0] /= 2.0
    return np.asarray(chebval((centre - middle) / half, series))


def _gaussian_average(at_open: CubicSpline, centre: Reals, sd: float) -> Reals:
    """Odds (2, n) averaged over a Gaussian around each of n centres.

    Beyond the open's outermost nodes a target is reached; between them the odds are the spline's cubics,
    whose Gaussian moments, the integrals of (z - z_left)^k over the density, follow exactly from one another.
    """
    y = at_open.x
    if sd == 0.0:
        average = np.asarray(at_open(centre))
        average[:, centre > y[-1]] = [[1.0], [0.0]]
        average[:, centre < y[0]] = [[0.0], [1.0]]
        return average
    z = np.clip((y - centre[:, None]) / sd, -_NOTHING_BEYOND, _NOTHING_BEYOND)
    below = ndtr(z)
    density = np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
    left, density_right, width = z[:, :-1], density[:, 1:], np.diff(z, axis=1)
    moment_0 = np.diff(below, axis=1)
    moment_1 = -np.diff(density, axis=1) - left * moment_0
    moment_2 = moment_0 - left * moment_1 - width * density_right
    moment_3 = 2.0 * moment_1 - left * moment_2 - width**2 * density_right
    cubic, square, linear, constant = at_open.c
    inside = moment_0 @ constant + sd * (
        moment_1 @ linear + sd * (moment_2 @ square + sd * (moment_3 @ cubic))
    )
    return np.asarray(inside.T) + np.stack((ndtr(-z[:, -1]), below[:, 0]))
