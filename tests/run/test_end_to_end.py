"""The installed command as its users run it: real runs, real signals, real memory."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import resource
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.needs import needs_native
from support.result_files import FILES

COMMAND = Path(sysconfig.get_path("scripts"), "gammawall")
CHEAP = """
schema = 1
name = "cheap"
levels = [6900]
market = { as_of = 2026-02-10, spot = 6941.81, sessions = 2 }
volatility = { annual = 0.15, tail_dof = 5, overnight_share = 0.4, steps_per_session = 2 }
targets = { upper = 7000, lower = 6880 }

[dealers]
impact_bp_per_bn = 2
impact_half_life = 2
m_floor = 0.2
position = [
    { group = "wall", type = "call", strike = 7000, expiry = 2026-02-20, settlement = "AM", iv = 0.12, gex_bn = 5 },
]
"""
TABLES = [name for name in FILES if name.endswith(".csv")]
RUNS = ["numpy", pytest.param("native", marks=needs_native)]
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cheap.toml").write_text(CHEAP)
    return tmp_path


def gammawall(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [COMMAND, *arguments], capture_output=True, text=True, timeout=40, check=False, **options
    )
    assert done.returncode == 0, done.stderr
    return done


# --- signals


def alive() -> dict[int, int]:
    """Parents of all processes that have not ended."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has ended meanwhile
            continue
        if state != "Z":
            parents[int(stat.parent.name)] = int(parent)
    return parents


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, Path("stderr").read_text()
        time.sleep(0.02)


class LongRun:
    """A run of 50 million paths on two workers that has made some progress with starting them.

    Its workers are processes on the NumPy engine and threads on the native one.
    """

    def __init__(self, process: subprocess.Popen[str], engine: str, seconds: float):
        self.process = process
        wait_until(lambda: bool(self.children() if engine == "numpy" else len(self.threads()) > 1), 60)
        time.sleep(seconds)
        self.started = self.children()

    def threads(self) -> list[Path]:
        return list(Path(f"/proc/{self.process.pid}/task").glob("*"))

    def children(self) -> set[int]:
        return {process for process, parent in alive().items() if parent == self.process.pid}

    def left(self) -> set[int]:
        return (self.started | self.children()) & set(alive())


@contextmanager
def long_run(engine: str, seconds: float) -> Iterator[LongRun]:
    """A long run, `seconds` after its first worker appeared; nothing of it outlives the test."""
    options = ["--engine", engine, "--paths", "50M", "--threads", "2", "--out", "x"]
    program = [COMMAND, "run", "siege-of-7000", *options]
    # so that its only threads are workers
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with (
        open("stdout", "w") as stdout,
        open("stderr", "w") as stderr,
        subprocess.Popen(
            program, stdout=stdout, stderr=stderr, text=True, env=env, start_new_session=True
        ) as process,
    ):
        run = None
        try:
            run = LongRun(process, engine, seconds)
            yield run
        finally:
            for left in {process.pid, *(run.left() if run else ())} & set(alive()):
                os.kill(left, signal.SIGKILL)


def nothing_is_left() -> None:
    assert sorted(os.listdir()) == ["cheap.toml", "stderr", "stdout"]
    assert Path("stdout").read_text() == ""


# while the workers start, and when they are at work
@needs_proc
@pytest.mark.parametrize("engine", RUNS)
@pytest.mark.parametrize(("seconds", "times"), [(0.0, 1), (0.3, 4), (1.5, 1), (1.5, 4)])
def test_ctrl_c_ends_a_run_and_its_workers(engine: str, seconds: float, times: int) -> None:
    with long_run(engine, seconds) as run:
        for _ in range(times):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.process.pid, signal.SIGINT)
            time.sleep(0.1)
        # at once on an idle machine; the rest is for a busy one
        assert run.process.wait(timeout=20) in ([130] if times == 1 else [130, -signal.SIGINT])
        wait_until(lambda: not run.left(), 5)
    nothing_is_left()
    assert Path("stderr").read_text() == "interrupted: nothing was written\n"


@needs_proc
@pytest.mark.parametrize("engine", RUNS)
@pytest.mark.parametrize("seconds", [0.0, 1.5])
def test_termination_ends_a_run_and_its_workers(engine: str, seconds: float) -> None:
    with long_run(engine, seconds) as run:
        run.process.send_signal(signal.SIGTERM)
        assert run.process.wait(timeout=5) == 143
        wait_until(lambda: not run.left(), 5)
    nothing_is_left()
    assert Path("stderr").read_text() == ""


