"""Execution of a batch on dask workers: processes on this machine, one per GPU, or a running cluster.

A chunk is a range of the paths of one case. The counts of chunks are integers, which are added as they come, so that
neither the number nor the order of the workers changes a result, nor does a worker that dies: its chunks are counted
again.

The only module that imports dask.distributed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from multiprocessing import resource_tracker
from typing import Any
from urllib.parse import urlsplit

from sim.batch.chunks import (
    OTHER_VERSION,
    CaseInProgress,
    Chunk,
    PackedBaseline,
    UnfitWorkerError,
    count_chunk,
    pack,
    worker_state,
)
from sim.batch.family import Batch, Case
from sim.batch.local_executor import MOST_PAIRED, Baseline, CountedCase, FailedCase, failed_case, paths_left
from sim.batch.plans import CasePlans
from sim.batch.run import Executor
from sim.compiled.kernel_sources import code_digest
from sim.engines.choice import ENGINES, device_engine
from sim.errors import GammawallError

INSTALL = "pip install 'gammawall-sim[cluster]'"
SMALLEST_CHUNK = 1 << 14
# Chunks that wait on the scheduler for each thread of a worker, so that none is idle.
CHUNKS_AHEAD = 3
# Deaths of workers that a chunk survives.
ALLOWED_DEATHS = 5
JOIN_TIMEOUT_S = 60
# Seconds between two looks at how many workers there are.
LOOK_S = 1.0
# Seconds that a scheduler may take to answer at all.
LISTEN_S = 10.0
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
    plans: CasePlans | None = None,
    waiting: Callable[[str], None] | None = None,
) -> Iterator[Executor]:
    """Executor that shares the chunks of a batch among dask workers.

    Parameters
    ----------
    engine : name of the engine that workers use.
    devices : numbers of GPUs of this machine, each pinned to a worker in turn, for an engine that runs on them.
    workers : number of worker processes to start here; one per device, or one, if None.
    scheduler : address of a running cluster to use instead.
    plans : plans of the cases checked before.
    waiting : called with what is being waited for, "for workers to start" for instance.

    Raises
    ------
    InputError : devices are given, and the engine runs on the processor.
    GammawallError : dask.distributed is not installed, no worker is there, or one cannot do the work.
    """
    try:
        import distributed
    except ImportError as error:
        raise GammawallError(f"several workers need dask.distributed ({error}). Try {INSTALL}.") from error
    if devices is not None:
        engine = device_engine(engine, devices)
    stack = ExitStack()
    try:
        stack.enter_context(_quiet_logs())
        if scheduler is not None:
            _refuse_deaf_address(scheduler)
        if waiting is not None:
            waiting("for workers to start" if scheduler is None else f"for workers at {scheduler}")
        try:
            where = scheduler or stack.enter_context(_local_cluster(workers, devices))
            client = stack.enter_context(
                distributed.Client(where, timeout=JOIN_TIMEOUT_S, set_as_default=False)
            )
            client.wait_for_workers(1, timeout=JOIN_TIMEOUT_S)
            chunk_steps = _chunk_steps(client, engine)
        except GammawallError:
            raise
        except (OSError, TimeoutError, ValueError, RuntimeError) as error:
            why = f"no dask workers at {scheduler or 'this machine'} ({error or type(error).__name__})"
            raise GammawallError(f"{why}. Is the scheduler running, and has it workers?") from error
        yield _DaskExecutor(client, chunk_steps, engine, CasePlans() if plans is None else plans)
    finally:
        with _interrupts_held():  # a second Ctrl-C must not leave workers behind
            stack.close()


@contextmanager
def _quiet_logs() -> Iterator[None]:
    """Context that silences dask's logs: what matters of them is reported as a GammawallError."""
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    levels = {log: log.level for log in map(logging.getLogger, ["distributed", *names])}
    for log in levels:
        log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for log, level in levels.items():
            log.setLevel(level)


