"""Local execution of a batch's cases, one after another on an engine in this process."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from sim.batch.case_counts import CaseCounts
from sim.batch.family import Batch, Case
from sim.batch.plans import CasePlan, CasePlans
from sim.engines.choice import Engine
from sim.errors import GammawallError
from sim.odds.pairs import PairCounts, Records
from sim.plan.outcomes import OutcomeAxes, Outcomes
from sim.run.manifest import EngineFacts, PlanFacts, run_timings
from sim.run.stopping import paths_wanting

# Most paths whose records are held at once, the baseline's apart.
MOST_RECORDS = 1 << 24
# Paths of the baseline that cases are paired with, at two bytes each: enough for intervals of a hundredth of a point.
MOST_PAIRED = 1 << 27
# Plans made ahead of the one that is running.
PLANS_AHEAD = 2


@dataclass(frozen=True)
class CountedCase:
    """A counted case, with what its manifest tells.

    Attributes
    ----------
    case : the case.
    counts : its counts and, path by path with the baseline, its pairs.
    records : (paths,) uint16 records of the baseline; None for other cases.
    plan, engine, timings : facts for its manifest.
    """

    case: Case
    counts: CaseCounts
    records: Records | None
    plan: PlanFacts
    engine: EngineFacts
    timings: dict[str, Any]


class FailedCase(NamedTuple):
    """A case that could not be counted, with the error in a sentence and the traceback."""

    case: Case
    error: str
    trace: str


class Baseline(NamedTuple):
    """Baseline of paired counts: the labels of its counts, and the record of each path, (paths,) uint16."""

    axes: OutcomeAxes
    records: Records


def failed_case(case: Case, error: BaseException) -> FailedCase:
    """Failed case, from the exception that ended it."""
    reason = str(error) or ("out of memory" if isinstance(error, MemoryError) else "")
    if not isinstance(error, GammawallError):
        reason = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    return FailedCase(case, reason, "".join(traceback.format_exception(error)))


def levels_by_side(axes: OutcomeAxes) -> tuple[int, int]:
    """Numbers of levels above and below the start."""
    above = sum(level > axes.spot for level in axes.levels)
    return above, len(axes.levels) - above


def new_pairs(axes: OutcomeAxes, baseline: Baseline | None) -> PairCounts | None:
    """Pairs of a case with the baseline, all counts zero; None without a baseline."""
    return None if baseline is None else PairCounts.zeros(levels_by_side(axes), levels_by_side(baseline.axes))


def count_pairs(pairs: PairCounts | None, baseline: Baseline | None, first: int, records: Records) -> None:
    """Count the pairs of the paths from `first` on, as far as the baseline's records reach.

    records : (paths,) uint16 records of the case's paths.
    """
    if pairs is not None and baseline is not None:
        theirs = baseline.records[first : first + records.size]
        pairs.count(records[: theirs.size], theirs)


def count_locally(
    batch: Batch,
    cases: Sequence[Case],
    engine: Engine,
    baseline: Baseline | None,
    progress: Callable[[int, int], None],
    plans: CasePlans | None = None,
) -> Iterator[CountedCase | FailedCase]:
    """Count cases one after another on one engine, while the plans of the next are made.

    Parameters
    ----------
    batch : paths, seed and target standard error of every case.
    cases : cases to count; the baseline, if it is among them, keeps its records.
    engine : engine that counts.
    baseline : baseline to pair the cases with; None for no pairs.
    progress : called with (paths done, steps per path) now and then.
    plans : cache of plans, those of the check among them.
    """
    plans = CasePlans() if plans is None else plans
    with ThreadPoolExecutor(1, thread_name_prefix="plans") as planner:
        waiting = list(cases)
        ahead: list[tuple[Case, Future[CasePlan]]] = []
        try:
            while waiting or ahead:
                while waiting and len(ahead) < PLANS_AHEAD:
                    case = waiting.pop(0)
                    ahead.append((case, planner.submit(plans.plan, case.scenario, case.key)))
                case, plan = ahead.pop(0)
                try:
                    yield _count_case(batch, case, plan.result(), engine, baseline, progress)
                except Exception as error:
                    yield failed_case(case, error)
        finally:
            for _, plan in ahead:
                plan.cancel()


def _count_case(
    batch: Batch,
    case: Case,
    planned: CasePlan,
    engine: Engine,
    baseline: Baseline | None,
    progress: Callable[[int, int], None],
) -> CountedCase:
    plan, started, began = planned.plan, datetime.now(UTC), time.perf_counter()
    outcomes = Outcomes.zeros(plan.outcome_shape)
    pairs = new_pairs(planned.axes, baseline)
    is_baseline = case.name == batch.baseline
    kept: list[Records] = []
    threads, more = 1, batch.paths
    while more > 0:
        records = None
        if outcomes.paths < MOST_PAIRED and (pairs is not None or is_baseline):
            records = np.empty(min(more, MOST_RECORDS, MOST_PAIRED - outcomes.paths), dtype=np.uint16)
        count = more if records is None else records.size
        first = outcomes.paths
        outcomes.add(
            engine.run(plan, batch.seed, first, count, lambda paths: progress(paths, plan.steps), records)
        )
        threads = max(threads, engine.at_work)
        if records is not None:
            count_pairs(pairs, baseline, first, records)
            if is_baseline:
                kept.append(records)
        more = paths_left(batch, outcomes, more - count)
    seconds = time.perf_counter() - began
    return CountedCase(
        case,
        CaseCounts(planned.axes, outcomes, pairs),
        np.concatenate(kept) if kept else None,
        planned.facts,
        EngineFacts(engine.name, engine.device, threads),
        run_timings(outcomes.paths * plan.steps, started, planned.seconds, seconds),
    )


def paths_left(batch: Batch, outcomes: Outcomes, planned: int) -> int:
    """Number of paths still to count: those planned or, once these are done, those that the target error needs."""
    if planned > 0 or batch.target_se is None:
        return planned
    return paths_wanting(outcomes, batch.target_se, batch.max_paths)
