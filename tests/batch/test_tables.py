"""Tables of batches against direct computation from the paths."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sample_outcomes import sample_axes, sample_outcomes

from sim.batch.case_counts import CaseCounts
from sim.batch.family import Batch, Case
from sim.batch.tables import (
    DIFFERENCE_COLUMNS,
    FAILED,
    FINISHED,
    NOT_RUN,
    CaseState,
    bands,
    case_row,
    differences_table,
    drivers,
    first_difference,
)
from sim.odds.estimates import paired_difference_estimate
from sim.odds.pairs import PairCounts
from sim.odds.tables import FIRST_TARGETS, TABLES
from sim.plan.outcomes import OutcomeAxes

SPOT = 100.0


def axes_of(levels: tuple[float, ...], spot: float = SPOT, name: str = "mine") -> OutcomeAxes:
    return replace(sample_axes(20), scenario=name, spot=spot, levels=levels, upper=110.0, lower=90.0)


def sides(axes: OutcomeAxes) -> tuple[list[float], list[float]]:
    """Levels above and below the start, nearest first."""
    above, below = ([x for x in axes.levels if (x - axes.spot) * sign > 0] for sign in (1, -1))
    return above, below[::-1]


def records_of(axes: OutcomeAxes, highs: np.ndarray, lows: np.ndarray) -> np.ndarray:
    """Records of paths by their highest and lowest price; of both targets the upper one comes first."""
    first = np.where(highs >= axes.upper, 1, np.where(lows <= axes.lower, 2, 0))
    above, below = sides(axes)
    ranks = [
        sum((highs >= level).astype(int) for level in above),
        sum((lows <= level).astype(int) for level in below),
    ]
    return (first + (ranks[0] << 2) + (ranks[1] << 9)).astype(np.uint16)


def pairs_of(case: OutcomeAxes, base: OutcomeAxes, prices: list[np.ndarray]) -> PairCounts:
    counts = PairCounts.zeros(*(tuple(map(len, sides(axes))) for axes in (case, base)))  # type: ignore[arg-type]
    counts.count(records_of(case, *prices[:2]), records_of(base, *prices[2:]))
    return counts


def random_prices(paths: int, seed: int = 3) -> list[np.ndarray]:
    """Highest and lowest price of each path, in the case and in the baseline."""
    rng = np.random.default_rng(seed)
    swings = [np.abs(rng.normal(0, 9, paths)) for _ in range(4)]
    return [SPOT + swings[0], SPOT - swings[1], SPOT + swings[2], SPOT - swings[3]]


WORLD_SIDES = st.lists(st.sampled_from([80.0, 85.0, 92.0, 97.0, 103.0, 108.0, 115.0]), unique=True).map(
    lambda levels: tuple(sorted([90.0, 110.0, *levels]))
)


@settings(deadline=None, max_examples=40)
@given(WORLD_SIDES, WORLD_SIDES, st.sampled_from([SPOT, 99.0, 104.0]), st.integers(1, 200))
def test_differences_are_those_of_the_paths(
    mine: tuple[float, ...], theirs: tuple[float, ...], spot: float, paths: int
) -> None:
    """Also where a level is among one case's only, or on different sides of the two starts."""
    case, base = axes_of(mine), axes_of(theirs, spot, "base")
    high, low, base_high, base_low = prices = random_prices(paths)
    prices[2], prices[3] = base_high, base_low = np.maximum(base_high, spot), np.minimum(base_low, spot)
    table = differences_table(pairs_of(case, base, prices), case, base, "base")

    expected: list[tuple[str, float, np.ndarray, np.ndarray]] = []
    first = records_of(case, high, low) & 3, records_of(base, base_high, base_low) & 3
    levels = {"first_upper": 110.0, "first_lower": 90.0, "neither": np.nan}
    for event, target in FIRST_TARGETS.items():
        expected.append((event, levels[event], first[0] == target, first[1] == target))
    for level in mine:
        if level in theirs and (level > SPOT) == (level > spot):
            up = level > SPOT
            touched = high >= level if up else low <= level
            base_touched = base_high >= level if up else base_low <= level
            expected.append(("touch", level, touched, base_touched))

    assert tuple(table.columns) == DIFFERENCE_COLUMNS
    assert list(table["event"]) == [row[0] for row in expected]
    np.testing.assert_array_equal(table["level"], [row[1] for row in expected])
    assert set(table["paths"]) == {paths}
    assert set(table["scenario"]) == {"mine"}
    assert set(table["baseline"]) == {"base"}
    for row, (_, _, yes, base_yes) in zip(table.to_dict("records"), expected, strict=True):
        difference = yes.astype(float) - base_yes
        assert row["difference"] == pytest.approx(difference.mean(), abs=1e-15)
        if difference.std() > 0:
            assert row["std_error"] == pytest.approx(difference.std() / np.sqrt(paths), rel=1e-9, abs=1e-12)
        estimate = paired_difference_estimate(np.sum(yes & ~base_yes), np.sum(base_yes & ~yes), paths)
        assert (row["ci_low"], row["ci_high"]) == (float(estimate.ci_low), float(estimate.ci_high))


