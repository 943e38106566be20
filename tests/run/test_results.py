from __future__ import annotations

import errno
import getpass
import json
import math
import os
import resource
import signal
import socket
import subprocess
import sys
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.places import TESTS
from support.result_files import FILES, contents, everything_in
from support.sample_outcomes import SampleRun

from sim.errors import GammawallError
from sim.files import output_folder
from sim.files.json_text import manifest_json
from sim.files.table_text import table_csv
from sim.odds.tables import TABLES
from sim.run.results import RUN_FORM, write_results


@pytest.fixture(scope="module")
def run() -> SampleRun:
    return SampleRun()


# --- what is written


def test_the_files_of_a_run_and_nothing_else(run: SampleRun, tmp_path: Path) -> None:
    assert write_results(run, tmp_path / "out") == tmp_path / "out"
    assert everything_in(tmp_path) == ["out", *(f"out/{name}" for name in FILES)]


def test_parent_folders_are_made(run: SampleRun, tmp_path: Path) -> None:
    write_results(run, str(tmp_path / "a" / "b" / "out"))
    assert sorted(os.listdir(tmp_path / "a" / "b" / "out")) == FILES


@pytest.mark.parametrize("name", TABLES)
def test_tables_read_back_as_they_were(run: SampleRun, tmp_path: Path, name: str) -> None:
    write_results(run, tmp_path / "out")
    table = getattr(run, name)
    back = pd.read_csv(tmp_path / "out" / f"{name}.csv", parse_dates=["date"] if "date" in table else [])
    assert list(back.columns) == list(table.columns)
    pd.testing.assert_frame_equal(back, table, check_dtype=False, rtol=1e-9, atol=0)


def test_csv_form(run: SampleRun) -> None:
    text = table_csv(run.odds).decode()
    assert "\r" not in text
    assert text.endswith("\n")
    header, first, *rest = text.splitlines()
    assert header == "scenario,event,level,dealers,probability,std_error,ci_low,ci_high,paths"
    assert first.startswith("sample,first_upper,7100,with,0.")
    assert any(line.startswith("sample,neither,,with,") for line in rest)
    assert "2026-02-11,0," in table_csv(run.first_passage).decode()
    assert b",0,5000,1," in table_csv(
        pd.DataFrame({"a": ["x"], "b": [0.0], "c": [5000.0], "d": [1], "e": [math.inf]})
    )
    assert table_csv(pd.DataFrame({"p": [1 / 3, 1e-9, math.nan, math.inf]})).decode().split() == [
        "p",
        "0.3333333333",
        "1e-09",
        '""',
        "inf",
    ]


def test_manifest_is_strict_sorted_json(run: SampleRun, tmp_path: Path) -> None:
    write_results(run, tmp_path / "out")
    text = (tmp_path / "out" / "manifest.json").read_text()
    document = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert list(document) == sorted(document)
    assert document["scenario_hash"] == run.manifest["scenario_hash"]
    assert document["format"] == RUN_FORM
    assert text.endswith("}\n")


