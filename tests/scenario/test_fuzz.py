"""Anything at all as a scenario: it loads, survives a round trip and runs, or is refused in orderly lines."""

from __future__ import annotations

import datetime as dt
import string
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.nested import places
from support.sample_scenario import check_lines, refusal, sample

from sim.errors import InputError, Problem
from sim.plan.time_grid import build_time_grid
from sim.run.simulation import simulate
from sim.scenario.file import load_scenario, scenario_from_mapping, scenario_hash
from sim.scenario.model import Scenario
from sim.scenario.toml import scenario_to_toml

# Anything TOML can hold, and values that are right somewhere, so that some mutants stay valid.
TOML_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
TOML_SCALARS = st.one_of(
    st.integers(-3, 8000),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.floats(0, 1),
    st.booleans(),
    TOML_TEXT,
    st.sampled_from(["initial", "breakout", "melt_up", "wall", "puts", "never", "closes_above", "u", "AM"]),
    st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31)),
    st.dates(dt.date(2026, 2, 9), dt.date(2026, 3, 23)),
    st.datetimes(),
    st.times(),
)
LARGEST_RUN = 600  # steps
KEYS = st.one_of(
    TOML_TEXT,
    st.sampled_from(["name", "from", "then", "lasts", "level", "sessions", "contracts", "weights", "wall"]),
)
TOML_VALUES = st.recursive(
    TOML_SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def mutants(draw: st.DrawFn) -> dict[str, Any]:
    data = sample()
    for _ in range(draw(st.integers(1, 4))):
        path = draw(st.sampled_from(places(data)))
        node: Any = data
        for part in path[:-1]:
            node = node[part]
        action = draw(st.sampled_from(["replace", "replace", "delete", "add"]))
        if action == "add" or not path:
            target = node[path[-1]] if path else data
            if isinstance(target, dict):
                target[draw(KEYS)] = draw(TOML_VALUES)
            elif isinstance(target, list):
                target.append(draw(st.sampled_from(target) if target else TOML_VALUES))
        elif action == "delete":
            del node[path[-1]]
        else:
            node[path[-1]] = draw(TOML_VALUES)
    return data


def accepted(data: dict[str, Any]) -> Scenario | None:
    """The scenario, or None after checking that the refusal is orderly."""
    try:
        return scenario_from_mapping(data, "mutant")
    except InputError as error:
        check_lines(error, "mutant: ")
        return None


def runs_or_is_refused(scenario: Scenario) -> None:
    if build_time_grid(scenario).n_steps > LARGEST_RUN:
        return
    try:
        result = simulate(scenario, paths=50, threads=1, where="mutant")
    except InputError as error:
        check_lines(error, "mutant: ")
        return
    assert result.outcomes.joint.sum() == 50
    assert bool(np.isfinite(result.odds["probability"]).all())


@given(mutants())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_mutants_load_or_are_refused(data: dict[str, Any]) -> None:
    scenario = accepted(data)
    if scenario is not None:
        assert build_time_grid(scenario).n_sessions >= 1
        again = scenario_from_mapping(tomllib.loads(scenario_to_toml(scenario)), "again")
        assert again == scenario
        assert scenario_hash(again) == scenario_hash(scenario)
        runs_or_is_refused(scenario)


@given(st.sampled_from(places(sample())[1:]), st.text(string.printable, max_size=30))
@settings(max_examples=200, deadline=None)
@example(("levels",), "[" * 5000)
@example(("market", "spot"), "1" * 5000)
def test_overrides_load_or_are_refused(path: tuple[str | int, ...], value: str) -> None:
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
    _orderly(f"{key}={value}")


@given(st.text(max_size=30))
@settings(max_examples=200, deadline=None)
@example("dealers.position[99].strike=1")
@example("=")
@example("\x1b=")
@example("regime[\x1b].level=1")
@example("levels[0][1].x=3")
def test_override_gibberish_is_refused(text: str) -> None:
    _orderly(text)


def _orderly(override: str) -> None:
    """The built-in scenario takes the override or refuses it in plain lines."""
    problems: tuple[Problem, ...] = ()
    try:
        load_scenario("siege-of-7000", [override])
    except InputError as error:
        problems = error.problems
    for problem in problems:
        assert str(problem).isprintable()
        assert problem.where in ("--set", "siege-of-7000")


@given(st.binary(max_size=60))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bytes.toml"
    path.write_bytes(content)
    check_lines(refusal(lambda: load_scenario(path)), str(path))
