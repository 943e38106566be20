"""Run of a batch: the cases left to do are counted by an executor and filed as they finish."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sim.batch.case_counts import counts_problem
from sim.batch.family import Batch, Case
from sim.batch.folder import BatchFolder
from sim.batch.local_executor import Baseline, CountedCase, FailedCase, failed_case
from sim.batch.plans import CasePlans
from sim.batch.table_writer import TableWriter
from sim.batch.tables import FAILED, FINISHED, NOT_RUN, Row
from sim.engines.choice import ENGINES
from sim.engines.processor import available_processors
from sim.errors import GammawallError, InputError, Problem, error_text
from sim.files.versions import installed_versions
from sim.problems import short_repr, shown
from sim.run.manifest import run_manifest

# Finished cases that may wait to be filed while the next one is counted.
MOST_WAITING = 2


class Executor(Protocol):
    """Function that counts cases: on an engine in this process, see `count_locally`, or on a cluster."""

    def __call__(
        self,
        batch: Batch,
        cases: Sequence[Case],
        baseline: Baseline | None,
        progress: Callable[[int, int], None],
    ) -> Iterator[CountedCase | FailedCase]:
        """Cases in any order, each as soon as it is counted or has failed.

        Parameters
        ----------
        batch : paths, seed and target standard error of every case.
        cases : cases to count.
        baseline : baseline to pair the cases with; None for no pairs.
        progress : called with (paths done, steps per path) now and then.
        """


class BatchProgress:
    """Progress callbacks of a running batch; the base class ignores them."""

    def __repr__(self) -> str:
        return short_repr(self, "")

    def checking(self, done: int, cases: int) -> None:
        """Report the number of cases checked so far, of how many."""

    def waiting(self, what: str) -> None:
        """Report the reason for waiting, "for workers to start" for instance."""

    def start(self, cases: int, finished: int, paths: int) -> None:
        """Report the cases to run, the cases finished before, and the fewest paths of each case."""

    def advance(self, paths: int, steps: int) -> None:
        """Report paths just counted, and the steps per path."""

    def case_ended(self, name: str, error: str | None) -> None:
        """Report a case that has finished, or failed with an error."""

    def tables(self, done: int, cases: int) -> None:
        """Report the number of cases whose tables are written, of how many."""


@dataclass
class BatchRun:
    """Outcome of a batch's run.

    Attributes
    ----------
    folder : folder of the results.
    finished, failed : names of the cases that finished or failed in this run.
    kept : names of the cases that were finished before.
    failed_before : names of the cases that had failed before and were not tried again.
    rows : rows of batch.csv.
    notes : sentences about damaged files of cases that were finished before.
    """

    folder: Path
    finished: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed_before: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

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
    cases : cases to check.
    plans : cache in which the plans are kept for the run.
    progress : callbacks, `checking` among them.

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
    """Finished cases whose plan has changed since: their counts do not belong with new ones.

    Another version of a library, or of the code that makes the tables, may change a plan. If that of the baseline has
    changed, all finished cases are returned: they are paired with it.
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
    cases : cases wanted, the baseline first.
    executor : function that counts the cases.
    asked : name of the engine that was asked for.
    retry_failed : try cases again that failed before.
    fail_fast : end after the first case that fails.
    progress : callbacks; see `BatchProgress`.

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

    def file(ended: CountedCase | FailedCase) -> CountedCase | FailedCase:
        if isinstance(ended, FailedCase):
            folder.save_failure(*ended)
            tables.settle(ended.case, None)
            return ended
        engine = ended.engine.name
        if engine not in versions:
            names = engine.split(", ")
            versions[engine] = installed_versions([lib for name in names for lib in ENGINES[name].libraries])
        try:
            _save(folder, tables, ended, _manifest(batch, ended, asked, versions[engine]))
        except (GammawallError, OSError, MemoryError):
            raise
        except Exception as error:  # one case that cannot be filed stops no other
            if folder.status(ended.case) != FINISHED:
                return file(FailedCase(ended.case, error_text(error), traceback.format_exc()))
            tables.give_way(error)  # it is filed: what its tables lack is told at the end
        tables.settle(ended.case, ended.counts)
        return ended

    def count(chosen: Sequence[Case], baseline: Baseline | None) -> Baseline | None:
        found = None
        counted = (_checked(ended, folder) for ended in executor(batch, chosen, baseline, told.advance))
        for ended in _filed(counted, file):
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
    run.rows, run.notes = tables.rows, [*folder.notes, *folder.damage.values()]
    return run


def _checked(ended: CountedCase | FailedCase, folder: BatchFolder) -> CountedCase | FailedCase:
    """Counted case whose counts can be those of a case and of its pairs with the baseline; else a failed case."""
    if isinstance(ended, FailedCase):
        return ended
    problem = counts_problem(ended.counts, folder.baseline_margins() if ended.counts.pairs else None)
    if problem is None:
        return ended
    why = f"it was counted wrongly ({problem}). Please report this with the batch and gammawall engines."
    return failed_case(ended.case, GammawallError(why))


def _left_to_do(batch: Batch, folder: BatchFolder, cases: Sequence[Case], retry_failed: bool) -> list[Case]:
    """Cases to count: those not finished, those still to be paired with the baseline, and the baseline if needed."""
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


def _save(folder: BatchFolder, tables: TableWriter, ended: CountedCase, manifest: Mapping[str, Any]) -> None:
    """File a counted case, on a full disk in place of the tables written so far."""
    try:
        folder.save_case(ended.case, ended.counts, manifest, ended.records)
    except GammawallError as error:
        if not tables.give_way(error):
            raise
        folder.save_case(ended.case, ended.counts, manifest, ended.records)


def _manifest(batch: Batch, ended: CountedCase, asked: str, versions: Mapping[str, str]) -> dict[str, Any]:
    """Manifest of a counted case, like that of a run of its scenario."""
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
    ended: Iterable[CountedCase | FailedCase],
    file: Callable[[CountedCase | FailedCase], CountedCase | FailedCase],
) -> Iterator[CountedCase | FailedCase]:
    """Cases as they end, each once it is filed; filing takes place while the next cases are counted."""
    with ThreadPoolExecutor(1, thread_name_prefix="files") as clerk:
        waiting: list[Future[CountedCase | FailedCase]] = []
        for one in ended:
            waiting.append(clerk.submit(file, one))
            while len(waiting) > MOST_WAITING or (waiting and waiting[0].done()):
                yield waiting.pop(0).result()
        for filed in waiting:
            yield filed.result()
