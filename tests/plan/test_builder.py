"""From a scenario to the plan: variance, gap outcomes, regimes, log_levels, histogram, refusals and the digest."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from support.exact_map import book_weights, exact_map
from support.sample_scenario import DELETE, refusal
from support.short_scenarios import CATALYST, SPOT, prepared_of, scenario_of

from sim.compiled import kernel_constants as codes
from sim.compiled.kernel_constants import NO_LEVEL
from sim.engines.numpy_engine import NumpyEngine
from sim.plan import builder as plan_builder
from sim.plan.builder import Prepared, close_half_width, feedback_at_start, prepare
from sim.plan.engine_plan import NO_TABLE
from sim.plan.gaps import gap_outcomes
from sim.plan.regimes import impact_per_bn
from sim.plan.time_grid import build_time_grid
from sim.plan.variance import student_t_variance_atoms
from sim.scenario.model import MAX_REGIMES


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepared_of({"catalyst": [CATALYST]})


# Student-t variance.


@pytest.mark.parametrize("dof", [2.05, 2.5, 5.3, 10.0, 1000.0])
def test_variance_atoms_have_mean_one(dof: float) -> None:
    atoms = student_t_variance_atoms(dof)
    assert atoms.shape == (4096,)
    assert atoms.mean() == pytest.approx(1.0, rel=0, abs=1e-12)
    assert atoms.min() > 0
    assert np.all(np.diff(atoms) < 0)


@pytest.mark.parametrize("dof", [2.5, 5.3, 30.0])
@pytest.mark.parametrize("cell", [0, 1, 17, 2048, 4094, 4095])
def test_variance_atom_is_the_mean_of_its_cell(dof: float, cell: int) -> None:
    """Mean of (ν−2)/χ² over the cell of 1/4096, with χ² = e^u so that both endless cells converge."""
    low, high = stats.chi2.ppf(np.array([cell, cell + 1]) / 4096, dof)
    start, end = np.log(low) if low > 0 else -150.0, np.log(high) if high < np.inf else np.log(dof) + 8
    peak = np.log(stats.chi2.ppf(0.5, dof))
    breaks = [u for u in np.linspace(-30, 0, 7) + peak if start < u < end]
    area, _ = quad(
        lambda u: (dof - 2) * stats.chi2.pdf(np.exp(u), dof),
        start,
        end,
        points=breaks,
        limit=400,
        epsabs=0,
        epsrel=1e-11,
    )
    assert student_t_variance_atoms(dof)[cell] == pytest.approx(4096 * area, rel=1e-9)


@pytest.mark.parametrize(("dof", "lost"), [(6.0, 0.10), (10.0, 0.01), (30.0, 1e-3)])
def test_variance_of_the_atoms(dof: float, lost: float) -> None:
    """Var V = 2/(ν−4), less the little that cells lose by being one atom: the more the heavier the tail."""
    exact = 2 / (dof - 4)
    assert exact * (1 - lost) < student_t_variance_atoms(dof).var() < exact


def test_normal_shocks_need_no_atoms() -> None:
    assert prepared_of({"volatility.tail_dof": None}).plan.variance_atoms.size == 0
    np.testing.assert_array_equal(
        prepared_of().plan.variance_atoms, student_t_variance_atoms(5.3).astype(np.float32)
    )


# Variance of the fundamental.


def test_observed_volatility_is_undone_by_the_feedback_factor(prepared: Prepared) -> None:
    """h0 = annual²/252·m², long-run variance likewise, ω = long run·(1 − α − γ/2 − β)."""
    exact = exact_map(
        prepared.scenario,
        prepared.grid,
        prepared.grid.start_minute,
        book_weights(prepared.scenario)[0],
        True,
        0.25,
    )
    m = float(exact.feedback(np.zeros(1))[0])
    assert feedback_at_start(prepared.clearing_map, prepared.grid) == pytest.approx(m, rel=1e-12)
    assert abs(m - 1) > 0.01
    assert prepared.plan.variance_start == pytest.approx(0.141**2 / 252 * m**2, rel=1e-7)
    plan = prepared.plan
    assert plan.omega == pytest.approx(0.16**2 / 252 * m**2 * (1 - 0.0076 - 0.256 / 2 - 0.845), rel=1e-6)
    assert (plan.alpha, plan.gamma, plan.beta) == tuple(np.float32([0.0076, 0.256, 0.845]))
    assert not plan.constant_variance


def test_fundamental_volatility_is_taken_as_it_is() -> None:
    prepared = prepared_of({"volatility.quoted": "fundamental"})
    assert prepared.plan.variance_start == pytest.approx(0.141**2 / 252, rel=1e-7)
    assert prepared.plan.omega == pytest.approx(0.16**2 / 252 * (1 - 0.0076 - 0.128 - 0.845), rel=1e-6)


def test_constant_variance() -> None:
    still = {"alpha": 0.0, "gamma": 0.0, "beta": 1.0, "long_run_annual": None}
    plan = prepared_of({f"volatility.{key}": value for key, value in still.items()}).plan
    assert plan.constant_variance
    assert (plan.omega, plan.alpha, plan.gamma, plan.beta) == (0, 0, 0, 1)


def test_shares_and_drift(prepared: Prepared) -> None:
    plan = prepared.plan
    assert (plan.sessions, plan.steps_per_session, plan.steps) == (8, 4, 32)
    np.testing.assert_array_equal(plan.share, prepared.grid.share.astype(np.float32))
    np.testing.assert_allclose(plan.root_share.astype(np.float64) ** 2, prepared.grid.share, rtol=2e-7)
    assert plan.session_drift == np.float32(0.02 / 252)


# Gaps.


@pytest.mark.parametrize("jumps", [0.0, 2.0])
@pytest.mark.parametrize("catalysts", [[], [CATALYST]])
def test_gap_mixture_is_catalyst_times_jump(catalysts: list[Any], jumps: float) -> None:
    scenario = scenario_of({"catalyst": catalysts, "jumps.per_year": jumps})
    mixtures = gap_outcomes(scenario, build_time_grid(scenario))
    assert len(mixtures) == 8
    jump = jumps / 252
    for session, mixture in enumerate(mixtures):
        scheduled = bool(catalysts) and session == 2
        outcomes = [tuple(o.values()) for o in CATALYST["outcomes"]] if scheduled else [(1.0, 0.0, 0.0)]
        expected = [(p * (1 - jump), mean, sd**2) for p, mean, sd in outcomes]
        if jump:
            expected += [(p * jump, mean - 0.01, sd**2 + 0.02**2) for p, mean, sd in outcomes]
        np.testing.assert_allclose(mixture, expected, rtol=1e-14)
        assert sum(p for p, _, _ in mixture) == pytest.approx(1.0, abs=1e-15)


def test_outcome_thresholds_share_out_all_words(prepared: Prepared) -> None:
    """Thresholds rise to 2^32 − 1, so that each word has an outcome, with its probability to 2^-32."""
    plan = prepared.plan
    mixtures = gap_outcomes(prepared.scenario, prepared.grid)
    np.testing.assert_array_equal(np.diff(plan.outcome_start), [2, 2, 6, 2, 2, 2, 2, 2])
    assert plan.outcome_threshold.dtype == np.uint32
    for session, mixture in enumerate(mixtures):
        here = slice(plan.outcome_start[session], plan.outcome_start[session + 1])
        thresholds = plan.outcome_threshold[here].astype(np.int64)
        assert thresholds[-1] == 2**32 - 1
        probability, mean, variance = np.array(mixture).T
        np.testing.assert_allclose(
            np.diff(thresholds, prepend=-1) / 2**32, probability, rtol=0, atol=2.0**-31
        )
        np.testing.assert_array_equal(plan.outcome_mean[here], mean.astype(np.float32))
        np.testing.assert_array_equal(plan.outcome_variance[here], variance.astype(np.float32))


def test_quiet_gaps_have_no_outcomes() -> None:
    plan = prepared_of({"jumps": DELETE, "catalyst": [CATALYST]}).plan
    np.testing.assert_array_equal(plan.outcome_start, [0, 0, 0, 3, 3, 3, 3, 3, 3])
    assert plan.outcome_mean.size == 3


# Regimes.


def test_regime_fields(prepared: Prepared) -> None:
    """The sample's regimes: initial, breakout, melt_up, wall_gone, support_lost, institutional_hedging."""
    plan = prepared.plan
    assert prepared.axes.regimes == (
        "initial",
        "breakout",
        "melt_up",
        "wall_gone",
        "support_lost",
        "institutional_hedging",
    )
    above, below, up, down = codes.CLOSES_ABOVE, codes.CLOSES_BELOW, codes.TOUCHES_ABOVE, codes.TOUCHES_BELOW
    assert plan.trigger[1:].tolist() == [above, up, codes.NEVER, below, down]
    levels = np.log(np.array([7020, 7150, SPOT, 6945, 6800]) / SPOT)
    np.testing.assert_allclose(plan.trigger_level[1:], levels, rtol=1e-6, atol=1e-12)
    # Above the start: 6945, 7000, 7020, 7100, 7150; below: 6800, 6300.
    assert plan.trigger_rank.tolist() == [-1, -1, 4, -1, -1, 0]
    assert plan.trigger_closes.tolist() == [0, 2, 0, 0, 2, 0]
    assert plan.lasts.tolist() == [0, 0, 5, 0, 0, 0]
    assert plan.successor.tolist() == [0, 0, 3, 0, 0, 0]
    assert plan.book_of_regime.tolist() == [0, 1, 2, 2, 3, 4]
    per_step = 3.5e-4 / 3
    np.testing.assert_allclose(plan.regime_flow, np.array([0, 0, 8, 0, 0, -5]) * per_step, rtol=1e-6)


