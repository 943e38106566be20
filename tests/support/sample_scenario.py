"""A valid scenario in which every table and key occurs, edits to break it, and how a refusal must read."""

from __future__ import annotations

import copy
import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import pytest

from sim.errors import MOST_LISTED, InputError

DELETE = object()

_SAMPLE: dict[str, Any] = {
    "schema": 1,
    "name": "sample",
    "description": "every table, every key",
    "levels": [6300, 6945.0, 7000, 7020],
    "market": {"as_of": dt.date(2026, 2, 10), "spot": 6941.81, "until": dt.date(2026, 3, 20)},
    "volatility": {
        "annual": 0.141,
        "quoted": "observed",
        "long_run_annual": 0.16,
        "alpha": 0.0076,
        "gamma": 0.256,
        "beta": 0.845,
        "tail_dof": 5.3,
        "overnight_share": 0.46,
        "steps_per_session": 13,
        "intraday_shape": "u",
    },
    "drift": {"annual": 0.02},
    "jumps": {"per_year": 2.0, "mean": -0.01, "sd": 0.02},
    "catalyst": [
        {
            "session": dt.date(2026, 2, 13),
            "name": "CPI",
            "outcomes": [
                {"probability": 0.55, "mean": 0.006, "sd": 0.003},
                {"probability": 0.45, "mean": -0.007, "sd": 0.004},
            ],
        },
        {
            "session": dt.date(2026, 3, 6),
            "name": "jobs report",
            "outcomes": [{"probability": 1.0, "mean": 0.0, "sd": 0.004}],
        },
    ],
    "dealers": {
        "impact_bp_per_bn": 3.5,
        "impact_half_life": 2.0,
        "m_floor": 0.2,
        "position": [
            {
                "group": "wall",
                "type": "call",
                "strike": 7000,
                "expiry": dt.date(2026, 2, 20),
                "settlement": "AM",
                "iv": 0.115,
                "gex_bn": 9.0,
                "carry": 0.01,
            },
            {
                "group": "wall",
                "type": "call",
                "strike": 7020,
                "expiry": dt.date(2026, 3, 20),
                "settlement": "PM",
                "iv": 0.113,
                "contracts": 15000,
            },
            {
                "group": "puts",
                "type": "put",
                "strike": 6800,
                "expiry": dt.date(2026, 3, 20),
                "settlement": "AM",
                "iv": 0.155,
                "gex_bn": -6.0,
            },
        ],
    },
    "regime": [
        {"name": "breakout", "when": "closes_above", "level": 7020, "closes": 2, "weights": {"wall": 0.25}},
        {
            "name": "melt_up",
            "when": "touches_above",
            "level": 7150,
            "weights": {"wall": 0.0},
            "flow_bn_per_session": 8.0,
            "lasts": 5,
            "then": "wall_gone",
        },
        {"name": "wall_gone", "when": "never", "weights": {"wall": 0.0}},
        {
            "name": "support_lost",
            "when": "closes_below",
            "level": 6945,
            "from": ["initial", "breakout"],
            "weights": {"puts": 1.4},
        },
        {
            "name": "institutional_hedging",
            "when": "touches_below",
            "level": 6800,
            "from": ["initial", "support_lost"],
            "weights": {"puts": 2.0},
            "flow_bn_per_session": -5.0,
        },
    ],
    "targets": {"upper": 7100, "lower": 6800},
}


def sample(edits: dict[str, Any] | None = None) -> dict[str, Any]:
    """The sample with edits: dotted key (items by index) to new value, or to DELETE."""
    data = copy.deepcopy(_SAMPLE)
    for key, value in (edits or {}).items():
        path = [int(part[1:-1]) if part[0] == "[" else part for part in re.findall(r"\[\d+\]|[^.\[\]]+", key)]
        node: Any = data
        for part in path[:-1]:
            node = node[part] if isinstance(part, int) else node.setdefault(part, {})
        if value is DELETE:
            del node[path[-1]]
        elif isinstance(node, list) and path[-1] == len(node):
            node.append(copy.deepcopy(value))
        else:
            node[path[-1]] = copy.deepcopy(value)
    return data


def refusal(call: Callable[[], object]) -> InputError:
    with pytest.raises(InputError) as caught:
        call()
    return caught.value


def check_lines(error: InputError, where: str) -> None:
    lines = [str(problem) for problem in error.problems]
    # A message lists the problems of one place together, and fifty at most.
    assert len(lines) > MOST_LISTED or sorted(str(error).splitlines()) == sorted(lines)
    assert not any("\n" in line for line in lines)
    for line, problem in zip(lines, error.problems, strict=True):
        assert line.startswith(f"{where}")
        assert problem.key in line
        assert problem.why
        assert line.isprintable()
    assert "Traceback" not in str(error)
    assert error.exit_code == 2
