"""Running a batch: which cases are left to do, who counts them, and filing them as they finish."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sim.batch.family import Batch, Case
from sim.batch.folder import BatchFolder
from sim.batch.local_executor import Baseline, CountedCase, FailedCase
from sim.batch.plans import CasePlans
from sim.batch.table_writer import TableWriter
from sim.batch.tables import FAILED, FINISHED, NOT_RUN, Row
from sim.engines.choice import ENGINES
from sim.engines.processor import available_processors
from sim.errors import GammawallError, InputError, Problem
from sim.files.versions import installed_versions
from sim.problems import short_repr, shown
from sim.run.manifest import run_manifest

# Finished cases that may wait to be filed while the next one is counted.
MOST_WAITING = 2


class Executor(Protocol):
    """What counts cases: `count_locally` on an engine, or a cluster."""

    def __call__(
        self,
        batch: Batch,
        cases: Sequence[Case],
        baseline: Baseline | None,
        progress: Callable[[int, int], None],
    ) -> Iterator[CountedCase | FailedCase]:
        """Cases in any order, each as soon as it is counted or has failed."""


class BatchProgress:
    """Progress callbacks of a running batch; the base class ignores them."""

    def __repr__(self) -> str:
        return short_repr(self, "")

    def checking(self, done: int, cases: int) -> None:
        """Cases checked so far."""

    def waiting(self, what: str) -> None:
        """What the batch cannot go on without, "for workers" for instance."""

    def start(self, cases: int, finished: int, paths: int) -> None:
        """Cases to run, cases finished before, paths that each will take at least."""

    def advance(self, paths: int, steps: int) -> None:
        """Paths just counted, of so many steps each."""

    def case_ended(self, name: str, error: str | None) -> None:
        """A case has finished, or failed with an error."""

    def tables(self, done: int, cases: int) -> None:
        """Cases whose tables are written."""


@dataclass
class BatchRun:
    """How a run of a batch ended.

    Attributes
    ----------
    finished, failed : names of the cases that ended so in this run.
    kept : cases that were finished before.
    failed_before : cases that had failed before and were not tried again.
    rows : of batch.csv.
    folder : where the results are.
    """

    folder: Path
    finished: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed_before: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def __repr__(self) -> str:
        ends = ((len(self.finished), "finished"), (len(self.kept), "kept"), (len(self.failed), "failed"))
        told = ", ".join(f"{count:,} {how}" for count, how in ends if count or how == "finished")
        return short_repr(self, f"{told}; {self.folder}")


def check_cases(
    cases: Sequence[Case], plans: CasePlans | None = None, progress: BatchProgress | None = None
) -> None:
    """Check that every case can be run, its clearing map included.

    Parameters
    ----------
    cases : what to check.
    plans : keeps those made, for the run.
    progress : told of the cases checked.

    Errors: InputError with the problems of all cases.
    """
    plans = CasePlans() if plans is None else plans
    told = progress or BatchProgress()
    problems: list[Problem] = []

    def check(case: Case) -> None:
        plans.plan(case.scenario, case.key, f"case {shown(case.name)}")

    with ThreadPoolExecutor(available_processors(), thread_name_prefix="checks") as pool:
        # The last first, so that the plans of the first to run have been made last and are still there.
        checks = [pool.submit(check, case) for case in reversed(cases)]
        try:
            for number, one in enumerate(checks, start=1):
                try:
                    one.result()
                except InputError as error:
                    problems[:0] = error.problems
                told.checking(number, len(cases))
        finally:
            for one in checks:
                one.cancel()
    if problems:
        raise InputError(problems)


def cases_of_other_plans(
    batch: Batch, folder: BatchFolder, cases: Sequence[Case], plans: CasePlans
) -> list[Case]:
    """Finished cases whose plan would be another one today: their counts do not belong with new ones.

    Another version of a library, or of the code that makes the tables, may do that. If it is so of the baseline, it
    is so of all: they are paired with it.
    """
    finished = [case for case in cases if folder.status(case) == FINISHED]
    others = [
        case for case in finished if plans.mark(case.scenario, case.key).digest != folder.plan_digest(case)
    ]
    return finished if any(case.name == batch.baseline for case in others) else others


def run_batch(
    batch: Batch,
    folder: BatchFolder,
    cases: Sequence[Case],
    executor: Executor,
    *,
    asked: str = "auto",
    retry_failed: bool = False,
    fail_fast: bool = False,
    progress: BatchProgress | None = None,
) -> BatchRun:
    """Count the cases that are not finished yet, file each as it is, and write the tables.

    The results depend on the batch alone: not on the executor, nor on what was finished before.

    Parameters
    ----------
    batch, folder : what to run, and its open folder.
    cases : those wanted, the baseline first.
    executor : who counts.
    asked : engine that was asked for.
    retry_failed : try cases again that failed before.
    fail_fast : end after the first case that fails.

    Raises
    ------
    GammawallError : the results cannot be written, or a cluster was lost. Cases finished until then are filed.
    KeyboardInterrupt : likewise.
    """
    told = progress or BatchProgress()
    run = BatchRun(folder.path)
    todo = _left_to_do(batch, folder, cases, retry_failed)
    left = {case.name for case in todo}
    run.kept = [case.name for case in cases if folder.status(case) == FINISHED and case.name not in left]
    run.failed_before = [
        case.name for case in cases if folder.status(case) == FAILED and case.name not in left
    ]
    records = folder.baseline_records()
    told.start(len(todo), len(run.kept), batch.paths)
    others = [case for case in todo if case.name != batch.baseline]
    versions: dict[str, dict[str, str]] = {}

    def file(ended: CountedCase | FailedCase) -> None:
        if isinstance(ended, FailedCase):
            folder.save_failure(*ended)
            tables.settle(ended.case, None)
            return
        engine = ended.engine.name
        if engine not in versions:
            names = engine.split(", ")
            versions[engine] = installed_versions([lib for name in names for lib in ENGINES[name].libraries])
        manifest = _manifest(batch, ended, asked, versions[engine])
        try:
            folder.save_case(ended.case, ended.counts, manifest, ended.records)
        except GammawallError as error:
            if not tables.give_way(error):
                raise
            folder.save_case(ended.case, ended.counts, manifest, ended.records)
        tables.settle(ended.case, ended.counts)

    def count(chosen: Sequence[Case], baseline: Baseline | None) -> Baseline | None:
        found = None
        for ended in _filed(executor(batch, chosen, baseline, told.advance), file):
            if isinstance(ended, FailedCase):
                run.failed.append(ended.case.name)
                told.case_ended(ended.case.name, ended.error)
                if fail_fast:
                    break
            else:
                run.finished.append(ended.case.name)
                told.case_ended(ended.case.name, None)
                if ended.records is not None:
                    found = Baseline(ended.counts.axes, ended.records)
        return found

    with TableWriter(folder, left, told.tables) as tables:
        baseline = None
        if len(others) < len(todo):
            baseline = count([batch.baseline_case], None)
        elif records is not None and others:
            counts = folder.counts(batch.baseline_case)
            assert counts is not None
            baseline = Baseline(counts.axes, records)
        if others and not (fail_fast and run.failed):
            count(others, baseline)
    run.rows = tables.rows
    return run


def _left_to_do(batch: Batch, folder: BatchFolder, cases: Sequence[Case], retry_failed: bool) -> list[Case]:
    """Cases to count: those not finished, those to be paired with a baseline that they did not have, the baseline."""
    wanted = {NOT_RUN, FAILED} if retry_failed else {NOT_RUN}
    todo = [case for case in cases if folder.status(case) in wanted]
    finished = folder.status(batch.baseline_case) == FINISHED
    if finished or batch.baseline_case in todo:
        others = (case for case in cases if case.name != batch.baseline)
        todo += [case for case in others if folder.status(case) == FINISHED and not folder.is_paired(case)]
    if todo and finished and folder.baseline_records() is None:
        # The records are gone, and only they are wanted again.
        folder.forget([batch.baseline_case])
        todo.insert(0, batch.baseline_case)
    return todo


def _manifest(batch: Batch, ended: CountedCase, asked: str, versions: Mapping[str, str]) -> dict[str, Any]:
    """How a case came about, as of a run of its scenario."""
    assert ended.case.scenario is not None
    return run_manifest(
        ended.case.scenario,
        ended.plan,
        ended.counts.outcomes,
        ended.engine,
        asked=asked,
        seed=batch.seed,
        first_path=0,
        target_se=batch.target_se,
        versions=versions,
        timings=ended.timings,
    )


def _filed(
    ended: Iterable[CountedCase | FailedCase], file: Callable[[CountedCase | FailedCase], None]
) -> Iterator[CountedCase | FailedCase]:
    """Cases as they end, each once it is filed, which happens while the next are counted."""
    with ThreadPoolExecutor(1, thread_name_prefix="files") as clerk:
        waiting: list[tuple[CountedCase | FailedCase, Future[None]]] = []
        for one in ended:
            waiting.append((one, clerk.submit(file, one)))
            while len(waiting) > MOST_WAITING or (waiting and waiting[0][1].done()):
                filed, future = waiting.pop(0)
                future.result()
                yield filed
        for filed, future in waiting:
            future.result()
            yield filed