def test_regimes_may_be_entered_from_any_other_unless_told(prepared: Prepared) -> None:
    allowed = prepared.plan.allowed_from
    assert allowed.shape == (6, 6)
    assert not allowed[0].any()
    for regime in (1, 2, 3):
        assert allowed[regime].tolist() == [present != regime for present in range(6)]
    assert allowed[4].tolist() == [True, True, False, False, False, False]
    assert allowed[5].tolist() == [True, False, False, False, True, False]


@pytest.mark.parametrize(
    ("when", "level", "started"),
    [
        ("closes_below", 6945, 1),
        ("closes_below", 6900, 0),
        ("closes_below", SPOT, 0),
        ("closes_above", 6900, 1),
        ("closes_above", 6945, 0),
        ("closes_above", SPOT, 0),
        ("touches_above", 7100, 0),
        ("touches_below", 6800, 0),
    ],
)
def test_the_close_of_as_of_counts_as_the_first(when: str, level: float, started: int) -> None:
    plan = prepared_of({"regime": [{"name": "only", "when": when, "level": level}]}).plan
    assert plan.run_start.tolist() == [0, started]


def test_impact_and_its_fading() -> None:
    """A trading step keeps 2^(−1/(H·M)) of the impact."""
    assert impact_per_bn(scenario_of()) == pytest.approx(3.5e-4, rel=1e-14)
    assert prepared_of().plan.fade == np.float32(1 - 2 ** (-1 / (2.0 * 3)))
    assert prepared_of({"dealers.impact_half_life": 0.0}).plan.fade == 0


