"""Workers on this machine: closed to strangers, one per device, no more than make sense."""

from __future__ import annotations

import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.dask_clusters import client_of, some_workers

from sim.batch.executors import choose_executor
from sim.batch.local_cluster import _builder, local_cluster, refuse_too_many, visible_devices
from sim.errors import GammawallError, InputError

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with some_workers(1) as cluster:
        yield cluster


def ports_of(cluster: Any) -> dict[str, str]:
    """Address of each server of a cluster, by its kind."""
    with client_of(cluster) as client:
        client.wait_for_workers(1, timeout=60)
        ((worker, state),) = client.scheduler_info()["workers"].items()
    return {"scheduler": cluster.scheduler_address, "worker": worker, "nanny": state["nanny"]}


async def answer(address: str, security: Any) -> object:
    """What a server says of itself."""
    arguments = security.get_connection_args("client")
    server = distributed.core.rpc(address, connection_args=arguments, timeout=3)
    try:
        return await server.identity()
    finally:
        await server.close_rpc()


def asked(address: str, security: Any) -> object:
    """Answer of a server, asked from a loop of its own."""
    from distributed.utils import LoopRunner, sync

    runner = LoopRunner(asynchronous=False)
    runner.start()
    try:
        return sync(runner.loop, answer, address, security, callback_timeout=30)
    finally:
        runner.stop()


@pytest.mark.parametrize("kind", ["scheduler", "worker", "nanny"])
def test_strangers_are_refused(cluster: Any, kind: str) -> None:
    """Neither without encryption nor with a certificate of one's own can a server be asked for anything."""
    address = ports_of(cluster)[kind]
    assert address.startswith("tls://127.0.0.1:")
    plain = address.replace("tls://", "tcp://")
    for where, security in ((plain, distributed.Security()), (address, distributed.Security.temporary())):
        with pytest.raises(OSError, match=r".*"):
            asked(where, security)
    assert asked(address, cluster.security)


def test_keys_are_never_in_a_file_that_others_can_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The library that makes them hands them to OpenSSL as files, in a folder of the user's own."""
    modes: list[int] = []
    make = tempfile.TemporaryDirectory

    def watched(*arguments: Any, **named: Any) -> Any:
        folder = make(*arguments, **named)
        modes.append(stat.S_IMODE(os.stat(folder.name).st_mode))
        return folder

    monkeypatch.setattr(tempfile, "TemporaryDirectory", watched)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    distributed.Security.temporary().get_connection_args("client")
    assert modes
    assert set(modes) == {0o700}
    assert not list(tmp_path.iterdir())


def test_no_pages_are_served(cluster: Any) -> None:
    assert not cluster.scheduler.http_application.applications


@pytest.mark.parametrize(
    ("devices", "mask", "names"),
    [((0, 1), "", ["0", "1"]), ((1, 0), "4,7", ["7", "4"]), ((0,), "GPU-aa,GPU-bb", ["GPU-aa"])],
)
def test_devices_as_a_worker_sees_them(devices: tuple[int, ...], mask: str, names: list[str]) -> None:
    assert visible_devices(devices, mask) == names


def test_a_device_that_is_masked() -> None:
    with pytest.raises(GammawallError, match="there is no device 2: CUDA_VISIBLE_DEVICES=4,7 has 2"):
        visible_devices((0, 2), "4,7")


def test_a_worker_per_device() -> None:
    """Each worker process sees its own GPU alone."""
    with local_cluster(distributed, None, (0, 3)) as cluster, client_of(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        seen = client.run(lambda: os.environ["CUDA_VISIBLE_DEVICES"])
        assert sorted(seen.values()) == ["0", "3"]


def test_more_workers_than_make_sense() -> None:
    refuse_too_many(8, "workers")
    with pytest.raises(
        InputError, match=r"workers = 100000 \(more than \d+ workers of one thread each make no"
    ):
        refuse_too_many(100_000, "workers")


def test_an_engine_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told before any worker is started."""
    monkeypatch.setattr("sim.batch.local_cluster.engine_problem", lambda name: f"no {name} here.")
    monkeypatch.setattr(distributed, "SpecCluster", None)
    with pytest.raises(GammawallError, match="no cuda here"), choose_executor("auto", devices=(0, 1)):
        pass


def test_a_start_that_is_given_up_starts_no_further_worker() -> None:
    """Its thread goes on; nothing waits for what it has made when the process ends."""
    started: list[str] = []
    library = SimpleNamespace(
        Security=SimpleNamespace(temporary=lambda: None),
        Scheduler=None,
        Nanny=lambda address, **_: started.append(address) or address,
        SpecCluster=lambda spec, *_, **how: (spec, how),
    )
    nannies: list[Any] = []
    given_up = threading.Event()
    spec, how = _builder(library, 2, None, nannies, given_up)()  # type: ignore[arg-type]
    assert how["shutdown_on_close"] is False
    spec[0]["cls"]("tls://first")
    given_up.set()
    with pytest.raises(RuntimeError, match="given up"):
        spec[1]["cls"]("tls://second")
    assert started == nannies == ["tls://first"]
