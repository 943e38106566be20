"""`check` passes on a sound simulator and fails on one that is broken on purpose."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from support.sample_chain import QUOTED, SPOT, many_listings, quotedata_csv

from sim.chain.book import book_of_chain
from sim.chain.files import read_chain
from sim.chain.scenario import Horizon, scenario_of_chain
from sim.check import checks as check
from sim.check.checks import Check, checkable_form, flat_form, run_checks
from sim.kernels_numpy import path_step, session
from sim.kernels_numpy.path_state import PathBlock
from sim.plan import dealers, map_tables
from sim.plan.builder import prepare
from sim.plan.dealers import impact_per_bn
from sim.plan.time_grid import build_time_grid
from sim.reaction.clearing_map import ClearingMap
from sim.scenario.file import load_scenario
from sim.scenario.model import Scenario

PATHS = 200_000
SEED = 5


@pytest.fixture(scope="module")
def siege() -> Scenario:
    return load_scenario("siege-of-7000")


@pytest.fixture(autouse=True)
def quick_pde(monkeypatch: pytest.MonkeyPatch) -> None:
    """801 points err by 1e-5, a hundredth of the sampling error here."""
    monkeypatch.setattr(check, "PDE_POINTS", 801)


def failures(scenario: Scenario) -> list[str]:
    """One thread: worker processes would not see what a test has broken in this one."""
    # Breaks are planted in the NumPy twin.
    checks = run_checks(scenario, paths=PATHS, seed=SEED, engine="numpy", threads=1)
    return [c.name for c in checks if not c.ok]


def test_siege_passes(siege: Scenario) -> None:
    checks = run_checks(siege, paths=PATHS, seed=SEED)
    assert all(c.ok for c in checks)
    assert len(checks) == 6 + 2 + len(siege.all_levels)
    # The odds of each group add up, on both sides of the comparison.
    for three in (checks[:3], checks[3:6]):
        assert sum(c.expected for c in three) == pytest.approx(1.0, abs=1e-9)
        assert sum(c.simulated for c in three) == pytest.approx(1.0, abs=1e-9)


def test_gaps_catalysts_and_jumps_are_checked_too(siege: Scenario) -> None:
    overrides = [
        "jumps={per_year=12.0, mean=-0.01, sd=0.02}",
        'catalyst=[{session=2026-02-13, name="CPI", outcomes=[{probability=0.5, mean=0.01, sd=0.003},'
        "{probability=0.5, mean=-0.012, sd=0.004}]}]",
        "drift.annual=0.3",
    ]
    assert failures(load_scenario("siege-of-7000", overrides)) == []


def test_long_dated_books_pass(siege: Scenario) -> None:
    """Their gamma reaches far from the index; a map that cut it off would see a drift."""
    put = '{group="leaps", type="put", strike=5000, expiry=2027-12-17, settlement="AM", iv=0.3, gex_bn=6.0}'
    call = (
        '{group="leaps", type="call", strike=7000, expiry=2027-12-17, settlement="AM", iv=0.5, gex_bn=15.0}'
    )
    overrides = [f"dealers.position=[{put}, {call}]", "regime=[]", "volatility.steps_per_session=4"]
    assert failures(load_scenario("siege-of-7000", overrides)) == []


def test_broken_map_sign_fails(siege: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dealers, "impact_per_bn", lambda scenario: -impact_per_bn(scenario))
    assert any("with dealers (PDE)" in name for name in failures(siege))


def test_broken_bridge_fails(siege: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_step, "touched", lambda start, end, bound: end <= 0)
    broken = failures(siege)
    assert any("closed form" in name for name in broken)
    assert any("(PDE)" in name for name in broken)


def test_broken_drift_fails(siege: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = session.scale_variance

    def without_convexity(block: PathBlock, words: Any) -> None:
        sound(block, words)
        block.mean.fill(block.plan.session_drift)

    monkeypatch.setattr(session, "scale_variance", without_convexity)
    assert failures(siege)


def test_map_frozen_in_time_fails(siege: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Φ's dependence on time is what pins; a local-volatility shortcut has none."""
    sound = ClearingMap.at
    start = build_time_grid(siege).start_minute
    monkeypatch.setattr(map_tables, "working_library", lambda: None)
    monkeypatch.setattr(
        ClearingMap, "at", lambda self, minute, after_settlement: sound(self, start, after_settlement)
    )
    assert any("with dealers (PDE)" in name for name in failures(siege))


def test_forms(siege: Scenario) -> None:
    hedged, flat = checkable_form(siege), flat_form(siege)
    assert hedged.dealers.impact_half_life == 0
    assert hedged.dealers.position == siege.dealers.position
    assert prepare(hedged).plan.constant_variance
    assert hedged.regime == flat.regime == ()
    assert flat.all_levels == siege.all_levels
    assert prepare(flat).plan.identity_map
    assert prepare(flat).plan.share[0] == 0


def test_a_book_with_weights_is_checked(tmp_path: Path) -> None:
    """A thousand positions, half the puts: the map of the check weighs them as the engine's does."""
    text = quotedata_csv(listings=many_listings(QUOTED, SPOT, 12, 60))
    (tmp_path / "chain.csv").write_text(text, encoding="utf-8")
    book = book_of_chain(read_chain(tmp_path / "chain.csv"))
    assert len(book.rows) > 1_000
    horizon = Horizon(dt.date(2025, 9, 10))
    overrides = ["dealers.book_weights.puts=0.2", "dealers.impact_bp_per_bn=3", "targets.lower=6400"]
    scenario = scenario_of_chain(book, horizon, overrides=overrides)
    checks = run_checks(scenario, paths=PATHS, seed=SEED)
    assert [c.name for c in checks if not c.ok] == []
    # The weights matter: without them the odds differ by far more than the errors.
    whole = scenario_of_chain(book, horizon, overrides=overrides[1:])
    assert abs(run_checks(whole, paths=1_000, seed=SEED)[0].expected - checks[0].expected) > 0.01


def test_z_is_in_units_of_the_expected_share() -> None:
    assert Check("", 0.5, 0.51, 0.002).z == pytest.approx(5.0)
    assert not Check("", 0.5, 0.51, 0.002).ok
    assert Check("", 0.5, 0.4911, 0.002).ok
