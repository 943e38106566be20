"""Execution of a batch on dask workers: processes on this machine, one per GPU, or a running cluster.

A chunk is a range of the paths of one case. The counts of chunks are integers, which are added as they come, so that
neither the number nor the order of the workers changes a result, nor does a worker that dies: its chunks are counted
again.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from sim.batch.chunks import CaseInProgress, Chunk, PackedBaseline, UnfitWorkerError, count_chunk, pack
from sim.batch.dask_workers import CLOSE_S, ReadyWorkers, dask_workers
from sim.batch.family import Batch, Case
from sim.batch.heartbeats import Heartbeats
from sim.batch.local_cluster import ALLOWED_DEATHS
from sim.batch.local_executor import MOST_PAIRED, Baseline, CountedCase, FailedCase, failed_case, paths_left
from sim.batch.patience import PIECE_S, within
from sim.batch.plans import CasePlans
from sim.batch.run import Executor
from sim.batch.tls_files import TlsFiles
from sim.compiled.kernel_sources import code_digest
from sim.errors import GammawallError

SMALLEST_CHUNK = 1 << 14
# Chunks that wait on the scheduler for each thread of a worker, so that none is idle.
CHUNKS_AHEAD = 3
# Seconds between two looks at how many workers there are.
LOOK_S = 1.0
# Seconds after which a scheduler that does not answer will not do so any more.
SILENT_S = 12.0
# Seconds to fetch the result of a chunk.
FETCH_S = 60.0
GO_ON = "Finished cases are filed; go on with --resume."

# First path and number of paths.
PathRange = tuple[int, int]


@contextmanager
def open_dask_executor(
    engine: str,
    *,
    devices: Sequence[int] | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    tls: TlsFiles | None = None,
    plans: CasePlans | None = None,
    waiting: Callable[[str], None] | None = None,
) -> Iterator[Executor]:
    """Executor that shares the chunks of a batch among dask workers.

    Parameters
    ----------
    engine, devices, workers, scheduler, tls, waiting : see `dask_workers`.
    plans : plans of the cases checked before.

    Errors: those of `dask_workers`.
    """
    with dask_workers(
        engine, devices=devices, workers=workers, scheduler=scheduler, tls=tls, waiting=waiting
    ) as ready:
        yield _DaskExecutor(ready, CasePlans() if plans is None else plans, waiting or (lambda _what: None))


class _DaskExecutor:
    """Executor that cuts cases into chunks, shares these among the workers of a client, and joins their counts."""

    def __init__(self, ready: ReadyWorkers, plans: CasePlans, waiting: Callable[[str], None]):
        self.client, self.chunk_steps, self.asked, self.plans = (
            ready.client,
            ready.chunk_steps,
            ready.engine,
            plans,
        )
        self._replaced_s, self._waiting = ready.replaced_s, waiting
        self._heartbeats, self._told_silent = Heartbeats(ready.silent_s), set[str]()
        self._threads, self._looked, self._worked = 1, -math.inf, time.monotonic()

    def __call__(
        self,
        batch: Batch,
        cases: Sequence[Case],
        baseline: Baseline | None,
        progress: Callable[[int, int], None],
    ) -> Iterator[CountedCase | FailedCase]:
        """Cases, each as it is finished or has failed; see `sim.batch.run.Executor`."""
        return _Sharing(self, batch, cases, baseline, progress).cases_ended()

    @property
    def threads(self) -> int:
        """Number of threads of all workers, looked up at most once per `LOOK_S`.

        Errors: GammawallError if the scheduler is lost, or all workers are gone.
        """
        if time.monotonic() - self._looked > LOOK_S:
            self._look()
        return self._threads

    def _look(self) -> None:
        if self.client.status != "running":
            raise GammawallError(f"the connection to the dask scheduler was lost. {GO_ON}")
        try:
            workers = within(SILENT_S, self._workers)
        except TimeoutError as error:
            raise GammawallError(f"the dask scheduler does not answer any more. {GO_ON}") from error
        self._looked = time.monotonic()
        if workers:
            self._threads = sum(int(state["nthreads"]) for state in workers.values())
            self._worked = self._looked
            self._hear(workers)
        elif self._looked - self._worked > self._replaced_s:
            raise GammawallError(f"all workers are gone. {GO_ON}")

    def _workers(self) -> dict[str, dict[str, Any]]:
        """What the scheduler says of each worker, by address."""
        return dict(self.client.sync(self.client.scheduler.identity)["workers"])

    def _hear(self, workers: dict[str, dict[str, Any]]) -> None:
        """Tell which workers give no sign of life.

        Errors: GammawallError if none does.
        """
        silent = self._heartbeats.silent(workers)
        if len(silent) == len(workers):
            raise GammawallError(
                f"all workers are silent: no sign of life for {self._heartbeats.silent_s:.0f} s. {GO_ON}"
            )
        for address in silent:
            if address not in self._told_silent:
                self._told_silent.add(address)
                self._waiting(f"for worker {address}, which gives no sign of life")


class _Sharing:
    """State of a batch being counted: cases waiting, chunks waiting, chunks submitted to workers."""

    def __init__(
        self,
        executor: _DaskExecutor,
        batch: Batch,
        cases: Sequence[Case],
        baseline: Baseline | None,
        progress: Callable[[int, int], None],
    ):
        import distributed

        self.executor, self.batch, self.baseline, self.progress = executor, batch, baseline, progress
        self.client = executor.client
        self.waiting = list(reversed(cases))
        self.cases = len(cases)
        self.chunks: list[Chunk] = []  # the next one last
        self.in_progress: dict[int, CaseInProgress] = {}
        self.at_work: dict[Any, Chunk] = {}
        self.completed = distributed.as_completed(loop=self.client.loop)
        # The baseline's records by range of paths, and how many chunks that are still out are paired with each.
        self.sent: dict[PathRange, Any] = {}
        self.pairing: Counter[PathRange] = Counter()
        self.code = code_digest()
        self.digests: dict[int, str] = {}

    def cases_ended(self) -> Iterator[CountedCase | FailedCase]:
        """Cases, each as it is finished or has failed."""
        try:
            yield from self._submit()
            while self.at_work:
                self._wait()
                future = next(self.completed)
                chunk = self.at_work.pop(future)
                ended = self._take(chunk, future)
                yield from self._submit()
                if ended is not None:
                    yield ended
        except (OSError, TimeoutError) as error:
            raise GammawallError(
                f"the connection to the dask scheduler was lost ({error}). {GO_ON}"
            ) from error
        finally:
            with suppress(Exception):  # workers that are gone, or a scheduler that does not answer
                within(CLOSE_S, lambda: self.client.cancel(list(self.at_work), force=True))

    def _wait(self) -> None:
        """Wait until a chunk has ended.

        Errors: GammawallError if none will any more; see `_DaskExecutor.threads`.
        """
        while not self.completed.has_ready():
            _ = self.executor.threads
            with self.completed.thread_condition:
                self.completed.thread_condition.wait(timeout=PIECE_S)

    def _submit(self) -> Iterator[FailedCase]:
        """Submit chunks until enough wait on the scheduler; yield the cases whose plan cannot be made."""
        while len(self.at_work) < CHUNKS_AHEAD * self.executor.threads and (self.chunks or self.waiting):
            if not self.chunks:
                case = self.waiting.pop()
                try:
                    self._plan_case(len(self.in_progress), case)
                except Exception as error:
                    yield failed_case(case, error)
                continue
            chunk = self.chunks.pop()
            case = self.in_progress[chunk.case].case
            future = self.client.submit(
                count_chunk,
                case.scenario,
                case.key,
                self.batch.seed,
                chunk.first,
                chunk.paths,
                self.executor.asked,
                (self.code, self.digests[chunk.case]),
                case.name == self.batch.baseline and chunk.first < MOST_PAIRED,
                self._baseline_of(chunk),
                pure=False,
            )
            self.at_work[future] = chunk
            self.completed.add(future)

    def _plan_case(self, number: int, case: Case) -> None:
        mark = self.executor.plans.mark(case.scenario, case.key)
        self.digests[number] = mark.digest
        self.in_progress[number] = CaseInProgress(case, mark.steps, datetime.now(UTC))
        self._plan_paths(number, 0, self.batch.paths)
        self._drop_unpaired()  # the case before may have been cut otherwise

    def _plan_paths(self, number: int, first: int, paths: int) -> None:
        """Cut a range of a case's paths into chunks, small enough that all workers have some."""
        state = self.in_progress[number]
        even = -(-paths * self.cases // self.executor.threads)
        size = max(SMALLEST_CHUNK, min(self.executor.chunk_steps // state.steps, even))
        chunks = [
            Chunk(number, here, min(size, first + paths - here)) for here in range(first, first + paths, size)
        ]
        state.planned += paths
        state.out += len(chunks)
        self.chunks += reversed(chunks)
        self.pairing.update(_path_range(chunk) for chunk in chunks)

    def _baseline_of(self, chunk: Chunk) -> Any:
        """Future of the baseline's records of a chunk's paths; None without any.

        It is a task, so that the records outlive the worker that holds them.
        """
        if self.baseline is None or chunk.first >= self.baseline.records.size:
            return None
        key = _path_range(chunk)
        if key not in self.sent:
            records = self.baseline.records[chunk.first : chunk.first + chunk.paths]
            packed = PackedBaseline(self.baseline.axes, chunk.first, pack(records))
            self.sent[key] = self.client.submit(_same, packed, pure=False)
        return self.sent[key]

    def _settle(self, chunks: Sequence[Chunk]) -> None:
        """Take note of chunks that are counted or given up."""
        self.pairing.subtract(_path_range(chunk) for chunk in chunks)
        if not self.waiting:
            self._drop_unpaired()

    def _drop_unpaired(self) -> None:
        """Release the baseline's records of ranges that no chunk still out is paired with."""
        for key in [key for key in self.sent if self.pairing[key] <= 0]:
            del self.sent[key]

    def _take(self, chunk: Chunk, future: Any) -> CountedCase | FailedCase | None:
        """Take a chunk's result; return its case if this was its last chunk, or if it failed."""
        state = self.in_progress[chunk.case]
        if state.out == 0:
            self._settle([chunk])
            return None  # the case has failed already
        if future.status in ("lost", "pending"):  # its worker died before the result was fetched
            self.chunks.append(chunk)
            return None
        self._settle([chunk])
        if future.status != "finished":
            return self._failed(chunk.case, future)
        try:
            state.add(chunk, future.result(timeout=FETCH_S))
        except (OSError, TimeoutError, CancelledError, asyncio.CancelledError) as error:
            raise GammawallError(f"the dask scheduler has lost the work ({error}). {GO_ON}") from error
        state.out -= 1
        self.progress(chunk.paths, state.steps)
        if state.out:
            return None
        assert state.outcomes is not None
        more = paths_left(self.batch, state.outcomes, 0)
        if more:
            self._plan_paths(chunk.case, state.planned, more)
            return None
        ended = state.ended(self.executor.threads)
        state.outcomes = state.pairs = state.counted = None
        state.records.clear()
        return ended

    def _failed(self, number: int, future: Any) -> FailedCase:
        """Failed case of a chunk that failed; its other chunks are dropped.

        Errors: GammawallError if the worker or the scheduler is at fault rather than the case.
        """
        import distributed

        state = self.in_progress[number]
        state.out = 0
        self._settle([chunk for chunk in self.chunks if chunk.case == number])
        self.chunks = [chunk for chunk in self.chunks if chunk.case != number]
        error = future.exception() if future.status == "error" else None
        if error is None:
            raise GammawallError(f"the dask scheduler has lost the work ({future.status}). {GO_ON}")
        if isinstance(error, UnfitWorkerError):
            raise GammawallError(f"{error} {GO_ON}") from error
        if isinstance(error, distributed.KilledWorker):
            deaths = f"{1 + getattr(error, 'allowed_failures', ALLOWED_DEATHS)} workers died at this case"
            why = GammawallError(f"{deaths}, for want of memory perhaps. Try fewer workers.")
            return failed_case(state.case, why)
        return failed_case(state.case, error.with_traceback(future.traceback()))


def _path_range(chunk: Chunk) -> PathRange:
    return chunk.first, chunk.paths


def _same(value: Any) -> Any:
    return value
