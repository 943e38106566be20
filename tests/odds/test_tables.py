from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from support.places import ROOT
from support.sample_outcomes import LEVELS, SESSIONS, SampleRun, sample_axes, sample_closes, sample_outcomes

from sim.errors import GammawallError
from sim.odds import tables as odds
from sim.odds.estimates import paired_difference_estimate, proportion_estimate
from sim.odds.plain import plain_odds
from sim.odds.tables import TABLES
from sim.plan.outcomes import Outcomes, OutcomeShape
from sim.run.simulation import Result
from sim.scenario.file import load_scenario

ODDS_COLUMNS = [
    "scenario",
    "event",
    "level",
    "dealers",
    "probability",
    "std_error",
    "ci_low",
    "ci_high",
    "paths",
]
PASSAGE_COLUMNS = ["scenario", "level", "dealers", "session", "date", "step", "time", "probability"]
DISTRIBUTION_COLUMNS = ["scenario", "session", "date", "price_low", "price_high", "count", "probability"]
SHARE_COLUMNS = ["probability", "std_error", "ci_low", "ci_high"]


@pytest.fixture(scope="module")
def run() -> SampleRun:
    return SampleRun()


def row(table: pd.DataFrame, **wanted: object) -> pd.Series:
    chosen = table
    for column, value in wanted.items():
        chosen = chosen[chosen[column] == value]
    assert len(chosen) == 1
    return chosen.iloc[0]


# --- intervals


@pytest.mark.parametrize("paths", [1, 7, 1000, 10**6])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.5, 1.0])
def test_proportion_interval_is_wilsons(share: float, paths: int) -> None:
    count = round(share * paths)
    estimate = proportion_estimate(count, paths)
    expected = stats.binomtest(count, paths).proportion_ci(0.95, method="wilson")
    assert float(estimate.ci_low) == pytest.approx(expected.low, abs=1e-12)
    assert float(estimate.ci_high) == pytest.approx(expected.high, abs=1e-12)


def test_proportion_std_error_is_the_binomial_one_and_never_claims_certainty() -> None:
    estimate = proportion_estimate(np.array([0, 1, 250, 1000]), 1000)
    assert estimate.std_error[1:3] == pytest.approx(
        [math.sqrt(0.001 * 0.999 / 1000), math.sqrt(0.1875 / 1000)]
    )
    assert estimate.std_error[0] == estimate.std_error[3] == pytest.approx(0.98 / 1000, rel=0.01)
    assert estimate.ci_low[0] == 0.0
    assert estimate.ci_high[3] == 1.0
    assert estimate.ci_high[0] == pytest.approx(3.84 / 1003.84, rel=1e-3)


def test_paired_interval_is_bonett_and_prices() -> None:
    # the worked example of Bonett's own R function for within-subject proportions: 26 and 4 discordant of 40
    estimate = paired_difference_estimate(26, 4, 40)
    assert float(estimate.probability) == pytest.approx(22 / 40)
    assert float(estimate.ci_low) == pytest.approx(0.3126438, abs=1e-7)
    assert float(estimate.ci_high) == pytest.approx(0.7349752, abs=1e-7)


def test_paired_std_error_is_that_of_the_mean_of_paired_differences() -> None:
    b, c, paths = 137, 60, 1500
    differences = np.concatenate([np.ones(b), -np.ones(c), np.zeros(paths - b - c)])
    estimate = paired_difference_estimate(b, c, paths)
    assert float(estimate.probability) == pytest.approx(differences.mean())
    assert float(estimate.std_error) == pytest.approx(differences.std() / math.sqrt(paths))


@pytest.mark.parametrize("paths", [1, 10, 10**6, 10**10])
def test_paired_interval_keeps_a_width_without_discordant_paths(paths: int) -> None:
    estimate = paired_difference_estimate(0, 0, paths)
    assert float(estimate.probability) == 0.0
    assert float(estimate.ci_low) < 0 < float(estimate.ci_high)
    assert float(estimate.ci_high) <= min(1.0, 3 / paths)
    assert float(estimate.std_error) > 0