@contextmanager
def _local_cluster(workers: int | None, devices: Sequence[int] | None) -> Iterator[Any]:
    """Cluster of worker processes on this machine, of one thread each, and one GPU each if devices are given."""
    import dask
    import distributed

    chosen = None if devices is None else visible_devices(devices)
    count = workers or (1 if chosen is None else len(chosen))
    # Nothing of it is to be seen from other machines.
    private = {"host": "127.0.0.1", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    options: dict[str, Any] = {
        "nthreads": 1,
        "memory_limit": 0,
        "silence_logs": logging.CRITICAL + 1,
        **private,
    }
    spec = {
        number: {
            "cls": distributed.Nanny,
            "options": {
                **options,
                **({"env": {"CUDA_VISIBLE_DEVICES": chosen[number % len(chosen)]}} if chosen else {}),
            },
        }
        for number in range(count)
    }
    scheduler = {"cls": distributed.Scheduler, "options": {**private, "port": 0}}
    with dask.config.set({"distributed.scheduler.allowed-failures": ALLOWED_DEATHS}):
        with _interrupts_held():
            cluster = distributed.SpecCluster(spec, scheduler, silence_logs=logging.CRITICAL + 1)
        with cluster:
            yield cluster


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Context that holds Ctrl-C back until its end, and keeps it from the processes and threads started inside.

    They inherit the blocked signal, and so do workers that are started later in place of dead ones: a terminal sends
    Ctrl-C to all processes, but only this one knows what to do.
    """
    if os.name != "posix" or threading.current_thread() is not threading.main_thread():
        yield
        return
    resource_tracker.ensure_running()  # which would let it through, were it started in the context
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _refuse_deaf_address(address: str) -> None:
    """Raise GammawallError unless something listens at a scheduler's address; dask would try for a minute."""
    place = urlsplit(address if "://" in address else f"tcp://{address}")
    try:
        host, port = place.hostname, place.port
    except ValueError:
        host, port = None, None
    if not host or not port:
        raise GammawallError(f"--scheduler {address} is no address such as tcp://node1:8786.")
    if place.scheme not in ("tcp", "tls"):
        return
    try:
        socket.create_connection((host, port), timeout=LISTEN_S).close()
    except OSError as error:
        why = f"no dask workers at {address} ({error.strerror or error})"
        raise GammawallError(f"{why}. Is the scheduler running, and has it workers?") from error


def visible_devices(devices: Sequence[int], mask: str | None = None) -> list[str]:
    """Values of CUDA_VISIBLE_DEVICES, one per device, each of which shows a worker that device alone.

    Parameters
    ----------
    devices : numbers of the devices, as this process sees them.
    mask : CUDA_VISIBLE_DEVICES of this process; read from the environment if None.

    Errors: GammawallError if the mask has no such device.
    """
    mask = os.environ.get("CUDA_VISIBLE_DEVICES", "") if mask is None else mask
    names = [name.strip() for name in mask.split(",") if name.strip()]
    if not names:
        return [str(device) for device in devices]
    absent = [device for device in devices if device >= len(names)]
    if absent:
        raise GammawallError(
            f"there is no device {max(absent)}: CUDA_VISIBLE_DEVICES={mask} has {len(names)}."
        )
    return [names[device] for device in devices]


def _chunk_steps(client: Any, engine: str) -> int:
    """Path-steps of a chunk: the fewest that any worker's engine prefers.

    Errors: GammawallError if a worker cannot do the work.
    """
    names = []
    for address, state in client.run(worker_state, engine, on_error="return").items():
        if isinstance(state, BaseException):
            raise GammawallError(f"worker {address} cannot use gammawall ({state}). Try {INSTALL} there.")
        code, name, problem = state
        if problem:
            raise GammawallError(f"worker {address}: {problem}")
        if code != code_digest():
            raise GammawallError(f"worker {address} has {OTHER_VERSION}")
        names.append(name)
    return min(ENGINES[name].chunk_steps for name in names)


class _DaskExecutor:
    """Executor that cuts cases into chunks, shares these among the workers of a client, and joins their counts."""

    def __init__(self, client: Any, chunk_steps: int, asked: str, plans: CasePlans):
        self.client, self.chunk_steps, self.asked, self.plans = client, chunk_steps, asked, plans
        self._threads, self._looked = 1, -math.inf

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
        """Number of threads of all workers, looked up at most once per `LOOK_S`."""
        if time.monotonic() - self._looked > LOOK_S:
            self._threads = max(1, sum(int(threads) for threads in self.client.nthreads().values()))
            self._looked = time.monotonic()
        return self._threads


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
            self.client.cancel(list(self.at_work), force=True)

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
            state.add(chunk, future.result())
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
