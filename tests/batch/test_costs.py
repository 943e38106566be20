"""What a case costs beside its paths: work that cases have in common is done once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from support.needs import needs_native

import sim.batch.run
import sim.plan.builder
from sim.batch.executors import choose_executor
from sim.batch.file import batch_from_mapping
from sim.batch.opening import open_batch_folder
from sim.batch.run import check_cases, run_batch
from sim.batch.simulation import simulate_batch
from sim.plan.shared_work import SharedWork

# The stylised book as it is: 27 sessions of 13 steps, six positions, five regimes' books.
HUNDRED: dict[str, Any] = {
    "schema": 1,
    "name": "hundred",
    "paths": 1,
    "grid": {
        "dealers.impact_bp_per_bn": [0.4 * (1 + i) for i in range(10)],
        "dealers.impact_half_life": [0.5 * (1 + i) for i in range(10)],
    },
}


def test_maps_are_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred cases of ten impacts and the base: eleven maps, checked and run."""
    built: list[int] = []
    build = sim.plan.builder.build_map_tables

    def counting(*arguments: Any) -> Any:
        built.append(1)
        return build(*arguments)

    monkeypatch.setattr(sim.plan.builder, "build_map_tables", counting)
    # One at a time: threads that check side by side may build the same map twice.
    monkeypatch.setattr(sim.batch.run, "available_processors", lambda: 1)
    batch = batch_from_mapping(HUNDRED, "hundred", overrides=["market.sessions=2"])
    done = simulate_batch(batch, tmp_path / "b", engine="numpy", threads=1)
    assert len(done.finished) == 101
    assert len(built) == 11


@needs_native
def test_a_hundred_cases_of_one_path(tmp_path: Path) -> None:
    """Ten seconds of a quiet processor, start included; here what it takes of this process's own time."""
    batch = batch_from_mapping(HUNDRED, "hundred")
    shared = SharedWork()
    began = time.process_time()
    check_cases(batch.cases, shared)
    with (
        open_batch_folder(batch, tmp_path / "b") as folder,
        choose_executor("native", threads=2, shared=shared) as executor,
    ):
        done = run_batch(batch, folder, batch.cases, executor)
    spent = time.process_time() - began
    assert len(done.finished) == 101
    assert spent < 10.0
