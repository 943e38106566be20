"""Weights that cannot be changed behind a scenario's back."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from sim.scenario.file import load_scenario
from sim.scenario.frozen import FrozenDict

CHANGES: list[Callable[[Any], Any]] = [
    lambda d: d.__setitem__("wall", 9.0),
    lambda d: d.__delitem__("wall"),
    lambda d: d.__ior__({"wall": 9.0}),
    lambda d: d.update(wall=9.0),
    lambda d: d.setdefault("new", 1.0),
    lambda d: d.pop("wall"),
    lambda d: d.popitem(),
    lambda d: d.clear(),
]


@pytest.mark.parametrize("change", CHANGES)
def test_weights_of_a_scenario_stay(change: Callable[[Any], Any]) -> None:
    scenario = load_scenario("siege-of-7000")
    weights = next(regime.weights for regime in scenario.regime if regime.weights)
    before = dict(weights)
    with pytest.raises(TypeError, match="with_changes"):
        change(weights)
    assert weights == before


def test_scenarios_have_a_hash() -> None:
    one, other = load_scenario("siege-of-7000"), load_scenario("siege-of-7000")
    assert len({one, other, load_scenario("no-dealers")}) == 2


def test_copies_and_pickles_are_equal() -> None:
    scenario = load_scenario("siege-of-7000")
    for same in (copy.copy(scenario), copy.deepcopy(scenario), pickle.loads(pickle.dumps(scenario))):
        assert same == scenario
        assert hash(same) == hash(scenario)
    frozen = FrozenDict(wall=0.5)
    assert isinstance(pickle.loads(pickle.dumps(frozen)), FrozenDict)
    assert frozen == {"wall": 0.5}
