"""Batches on dask workers: the same files whatever the workers do."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.batch_results import IMPOSSIBLE, SINGLES, contents, rows, small_batch
from support.dask_clusters import certificates, client_of, some_workers

from sim.batch.chunks import UnfitWorkerError, count_chunk
from sim.batch.executors import choose_executor
from sim.batch.family import Batch
from sim.batch.opening import open_batch_folder
from sim.batch.run import BatchProgress, BatchRun, run_batch
from sim.batch.tables import FAILED, FINISHED
from sim.compiled.kernel_sources import code_digest
from sim.engines.choice import ENGINES
from sim.errors import GammawallError
from sim.plan.builder import prepare

distributed = pytest.importorskip("distributed")
dask_executor = pytest.importorskip("sim.batch.dask_executor")
dask_workers = pytest.importorskip("sim.batch.dask_workers")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the small batch, run in this process."""
    out = tmp_path_factory.mktemp("whole") / "b"
    batch = small_batch()
    with open_batch_folder(batch, out) as folder, choose_executor("numpy", threads=1) as executor:
        run_batch(batch, folder, batch.cases, executor)
    return out


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two workers."""
    with some_workers(2) as cluster:
        yield cluster


@pytest.fixture
def own_cluster() -> Iterator[Any]:
    """Two workers that come back when they die, but for one that dies while it starts: none for the next test."""
    with some_workers(2) as cluster:
        yield cluster


def chunks_have(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Let chunks of every engine have so many path-steps."""
    small = {name: dataclasses.replace(entry, chunk_steps=steps) for name, entry in ENGINES.items()}
    monkeypatch.setattr(dask_workers, "ENGINES", small)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 500 paths: six per case."""
    monkeypatch.setattr(dask_executor, "SMALLEST_CHUNK", 500)
    chunks_have(monkeypatch, 500 * 12)


def reach(cluster: Any, folder: Path) -> dict[str, Any]:
    """Arguments that reach a cluster, encrypted or not; its certificates are put into a folder."""
    address = cluster.scheduler_address
    tls = certificates(cluster.security, folder) if address.startswith("tls") else None
    return {"scheduler": address, "tls": tls}


def run(
    batch: Batch, out: Path, cluster: Any, progress: BatchProgress | None = None, **options: Any
) -> BatchRun:
    with (
        open_batch_folder(batch, out, resume=True) as folder,
        choose_executor("numpy", **reach(cluster, out.parent / "tls")) as executor,
    ):
        return run_batch(batch, folder, batch.cases, executor, progress=progress, **options)


@pytest.mark.usefixtures("small_chunks")
def test_same_files_as_in_one_process(whole: Path, cluster: Any, tmp_path: Path) -> None:
    done = run(small_batch(), tmp_path / "b", cluster)
    assert len(done.finished) == 9
    assert contents(tmp_path / "b", machine=False) == contents(whole, machine=False)


@pytest.mark.usefixtures("small_chunks")
def test_the_baseline_is_held_only_where_chunks_are_paired_with_it(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cases whose paths are cut otherwise leave nothing behind for those after them."""
    sharings: list[Any] = []

    class Watched(dask_executor._Sharing):
        def __init__(self, *arguments: Any):
            super().__init__(*arguments)
            self.ranges: set[tuple[int, int]] = set()
            self.most_held = 0
            sharings.append(self)

        def _baseline_of(self, chunk: Any) -> Any:
            records = super()._baseline_of(chunk)
            self.ranges |= self.sent.keys()
            self.most_held = max(self.most_held, len(self.sent))
            return records

    monkeypatch.setattr(dask_executor, "_Sharing", Watched)
    done = run(
        small_batch(case=[], grid={"volatility.steps_per_session": [1, 2, 4]}), tmp_path / "b", cluster
    )
    assert len(done.finished) == 4
    of_baseline, of_others = sharings
    assert not of_baseline.ranges
    assert len({size for _, size in of_others.ranges}) > 1
    assert of_others.most_held < len(of_others.ranges)
    assert not of_others.sent
    assert not +of_others.pairing


def test_chunks_of_whole_cases(whole: Path, cluster: Any, tmp_path: Path) -> None:
    run(small_batch(), tmp_path / "b", cluster)
    assert contents(tmp_path / "b", machine=False) == contents(whole, machine=False)


class Kill(BatchProgress):
    """Kills a worker process whenever so many paths have been counted."""

    def __init__(self, client: Any, every: int):
        self.client, self.every, self.paths, self.killed = client, every, 0, 0

    def advance(self, paths: int, steps: int) -> None:
        self.paths += paths
        if self.paths >= (self.killed + 1) * self.every and self.killed < 3:
            self.killed += 1
            pids = self.client.run(os.getpid)
            os.kill(sorted(pids.values())[self.killed % len(pids)], signal.SIGKILL)


