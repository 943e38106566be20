"""Counts of the built-in and reference scenarios, to the last path, as they were when last moved on purpose."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.gold import check_gold, gold
from support.places import CASES

from sim.plan.outcomes import Outcomes
from sim.run.simulation import simulate
from sim.scenario.file import load_scenario

SCENARIOS = ("siege-of-7000", "no-dealers", *(str(path) for path in sorted(CASES.glob("*.toml"))))
PATHS, SEED = 20_000, 7


def digests(outcomes: Outcomes) -> dict[str, str]:
    """Digest of each array of counts, so that a difference says where it lies."""
    arrays = {f.name: getattr(outcomes, f.name) for f in fields(Outcomes) if f.name != "paths"}
    return {
        name: hashlib.sha256(np.ascontiguousarray(array, dtype="<i8").tobytes()).hexdigest()[:16]
        for name, array in arrays.items()
    }


def counted(scenario: str) -> dict[str, Any]:
    outcomes = simulate(load_scenario(scenario), paths=PATHS, seed=SEED).outcomes
    return {"joint": outcomes.joint.tolist(), "digests": digests(outcomes)}


def test_counts_are_the_gold_ones(update_gold: bool) -> None:
    check_gold("counts", {Path(name).stem: counted(name) for name in SCENARIOS}, update_gold)


def test_one_path_more_would_be_seen() -> None:
    outcomes = simulate(load_scenario("no-dealers"), paths=PATHS, seed=SEED).outcomes
    before = digests(outcomes)
    outcomes.closes[3, 100] += 1
    assert {name for name, digest in digests(outcomes).items() if digest != before[name]} == {"closes"}
    with pytest.raises(AssertionError, match="moved for no-dealers"):
        check_gold(
            "counts", {**gold("counts"), "no-dealers": {"joint": [], "digests": digests(outcomes)}}, False
        )
