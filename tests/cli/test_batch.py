"""The commands batch, merge and sensitivity as a user types them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from click.testing import Result
from support.batch_results import IMPOSSIBLE, SHORT, SINGLES, contents, small_table
from support.cli_runner import gammawall

import sim.batch.local_executor
import sim.cli.batch
from sim.batch.local_executor import CountedCase
from sim.batch.run import BatchProgress
from sim.errors import GammawallError

OPTIONS = [part for override in SHORT for part in ("--set", override)] + [
    "--engine",
    "numpy",
    "--threads",
    "1",
]


def batch_file(folder: Path, **changes: Any) -> str:
    path = folder / "small.toml"
    path.write_text(tomli_w.dumps(small_table(**changes)), encoding="utf-8")
    return str(path)


def batch(file: str, out: Path, *options: str) -> Result:
    return gammawall("batch", file, "--out", str(out), *OPTIONS, *options)


def rows(file: Path) -> list[dict[str, str]]:
    with open(file, encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


class TestBatch:
    def test_terminal(self, tmp_path: Path) -> None:
        result = batch(batch_file(tmp_path), tmp_path / "out")
        assert result.exit_code == 0, result.stderr
        assert result.stdout.startswith("small: 9 cases of siege-of-7000, 3,000 paths each, seed 1\n")
        for line in ("odds over all cases", "what drives 7,010 first", "impact_bp_per_bn", "The \nband is"):
            assert line in result.stdout or line.replace("\n", "") in result.stdout
        assert result.stderr == f"9 cases finished; results: {tmp_path / 'out'}\n"
        assert max(map(len, result.stdout.splitlines())) <= 100

    def test_json(self, tmp_path: Path) -> None:
        result = batch(batch_file(tmp_path), tmp_path / "out", "--json")
        document = json.loads(result.stdout)
        assert [row["scenario"] for row in document["cases"]][:3] == ["base", "no dealers", "wild, and more"]
        assert {band["event"] for band in document["bands"]} == {"first_upper", "first_lower", "neither"}
        for band in document["bands"]:
            assert band["lowest"] <= band["median"] <= band["highest"]
        assert {driver["axis"] for driver in document["drivers"]} == {
            "dealers.impact_bp_per_bn",
            "dealers.impact_half_life",
        }
        assert document["results"] == str(tmp_path / "out")

    def test_quiet(self, tmp_path: Path) -> None:
        result = batch(batch_file(tmp_path, grid={}), tmp_path / "out", "--quiet")
        assert (result.stdout, result.stderr) == (f"{tmp_path / 'out'}\n", "")

    def test_default_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        file = batch_file(tmp_path, grid={})
        assert gammawall("batch", file, *OPTIONS, "--quiet").stdout == "results/small\n"
        assert gammawall("batch", file, *OPTIONS).exit_code == 2
        assert gammawall("batch", file, *OPTIONS, "--resume").exit_code == 0
        assert gammawall("batch", file, *OPTIONS, "--overwrite").exit_code == 0

    def test_dry_run_runs_nothing(self, tmp_path: Path) -> None:
        result = batch(batch_file(tmp_path), tmp_path / "out", "--dry-run", "--only", "impact_bp_per_bn=2*")
        assert result.exit_code == 0
        assert "3 cases to run, 3,000 paths each; all are in order.\n108k path-steps" in result.stdout
        assert result.stdout.count("left out") == 6
        assert result.stderr == ""
        assert not (tmp_path / "out").exists()

    def test_dry_run_tells_what_is_there(self, tmp_path: Path) -> None:
        file, out = batch_file(tmp_path), tmp_path / "out"
        batch(file, out, "--only", "impact_bp_per_bn=2*")
        before = contents(out)
        result = batch(file, out, "--dry-run")
        assert result.exit_code == 0
        assert "9 cases to run" in result.stdout
        assert "note: --out" in result.stderr
        assert "exists already" in result.stderr
        result = batch(file, out, "--dry-run", "--resume")
        assert "6 cases to run" in result.stdout
        assert result.stdout.count("finished") == 3
        assert result.stderr == ""
        document = json.loads(batch(file, out, "--dry-run", "--resume", "--json").stdout)
        assert [case["runs"] for case in document["cases"]].count(True) == 6
        assert {case["status"] for case in document["cases"]} == {"finished", "to run"}
        assert contents(out) == before

    def test_dry_run_as_json(self, tmp_path: Path) -> None:
        document = json.loads(batch(batch_file(tmp_path), tmp_path / "out", "--dry-run", "--json").stdout)
        assert [case["runs"] for case in document["cases"]] == [True] * 9
        assert document["cases"][1]["parameters"]["dealers.impact_bp_per_bn"] == "0.0"

    def test_list_and_show(self, tmp_path: Path) -> None:
        listed = gammawall("batch", "--list").stdout
        assert [line.split()[0] for line in listed.splitlines()] == [
            "horizon",
            "model-risk",
            "story",
            "wall-strength",
        ]
        shown = gammawall("batch", "story", "--show").stdout
        (tmp_path / "own.toml").write_text(shown)
        result = gammawall("batch", str(tmp_path / "own.toml"), "--dry-run", "--json")
        assert [case["scenario"] for case in json.loads(result.stdout)["cases"]][:2] == [
            "siege",
            "no dealers",
        ]

    def test_another_base(self, tmp_path: Path) -> None:
        """A built-in batch varies a user's own scenario."""
        own = tmp_path / "own.toml"
        own.write_text(gammawall("scenario", "show", "siege-of-7000", "--set", "market.sessions=2").stdout)
        result = gammawall(
            "batch",
            "horizon",
            "--base",
            str(own),
            "--only",
            "base",
            "--paths",
            "10",
            "--out",
            str(tmp_path / "o"),
        )
        assert result.exit_code == 0, result.stderr
        assert {row["session"] for row in rows(tmp_path / "o" / "regimes.csv")} == {"1", "2"}

    def test_numbers_on_the_command_line_go_before_the_file(self, tmp_path: Path) -> None:
        batch(batch_file(tmp_path, grid={}), tmp_path / "out", "--paths", "1k", "--seed", "7")
        manifest = json.loads((tmp_path / "out" / "cases" / "base" / "manifest.json").read_text())
        assert (manifest["paths"], manifest["seed"]) == (1_000, 7)

    def test_shards_and_merge(self, tmp_path: Path) -> None:
        file = batch_file(tmp_path)
        for i in range(3):
            assert batch(file, tmp_path / f"s{i}", "--shard", f"{i}/3", "--quiet").exit_code == 0
        shares = [str(tmp_path / f"s{i}") for i in range(3)]
        merged = gammawall("merge", *shares, "--out", str(tmp_path / "merged"))
        assert merged.exit_code == 0, merged.stderr
        assert merged.stderr == f"9 cases joined; results: {tmp_path / 'merged'}\n"
        batch(file, tmp_path / "whole")
        assert contents(tmp_path / "merged") == contents(tmp_path / "whole")
        partly = gammawall("merge", *shares[:2], "--out", str(tmp_path / "part"), "--json")
        assert partly.exit_code == 3
        assert len(json.loads(partly.stdout)["cases"]) == 9
        told = partly.stderr.replace("\n", " ")
        assert "cases failed or have not run in any share" in told
        missing = [
            row["scenario"] for row in json.loads(partly.stdout)["cases"] if row["status"] != "finished"
        ]
        assert len(missing) == 2
        assert ", ".join(missing) in told
        again = gammawall("merge", *shares, "--out", str(tmp_path / "merged"))
        assert again.exit_code == 2
        assert "exists already" in again.stderr
        assert "--overwrite" in again.stderr
        assert "--resume" not in again.stderr


