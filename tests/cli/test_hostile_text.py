"""What anybody's file or name says reaches the terminal as text, never as a command to it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from support.cli_runner import gammawall, stand_in_for_simulate
from support.sample_chain import QUOTED, SPOT, many_listings, quotedata_csv
from support.sample_outcomes import SampleRun, sample_axes

import sim
from sim.cli.messages import end_code
from sim.files.terminal_text import printable

ESCAPES = "\x1b[31m\x9b2J\u202egnp\u2028\x7f"
TOLD = printable(ESCAPES)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def assert_plain(done: Result, *, told: bool = True) -> None:
    """Output without an unsafe letter, in which the letters are told as escapes."""
    assert printable(done.output) == done.output
    assert "Traceback" not in done.output
    if told:
        assert r"\x1b[31m" in done.output or r"\u001b[31m" in done.output, done.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", f"{ESCAPES}.toml"],
        ["run", ESCAPES],
        [ESCAPES],
        [f"--{ESCAPES}"],
        ["run", f"--{ESCAPES}"],
        ["run", "--paths", ESCAPES],
        ["run", "--engine", ESCAPES],
        ["run", "--set", f"{ESCAPES}=1"],
        ["run", "--set", f"market.spot='{ESCAPES}'"],
        ["run", "--with", f"{ESCAPES}.toml"],
        ["run", "no-dealers", "--out", f"/dev/null/{ESCAPES}", "--paths", "10"],
        ["scenario", "show", ESCAPES],
        ["scenario", ESCAPES],
        ["scenario", "check", f"{ESCAPES}.toml"],
        ["trace", "1", ESCAPES],
        ["batch", ESCAPES],
        ["batch", f"{ESCAPES}.toml"],
        ["batch", "story", "--only", ESCAPES],
        ["merge", ESCAPES, "--out", "x"],
        ["bench", "--engines", ESCAPES],
        ["book", f"{ESCAPES}.csv"],
        ["fit", "volatility", f"{ESCAPES}.csv"],
        ["fit", ESCAPES],
    ],
    ids=lambda arguments: " ".join(arguments).replace(ESCAPES, "@"),
)
def test_messages_about_arguments(arguments: list[str]) -> None:
    done = gammawall(*arguments)
    assert done.exit_code in (1, 2)
    assert_plain(done)


def test_names_in_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_for_simulate(monkeypatch)
    axes = sample_axes()
    vars(axes)["scenario"] = ESCAPES
    run = SampleRun(axes=axes, warnings=(f"a warning about {ESCAPES}",))
    monkeypatch.setattr("sim.run.simulation.simulate", lambda *_, **__: run)
    done = gammawall("run", "--out", f"out{ESCAPES}")
    assert done.exit_code == 0, done.output
    assert_plain(done)
    assert done.stdout.startswith(f"{TOLD}: 6,941.81")
    assert f"results: out{TOLD}" in done.stderr
    done = gammawall("run", "--no-save", "--json")
    assert_plain(done)
    assert json.loads(done.stdout)["manifest"]["warnings"] == [f"a warning about {ESCAPES}"]


def test_names_in_a_book() -> None:
    text = quotedata_csv(listings=many_listings(QUOTED, SPOT, 2, 30))
    name = "chain\x1b[31m\u202e.csv"
    Path(name).write_text(text.replace("S&P 500 INDEX", "S&P\x1b[31m\x9b\u202e500 INDEX"), encoding="utf-8")
    done = gammawall("book", name, "--no-save")
    assert_plain(done)
    done = gammawall("run", "--chain", name, "--paths", "10", "--no-save", "--until", "2025-09-05")
    assert_plain(done, told=False)


def test_names_in_a_batch() -> None:
    Path("b.toml").write_text(
        'schema = 1\nname = "b"\nbase = "no-dealers"\npaths = 20\n# \x9b \u202e\n'
        'description = "\\u001b[31m \\u202e"\n[set]\n"market.sessions" = 2\n'
        '[grid]\nvol = [{ label = "\\u001b[31m", set = { "volatility.annual" = 0.2 } }]\n',
        encoding="utf-8",
    )
    for arguments in (["--show"], ["--dry-run"], ["--out", "x"]):
        assert_plain(gammawall("batch", "b.toml", *arguments), told=False)


def test_the_description_of_a_scenario() -> None:
    hostile = 'description="\\u001b[31m \\u009b \\u202e"'
    done = gammawall("scenario", "show", "no-dealers", "--set", hostile)
    assert done.exit_code == 0, done.output
    assert_plain(done, told=False)
    Path("s.toml").write_text(done.stdout, encoding="utf-8")
    assert sim.load_scenario("s.toml") == sim.load_scenario("no-dealers", (hostile,))
    assert "\x1b" in sim.load_scenario("s.toml").description


@pytest.mark.parametrize("wanted", [False, True])
def test_faults(wanted: bool) -> None:
    code = (
        "import sim.run.simulation as s\n"
        "def fail(*a, **k): raise ZeroDivisionError('a bug in \\x1b[31m\\u202e')\n"
        "s.simulate = fail\n"
        "from sim.cli.main import main\n"
        "main(['run'])\n"
    )
    environment = {**os.environ, "GAMMAWALL_TRACEBACK": "1" if wanted else ""}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    *trace, message = done.stderr.splitlines()
    assert ("Traceback (most recent call last):" in trace) == wanted == bool(trace)
    assert re.fullmatch(
        r"error: this is a fault of gammawall: ZeroDivisionError: a bug in \\x1b\[31m\\u202e "
        r"\(sim/cli/run\.py:\d+\)\. Please report it with the command and .* GAMMAWALL_TRACEBACK=1\.",
        message,
    )
    assert printable(done.stderr) == done.stderr


def test_a_library_that_cannot_be_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    """For want of memory for instance; NumPy explains it in a page."""
    cause = ImportError("lib.so: failed to map segment")
    error = ImportError("a\n\npage")
    error.__cause__ = cause
    assert end_code(error) == 1
    told = capsys.readouterr().err
    assert told.startswith(
        "error: a library cannot be loaded (ImportError: lib.so: failed to map segment): too "
    )
    assert told.count("\n") == 1


# --- letters that the terminal does not have

ENVIRONMENTS: list[dict[str, str]] = [
    {"PYTHONIOENCODING": "ascii:strict", "COLUMNS": "1", "TERM": "dumb"},
    {"PYTHONIOENCODING": "latin-1:strict", "COLUMNS": "0", "NO_COLOR": "1"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLUMNS": "²", "LINES": "²"},
    {"COLUMNS": "9" * 30},
]
# In one process, since each start of Python takes its time.
EVERY_COMMAND = """
import sys
from sim.cli.main import cli
for arguments in {commands!r}:
    try:
        cli.main(arguments, prog_name="gammawall")
    except SystemExit as ended:
        assert not ended.code, arguments