@given(st.integers(1, 10**9), st.data())
def test_intervals_hold_the_estimate_and_stay_in_range(paths: int, data: st.DataObject) -> None:
    b = data.draw(st.integers(0, paths))
    c = data.draw(st.integers(0, paths - b))
    share, difference = proportion_estimate(b, paths), paired_difference_estimate(b, c, paths)
    assert 0 <= share.ci_low <= share.probability <= share.ci_high <= 1
    assert -1 <= difference.ci_low <= difference.probability <= difference.ci_high <= 1
    assert share.ci_low < share.ci_high
    assert difference.ci_low < difference.ci_high
    assert share.std_error > 0
    assert difference.std_error > 0
    swapped = paired_difference_estimate(c, b, paths)
    assert float(swapped.ci_low) == pytest.approx(-float(difference.ci_high), abs=1e-15)


@pytest.mark.parametrize(("share", "paths"), [(0.5, 1000), (0.03, 1000), (0.005, 1000), (0.2, 50)])
def test_proportion_interval_covers(share: float, paths: int) -> None:
    counts = np.arange(paths + 1)
    estimate = proportion_estimate(counts, paths)
    covered = (estimate.ci_low <= share) & (share <= estimate.ci_high)
    # exact sum over all outcomes, no sampling: Wilson's coverage oscillates around 0.95
    assert stats.binom.pmf(counts, paths, share)[covered].sum() == pytest.approx(0.95, abs=0.025)


@pytest.mark.parametrize(
    ("only_with", "only_without"), [(0.2, 0.1), (0.05, 0.05), (0.01, 0.002), (0.001, 0.001), (0.004, 0.0)]
)
def test_paired_interval_covers(only_with: float, only_without: float) -> None:
    rng = np.random.default_rng(7)
    paths, draws = 2000, 20_000
    cells = rng.multinomial(paths, [only_with, only_without, 1 - only_with - only_without], size=draws)
    estimate = paired_difference_estimate(cells[:, 0], cells[:, 1], paths)
    truth = only_with - only_without
    coverage = np.mean((estimate.ci_low <= truth) & (truth <= estimate.ci_high))
    # fixed seed; the standard error of a coverage near 0.95 is 0.0015, so were the coverage 0.95 a fresh seed
    # would fail in fewer than 1e-6 of all cases; sparse tables are covered more often than promised
    assert coverage > 0.94
    if min(only_with, only_without) * paths > 50:
        assert coverage == pytest.approx(0.95, abs=0.01)


# --- the list of tables


def test_the_tables_of_a_run() -> None:
    # their names are files and attributes that users rely on
    assert list(TABLES) == ["odds", "first_passage", "distribution", "quantiles", "regimes"]
    assert [table.file_name for table in TABLES.values()] == [f"{name}.csv" for name in TABLES]


def test_every_table_begins_with_the_scenario_and_has_rows(run: SampleRun) -> None:
    for table in TABLES.values():
        frame = table.frame(run.outcomes, run.axes)
        assert list(frame) == list(table.columns(run.outcomes, run.axes))
        assert frame.columns[0] == "scenario"
        assert len(frame) > 0
        assert (frame["scenario"] == "sample").all()


def test_every_table_is_declared_as_an_attribute_of_a_result(run: SampleRun) -> None:
    declared = {name for name, value in vars(Result).items() if isinstance(value, cached_property)}
    assert declared - {"headline_odds"} == set(TABLES)
    assert declared <= set(dir(Result))
    result = Result(load_scenario("siege-of-7000"), run.axes, run.outcomes, {}, {})
    for name, table in TABLES.items():
        found = getattr(result, name)
        assert found is getattr(result, name), "made once"
        pd.testing.assert_frame_equal(found, table.frame(run.outcomes, run.axes))
        assert table.file_name in str(getattr(Result, name).__doc__)


def test_the_readme_lists_the_tables() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for table in TABLES.values():
        assert f"| `{table.file_name}` | {table.summary} |" in readme


# --- odds


