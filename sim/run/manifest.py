"""Manifest of a run: what was simulated, on what, and how it came about."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sim.plan.builder import Prepared
from sim.plan.outcomes import Outcomes
from sim.run.warnings import book_warnings, engine_warnings, floor_warnings, run_warnings
from sim.scenario.file import scenario_hash
from sim.scenario.model import Scenario


class EngineFacts(NamedTuple):
    """What a manifest tells of the engine: its name, the processor or GPUs, threads or worker processes."""

    name: str
    device: str
    threads: int


class PlanFacts(NamedTuple):
    """What a manifest tells of a plan: its digest, and what a reader of the numbers should know of it."""

    digest: str
    warnings: tuple[str, ...]


def plan_facts(prepared: Prepared) -> PlanFacts:
    """Digest and warnings of a plan that has been prepared."""
    return PlanFacts(prepared.plan.digest, (*book_warnings(prepared.scenario), *floor_warnings(prepared)))


def run_timings(path_steps: int, started: datetime, prepare_s: float, simulate_s: float) -> dict[str, Any]:
    """When a run began and how long it took, ready for JSON.

    Parameters
    ----------
    path_steps : paths times steps of a path.
    started : with its time zone, UTC.
    prepare_s, simulate_s : seconds.
    """
    return {
        "started_utc": started.isoformat(timespec="seconds"),
        "prepare_s": round(prepare_s, 4),
        "simulate_s": round(simulate_s, 4),
        "path_steps_per_s": round(path_steps / max(simulate_s, 1e-9)),
    }


def run_manifest(
    scenario: Scenario,
    plan: PlanFacts,
    outcomes: Outcomes,
    engine: EngineFacts,
    *,
    asked: str,
    seed: int,
    first_path: int,
    target_se: float | None,
    versions: Mapping[str, str],
    timings: Mapping[str, Any],
) -> dict[str, Any]:
    """How a run came about, ready for JSON; `asked` is the engine that was asked for."""
    return {
        "scenario": scenario.model_dump(mode="json", by_alias=True),
        "scenario_hash": scenario_hash(scenario),
        "plan_digest": plan.digest,
        "seed": seed,
        "first_path": first_path,
        "paths": outcomes.paths,
        "target_se": target_se,
        "engine": engine.name,
        "device": engine.device,
        "threads": engine.threads,
        "versions": dict(versions),
        "timings": dict(timings),
        "warnings": [
            *plan.warnings,
            *run_warnings(outcomes, target_se),
            *engine_warnings(asked, engine.name),
        ],
    }