@pytest.mark.usefixtures("small_chunks")
def test_killed_workers_change_nothing(whole: Path, own_cluster: Any, tmp_path: Path) -> None:
    """Three workers die, the first while the baseline is counted."""
    with client_of(own_cluster) as client:
        killer = Kill(client, 1_500)
        done = run(small_batch(), tmp_path / "b", own_cluster, killer)
    assert killer.killed == 3
    assert len(done.finished) == 9
    assert contents(tmp_path / "b", machine=False) == contents(whole, machine=False)


class LoseResults(BatchProgress):
    """Kills the only worker while it holds results that nobody has fetched."""

    def __init__(self, client: Any):
        self.client, self.lost = client, 0

    def advance(self, paths: int, steps: int) -> None:
        if self.lost:
            return
        held: set[str] = set()
        while not held or any(self.client.processing().values()):
            time.sleep(0.05)
            held = {key for keys in self.client.has_what().values() for key in keys if "count_chunk" in key}
        self.lost = len(held)
        (worker,) = self.client.run(os.getpid).values()
        os.kill(worker, signal.SIGKILL)
        while any(self.client.has_what().values()):
            time.sleep(0.01)
        time.sleep(0.2)  # until the batch's own client knows; a new worker takes longer to start


@pytest.mark.usefixtures("small_chunks")
def test_results_that_die_with_their_worker_are_counted_again(whole: Path, tmp_path: Path) -> None:
    with (
        some_workers(1) as own,
        client_of(own) as client,
    ):
        losing = LoseResults(client)
        done = run(small_batch(), tmp_path / "b", own, losing)
    assert losing.lost > 1  # one of them was fetched already
    assert len(done.finished) == 9
    assert contents(tmp_path / "b", machine=False) == contents(whole, machine=False)


@pytest.mark.usefixtures("small_chunks")
def test_a_target_standard_error(cluster: Any, tmp_path: Path) -> None:
    """Rounds end where they do in one process, and pairs reach as far as the baseline does."""
    batch = small_batch(paths=1_000, target_se=0.004, max_paths=70_000, grid={})
    run(batch, tmp_path / "b", cluster)
    with (
        open_batch_folder(batch, tmp_path / "one") as folder,
        choose_executor("numpy", threads=1) as executor,
    ):
        run_batch(batch, folder, batch.cases, executor)
    assert contents(tmp_path / "b", machine=False) == contents(tmp_path / "one", machine=False)


@pytest.mark.usefixtures("small_chunks")
def test_a_case_that_fails(cluster: Any, tmp_path: Path) -> None:
    batch = small_batch(case=[*SINGLES, IMPOSSIBLE])
    done = run(batch, tmp_path / "b", cluster)
    assert done.failed == ["impossible"]
    assert len(done.finished) == 9
    row = next(row for row in rows(tmp_path / "b") if row["scenario"] == "impossible")
    assert row["status"] == FAILED
    assert "m_floor" in row["error"]
    trace = (tmp_path / "b" / "cases" / "impossible" / "traceback.txt").read_text()
    assert "map_tables.py" in trace


def test_workers_of_another_version_are_refused(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_workers, "code_digest", lambda: "another")
    with (
        pytest.raises(GammawallError, match=r"worker tls://.* has another version"),
        choose_executor("numpy", **reach(cluster, tmp_path)),
    ):
        pass


def test_workers_without_the_engine_are_refused(cluster: Any, tmp_path: Path) -> None:
    with (
        pytest.raises(GammawallError, match=r"worker tls://.*cuda engine is not available"),
        choose_executor("cuda", **reach(cluster, tmp_path)),
    ):
        pass


class Break(BatchProgress):
    """Makes the workers unfit once the baseline is counted, as one is that joins late with another version."""

    def __init__(self, client: Any):
        self.client = client

    def case_ended(self, name: str, error: str | None) -> None:
        if name == "base":
            self.client.run(_become_another_version)


def _become_another_version() -> None:
    import sim.batch.chunks

    sim.batch.chunks.code_digest = lambda: "another"  # type: ignore[assignment]


def test_an_unfit_worker_fails_no_case(whole: Path, tmp_path: Path) -> None:
    batch = small_batch()
    with (
        some_workers(1) as own,
        client_of(own) as client,
    ):
        with pytest.raises(
            GammawallError, match=r"another version .* Finished cases are filed; go on with --resume"
        ):
            run(batch, tmp_path / "b", own, Break(client))
        with open_batch_folder(batch, tmp_path / "b", resume=True) as folder:
            statuses = [folder.status(case) for case in batch.cases]
    assert statuses[0] == FINISHED
    assert FAILED not in statuses
    with (
        open_batch_folder(batch, tmp_path / "b", resume=True) as folder,
        choose_executor("numpy", threads=1) as here,
    ):
        run_batch(batch, folder, batch.cases, here)
    assert contents(tmp_path / "b", machine=False) == contents(whole, machine=False)


