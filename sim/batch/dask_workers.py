"""Dask workers for a batch: started here or found at a scheduler, and fit for the work.

Nothing here waits for ever. A scheduler and its workers answer within `ANSWER_S`, or one message says what is there
instead.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from types import ModuleType
from typing import Any, NamedTuple

from sim.batch.chunks import OTHER_VERSION, worker_state
from sim.batch.dask_library import (
    INSTALL,
    LONGEST_REASON,
    configuration_places,
    dask_setting,
    load_distributed,
    quiet_dask,
)
from sim.batch.local_cluster import few_files, local_cluster, refuse_missing_engine, refuse_too_many
from sim.batch.patience import Deadline, interrupts_held, within
from sim.batch.scheduler_address import SchedulerAddress, read_address, refuse_other_servers
from sim.batch.script_guard import refuse_daemon, refuse_unguarded_script
from sim.batch.tls_files import TlsFiles
from sim.compiled.kernel_sources import code_digest
from sim.engines.choice import ENGINES, device_engine
from sim.engines.processor import available_processors
from sim.errors import GammawallError, InputError, Problem, one_line

# Seconds for a scheduler and all of its workers to answer.
ANSWER_S = 10.0
# Seconds for the workers to import the package, from a slow disk perhaps.
IMPORT_S = 30.0
# Seconds after which workers that are gone will not come back, and more for each that this machine starts anew.
GONE_S = 12.0
REPLACED_EACH_S = 2.0
# Seconds without a sign of life after which a worker of a cluster counts as silent.
SILENT_WORKER_S = 30.0
# Seconds for a good-bye to the scheduler.
CLOSE_S = 0.5
# What messages call the arguments.
SCHEDULER, WORKERS = "scheduler", "workers"


class ReadyWorkers(NamedTuple):
    """Workers that are fit for a batch.

    Attributes
    ----------
    client : their client.
    chunk_steps : path-steps of a chunk.
    engine : name of the engine.
    replaced_s : seconds within which the first of them are back if all die at once.
    silent_s : seconds without a sign of life after which a worker is given up; none for those that are replaced.
    """

    client: Any
    chunk_steps: int
    engine: str
    replaced_s: float
    silent_s: float


@contextmanager
def dask_workers(
    engine: str,
    *,
    devices: Sequence[int] | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    tls: TlsFiles | None = None,
    waiting: Callable[[str], None] | None = None,
) -> Iterator[ReadyWorkers]:
    """Workers that are fit for a batch, here or on a cluster.

    Parameters
    ----------
    engine : name of the engine that workers use.
    devices : numbers of GPUs of this machine, each pinned to a worker in turn, for an engine that runs on them.
    workers : number of worker processes to start here; one per device, or one, if None.
    scheduler : address of a running cluster to use instead.
    tls : certificates for a scheduler at a tls:// address; those of dask's configuration if None.
    waiting : called with what is being waited for, "for workers to start" for instance.

    Raises
    ------
    InputError : devices are given, and the engine runs on the processor; or the address, the certificates or dask's
        configuration are of no use.
    GammawallError : dask.distributed is not installed, no worker is there, or one cannot do the work.
    """
    if devices is not None:
        engine = device_engine(engine, devices)
    address = None if scheduler is None else read_address(scheduler, SCHEDULER)
    if address is None:
        refuse_missing_engine(engine)
        refuse_too_many(workers or 1, WORKERS)
        refuse_daemon()
        refuse_unguarded_script()
    distributed = load_distributed()
    stack = ExitStack()
    try:
        stack.enter_context(quiet_dask())
        told = waiting or (lambda _what: None)
        with _failures_told(scheduler, workers or len(devices or (0,))):
            if address is None:
                told("for workers to start")
                cluster = stack.enter_context(local_cluster(distributed, workers, devices))
                client = _client(stack, distributed, cluster.scheduler_address, cluster.security, ANSWER_S)
            else:
                told(f"for workers at {scheduler}")
                client = _remote_client(stack, distributed, address, tls or TlsFiles())
            told("for workers to import gammawall")
            chunk_steps = _chunk_steps(client, engine)
        here = 0 if address is not None else workers or len(devices or (0,))
        replaced_s = GONE_S + here * REPLACED_EACH_S / available_processors()
        silent_s = math.inf if address is None else SILENT_WORKER_S
        yield ReadyWorkers(client, chunk_steps, engine, replaced_s, silent_s)
    except BaseException:
        with interrupts_held():  # a second Ctrl-C must not leave workers behind
            stack.__exit__(*sys.exc_info())
        raise
    with interrupts_held():
        stack.close()


@contextmanager
def _failures_told(scheduler: str | None, workers: int) -> Iterator[None]:
    """Context that turns whatever goes wrong between dask and its workers into one message."""
    try:
        yield
    except InputError:
        raise
    except GammawallError as error:
        few = few_files(workers)
        if scheduler is not None or not few:
            raise
        raise GammawallError(f"{str(error).partition(' Try ')[0]} {few}") from error
    except Exception as error:
        why = one_line(str(error) or type(error).__name__, LONGEST_REASON)
        if scheduler is not None:
            hint = "Is the scheduler running, has it workers, and has it the same version of distributed?"
            raise GammawallError(f"no dask workers at {scheduler} ({why}). {hint}") from error
        places = configuration_places()
        hint = f"Try without dask's configuration: {', '.join(places)}." if places else "Try fewer workers."
        hint = few_files(workers) or hint
        raise GammawallError(f"workers did not start on this machine ({why}). {hint}") from error


def _remote_client(
    stack: ExitStack, distributed: ModuleType, address: SchedulerAddress, tls: TlsFiles
) -> Any:
    """Client of a running cluster that has workers, all of which answer.

    Errors: InputError, GammawallError.
    """
    deadline = Deadline(ANSWER_S)
    security, context = None, None
    if address.scheme == "tls":
        tls, names = tls.or_configured(dask_setting)
        context = tls.context(names)
        security = distributed.Security(
            require_encryption=True, tls_ca_file=tls.ca, tls_client_cert=tls.cert, tls_client_key=tls.key
        )
    elif tls.any_given:
        hint = f"Try tls://{address.text.partition('://')[2]}."
        raise InputError([Problem("", SCHEDULER, address.text, "certificates are of no use for it", hint)])
    refuse_other_servers(address, context, deadline.left)
    client = _client(stack, distributed, address.text, security, deadline.left)
    theirs = within(deadline.left, lambda: client.sync(client.scheduler.versions))
    there, here = theirs["packages"].get("distributed"), version("distributed")
    if there != here:
        raise GammawallError(
            f"the scheduler at {address.text} has distributed {there}, and {here} is here. "
            "Install the same version on both sides."
        )
    try:
        within(deadline.left, lambda: client.wait_for_workers(1, timeout=deadline.left))
    except TimeoutError as error:
        raise GammawallError(
            f"the scheduler at {address.text} has no workers. Start some, and try again."
        ) from error
    try:
        within(deadline.left, lambda: client.run(os.getpid, on_error="return"))
    except TimeoutError as error:
        raise GammawallError(
            f"not all workers at {address.text} answer. End those that hang, and try again."
        ) from error
    return client


def _client(stack: ExitStack, distributed: ModuleType, where: str, security: Any, seconds: float) -> Any:
    """Connected client, which the stack closes."""

    class Client(distributed.Client):  # type: ignore[misc,name-defined]
        """Client that is closed here or left alone; its own finalizer would wait for a mute scheduler."""

        def __del__(self) -> None:
            pass

    def connect() -> Any:
        return Client(where, timeout=seconds, set_as_default=False, security=security)

    client = within(seconds + CLOSE_S, connect)
    stack.callback(_close, client)
    return client


def _close(client: Any) -> None:
    """Close a client, or leave it if that takes long: its scheduler may not answer any more."""
    with suppress(Exception):
        within(CLOSE_S, client.close)


def _chunk_steps(client: Any, engine: str) -> int:
    """Path-steps of a chunk: the fewest that any worker's engine prefers.

    Errors: GammawallError if a worker cannot do the work.
    """
    names = []
    try:
        states = within(IMPORT_S, lambda: client.run(worker_state, engine, on_error="return"))
    except TimeoutError as error:
        raise GammawallError(
            f"not all workers have imported gammawall within {IMPORT_S:.0f} s. End those that hang, and try again."
        ) from error
    for address, state in states.items():
        if isinstance(state, OSError):
            raise GammawallError(f"worker {address} has died, for want of memory perhaps. Try fewer workers.")
        if isinstance(state, BaseException):
            raise GammawallError(f"worker {address} cannot use gammawall ({state}). Try {INSTALL} there.")
        code, name, problem = state
        if problem:
            raise GammawallError(f"worker {address}: {problem}")
        if code != code_digest():
            raise GammawallError(f"worker {address} has {OTHER_VERSION}")
        names.append(name)
    if not names:
        raise GammawallError("all workers have ended. Start some, and try again.")
    return min(ENGINES[name].chunk_steps for name in names)
