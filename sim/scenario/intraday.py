"""Variance within a session: its U over the trading day, and the share of each step."""

from __future__ import annotations

from typing import Final

import numpy as np

from sim.market.calendar import Float64s
from sim.market.elementary import exp, expm1
from sim.scenario.model import UShape

_DEFAULT_U: Final = UShape()


def variance_shares(
    overnight_share: float, steps: int, shape: str, u_shape: UShape | None = None
) -> Float64s:
    """Shares of a session's variance, float64 (steps + 1,), the gap first, sum 1.

    "flat" shares the trading day out equally; "u" in proportion to the integral of the `UShape` over each step's
    part of u ∈ [0, 1].

    overnight_share : share of the gap, in [0, 1).
    steps : number of trading steps.
    shape : "flat" or "u".
    u_shape : densities of the U; None: its default.
    """
    edge = np.arange(steps + 1) / steps
    if shape == "flat":
        used = edge
    else:
        integral = u_shape_integral(edge, u_shape or _DEFAULT_U)
        used = integral / integral[-1]
    # what a density of nearly nothing adds may round to less than nothing
    parts = np.maximum(np.diff(used), 0.0)
    return np.concatenate(([overnight_share], (1.0 - overnight_share) * parts))


def u_shape_integral(u: Float64s, shape: UShape) -> Float64s:
    """Integral of a variance density from the open to each u, float64 of the shape of `u`.

        base·u + open·open_fade·(1 − e^(−u/open_fade)) + close·close_fade·(e^(−(1−u)/close_fade) − e^(−1/close_fade))

    u : parts of the trading day, in [0, 1].
    """
    # over a fade of nearly nothing u/fade is infinite, and its exponential zero
    with np.errstate(over="ignore"):
        after_open = -expm1(-u / shape.open_fade)
        before_close = exp(-(1.0 - u) / shape.close_fade) - exp(-1.0 / shape.close_fade)
    integral: Float64s = (
        shape.base * u
        + shape.open * shape.open_fade * after_open
        + shape.close * shape.close_fade * before_close
    )
    return integral
