"""Whole lives of paths: bit for bit those of the scalar paths, close by close and count by count."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any

import numpy as np
import pytest
from support.sample_scenario import DELETE, sample
from support.scalar_path import ScalarPath, scalar_paths

from sim.compiled.kernel_constants import (
    CLOSES_ABOVE,
    CLOSES_BELOW,
    RECORD_FIRST_BITS,
    RECORD_RANK_BITS,
    TOUCHES_ABOVE,
    TOUCHES_BELOW,
)
from sim.engines.numpy_engine import NumpyEngine
from sim.kernels_numpy.path_state import PathBlock
from sim.kernels_numpy.paths import run_block
from sim.plan.builder import prepare
from sim.plan.engine_plan import EnginePlan
from sim.plan.outcomes import LOWER, NEITHER, UPPER, WITH, WITHOUT, Outcomes
from sim.scenario.file import scenario_from_mapping
from sim.scenario.rules import MAX_LEVELS

SPOT = 6941.81
SHORT = {
    "market": {"as_of": dt.date(2026, 2, 10), "spot": SPOT, "sessions": 9},
    "volatility.steps_per_session": 4,
    "volatility.annual": 0.5,
    "volatility.long_run_annual": 0.4,
    "jumps.per_year": 40.0,
    "catalyst[1]": DELETE,
}
NORMAL_AND_CONSTANT = {
    "volatility.alpha": 0.0,
    "volatility.gamma": 0.0,
    "volatility.beta": 1.0,
    "volatility.long_run_annual": DELETE,
    "volatility.tail_dof": DELETE,
}


def gap_of(day: int, *means: float) -> dict[str, Any]:
    outcomes = [{"probability": 1 / len(means), "mean": mean, "sd": 0.01} for mean in means]
    return {"session": dt.date(2026, 2, day), "name": f"news of the {day}th", "outcomes": outcomes}


RULES = [
    {"name": "above", "when": "closes_above", "level": 6960, "closes": 1, "lasts": 2, "then": "after"},
    {"name": "after", "when": "closes_below", "level": 6960, "closes": 3, "weights": {"wall": 0.5}},
    {"name": "up", "when": "touches_above", "level": 7050, "from": ["after", "down"], "weights": {"puts": 2}},
    {"name": "below", "when": "closes_below", "level": 6945, "flow_bn_per_session": -9.0},
    {"name": "down", "when": "touches_below", "level": 6850, "lasts": 1, "then": "below"},
]
CASES: dict[str, tuple[dict[str, Any], range]] = {
    "everything": ({}, range(140)),
    "permanent impact, odd steps, no re-basing but at expiries": (
        {
            "dealers.impact_half_life": 0.0,
            "dealers.position[1].expiry": dt.date(2026, 2, 18),
            "volatility.steps_per_session": 3,
            "volatility.intraday_shape": "flat",
            "volatility.quoted": "fundamental",
            "regime": [{"name": "up", "when": "closes_above", "level": 7020, "flow_bn_per_session": 9.0}],
        },
        range(7, 107),
    ),
    "many levels, constant variance, normal shocks": (
        {
            **NORMAL_AND_CONSTANT,
            "levels": [*range(6000, 6900, 50), *range(6960, 7700, 20)],
            "market": {"as_of": dt.date(2026, 2, 10), "spot": SPOT, "sessions": 5},
        },
        range(100),
    ),
    "wide gaps": (
        {
            "volatility.overnight_share": 0.8,
            "volatility.steps_per_session": 1,
            "catalyst": [gap_of(day, 0.05, -0.05, 0.01) for day in (11, 13, 18, 19, 20)],
            "jumps": {"per_year": 100.0, "mean": 0.0, "sd": 0.05},
            "regime": RULES,
        },
        range((1 << 32) - 25, (1 << 32) + 125),
    ),
    "no book, targets near": (
        {
            "dealers.position": [],
            "regime": [{**rule, "weights": {}} for rule in RULES],
            "targets": {"upper": 6990, "lower": 6905},
            "volatility.steps_per_session": 2,
        },
        range(100),
    ),
}
SEEDS = {name: (2 + index) * 0x9E3779B97F4A7C15 % (1 << 64) for index, name in enumerate(CASES)}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[EnginePlan, int, range, list[ScalarPath]]:
    edits, paths = CASES[request.param]
    plan = prepare(scenario_from_mapping(sample({**SHORT, **edits}), request.param)).plan
    seed = SEEDS[request.param]
    return plan, seed, paths, list(scalar_paths(plan, seed, paths))


def bits(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=np.float32).view(np.int32)


def test_closes_are_those_of_the_scalar_paths(case: Any) -> None:
    plan, seed, paths, scalars = case
    cut = min(max((1 << 32) - paths.start, 0), len(paths))
    closes_seen = 0
    for part in (paths[:cut], paths[cut:]):
        if not len(part):
            continue
        lives = [scalar.closes for scalar in scalars if scalar.path in part]

        def compare(session: int, block: PathBlock, lives: Any = lives) -> None:
            nonlocal closes_seen
            closes = [life[session] for life in lives]
            for name, theirs in (("x", block.coordinate[WITHOUT]), ("y", block.coordinate[WITH])):
                np.testing.assert_array_equal(bits([getattr(c, name) for c in closes]), bits(theirs), name)
            np.testing.assert_array_equal(bits([c.s for c in closes]), bits(block.s), "s")
            np.testing.assert_array_equal(bits([c.h for c in closes]), bits(block.h), "h")
            np.testing.assert_array_equal([c.regime for c in closes], block.regime, "regime")
            np.testing.assert_array_equal(np.transpose([c.ranks for c in closes]), block.rank, "ranks")
            closes_seen += len(closes)

        run_block(PathBlock(plan, seed, len(part)), part.start, len(part), compare)
    assert closes_seen == len(paths) * plan.sessions


def test_counts_are_those_of_the_scalar_paths(case: Any) -> None:
    plan, seed, paths, scalars = case
    counted = Outcomes.zeros(plan.outcome_shape)
    for scalar in scalars:
        scalar.count_into(counted)
    engine = NumpyEngine(1, block_paths=64).run(plan, seed, paths.start, len(paths))
    for name in ("joint", "first", "touch", "touch_both", "regime", "closes"):
        np.testing.assert_array_equal(getattr(counted, name), getattr(engine, name), name)
    assert counted == engine


def test_records_are_those_of_the_scalar_paths(case: Any) -> None:
    plan, seed, paths, scalars = case
    found = np.full(len(paths), 0xFFFF, dtype=np.uint16)
    NumpyEngine(1, block_paths=64).run(plan, seed, paths.start, len(paths), records=found)
    expected = []
    for scalar in scalars:
        first, _ = scalar.first.get(WITH, (NEITHER, 0))
        above, below, _, _ = scalar.closes[-1].ranks
        expected.append(first + 4 * above + 512 * below)
    np.testing.assert_array_equal(found, expected)


def test_a_record_has_room_for_every_ladder() -> None:
    assert max(NEITHER, UPPER, LOWER) < 1 << RECORD_FIRST_BITS
    assert MAX_LEVELS < 1 << RECORD_RANK_BITS
    assert RECORD_FIRST_BITS + 2 * RECORD_RANK_BITS <= 16


BOTH = "both targets in a step, nearer one"
EVENTS = {
    "everything": {
        *(f"trigger {code}" for code in (CLOSES_ABOVE, CLOSES_BELOW, TOUCHES_ABOVE, TOUCHES_BELOW)),
        *("settlement at an open", "new book at a close", "from forbids", "gap outcome"),
        *("touched between the ends", "several levels in a gap", "several levels in a step", "hand-over"),
    },
    "permanent impact, odd steps, no re-basing but at expiries": {
        *(f"trigger {CLOSES_ABOVE}", "settlement at an open", "settlement at a close", "gap outcome"),
    },
    "many levels, constant variance, normal shocks": {
        *("several levels in a gap", "several levels in a step", "touched between the ends"),
    },
    "wide gaps": {
        *(f"trigger {code}" for code in (CLOSES_ABOVE, CLOSES_BELOW, TOUCHES_ABOVE, TOUCHES_BELOW)),
        *("hand-over", "hand-over before a trigger", "nothing to hand over to", "visited before"),
        *("from forbids", "several levels in a gap", "settlement at an open"),
    },
    "no book, targets near": {
        *(f"{BOTH} {UPPER}", f"{BOTH} {LOWER}", "hand-over", "nothing to hand over to", "visited before"),
    },
}


def test_what_the_cases_are_for_happens(case: Any, request: pytest.FixtureRequest) -> None:
    """Twins agree on rules only if the rules are at work."""
    name = request.node.callspec.params["case"]
    befell: Counter[str] = sum((scalar.events for scalar in case[3]), Counter())
    assert not EVENTS[name] - befell.keys(), befell
    assert len({scalar.closes[-1].h for scalar in case[3]}) > 1 or case[0].constant_variance