class TestFailures:
    def test_a_bad_case_is_told_before_anything_runs(self, tmp_path: Path) -> None:
        bad = {"name": "bad", "set": {"targets.upper": 6000, "dealers.impct": 1}}
        result = batch(batch_file(tmp_path, case=[*SINGLES, bad]), tmp_path / "out")
        assert result.exit_code == 2
        assert 'case "bad": targets.upper = 6000 (is not above spot' in result.stderr
        assert 'case "bad": dealers.impct = 1 (unknown key)' in result.stderr
        assert not (tmp_path / "out").exists()

    def test_a_case_without_a_map_is_told_before_anything_runs(self, tmp_path: Path) -> None:
        result = batch(batch_file(tmp_path, case=[*SINGLES, IMPOSSIBLE]), tmp_path / "out")
        assert result.exit_code == 2
        assert 'case "impossible": dealers.m_floor = 0 (the feedback factor falls to' in result.stderr
        assert not (tmp_path / "out").exists()

    def test_a_case_that_fails_all_the_same(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        count_case = sim.batch.local_executor._count_case

        def count(*arguments: Any) -> CountedCase:
            if arguments[1].name == "no dealers":
                raise ZeroDivisionError("planted")
            return count_case(*arguments)

        monkeypatch.setattr(sim.batch.local_executor, "_count_case", count)
        file = batch_file(tmp_path, grid={})
        result = batch(file, tmp_path / "out")
        assert result.exit_code == 3
        assert "failed: no dealers: ZeroDivisionError: planted" in result.stdout.replace("\n", "")
        assert "1 of 3 cases failed; their tracebacks are in" in result.stderr
        again = batch(file, tmp_path / "out", "--resume")
        assert again.exit_code == 3
        assert "1 had failed before (--retry-failed tries them again)" in again.stderr
        monkeypatch.setattr(sim.batch.local_executor, "_count_case", count_case)
        assert "0 cases to run" in batch(file, tmp_path / "out", "--resume", "--dry-run").stdout
        assert (
            "1 case to run" in batch(file, tmp_path / "out", "--resume", "--retry-failed", "--dry-run").stdout
        )
        assert batch(file, tmp_path / "out", "--resume", "--retry-failed").exit_code == 0

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--shard", "3/3"], "is no share such as"),
            (["--shard", "x"], "is no share such as"),
            (["--only", "nothing*"], "matches no case"),
            (["--accept-changes"], "goes with --resume"),
            (["--retry-failed"], "goes with --resume"),
            (["--base", "story"], "is a batch; the base of one is a scenario"),
            (["--resume", "--overwrite"], "contradicts"),
            (["--scheduler", "tcp://x:1", "--workers", "2"], "brings its own workers"),
            (["--workers", "2"], "--threads is for one process"),
            (["--max-paths", "5000"], "limits target_se"),
            (["--target-se", "0"], "is not a standard error"),
            (["--base", "nowhere.toml"], "nowhere.toml: no such file"),
            (["--set", "market.spt=1"], "market.spt"),
            (["--devices", "0"], "runs on the processor"),
        ],
    )
    def test_refused(self, tmp_path: Path, options: list[str], said: str) -> None:
        result = batch(batch_file(tmp_path), tmp_path / "out", *options)
        assert result.exit_code == 2
        assert said in result.stderr.replace("\n", " ")
        assert not (tmp_path / "out").exists()

    def test_a_folder_with_too_long_a_name(self, tmp_path: Path) -> None:
        result = batch(batch_file(tmp_path), tmp_path / ("x" * 300))
        assert result.exit_code == 1
        assert "cannot be written there (File name too long). Choose a shorter --out." in result.stderr

    def test_no_such_batch(self) -> None:
        result = gammawall("batch", "stori")
        assert result.exit_code == 2
        assert "is no built-in batch" in result.stderr
        assert "Try story" in result.stderr

    def test_no_batch(self) -> None:
        assert gammawall("batch").exit_code == 2

    def test_a_scenario_is_no_batch(self, tmp_path: Path) -> None:
        scenario = tmp_path / "s.toml"
        scenario.write_text(gammawall("scenario", "show").stdout)
        result = gammawall("batch", str(scenario))
        assert result.exit_code == 2
        assert "market = {" in result.stderr
        assert "unknown key" in result.stderr

    def test_parquet_without_pyarrow(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import builtins

        import_module = builtins.__import__

        def without(name: str, *rest: Any) -> Any:
            if name.startswith("pyarrow"):
                raise ImportError("no pyarrow here")
            return import_module(name, *rest)

        monkeypatch.setattr(builtins, "__import__", without)
        result = batch(batch_file(tmp_path), tmp_path / "out", "--parquet")
        assert result.exit_code == 1
        assert "--parquet needs pyarrow" in result.stderr
        assert "gammawall-sim[parquet]" in result.stderr
        assert not (tmp_path / "out").exists()

    def test_workers_without_dask(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import builtins

        import_module = builtins.__import__

        def without(name: str, *rest: Any) -> Any:
            if name.startswith(("dask", "distributed")):
                raise ImportError("no dask here")
            return import_module(name, *rest)

        monkeypatch.setattr(builtins, "__import__", without)
        result = gammawall(
            "batch", batch_file(tmp_path, grid={}), "--out", str(tmp_path / "out"), "--workers", "2"
        )
        assert result.exit_code == 1
        assert "gammawall-sim[cluster]" in result.stderr


class TestSensitivity:
    def sensitivity(self, out: Path, *options: str) -> Result:
        arguments = ["sensitivity", "siege-of-7000", *OPTIONS, "--only", "volatility.*", "--paths", "2k"]
        return gammawall(*arguments, "--out", str(out), *options)

    def test_table_and_csv(self, tmp_path: Path) -> None:
        result = self.sensitivity(tmp_path / "out")
        assert result.exit_code == 0, result.stderr
        assert "siege-of-7000: what moves 7,010 first, in points, 95%" in result.stdout
        assert "volatility.annual" in result.stdout
        found = rows(tmp_path / "out" / "sensitivity.csv")
        swings = [float(row["swing"]) for row in found if row["event"] == "first_upper"]
        assert len(swings) == 7
        by_name = {(row["input"], row["event"]): row for row in found}
        differences = {
            (row["scenario"], row["event"]): row for row in rows(tmp_path / "out" / "differences.csv")
        }
        for (name, event), row in by_name.items():
            if event.startswith("first"):
                down, up = (differences[f"{name} {way}", event] for way in ("down", "up"))
                assert (row["change_down"], row["change_up"]) == (down["difference"], up["difference"])
                assert (row["change_up_ci_low"], row["change_up_ci_high"]) == (up["ci_low"], up["ci_high"])

    def test_json_and_resume(self, tmp_path: Path) -> None:
        self.sensitivity(tmp_path / "out")
        result = self.sensitivity(tmp_path / "out", "--json", "--resume")
        document = json.loads(result.stdout)
        assert document["bump"] == 0.1
        assert len(document["sensitivity"]) == len(rows(tmp_path / "out" / "sensitivity.csv"))

    def test_help_states_its_own_defaults(self) -> None:
        text = " ".join(gammawall("sensitivity", "--help").stdout.split())
        assert "Paths per case. [default: 200_000]" in text
        assert "Seed of all cases. [default: 1;" in text
        assert "the batch's own" not in text
        assert text.count("200_000") == 1
        assert "200,000" not in text

    def test_defaults(self, monkeypatch: pytest.MonkeyPatch) -> None:
        families: list[Any] = []
        monkeypatch.setattr(
            sim.cli.batch, "run_family", lambda _, family, *__, **___: families.append(family)
        )
        arguments = ["sensitivity", "no-dealers", "--only", "volatility.annual"]
        for more in ([], ["--paths", "1k", "--seed", "7"]):
            assert gammawall(*arguments, *more).exit_code == 0
        assert [(family.paths, family.seed) for family in families] == [(200_000, 1), (1_000, 7)]

    @pytest.mark.parametrize("bump", ["0", "1", "100%", "x", "-5%", "nan"])
    def test_bad_bumps(self, tmp_path: Path, bump: str) -> None:
        result = self.sensitivity(tmp_path / "out", "--bump", bump)
        assert result.exit_code == 2
        assert "is no share between 0 and 1" in result.stderr

    def test_no_input_matches(self, tmp_path: Path) -> None:
        result = gammawall("sensitivity", "--only", "greeks.*", "--out", str(tmp_path / "out"))
        assert result.exit_code == 2
        assert "matches no input" in result.stderr
        assert "volatility.annual" in result.stderr


@pytest.mark.parametrize(
    ("command", "function", "doing"),
    [
        (["batch", "small.toml"], "sim.batch.file.load_batch", "reading"),
        (["batch", "small.toml"], "sim.batch.simulation.simulate_into_folder", "checking"),
        (["sensitivity", "no-dealers"], "sim.batch.sensitivity.sensitivity_batch", "reading"),
        (["merge", "a", "b", "--out", "c"], "sim.batch.merge.merge_folders", "joining"),
    ],
)
def test_whatever_takes_time_for_many_cases_shows_its_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], function: str, doing: str
) -> None:
    """A bar is on the screen before the cases are read, checked or joined."""
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text('schema = 1\nname = "small"\nbase = "no-dealers"\n')
    bars: list[str | None] = [None]

    @contextmanager
    def batch_progress(*, shown: bool, doing: str = "checking") -> Iterator[BatchProgress]:
        bars.append(doing if shown else None)
        try:
            yield BatchProgress()
        finally:
            bars.pop()

    def reached(*_: Any, **__: Any) -> None:
        raise GammawallError(f"reached under {bars[-1]}")

    monkeypatch.setattr("sim.report.batch.batch_progress", batch_progress)
    monkeypatch.setattr(function, reached)
    assert gammawall(*command).stderr == f"error: reached under {doing}\n"
    assert gammawall(*command, "--quiet").stderr == "error: reached under None\n"
