"""A small batch file, as `tomllib` returns it, and batches made of it."""

from __future__ import annotations

import copy
from typing import Any

from sim.batch.family import Batch
from sim.batch.file import batch_from_mapping, batch_of_scenario
from support.short_scenarios import scenario_of

WALL = "dealers.position[wall].gex_bn"
PUTS = "dealers.position[puts].gex_bn"
IMPACT = "dealers.impact_bp_per_bn"


def batch_data(**edits: Any) -> dict[str, Any]:
    """Keys of a batch file of the built-in scenario: the required ones and the given ones."""
    return {"schema": 1, "name": "small", **copy.deepcopy(edits)}


def batch_of(**edits: Any) -> Batch:
    """Batch of the built-in scenario."""
    return batch_from_mapping(batch_data(**edits), "small.toml")


def short_batch(scenario: dict[str, Any] | None = None, **edits: Any) -> Batch:
    """Batch of the sample scenario cut short, which is quick to simulate."""
    return batch_of_scenario(batch_data(paths=1000, **edits), scenario_of(scenario), "small.toml")


def single(name: str, **settings: Any) -> dict[str, Any]:
    """A case by its keys, dots written as two underscores."""
    return {"name": name, "set": {key.replace("__", "."): value for key, value in settings.items()}}
