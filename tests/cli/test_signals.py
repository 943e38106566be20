"""Signals: each ends a command once, with its exit code, and leaves nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.stand_in_program import stand_in_program

from sim.cli import signals
from sim.cli.messages import end_code

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")
# What is simulated takes a second to clean up.
CLEANING = """
def cleaning():
    try:
        print("at work", file=sys.stderr, flush=True)
        time.sleep(60)
    finally:
        print("cleaning", file=sys.stderr, flush=True)
        time.sleep(1)
import sys, time
"""
# A signal comes while the module is looked for, and what it raises is swallowed, as some libraries do.
WHILE_LOADING = """
import os, signal, sys, time
class Finder:
    def find_spec(name, *_):
        if name == {module!r}:
            try:
                os.kill(os.getpid(), signal.{name})
                time.sleep(0.05)
            except BaseException:
                pass
sys.meta_path.insert(0, Finder)
from sim.cli.entry import main
main(["run", "--out", "x", "--paths", "1000000"])
"""
# The first file that is flushed to the disk sends a signal to its own process.
WHILE_SAVING = """
import os, signal
flush, sent = os.fsync, []
def fsync(descriptor):
    if not sent:
        sent.append(descriptor)
        os.kill(os.getpid(), signal.{name})
        time.sleep(0.2)
    flush(descriptor)
os.fsync = fsync
"""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ended_by(program: list[str], *events: int | str) -> tuple[int, str]:
    """Exit code and the rest of stderr of a program.

    events : signals to send, and lines of stderr to wait for, in this order.
    """
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for event in events:
            if isinstance(event, str):
                assert process.stderr.readline() == f"{event}\n"
            else:
                process.send_signal(event)
        stdout, stderr = process.communicate(timeout=60)
    assert stdout == ""
    return process.returncode, stderr


@pytest.mark.parametrize(
    ("number", "code", "told"),
    [
        (signal.SIGINT, 130, "interrupted: nothing was written\n"),
        (signal.SIGTERM, 143, ""),
        (signal.SIGHUP, 143, ""),
    ],
)
def test_a_signal_ends_a_run(number: int, code: int, told: str) -> None:
    assert ended_by(stand_in_program(["run", "--out", "x"], 60), "simulating", number) == (code, told)
    assert os.listdir() == []


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_break_off_the_clean_up(second: int) -> None:
    program = stand_in_program(["run", "--out", "x"], while_it_runs="cleaning()", before=CLEANING)
    found = ended_by(program, "simulating", "at work", signal.SIGINT, "cleaning", second, second)
    assert found == (130, "interrupted: nothing was written\n")
    assert os.listdir() == []


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 143)])
def test_a_signal_while_results_are_written_leaves_nothing_half_written(name: str, code: int) -> None:
    program = stand_in_program(["run", "--out", "x"], before=WHILE_SAVING.format(name=name))
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert os.listdir() == []


@pytest.mark.parametrize("module", ["sim.cli.main", "sim.run.simulation"])
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 143)])
def test_a_signal_while_modules_are_loaded(name: str, code: int, module: str) -> None:
    program = [sys.executable, "-c", WHILE_LOADING.format(name=name, module=module)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    told = "interrupted: nothing was written\n" if code == 130 else ""
    assert (done.returncode, done.stdout, done.stderr) == (code, "", told)
    assert os.listdir() == []


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_an_import_may_make_another_error_of_a_signal(
    name: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signals._ENDING, "name", name)
    assert end_code(RuntimeError("Error calling __set_name__ on 'cached_property'")) == code
    assert capsys.readouterr().err == ("interrupted: nothing was written\n" if code == 130 else "")


def test_ctrl_c_while_arguments_are_parsed() -> None:
    code = (
        "import click, sim.cli.main as m\n"
        "def stop(*_, **__): raise KeyboardInterrupt\n"
        "click.Group.make_context = stop\n"
        "m.main(['run'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (130, "interrupted: nothing was written\n")


def test_nohup_is_respected() -> None:
    program = ["nohup", *stand_in_program(["run", "--out", "x"], 1)]
    with subprocess.Popen(
        program, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:  # nohup may say something first
            if line == "simulating\n":
                break
        process.send_signal(signal.SIGHUP)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (0, "results: x\n")
    assert "7,100 first" in stdout


def test_a_clean_up_that_hangs_can_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    ending = signals._Ending()
    with pytest.raises(KeyboardInterrupt):
        ending(signal.SIGINT, None)
    now[0] += signals.GRACE_S / 2
    ending(signal.SIGTERM, None)
    now[0] += signals.GRACE_S
    with pytest.raises(SystemExit) as ended:
        ending(signal.SIGTERM, None)
    assert ended.value.code == 143


def test_signals_that_the_caller_ignores_stay_ignored() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signals.end_on_signals()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert isinstance(signal.getsignal(signal.SIGTERM), signals._Ending)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
