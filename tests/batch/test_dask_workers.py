"""Schedulers and workers that do not answer, or not as they should: one message, and never a wait without an end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.batch_results import contents, small_batch
from support.dask_clusters import certificates, client_of, some_workers

from sim.batch import dask_executor, dask_workers, local_cluster, scheduler_address
from sim.batch.executors import choose_executor
from sim.batch.opening import open_batch_folder
from sim.batch.run import BatchProgress, run_batch
from sim.batch.tables import FINISHED
from sim.batch.tls_files import TlsFiles
from sim.errors import GammawallError, InputError

distributed = pytest.importorskip("distributed")
posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
# Seconds within which an interrupted process has ended on a busy machine; else it takes half of one.
PROMPTLY_S = 10.0


@contextmanager
def plain_cluster(workers: int) -> Iterator[Any]:
    """Running cluster without encryption, as one that somebody has started by hand."""
    with distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=60
    ) as cluster:
        yield cluster


def refusal(scheduler: str, tls: TlsFiles | None = None) -> str:
    """The one message with which a scheduler is refused."""
    with pytest.raises(GammawallError) as refused, choose_executor("numpy", scheduler=scheduler, tls=tls):
        pass
    text = str(refused.value)
    assert len(text.splitlines()) == 1
    return text


def test_a_scheduler_without_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_workers, "ANSWER_S", 2.0)
    with plain_cluster(0) as cluster:
        assert refusal(cluster.scheduler_address).endswith("has no workers. Start some, and try again.")


@posix
def test_a_worker_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_workers, "ANSWER_S", 3.0)
    with plain_cluster(1) as cluster:
        with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
            (worker,) = client.run(os.getpid).values()
        os.kill(worker, signal.SIGSTOP)
        try:
            assert "not all workers at tcp://127.0.0.1:" in refusal(cluster.scheduler_address)
        finally:
            os.kill(worker, signal.SIGKILL)


def test_a_scheduler_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    with plain_cluster(0) as cluster:
        monkeypatch.setattr(dask_workers, "version", lambda _name: "1999.1.0")
        said = refusal(cluster.scheduler_address)
    assert "has distributed 20" in said
    assert "and 1999.1.0 is here. Install the same version on both sides." in said


def test_encrypted_and_plain_addresses_of_the_wrong_kind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(scheduler_address, "SILENCE_S", 0.5)
    foreign = certificates(distributed.Security.temporary(), tmp_path / "foreign")
    with some_workers(1) as cluster:
        own = certificates(cluster.security, tmp_path / "own")
        address = cluster.scheduler_address
        plain = address.replace("tls://", "tcp://")
        assert f"encrypted connections are expected there: try {address}" in refusal(plain)
        assert "not signed by the authority given" in refusal(address, foreign)
        mixed = TlsFiles(own.ca, foreign.cert, foreign.key)
        assert "it refuses this certificate" in refusal(address, mixed)
        with choose_executor("numpy", scheduler=address, tls=own):
            pass
    with plain_cluster(0) as cluster:
        wrong = cluster.scheduler_address.replace("tcp://", "tls://")
        assert "it does not speak TLS: try tcp:// if its network can be trusted" in refusal(wrong, foreign)


def test_certificates_for_a_plain_address(tmp_path: Path) -> None:
    tls = certificates(distributed.Security.temporary(), tmp_path / "own")
    with (
        pytest.raises(InputError, match=r"certificates are of no use for it\)\. Try tls://127\.0\.0\.1:9"),
        choose_executor("numpy", scheduler="tcp://127.0.0.1:9", tls=tls),
    ):
        pass


def test_a_local_cluster_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever dask says, it is one message."""

    def cluster(*_: Any, **__: Any) -> None:
        raise KeyError("Invalid time unit: soon")

    monkeypatch.setattr(distributed, "SpecCluster", cluster)
    with (
        pytest.raises(
            GammawallError, match=r"workers did not start on this machine .*Invalid time unit: soon"
        ),
        choose_executor("numpy", workers=1),
    ):
        pass


class Dismiss(BatchProgress):
    """Takes all workers away for good once two cases have ended."""

    def __init__(self, cluster: Any):
        self.cluster, self.ended = cluster, 0

    def case_ended(self, name: str, error: str | None) -> None:
        self.ended += 1
        if self.ended == 2:
            self.cluster.scale(0)


