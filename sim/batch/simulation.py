"""Simulation of a batch in one call, from the check of its cases to its tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from sim.batch.arguments import COUNTS, check_arguments
from sim.batch.executors import choose_executor
from sim.batch.family import Batch, Case
from sim.batch.file import resolve_batch
from sim.batch.folder import BatchFolder
from sim.batch.opening import check_batch_folder, open_batch_folder
from sim.batch.plans import CasePlans
from sim.batch.rules import refuse_wrong_batch, refuse_wrong_choice
from sim.batch.run import BatchProgress, BatchRun, cases_of_other_plans, check_cases, run_batch
from sim.batch.tls_files import TlsFiles, tls_files
from sim.errors import InputError, Problem
from sim.files.table_files import refuse_parquet_without_pyarrow
from sim.problems import check_type

# Memory of the plans that are kept from the check of the cases to their run.
MOST_PLAN_BYTES = 1 << 30


def simulate_batch(
    batch: Batch | str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    cases: Sequence[Case] | None = None,
    engine: str = "auto",
    threads: int | None = None,
    devices: Sequence[int] | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    tls_ca: str | os.PathLike[str] | None = None,
    tls_cert: str | os.PathLike[str] | None = None,
    tls_key: str | os.PathLike[str] | None = None,
    resume: bool = False,
    accept_changes: bool = False,
    retry_failed: bool = False,
    fail_fast: bool = False,
    overwrite: bool = False,
    parquet: bool = False,
    progress: BatchProgress | None = None,
) -> BatchRun:
    """Simulate a family of scenarios into a folder; see README, Batches.

    The results depend on the batch alone: not on engine, threads, devices, workers, or what was finished before. With
    workers, call it under ``if __name__ == "__main__":``, since they import the calling script.

    Parameters
    ----------
    batch : a `Batch`, as of `load_batch`, a built-in batch's name, or the path of a batch file.
    out : the folder; ``results/<name>`` if None.
    cases : those of `batch.selected`; all if None.
    engine, threads, devices : as in `simulate`; with several devices each has a worker of its own.
    workers, scheduler : dask workers to start here, or the address of a running cluster.
    tls_ca, tls_cert, tls_key : certificate of the authority, own certificate and its key, files in PEM form, for a
        scheduler at a tls:// address; those of dask's configuration if None.
    resume, accept_changes, overwrite : what may be done with a folder that is there; see `open_batch_folder`.
    retry_failed, fail_fast : see `run_batch`.
    parquet : write each table as .parquet too.
    progress : callbacks for cases and paths as they are done.

    Raises
    ------
    InputError : with the problems of all cases, before any runs; or the folder may not be used.
    GammawallError : the engine or the workers are not available, or the results cannot be written.
    KeyboardInterrupt : finished cases are filed.
    """
    files = {"tls_ca": tls_ca, "tls_cert": tls_cert, "tls_key": tls_key}
    how: dict[str, Any] = {
        "engine": engine,
        "threads": threads,
        "devices": devices,
        "workers": workers,
        "scheduler": scheduler,
        "resume": resume,
        "accept_changes": accept_changes,
        "retry_failed": retry_failed,
        "fail_fast": fail_fast,
        "overwrite": overwrite,
        "parquet": parquet,
        "progress": progress,
    }
    check_arguments({"out": out, **files, **how})
    # NumPy's integers are taken too, but overflow.
    how |= {name: int(how[name]) for name in COUNTS if how[name] is not None}
    how["devices"] = None if devices is None else [int(device) for device in devices]
    batch = resolve_batch(batch)
    refuse_wrong_batch(batch)
    hint = 'Try batch.selected("impact*", None).'
    chosen = _listed_cases(cases, hint)
    for index, case in enumerate(chosen):
        check_type(f"cases[{index}]", case, Case, "a Case", hint)
    refuse_wrong_choice(batch, chosen)
    tls = tls_files(tls_ca, tls_cert, tls_key)
    return simulate_into_folder(batch, out, cases=cases, tls=tls, **how)


def _listed_cases(cases: Any, hint: str) -> Sequence[Case]:
    if cases is None:
        return ()
    check_type("cases", cases, (tuple, list), "a list of a batch's cases", hint)
    return tuple(cases)


def simulate_into_folder(
    batch: Batch,
    out: str | os.PathLike[str] | None = None,
    *,
    cases: Sequence[Case] | None = None,
    engine: str = "auto",
    threads: int | None = None,
    devices: Sequence[int] | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    tls: TlsFiles | None = None,
    resume: bool = False,
    accept_changes: bool = False,
    retry_failed: bool = False,
    fail_fast: bool = False,
    overwrite: bool = False,
    parquet: bool = False,
    progress: BatchProgress | None = None,
    plans: CasePlans | None = None,
    opened: Callable[[BatchFolder], None] | None = None,
    finish: Callable[[BatchFolder, BatchRun], None] | None = None,
) -> BatchRun:
    """Simulate a loaded batch into a folder, with hooks; see `simulate_batch`.

    Parameters
    ----------
    plans : cache of plans; a new one if None.
    opened : called with the open folder before the first case.
    finish : called with the folder and the outcome after the last table.

    Raises
    ------
    InputError, GammawallError, KeyboardInterrupt : as in `simulate_batch`.
    """
    chosen = batch.selected(None, None) if cases is None else cases
    if parquet:
        refuse_parquet_without_pyarrow()
    check_batch_folder(batch, out, resume=resume, overwrite=overwrite)
    plans = CasePlans(MOST_PLAN_BYTES) if plans is None else plans
    check_cases(chosen, plans, progress)
    with (
        choose_executor(
            engine, devices, threads, workers, scheduler, tls, plans, (progress or BatchProgress()).waiting
        ) as executor,
        open_batch_folder(
            batch, out, resume=resume, accept_changes=accept_changes, overwrite=overwrite, parquet=parquet
        ) as folder,
    ):
        others = cases_of_other_plans(batch, folder, chosen, plans) if resume else []
        if others and not accept_changes:
            why = f"{len(others)} finished cases, {others[0].name} for one, were counted with other tables"
            hint = "Try the libraries they were counted with, or --accept-changes to count them again."
            raise InputError([Problem("", "--resume", str(folder.path), why, hint)])
        folder.forget(others)
        if opened is not None:
            opened(folder)
        run = run_batch(
            batch,
            folder,
            chosen,
            executor,
            asked=engine,
            retry_failed=retry_failed,
            fail_fast=fail_fast,
            progress=progress,
        )
        if finish is not None:
            finish(folder, run)
    return run
