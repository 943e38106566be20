"""Cluster of dask workers on this machine: processes of one thread each, closed to everybody else on it.

Whoever reaches a port of a dask cluster can run code as its owner. Addresses of the loopback interface are open to
all users of a machine, so that scheduler, workers and client know each other by a certificate that is made for this
one cluster and kept in memory.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from sim.batch.dask_library import INSTALL, dask_settings
from sim.batch.patience import within
from sim.batch.scratch_folder import scratch_folder
from sim.engines.choice import AUTO, engine_problem
from sim.engines.processor import available_processors
from sim.errors import GammawallError, InputError, Problem

# Deaths of workers that a chunk survives.
ALLOWED_DEATHS = 5
# Seconds that the workers may take to start, together and for each.
START_S = 30.0
START_EACH_S = 3.0
# Seconds that they may take to end, and those where something has gone wrong or Ctrl-C was pressed.
END_S = 10.0
END_NOW_S = 1.0
# Workers on one machine: processes of some hundred megabytes, each of which takes a second or two to start.
MOST_PER_PROCESSOR = 4
ALWAYS_ALLOWED = 32
# Open files of a cluster in this process and in each worker, and more for each of its workers, on the safe side.
FILES = 256
FILES_EACH = 32
HOST = "127.0.0.1"
SETTINGS = {
    "distributed.scheduler.allowed-failures": ALLOWED_DEATHS,
    # Pages that would be served to everybody on the machine.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # Locks are for the folders that workers of several clusters share; those of this one are removed together.
    "distributed.worker.use-file-locking": False,
}
# Seconds without a sign of life after which a worker that hangs is killed, and more if many share a processor. It is
# looked for as often, so that its chunk is counted again after twice that at the latest.
HANGING_S = 20.0
HANGING_EACH_S = 2.0
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
SILENT = logging.CRITICAL + 1


def refuse_too_many(workers: int, where: str) -> None:
    """Refuse more workers than make sense on this machine.

    where : what messages call their number.

    Errors: InputError.
    """
    processors = available_processors()
    most = max(ALWAYS_ALLOWED, MOST_PER_PROCESSOR * processors)
    if workers > most:
        why = f"more than {most} workers of one thread each make no sense on {processors} processors"
        raise InputError([Problem("", where, str(workers), why, f"Try {processors}.")])


def few_files(workers: int) -> str:
    """Sentences on a limit on open files that is too low for workers; "" if it is none."""
    try:
        import resource
    except ImportError:  # not on this system
        return ""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY or limit >= FILES + FILES_EACH * workers:
        return ""
    return (
        f"Too many open files, perhaps: the limit is {limit}. Try ulimit -n {FILES + FILES_EACH * workers}."
    )


def refuse_missing_engine(engine: str) -> None:
    """Refuse an engine that workers on this machine would not have, before any of them is started.

    Errors: GammawallError.
    """
    why = None if engine == AUTO else engine_problem(engine)
    if why:
        raise GammawallError(why)


@contextmanager
def local_cluster(
    distributed: ModuleType, workers: int | None, devices: Sequence[int] | None
) -> Iterator[Any]:
    """Cluster of worker processes on this machine, of one thread each, and one GPU each if devices are given.

    Its attribute `security` has the certificate that its clients need.

    Errors: GammawallError if the workers do not start.
    """
    chosen = None if devices is None else visible_devices(devices)
    count = workers or (1 if chosen is None else len(chosen))
    nannies: list[Any] = []
    given_up = threading.Event()
    with scratch_folder() as scratch, dask_settings(_settings(scratch, count)):
        build = _builder(distributed, count, chosen, nannies, given_up)
        try:
            start_s = START_S + START_EACH_S * count
            cluster = within(start_s, build, shielded=True)
        except TimeoutError as error:
            given_up.set()
            _end_now(nannies, None)
            why = f"workers did not start within {start_s:.0f} s: this machine is too busy, or one hangs"
            raise GammawallError(f"{why}. Try again, with fewer workers perhaps.") from error
        except BaseException:
            given_up.set()
            _end_now(nannies, None)
            raise
        try:
            yield cluster
        except BaseException:
            _end_now(nannies, cluster)
            raise
        _close(cluster, END_S)
        _kill_workers(nannies)


def _settings(scratch: Path, workers: int) -> dict[str, Any]:
    """Settings of dask for a cluster.

    scratch : folder for what its processes write.
    """
    hanging_s = HANGING_S + HANGING_EACH_S * workers / available_processors()
    return {
        **SETTINGS,
        "temporary-directory": str(scratch),
        "distributed.scheduler.worker-ttl": f"{hanging_s:.0f}s",
    }


def _builder(
    distributed: ModuleType,
    count: int,
    chosen: Sequence[str] | None,
    nannies: list[Any],
    given_up: threading.Event,
) -> Callable[[], Any]:
    """Function that starts a cluster and waits for its workers.

    nannies : list to which it adds what watches each worker process.
    given_up : set once nobody waits for the cluster any more; no further worker is started then.
    """
    try:
        security = distributed.Security.temporary()
    except ImportError as error:
        raise GammawallError(f"workers of its own need cryptography ({error}). Try {INSTALL}.") from error
    # Nothing of it is to be seen from other machines.
    private = {
        "host": HOST,
        "protocol": "tls://",
        "security": security,
        "dashboard": False,
        "dashboard_address": f"{HOST}:0",
    }
    options: dict[str, Any] = {"nthreads": 1, "memory_limit": 0, "silence_logs": SILENT, **private}

    def nanny(address: str, **given: Any) -> Any:
        if given_up.is_set():
            raise RuntimeError("the start was given up")
        nannies.append(distributed.Nanny(address, **given))
        return nannies[-1]

    def device(number: int) -> dict[str, Any]:
        return {"env": {"CUDA_VISIBLE_DEVICES": chosen[number % len(chosen)]}} if chosen else {}

    spec = {number: {"cls": nanny, "options": {**options, **device(number)}} for number in range(count)}
    scheduler = {"cls": distributed.Scheduler, "options": {**private, "port": 0}}
    # It is closed below, and not waited for at exit.
    return lambda: distributed.SpecCluster(
        spec, scheduler, security=security, silence_logs=SILENT, shutdown_on_close=False
    )


def _end_now(nannies: Sequence[Any], cluster: Any) -> None:
    """End a cluster although its workers are at work, who would answer only after their chunk.

    cluster : None if it has not been started whole.
    """
    for nanny in nannies:
        with contextlib.suppress(Exception):
            nanny.loop.add_callback(nanny.close_gracefully)  # so that it starts no other worker in its place
    _kill_workers(nannies)
    if cluster is not None:
        _close(cluster, END_NOW_S)
    _kill_workers(nannies)


def _close(cluster: Any, seconds: float) -> None:
    with contextlib.suppress(Exception):
        within(seconds, cluster.close)


def _kill_workers(nannies: Sequence[Any]) -> None:
    for nanny in nannies:
        with contextlib.suppress(Exception):  # it has ended by itself, or has none yet
            os.kill(nanny.pid, KILL)


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