# Levels and barriers.


def test_levels_are_split_at_the_start_nearest_first(prepared: Prepared) -> None:
    plan = prepared.plan
    assert prepared.axes.levels == (6300, 6800, 6945, 7000, 7020, 7100, 7150)
    assert plan.level_count.tolist() == [5, 2]
    above = np.log(np.array([6945, 7000, 7020, 7100, 7150]) / SPOT)
    below = -np.log(np.array([6800, 6300]) / SPOT)
    np.testing.assert_allclose(plan.level[0], [*above, NO_LEVEL], rtol=1e-6)
    np.testing.assert_allclose(plan.level[1], [*below, *[NO_LEVEL] * 4], rtol=1e-6)
    assert plan.target_rank.tolist() == [3, 0]


def test_barriers_rise_outward_and_end_out_of_reach(prepared: Prepared) -> None:
    plan = prepared.plan
    for barriers in (plan.barrier_start, plan.barrier_end):
        assert barriers.shape == (32, 2, 5, 6)
        assert barriers.dtype == np.float32
        for side, count in enumerate(plan.level_count):
            assert np.all(np.diff(barriers[:, side, :, :count], axis=-1) > 0)
            assert np.all(barriers[:, side, :, count:] == NO_LEVEL)


def test_hedge_and_barriers_at_the_start(prepared: Prepared) -> None:
    """y = Φ(0) = κ·D; the distance to a level is σ·(Φ(L) − y), positive on both sides."""
    plan, grid, scenario = prepared.plan, prepared.grid, prepared.scenario
    exact = exact_map(scenario, grid, grid.start_minute, book_weights(scenario)[0], True, 0.25)
    hedge = float(exact.value(np.zeros(1))[0])
    assert plan.hedge_start == pytest.approx(hedge, rel=1e-6)
    up, down = exact.value(np.log(np.array([6945.0, 6800.0]) / SPOT)) - hedge
    assert plan.barrier_start[0, 0, 0, 0] - plan.hedge_start == pytest.approx(up, abs=2e-8)
    assert plan.barrier_start[0, 1, 0, 0] + plan.hedge_start == pytest.approx(-down, abs=2e-8)
    assert up > 0 > down


def test_identity_plan_has_levels_for_barriers_and_no_tables() -> None:
    plan = prepared_of({"dealers.impact_bp_per_bn": 0.0}).plan
    assert plan.identity_map
    assert plan.hedge_start == 0
    assert plan.lines.shape == (0, 2)
    assert set(plan.step_table.tolist()) == set(plan.rebase_table.tolist()) == {NO_TABLE}
    assert not plan.settles.any()
    for barriers in (plan.barrier_start, plan.barrier_end):
        for book in range(plan.books):
            np.testing.assert_array_equal(barriers[:, :, book], np.broadcast_to(plan.level, (32, 2, 6)))


