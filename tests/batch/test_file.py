"""Batch files: the cases a grid and single cases make, their names, and what is refused."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from support.sample_batch import IMPACT, PUTS, WALL, batch_data, batch_of, single

from sim.batch.family import Batch, is_chosen
from sim.batch.file import batch_from_mapping, load_batch, with_fundamental_volatility
from sim.errors import InputError
from sim.plan.dealers import initial_feedback
from sim.scenario.file import load_scenario, scenario_from_mapping
from sim.scenario.model import Scenario
from sim.scenario.validation import scenario_data

HALF_LIFE = "dealers.impact_half_life"


def scenarios(batch: Batch) -> dict[str, Scenario]:
    found = {case.name: case.scenario for case in batch.cases}
    assert None not in found.values()
    return found  # type: ignore[return-value]


def wall(scenario: Scenario) -> list[float | None]:
    return [one.gex_bn for one in scenario.dealers.position if one.group == "wall"]


# --- cases


def test_grid_is_the_cartesian_product_in_order() -> None:
    batch = batch_of(grid={IMPACT: [1, 2.5, 3], HALF_LIFE: [0.5, 2]})
    points = list(itertools.product(["1", "2.5", "3"], ["0.5", "2"]))
    names = [f"impact_bp_per_bn={a} impact_half_life={b}" for a, b in points]
    assert [case.name for case in batch.cases] == ["base", *names]
    assert [tuple(case.point.values()) for case in batch.cases] == [(), *points]
    assert batch.axes == {IMPACT: ("1", "2.5", "3"), HALF_LIFE: ("0.5", "2")}
    for case in batch.cases[1:]:
        dealers = case.scenario.dealers  # type: ignore[union-attr]
        assert [dealers.impact_bp_per_bn, dealers.impact_half_life] == [*map(float, case.point.values())]
        assert list(case.point) == [IMPACT, HALF_LIFE]


def test_order_is_base_then_single_cases_then_grid() -> None:
    batch = batch_of(
        case=[single("b", dealers__m_floor=0.3), single("a", dealers__m_floor=0.4)], grid={IMPACT: [1]}
    )
    assert [case.name for case in batch.cases] == ["base", "b", "a", "impact_bp_per_bn=1"]


def test_base_without_anything_is_one_case() -> None:
    batch = batch_of()
    assert [(case.name, case.point, case.parameters) for case in batch.cases] == [("base", {}, {})]
    assert batch.baseline_case is batch.cases[0]
    base = load_scenario("siege-of-7000")
    assert batch.cases[0].scenario == base.model_copy(update={"name": "base"})
    assert (batch.base, batch.axes, batch.parameters) == ("siege-of-7000", {}, ())


def test_labelled_axis_sets_several_keys() -> None:
    batch = batch_of(
        grid={
            "dealers": [
                {"label": "as told", "set": {}},
                {"label": "half/most", "set": {f"{WALL}*": 0.5, f"{PUTS}*": 0.9}},
            ]
        }
    )
    found = scenarios(batch)
    assert list(found) == ["base", "dealers=as told", "dealers=half-most"]
    assert wall(found["dealers=as told"]) == [9.0, 2.0, 6.0]
    assert wall(found["dealers=half-most"]) == [4.5, 1.0, 3.0]
    assert batch.axes == {"dealers": ("as told", "half/most")}
    assert [case.parameters["dealers"] for case in batch.cases] == ["", "as told", "half/most"]
    assert all(case.scenario.name == case.name for case in batch.cases)  # type: ignore[union-attr]


def test_stars_multiply_what_the_axes_before_left() -> None:
    batch = batch_of(
        set={f"{WALL}*": 3},
        grid={f"{WALL}*": [1, 2], "dealers": [{"label": "half", "set": {f"{WALL}*": 0.5}}], WALL: [8]},
        case=[single("alone"), {"name": "twice", "set": {f" {WALL} * ": 2}}],
    )
    sizes = {name: wall(scenario) for name, scenario in scenarios(batch).items()}
    assert sizes == {
        "base": [27.0, 6.0, 18.0],
        "alone": [27.0, 6.0, 18.0],
        "twice": [54.0, 12.0, 36.0],
        # the last axis states a size outright
        "gex_bn*1 dealers=half gex_bn=8": [8.0] * 3,
        "gex_bn*2 dealers=half gex_bn=8": [8.0] * 3,
    }
    grid = batch_of(
        set={f"{WALL}*": 3}, grid={f"{WALL}*": [1, 2], "all": [{"label": "", "set": {f"{WALL}*": 0.5}}]}
    )
    assert [wall(one)[0] for one in scenarios(grid).values()] == [27.0, 13.5, 27.0]


def test_cases_do_not_change_each_others_settings() -> None:
    """A star inside a table that `set` states multiplies it anew in every case."""
    data = batch_data(
        set={"regime[support_lost].weights": {"puts": 1.5}},
        grid={"regime[support_lost].weights.puts*": [2, 3, 4]},
    )
    batch = batch_from_mapping(data, "w")
    weights = [one.regime[3].weights["puts"] for one in scenarios(batch).values()]
    assert weights == [1.5, 3.0, 4.5, 6.0]
    assert data["set"] == {"regime[support_lost].weights": {"puts": 1.5}}


def test_set_is_of_every_case_the_baseline_included() -> None:
    batch = batch_of(
        set={HALF_LIFE: 1.0}, case=[single("over", dealers__impact_half_life=3.0)], grid={IMPACT: [1]}
    )
    lives = {name: one.dealers.impact_half_life for name, one in scenarios(batch).items()}
    assert lives == {"base": 1.0, "over": 3.0, "impact_bp_per_bn=1": 1.0}


def test_baseline_may_be_a_case_of_its_own() -> None:
    batch = batch_of(baseline="siege", case=[single("other", dealers__m_floor=0.3), single("siege")])
    assert [case.name for case in batch.cases] == ["other", "siege"]
    assert batch.baseline_case.name == "siege"
    corner = batch_of(baseline="impact_bp_per_bn=1", grid={IMPACT: [2, 1]})
    assert [case.name for case in corner.cases] == ["impact_bp_per_bn=2", "impact_bp_per_bn=1"]
    own = batch_of(case=[single("base", dealers__impact_bp_per_bn=1.0)])
    assert [case.scenario.dealers.impact_bp_per_bn for case in own.cases] == [1.0]  # type: ignore[union-attr]


# --- names, folders, columns


def test_folders_are_unique_and_safe() -> None:
    odd = ["a b", "a  b", "a:b?", "Ä*|<>", "...", "-", "x" * 100, "A B", "con"]
    batch = batch_of(case=[single(name) for name in odd])
    folders = [case.folder for case in batch.cases]
    assert len({folder.lower() for folder in folders}) == len(odd) + 1
    assert all(re.fullmatch(r"[a-z0-9_.=-]{1,60}(-[0-9a-f]{8})?", folder) for folder in folders)
    assert folders[0] == "base"
    assert all(re.fullmatch(r"a-b-[0-9a-f]{8}", folder) for folder in folders[1:3])


def test_folders_do_not_depend_on_other_cases() -> None:
    """A batch with more cases finds the results of those that it had before."""
    few = {case.name: case.folder for case in batch_of(grid={IMPACT: [1, 2]}).cases}
    many = {case.name: case.folder for case in batch_of(grid={IMPACT: [0.5, 1, 2, 3]}).cases}
    assert few.items() <= many.items()


def test_names_that_would_be_too_long_are_numbers() -> None:
    label = "x" * 99
    batch = batch_of(grid={"d": [{"label": label, "set": {IMPACT: 1}}, {"label": "y", "set": {IMPACT: 2}}]})
    assert [case.name for case in batch.cases] == ["base", "grid 00000", "d=y"]
    assert [case.parameters.get("d") for case in batch.cases] == ["", label, "y"]


def test_labels_become_names_without_separators() -> None:
    values = ["2026-03-13", "2026-03-20"]
    batch = batch_of(grid={"d": [{"label": f"{a}/b\\c?", "set": {}} for a in values]})
    assert [case.name for case in batch.cases[1:]] == [f"d={a}-b-c?" for a in values]


def test_parameters_are_the_values_as_they_came_to_be() -> None:
    batch = batch_of(
        set={"drift.annual": 0.01},
        grid={f"{WALL}*": [0.5]},
        case=[single("sessions", market__sessions=5), single("text", volatility__intraday_shape="flat")],
    )
    assert batch.parameters == (
        "drift.annual",
        "market.sessions",
        "volatility.intraday_shape",
        WALL,
    )
    rows = {case.name: list(case.parameters.values()) for case in batch.cases}
    assert rows == {
        "base": ["0.01", "", "u", "9.0 2.0 6.0"],
        "sessions": ["0.01", "5", "u", "9.0 2.0 6.0"],
        "text": ["0.01", "", "flat", "9.0 2.0 6.0"],
        "gex_bn*0.5": ["0.01", "", "u", "4.5 1.0 3.0"],
    }


# --- digest


def test_digest_changes_with_what_the_results_depend_on() -> None:
    first = {"case": [single("one", dealers__m_floor=0.3), single("two", dealers__m_floor=0.4)]}
    changed: list[dict[str, Any]] = [
        {"name": "other"},
        {"baseline": "one"},
        {"paths": 7},
        {"seed": 2},
        {"target_se": 0.01},
        {"target_se": 0.01, "max_paths": 2_000_000},
        {"base": "no-dealers"},
        {"volatility_held": "fundamental"},
        {"set": {"drift.annual": 0.01}},
        {"case": first["case"][:1]},
        {"case": first["case"][::-1]},
        {"case": [single("one", dealers__m_floor=0.3), single("two", dealers__m_floor=0.5)]},
        {"case": [single("one", dealers__m_floor=0.3), single("three", dealers__m_floor=0.4)]},
    ]
    digests = [batch_of(**{**first, **edits}).digest for edits in [{}, *changed]]
    assert len(set(digests)) == len(digests)
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)


def test_digest_stays_with_what_they_do_not_depend_on() -> None:
    cases = [single("one", dealers__m_floor=0.3)]
    same: list[dict[str, Any]] = [
        {"description": "words"},
        {"paths": 1_000_000, "seed": 1},
        {"case": [single("one", dealers__m_floor=0.3, market__spot=6941.81)]},
        {"base": "siege-of-7000", "baseline": "base"},
    ]
    assert {batch_of(**{"case": cases, **edits}).digest for edits in same} == {batch_of(case=cases).digest}


# --- where the base comes from


def test_base_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "family"
    folder.mkdir()
    own = scenario_data(load_scenario("siege-of-7000", ["market.spot=6950.0", "name=mine"]))
    (folder / "mine.toml").write_text(tomli_w.dumps(own), encoding="utf-8")
    (folder / "batch.toml").write_text(tomli_w.dumps(batch_data(base="mine.toml")), encoding="utf-8")
    (folder / "whole.toml").write_text(
        tomli_w.dumps(batch_data(base=str(folder / "mine.toml"))), encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    for file in ("family/batch.toml", folder / "batch.toml", folder / "whole.toml"):
        batch = load_batch(file)
        assert batch.base == "mine"
        assert batch.baseline_case.scenario.market.spot == 6950.0  # type: ignore[union-attr]
    # a base given besides the file is as it stands on the command line
    assert load_batch("family/batch.toml", base="siege-of-7000").base == "siege-of-7000"
    assert load_batch("family/batch.toml", base="family/mine.toml").base == "mine"
    with pytest.raises(InputError, match=r"^mine\.toml: no such file"):
        load_batch("family/batch.toml", base="mine.toml")


def test_overrides_change_the_base_of_all_cases() -> None:
    data = batch_data(grid={f"{IMPACT}*": [2]})
    batch = batch_from_mapping(data, "w", overrides=[f"{IMPACT}=1.5", "market.sessions=9"])
    found = [(one.dealers.impact_bp_per_bn, one.market.sessions) for one in scenarios(batch).values()]
    assert found == [(1.5, 9), (3.0, 9)]
    with pytest.raises(InputError) as caught:
        batch_from_mapping(data, "w", overrides=["market.spot=-1"])
    assert ("--set", "market.spot") in {(problem.where, problem.key) for problem in caught.value.problems}


def test_changes_replace_what_the_file_says() -> None:
    data = batch_data(paths=5, seed=3)
    batch = batch_from_mapping(data, "w", paths=7, seed=None, target_se=0.01, max_paths=9)
    assert (batch.paths, batch.seed, batch.target_se, batch.max_paths) == (7, 3, 0.01, 9)
    assert data == batch_data(paths=5, seed=3)
    with pytest.raises(InputError, match=r"w: paths = 0 \(must be at least 1\)"):
        batch_from_mapping(data, "w", paths=0)


# --- the volatility that cases share


def fundamental(scenario: Scenario) -> tuple[float, float]:
    stated = scenario.volatility
    feedback = 1.0 if stated.quoted == "fundamental" else initial_feedback(scenario)
    assert stated.long_run_annual is not None
    return stated.annual * feedback, stated.long_run_annual * feedback


def test_fundamental_volatility_is_held_over_the_dealers() -> None:
    edits = {"case": [single("none", dealers__impact_bp_per_bn=0)], "grid": {f"{WALL}*": [0, 2]}}
    held = scenarios(batch_of(**edits, volatility_held="fundamental"))
    base = fundamental(load_scenario("siege-of-7000"))
    for scenario in held.values():
        assert scenario.volatility.quoted == "fundamental"
        assert fundamental(scenario) == pytest.approx(base, rel=1e-15)
    observed = scenarios(batch_of(**edits))
    assert fundamental(observed["base"]) == base
    assert len({fundamental(scenario) for scenario in observed.values()}) == 4
    for name, scenario in observed.items():
        assert scenario.volatility.annual == 0.141
        unlike = scenario.model_copy(update={"volatility": held[name].volatility})
        assert unlike == held[name]


def test_fundamental_volatility_stays_one_and_may_lack_a_long_run() -> None:
    quoted = load_scenario("siege-of-7000", ["volatility.quoted=fundamental"])
    assert with_fundamental_volatility(quoted) is quoted
    data = scenario_data(load_scenario("siege-of-7000"))
    del data["volatility"]["long_run_annual"]
    found = with_fundamental_volatility(scenario_from_mapping(data, "x")).volatility
    assert (found.long_run_annual, found.annual < 0.141) == (None, True)


# --- which cases run


@given(st.integers(1, 9), st.sampled_from([None, "impact*", "*=2", "base"]))
def test_shards_partition_the_cases(shards: int, pattern: str | None) -> None:
    batch = GRID
    whole = batch.selected(pattern, None)
    parts = [batch.selected(pattern, (index, shards)) for index in range(shards)]
    assert all(part[0] is batch.baseline_case for part in parts)
    others = [case.name for part in parts for case in part[1:]]
    assert sorted(others) == sorted(case.name for case in whole[1:])
    assert len(set(others)) == len(others)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    expected = {"impact*": 3, "*=2": 1, "base": 0, None: 3}[pattern]
    assert len(whole) == 1 + expected


GRID = batch_of(grid={IMPACT: [1, 2, 3]})


def test_selection_that_matches_nothing() -> None:
    with pytest.raises(InputError) as caught:
        GRID.selected("wall*", None)
    assert str(caught.value) == (
        '--only = "wall*" (matches no case). Try one of: base, impact_bp_per_bn=1, impact_bp_per_bn=2, '
        "impact_bp_per_bn=3 ..."
    )


def test_a_name_with_brackets_is_its_own_pattern() -> None:
    assert is_chosen("regime[breakout].closes", "regime[breakout].closes")
    assert is_chosen("x", None)
    assert is_chosen("xy", "x*")
    assert not is_chosen("X", "x")


def test_a_scenario_may_be_the_base() -> None:
    base = load_scenario("siege-of-7000", {"dealers.impact_bp_per_bn": 1})
    of_scenario = load_batch("wall-strength", base=base, overrides={"market.spot": 6950})
    named = load_batch("wall-strength", overrides={"dealers.impact_bp_per_bn": 1, "market.spot": 6950})
    assert of_scenario == named