def test_odds_table_has_every_event_in_three_versions(run: SampleRun) -> None:
    table = run.odds
    assert list(table.columns) == ODDS_COLUMNS
    assert table["event"].unique().tolist() == ["first_upper", "first_lower", "neither", "touch"]
    assert len(table) == 3 * (3 + len(LEVELS))
    assert set(table["dealers"]) == {"with", "without", "difference"}
    assert row(table, event="first_upper", dealers="with")["level"] == 7100
    assert row(table, event="first_lower", dealers="with")["level"] == 6800
    assert math.isnan(row(table, event="neither", dealers="with")["level"])
    assert sorted(table[table["event"] == "touch"]["level"].unique()) == sorted(LEVELS)
    assert (table["paths"] == run.outcomes.paths).all()
    assert not table[SHARE_COLUMNS].isna().any().any()


def test_odds_agree_with_a_count_over_the_paths_themselves() -> None:
    paths = 500
    run = SampleRun(outcomes=sample_outcomes(paths, seed=3))
    with_dealers, without = sample_closes(paths, seed=3)
    for level in LEVELS:
        hits = []
        for prices in (with_dealers, without):
            high, low = prices.max(axis=1), prices.min(axis=1)
            hits.append(high >= level if level > run.axes.spot else low <= level)
        for dealers, expected in zip(("with", "without"), hits, strict=True):
            assert (
                row(run.odds, event="touch", level=level, dealers=dealers)["probability"] == expected.mean()
            )
        difference = row(run.odds, event="touch", level=level, dealers="difference")
        paired = hits[0].astype(float) - hits[1]
        assert difference["probability"] == pytest.approx(paired.mean())
        if paired.any():
            assert difference["std_error"] == pytest.approx(paired.std() / math.sqrt(paths))


def test_joint_table_is_read_the_right_way_round() -> None:
    run = SampleRun()
    untouched = {"touch": run.outcomes.touch * 0, "touch_both": run.outcomes.touch_both * 0}
    joint = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]])
    table = TABLES["odds"].frame(replace(run.outcomes, joint=joint, paths=450, **untouched), run.axes)
    assert row(table, event="first_upper", dealers="with")["probability"] == 150 / 450
    assert row(table, event="first_upper", dealers="without")["probability"] == 150 / 450
    assert row(table, event="first_lower", dealers="with")["probability"] == 240 / 450
    assert row(table, event="first_lower", dealers="without")["probability"] == 180 / 450
    assert row(table, event="neither", dealers="without")["probability"] == 120 / 450
    difference = row(table, event="first_lower", dealers="difference")
    expected = paired_difference_estimate(70 + 80, 30 + 60, 450)
    assert difference[SHARE_COLUMNS].tolist() == pytest.approx([float(value) for value in expected])


def test_first_targets_sum_to_one_and_their_differences_to_zero(run: SampleRun) -> None:
    table = run.odds[run.odds["event"] != "touch"]
    sums = table.groupby("dealers")["probability"].sum()
    assert sums["with"] == pytest.approx(1.0, abs=1e-12)
    assert sums["without"] == pytest.approx(1.0, abs=1e-12)
    assert sums["difference"] == pytest.approx(0.0, abs=1e-12)


def test_no_path_is_refused(run: SampleRun) -> None:
    axes = sample_axes()
    none = Outcomes.zeros(
        OutcomeShape(axes.step_time.size, len(LEVELS), SESSIONS, 2, axes.close_edges.size - 1)
    )
    for table in TABLES.values():
        with pytest.raises(AssertionError, match="no path"):
            table.columns(none, axes)


def test_counts_that_do_not_add_up_make_no_odds() -> None:
    """In no table and not in plain form, whether or not assertions are compiled away."""
    lost = sample_outcomes()
    lost.joint[0, 0] -= 1
    for made in (TABLES["odds"].columns, plain_odds):
        with pytest.raises(
            GammawallError, match=r"^the counts do not add up: 1,999 first targets of 2,000 paths"
        ):
            made(lost, sample_axes())


def test_tables_of_merged_counts_are_those_of_one_run() -> None:
    axes = sample_axes()
    merged = sample_outcomes(300, seed=1) + sample_outcomes(700, seed=2)
    probability = TABLES["odds"].frame(merged, axes)["probability"]
    parts = [
        TABLES["odds"].frame(sample_outcomes(n, seed=s), axes)["probability"] for n, s in ((300, 1), (700, 2))
    ]
    assert probability.to_numpy() == pytest.approx((0.3 * parts[0] + 0.7 * parts[1]).to_numpy())


