"""Simulation of one scenario, from end to end: scenario → plan → engine → outcomes → tables."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.engines.choice import ENGINES, MOST_THREADS, Engine, choose
from sim.errors import GammawallError, InputError, Problem, error_text
from sim.files.json_text import manifest_json
from sim.files.versions import installed_versions
from sim.odds.headline import headline_table
from sim.odds.tables import TABLES
from sim.plan.builder import Prepared, prepare
from sim.plan.outcomes import LOWER, UPPER, OutcomeAxes, Outcomes
from sim.problems import check_type, short_repr, shown
from sim.run.arguments import check_notes, check_progress
from sim.run.manifest import EngineFacts, PlanFacts, counted_record, plan_facts, run_record, run_timings
from sim.run.rendering import renderer
from sim.run.rules_of_thumb import flat_benchmarks
from sim.run.stopping import SMALLEST_TARGET_SE, paths_wanting
from sim.run.warnings import absent_fragments, date_notes
from sim.scenario.file import resolve_scenario
from sim.scenario.fragments import Fragment, check_fragments, fragment_record
from sim.scenario.model import Scenario

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_PATHS = 1_000_000
LARGEST_SEED = 2**64 - 1
_EXAMPLES = {"paths": 100_000, "first_path": 0, "block_paths": 4096, "max_paths": 10_000_000}
Progress = Callable[[int, int], None]


def _table(name: str) -> cached_property[pd.DataFrame]:
    """Attribute of a result for one of the tables of `TABLES`, made on first use."""
    table = TABLES[name]

    def made(result: Result) -> pd.DataFrame:
        return table.frame(result.outcomes, result.axes)

    made.__doc__ = f"Table of {table.file_name}, one row per {table.summary}."
    return cached_property(made)


@dataclass(frozen=True, eq=False)
class Result:
    """Result of a run: its counts, and the tables of odds made from them.

    Attributes
    ----------
    scenario : the scenario simulated.
    axes : labels of the counts.
    outcomes : the integer counts.
    manifest : scenario, seed, engine, versions, timings and warnings of the run, ready for JSON.
    benchmarks : flat-volatility closed forms and the 2×delta rule for the same market.
    """

    scenario: Scenario
    axes: OutcomeAxes
    outcomes: Outcomes
    manifest: dict[str, Any]
    benchmarks: dict[str, Any]

    def __repr__(self) -> str:
        axes, paths = self.axes, self.outcomes.paths
        shares = self.outcomes.joint.sum(axis=1) / paths
        firsts = ((axes.upper, UPPER), (axes.lower, LOWER))
        odds = ", ".join(f"{level:,.10g} first {100 * shares[i]:.1f}%" for level, i in firsts)
        return short_repr(self, f"{axes.scenario}: {odds}; {paths:,} paths, seed {self.manifest['seed']}")

    def _repr_html_(self) -> str:
        return renderer().html(self)

    def summary(self, width: int | None = None) -> str:
        """Report of the run as `gammawall run` prints it, without colours.

        width : columns, at least 80; those of the terminal if None.

        Errors: `InputError` if the width is no whole number.
        """
        if width is not None:
            check_type("width", width, int, "a number of columns", "Try width=100.")
        return renderer().text(self, width)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings of the run, a sentence each."""
        return tuple(self.manifest["warnings"])

    # One line for each table of `TABLES`, so that type checkers and completion know the attribute.
    odds = _table("odds")
    first_passage = _table("first_passage")
    distribution = _table("distribution")
    quantiles = _table("quantiles")
    regimes = _table("regimes")

    @cached_property
    def headline_odds(self) -> pd.DataFrame:
        """The odds as text, one row per event, narrow enough to be printed whole in 80 columns.

        Columns: event, level, with, without (dealers; percent), difference (points); each ± half of the width of its
        95% interval. pandas prints up to 60 rows; `summary` prints any number.
        """
        return headline_table(self.odds)


