"""The batches that come with the package: they load, and their cases are what their descriptions promise."""

from __future__ import annotations

import json

from sim.batch.family import Batch
from sim.batch.file import builtin_batches, load_batch
from sim.scenario.file import scenario_from_mapping, scenario_hash
from sim.scenario.model import Scenario
from sim.scenario.validation import scenario_data


def scenarios(batch: Batch) -> dict[str, Scenario]:
    return {case.name: case.scenario for case in batch.cases if case.scenario is not None}


def wall(scenario: Scenario) -> list[float | None]:
    return [one.gex_bn for one in scenario.dealers.position if one.group == "wall"]


def test_built_in_batches() -> None:
    sizes = {name: len(load_batch(name).cases) for name in builtin_batches()}
    assert sizes == {"horizon": 8, "model-risk": 121, "story": 8, "wall-strength": 22}
    for name, line in builtin_batches().items():
        batch = load_batch(name)
        assert (batch.name, batch.base, batch.description.splitlines()[0]) == (name, "siege-of-7000", line)
        assert 20 < len(line) < 120
        for case in batch.cases:
            assert case.scenario is not None
            again = scenario_from_mapping(scenario_data(case.scenario), case.name)
            assert scenario_hash(again) == case.hash


def test_story_cases_are_what_they_say() -> None:
    cases = scenarios(load_batch("story"))
    siege = cases["siege"]
    assert load_batch("story").baseline == "siege"
    assert list(cases) == [
        *("siege", "no dealers", "goldilocks", "soft data", "bond glut"),
        *("wall doubled", "wall gone", "support held"),
    ]
    assert cases["no dealers"].dealers.impact_bp_per_bn == 0
    assert wall(cases["wall doubled"]) == [2 * size for size in wall(siege) if size is not None]
    assert wall(cases["wall gone"]) == [0.0, 0.0, 0.0]
    assert len(cases["soft data"].catalyst) == 2
    for name, good in (("goldilocks", True), ("soft data", False), ("bond glut", False)):
        news = [sum(o.probability * o.mean for o in one.outcomes) > 0 for one in cases[name].catalyst]
        assert set(news) == {good}


def test_model_risk_spans_impact_half_life_and_sign() -> None:
    batch = load_batch("model-risk")
    assert [len(labels) for labels in batch.axes.values()] == [5, 3, 4, 2]
    assert len({case.scenario.volatility.annual for case in batch.cases}) == 1  # type: ignore[union-attr]
    assert {case.scenario.volatility.quoted for case in batch.cases} == {"fundamental"}  # type: ignore[union-attr]
    short = [
        wall(case.scenario)  # type: ignore[arg-type]
        for case in batch.cases
        if (case.point.get("sign"), case.point.get("share")) == ("short wall", "whole")
    ]
    assert short == [[-9.0, -2.0, -6.0]] * 15


def test_a_row_tells_a_catalyst_whole() -> None:
    case = next(case for case in load_batch("story").cases if case.name == "goldilocks")
    (told,) = json.loads(case.parameters["catalyst"])
    assert (told["name"], told["session"]) == ("CPI", "2026-02-13")
    assert [outcome["probability"] for outcome in told["outcomes"]] == [0.7, 0.3]
