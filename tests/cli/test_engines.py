"""Engines on the command line: --engine and --devices, and the commands engines and bench."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.cli_runner import gammawall, stand_in_for_simulate

from sim.check.checks import Check
from sim.compiled import native_library
from sim.engines import choice, cuda_engine
from sim.engines.numpy_engine import NumpyEngine
from sim.errors import GammawallError
from sim.run import bench
from sim.run.bench import EngineState

HERE = [
    EngineState("cuda", False, "", "CuPy is missing. Try pip install 'gammawall-sim[cuda13]'."),
    EngineState(
        "native", True, "a processor (avx2 build)", "", ["avx512", "avx2", "baseline"], ["avx2", "baseline"]
    ),
    EngineState("numpy", True, "a processor"),
]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    return stand_in_for_simulate(monkeypatch)


def one_line(text: str) -> str:
    return " ".join(text.split())


# --- --engine and --devices


@pytest.mark.parametrize("name", ["auto", "cuda", "native", "numpy"])
def test_every_engine_may_be_named(asked: list[dict[str, Any]], name: str) -> None:
    assert gammawall("run", "--no-save", "--engine", name).exit_code == 0
    assert asked[0]["engine"] == name


@pytest.mark.parametrize(
    ("text", "numbers"), [("0", (0,)), ("0,1", (0, 1)), ("3, 1", (3, 1)), ("10,2,0", (10, 2, 0))]
)
def test_devices_reach_the_engine(asked: list[dict[str, Any]], text: str, numbers: tuple[int, ...]) -> None:
    assert gammawall("run", "--no-save", "--devices", text).exit_code == 0
    assert asked[0]["devices"] == numbers


@pytest.mark.parametrize("command", ["run", "check", "bench"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,0", "'0,0' names a number twice."),
        ("1,2,01", "'1,2,01' names a number twice."),
        ("0,", "'' is not a number"),
        ("", "'' is not a number"),
        ("0;1", "'0;1' is not a number"),
        ("-1", "'-1' is not between 0 and 2^64 - 1."),
        ("0.5", "'0.5' is not a whole number."),
        ("all", "'all' is not a number"),
    ],
)
def test_bad_lists_of_devices(command: str, text: str, message: str) -> None:
    done = gammawall(command, "--devices", text)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"Invalid value for '--devices': {message}" in one_line(done.stderr)


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize("engine", ["native", "numpy"])
def test_devices_of_an_engine_without_any(command: str, engine: str) -> None:
    done = gammawall(command, "--engine", engine, "--devices", "0,1")
    message = f"error: --devices: 0,1 (the {engine} engine runs on the processor). Try the engine cuda.\n"
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", message)
    assert os.listdir() == []


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize("options", [["--engine", "cuda"], ["--devices", "0"]], ids=" ".join)
def test_cuda_that_is_missing(monkeypatch: pytest.MonkeyPatch, command: str, options: list[str]) -> None:
    monkeypatch.setattr(cuda_engine, "cuda_problem", lambda devices=(0,): "CuPy is missing. Try pip.")
    done = gammawall(command, *options)
    message = "error: the cuda engine is not available: CuPy is missing. Try pip.\n"
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", message)
    assert os.listdir() == []


def test_native_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_library, "library_file", lambda build: None)
    done = gammawall("run", "--engine", "native")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("error: the native engine is not available: it was not compiled")
    assert "Install g++ 11, clang++ 14 or newer" in done.stderr


def test_a_run_says_which_engine_ran() -> None:
    done = gammawall("run", "no-dealers", "--paths", "500", "--engine", "numpy", "--threads", "1")
    assert done.exit_code == 0, done.output
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("numpy engine, "))
    assert line.endswith(", 1 thread")
    manifest = json.loads(Path("results/no-dealers/manifest.json").read_text())
    assert manifest["device"] in line
    assert not [name for name in manifest["versions"] if "cupy" in name]


def test_a_check_says_which_engine_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    def checks_on(worker: Any, *_: Any) -> list[Check]:
        worker.at_work = worker.threads
        return [Check("first upper", 0.4, 0.401, 0.001)]

    monkeypatch.setattr("sim.check.checks.checks_on", checks_on)
    done = gammawall("check", "no-dealers", "--engine", "numpy", "--threads", "2")
    assert done.exit_code == 0, done.output
    assert one_line(done.stdout).endswith("2 threads")
    document = json.loads(gammawall("check", "no-dealers", "--engine", "numpy", "--json").stdout)
    assert document["engine"] == "numpy"
    assert document["device"] == NumpyEngine().device


# --- engines


def test_engines_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "engine_states", lambda: HERE)
    done = gammawall("engines")
    assert (done.exit_code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    for start, rest in (("cuda", "no"), ("native", "yes"), ("numpy", "yes")):
        assert sum(line.split()[:2] == [start, rest] for line in lines) == 1
    text = one_line(done.stdout)
    assert "CuPy is missing." in text
    assert "a processor (avx2 build)" in text
    assert "native builds here: avx512, avx2, baseline; this processor can run avx2, baseline" in text
    assert text.endswith("--engine auto takes native.")


def test_engines_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "engine_states", lambda: HERE)
    document = json.loads(gammawall("engines", "--json").stdout)
    assert document["auto"] == "native"
    assert [e["engine"] for e in document["engines"]] == ["cuda", "native", "numpy"]
    cuda, native, _ = document["engines"]
    assert (cuda["available"], cuda["device"], cuda["problem"]) == (False, "", HERE[0].problem)
    assert (native["builds"], native["usable_builds"]) == (HERE[1].builds, HERE[1].usable_builds)


def test_engines_of_this_machine() -> None:
    document = json.loads(gammawall("engines", "--json").stdout)
    assert document["auto"] == choice.choose().name
    assert f"--engine auto takes {document['auto']}." in gammawall("engines").stdout


# --- bench

FEW = ["no-dealers", "--paths", "300", "--repeats", "1"]


def test_bench_prints_and_writes_one_table() -> None:
    done = gammawall("bench", *FEW, "--engines", "numpy", "--csv", "t.csv", "--target-se", "0.001")
    assert (done.exit_code, done.stderr) == (0, "")
    (row,) = (line for line in done.stdout.splitlines() if line.startswith("numpy  "))
    assert row.split()[:3] == ["numpy", "1", "300"]
    assert row.split()[-1] == "first"
    assert "1.00x" in row
    assert "to se 0.001" in done.stdout
    assert "of issue limit" not in done.stdout
    rows = pd.read_csv("t.csv")
    assert list(rows["engine"]) == ["numpy"]
    assert rows["path_steps_per_s"][0] > 0


def test_bench_as_json_has_null_for_what_is_not_known() -> None:
    done = gammawall("bench", *FEW, "--engines", "numpy", "--json")
    document = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    (row,) = document["rows"]
    assert (document["scenario"], document["target_se"]) == ("no-dealers", 0.0005)
    assert (row["engine"], row["paths"], row["issue_share"], row["kernel_seconds"]) == (
        "numpy",
        300,
        None,
        None,
    )


def test_bench_options_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    def timings(scenario: Any, **options: Any) -> Iterator[bench.Timing]:
        calls.append({"upper": scenario.targets.upper, **options})
        return iter([])

    monkeypatch.setattr(bench, "timings", timings)
    options = "--engines cuda,native --paths 1e5,1M --threads 1,2 --devices 0,1 --repeats 2 --target-se 1e-3"
    done = gammawall("bench", "no-dealers", *options.split(), "--set", "targets.upper=7200", "--json")
    assert done.exit_code == 0, done.output
    assert gammawall("bench", "--json").exit_code == 0
    assert calls[0] == {
        **{"upper": 7200, "engines": ["cuda", "native"], "paths": (100_000, 1_000_000), "threads": (1, 2)},
        **{"devices": (0, 1), "repeats": 2, "target_se": 1e-3, "where": "no-dealers"},
    }
    assert calls[1]["engines"] is None
    assert calls[1]["devices"] is None
    assert (calls[1]["repeats"], calls[1]["target_se"]) == (3, 0.0005)


def test_a_former_table_is_not_overwritten() -> None:
    Path("t.csv").write_text("precious")
    done = gammawall("bench", *FEW, "--engines", "numpy", "--csv", "t.csv")
    assert done.exit_code == 2
    assert "--csv t.csv is there already. Try another name, or --overwrite." in one_line(done.stderr)
    assert Path("t.csv").read_text() == "precious"
    assert gammawall("bench", *FEW, "--engines", "numpy", "--csv", "t.csv", "--overwrite").exit_code == 0
    (row,) = pd.read_csv("t.csv").to_dict("records")
    assert (row["scenario"], row["target_se"]) == ("no-dealers", 0.0005)
    assert row["scenario_hash"]


def test_a_table_goes_where_a_link_leads_and_never_into_nothing() -> None:
    Path("real").mkdir()
    Path("real/t.csv").write_text("former")
    Path("t.csv").symlink_to("real/t.csv")
    assert gammawall("bench", *FEW, "--engines", "numpy", "--csv", "t.csv", "--overwrite").exit_code == 0
    assert Path("t.csv").is_symlink()
    assert len(pd.read_csv("real/t.csv")) == 1
    assert sorted(os.listdir("real")) == ["t.csv"]


@pytest.mark.parametrize(("make", "what"), [(os.mkfifo, "a pipe"), (None, "a link that leads nowhere")])
def test_no_table_goes_to_a_pipe_or_a_link_that_leads_nowhere(
    monkeypatch: pytest.MonkeyPatch, make: Any, what: str
) -> None:
    """A pipe that nobody reads would be waited for, without end."""
    make("t.csv") if make else Path("t.csv").symlink_to("nowhere")
    monkeypatch.setattr(NumpyEngine, "run", lambda *_, **__: pytest.fail("something was timed"))
    done = gammawall("bench", *FEW, "--engines", "numpy", "--csv", "t.csv", "--overwrite")
    assert done.exit_code == 2
    assert f"--csv t.csv is {what}. Try the name of a file" in one_line(done.stderr)
    assert os.listdir() == ["t.csv"]


def test_a_former_table_stays_if_the_new_one_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("t.csv").write_text("precious")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sim.files.atomic_files.os.fsync", full)
    done = gammawall("bench", *FEW, "--engines", "numpy", "--csv", "t.csv", "--overwrite")
    assert done.exit_code == 1
    assert "No space left on device; the table is on stdout" in one_line(done.stderr)
    assert Path("t.csv").read_text() == "precious"
    assert os.listdir() == ["t.csv"]


class Miscounting(NumpyEngine):
    """Counts one path twice."""

    name = "native"

    def run(self, *arguments: Any, **named: Any) -> Any:
        outcomes = super().run(*arguments, **named)
        outcomes.joint[0, 0] += 1
        return outcomes


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["table", "json"])
def test_bench_fails_if_counts_differ_and_keeps_the_table(
    monkeypatch: pytest.MonkeyPatch, form: list[str]
) -> None:
    monkeypatch.setattr(
        bench, "choose", lambda name, *_: Miscounting(1) if name == "native" else NumpyEngine(1)
    )
    done = gammawall("bench", *FEW, "--engines", "native,numpy", "--csv", "t.csv", *form)
    assert done.exit_code == 1
    assert done.stderr == "error: the counts differ between engines. Please report this with the table.\n"
    assert "DIFFERENT" in done.stdout
    assert list(pd.read_csv("t.csv")["counts"]) == ["first", "DIFFERENT"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_table_that_cannot_be_written_is_printed() -> None:
    done = gammawall("bench", *FEW, "--engines", "numpy", "--csv", "/dev/full")
    assert done.exit_code == 1
    assert done.stderr == (
        "error: /dev/full cannot be written: No space left on device; the table is on stdout. "
        "Try another place for --csv.\n"
    )
    assert "numpy  " in done.stdout


class Failing(NumpyEngine):
    """Ends in the middle of its runs."""

    name = "native"

    def __init__(self, error: BaseException):
        super().__init__()
        self.error = error

    def run(self, *_: Any, **__: Any) -> Any:
        raise self.error


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (GammawallError("the GPU fell over."), 1, "error: the GPU fell over.\n"),
        (MemoryError(), 1, "error: out of memory."),
        (KeyboardInterrupt(), 130, "interrupted: what was timed is in t.csv\n"),
    ],
    ids=["failure", "memory", "ctrl-c"],
)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["table", "json"])
def test_what_was_timed_before_a_failure_is_kept(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str, form: list[str]
) -> None:
    monkeypatch.setattr(
        bench, "choose", lambda name, *_: Failing(error) if name == "native" else NumpyEngine(1)
    )
    done = gammawall("bench", *FEW, "--engines", "native,numpy", "--csv", "t.csv", *form)
    assert done.exit_code == code
    assert done.stderr.startswith(message)
    assert list(pd.read_csv("t.csv")["engine"]) == ["numpy"]
    if form:
        assert [row["engine"] for row in json.loads(done.stdout)["rows"]] == ["numpy"]
    else:
        assert "numpy  " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--engines", "fpga"],
            "--engines: fpga (there is no engine 'fpga'). Try some of cuda, native, numpy.",
        ),
        (["--engines", "numpy,numpy"], "--engines: numpy,numpy (an engine is named twice)."),
        (["--engines", ""], "there is no engine ''"),
        (["--engines", "numpy", "--devices", "0"], "of the engines named, none runs on a GPU"),
        (["--paths", "1e3,1000"], "'1e3,1000' names a number twice."),
        (["--paths", "0"], "'0' is not between 1"),
        (["--threads", "1,0"], "'0' is not between 1"),
        (["--repeats", "0"], "Invalid value for '--repeats'"),
        (["--target-se", "1"], "not a standard error between 0 and 0.5"),
        (["--csv", "no/such/t.csv"], "--csv no/such/t.csv: there is no folder no/such."),
        (["--csv", "."], "Invalid value for '--csv'"),
        (["--csv", "-"], "--csv takes the name of a file"),
        (["--set", "targets.upper=1"], "targets.upper"),
    ],
)
def test_bad_usage_of_bench_times_nothing(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.setattr(NumpyEngine, "run", lambda *_, **__: pytest.fail("something was timed"))
    done = gammawall("bench", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in one_line(done.stderr)
    assert os.listdir() == []
