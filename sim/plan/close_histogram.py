"""Histogram of the log close: its range and bins."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sim.market.black_scholes import SESSIONS_PER_YEAR, FloatArray
from sim.market.elementary import exp, floor_log2
from sim.plan.engine_plan import EnginePlan
from sim.plan.time_grid import TimeGrid
from sim.scenario.model import Scenario

# Bins of the close histogram; the width of a bin is a power of two, 1/8192 or less than a point for a month.
MOST_CLOSE_BINS = 8192
SMALLEST_CLOSE_HALF_WIDTH = 0.25
LARGEST_CLOSE_HALF_WIDTH = 3.0


def close_fields(scenario: Scenario, scale: float, grid: TimeGrid) -> dict[str, Any]:
    """Fields of an `EnginePlan` that hold the histogram: lower edge in log units, bins per log unit, number of bins.

    Parameters
    ----------
    scenario, scale, grid : see `close_half_width`.
    """
    half_width = close_half_width(scenario, scale, grid)
    bins_per_unit = math.ldexp(1.0, floor_log2(MOST_CLOSE_BINS / (2 * half_width)))
    return {
        "close_low": np.float32(-half_width),
        "close_scale": np.float32(bins_per_unit),
        "close_bins": int(2 * half_width * bins_per_unit),
    }


def close_half_width(scenario: Scenario, scale: float, grid: TimeGrid) -> float:
    """Half-width of the histogram in log units, a multiple of 1/16: nine standard deviations, at least 1/4.

    Parameters
    ----------
    scenario : its larger volatility counts, the present or the long-run one.
    scale : variance of the fundamental over the quoted variance.
    grid : the horizon.
    """
    volatility = max(scenario.volatility.annual, scenario.volatility.long_run_annual or 0.0)
    deviation = volatility * np.sqrt(scale * grid.n_sessions / SESSIONS_PER_YEAR)
    half_width = np.ceil(9.0 * deviation * 16) / 16
    return float(np.clip(half_width, SMALLEST_CLOSE_HALF_WIDTH, LARGEST_CLOSE_HALF_WIDTH))


def close_edges(plan: EnginePlan, spot: float) -> FloatArray:
    """Edges of the histogram's H bins, (H + 1,) index points.

    Parameters
    ----------
    plan : holds the histogram.
    spot : index points at the start.
    """
    return spot * exp(float(plan.close_low) + np.arange(plan.close_bins + 1) / float(plan.close_scale))
