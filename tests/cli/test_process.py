from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.result_files import FILES
from support.stand_in_program import stand_in_program

import sim


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sim.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


@pytest.mark.parametrize("arguments", [[], ["--help"], ["run", "-h"], ["trace", "--help"], ["--version"]])
def test_help_is_quick_and_names_every_command(arguments: list[str]) -> None:
    started = time.perf_counter()
    done = command(*arguments)
    # 0.1 s on an idle machine; several times that leaves room for a busy one
    assert time.perf_counter() - started < 5
    assert done.returncode == (0 if arguments else 2)
    if arguments in ([], ["--help"]):
        text = done.stdout + done.stderr
        commands = ["run", "scenario", "trace", "check", "engines", "bench"]
        assert re.findall(rf"^  ({'|'.join(commands)}) ", text, re.MULTILINE) == commands
    if arguments == ["--version"]:
        assert done.stdout.strip() == f"gammawall {sim.__version__}"


def test_a_whole_run(tmp_path: Path) -> None:
    done = command("run", "no-dealers", "--paths", "2k", "--seed", "5")
    assert done.returncode == 0, done.stderr
    assert "touch 7,100" in done.stdout
    assert "2,000 paths, seed 5, " in done.stdout
    assert re.search(r"^(cuda|native|numpy) engine, \S", done.stdout, re.MULTILINE)
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stderr == f"results: {Path('results', 'no-dealers')}\n"
    assert sorted(os.listdir("results/no-dealers")) == FILES
    assert json.loads(Path("results/no-dealers/manifest.json").read_text())["paths"] == 2000


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_terminals_without_utf8_get_a_report_too(encoding: str) -> None:
    Path("n.toml").write_text(
        sim.scenario_to_toml(sim.load_scenario("no-dealers")).replace('"no-dealers"', '"naïve 名前"'),
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "LC_ALL": "C", "PYTHONUTF8": "0"}
    for arguments in (
        ["run", "n.toml", "--paths", "500"],
        ["scenario", "show", "n.toml"],
        ["scenario", "list"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "sim.cli", *arguments],
            capture_output=True,
            env=environment,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
        # click takes a plain ASCII stdout for a wrong setting and writes UTF-8 there
        assert done.stdout.decode("utf-8" if encoding == "ascii" else encoding)


def test_ctrl_c_stops_cleanly(tmp_path: Path) -> None:
    with subprocess.Popen(
        stand_in_program(["run", "--out", "x"], 60), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "simulating\n"
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (stdout, stderr) == ("", "interrupted: nothing was written\n")
    assert os.listdir() == []


@pytest.mark.parametrize(
    "arguments", [["run", "--no-save"], ["run", "--no-save", "--json"], ["scenario", "show"]]
)
def test_reader_that_goes_away_is_no_failure(arguments: list[str]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            stand_in_program(arguments),
            stdout=write_end,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(write_end)
    assert done.stderr in ("", "simulating\n")
    assert done.returncode == 0


def on_a_terminal(program: list[str], environment: dict[str, str]) -> str:
    """Everything a program shows on a terminal."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        program, stdin=follower, stdout=follower, stderr=follower, env=environment
    ) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:  # how Linux tells that the last writer has closed the terminal
                break
            if not piece:
                break
            shown += piece
        assert process.wait(timeout=60) == 0, shown
    os.close(leader)
    return shown.decode()


def test_progress_and_colour_appear_on_a_terminal_only(tmp_path: Path) -> None:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")
    }
    environment |= {"TERM": "xterm-256color", "COLUMNS": "100"}
    shown = on_a_terminal(stand_in_program(["run", "--no-save"]), environment)
    assert "1M/1M paths" in shown
    assert "path-steps/s" in shown
    assert "\x1b[1m" in shown
    quiet = on_a_terminal(stand_in_program(["run", "--quiet", "--out", str(tmp_path / "x")]), environment)
    assert "paths" not in quiet
    plain = on_a_terminal(stand_in_program(["run", "--no-save"]), {**environment, "NO_COLOR": "1"})
    assert not re.search(r"\x1b\[[\d;]*3\d", plain)
    assert "7,100 first" in plain