@needs_proc
def test_workers_do_not_outlive_a_killed_run() -> None:
    with long_run("numpy", 1.5) as run:
        assert len(run.started) >= 2
        run.process.kill()
        assert run.process.wait(timeout=5) == -signal.SIGKILL
        wait_until(lambda: not run.left(), 15)
    nothing_is_left()


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell's closed streams")
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_run_with_closed_streams(closed: tuple[int, ...]) -> None:
    redirections = " ".join({0: "<&-", 1: ">&-", 2: "2>&-"}[number] for number in closed)
    done = subprocess.run(
        ["sh", "-c", f'"$0" run cheap.toml --paths 40k --threads 2 --out x {redirections}', COMMAND],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ("" if 2 in closed else "results: x\n")
    assert ("touch 7,000" in done.stdout) == (1 not in closed)
    assert sorted(os.listdir("x")) == FILES


def test_run_where_no_other_program_is_found() -> None:
    nowhere = {**os.environ, "PATH": str(Path.cwd())}
    done = gammawall("run", "cheap.toml", "--paths", "40k", "--threads", "2", "--quiet", env=nowhere)
    assert (done.stdout, done.stderr) == ("results/cheap\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (["run", "cheap.toml", "--paths", "1k", "--out", "x"], "; the results are in x"),
        (["run", "cheap.toml", "--paths", "1k", "--no-save", "--json"], ""),
        (["scenario", "show"], ""),
        (["--help"], ""),
    ],
)
def test_full_output_is_a_message(arguments: list[str], kept: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"error: the output cannot be written: No space left on device{kept}"
    )


def test_limit_on_file_sizes_does_not_lose_the_work() -> None:
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # not even odds.csv fits

    Path("temporary").mkdir()
    done = subprocess.run(
        [COMMAND, "run", "cheap.toml", "--paths", "1k", "--out", "x", "--json"],
        preexec_fn=small_files,
        env={**os.environ, "TMPDIR": str(Path("temporary").resolve())},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert document["manifest"]["paths"] == 1000
    assert document["results"] is None
    first, second = done.stderr.splitlines()
    assert first.startswith("error: x: the results cannot be written there (File too large). ")
    assert "temporary/gammawall-" in second
    assert (os.listdir("temporary"), os.path.exists("x")) == ([], False)


# --- the same numbers


def counts(rows: list[dict[str, Any]]) -> dict[tuple[str, str, str], int]:
    """Numbers of paths behind the odds, by event, level and world."""
    found = {}
    for row in rows:
        if row["dealers"] != "difference":
            count = float(row["probability"]) * int(row["paths"])
            assert count == pytest.approx(round(count), abs=1e-3)
            found[row["event"], str(row["level"] or ""), row["dealers"]] = round(count)
    return found


def odds(folder: str) -> list[dict[str, Any]]:
    with open(Path(folder, "odds.csv"), newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_any_number_of_threads_gives_the_same_odds() -> None:
    seen = []
    for threads in (1, 2, 3):
        # more paths than a block holds, so that each worker has some
        done = gammawall(
            "run", "cheap.toml", "--paths", "70k", "--threads", str(threads), "--json", "--no-save"
        )
        document = json.loads(done.stdout)
        assert document["manifest"]["threads"] == threads
        seen.append((counts(document["odds"]), document["odds"]))
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][0]["first_upper", "7000.0", "with"] > 0


def test_a_split_run_adds_up() -> None:
    gammawall("run", "cheap.toml", "--paths", "50k", "--out", "whole")
    gammawall("run", "cheap.toml", "--paths", "20k", "--out", "one")
    gammawall("run", "cheap.toml", "--first-path", "20k", "--paths", "30k", "--out", "two")
    one, two = counts(odds("one")), counts(odds("two"))
    assert counts(odds("whole")) == {key: one[key] + two[key] for key in one}
    assert one != two


def test_the_same_seed_writes_the_same_bytes() -> None:
    for name, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        gammawall("run", "cheap.toml", "--paths", "20k", "--seed", seed, "--out", name)
    tables = {run: [Path(run, name).read_bytes() for name in TABLES] for run in "abc"}
    assert tables["a"] == tables["b"]
    assert tables["a"] != tables["c"]


# --- memory

MEASURED = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([done.returncode, largest]))
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_memory_is_flat_in_the_number_of_paths(threads: int) -> None:
    largest = {}
    for paths in ("200k", "2M"):
        # the largest process of a run, the command itself or one of its workers
        done = subprocess.run(
            [
                *[sys.executable, "-c", MEASURED, COMMAND, "run", "cheap.toml", "--no-save"],
                *["--paths", paths, "--threads", str(threads)],
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        code, largest[paths] = json.loads(done.stdout)
        assert code == 0, done.stderr
    assert largest["2M"] <= 1.2 * largest["200k"]
