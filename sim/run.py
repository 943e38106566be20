"""The one place that wires the stages: scenario → plan → engine → outcomes → tables."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import packages_distributions, version
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from sim import odds as tables
from sim.black_scholes import SESSIONS_PER_YEAR
from sim.engines.choice import Engine, choose
from sim.errors import InputError, Problem
from sim.fragments import Fragment, date_notes, fragment_record
from sim.native_library import library_file, native_problem
from sim.oracle import flat_volatility_odds, touch_probability, two_delta_rule
from sim.outcomes import LOWER, UPPER, OutcomeAxes, Outcomes
from sim.plan_builder import Prepared, prepare
from sim.scenario import Scenario
from sim.scenario_file import scenario_hash

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_PATHS = 1_000_000
# A target standard error adds paths in multiples of this, whatever the engine, so that every engine stops alike.
PATHS_ADDED = 1 << 16
# Share of a session's closes beyond the histogram from which a warning is due; the outermost quantile is 1%.
LARGEST_SHARE_OUTSIDE = 0.001
LARGEST_SEED = 2**64 - 1
SMALLEST_TARGET_SE = 1e-6
MOST_STRIKES_NAMED = 12
Progress = Callable[[int, int], None]


class EngineFacts(NamedTuple):
    """What a manifest tells of the engine: its name, the processor or GPUs, threads or worker processes."""

    name: str
    device: str
    threads: int


class PlanFacts(NamedTuple):
    """What a manifest tells of a plan: its digest, and what a reader of the numbers should know of it."""

    digest: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """Outcome of a run.

    Attributes
    ----------
    scenario : what was simulated.
    axes : labels of the counts.
    outcomes : the integer counts.
    manifest : how the run came about, ready for JSON.
    benchmarks : flat-volatility closed forms and the 2×delta rule for the same market.
    """

    scenario: Scenario
    axes: OutcomeAxes
    outcomes: Outcomes
    manifest: dict[str, Any]
    benchmarks: dict[str, Any]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the numbers should know."""
        return tuple(self.manifest["warnings"])

    @cached_property
    def odds(self) -> pd.DataFrame:
        """Odds of every event with dealers, without, and the difference; columns of odds.csv."""
        return tables.odds_table(self.outcomes, self.axes)

    @cached_property
    def first_passage(self) -> pd.DataFrame:
        """Cumulative probability of having touched each level by each step; columns of first_passage.csv."""
        return tables.first_passage_table(self.outcomes, self.axes)

    @cached_property
    def distribution(self) -> pd.DataFrame:
        """Distribution of each close with dealers; columns of distribution.csv."""
        return tables.distribution_table(self.outcomes, self.axes)

    @cached_property
    def quantiles(self) -> pd.DataFrame:
        """Quantiles of each close with dealers; columns of quantiles.csv."""
        return tables.quantile_table(self.outcomes, self.axes)

    @cached_property
    def regimes(self) -> pd.DataFrame:
        """Share of paths in each regime after each close; columns of regimes.csv."""
        return tables.regime_table(self.outcomes, self.axes)