def test_manifest_takes_dates_and_numpy_numbers_but_no_nan() -> None:
    document = json.loads(
        manifest_json({"as_of": date(2026, 2, 10), "n": np.int64(3), "m": np.array([1.5])}, "a/1")
    )
    assert document == {"as_of": "2026-02-10", "n": 3, "m": [1.5], "format": "a/1"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        manifest_json({"z": math.nan}, "a/1")
    with pytest.raises(TypeError, match="SimpleNamespace"):
        manifest_json({"z": SimpleNamespace()}, "a/1")


def test_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    write_results(SampleRun(), tmp_path / "a")
    write_results(SampleRun(), tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_files_of_a_real_run_name_neither_machine_nor_user(tmp_path: Path) -> None:
    from sim import load_scenario, scenario_to_toml, simulate

    private = tmp_path / "private place"
    private.mkdir()
    (private / "mine.toml").write_text(scenario_to_toml(load_scenario("no-dealers")))
    result = simulate(load_scenario(private / "mine.toml"), paths=2000, seed=5)
    write_results(result, tmp_path / "out")
    text = "".join((tmp_path / "out" / name).read_text() for name in FILES)
    for secret in (
        str(tmp_path),
        "private place",
        str(Path.home()),
        os.getcwd(),
        socket.gethostname(),
        sys.prefix,
    ):
        assert secret not in text
    if len(getpass.getuser()) > 4:  # shorter names are parts of ordinary words
        assert getpass.getuser() not in text
    document = json.loads((tmp_path / "out" / "manifest.json").read_text())
    for key in (
        "scenario",
        "scenario_hash",
        "seed",
        "paths",
        "engine",
        "device",
        "versions",
        "timings",
        "warnings",
    ):
        assert key in document
    assert document["seed"] == 5
    assert document["paths"] == 2000
    assert document["scenario"]["name"] == "no-dealers"


# --- whole or not at all


def test_full_disk_leaves_nothing(run: SampleRun, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))  # odds.csv fits, first_passage.csv does not
    try:
        with pytest.raises(GammawallError, match="cannot be written") as caught:
            write_results(run, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert everything_in(tmp_path) == []
    assert str(tmp_path / "out") in str(caught.value)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("call", ["mkdir", "fsync", "rename", "makedirs"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
def test_failing_system_call_leaves_nothing(
    run: SampleRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(output_folder.os, call, fail)
        with pytest.raises(GammawallError) as caught:
            write_results(run, tmp_path / "out")
    assert os.strerror(number) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert everything_in(tmp_path) == []


@pytest.mark.parametrize("failure", [KeyboardInterrupt, MemoryError, ValueError])
def test_any_other_failure_leaves_nothing_too(
    run: SampleRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: type[BaseException]
) -> None:
    written: list[str] = []
    write_file = output_folder.write_file

    def fail_at_the_third(path: Path, text: str) -> None:
        if len(written) == 2:
            raise failure
        written.append(path.name)
        write_file(path, text)

    monkeypatch.setattr(output_folder, "write_file", fail_at_the_third)
    with pytest.raises(failure):
        write_results(run, tmp_path / "out")
    assert len(written) == 2
    assert everything_in(tmp_path) == []


def test_failure_while_replacing_keeps_the_former_results(
    run: SampleRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write_results(run, out)
    before = contents(out)
    rename = os.rename

    def fail_on_arrival(source: Path, target: Path) -> None:
        if Path(target) == out and "partial" in Path(source).name:
            raise OSError(errno.EIO, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(output_folder.os, "rename", fail_on_arrival)
    with pytest.raises(GammawallError, match="Input/output error"):
        write_results(SampleRun(warnings=("new",)), out, overwrite=True)
    assert contents(out) == before
    assert everything_in(tmp_path) == ["out", *(f"out/{name}" for name in FILES)]


KILLED_AT_EVERY_CALL = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from support.sample_outcomes import SampleRun
from sim.odds.tables import TABLES
from sim.run import results

run, root, overwrite = SampleRun(), Path(sys.argv[2]), sys.argv[3] == "overwrite"
for name in TABLES:
    setattr(SampleRun, name, getattr(run, name).head(3))  # the same tables every time, computed once

def killed_before(call_number, folder):
    calls = 0
    def counted(function):
        def wrapper(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == call_number:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)
        return wrapper
    for name in ("mkdir", "rename", "fsync", "open", "unlink", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))
    results.write_results(run, folder, overwrite=overwrite)

states = []
for call_number in range(1, 60):
    folder = root / str(call_number) / "out"
    if overwrite:
        results.write_results(run, folder)
    child = os.fork()
    if child == 0:
        killed_before(call_number, folder)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    found = sorted(os.listdir(folder)) if folder.exists() else None
    states.append([call_number, os.WIFSIGNALED(status), found])
    if not os.WIFSIGNALED(status):
        break
print(json.dumps(states))
"""


@pytest.mark.parametrize("mode", ["new", "overwrite"])
def test_kill_at_any_moment_leaves_a_whole_folder_or_none(tmp_path: Path, mode: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT_EVERY_CALL, str(TESTS), str(tmp_path), mode],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    states = json.loads(done.stdout)
    assert len(states) > 10
    assert all(killed for _, killed, _ in states[:-1])
    assert all(found is None or found == FILES for _, _, found in states)
    assert states[-1] == [len(states), False, FILES]
    assert sum(found is None for _, _, found in states) < len(states) - 1
    for number, _, found in states:
        if mode == "overwrite" and found is None:
            # the former results are still there, whole, under a hidden name
            hidden = list((tmp_path / str(number)).glob(".gammawall-former-*"))
            assert [sorted(os.listdir(folder)) for folder in hidden] == [FILES]


def test_folder_appears_only_when_complete(
    run: SampleRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    write_file = output_folder.write_file

    def look_then_write(path: Path, text: str) -> None:
        seen.append((tmp_path / "out").exists())
        write_file(path, text)

    monkeypatch.setattr(output_folder, "write_file", look_then_write)
    write_results(run, tmp_path / "out")
    assert seen == [False] * len(FILES)


def test_each_file_and_both_folders_are_flushed(
    run: SampleRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        flushed.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    monkeypatch.setattr(output_folder.os, "fsync", note)
    write_results(run, tmp_path / "out")
    assert sorted(flushed[: len(FILES)]) == FILES
    assert flushed[len(FILES)].startswith(".gammawall-partial-")
    assert flushed[len(FILES) + 1 :] == [tmp_path.name]


def test_interrupt_signal_during_writing_leaves_nothing(
    run: SampleRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync
    calls: list[int] = []

    def interrupt_at_the_fourth(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 4:
            signal.raise_signal(signal.SIGINT)
        fsync(descriptor)

    monkeypatch.setattr(output_folder.os, "fsync", interrupt_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        write_results(run, tmp_path / "out")
    assert everything_in(tmp_path) == []