def test_a_case_that_is_the_baseline_differs_by_nothing() -> None:
    axes = axes_of((80.0, 90.0, 103.0, 110.0))
    high, low, *_ = random_prices(500)
    table = differences_table(pairs_of(axes, axes, [high, low, high, low]), axes, axes, "mine")
    assert len(table) == 7
    assert (table["difference"] == 0).all()
    assert (table["ci_low"] < 0).all()


def test_known_differences() -> None:
    """Ten paths: the case touches 103 on six, the baseline on three of these and one more."""
    axes = axes_of((90.0, 103.0, 110.0))
    pairs = PairCounts.zeros((2, 1), (2, 1))
    pairs.paths = 10
    pairs.first[0, 0] = 10
    pairs.above[:2, :2] = [[3, 1], [3, 3]]
    pairs.below[0, 0] = 10
    touch = differences_table(pairs, axes, axes, "b").set_index("level").loc[103.0]
    assert (touch["difference"], touch["paths"]) == (pytest.approx(0.2), 10)
    assert touch["std_error"] == pytest.approx(np.sqrt((0.4 - 0.04) / 10))


def test_first_difference_is_the_tables() -> None:
    axes = axes_of((90.0, 110.0))
    pairs = pairs_of(axes, axes, random_prices(300))
    table = differences_table(pairs, axes, axes, "b").set_index("event")
    for event, target in FIRST_TARGETS.items():
        found = first_difference(pairs, target)
        assert float(found.probability) == table.loc[event, "difference"]
        assert (float(found.ci_low), float(found.ci_high)) == tuple(table.loc[event, ["ci_low", "ci_high"]])


# --- a row per case

CASE = Case("mine", "00000-mine", "0" * 64, None, {}, {"wall": "2", "impact": ""})
MANIFEST = {
    "timings": {"prepare_s": 0.5, "simulate_s": 1.25, "path_steps_per_s": 9e9},
    "engine": "native",
    "warnings": ["the floor binds", "too few paths"],
}


def sample_counts(pairs: PairCounts | None) -> CaseCounts:
    return CaseCounts(sample_axes(), sample_outcomes(1000), pairs)


