"""A peer is one only if it computes the same thing: its counts must have the law of world 1 of our own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from support.places import ROOT
from support.short_scenarios import CATALYST, prepared_of

from sim.engines.numpy_engine import NumpyEngine
from sim.plan.builder import prepare
from sim.plan.engine_plan import EnginePlan
from sim.plan.outcomes import WITHOUT
from sim.scenario.file import load_scenario

PATHS = 100_000
# Jumps, a catalyst and a drift large enough for their absence to be seen; the built-in scenario has none.
EVENTFUL = {
    "catalyst": [CATALYST],
    "jumps": {"per_year": 60.0, "mean": -0.01, "sd": 0.01},
    "drift.annual": 0.5,
    "targets.upper": 7050.0,
}
NORMAL = {
    "volatility.tail_dof": None,
    "volatility.overnight_share": 0.0,
    "jumps": {"per_year": 0.0, "mean": 0.0, "sd": 0.0},
}


@pytest.fixture(autouse=True)
def import_from_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


@cache
def plan_named(name: str) -> EnginePlan:
    if name == "siege-of-7000":
        return prepare(load_scenario(name)).plan
    return prepared_of({"eventful": EVENTFUL, "normal": NORMAL}[name]).plan


@cache
def our_events(name: str) -> np.ndarray:
    outcomes = NumpyEngine(1).run(plan_named(name), 1, 0, PATHS)
    return events(plan_named(name), outcomes.first[WITHOUT], outcomes.touch[WITHOUT])


def events(plan: EnginePlan, first: np.ndarray, touch: np.ndarray) -> np.ndarray:
    """Paths that saw each event, (3 + levels, 5): upper first, lower first, neither, touches; at any time, in the
    first gap, in later gaps, while the first session trades and while later ones do.
    """
    neither = np.zeros((1, plan.steps), dtype=np.int64)
    counts = np.concatenate((first, neither, touch)).reshape(-1, plan.sessions, plan.steps_per_session)
    gaps, trading = counts[:, :, 0], counts[:, :, 1:].sum(axis=2)
    parts = [part for steps in (gaps, trading) for part in (steps[:, 0], steps[:, 1:].sum(axis=1))]
    ever = counts.sum(axis=(1, 2))
    ever[2] = PATHS - first.sum()
    return np.stack([ever, *parts], axis=1)


def largest_z(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference of two proportions in standard errors; both are out of PATHS."""
    pooled = (ours + theirs) / (2 * PATHS)
    error = np.sqrt(pooled * (1 - pooled) * 2 / PATHS)
    difference = np.abs(ours - theirs) / PATHS
    assert np.all(difference[error == 0] == 0)
    return float(np.max(difference[error > 0] / error[error > 0]))


def peer_of(name: str, plan: EnginePlan, **options: Any) -> Any:
    if name == "NumbaPaths":
        pytest.importorskip("numba")
    import peers

    return getattr(peers, name)(plan, **options)


# 45 proportions, three scenarios, two peers: by chance, 4 standard errors are exceeded with 1.7% of seeds at most.
@pytest.mark.parametrize("name", ["NumbaPaths", "ArrayPaths"])
@pytest.mark.parametrize("scenario", ["siege-of-7000", "eventful", "normal"])
def test_odds_are_those_of_the_world_without_dealers(scenario: str, name: str) -> None:
    plan = plan_named(scenario)
    result = peer_of(name, plan).run(PATHS)
    assert result.paths == PATHS
    assert largest_z(our_events(scenario), events(plan, result.first, result.touch)) < 4


