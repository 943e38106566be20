"""Choice of the executor of a batch: an engine in this process, worker processes here, or a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sim.batch.family import Batch, Case
from sim.batch.local_executor import Baseline, CountedCase, FailedCase, count_locally
from sim.batch.plans import CasePlans
from sim.batch.run import Executor
from sim.batch.tls_files import TlsFiles
from sim.engines.choice import choose


@contextmanager
def choose_executor(
    engine: str = "auto",
    devices: Sequence[int] | None = None,
    threads: int | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    tls: TlsFiles | None = None,
    plans: CasePlans | None = None,
    waiting: Callable[[str], None] | None = None,
) -> Iterator[Executor]:
    """Executor that counts the cases of a batch.

    Parameters
    ----------
    engine : name of the engine, here or on the workers.
    devices : numbers of GPUs; with several, or with workers, each has a worker of its own.
    threads : number of processors to use in this process.
    workers : number of worker processes to start on this machine.
    scheduler : address of a running dask cluster.
    tls : certificates for a scheduler at a tls:// address.
    plans : cache with the plans of the cases checked before.
    waiting : called with what is being waited for.

    Raises
    ------
    InputError, GammawallError : the engine is not available, or the workers are not.
    """
    pinned = devices is not None and len(devices) > 1
    if workers is not None or scheduler is not None or pinned:
        from sim.batch.dask_executor import open_dask_executor

        with open_dask_executor(
            engine,
            devices=devices,
            workers=workers,
            scheduler=scheduler,
            tls=tls,
            plans=plans,
            waiting=waiting,
        ) as executor:
            yield executor
        return
    here = choose(engine, threads, devices=devices)

    def count(
        batch: Batch,
        cases: Sequence[Case],
        baseline: Baseline | None,
        progress: Callable[[int, int], None],
    ) -> Iterator[CountedCase | FailedCase]:
        return count_locally(batch, cases, here, baseline, progress, plans)

    yield count
