"""Maps that no table can hold are refused; `test_plan_tables` has the accuracy of those that are built."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from support.sample_scenario import refusal
from support.short_scenarios import prepared_of, scenario_of

from sim.book.rows import BookRows
from sim.plan import map_tables
from sim.plan.builder import prepare
from sim.reaction import segment_table


@pytest.fixture(autouse=True, params=["compiled", "numpy"])
def builder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each refusal comes from both ways to build tables."""
    if request.param == "numpy":
        monkeypatch.setattr(map_tables, "working_library", lambda: None)


FOLDING = {"dealers.m_floor": 0.0, "dealers.impact_bp_per_bn": 60.0}


def test_map_without_inverse_is_refused() -> None:
    """m ≤ 0 and no floor: one problem that names the file, the key, the value and where the map folds."""
    error = refusal(lambda: prepare(scenario_of(FOLDING), "wall.toml"))
    (problem,) = error.problems
    assert (problem.where, problem.key, problem.value) == ("wall.toml", "dealers.m_floor", "0")
    assert str(error).startswith("wall.toml: dealers.m_floor = 0 (the feedback factor falls to -")
    assert "m_floor = 0.2" in problem.hint
    assert error.exit_code == 2


def test_refusal_names_the_scenario_where_there_is_no_file() -> None:
    assert refusal(lambda: prepared_of(FOLDING)).problems[0].where == "sample"


def test_fold_that_comes_with_time_or_with_a_regime_is_refused() -> None:
    """At the start m > 0 under the initial book; it falls below zero with the expiry near, or with more puts."""
    bare = {"dealers.m_floor": 0.0, "regime": []}
    near = {**bare, "dealers.impact_bp_per_bn": 9.0, "dealers.position[2].expiry": dt.date(2026, 2, 18)}
    start = prepared_of({**near, "dealers.m_floor": 0.2})
    assert start.clearing_map.at(start.grid.start_minute, True).floor_events == ()
    assert refusal(lambda: prepared_of(near)).problems[0].key == "dealers.m_floor"
    puts = {"name": "puts", "when": "closes_below", "level": 6800, "weights": {"puts": 40.0}}
    assert prepared_of(bare).floor_events == ()
    assert refusal(lambda: prepared_of({**bare, "regime": [puts]})).problems[0].key == "dealers.m_floor"


def test_floor_makes_it_run_and_says_so() -> None:
    prepared = prepared_of({"dealers.impact_bp_per_bn": 60.0})
    assert prepared.floor_events
    assert all(e.lowest < 0.2 for e in prepared.floor_events)
    assert prepared_of({"dealers.impact_bp_per_bn": 1.0, "regime": []}).floor_events == ()


def test_tables_that_outgrow_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_tables, "MOST_TABLE_BYTES", 1 << 16)
    monkeypatch.setattr(map_tables, "MANY_SEGMENTS", 1)
    (problem,) = refusal(lambda: prepare(scenario_of(), "wall.toml")).problems
    assert (problem.where, problem.key) == ("wall.toml", "dealers.m_floor")
    assert "so sharply that the tables" in problem.why


def test_a_table_with_too_many_segments_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (map_tables, segment_table):
        monkeypatch.setattr(module, "MOST_SEGMENTS", 64)
    (problem,) = refusal(lambda: prepare(scenario_of(), "wall.toml")).problems
    assert (problem.where, problem.key) == ("wall.toml", "dealers.m_floor")
    assert "so sharply that one of its tables outgrows 64 segments" in problem.why
    assert "larger dealers.m_floor" in problem.hint


def test_too_many_steps_for_the_tables_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_tables, "MOST_TABLE_BYTES", 1 << 16)
    (problem,) = refusal(lambda: prepare(scenario_of(), "wall.toml")).problems
    assert (problem.where, problem.key) == ("wall.toml", "volatility.steps_per_session")
    assert "so many steps" in problem.why


def test_a_book_too_large_for_float32_is_refused() -> None:
    huge = {"dealers.position[1].contracts": 1e8}
    (problem,) = refusal(lambda: prepare(scenario_of(huge), "wall.toml")).problems
    assert (problem.where, problem.key) == ("wall.toml", "dealers.position[1]")
    assert "100,000,000 contracts" in str(problem)


def test_a_book_file_too_large_for_float32_is_refused_as_such() -> None:
    """However short it is, and whether or not single positions stand beside it."""
    rows = BookRows(
        "book.csv",
        ("wall",),
        np.zeros(2, dtype=np.int32),
        np.array([True, False]),
        np.array([7000.0, 6900.0]),
        np.array(["2026-02-20", "2026-02-20"], dtype="datetime64[D]"),
        np.array([False, False]),
        np.array([0.14, 0.15]),
        np.array([1e8, 10.0]),
        np.zeros(2),
    )
    for edits in ({}, {"dealers.position": []}):
        own = scenario_of(edits | {"regime": []})
        scenario = own.model_copy(update={"dealers": own.dealers.model_copy(update={"book": rows})})
        (problem,) = refusal(lambda scenario=scenario: prepare(scenario, "wall.toml")).problems
        assert (problem.where, problem.key, problem.value) == ("wall.toml", "dealers.book", "2 positions")
        assert "smaller book (dealers.book_weights)" in problem.hint
