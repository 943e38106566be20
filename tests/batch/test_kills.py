"""Batches killed at random moments and resumed: the same files as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tomli_w
from support.batch_results import SHORT, contents, small_table

GRID = {
    "dealers.impact_bp_per_bn": [0.5, 1.0, 1.5, 2.0, 2.5, 3.0],
    "dealers.impact_half_life": [0.0, 1.0, 2.0],
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("batch") / "small.toml"
    path.write_text(tomli_w.dumps(small_table(grid=GRID, paths=20_000)), encoding="utf-8")
    return path


def command(file: Path, out: Path, *options: str) -> list[str]:
    overrides = [part for override in SHORT for part in ("--set", override)]
    engine = ("--engine", "numpy", "--threads", "1")
    return [
        sys.executable,
        "-m",
        "sim.cli",
        "batch",
        str(file),
        "--out",
        str(out),
        *overrides,
        *engine,
        *options,
    ]


def finish(file: Path, out: Path, *options: str) -> None:
    done = subprocess.run(command(file, out, *options), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def whole(file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], float]:
    """Files of the batch run at once, and the seconds it took once its folder was there."""
    out = tmp_path_factory.mktemp("whole") / "b"
    process = subprocess.Popen(command(file, out), stderr=subprocess.PIPE)
    began = wait_for_folder(out, process)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return contents(out), time.monotonic() - began


def wait_for_folder(out: Path, process: subprocess.Popen[bytes]) -> float:
    while not (out / "batch.json").exists():
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.005)
    return time.monotonic()


@pytest.mark.parametrize("moment", range(10))
def test_killed_and_resumed(
    file: Path, whole: tuple[dict[str, bytes], float], tmp_path: Path, moment: int
) -> None:
    """A moment in each tenth of the run; SIGKILL lets nothing be put in order."""
    expected, seconds = whole
    out = tmp_path / "b"
    process = subprocess.Popen(command(file, out), stderr=subprocess.PIPE)
    wait_for_folder(out, process)
    time.sleep(seconds * (moment + random.Random(moment).random()) / 10)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finish(file, out, "--resume")
    assert contents(out) == expected
    assert not list(out.rglob(".gammawall-*"))


def test_a_second_process_is_refused(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "b"
    process = subprocess.Popen(command(file, out, "--paths", "1e7"), stderr=subprocess.PIPE)
    try:
        wait_for_folder(out, process)
        for options in (("--resume",), ("--overwrite",), ("--resume", "--accept-changes")):
            second = subprocess.run(
                command(file, out, "--paths", "1e7", *options), capture_output=True, text=True
            )
            assert second.returncode == 1
            assert "another process is at work there" in second.stderr
    finally:
        process.kill()
        process.communicate()
    # the lock has died with the process
    finish(file, out, "--overwrite")


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(
    file: Path, whole: tuple[dict[str, bytes], float], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    expected, _ = whole
    out = tmp_path / "b"
    process = subprocess.Popen(command(file, out), stderr=subprocess.PIPE, text=True)
    # not after some seconds: on another processor it may have ended by then
    while not any(out.glob("cases/*/counts.npz")):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in errors
    filed = len(list(out.glob("cases/*/counts.npz")))
    kept = {0: "no case had finished", 1: "1 finished case is in"}.get(
        filed, f"{filed} finished cases are in"
    )
    assert f"{'interrupted' if number == signal.SIGINT else 'terminated'}: {kept}" in errors
    finish(file, out, "--resume")
    assert contents(out) == expected
