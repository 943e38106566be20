"""Odds without a simulation, shown beside the simulated ones: flat-volatility closed forms and the 2×delta rule."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.market.black_scholes import SESSIONS_PER_YEAR
from sim.market.closed_forms import flat_volatility_odds, touch_probability, two_delta_rule
from sim.plan.builder import Prepared


def flat_benchmarks(prepared: Prepared) -> dict[str, Any]:
    """Odds by closed forms at the quoted volatility, held flat, and by the traders' 2×delta rule.

    Returns
    -------
    flat_first_upper, flat_first_lower, flat_neither : corridor odds of a flat-volatility market.
    flat_touch : {level: probability} of touching each level by the horizon.
    two_delta : {level: probability} by the 2×delta rule.
    """
    scenario, sessions = prepared.scenario, prepared.grid.n_sessions
    spot, annual = scenario.market.spot, scenario.volatility.annual
    targets = scenario.targets
    flat = flat_volatility_odds(spot, targets.upper, targets.lower, annual, sessions, scenario.drift.annual)
    variance = sessions * annual**2 / SESSIONS_PER_YEAR
    mean = sessions * scenario.drift.annual / SESSIONS_PER_YEAR - variance / 2
    levels = [float(level) for level in prepared.axes.levels]
    years = sessions / SESSIONS_PER_YEAR
    return {
        "flat_first_upper": flat.first_upper,
        "flat_first_lower": flat.first_lower,
        "flat_neither": flat.neither,
        "flat_touch": {k: float(touch_probability(np.log(k / spot), mean, variance)) for k in levels},
        "two_delta": {k: two_delta_rule(spot, k, annual, years) for k in levels},
    }
