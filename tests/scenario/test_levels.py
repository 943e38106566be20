"""Levels of a scenario, whole or with parts that cannot be read, and their ranks."""

from __future__ import annotations

import pytest
from support.sample_scenario import sample

from sim.scenario.levels import all_levels, rank_of_level
from sim.scenario.model import Scenario
from sim.scenario.validation import readable_part

SPOT = 6941.81


def test_the_scenario_has_them() -> None:
    scenario = Scenario.model_validate(sample())
    assert scenario.all_levels == all_levels(scenario) == tuple(sorted(set(scenario.all_levels)))


def test_what_cannot_be_read_is_left_out() -> None:
    data = sample({"levels": [7300, "?", 6300], "targets.upper": "?", "regime[0].when": "?"})
    broken = {("levels", 1), ("targets", "upper"), ("regime", 0, "when")}
    whole = Scenario.model_validate(sample({"levels": [7300, 6300]}))
    left = all_levels(readable_part(Scenario, data, broken))
    assert left == tuple(level for level in whole.all_levels if level != whole.targets.upper)


@pytest.mark.parametrize(
    ("level", "rank"), [(7000.0, 0), (7020.0, 1), (7150.0, 2), (6900.0, 0), (6800.0, 1), (6300.0, 2)]
)
def test_ranks_count_outward_on_each_side(level: float, rank: int) -> None:
    levels = (6300.0, 6800.0, 6900.0, 7000.0, 7020.0, 7150.0)
    assert rank_of_level(levels, SPOT, level) == rank