def simulate(
    scenario: Scenario,
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
    scenario : what to simulate.
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
    where : what to call the scenario in an error; its name if None.
    notes : what a reader of the numbers should know besides; they become warnings of the result.
    fragments : those that the scenario's keys are from, for the manifest; one fitted to other days is a warning.

    Raises
    ------
    InputError : an argument is out of range, or the reaction map is not increasing and has no floor.
    GammawallError : the engine is not available, ran out of memory, or lost its device or a worker.
    KeyboardInterrupt : after the workers have stopped.
    """
    check_arguments(paths, first_path, seed, threads, block_paths, target_se, max_paths)
    # NumPy's integers are taken too, but overflow.
    paths, first_path, seed = int(paths), int(first_path), int(seed)
    threads, block_paths = _plain(threads), _plain(block_paths)
    # Path numbers have 64 bits: no more than these are left.
    max_paths = min(int(max_paths or LARGEST_SEED), LARGEST_SEED + 1 - first_path)
    worker = choose(engine, threads, block_paths, devices)
    began = time.perf_counter()
    started = datetime.now(UTC)
    prepared = prepare(scenario, where)
    ready = time.perf_counter()
    outcomes = _run_to_target(worker, prepared, seed, first_path, paths, target_se, max_paths, progress)
    seconds = time.perf_counter() - ready
    facts = plan_facts(prepared)
    manifest = run_manifest(
        scenario,
        PlanFacts(facts.digest, (*notes, *date_notes(fragments, scenario.market.as_of), *facts.warnings)),
        outcomes,
        EngineFacts(worker.name, worker.device, worker.threads),
        asked=engine,
        seed=seed,
        first_path=first_path,
        target_se=target_se,
        versions=installed_versions(worker.name),
        timings=run_timings(outcomes.paths * prepared.plan.steps, started, ready - began, seconds),
    )
    if fragments:
        manifest["fragments"] = [fragment_record(fragment) for fragment in fragments]
    return Result(scenario, prepared.axes, outcomes, manifest, flat_benchmarks(prepared))


def plan_facts(prepared: Prepared) -> PlanFacts:
    """What a manifest tells of a plan."""
    return PlanFacts(prepared.plan.digest, (*_book_warnings(prepared.scenario), *_floor_warnings(prepared)))


def run_timings(path_steps: int, started: datetime, prepare_s: float, simulate_s: float) -> dict[str, Any]:
    """When a run began and how long it took, for its manifest."""
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
            *_run_warnings(outcomes, target_se),
            *_engine_warnings(asked, engine.name),
        ],
    }


def _run_to_target(
    worker: Engine,
    prepared: Prepared,
    seed: int,
    first_path: int,
    paths: int,
    target_se: float | None,
    max_paths: int,
    progress: Progress | None,
) -> Outcomes:
    """Outcomes of the paths, and of as many more as the target standard error asks for."""
    planned, done = paths, 0

    def count(finished: int) -> None:
        nonlocal done
        done += finished
        if progress is not None:
            progress(done, planned)

    outcomes = worker.run(prepared.plan, seed, first_path, paths, count)
    while target_se is not None and (more := paths_wanting(outcomes, target_se, max_paths)) > 0:
        planned += more
        outcomes.add(worker.run(prepared.plan, seed, first_path + outcomes.paths, more, count))
    return outcomes


def installed_versions(engine: str = "numpy") -> dict[str, str]:
    """Versions of Python and of the libraries that the numbers pass through, CuPy's if the engine is cuda.

    CuPy goes by the name it was installed under, such as cupy-cuda13x.
    """
    libraries = ["gammawall-sim", "numpy", "scipy", "pandas", "exchange_calendars"]
    if engine == "cuda":
        libraries += sorted(set(packages_distributions().get("cupy", ())))
    return {"python": platform.python_version(), **{name: version(name) for name in libraries}}


def paths_wanting(outcomes: Outcomes, target_se: float, max_paths: int | None) -> int:
    """Paths to add for a standard error of both first-target odds with dealers; 0 when it is reached.

    se = sqrt(p·(1−p)/n), with p = (count + 1)/(n + 2) so that an event not yet seen does not count as settled.
    """
    n = outcomes.paths
    counts = outcomes.joint.sum(axis=1)[[UPPER, LOWER]]
    shares = (counts + 1) / (n + 2)
    spread = float(np.max(shares * (1 - shares)))
    if spread / n <= target_se**2:
        return 0
    wanted = int(np.ceil((spread / target_se**2 - n) / PATHS_ADDED)) * PATHS_ADDED
    allowed = wanted if max_paths is None else max_paths - n
    return max(0, min(wanted, allowed))


def flat_benchmarks(prepared: Prepared) -> dict[str, Any]:
    """What a trader would compute today at the quoted volatility: closed forms and the 2×delta rule.

    Returns
    -------
    flat_first_upper, flat_first_lower, flat_neither : corridor odds of a flat-volatility market.
    flat_touch : {level: probability} of touching each level of the ladder by the horizon.
    two_delta : {level: probability} by the 2×delta rule.
    """
    scenario, sessions = prepared.scenario, prepared.grid.n_sessions
    spot, annual = scenario.market.spot, scenario.volatility.annual
    targets = scenario.targets
    flat = flat_volatility_odds(spot, targets.upper, targets.lower, annual, sessions, scenario.drift.annual)
    variance = sessions * annual**2 / SESSIONS_PER_YEAR
    mean = sessions * scenario.drift.annual / SESSIONS_PER_YEAR - variance / 2
    levels = [float(level) for level in scenario.ladder]
    years = sessions / SESSIONS_PER_YEAR
    return {
        "flat_first_upper": flat.first_upper,
        "flat_first_lower": flat.first_lower,
        "flat_neither": flat.neither,
        "flat_touch": {k: float(touch_probability(np.log(k / spot), mean, variance)) for k in levels},
        "two_delta": {k: two_delta_rule(spot, k, annual, years) for k in levels},
    }


def check_arguments(
    paths: int,
    first_path: int,
    seed: int,
    threads: int | None,
    block_paths: int | None,
    target_se: float | None,
    max_paths: int | None,
) -> None:
    """Refuse arguments that are no whole numbers or out of range, all of them together."""
    counts = {"paths": paths, "first_path": first_path, "seed": seed}
    optional = {"threads": threads, "block_paths": block_paths, "max_paths": max_paths}
    counts |= {key: value for key, value in optional.items() if value is not None}
    problems = [
        Problem("", key, repr(value), "must be a whole number", f"Try {key}=int({value!r}).")
        for key, value in counts.items()
        if isinstance(value, bool) or not isinstance(value, (int, np.integer))
    ]
    if not problems:
        se = SMALLEST_TARGET_SE if target_se is None else target_se
        checks = (
            ("paths", paths >= 1, "at least one path is needed"),
            ("first_path", first_path >= 0, "paths are numbered from 0"),
            ("first_path", first_path + paths <= LARGEST_SEED + 1, "path numbers have 64 bits"),
            ("seed", 0 <= seed <= LARGEST_SEED, "a seed has 64 bits, 0 to 2^64 - 1"),
            ("threads", threads is None or threads >= 1, "at least one is needed"),
            ("block_paths", block_paths is None or block_paths >= 1, "a block holds at least one path"),
            ("max_paths", max_paths is None or max_paths >= paths, "must not be less than paths"),
        )
        problems = [Problem("", key, repr(counts[key]), why) for key, holds, why in checks if not holds]
        if not SMALLEST_TARGET_SE <= se < 0.5:
            why = f"must lie between {SMALLEST_TARGET_SE:g}, which takes 2.5e11 paths, and 0.5"
            problems.append(Problem("", "target_se", repr(target_se), why))
    if problems:
        raise InputError(problems)


def _plain(number: int | None) -> int | None:
    return None if number is None else int(number)


def _engine_warnings(asked: str, ran: str) -> list[str]:
    """Why a native engine that was compiled here is not the one that auto took."""
    problem = native_problem() if asked == "auto" and ran == "numpy" and library_file("baseline") else None
    return [] if problem is None else [f"the native engine was not used: {problem}"]


def _run_warnings(outcomes: Outcomes, target_se: float | None) -> list[str]:
    warnings = []
    if target_se is not None and paths_wanting(outcomes, target_se, None) > 0:
        warnings.append(
            f"the standard error of {target_se:g} was not reached within {outcomes.paths:,} paths"
        )
    outside = float((outcomes.closes[:, [0, -1]].sum(axis=1) / outcomes.paths).max())
    if outside > LARGEST_SHARE_OUTSIDE:
        warnings.append(
            f"{outside:.2%} of the closes of a session lie outside the histogram, so that its outer quantiles "
            "are not known"
        )
    return warnings


def _book_warnings(scenario: Scenario) -> list[str]:
    """How many rows of a book file had left the book before the start."""
    book, as_of = scenario.dealers.book, scenario.market.as_of
    gone = 0 if book is None else len(book) - len(book.after(as_of))
    if book is None or not gone:
        return []
    return [f"{gone:,} of {len(book):,} positions of {book.file} expire by the start, the close of {as_of}: left out"]


def _floor_warnings(prepared: Prepared) -> list[str]:
    """Where the feedback factor's floor binds: which strikes, when, and how far, over all regimes."""
    events = prepared.floor_events
    if not events:
        return []
    reaction_map = prepared.reaction_map
    minutes = sorted({e.minute for e in events})
    held = reaction_map.book.columns
    strikes: set[float] = set()
    for e in events:
        short = held.units * reaction_map.weights[e.book, held.group] < 0
        there = (held.strike >= e.price_low) & (held.strike <= e.price_high) & (held.settlement >= e.minute)
        strikes.update(held.strike[short & there].tolist())
    depths = {}
    for regime, book in zip(prepared.axes.regimes, prepared.plan.book_of_regime, strict=True):
        lowest = min((e.lowest for e in events if e.book == book), default=None)
        if lowest is not None:
            depths[regime] = f"{regime} {lowest:.1f}"
    worst = min(events, key=lambda e: e.lowest)
    return [
        f"feedback factor held at m_floor = {reaction_map.m_floor:g} near short strikes "
        f"{_strikes_listed(strikes)}, at {len(minutes)} of "
        f"{prepared.plan.steps + 1} instants from {_new_york(minutes[0])} to {_new_york(minutes[-1])} New York; "
        f"lowest by regime: {', '.join(depths.values())}; at worst {worst.lowest:.1f} from "
        f"{worst.price_low:,.0f} to {worst.price_high:,.0f} on {_new_york(worst.minute)}"
    ]


def _strikes_listed(strikes: set[float]) -> str:
    """Strikes in words: a few by name, many by their range."""
    if len(strikes) > MOST_STRIKES_NAMED:
        return f"between {min(strikes):,.0f} and {max(strikes):,.0f}"
    return ", ".join(f"{strike:,.0f}" for strike in sorted(strikes)) or "of the book"


def _new_york(minute: float) -> str:
    instant = datetime.fromtimestamp(minute * 60, tz=ZoneInfo("America/New_York"))
    return f"{instant:%Y-%m-%d %H:%M}"