# --- first passage


def test_first_passage_is_cumulative_and_ends_at_the_odds(run: SampleRun) -> None:
    table = run.first_passage
    assert list(table.columns) == PASSAGE_COLUMNS
    assert len(table) == len(LEVELS) * 2 * run.axes.step_time.size
    for (level, dealers), curve in table.groupby(["level", "dealers"]):
        assert curve["time"].tolist() == run.axes.step_time.tolist()
        assert (curve["probability"].diff().dropna() >= 0).all()
        final = row(run.odds, event="touch", level=level, dealers=dealers)["probability"]
        assert curve["probability"].iloc[-1] == pytest.approx(final, abs=1e-15)


def test_first_passage_labels_sessions_dates_and_steps(run: SampleRun) -> None:
    curve = run.first_passage.query("level == 7100 and dealers == 'with'").reset_index()
    assert curve["session"].tolist() == [d for d in range(1, SESSIONS + 1) for _ in range(4)]
    assert curve["step"].tolist() == [0, 1, 2, 3] * SESSIONS
    assert [str(day.date()) for day in curve["date"].unique()] == [str(day) for day in run.axes.sessions]
    k = LEVELS.index(7100.0)
    for world, dealers in enumerate(("with", "without")):
        curve = run.first_passage.query(f"level == 7100 and dealers == '{dealers}'")
        expected = run.outcomes.touch[world, k].cumsum() / run.outcomes.paths
        assert curve["probability"].to_numpy() == pytest.approx(expected)


def test_farther_levels_are_touched_less(run: SampleRun) -> None:
    curves = run.first_passage.pivot_table(index=["dealers", "time"], columns="level", values="probability")
    assert (curves[7100.0] <= curves[7000.0]).all()
    assert (curves[6600.0] <= curves[6800.0]).all()
    assert (curves[6800.0] <= curves[6945.0] + 1).all()


# --- distribution and quantiles


def test_distribution_keeps_every_path_in_bins_of_about_five_points(run: SampleRun) -> None:
    table = run.distribution
    assert list(table.columns) == DISTRIBUTION_COLUMNS
    assert (table["count"] > 0).all()
    assert (table.groupby("session")["count"].sum() == run.outcomes.paths).all()
    assert table.groupby("session")["probability"].sum().to_numpy() == pytest.approx(np.ones(SESSIONS))
    width = table["price_high"] - table["price_low"]
    fine = np.diff(run.axes.close_edges).max()
    assert (abs(width - 5.0) <= fine + 1e-9).all()
    assert len(table) < 300 * SESSIONS


def test_distribution_bins_hold_the_closes_between_their_edges(run: SampleRun) -> None:
    closes = sample_closes()[0][:, 3::4]
    for item in run.distribution.sample(40, random_state=1).itertuples():
        day = closes[:, item.session - 1]
        assert item.count == np.sum((day >= item.price_low) & (day < item.price_high))


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 500.0), st.integers(1, 400), st.floats(0.01, 2.0))
def test_joined_bins_partition_any_histogram(width: float, bins: int, span: float) -> None:
    axes = replace(sample_axes(bins, span))
    rng = np.random.default_rng(bins)
    closes = rng.integers(0, 3, (SESSIONS, bins + 2))
    closes[:, 1] += closes.sum(axis=1).max() - closes.sum(axis=1)
    paths = int(closes[0].sum()) or 1
    closes[:, 1] += paths - closes.sum(axis=1)
    outcomes = replace(sample_outcomes(10), closes=closes, paths=paths, joint=np.diag([paths, 0, 0]))
    table = pd.DataFrame(odds.distribution_columns(outcomes, axes, width=width))
    assert (table.groupby("session")["count"].sum() == paths).all()
    for _, day in table.groupby("session"):
        assert (day["price_high"].to_numpy()[:-1] <= day["price_low"].to_numpy()[1:]).all()
        assert (day["price_low"] < day["price_high"]).all()