def simulate(
    scenario: Scenario | str | os.PathLike[str],
    *,
    paths: int = DEFAULT_PATHS,
    first_path: int = 0,
    seed: int = 1,
    engine: str = "auto",
    threads: int | None = None,
    devices: Sequence[int] | None = None,
    block_paths: int | None = None,
    target_se: float | None = None,
    max_paths: int | None = None,
    progress: Progress | None = None,
    where: str | None = None,
    notes: Sequence[str] = (),
    fragments: Sequence[Fragment] = (),
) -> Result:
    """Simulated odds of a scenario.

    The counts depend on the scenario, the seed and the paths alone: not on engine, threads or blocks.

    Parameters
    ----------
    scenario : the scenario to simulate, or its built-in name or its file.
    paths : number of paths, or the first lot of them with `target_se`.
    first_path : number of the first path; runs over adjoining ranges add up to one run over both.
    seed : 0 … 2^64 − 1; scenarios that share it share their draws.
    engine : "auto", "cuda", "native" or "numpy"; auto takes the first of them that is here.
    threads : processors to use; all if None.
    devices : GPUs that share the paths, by number; device 0 if None.
    block_paths : paths carried through all steps at once; it changes speed and memory alone.
    target_se : go on until the standard errors of both first-target odds with dealers are this small, ≥ 1e-6.
    max_paths : most paths `target_se` may take; as many as there are if None.
    progress : called now and then with (paths done, paths planned).
    where : name of the scenario in errors; its file or its own name if None.
    notes : sentences that a reader of the numbers should know; they become warnings of the result.
    fragments : keys merged into a scenario given by its name or its file. A `Scenario` has its keys already: of the
        fragments that it was loaded with this is the record for the manifest. One that is fitted to other days, or
        that the scenario does not hold, becomes a warning.

    Raises
    ------
    InputError : an argument is out of range, or the clearing map is not increasing and has no floor.
    GammawallError : the engine is not available, ran out of memory, or lost its device or a worker.
    KeyboardInterrupt : after the workers have stopped.
    """
    check_fragments(fragments)
    check_notes(notes)
    check_progress(progress)
    scenario, where = resolve_scenario(scenario, where, fragments)
    notes = (*scenario.notes, *notes)
    check_arguments(paths, first_path, seed, threads, block_paths, target_se, max_paths)
    # NumPy's integers are taken too, but overflow.
    paths, first_path, seed = int(paths), int(first_path), int(seed)
    threads, block_paths = plain_count(threads), plain_count(block_paths)
    # Path numbers have 64 bits: no more than these are left.
    max_paths = min(int(max_paths or LARGEST_SEED), LARGEST_SEED + 1 - first_path)
    worker = choose(engine, threads, block_paths, devices)
    began = time.perf_counter()
    started = datetime.now(UTC)
    prepared = prepare(scenario, where)
    ready = time.perf_counter()
    facts = plan_facts(prepared)
    of_fragments = (*absent_fragments(fragments, scenario), *date_notes(fragments, scenario.market.as_of))
    record = run_record(
        scenario,
        PlanFacts(facts.digest, (*notes, *of_fragments, *facts.warnings)),
        EngineFacts(worker.name, worker.device, worker.threads),
        asked=engine,
        seed=seed,
        first_path=first_path,
        target_se=target_se,
        versions=installed_versions(ENGINES[worker.name].libraries),
    )
    if fragments:
        record["fragments"] = [fragment_record(fragment) for fragment in fragments]
    _refuse_unrecordable(record, where or scenario.name)
    benchmarks = flat_benchmarks(prepared)
    running = time.perf_counter()
    outcomes, threads = _run_to_target(
        worker, prepared, seed, first_path, paths, target_se, max_paths, progress
    )
    seconds = time.perf_counter() - running
    timings = run_timings(outcomes.paths * prepared.plan.steps, started, ready - began, seconds)
    manifest = counted_record({**record, "threads": threads}, outcomes, target_se, timings)
    return Result(scenario, prepared.axes, outcomes, manifest, benchmarks)


