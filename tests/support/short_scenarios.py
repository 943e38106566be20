"""The sample scenario cut short, so that its plan is quick to build."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sim.plan.builder import Prepared, prepare
from sim.scenario.model import Scenario
from support.sample_scenario import sample

SPOT = 6941.81
SHORT = {
    "market": {"as_of": dt.date(2026, 2, 10), "spot": SPOT, "sessions": 8},
    "volatility.steps_per_session": 3,
    "catalyst": [],
}
CATALYST = {
    "session": dt.date(2026, 2, 13),
    "name": "CPI",
    "outcomes": [
        {"probability": 0.55, "mean": 0.006, "sd": 0.003},
        {"probability": 0.15, "mean": 0.0, "sd": 0.0},
        {"probability": 0.30, "mean": -0.007, "sd": 0.004},
    ],
}


def scenario_of(edits: dict[str, Any] | None = None) -> Scenario:
    """The sample over eight sessions of three trading steps, the catalyst left out."""
    return Scenario.model_validate(sample({**SHORT, **(edits or {})}))


def prepared_of(edits: dict[str, Any] | None = None) -> Prepared:
    return prepare(scenario_of(edits))