class Join(BatchProgress):
    """Adds two workers once the first case has ended, and looks how many then have work."""

    def __init__(self, cluster: Any, client: Any):
        self.cluster, self.client, self.busy, self.joined = cluster, client, 0, False

    def advance(self, paths: int, steps: int) -> None:
        if not self.joined:
            self.joined = True
            self.cluster.scale(3)
            self.client.wait_for_workers(3, timeout=120)
        self.busy = max(self.busy, sum(1 for tasks in self.client.processing().values() if tasks))


def test_workers_that_join_late_have_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_executor, "LOOK_S", 0.0)
    monkeypatch.setattr(dask_executor, "SMALLEST_CHUNK", 10_000)
    chunks_have(monkeypatch, 10_000 * 12)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=60
        ) as own,
        distributed.Client(own.scheduler_address, set_as_default=False) as client,
    ):
        joining = Join(own, client)
        run(small_batch(paths=400_000, grid={}), tmp_path / "b", own, joining)
    assert joining.busy == 3


def test_what_is_waited_for_is_told(cluster: Any, tmp_path: Path) -> None:
    told: list[str] = []
    address = cluster.scheduler_address
    with choose_executor("numpy", **reach(cluster, tmp_path), waiting=told.append):
        pass
    assert told == [f"for workers at {address}", "for workers to import gammawall"]


def test_ctrl_c_reaches_no_worker(own_cluster: Any) -> None:
    """Neither the first ones, nor one that was started in place of a dead one."""
    with client_of(own_cluster) as client:
        client.wait_for_workers(2, timeout=60)
        before = client.run(os.getpid)
        os.kill(min(before.values()), signal.SIGKILL)
        now = set(before.values())
        while now == set(before.values()) or len(now) < 2:
            time.sleep(0.2)
            answers = client.run(os.getpid, on_error="ignore")  # one is dying
            now = set(answers.values())
        for pid in now:
            os.kill(pid, signal.SIGINT)
        time.sleep(1)
        assert set(client.run(os.getpid, on_error="ignore").values()) == now


def test_a_worker_that_makes_other_tables_counts_nothing() -> None:
    case = small_batch().cases[1]
    assert case.scenario is not None
    plan = prepare(case.scenario).plan
    chunk = (case.scenario, (case.name, case.hash), 1, 0, 100, "numpy")
    for code, digest, said in (
        (code_digest(), "0" * 64, "a worker makes other tables"),
        ("another", plan.digest, "a worker has another version"),
    ):
        with pytest.raises(UnfitWorkerError, match=said):
            count_chunk(*chunk, (code, digest), False, None)
    assert count_chunk(*chunk, (code_digest(), plan.digest), False, None).outcomes.paths == 100


class Close(BatchProgress):
    """Closes the cluster once two cases have ended."""

    def __init__(self, cluster: Any):
        self.cluster, self.ended = cluster, 0

    def case_ended(self, name: str, error: str | None) -> None:
        self.ended += 1
        if self.ended == 2:
            closing = threading.Thread(target=self.cluster.close)
            closing.start()
            closing.join()


def test_a_scheduler_that_dies(tmp_path: Path) -> None:
    """What was finished until then is filed."""
    batch = small_batch(paths=20_000)
    with (
        some_workers(1) as own,
        pytest.raises(GammawallError, match="scheduler"),
    ):
        run(batch, tmp_path / "b", own, Close(own))
    with open_batch_folder(batch, tmp_path / "b", resume=True) as folder:
        finished = [case for case in batch.cases if folder.status(case) == FINISHED]
    assert 0 < len(finished) < 9


def ends(group: int, within: float) -> bool:
    """Whether the last process of a group ends in so many seconds."""
    for _ in range(int(within / 0.1)):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_from_the_command_line(tmp_path: Path) -> None:
    """`--workers 2`, interrupted and resumed: no worker stays behind, and the results are those of one process."""
    options = ["--set", "market.sessions=3", "--set", "volatility.steps_per_session=3", "--engine", "numpy"]
    command = [
        sys.executable,
        "-m",
        "sim.cli",
        "batch",
        "horizon",
        "--only",
        "base",
        *options,
        "--paths",
        "40k",
    ]
    first = subprocess.Popen(
        [*command, "--workers", "2", "--paths", "1e9", "--out", str(tmp_path / "x")],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while not (tmp_path / "x" / "batch.json").exists():
            assert first.poll() is None
            time.sleep(0.1)
        time.sleep(2)
        os.killpg(first.pid, signal.SIGINT)  # as a terminal does
        _, errors = first.communicate(timeout=60)
    except BaseException:
        os.killpg(first.pid, signal.SIGKILL)
        raise
    assert first.returncode == 130
    assert errors.splitlines()[-1].startswith("interrupted: no case had finished; start again with --resume")
    assert "Traceback" not in errors
    assert ends(first.pid, within=10)
    for name, more in (("two", ["--workers", "2"]), ("one", ["--threads", "1"])):
        done = subprocess.run(
            [*command, *more, "--out", str(tmp_path / name)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "two", machine=False) == contents(tmp_path / "one", machine=False)
