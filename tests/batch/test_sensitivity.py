"""Sensitivity: which inputs are bumped, by how much, and the table of what that changes."""

from __future__ import annotations

import datetime as dt
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.counted_calls import count_calls
from support.path_records import recorded
from support.sample_scenario import DELETE
from support.short_scenarios import CATALYST, scenario_of

import sim.batch.run
from sim.batch.case_counts import CaseCounts
from sim.batch.plans import CasePlans
from sim.batch.sensitivity import COLUMNS, Bump, bumps, sensitivity_batch, sensitivity_table
from sim.batch.tables import differences_table
from sim.engines.numpy_engine import NumpyEngine
from sim.errors import InputError
from sim.odds.pairs import PairCounts
from sim.plan.builder import prepare
from sim.plan.map_tables import build_map_tables
from sim.scenario.file import load_scenario, scenario_from_mapping, scenario_hash
from sim.scenario.model import Scenario
from sim.scenario.validation import scenario_data

DAY = 6941.81 * 0.141 / math.sqrt(252)


def bumped(scenario: Scenario, bump: float = 0.1) -> dict[str, Bump]:
    found = list(bumps(scenario, bump))
    assert len({one.label for one in found}) == len(found)
    return {one.label: one for one in found}


def texts(one: Bump) -> tuple[str, str, str]:
    return one.base, one.down, one.up


def check_cases(scenario: Scenario, **how: Any) -> None:
    """Every case is a valid scenario, and none but the base is the scenario itself."""
    batch, found = sensitivity_batch(scenario, **how)
    assert [case.name for case in batch.cases] == [
        "base",
        *(f"{one.label} {way}" for one in found for way in ("down", "up") if getattr(one, f"{way}_set")),
    ]
    assert batch.baseline == "base"
    same = scenario_data(scenario) | {"name": "base"}
    for case in batch.cases:
        assert case.scenario is not None
        data = scenario_data(case.scenario)
        assert scenario_hash(scenario_from_mapping(data, case.name)) == case.hash
        assert (data | {"name": "base"} == same) == (case.name == "base")


def test_inputs_of_the_siege() -> None:
    siege = load_scenario("siege-of-7000")
    found = bumped(siege)
    expected = {
        "volatility.annual": ("0.141", "0.1269", "0.1551"),
        "volatility.tail_dof": ("5.3", "4.77", "5.83"),
        "drift.annual": ("0.0", "-0.01", "0.01"),
        "dealers.impact_bp_per_bn": ("3.5", "3.15", "3.85"),
        "dealers.position[wall].gex_bn": ("9 2 6", "8.1 1.8 5.4", "9.9 2.2 6.6"),
        "dealers.position[puts].gex_bn": ("-7 -5 -6", "-6.3 -4.5 -5.4", "-7.7 -5.5 -6.6"),
        "regime[breakout].weights.wall": ("0.25", "0.225", "0.275"),
        "regime[melt_up].flow_bn_per_session": ("8", "7.2", "8.8"),
        "regime[melt_up].lasts": ("5", "4", "6"),
        "regime[support_lost].closes": ("2", "1", "3"),
        "market.spot": ("6941.81", f"{6941.81 - DAY / 10:.6g}", f"{6941.81 + DAY / 10:.6g}"),
        "targets.lower": ("6800", f"{6800 - DAY / 10:.6g}", f"{6800 + DAY / 10:.6g}"),
        "market.sessions": ("27", "24", "30"),
    }
    assert {key: texts(found[key]) for key in expected} == expected
    # zero, or switched off, or not a number
    absent = ("jumps.", "catalyst", "volatility.steps", "regime[wall_gone]", "regime[melt_up].weights")
    assert not [key for key in found if key.startswith(absent) or key.endswith((".carry", ".contracts"))]
    check_cases(siege)


def test_a_variance_that_would_grow_without_end_is_bumped_by_less() -> None:
    """alpha + gamma/2 + beta < 1: 0.845 may grow by 1/80 of itself, not by 1/10, 1/20 or 1/40."""
    beta = bumped(load_scenario("siege-of-7000"))["volatility.beta"]
    assert texts(beta) == ("0.845", "0.7605", f"{0.845 * (1 + 0.1 / 8):.6g}")
    assert beta.up_set == {"volatility.beta*": 1 + 0.1 / 8}


def test_a_bump_that_is_never_possible_is_left_out() -> None:
    scenario = scenario_of({"dealers.m_floor": 1.0, "regime[0].closes": 1})
    batch, found = sensitivity_batch(scenario)
    sides = {one.label: texts(one) for one in found}
    assert sides["dealers.m_floor"] == ("1", "0.9", "-")
    assert sides["regime[breakout].closes"] == ("1", "-", "2")
    names = {case.name for case in batch.cases}
    assert {"dealers.m_floor down", "regime[breakout].closes up"} <= names
    assert not {"dealers.m_floor up", "regime[breakout].closes down"} & names
    check_cases(scenario)


