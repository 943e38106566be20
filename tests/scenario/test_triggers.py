"""The table of triggers: one row per code of the kernels, and all that is read from it."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from support.sample_scenario import sample

from sim.compiled import kernel_constants, kernel_sources
from sim.errors import InputError
from sim.scenario.file import scenario_from_mapping
from sim.scenario.toml import scenario_to_toml
from sim.scenario.triggers import TRIGGERS, Trigger, TriggerName, other_side
from sim.scenario.validation import scenario_data

PAIRS = [("closes_above", "closes_below"), ("touches_above", "touches_below")]


def with_trigger(trigger: Trigger, **keys: Any) -> dict[str, Any]:
    """Keys of the sample with one regime of a trigger, whose level lies where it may, and one that leads to it."""
    level = {} if not trigger.has_level else {"level": 6941.81 + 100 * trigger.side}
    first = {"name": "first", "when": "closes_above", "level": 7000, "lasts": 2, "then": "second"}
    return sample({"regime": [first, {"name": "second", "when": trigger.name, **level, **keys}]})


def test_a_trigger_for_every_code_of_the_kernels() -> None:
    codes = {name: getattr(kernel_constants, name) for name in kernel_sources.TRIGGERS}
    assert {name.upper(): trigger.code for name, trigger in TRIGGERS.items()} == codes
    assert sorted(codes.values()) == list(range(len(codes)))


@pytest.mark.parametrize("name", TRIGGERS)
def test_every_trigger_makes_a_scenario(name: str) -> None:
    trigger = TRIGGERS[name]
    scenario = scenario_from_mapping(with_trigger(trigger), "x.toml")
    regime = scenario.regime[1]
    assert (regime.level in scenario.all_levels) == trigger.counts_touches
    text = scenario_to_toml(scenario).partition('name = "second"')[2]
    assert ("\nlevel = " in text, "\ncloses = " in text) == (trigger.has_level, trigger.counts_closes)
    assert ("closes" in scenario_data(scenario)["regime"][1]) == trigger.counts_closes


@pytest.mark.parametrize("name", [name for name, trigger in TRIGGERS.items() if not trigger.counts_closes])
def test_closes_of_a_trigger_that_counts_none_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=f'"{name}" counts no closes'):
        scenario_from_mapping(with_trigger(TRIGGERS[name], closes=3), "x.toml")


def test_an_unknown_trigger_is_told_all_there_are() -> None:
    with pytest.raises(InputError) as caught:
        scenario_from_mapping(sample({"regime[0].when": "opens_above"}), "x.toml")
    (problem,) = caught.value.problems
    assert problem.key == "regime[0].when"
    assert all(f"'{name}'" in problem.hint for name in TRIGGERS)


@pytest.mark.parametrize(("above", "below"), PAIRS)
def test_sides(above: str, below: str) -> None:
    up, down = TRIGGERS[above], TRIGGERS[below]
    assert (other_side(up), other_side(down)) == (down, up)
    assert [up.is_beyond(price, 100.0) for price in (99.0, 100.0, 101.0)] == [False, False, True]
    assert [down.is_beyond(price, 100.0) for price in (99.0, 100.0, 101.0)] == [True, False, False]


def test_the_type_of_when_lists_the_table() -> None:
    assert get_args(TriggerName) == tuple(TRIGGERS)