def _refuse_unrecordable(record: Mapping[str, Any], where: str) -> None:
    """Raise InputError if what is known of a run cannot be written into its manifest, before any time is spent."""
    for key, value in record.items():
        try:
            manifest_json({key: value}, "")
        except (TypeError, ValueError, RecursionError) as error:
            why = f"cannot be recorded in the manifest of the run: {error_text(error)}"
            raise InputError([Problem(where, key, "", why, "Try leaving it out.")]) from error


def _run_to_target(
    worker: Engine,
    prepared: Prepared,
    seed: int,
    first_path: int,
    paths: int,
    target_se: float | None,
    max_paths: int,
    progress: Progress | None,
) -> tuple[Outcomes, int]:
    """Outcomes of the first paths and of as many more as the target standard error takes, and the threads at work."""
    planned, done = paths, 0

    def count(finished: int) -> None:
        nonlocal done
        done += finished
        if progress is not None:
            progress(done, planned)

    outcomes = worker.run(prepared.plan, seed, first_path, paths, count)
    threads = worker.at_work
    while target_se is not None and (more := paths_wanting(outcomes, target_se, max_paths)) > 0:
        planned += more
        outcomes.add(worker.run(prepared.plan, seed, first_path + outcomes.paths, more, count))
        threads = max(threads, worker.at_work)
    if outcomes.checked_paths() != planned:
        why = f"the {worker.name} engine counted {outcomes.paths:,} of {planned:,} paths"
        raise GammawallError(f"{why}. Please report this, with the scenario.")
    return outcomes, threads


def check_arguments(
    paths: int,
    first_path: int,
    seed: int,
    threads: int | None,
    block_paths: int | None,
    target_se: float | None,
    max_paths: int | None,
) -> None:
    """Refuse arguments that are no whole numbers or out of range, all of them together.

    Errors: `InputError`.
    """
    counts = {"paths": paths, "first_path": first_path, "seed": seed}
    optional = {"threads": threads, "block_paths": block_paths, "max_paths": max_paths}
    counts |= {key: value for key, value in optional.items() if value is not None}
    problems = [
        Problem("", key, shown(value), "must be a whole number", _whole_number_hint(key, value))
        for key, value in counts.items()
        if isinstance(value, bool) or not isinstance(value, (int, np.integer))
    ]
    if not problems:
        # NumPy's integers overflow.
        counts = {key: int(value) for key, value in counts.items()}
        paths, first_path, seed = counts["paths"], counts["first_path"], counts["seed"]
        threads, block_paths, max_paths = (counts.get(key) for key in ("threads", "block_paths", "max_paths"))
        se = SMALLEST_TARGET_SE if target_se is None else target_se
        check_type("target_se", se, (int, float), "a standard error", "Try target_se=0.0005.")
        checks = (
            ("paths", paths >= 1, "at least one path is needed"),
            ("first_path", first_path >= 0, "paths are numbered from 0"),
            ("first_path", first_path + paths <= LARGEST_SEED + 1, "path numbers have 64 bits"),
            ("seed", 0 <= seed <= LARGEST_SEED, "a seed has 64 bits, 0 to 2^64 - 1"),
            ("threads", threads is None or threads >= 1, "at least one is needed"),
            ("threads", threads is None or threads <= MOST_THREADS, f"at most {MOST_THREADS:,} are possible"),
            ("block_paths", block_paths is None or block_paths >= 1, "a block holds at least one path"),
            ("max_paths", max_paths is None or max_paths >= paths, "must not be less than paths"),
        )
        problems = [Problem("", key, shown(counts[key]), why) for key, holds, why in checks if not holds]
        if not SMALLEST_TARGET_SE <= se < 0.5:
            why = f"must lie between {SMALLEST_TARGET_SE:g}, which takes 2.5e11 paths, and 0.5"
            problems.append(Problem("", "target_se", shown(target_se), why))
    if problems:
        raise InputError(problems)


def _whole_number_hint(key: str, value: object) -> str:
    example = int(value) if isinstance(value, float) and value.is_integer() else _EXAMPLES.get(key, 1)
    return f"Try {key}={example}."


def plain_count(number: int | None) -> int | None:
    """Python's integer for one of NumPy, which overflows; None for None."""
    return None if number is None else int(number)