def test_row_of_a_finished_case() -> None:
    axes = axes_of((90.0, 110.0))
    pairs = pairs_of(axes, axes, random_prices(400))
    row = case_row(CASE, CaseState(FINISHED, MANIFEST), sample_counts(pairs))
    events = [
        event + end
        for event in FIRST_TARGETS
        for end in (
            "",
            "_ci_low",
            "_ci_high",
            "_without",
            *(f"_vs_baseline{x}" for x in ("", "_ci_low", "_ci_high")),
        )
    ]
    assert list(row) == [
        "scenario",
        "wall",
        "impact",
        "status",
        "paths",
        *events,
        "paths_vs_baseline",
        "seconds",
        "engine",
        "warnings",
        "error",
    ]
    assert [row[key] for key in ("scenario", "wall", "impact", "status", "paths")] == [
        "mine",
        "2",
        "",
        FINISHED,
        1000,
    ]
    assert [row[key] for key in ("seconds", "engine", "warnings", "error")] == [
        1.75,
        "native",
        "the floor binds | too few paths",
        "",
    ]
    odds = TABLES["odds"].frame(sample_outcomes(1000), sample_axes()).set_index(["event", "dealers"])
    for event, target in FIRST_TARGETS.items():
        found = odds.loc[event]
        assert row[event] == found.loc["with", "probability"]
        assert (row[f"{event}_ci_low"], row[f"{event}_ci_high"]) == tuple(
            found.loc["with", ["ci_low", "ci_high"]]
        )
        assert row[f"{event}_without"] == found.loc["without", "probability"]
        difference = first_difference(pairs, target)
        assert row[f"{event}_vs_baseline"] == float(difference.probability)
        assert row[f"{event}_vs_baseline_ci_low"] == float(difference.ci_low)
        assert row[f"{event}_vs_baseline_ci_high"] == float(difference.ci_high)
    assert sum(row[event] for event in FIRST_TARGETS) == pytest.approx(1)


@pytest.mark.parametrize("pairs", [None, PairCounts.zeros((1, 1), (1, 1))])
def test_row_without_a_baseline_has_no_differences(pairs: PairCounts | None) -> None:
    row = case_row(CASE, CaseState(FINISHED, {}), sample_counts(pairs))
    assert [row[key] for key in row if "_vs_baseline" in key] == [None] * 10
    assert row["first_upper"] is not None
    assert (row["seconds"], row["engine"]) == (None, "")


def test_rows_of_cases_that_did_not_finish() -> None:
    finished = case_row(CASE, CaseState(FINISHED, MANIFEST), sample_counts(None))
    failed = case_row(CASE, CaseState(FAILED, {"error": "out of\n  memory"}), None)
    waiting = case_row(CASE, CaseState(NOT_RUN, {}), None)
    assert list(finished) == list(failed) == list(waiting)
    known = {key: value for key, value in failed.items() if value is not None}
    assert known == {
        **{"scenario": "mine", "wall": "2", "impact": "", "status": FAILED},
        **{"engine": "", "warnings": "", "error": "out of memory"},
    }
    assert waiting == {**failed, "status": NOT_RUN, "error": ""}


# --- bands and drivers


def rows_of(odds: dict[str, float], status: str = FINISHED) -> list[dict[str, Any]]:
    return [
        {
            "scenario": name,
            "status": status,
            "first_upper": p,
            "first_lower": 0.3 - p / 2,
            "neither": 0.7 - p / 2,
        }
        for name, p in odds.items()
    ]


def test_band_is_over_finished_cases() -> None:
    rows = (
        rows_of({"a": 0.2, "b": 0.4, "c": 0.1, "d": 0.3})
        + rows_of({"e": 0.9}, FAILED)
        + rows_of({"f": 0}, NOT_RUN)
    )
    upper, lower, neither = bands(rows)
    assert (upper.event, upper.lowest, upper.median, upper.highest) == (
        "first_upper",
        0.1,
        pytest.approx(0.25),
        0.4,
    )
    assert (upper.lowest_case, upper.highest_case) == ("c", "b")
    assert (
        (lower.lowest_case, lower.highest_case) == (neither.lowest_case, neither.highest_case) == ("b", "c")
    )
    assert [band.median for band in bands(rows[:3])] == [0.2, pytest.approx(0.2), pytest.approx(0.6)]
    assert bands(rows_of({"e": 0.9}, FAILED)) == []