SETTLING = {"dealers.position[0].expiry": dt.date(2026, 2, 13), "dealers.position[2].settlement": "PM"}


@pytest.mark.parametrize("regimes", [True, False])
def test_books_are_rebased_where_they_change(regimes: bool) -> None:
    """At a settlement, here the open of the third session and the close of the last; with regimes at each close."""
    edits = {**SETTLING, "dealers.position[2].expiry": dt.date(2026, 2, 23)}
    plan = prepared_of(edits if regimes else {**edits, "regime": []}).plan
    assert np.flatnonzero(plan.settles).tolist() == [8, 31]
    rebased = np.flatnonzero(plan.rebase_table != NO_TABLE).tolist()
    assert rebased == ([3, 7, 8, 11, 15, 19, 23, 27, 31] if regimes else [8, 31])
    tables = [*plan.step_table.tolist(), *(t for t in plan.rebase_table.tolist() if t != NO_TABLE)]
    assert sorted(tables) == list(range(plan.table_start.size))
    assert plan.table_start[0] == 0
    ends = [*plan.table_start[1:].tolist(), len(plan.lines)]
    for start, end, panels, scale in zip(
        plan.table_start, ends, plan.table_panels, plan.table_scale.astype(np.float64), strict=True
    ):
        # Each panel of each book leads from where it begins to as many segments as its slope tells, without a gap.
        intercept, slope = plan.lines[start : start + panels * plan.books].astype(np.float64).T
        panel_start = (np.arange(slope.size) % panels - scale[1]) / scale[0]
        first, segments = np.rint(intercept + slope * panel_start), np.rint(slope / scale[0])
        assert first[0] == slope.size
        np.testing.assert_array_equal(first + segments, [*first[1:], end - start])


def test_axes(prepared: Prepared) -> None:
    axes, plan = prepared.axes, prepared.plan
    assert (axes.scenario, axes.spot, axes.as_of) == ("sample", SPOT, dt.date(2026, 2, 10))
    assert axes.sessions == prepared.grid.sessions
    assert (axes.upper, axes.lower, axes.steps_per_session) == (7100, 6800, 3)
    np.testing.assert_array_equal(axes.step_time, prepared.grid.step_time)
    assert axes.close_edges.size == plan.close_bins + 1
    logs = np.log(axes.close_edges / SPOT)
    np.testing.assert_allclose(np.diff(logs), 1 / plan.close_scale, rtol=1e-9)
    assert logs[0] == pytest.approx(float(plan.close_low), abs=1e-12)
    assert logs[-1] == pytest.approx(-float(plan.close_low), abs=1e-9)


def test_close_histogram_covers_nine_deviations() -> None:
    scenario = scenario_of()
    grid = build_time_grid(scenario)
    deviation = 0.16 * np.sqrt(8 / 252)
    half_width = close_half_width(scenario, 1.0, grid)
    assert 9 * deviation <= half_width < 9 * deviation + 1 / 16
    assert (half_width * 16).is_integer()
    assert close_half_width(scenario, 4.0, grid) >= 18 * deviation


def test_outcome_of_probability_zero_never_happens() -> None:
    outcomes = [{"probability": p, "mean": m, "sd": 0.0} for p, m in ((0.0, 0.5), (1.0, 0.001), (0.0, -0.5))]
    catalyst = [{"session": dt.date(2026, 2, 12), "name": "CPI", "outcomes": outcomes}]
    plan = prepared_of({"catalyst": catalyst, "jumps": DELETE}).plan
    assert plan.outcome_start.tolist() == [0, 0, *[1] * 7]
    certain = prepared_of({"jumps": {"per_year": 252.0, "mean": 0.01, "sd": 0.0}}).plan
    assert certain.outcome_threshold.tolist() == [2**32 - 1] * 8
    np.testing.assert_array_equal(plan.outcome_mean, np.float32([0.001]))
    np.testing.assert_array_equal(plan.outcome_threshold, np.uint32([2**32 - 1]))


def test_too_many_steps_for_the_counts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_builder, "MOST_OUTCOME_BYTES", 1 << 16)
    (problem,) = refusal(lambda: prepare(scenario_of(), "wall.toml")).problems
    assert (problem.where, problem.key) == ("wall.toml", "volatility.steps_per_session")
    assert "counts for" in problem.why


def test_most_regimes_run() -> None:
    """31 regimes: one bit each of an int32."""
    regimes = [
        {"name": f"r{i}", "when": "closes_above", "level": 6500 + i, "closes": 1} for i in range(MAX_REGIMES)
    ]
    plan = prepared_of({"regime": regimes}).plan
    counts = NumpyEngine(1).run(plan, 1, 0, 50).regime
    assert (counts.sum(axis=1) == 50).all()
    # one regime a close, in the order listed
    assert (counts[range(8), range(1, 9)] > 25).all()
