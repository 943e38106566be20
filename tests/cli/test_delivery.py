"""Finished work reaches the user whatever fails after it: on the screen or in files, with one message and exit 1."""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import Result
from rich.console import Console
from support.cli_runner import gammawall, stand_in_for_simulate
from support.result_files import FILES
from support.sample_chain import QUOTED, SPOT, many_listings, quotedata_csv
from support.sample_days import gjr_returns, write_closes
from support.sample_outcomes import SampleRun

import sim.batch.run
from sim.check.checks import Check
from sim.cli.delivery import Delivery, plain_form, plain_lines
from sim.errors import GammawallError
from sim.odds.plain import plain_odds
from sim.odds.tables import ResultTable
from sim.run.simulation import simulate
from sim.scenario.file import load_scenario

FAILURES = [
    ValueError("Out of range float values are not JSON compliant"),
    TypeError("set has no place in a manifest"),
    RecursionError("maximum recursion depth exceeded"),
    MemoryError(),
    ZeroDivisionError("a bug"),
    UnicodeEncodeError("ascii", "±", 0, 1, "ordinal not in range(128)"),
]
# The sample run reaches 7,100 first on so many of its paths.
ODDS = re.compile(r"7,?100(\.0)? first")


@pytest.fixture(autouse=True)
def temporary(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """An empty folder to work in, and the system's temporary directory."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


def assert_told(done: Result) -> None:
    """Exit code 1 and messages on stderr, and no traceback."""
    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, SystemExit)
    assert "Traceback" not in done.output
    assert re.search(r"^error: ", done.stderr, re.MULTILINE)
    assert all(
        re.match(r"((error|warning|results|book|fragment|note): |\d+ cases finished; )", line)
        for line in done.stderr.splitlines()
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    return stand_in_for_simulate(monkeypatch)


# --- run


SAVING = (
    "sim.run.results.table_csv",
    "sim.files.output_folder.write_file",
    "sim.files.output_folder.flush_folder",
    "sim.files.output_folder.hidden_name",
)
PRINTING = ("sim.report.run.print_report", "sim.run.results.run_document")
STAGES = [
    *((stage, FAILURES[4]) for stage in (*SAVING, *PRINTING)),
    *((stage, error) for stage in ("sim.run.results.manifest_json", PRINTING[0]) for error in FAILURES),
]


@pytest.mark.parametrize("form", [[], ["--json"], ["--quiet"]])
@pytest.mark.parametrize(("stage", "error"), STAGES)
@pytest.mark.usefixtures("asked")
def test_whatever_fails_after_the_simulation_the_odds_are_there(
    monkeypatch: pytest.MonkeyPatch, stage: str, form: list[str], error: Exception
) -> None:
    whole = stage in PRINTING
    if stage.endswith("hidden_name"):  # the one stage that is tried before the simulation too
        monkeypatch.setattr("sim.files.output_folder.probe", lambda _: None)
    monkeypatch.setattr(stage, failing(error))
    done = gammawall("run", "--out", "x", *form)
    printer = {"--json": "run_document", "--quiet": "nothing"}.get("".join(form), "print_report")
    if whole and not stage.endswith(printer):
        assert done.exit_code == 0, done.output
        return
    assert_told(done)
    if whole:
        assert sorted(os.listdir("x")) == FILES
    if form == ["--json"]:
        assert ODDS.search(done.stdout) or "first_upper" in done.stdout
        json.loads(done.stdout)
    elif form == ["--quiet"]:
        assert ODDS.search(done.stdout) or Path(done.stdout.strip(), "odds.csv").exists()
    else:
        assert ODDS.search(done.stdout)


@pytest.mark.usefixtures("asked")
def test_files_that_can_be_made_are_kept(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    monkeypatch.setattr("sim.run.results.manifest_json", failing(TypeError("set has no place in a manifest")))
    done = gammawall("run", "--out", "x")
    (folder,) = temporary.glob("gammawall-*/x")
    assert sorted(os.listdir(folder)) == [name for name in FILES if name != "manifest.json"]
    assert done.stderr == (
        f"results: {folder}\n"
        "error: x: the results cannot be written there: manifest.json cannot be made "
        "(TypeError: set has no place in a manifest).\n"
        f"error: x: the results, all but manifest.json, are in {folder} instead.\n"
    )
    assert not Path("x").exists()


@pytest.mark.parametrize("form", [[], ["--json"], ["--no-save"]])
@pytest.mark.usefixtures("asked")
def test_odds_without_any_table(monkeypatch: pytest.MonkeyPatch, form: list[str]) -> None:
    monkeypatch.setattr(ResultTable, "frame", failing(ValueError("no table")))
    monkeypatch.setattr(SampleRun, "__getattr__", lambda run, name: ResultTable.frame(run, run.axes, name))
    done = gammawall("run", *form)
    assert_told(done)
    expected = plain_odds(SampleRun().outcomes, SampleRun().axes)
    if form == ["--json"]:
        assert json.loads(done.stdout) == expected
    else:
        assert done.stdout.splitlines()[-len(expected) :] == [
            f"{event}: {odds}" for event, odds in expected.items()
        ]
    assert "cannot be printed (ValueError: no table); its numbers are on stdout in plain form." in done.stderr


@pytest.mark.parametrize("part", ["odds_view", "times_view", "headline", "provenance", "print_view"])
@pytest.mark.usefixtures("asked")
def test_no_part_of_the_report_costs_the_odds(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    monkeypatch.setattr(f"sim.report.run.{part}", failing(ValueError("broken")))
    done = gammawall("run", "--no-save")
    assert_told(done)
    assert ODDS.search(done.stdout)


@pytest.mark.usefixtures("asked")
def test_rich_that_fails_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Console, "print", failing(ValueError("broken")))
    done = gammawall("run")
    assert_told(done)
    assert ODDS.search(done.stdout)
    assert sorted(os.listdir("results/siege-of-7000")) == FILES


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.usefixtures("asked")
def test_a_stdout_that_fails_costs_nothing_that_is_not_saved(
    monkeypatch: pytest.MonkeyPatch, form: list[str]
) -> None:
    full = failing(OSError(errno.ENOSPC, "No space left on device"))
    for printer in ("sim.report.run.print_report", "sim.cli.run.print_json"):
        monkeypatch.setattr(printer, full)
    done = gammawall("run", "--no-save", *form)
    assert (done.exit_code, done.stdout) == (1, "")
    assert ODDS.search(done.stderr)
    assert done.stderr.endswith("error: the output cannot be written: No space left on device\n")
    done = gammawall("run", "--out", "x", *form)
    assert done.stderr == (
        "results: x\n" * 0
        + "error: the output cannot be written: No space left on device; the results are in x\n"
    )


@pytest.mark.usefixtures("asked")
def test_a_reader_that_goes_away_hides_no_failure(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    monkeypatch.setattr("sim.report.run.print_report", failing(BrokenPipeError()))
    assert gammawall("run", "--out", "x").exit_code == 0
    Path("x/notes.txt").write_text("mine")
    monkeypatch.setattr("sim.cli.run._refuse_contradictions", lambda *_: None)
    monkeypatch.setattr("sim.files.output_folder.prepare_output", lambda *_, **__: place_taken())
    done = gammawall("run", "--out", "x")
    assert_told(done)
    assert list(temporary.glob("gammawall-*/x/odds.csv"))


def place_taken() -> Any:
    from sim.files.output_folder import OutputFolder
    from sim.run.results import RUN_FOLDER

    return OutputFolder(Path("x"), RUN_FOLDER)


@pytest.mark.parametrize(
    "stage",
    ["run_record", "flat_benchmarks", "plan_facts", "installed_versions", "manifest_json", "date_notes"],
)
def test_what_can_fail_before_the_simulation_does(monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    monkeypatch.setattr("sim.run.simulation._run_to_target", lambda *_: pytest.fail("paths were simulated"))
    monkeypatch.setattr(f"sim.run.simulation.{stage}", failing(TypeError("set has no place in a manifest")))
    expected = GammawallError if stage == "manifest_json" else TypeError
    with pytest.raises(expected, match="set has no place in a manifest"):
        simulate(load_scenario("no-dealers"), paths=10)


def test_a_progress_bar_that_fails_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.progress import Progress

    monkeypatch.setattr(Console, "is_terminal", True)
    for method in ("start", "stop", "update", "advance"):
        monkeypatch.setattr(Progress, method, failing(OSError(errno.EIO, "Input/output error")))
    done = gammawall("run", "no-dealers", "--paths", "50")
    assert done.exit_code == 0, done.output
    write_small_batch()
    assert gammawall("batch", "small.toml", "--out", "b").exit_code == 0


# --- the other commands


def write_small_batch() -> None:
    Path("small.toml").write_text(
        'schema = 1\nname = "small"\nbase = "no-dealers"\npaths = 50\n'
        '[grid]\n"volatility.annual" = [0.1, 0.2]\n[set]\n"market.sessions" = 2\n'
    )


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_batch_that_cannot_be_printed(monkeypatch: pytest.MonkeyPatch, form: list[str]) -> None:
    write_small_batch()
    for printer in ("sim.report.batch.print_batch", "sim.cli.batch._document"):
        monkeypatch.setattr(printer, failing(ValueError("broken")))
    done = gammawall("batch", "small.toml", "--out", "b", *form)
    assert_told(done)
    assert "scenario base" in done.stdout or '"scenario": "base"' in done.stdout
    assert "first_upper" in done.stdout
    assert "3 cases finished; results: b" in done.stderr
    assert Path("b/odds.csv").exists()


def test_tables_that_cannot_be_made_hide_no_finished_case(monkeypatch: pytest.MonkeyPatch) -> None:
    write_small_batch()
    with monkeypatch.context() as broken:
        broken.setattr("sim.batch.table_writer.differences_columns", failing(ValueError("broken")))
        done = gammawall("batch", "small.toml", "--out", "b")
    assert_told(done)
    assert done.stderr == (
        "note: 3 finished cases are in b; go on with --resume\n"
        "error: b: the tables cannot be made (ValueError: broken); the counts of all finished cases are kept. "
        "Try again with --resume.\n"
    )
    assert gammawall("batch", "small.toml", "--out", "b", "--resume").exit_code == 0
    assert Path("b/odds.csv").exists()


def test_a_case_that_cannot_be_filed_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    write_small_batch()
    made = sim.batch.run._manifest

    def manifest(batch: Any, ended: Any, *rest: Any) -> Any:
        strange = {"strange": {1, 2}} if ended.case.name == "annual=0.1" else {}
        return {**made(batch, ended, *rest), **strange}

    monkeypatch.setattr(sim.batch.run, "_manifest", manifest)
    done = gammawall("batch", "small.toml", "--out", "b")
    assert done.exit_code == 3, done.output
    assert "Traceback" not in done.output
    rows = pd.read_csv("b/batch.csv").set_index("scenario")
    assert rows["status"].value_counts().to_dict() == {"finished": 2, "failed": 1}
    assert rows["error"].dropna().tolist() == ["TypeError: set has no place in a manifest"]
    monkeypatch.setattr(sim.batch.run, "_manifest", made)
    assert gammawall("batch", "small.toml", "--out", "b", "--resume", "--retry-failed").exit_code == 0


def test_a_row_that_cannot_be_made_loses_no_finished_case(monkeypatch: pytest.MonkeyPatch) -> None:
    write_small_batch()
    with monkeypatch.context() as broken:
        broken.setattr("sim.batch.folder.case_row", failing(ValueError("broken")))
        done = gammawall("batch", "small.toml", "--out", "b")
    assert_told(done)
    assert done.stderr.startswith("note: 3 finished cases are in b; go on with --resume\n")
    done = gammawall("batch", "small.toml", "--out", "b", "--resume")
    assert "0 cases finished; 3 were finished before" in done.stderr.replace(",", ";"), done.output


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_sensitivity_that_cannot_be_printed(monkeypatch: pytest.MonkeyPatch, form: list[str]) -> None:
    printer = "sim.files.json_text.json_rows" if form else "sim.report.batch.print_sensitivity"
    monkeypatch.setattr(printer, failing(ValueError("broken")))
    few = ("--only", "volatility.annual", "--set", "market.sessions=2", "--paths", "50")
    done = gammawall("sensitivity", "no-dealers", *few, "--out", "s", *form)
    assert_told(done)
    assert "volatility.annual" in done.stdout
    assert Path("s/sensitivity.csv").exists()


@pytest.fixture
def chain(tmp_path: Path) -> str:
    path = tmp_path / "chain.csv"
    path.write_text(quotedata_csv(listings=many_listings(QUOTED, SPOT, 3, 30)), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("form", [[], ["--json"], ["--quiet"]])
@pytest.mark.parametrize(
    "stage",
    [
        "sim.chain.folder.book_csv",
        "sim.chain.folder.table_csv",
        "sim.chain.folder.scenario_to_toml",
        "sim.chain.folder.manifest_json",
        "sim.files.output_folder.write_file",
        "sim.scenario.writing.with_book_file",
    ],
)
def test_a_book_that_cannot_be_filed_is_printed(
    chain: str, monkeypatch: pytest.MonkeyPatch, stage: str, form: list[str]
) -> None:
    monkeypatch.setattr("sim.report.pictures.gamma_picture", lambda *_: b"PNG")
    monkeypatch.setattr(stage, failing(RecursionError("broken")))
    done = gammawall("book", chain, "--out", "b", *form)
    assert_told(done)
    if form == ["--quiet"] and stage.endswith("with_book_file"):  # all other files are there
        assert Path(done.stdout.strip(), "gamma.png").read_bytes() == b"PNG"
    else:
        assert re.search(r"call.wall", done.stdout)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_book_that_cannot_be_printed(chain: str, monkeypatch: pytest.MonkeyPatch, form: list[str]) -> None:
    printer = "sim.cli.book.print_json" if form else "sim.report.book.print_book"
    monkeypatch.setattr(printer, failing(ValueError("broken")))
    done = gammawall("book", chain, "--no-save", *form)
    assert_told(done)
    assert re.search("call_wall.*strike", done.stdout, re.DOTALL)


@pytest.mark.parametrize(
    "error", [*FAILURES, GammawallError("no fonts")], ids=lambda error: type(error).__name__
)
def test_a_picture_that_fails_costs_nothing(
    chain: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr("sim.report.pictures._draw", failing(error))
    done = gammawall("book", chain, "--out", "b")
    assert done.exit_code == 0, done.output
    warning, place = done.stderr.splitlines()
    assert warning.startswith("warning: ")
    assert place == "book: b"
    assert "gamma.png" not in os.listdir("b")
    assert {"book.csv", "manifest.json", "scenario.toml"} <= set(os.listdir("b"))


@pytest.mark.parametrize("form", [[], ["--json"], ["--out", "v.toml"]])
@pytest.mark.parametrize("stage", ["fragment_text", "write_fragment", "print"])
def test_a_fit_reaches_the_user(monkeypatch: pytest.MonkeyPatch, stage: str, form: list[str]) -> None:
    write_closes(Path("days.csv"), gjr_returns(600, seed=4))
    places = {"print": "sim.report.fit.print_volatility"}
    if form == ["--json"]:
        places["print"] = "sim.cli.fit.print_json"
    monkeypatch.setattr(places.get(stage, f"sim.scenario.fragments.{stage}"), failing(ValueError("broken")))
    done = gammawall("fit", "volatility", "days.csv", "--since", "2010-01-05", *form)
    if stage == "write_fragment" and form != ["--out", "v.toml"]:
        assert done.exit_code == 0
        return
    assert_told(done)
    assert "persistence" in done.stdout
    assert Path("v.toml").exists() is (stage == "print" and form == ["--out", "v.toml"])


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.parametrize(
    ("command", "printers", "told"),
    [
        (["trace", "3", "no-dealers"], ["sim.report.trace.trace_view", "sim.cli.main.print_json"], "session"),
        (["check"], ["sim.report.check.check_view", "sim.cli.main.print_json"], "first upper"),
        (
            [
                "bench",
                "no-dealers",
                "--engines",
                "numpy",
                "--paths",
                "10",
                "--repeats",
                "1",
                "--csv",
                "t.csv",
            ],
            ["sim.report.engines.print_bench", "sim.cli.bench.print_json"],
            "path_steps_per_s",
        ),
    ],
)
def test_other_commands_print_in_plain_form(
    monkeypatch: pytest.MonkeyPatch, command: list[str], printers: list[str], told: str, form: list[str]
) -> None:
    monkeypatch.setattr("sim.check.checks.checks_on", lambda *_: [Check("first upper", 0.4, 0.401, 0.001)])
    for printer in printers:
        monkeypatch.setattr(printer, failing(ValueError("broken")))
    done = gammawall(*command, *form)
    assert_told(done)
    assert told in done.stdout
    if form:
        json.loads(done.stdout)


# --- the plain form


def test_anything_has_a_plain_form() -> None:
    class Broken:
        def __str__(self) -> str:
            raise ValueError("no text")

    endless: list[Any] = []
    endless.append(endless)
    value = {
        "a": [{"x": 1, "y": 2.5}, {"x": 3}],
        "b": float("nan"),
        "c": Broken(),
        "d": endless,
        "e": {"f": None},
    }
    form = plain_form(value)
    json.dumps(form, allow_nan=False)
    assert list(plain_lines(form))[:4] == ["a: x 1, y 2.5", "a: x 3", "b: nan", "c: <ValueError: no text>"]


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(errno.ENOSPC, "No space left on device")])
def test_no_failure_hides_what_the_work_has_found(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    monkeypatch.setattr("sim.check.checks.checks_on", lambda *_: [Check("first upper", 0.4, 0.5, 0.001)])
    monkeypatch.setattr("sim.report.check.check_view", failing(error))
    done = gammawall("check")
    assert done.exit_code == 1
    *others, finding = done.stderr.splitlines()
    assert finding == "error: 1 of 1 checks failed: first upper."
    if isinstance(error, BrokenPipeError):  # its reader has seen enough
        assert others == []
    else:
        assert others[0].startswith("check: name first upper, expected 0.4, simulated 0.5")
        assert others[1:] == ["error: the output cannot be written (No space left on device)."]


def test_so_does_a_batch_of_which_cases_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    write_small_batch()
    monkeypatch.setattr("sim.batch.local_executor._count_case", failing(ZeroDivisionError("a bug")))
    monkeypatch.setattr("sim.report.batch.print_batch", failing(BrokenPipeError()))
    done = gammawall("batch", "small.toml", "--out", "b")
    assert done.exit_code == 3, done.output
    assert "error: 3 of 3 cases failed" in done.stderr


def test_failures_are_told_as_one_error() -> None:
    delivery = Delivery(failures=("first.", "second."))
    with pytest.raises(GammawallError, match=r"^first\.\nsecond\.$"):
        delivery.end()
    Delivery().end()
