"""One run does each piece of work once."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli_runner import gammawall
from support.counted_calls import count_calls
from support.sample_scenario import sample

from sim.engines.choice import choose
from sim.files import versions
from sim.plan.builder import prepare
from sim.plan.time_grid import build_time_grid
from sim.run.simulation import simulate
from sim.scenario.dates import calendar_problems
from sim.scenario.file import load_scenario
from sim.scenario.model import Scenario

SHORT = ("market.sessions=2", "volatility.steps_per_session=2")


def test_dates_are_checked_and_the_grid_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checks, grids, plans = (
        count_calls(monkeypatch, f) for f in (calendar_problems, build_time_grid, prepare)
    )
    simulate(load_scenario("siege-of-7000", SHORT), paths=10, engine="numpy", threads=1)
    assert (len(checks), len(grids), len(plans)) == (1, 1, 1)


def test_from_the_command_line_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sim.cli.run

    assert sim.cli.run
    checks, grids, plans = (
        count_calls(monkeypatch, f) for f in (calendar_problems, build_time_grid, prepare)
    )
    overrides = [part for one in SHORT for part in ("--set", one)]
    how = ("--paths", "10", "--engine", "numpy", "--threads", "1", "--out", str(tmp_path / "out"))
    assert gammawall("run", "siege-of-7000", *overrides, *how).exit_code == 0
    assert (len(checks), len(grids), len(plans)) == (1, 1, 1)


def test_a_check_makes_one_engine_and_a_grid_for_each_of_its_two_forms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sim.check.checks

    assert sim.check.checks
    engines, grids, plans = (count_calls(monkeypatch, f) for f in (choose, build_time_grid, prepare))
    overrides = [part for one in SHORT for part in ("--set", one)]
    how = ("--paths", "1000", "--engine", "numpy", "--threads", "1")
    assert gammawall("check", "siege-of-7000", *overrides, *how).exit_code == 0
    assert (len(engines), len(grids), len(plans)) == (1, 2, 2)


def test_the_constructor_checks_dates_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = count_calls(monkeypatch, calendar_problems)
    scenario = Scenario.model_validate(sample())
    assert len(checks) == 1
    simulate(scenario, paths=10, engine="numpy", threads=1)
    assert len(checks) == 1


def test_versions_are_looked_up_once_per_process(monkeypatch: pytest.MonkeyPatch) -> None:
    versions._version.cache_clear()
    lookups = count_calls(monkeypatch, versions.version)
    scenario = load_scenario("siege-of-7000", SHORT)
    found = [simulate(scenario, paths=10, engine="numpy", threads=1).manifest["versions"] for _ in range(2)]
    assert found[0] == found[1]
    assert sorted(lookups) == sorted((name,) for name in versions.EVERY_RUN)