EDITS: dict[str, dict[str, Any]] = {
    "jumps, contracts": {},
    "catalyst": {"catalyst": [CATALYST]},
    "catalysts of one name, with a slash": {
        "catalyst": [
            {**CATALYST, "name": "a/b"},
            {**CATALYST, "name": "a/b", "session": dt.date(2026, 2, 17)},
        ]
    },
    "catalyst with a long name": {"catalyst": [{**CATALYST, "name": "x" * 100}]},
    "zero drift": {"drift.annual": 0.0},
    "permanent impact": {"dealers.impact_half_life": 0.0},
    "no dealers": {"dealers.impact_bp_per_bn": 0.0, "dealers.position": [], "regime": []},
    "constant variance": {
        **{"volatility.alpha": 0.0, "volatility.gamma": 0.0, "volatility.beta": 1.0},
        "volatility.long_run_annual": DELETE,
    },
    "one session": {"market.sessions": 1},
    "long name": {"name": "x" * 100},
}


@pytest.mark.parametrize("edits", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("bump", [0.01, 0.9])
def test_every_case_is_valid(edits: dict[str, Any], bump: float) -> None:
    check_cases(scenario_of(edits), bump=bump)


def test_what_is_bumped_depends_on_the_scenario() -> None:
    found = bumped(scenario_of())
    assert texts(found["jumps.per_year"]) == ("2", "1.8", "2.2")
    assert texts(found["jumps.mean"]) == ("-0.01", "-0.009", "-0.011")
    assert texts(found["drift.annual"]) == ("0.02", "0.018", "0.022")
    # one of the wall's positions is stated in contracts, so that each is bumped by itself
    assert texts(found["dealers.position[0].gex_bn"]) == ("9", "8.1", "9.9")
    assert texts(found["dealers.position[1].contracts"]) == ("15000", "13500", "16500")
    assert texts(found["dealers.position[wall].iv"]) == ("0.115 0.113", "0.1035 0.1017", "0.1265 0.1243")
    assert "dealers.position[wall].gex_bn" not in found
    assert "dealers.impact_half_life" not in bumped(scenario_of(EDITS["permanent impact"]))
    constant = bumped(scenario_of(EDITS["constant variance"]))
    assert not {"volatility.alpha", "volatility.gamma", "volatility.beta"} & set(constant)
    assert texts(bumped(scenario_of({"market.sessions": 1}))["market.sessions"]) == ("1", "-", "2")


def test_a_probability_takes_from_the_others_in_proportion() -> None:
    one = bumped(scenario_of({"catalyst": [CATALYST]}))["catalyst[0].outcomes[0].probability"]
    assert texts(one) == ("0.55", "0.495", "0.605")
    for settings, first in ((one.down_set, 0.495), (one.up_set, 0.605)):
        values = list(settings.values())
        assert values == pytest.approx([first, (1 - first) / 3, (1 - first) * 2 / 3])
        assert math.fsum(values) == pytest.approx(1, abs=1e-12)


def test_only_and_how() -> None:
    scenario = scenario_of()
    batch, found = sensitivity_batch(
        scenario, only="targets.*", bump=0.5, paths=123, seed=None, max_paths=None
    )
    assert [one.label for one in found] == ["targets.upper", "targets.lower"]
    assert len(batch.cases) == 5
    assert (batch.paths, batch.seed, batch.name, batch.base) == (123, 1, "sample-sensitivity", "sample")
    upper = batch.cases[2].scenario.targets.upper  # type: ignore[union-attr]
    assert upper == pytest.approx(7100 + DAY / 2)
    brackets = sensitivity_batch(scenario, only="regime[breakout].closes")[1]
    assert [one.label for one in brackets] == ["regime[breakout].closes"]
    with pytest.raises(InputError) as caught:
        sensitivity_batch(scenario, only="target")
    assert str(caught.value).startswith(
        '--only = "target" (matches no input). Inputs are volatility.annual, '
    )


def test_names_that_would_be_too_long_are_numbers() -> None:
    long = "x" * 50
    weights = {"regime[0].weights": {long: 0.5}, "dealers.position[0].group": long, "regime[0].name": long}
    scenario = scenario_of(weights | {"regime[3].from": ["initial"], "regime[1].weights": {long: 0.0}})
    batch, found = sensitivity_batch(scenario, only=f"*weights.{long}")
    assert [one.label for one in found] == [f"regime[{long}].weights.{long}"]
    assert [case.name for case in batch.cases] == ["base", "input 0 down", "input 0 up"]


# --- the table


def counted(scenario: Scenario, only: str, paths: int = 400) -> tuple[Any, tuple[Bump, ...]]:
    """A folder in memory with the counts of every case."""
    batch, found = sensitivity_batch(scenario, only=only, bump=0.5)
    plans = {case.name: prepare(case.scenario) for case in batch.cases if case.scenario is not None}
    runs = {name: recorded(NumpyEngine(), one.plan, 1, 0, paths) for name, one in plans.items()}
    base_levels = tuple(map(int, plans["base"].plan.level_count))
    counts = {}
    for name, (outcomes, records) in runs.items():
        pairs = PairCounts.zeros(tuple(map(int, plans[name].plan.level_count)), base_levels)  # type: ignore[arg-type]
        pairs.count(records, runs["base"][1])
        counts[name] = CaseCounts(plans[name].axes, outcomes, pairs)
    return SimpleNamespace(batch=batch, counts=lambda case: counts.get(case.name), by_name=counts), found


@pytest.fixture(scope="module")
def folder() -> tuple[Any, tuple[Bump, ...]]:
    return counted(scenario_of(), "[vtd]*.[auim][nmp]*")


def test_table_holds_the_differences_of_both_sides(folder: tuple[Any, tuple[Bump, ...]]) -> None:
    place, found = folder
    table = sensitivity_table(place, found)
    assert tuple(table.columns) == COLUMNS
    assert set(table["scenario"]) == {"sample"}
    assert {"volatility.annual", "drift.annual", "dealers.impact_bp_per_bn", "targets.upper"} <= set(
        table["input"]
    )
    base = place.by_name["base"].axes
    for one in found:
        rows = table[table["input"] == one.label]
        for way in ("down", "up"):
            counts = place.by_name[f"{one.label} {way}"]
            differences = differences_table(counts.pairs, counts.axes, base, "base")
            first = differences[differences["event"] != "touch"].set_index("event")
            mine = rows[rows["event"] != "touch"].set_index("event")
            np.testing.assert_array_equal(mine[f"change_{way}"], first["difference"].loc[mine.index])
            np.testing.assert_array_equal(mine[f"change_{way}_ci_low"], first["ci_low"].loc[mine.index])
            np.testing.assert_array_equal(mine[f"change_{way}_ci_high"], first["ci_high"].loc[mine.index])
        assert list(rows["event"][:3]) == ["first_upper", "first_lower", "neither"]
        assert set(zip(rows["base_value"], rows["down_value"], rows["up_value"], strict=True)) == {texts(one)}
    changes = table[["change_down", "change_up"]].fillna(0.0)
    high, low = changes.max(axis=1).clip(lower=0), changes.min(axis=1).clip(upper=0)
    np.testing.assert_array_equal(table["swing"], high - low)
    assert (table["swing"] > 0).any()


def test_inputs_are_in_the_order_of_their_widest_swing(folder: tuple[Any, tuple[Bump, ...]]) -> None:
    place, found = folder
    table = sensitivity_table(place, found)
    first = table[table["event"].isin(["first_upper", "first_lower"])]
    widest = first.groupby("input", sort=False)["swing"].max()
    assert list(widest.index) == list(dict.fromkeys(table["input"]))
    assert list(widest) == sorted(widest, reverse=True)
    assert widest.iloc[0] > widest.iloc[-1]


def test_a_moved_target_has_no_difference_of_its_own_touch(folder: tuple[Any, tuple[Bump, ...]]) -> None:
    """The level that the base does not have cannot be compared."""
    place, found = folder
    table = sensitivity_table(place, found)
    touched = table[(table["input"] == "targets.upper") & (table["event"] == "touch")]
    moved = {place.by_name[f"targets.upper {way}"].axes.upper for way in ("down", "up")}
    assert len(touched) > 0
    assert not moved & set(touched["level"])


def test_a_failed_case_has_no_change(folder: tuple[Any, tuple[Bump, ...]]) -> None:
    place, found = folder
    gone = {"volatility.annual down", "drift.annual down", "drift.annual up"}
    partly = SimpleNamespace(
        batch=place.batch, counts=lambda case: None if case.name in gone else place.by_name[case.name]
    )
    whole, table = sensitivity_table(place, found), sensitivity_table(partly, found)  # type: ignore[arg-type]
    rows = table[table["input"] == "volatility.annual"]
    assert rows["change_down"].isna().all()
    assert rows["change_up"].notna().all()
    assert (rows["swing"] == rows["change_up"].abs()).all()
    assert set(whole["input"]) - set(table["input"]) == {"drift.annual"}
    none = SimpleNamespace(batch=place.batch, counts=lambda case: None)
    empty = sensitivity_table(none, found)  # type: ignore[arg-type]
    assert (len(empty), tuple(empty.columns)) == (0, COLUMNS)
    assert isinstance(empty, pd.DataFrame)


def test_what_a_trial_has_built_is_kept_for_its_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a floor a bump is tried by making its tables, which its case then has."""
    scenario = scenario_of({"dealers.m_floor": 0.0, "dealers.impact_bp_per_bn": 0.5})
    built, plans = count_calls(monkeypatch, build_map_tables), CasePlans()
    batch, _ = sensitivity_batch(scenario, only="dealers.*", plans=plans)
    tried = len(built)
    assert len(batch.cases) > 3
    sim.batch.run.check_cases(batch.cases, plans)
    assert tried > 1
    assert len(built) - tried <= 1  # those of the base
