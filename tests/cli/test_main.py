from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.cli_runner import gammawall, stand_in_for_simulate
from support.sample_outcomes import SampleRun

import sim.run.simulation
from sim.cli import main as cli


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    return stand_in_for_simulate(monkeypatch)


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
        "devices": None,
        "target_se": None,
        "max_paths": None,
        "progress": None,
        "where": "siege-of-7000",
        "fragments": (),
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
    ["run", "--engine", "opencl"],
    ["run", "--target-se", "0"],
    ["run", "--target-se", "nan"],
    ["run", "--target-se", "0.5"],
    ["run", "--target-se", "9.9e-7"],
    ["run", "--target-se", "5e-324"],
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


@pytest.mark.parametrize(
    ("target", "paths"), [("1e-7", "some 25,000,000,000,000 paths"), ("1e-200", "more than 2^64 paths")]
)
def test_target_that_nobody_can_wait_for_says_how_many_paths(target: str, paths: str) -> None:
    message = gammawall("run", "--target-se", target).stderr
    assert f"'{target}' would take {paths}. The smallest is 1e-06." in " ".join(message.split())


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


@pytest.mark.parametrize("command", ["run", "book"])
def test_results_that_would_be_shown_nowhere_are_refused(asked: list[dict[str, Any]], command: str) -> None:
    done = gammawall(command, "no-dealers", "--quiet", "--no-save")
    assert (done.stdout, done.exit_code, asked) == ("", 2, [])
    assert "--quiet with --no-save would show the results nowhere" in done.stderr
    if command == "run":
        assert gammawall("run", "--quiet", "--no-save", "--json").exit_code == 0


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
    monkeypatch.setattr(sim.run.simulation, "simulate", lambda *_, **__: run)
    document = json.loads(gammawall("run", "--json", "--no-save").stdout)
    assert document["sessions_to_target"][0]["sessions_50"] is None


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
        # The place in the histogram is rounded to float32, which moves an edge by a ten-millionth.
        low, high = (
            result.axes.close_edges[column - 1] * (1 - 1e-7),
            result.axes.close_edges[column] * (1 + 1e-7),
        )
        assert low <= day["price"] <= high
        assert result.axes.regimes[int(regime.argmax())] == day["regime"]
        assert day["price"] - day["fundamental"] == pytest.approx(day["impact_points"], abs=1e-9)


def test_trace_prints_every_day() -> None:
    done = gammawall("trace", "7", "no-dealers")
    assert done.exit_code == 0
    dates = re.findall(r"2026-\d\d-\d\d", done.stdout)
    assert len(dates) == 27
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


def fake_checks(*, ok: bool) -> Callable[..., list[Any]]:
    def checks_on(*_: Any) -> list[Any]:
        good = SimpleNamespace(
            name="first upper", expected=0.4, simulated=0.401, std_error=0.001, z=1.0, ok=True
        )
        bad = SimpleNamespace(
            name="first lower", expected=0.4, simulated=0.41, std_error=0.001, z=10.0, ok=ok
        )
        return [good, bad]

    return checks_on


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("ok", [False, True])
def test_check_exits_1_when_a_z_score_is_too_large(
    monkeypatch: pytest.MonkeyPatch, ok: bool, as_json: bool
) -> None:
    monkeypatch.setattr("sim.check.checks.checks_on", fake_checks(ok=ok))
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
    calls: list[tuple[Any, ...]] = []

    def checks_on(worker: Any, scenario: Any, *rest: Any) -> list[Any]:
        calls.append((worker.name, worker.threads, scenario.name, *rest))
        return fake_checks(ok=True)()

    monkeypatch.setattr("sim.check.checks.checks_on", checks_on)
    options = "--paths 10k --seed 9 --engine numpy --threads 1"
    assert gammawall("check", "no-dealers", *options.split()).exit_code == 0
    assert calls == [("numpy", 1, "no-dealers", 10_000, 9, "no-dealers")]


def test_main_reads_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gammawall", "--version"])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        with pytest.raises(SystemExit) as ended:
            cli.main()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert ended.value.code == 0