def grid_batch(axes: dict[str, tuple[str, ...]]) -> Batch:
    points = [dict(zip(axes, labels, strict=True)) for labels in itertools.product(*axes.values())]
    cases = [Case("base", "base", "", None)]
    cases += [Case(" ".join(point.values()), "", "", None, point) for point in points]
    return Batch("x", "", "siege", "base", tuple(cases), axes, 1000, 1)


AXES = {"a": ("a0", "a1"), "b": ("b0", "b1", "b2"), "c": ("c0", "c1")}


def grid_rows(batch: Batch, effects: dict[str, float]) -> list[dict[str, Any]]:
    """Odds of 0.4 and the effect of every label; the base's own do not count."""
    points = {case.name: case.point.values() for case in batch.cases if case.point}
    return rows_of(
        {"base": 0.99, **{name: 0.4 + sum(effects.get(x, 0) for x in at) for name, at in points.items()}}
    )


def test_shares_of_additive_effects_are_their_variances() -> None:
    batch = grid_batch(AXES)
    found = drivers(batch, grid_rows(batch, {"a0": 0.1, "a1": -0.1, "b0": 0.03, "b2": -0.03}), "first_upper")
    variances = {"a": 0.01, "b": 0.0006, "c": 0.0}
    assert [driver.axis for driver in found] == ["a", "b", "c"]
    for driver in found:
        assert driver.share == pytest.approx(variances[driver.axis] / 0.0106, abs=1e-12)
        assert driver.event == "first_upper"
    assert sum(driver.share for driver in found) == pytest.approx(1)
    a, b, _ = found
    assert (a.low_label, a.high_label, a.low, a.high) == ("a1", "a0", pytest.approx(0.3), pytest.approx(0.5))
    assert (b.low_label, b.high_label, b.low, b.high) == (
        "b2",
        "b0",
        pytest.approx(0.37),
        pytest.approx(0.43),
    )


def test_an_interaction_belongs_to_no_axis() -> None:
    batch = grid_batch({"a": ("a0", "a1"), "b": ("b0", "b1")})
    odds = {"a0 b0": 0.5, "a0 b1": 0.3, "a1 b0": 0.3, "a1 b1": 0.5}
    assert [driver.share for driver in drivers(batch, rows_of(odds), "first_upper")] == pytest.approx([0, 0])


@given(st.lists(st.floats(0, 1), min_size=12, max_size=12))
def test_shares_are_shares(odds: list[float]) -> None:
    batch = grid_batch(AXES)
    names = [case.name for case in batch.cases if case.point]
    found = drivers(batch, rows_of(dict(zip(names, odds, strict=True))), "first_upper")
    assert len(found) == 3
    assert all(-1e-9 <= driver.share <= 1 + 1e-9 and driver.low <= driver.high for driver in found)
    assert sum(driver.share for driver in found) <= 1 + 1e-9
    assert [driver.share for driver in found] == sorted((driver.share for driver in found), reverse=True)


def test_constant_odds_have_no_drivers_share() -> None:
    batch = grid_batch(AXES)
    assert {driver.share for driver in drivers(batch, grid_rows(batch, {}), "first_upper")} == {0.0}


def test_only_a_whole_grid_has_drivers() -> None:
    batch = grid_batch(AXES)
    rows = grid_rows(batch, {"a0": 0.1})
    assert drivers(batch, rows, "first_upper")
    assert drivers(batch, rows[:-1], "first_upper") == []
    assert drivers(batch, [*rows[:-1], {**rows[-1], "status": FAILED}], "first_upper") == []
    assert drivers(batch, rows[1:], "first_upper")  # the base is no part of the grid
    assert drivers(replace(batch, cases=batch.cases[:1], axes={}), rows, "first_upper") == []
    single = grid_batch({"a": ("a0", "a1"), "one": ("only",)})
    assert [driver.axis for driver in drivers(single, grid_rows(single, {"a0": 0.1}), "first_upper")] == ["a"]