import sim
result = sim.simulate("no-dealers", paths=50)
print(result.summary())
print(result.headline_odds.to_string())
"""


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=str)
def test_every_command_prints_on_any_terminal(environment: dict[str, str]) -> None:
    Path("chain.csv").write_text(quotedata_csv(listings=many_listings(QUOTED, SPOT, 2, 30)), encoding="utf-8")
    Path("b.toml").write_text(
        'schema = 1\nname = "b"\nbase = "no-dealers"\npaths = 20\n[set]\n"market.sessions" = 2\n'
        '[grid]\n"volatility.annual" = [0.1, 0.2]\n'
    )
    commands: list[list[Any]] = [
        ["--help"],
        ["run", "no-dealers", "--paths", "50", "--out", "x"],
        ["scenario", "list"],
        ["scenario", "show"],
        ["scenario", "check", "siege-of-7000"],
        ["trace", "1", "no-dealers"],
        ["engines"],
        ["batch", "b.toml", "--out", "b"],
        ["batch", "story", "--dry-run", "--only", "no dealers"],
        ["batch", "--list"],
        ["book", "chain.csv", "--no-save"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", EVERY_COMMAND.format(commands=commands)],
        capture_output=True,
        env={**{k: v for k, v in os.environ.items() if not k.startswith("LC_")}, **environment},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    assert b"Traceback" not in done.stderr
    if "ascii" in environment.get("PYTHONIOENCODING", ""):
        assert b"+-" in done.stdout
        assert b" ? " not in done.stdout
