from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sample_outcomes import SampleRun

import sim.run
from sim import cli
from sim.errors import GammawallError, InputError, Problem

TESTS = Path(__file__).parent
FILES = sorted(
    ["odds.csv", "first_passage.csv", "distribution.csv", "quantiles.csv", "regimes.csv", "manifest.json"]
)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the engine was asked for, when a ready run stands in for it."""
    calls: list[dict[str, Any]] = []

    def simulate(scenario: Any, **options: Any) -> SampleRun:
        calls.append({"scenario": scenario, **options})
        return SampleRun()

    monkeypatch.setattr(sim.run, "simulate", simulate)
    return calls


def gammawall(*arguments: str) -> Result:
    return CliRunner().invoke(cli.cli, arguments)


def command(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sim.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


# --- run: what is asked of the engine


def test_defaults(asked: list[dict[str, Any]]) -> None:
    done = gammawall("run")
    assert done.exit_code == 0, done.output
    (call,) = asked
    assert call["scenario"].name == "siege-of-7000"
    assert {name: call[name] for name in call if name != "scenario"} == {
        "paths": 1_000_000,
        "first_path": 0,
        "seed": 1,
        "engine": "auto",
        "threads": None,
        "target_se": None,
        "max_paths": None,
        "progress": None,
        "where": "siege-of-7000",
    }


def test_options_reach_the_engine(asked: list[dict[str, Any]]) -> None:
    options = "--paths 300k --first-path 700k --seed 18446744073709551615 --engine numpy --threads 3"
    done = gammawall("run", "no-dealers", *options.split(), "--target-se", "5e-4", "--max-paths", "10M")
    assert done.exit_code == 0, done.output
    (call,) = asked
    assert call["scenario"].name == "no-dealers"
    assert (call["paths"], call["first_path"], call["seed"]) == (300_000, 700_000, 2**64 - 1)
    assert (call["engine"], call["threads"], call["target_se"], call["max_paths"]) == (
        "numpy",
        3,
        5e-4,
        10_000_000,
    )


def test_overrides_reach_the_scenario(asked: list[dict[str, Any]]) -> None:
    done = gammawall(
        "run", "--set", "dealers.impact_bp_per_bn=1.5", "--set", "targets.upper=7150", "--no-save"
    )
    assert done.exit_code == 0, done.output
    scenario = asked[0]["scenario"]
    assert scenario.dealers.impact_bp_per_bn == 1.5
    assert scenario.targets.upper == 7150


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("1e6", 10**6),
        ("1E6", 10**6),
        ("1_000_000", 10**6),
        ("1,000,000", 10**6),
        ("300k", 300_000),
        ("10M", 10**7),
        ("1.5m", 1_500_000),
        ("2.5e3", 2500),
        ("0.1B", 10**8),
        ("1e10", 10**10),
        ("18446744073709551615", 2**64 - 1),
    ],
)
def test_numbers_of_paths(asked: list[dict[str, Any]], text: str, number: int) -> None:
    done = gammawall("run", "--paths", text, "--no-save")
    assert done.exit_code == 0, done.output
    assert asked[0]["paths"] == number


BAD_USAGE = [
    ["run", "--paths", "0"],
    ["run", "--paths", "-5"],
    ["run", "--paths", "1.5"],
    ["run", "--paths", "1e-3"],
    ["run", "--paths", "many"],
    ["run", "--paths", ""],
    ["run", "--paths", "k"],
    ["run", "--paths", "nan"],
    ["run", "--paths", "inf"],
    ["run", "--paths", "1e99"],
    ["run", "--paths", "1e999999999M"],
    ["run", "--paths", "18446744073709551616"],
    ["run", "--first-path", "-1"],
    ["run", "--first-path", "18446744073709551615", "--paths", "2"],
    ["run", "--seed", "-1"],
    ["run", "--seed", "18446744073709551616"],
    ["run", "--seed", "x"],
    ["run", "--threads", "0"],
    ["run", "--engine", "cuda"],
    ["run", "--target-se", "0"],
    ["run", "--target-se", "nan"],
    ["run", "--target-se", "0.5"],
    ["run", "--target-se", "small"],
    ["run", "--max-paths", "2M"],
    ["run", "--target-se", "1e-3", "--max-paths", "10k"],
    ["run", "--no-save", "--out", "x"],
    ["run", "--no-save", "--overwrite"],
    ["run", "--nonsense"],
    ["run", "siege-of-7000", "no-dealers"],
    ["trace"],
    ["trace", "-1"],
    ["trace", "1.5"],
    ["scenario"],
    ["scenario", "check"],
    ["nonsense"],
]


@pytest.mark.parametrize("arguments", BAD_USAGE, ids=" ".join)
def test_bad_usage_exits_2_and_runs_nothing(asked: list[dict[str, Any]], arguments: list[str]) -> None:
    done = gammawall(*arguments)
    assert done.exit_code == 2
    assert done.stderr.strip()
    assert done.stdout == ""
    assert asked == []
    assert os.listdir() == []


# --- run: where the results go


def test_results_go_to_a_folder_named_after_the_scenario(asked: list[dict[str, Any]]) -> None:
    for folder in ("siege-of-7000", "siege-of-7000-2", "siege-of-7000-3"):
        done = gammawall("run")
        assert done.exit_code == 0
        assert f"results: {Path('results', folder)}" in done.stderr
        assert sorted(os.listdir(Path("results", folder))) == FILES
    assert len(os.listdir("results")) == 3


def test_out_names_the_folder(asked: list[dict[str, Any]]) -> None:
    assert gammawall("run", "--out", "a/b").exit_code == 0
    assert sorted(os.listdir("a/b")) == FILES
    assert os.listdir() == ["a"]


def test_no_save_writes_nothing(asked: list[dict[str, Any]]) -> None:
    done = gammawall("run", "--no-save")
    assert done.exit_code == 0
    assert "7,100 first" in done.stdout
    assert done.stderr == ""
    assert os.listdir() == []


def test_existing_folder_is_refused_before_the_run(asked: list[dict[str, Any]]) -> None:
    assert gammawall("run", "--out", "x").exit_code == 0
    before = {name: Path("x", name).stat().st_mtime_ns for name in FILES}
    done = gammawall("run", "--out", "x")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert "--out = x (exists already)" in done.stderr
    assert "--overwrite" in done.stderr
    assert len(asked) == 1
    assert {name: Path("x", name).stat().st_mtime_ns for name in FILES} == before
    assert gammawall("run", "--out", "x", "--overwrite").exit_code == 0
    assert sorted(os.listdir()) == ["x"]


def test_foreign_folder_is_refused_even_with_overwrite(asked: list[dict[str, Any]]) -> None:
    Path("x").mkdir()
    Path("x/thesis.tex").write_text("mine")
    assert gammawall("run", "--out", "x", "--overwrite").exit_code == 2
    assert asked == []
    assert os.listdir("x") == ["thesis.tex"]


def test_unwritable_place_is_found_before_the_run(asked: list[dict[str, Any]]) -> None:
    Path("file").write_text("mine")
    done = gammawall("run", "--out", "file/x")
    assert done.exit_code == 1
    assert re.fullmatch(r"error: file/x: the results cannot be written there \(.*\)\. .*\n", done.stderr)
    assert asked == []


# --- run: what is printed


def test_report_is_on_stdout_and_the_place_on_stderr(asked: list[dict[str, Any]]) -> None:
    done = gammawall("run")
    assert "7,100 first" in done.stdout
    assert "sessions to reach" in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stderr == f"results: {Path('results', 'siege-of-7000')}\n"


def test_quiet_prints_the_place_alone(asked: list[dict[str, Any]]) -> None:
    done = gammawall("run", "--quiet", "--out", "x")
    assert (done.stdout, done.stderr, done.exit_code) == ("x\n", "", 0)
    done = gammawall("run", "--quiet", "--no-save")
    assert (done.stdout, done.stderr, done.exit_code) == ("", "", 0)


def test_json_is_one_strict_document(asked: list[dict[str, Any]]) -> None:
    done = gammawall("run", "--json", "--out", "x")
    assert done.exit_code == 0
    document = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert sorted(document) == ["benchmarks", "manifest", "odds", "results", "sessions_to_target"]
    run = SampleRun()
    assert document["results"] == "x"
    assert document["manifest"] == run.manifest
    table = run.odds
    assert len(document["odds"]) == len(table)
    for row, (_, expected) in zip(document["odds"], table.iterrows(), strict=True):
        assert row["probability"] == expected["probability"]  # every digit
        assert (row["level"] is None) == (row["event"] == "neither")
    assert document["benchmarks"]["two_delta"][0] == {"level": 6600.0, "probability": 0.35}
    assert {row["target"] for row in document["sessions_to_target"]} == {"upper", "lower"}
    assert json.loads(gammawall("run", "--json", "--no-save").stdout)["results"] is None


def test_json_has_null_where_nothing_was_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    run = SampleRun()
    run.outcomes.touch[:] = 0
    run.outcomes.touch_both[:] = 0
    monkeypatch.setattr(sim.run, "simulate", lambda *_, **__: run)
    document = json.loads(gammawall("run", "--json", "--no-save").stdout)
    assert document["sessions_to_target"][0]["sessions_50"] is None


# --- failures


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GammawallError("it went wrong"), 1),
        (InputError([Problem("s.toml", "a.b", "1", "too big"), Problem("s.toml", "c", "2", "too small")]), 2),
    ],
)
def test_expected_failures_are_messages(
    monkeypatch: pytest.MonkeyPatch, error: GammawallError, code: int
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(sim.run, "simulate", fail)
    done = gammawall("run")
    assert done.exit_code == code
    assert done.stdout == ""
    assert done.stderr == "".join(f"error: {line}\n" for line in str(error).splitlines())
    assert os.listdir() == []


def test_unexpected_failures_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(sim.run, "simulate", fail)
    assert isinstance(gammawall("run").exception, ZeroDivisionError)
    assert os.listdir() == []


@pytest.mark.parametrize("place", ["no-such-scenario", "missing.toml", "folder.toml"])
def test_missing_scenarios_exit_2(place: str) -> None:
    Path("folder.toml").mkdir()
    for arguments in (
        ["run", place],
        ["scenario", "show", place],
        ["scenario", "check", place],
        ["trace", "0", place],
    ):
        done = gammawall(*arguments)
        assert done.exit_code == 2, done.output
        assert place in done.stderr
        assert done.stderr.startswith("error: ")


def test_all_problems_of_a_file_are_told_at_once() -> None:
    Path("bad.toml").write_text(
        sim.scenario_to_toml(sim.load_scenario("no-dealers")).replace("spot =", "spott =")
    )
    done = gammawall("scenario", "check", "bad.toml", "--set", "volatility.annual=-1")
    assert done.exit_code == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) >= 3
    assert all(line.startswith("error: ") for line in lines)
    for key in ("spott", "volatility.annual"):
        assert key in done.stderr


def test_interruption_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sim.run, "simulate", interrupted)
    done = gammawall("run")
    assert done.exit_code == 130
    assert (done.stdout, done.stderr) == ("", "interrupted: nothing was written\n")
    assert os.listdir() == []


def test_interruption_while_writing_leaves_nothing(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sim.results.os.fsync", interrupted)
    done = gammawall("run", "--out", "x")
    assert done.exit_code == 130
    assert done.stderr == "interrupted: nothing was written\n"
    assert os.listdir() == []


def test_interruption_after_writing_says_what_is_kept(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sim.report.print_report", interrupted)
    done = gammawall("run", "--out", "x")
    assert done.exit_code == 130
    assert done.stderr == "interrupted: the results are in x\n"
    assert sorted(os.listdir("x")) == FILES


# --- scenario


def test_scenario_list_names_the_built_in_ones() -> None:
    done = gammawall("scenario", "list")
    assert done.exit_code == 0
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert names == list(sim.builtin_scenarios())
    assert {"siege-of-7000", "no-dealers"} <= set(names)


@pytest.mark.parametrize("name", ["siege-of-7000", "no-dealers"])
def test_scenario_show_prints_a_file_that_loads_again(name: str) -> None:
    done = gammawall("scenario", "show", name, "--set", "targets.upper=7200")
    assert done.exit_code == 0
    Path("again.toml").write_text(done.stdout)
    assert sim.load_scenario("again.toml") == sim.load_scenario(name, ["targets.upper=7200"])
    assert "m_floor" in done.stdout


def test_scenario_check_tells_what_it_resolves_to() -> None:
    done = gammawall("scenario", "check", "siege-of-7000")
    assert done.exit_code == 0
    assert done.stdout.startswith("ok: siege-of-7000\n")
    for shown in ("6,941.81", "27 sessions, 2026-02-11 to 2026-03-20", "7,100 above, 6,800 below", "melt_up"):
        assert shown in done.stdout
    assert sim.scenario_hash(sim.load_scenario("siege-of-7000")) in done.stdout


def test_scenario_check_finds_what_only_the_book_shows() -> None:
    small = ["market.sessions=1", "volatility.steps_per_session=1", "dealers.impact_bp_per_bn=15"]
    overrides = [part for text in (*small, "dealers.m_floor=0") for part in ("--set", text)]
    done = gammawall("scenario", "check", "siege-of-7000", *overrides)
    assert done.exit_code == 2
    assert "siege-of-7000: dealers.m_floor = 0" in done.stderr


# --- trace and check


def test_trace_is_the_path_of_the_run() -> None:
    result = sim.simulate(sim.load_scenario("siege-of-7000"), paths=1, first_path=12_345, seed=3)
    done = gammawall("trace", "12_345", "--seed", "3", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert (document["scenario"], document["path"], document["seed"]) == ("siege-of-7000", 12_345, 3)
    days = document["days"]
    assert [day["date"] for day in days] == [str(day) for day in result.axes.sessions]
    for day, closes, regime in zip(days, result.outcomes.closes, result.outcomes.regime, strict=True):
        column = int(closes.argmax())
        assert result.axes.close_edges[column - 1] <= day["price"] <= result.axes.close_edges[column]
        assert result.axes.regimes[int(regime.argmax())] == day["regime"]
        assert day["price"] - day["fundamental"] == pytest.approx(day["impact_points"], abs=1e-9)


def test_trace_prints_every_day() -> None:
    done = gammawall("trace", "7", "no-dealers")
    assert done.exit_code == 0
    dates = re.findall(r"2026-\d\d-\d\d", done.stdout)
    assert len(dates) == 27
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


def fake_checks(*, ok: bool) -> Callable[..., list[Any]]:
    def run_checks(*_: Any, **__: Any) -> list[Any]:
        good = SimpleNamespace(
            name="first upper", expected=0.4, simulated=0.401, std_error=0.001, z=1.0, ok=True
        )
        bad = SimpleNamespace(
            name="first lower", expected=0.4, simulated=0.41, std_error=0.001, z=10.0, ok=ok
        )
        return [good, bad]

    return run_checks


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("ok", [False, True])
def test_check_exits_1_when_a_z_score_is_too_large(
    monkeypatch: pytest.MonkeyPatch, ok: bool, as_json: bool
) -> None:
    monkeypatch.setattr("sim.check.run_checks", fake_checks(ok=ok))
    done = gammawall("check", *(["--json"] if as_json else []))
    assert done.exit_code == (0 if ok else 1)
    assert done.stderr == ("" if ok else "error: 1 of 2 checks failed: first lower.\n")
    if as_json:
        document = json.loads(done.stdout)
        assert document["ok"] is ok
        assert [check["ok"] for check in document["checks"]] == [True, ok]
    else:
        assert "+10.00" in done.stdout
        assert ("FAILED" in done.stdout) is not ok


def test_check_options_reach_the_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    def run_checks(scenario: Any, **options: Any) -> list[Any]:
        calls.append({"name": scenario.name, **options})
        return fake_checks(ok=True)()

    monkeypatch.setattr("sim.check.run_checks", run_checks)
    assert gammawall("check", "no-dealers", "--paths", "10k", "--seed", "9", "--threads", "1").exit_code == 0
    assert calls == [{"name": "no-dealers", "paths": 10_000, "seed": 9, "threads": 1, "where": "no-dealers"}]


# --- as a process


@pytest.mark.parametrize("arguments", [[], ["--help"], ["run", "-h"], ["trace", "--help"], ["--version"]])
def test_help_is_quick_and_names_every_command(arguments: list[str]) -> None:
    started = time.perf_counter()
    done = command(*arguments)
    # 0.1 s on an idle machine; several times that leaves room for a busy one
    assert time.perf_counter() - started < 5
    assert done.returncode == (0 if arguments else 2)
    if arguments in ([], ["--help"]):
        text = done.stdout + done.stderr
        assert re.findall(r"^  (run|scenario|trace|check) ", text, re.MULTILINE) == [
            "run",
            "scenario",
            "trace",
            "check",
        ]
    if arguments == ["--version"]:
        assert done.stdout.strip() == f"gammawall {sim.__version__}"


def test_a_whole_run(tmp_path: Path) -> None:
    done = command("run", "no-dealers", "--paths", "2k", "--seed", "5")
    assert done.returncode == 0, done.stderr
    assert "touch 7,100" in done.stdout
    assert "2,000 paths, seed 5, engine numpy" in done.stdout
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


STAND_IN = """
import sys, time, types
sys.path.insert(0, {tests!r})
from sample_outcomes import SampleRun
stand_in = types.ModuleType("sim.run")
def simulate(scenario, *, progress, **options):
    if progress is not None:
        for done in range(0, 1_000_001, 100_000):
            progress(done, 1_000_000)
            time.sleep(0.02)
    print("simulating", file=sys.stderr, flush=True)
    time.sleep({seconds})
    return SampleRun()
stand_in.simulate = simulate
sys.modules["sim.run"] = stand_in
from sim.cli import main
main({arguments!r})
"""


def stand_in_program(arguments: list[str], seconds: float = 0.0) -> list[str]:
    return [
        sys.executable,
        "-c",
        STAND_IN.format(tests=str(TESTS), seconds=seconds, arguments=arguments),
    ]


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


def test_progress_and_colour_appear_on_a_terminal_only() -> None:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")
    }
    environment |= {"TERM": "xterm-256color", "COLUMNS": "100"}
    shown = on_a_terminal(stand_in_program(["run", "--no-save"]), environment)
    assert re.search(r"1M paths", shown)
    assert "path-steps/s" in shown
    assert "\x1b[1m" in shown
    quiet = on_a_terminal(stand_in_program(["run", "--no-save", "--quiet"]), environment)
    assert "paths" not in quiet
    plain = on_a_terminal(stand_in_program(["run", "--no-save"]), {**environment, "NO_COLOR": "1"})
    assert not re.search(r"\x1b\[[\d;]*3\d", plain)
    assert "7,100 first" in plain


def test_main_reads_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gammawall", "--version"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
