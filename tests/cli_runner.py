"""The command line in this process, with a ready run standing in for the engine."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner, Result
from sample_outcomes import SampleRun

import sim.run
from sim import cli


def gammawall(*arguments: str) -> Result:
    return CliRunner().invoke(cli.cli, arguments)


def stand_in_for_simulate(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the engine was asked for, when a ready run stands in for it."""
    calls: list[dict[str, Any]] = []

    def simulate(scenario: Any, **options: Any) -> SampleRun:
        calls.append({"scenario": scenario, **options})
        return SampleRun()

    monkeypatch.setattr(sim.run, "simulate", simulate)
    return calls