def test_all_workers_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told soon; what was finished until then is filed, and the batch goes on without them."""
    monkeypatch.setattr(dask_workers, "GONE_S", 1.0)
    monkeypatch.setattr(dask_executor, "LOOK_S", 0.2)
    monkeypatch.setattr(dask_executor, "SMALLEST_CHUNK", 500)
    batch = small_batch(paths=20_000)
    with some_workers(1) as cluster:
        tls = certificates(cluster.security, tmp_path / "tls")
        with (
            pytest.raises(GammawallError, match=r"all workers are gone\. Finished cases are filed; go on"),
            open_batch_folder(batch, tmp_path / "b") as folder,
            choose_executor("numpy", scheduler=cluster.scheduler_address, tls=tls) as executor,
        ):
            run_batch(batch, folder, batch.cases, executor, progress=Dismiss(cluster))
    for name in ("b", "whole"):
        with (
            open_batch_folder(batch, tmp_path / name, resume=True) as folder,
            choose_executor("numpy", threads=1) as executor,
        ):
            finished = sum(folder.status(case) == FINISHED for case in batch.cases)
            assert (0 < finished < len(batch.cases)) == (name == "b")
            run_batch(batch, folder, batch.cases, executor)
    assert contents(tmp_path / "b", machine=False) == contents(tmp_path / "whole", machine=False)


def test_local_workers_that_hang_at_their_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_cluster, "START_S", 0.1)
    monkeypatch.setattr(local_cluster, "START_EACH_S", 0.0)
    monkeypatch.setattr(distributed, "SpecCluster", lambda *_, **__: time.sleep(5))
    with (
        pytest.raises(GammawallError, match=r"workers did not start within 0 s: .* busy, or one hangs\. Try"),
        choose_executor("numpy", workers=1),
    ):
        pass


class Stop(BatchProgress):
    """Stops the only worker once a case has ended, as if it hung."""

    def __init__(self, worker: int):
        self.worker, self.stopped = worker, False

    def case_ended(self, name: str, error: str | None) -> None:
        if not self.stopped:
            self.stopped = True
            os.kill(self.worker, signal.SIGSTOP)


@posix
@pytest.mark.parametrize("silent_s", [2.0, 60.0])
def test_a_worker_that_hangs_while_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent_s: float
) -> None:
    """Silence of all workers is told soon; one that was started here is replaced, and its chunks counted again."""
    monkeypatch.setattr(local_cluster, "HANGING_S", 1.0)
    monkeypatch.setattr(local_cluster, "HANGING_EACH_S", 0.0)
    monkeypatch.setattr(dask_workers, "SILENT_WORKER_S", silent_s)
    monkeypatch.setattr(dask_executor, "SMALLEST_CHUNK", 500)
    batch = small_batch(paths=5_000)
    with some_workers(1) as own:
        with client_of(own) as client:
            (worker,) = client.run(os.getpid).values()
        tls = certificates(own.security, tmp_path / "tls")
        with (
            open_batch_folder(batch, tmp_path / "b") as folder,
            choose_executor("numpy", scheduler=own.scheduler_address, tls=tls) as executor,
        ):
            if silent_s < 10:
                with pytest.raises(GammawallError, match=r"all workers are silent: no .* for 2 s\. Finished"):
                    run_batch(batch, folder, batch.cases, executor, progress=Stop(worker))
            else:
                done = run_batch(batch, folder, batch.cases, executor, progress=Stop(worker))
                assert len(done.finished) == len(batch.cases)


@contextmanager
def silent_server(greeting: bytes) -> Iterator[str]:
    """Address at which a server says a greeting and nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def serve() -> None:
            try:
                while True:
                    kept.append(server.accept()[0])
                    kept[-1].sendall(len(greeting).to_bytes(8, "little") + greeting if greeting else b"")
            except OSError:
                pass

        threading.Thread(target=serve, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        for connection in kept:
            connection.close()


@contextmanager
def empty_scheduler() -> Iterator[str]:
    with plain_cluster(0) as cluster:
        yield cluster.scheduler_address


STUCK = "import distributed, time\ndistributed.SpecCluster = lambda *_, **__: time.sleep(120)\n"
STAGES = {"looking": lambda: silent_server(b""), "waiting": empty_scheduler}


@posix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("stage", STAGES)
def test_signals_end_every_wait(tmp_path: Path, stage: str, number: signal.Signals, code: int) -> None:
    """While it looks what is there, and while it waits for workers."""
    with STAGES[stage]() as address:
        ended_by(tmp_path, ["--scheduler", address], number, code)


@posix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("first", ["", STUCK], ids=["starting", "stuck"])
def test_signals_end_the_start_of_workers(
    tmp_path: Path, first: str, number: signal.Signals, code: int
) -> None:
    """Of workers that are about to be there, and of those that never will."""
    ended_by(tmp_path, ["--workers", "3"], number, code, first)


def ended_by(folder: Path, options: list[str], number: signal.Signals, code: int, first: str = "") -> None:
    """Check that a batch ends promptly and in order by a signal while it waits.

    first : lines of Python that are run before.
    """
    told = folder / "told"
    program = (
        f"{first}"
        "import sys, pathlib, sim.batch.dask_workers as w\n"
        "before = w.quiet_dask\n"
        "def tell():\n"
        f"    pathlib.Path({str(told)!r}).touch()\n"
        "    return before()\n"
        "w.quiet_dask = tell\n"
        "from sim.cli.main import main\n"
        'if __name__ == "__main__":\n'
        "    main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", program, "batch", "horizon", "--only", "base", "--engine", "numpy"]
    process = subprocess.Popen(
        [*command, *options, "--out", str(folder / "b")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while not told.exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        time.sleep(0.5)
        began = time.monotonic()
        os.killpg(process.pid, number)  # as a terminal does
        _, errors = process.communicate(timeout=60)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert time.monotonic() - began < PROMPTLY_S
    assert process.returncode == code
    assert errors == ("interrupted: nothing was written\n" if number == signal.SIGINT else "")
    assert not (folder / "b").exists()


def test_the_workers_end_with_the_batch() -> None:
    with some_workers(1) as cluster, client_of(cluster) as client:
        (worker,) = client.run(os.getpid).values()
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("a worker is still there")