@pytest.mark.parametrize(
    ("scenario", "change"),
    [
        ("siege-of-7000", {"variance_start": np.float32(9e-5)}),
        ("siege-of-7000", {"gamma": np.float32(0)}),
        ("siege-of-7000", {"variance_atoms": np.empty(0, dtype=np.float32)}),
        ("eventful", {"outcome_start": np.zeros(9, dtype=np.int32)}),
        ("eventful", {"session_drift": np.float32(0)}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_another_market_would_be_told_apart(scenario: str, change: dict[str, Any]) -> None:
    plan = plan_named(scenario)
    result = peer_of("ArrayPaths", replace(plan, **change)).run(PATHS)
    assert largest_z(our_events(scenario), events(plan, result.first, result.touch)) > 6


def test_numba_counts_do_not_depend_on_threads_but_on_the_seed() -> None:
    numba = pytest.importorskip("numba")
    plan = prepared_of().plan
    paths = 10_000  # more than one chunk
    threads = min(2, numba.config.NUMBA_NUM_THREADS)
    one, more, other = (
        peer_of("NumbaPaths", plan, threads=t, seed=s).run(paths) for t, s in ((1, 5), (threads, 5), (1, 6))
    )
    np.testing.assert_array_equal(one.touch, more.touch)
    np.testing.assert_array_equal(one.first, more.first)
    assert not np.array_equal(one.touch, other.touch)


def test_numba_normals_are_normal() -> None:
    """Chi-square over 200 equally likely cells and four of each tail, the ziggurat's own tail among them."""
    numba = pytest.importorskip("numba")
    from numba_kernel import TAIL_START, normal, path_state
    from scipy import stats

    @numba.njit
    def draw(n: int) -> np.ndarray:
        state, out = path_state(3, 0), np.empty(n)
        for i in range(n):
            state, out[i] = normal(state)
        return out

    n = 4_000_000
    centre = stats.norm.ppf(np.arange(1, 200) / 200)
    tails = np.array([3.0, 3.3, TAIL_START, 4.2])
    edges = np.concatenate(([-np.inf], -tails[::-1], centre, tails, [np.inf]))
    seen, _ = np.histogram(draw(n), edges)
    expected = n * np.diff(stats.norm.cdf(edges))
    # 1 in 10,000 seeds fails
    assert stats.chi2.sf(np.sum((seen - expected) ** 2 / expected), seen.size - 1) > 1e-4


def test_numba_bridge_touches_two_levels_with_their_exact_probabilities() -> None:
    numba = pytest.importorskip("numba")
    from numba_kernel import climb, near, path_state

    @numba.njit
    def touches(levels: np.ndarray, variance: float, n: int) -> np.ndarray:
        state, touch = path_state(4, 0), np.zeros((2, 1), dtype=np.int64)
        for _ in range(n):
            if near(levels[0] - 0.1, levels[0] + 0.1, variance):
                state, _ = climb(levels, 0, 0.1, -0.1, variance, state, touch, 0)
        return touch[:, 0]

    n, levels = 4_000_000, np.array([1.0, 1.2, np.inf])
    for exponent in (0.05, 0.7, 3.0, 6.0):
        variance = 2 * 0.9 * 1.1 / exponent
        expected = np.exp(-2 * (levels[:2] - 0.1) * (levels[:2] + 0.1) / variance)
        error = np.sqrt(expected * (1 - expected) / n)
        # 8 proportions: 1 in 2,000 seeds fails
        np.testing.assert_array_less(np.abs(touches(levels, variance, n) / n - expected), 4 * error)


def test_quantlib_prices_its_own_option() -> None:
    ql = pytest.importorskip("QuantLib")
    import peers

    peer = peers.QuantLibBarrier(prepared_of())
    price, error = peer.run(20_000)
    peer.option.setPricingEngine(ql.AnalyticBarrierEngine(peer.process))
    assert abs(price - peer.option.NPV()) < 4 * error
    assert error < 0.05 * price


def test_speeds_are_ratios_within_a_round() -> None:
    """A machine that is twice as slow in one round changes no speed."""
    pytest.importorskip("numba")
    import engines

    def contestant(name: str, seconds: list[float]) -> Any:
        return engines.Contestant(name, 1, 1000, lambda _: None, "", 0.0, None, seconds)

    ours, base = contestant("ours", [1.0, 2.0, 1.0]), contestant("base", [8.0, 16.0, 9.0])
    table = engines.table_of([ours, base], 10)
    assert table["speed"].to_list() == [8.0, 1.0]
    assert table["lowest_speed"].to_list() == [8.0, 1.0]
    assert table["highest_speed"].to_list() == [9.0, 1.0]
    assert table["ns_per_path_step"].to_list() == pytest.approx([1e5, 9e5])


def test_every_engine_here_is_a_contestant_and_counts_the_same() -> None:
    pytest.importorskip("numba")
    import engines

    plan = prepared_of().plan
    found = list(engines.our_engines(plan, 300, 200, [1, 2]))
    assert [one.counts for one in found] == ["first", *["identical"] * (len(found) - 1)]
    assert {one.name for one in found} == {s.engine for s in engines.engine_states() if s.available}
    for one in found:
        one.take_turn()
        assert one.seconds[0] > 0


def test_no_module_of_the_package_needs_numba() -> None:
    code = "import sys; import sim.run.simulation, sim.cli.main, sim.plan.builder; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