def test_closes_beyond_the_histogram_have_rows_and_no_quantile() -> None:
    axes = sample_axes()
    outcomes = sample_outcomes(1000)
    outcomes.closes[:] = 0
    outcomes.closes[:, 0], outcomes.closes[:, 2000], outcomes.closes[:, -1] = 30, 950, 20
    table = TABLES["distribution"].frame(outcomes, axes)
    first = table[table["session"] == 1]
    assert first["price_low"].tolist()[0] == 0.0
    assert first["price_high"].tolist()[0] == axes.close_edges[0]
    assert first["price_low"].tolist()[-1] == axes.close_edges[-1]
    assert first["price_high"].tolist()[-1] == math.inf
    assert first["count"].tolist() == [30, 950, 20]
    prices = TABLES["quantiles"].frame(outcomes, axes).set_index(["session", "quantile"])["price"]
    assert math.isnan(prices[1, 0.01])
    assert math.isnan(prices[1, 0.99])
    low, high = axes.close_edges[1999], axes.close_edges[2000]
    assert prices[1, 0.05] == pytest.approx(low + (50 - 30) / 950 * (high - low))


def test_quantiles_are_those_of_the_closes(run: SampleRun) -> None:
    table = run.quantiles
    assert list(table.columns) == ["scenario", "session", "date", "quantile", "price"]
    assert table["quantile"].unique().tolist() == [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]
    closes = sample_closes()[0][:, 3::4]
    fine = np.diff(run.axes.close_edges).max()
    for item in table.itertuples():
        exact = np.quantile(closes[:, item.session - 1], item.quantile, method="inverted_cdf")
        assert abs(item.price - exact) <= fine
    assert (table.groupby("session")["price"].diff().dropna() > 0).all()


def test_quantiles_of_closes_spread_evenly_over_one_bin_are_linear_in_it() -> None:
    axes = sample_axes(bins=10)
    outcomes = replace(sample_outcomes(100), closes=np.zeros((SESSIONS, 12), dtype=np.int64))
    outcomes.closes[:, 4] = 100
    prices = TABLES["quantiles"].frame(outcomes, axes).query("session == 2")["price"].to_numpy()
    low, high = axes.close_edges[3], axes.close_edges[4]
    assert (prices - low) / (high - low) == pytest.approx(np.array(odds.QUANTILES))


# --- regimes and times


def test_regime_table_is_a_distribution_after_each_session(run: SampleRun) -> None:
    table = run.regimes
    assert list(table.columns) == ["scenario", "session", "date", "regime", "probability"]
    assert table["regime"].tolist() == ["initial", "breakout"] * SESSIONS
    assert table.groupby("session")["probability"].sum().to_numpy() == pytest.approx(np.ones(SESSIONS))
    last = row(table, session=SESSIONS, regime="breakout")
    assert last["probability"] == run.outcomes.regime[-1, 1] / run.outcomes.paths


def test_sessions_to_target_are_quantiles_of_the_touching_paths(run: SampleRun) -> None:
    table = odds.sessions_to_target(run.outcomes, run.axes)
    assert table["target"].tolist() == ["upper", "upper", "lower", "lower"]
    assert table["dealers"].tolist() == ["with", "without"] * 2
    for item in table.itertuples():
        world = ("with", "without").index(item.dealers)
        counts = run.outcomes.touch[world, LEVELS.index(item.level)]
        times = np.repeat(run.axes.step_time, counts)
        assert item.probability == times.size / run.outcomes.paths
        for percent in (5, 50, 95):
            expected = np.quantile(times, percent / 100, method="inverted_cdf")
            assert getattr(item, f"sessions_{percent}") == pytest.approx(expected)


def test_sessions_to_a_target_nobody_touches_are_empty(run: SampleRun) -> None:
    outcomes = replace(run.outcomes, touch=run.outcomes.touch * 0)
    table = odds.sessions_to_target(outcomes, run.axes)
    assert (table["probability"] == 0).all()
    assert table[["sessions_5", "sessions_50", "sessions_95"]].isna().all().all()
