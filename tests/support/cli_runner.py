"""The command line in this process, with a ready run standing in for the engine."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner, Result

import sim.run.simulation
from sim.cli import main as cli
from support.sample_outcomes import SampleRun


def gammawall(*arguments: str) -> Result:
    return CliRunner().invoke(cli.cli, arguments)


def stand_in_for_simulate(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the engine was asked for, when a ready run stands in for it."""
    calls: list[dict[str, Any]] = []

    def simulate(scenario: Any, **options: Any) -> SampleRun:
        calls.append({"scenario": scenario, **options})
        return SampleRun()

    monkeypatch.setattr(sim.run.simulation, "simulate", simulate)
    return calls
