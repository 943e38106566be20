"""Manifest of a run: its scenario, plan, seed, paths, engine, versions, timings and warnings, ready for JSON."""

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
    """Facts about the engine for a manifest: its name, the processor or GPUs, and threads or workers at work."""

    name: str
    device: str
    threads: int


class PlanFacts(NamedTuple):
    """Facts about a plan for a manifest: its digest and its warnings."""

    digest: str
    warnings: tuple[str, ...]


def plan_facts(prepared: Prepared) -> PlanFacts:
    """Digest of a prepared plan, and the warnings about its book and its clearing map."""
    return PlanFacts(prepared.plan.digest, (*book_warnings(prepared.scenario), *floor_warnings(prepared)))


def run_timings(path_steps: int, started: datetime, prepare_s: float, simulate_s: float) -> dict[str, Any]:
    """Timings of a run for its manifest: start in UTC, seconds of preparation and simulation, path-steps per second.

    Parameters
    ----------
    path_steps : paths times steps per path.
    started : instant with its time zone, UTC.
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
    """Manifest of a run, ready for JSON.

    Parameters
    ----------
    scenario, plan, outcomes, engine : the scenario, facts about its plan, the counts, and facts about the engine.
    asked : engine that was asked for, "auto" or a name.
    seed, first_path, target_se : as in `sim.run.simulation.simulate`.
    versions : of Python and of the packages that the numbers pass through, by name.
    timings : from `run_timings`.
    """
    record = run_record(
        scenario,
        plan,
        engine,
        asked=asked,
        seed=seed,
        first_path=first_path,
        target_se=target_se,
        versions=versions,
    )
    return counted_record(record, outcomes, target_se, timings)


def run_record(
    scenario: Scenario,
    plan: PlanFacts,
    engine: EngineFacts,
    *,
    asked: str,
    seed: int,
    first_path: int,
    target_se: float | None,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """What is known of a run's manifest before it; see `run_manifest`.

    It is made first, so that what cannot be recorded ends a run before any time is spent.
    """
    return {
        "scenario": scenario.model_dump(mode="json", by_alias=True),
        "scenario_hash": scenario_hash(scenario),
        "plan_digest": plan.digest,
        "seed": seed,
        "first_path": first_path,
        "paths": 0,
        "target_se": target_se,
        "engine": engine.name,
        "device": engine.device,
        "threads": engine.threads,
        "versions": dict(versions),
        "timings": {},
        "warnings": [*plan.warnings, *engine_warnings(asked, engine.name)],
    }


def counted_record(
    record: Mapping[str, Any], outcomes: Outcomes, target_se: float | None, timings: Mapping[str, Any]
) -> dict[str, Any]:
    """Manifest of a run: its `run_record` with the paths counted, the timings, and the warnings about the counts."""
    warnings = [*record["warnings"], *run_warnings(outcomes, target_se)]
    return {**record, "paths": outcomes.paths, "timings": dict(timings), "warnings": warnings}
