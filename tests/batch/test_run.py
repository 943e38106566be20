"""Batches from start to end: what is counted, filed, kept, and told."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.batch_results import GRID, IMPOSSIBLE, SINGLES, contents, rows, small_batch

import sim
import sim.batch.local_executor
import sim.plan.builder
from sim.batch.executors import choose_executor
from sim.batch.family import Batch, Case
from sim.batch.folder import BatchFolder
from sim.batch.local_executor import Baseline, CountedCase, FailedCase
from sim.batch.opening import open_batch_folder
from sim.batch.run import BatchProgress, BatchRun, check_cases, run_batch
from sim.batch.table_writer import save_tables
from sim.batch.tables import FAILED, FINISHED, NOT_RUN
from sim.errors import GammawallError, InputError
from sim.odds.tables import TABLES
from sim.run.simulation import simulate

ENGINE = "numpy"


def run(
    batch: Batch, out: Path, *, only: str | None = None, resume: bool = False, **options: Any
) -> BatchRun:
    with (
        open_batch_folder(batch, out, resume=resume, parquet=options.pop("parquet", False)) as folder,
        choose_executor(ENGINE, threads=1) as executor,
    ):
        return run_batch(batch, folder, batch.selected(only, None), executor, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the small batch, run at once."""
    out = tmp_path_factory.mktemp("whole") / "small"
    run(small_batch(), out)
    return out


class TestResults:
    def test_a_row_for_every_case(self, whole: Path) -> None:
        batch = small_batch()
        found = rows(whole)
        assert [row["scenario"] for row in found] == [case.name for case in batch.cases]
        assert {row["status"] for row in found} == {FINISHED}
        assert [row["dealers.impact_bp_per_bn"] for row in found] == [
            "3.5", "0", "3.5", *(f"{x:g}" for x in GRID["dealers.impact_bp_per_bn"] for _ in range(2))
        ]  # fmt: skip

    def test_odds_are_those_of_a_run_of_each_scenario(self, whole: Path) -> None:
        batch = small_batch()
        found = rows(whole, "odds.csv")
        for case in batch.cases:
            assert case.scenario is not None
            alone = simulate(case.scenario, paths=batch.paths, seed=batch.seed, engine=ENGINE, threads=1).odds
            mine = [row for row in found if row["scenario"] == case.name]
            assert [row["probability"] for row in mine] == [f"{p:.10g}" for p in alone["probability"]]

    def test_every_table_has_every_case_in_order(self, whole: Path) -> None:
        names = [case.name for case in small_batch().cases]
        for name in TABLES:
            assert list(dict.fromkeys(row["scenario"] for row in rows(whole, f"{name}.csv"))) == names
        others = [name for name in names if name != "base"]
        assert list(dict.fromkeys(row["scenario"] for row in rows(whole, "differences.csv"))) == others

    def test_differences_are_those_of_the_odds(self, whole: Path) -> None:
        odds = {
            (row["scenario"], row["event"], row["level"]): float(row["probability"])
            for row in rows(whole, "odds.csv")
            if row["dealers"] == "with"
        }
        found = rows(whole, "differences.csv")
        assert len(found) == 8 * 7  # three first-target events, four levels
        for row in found:
            key = row["event"], row["level"]
            assert float(row["difference"]) == pytest.approx(
                odds[row["scenario"], *key] - odds["base", *key], abs=1e-9
            )
            assert float(row["ci_low"]) <= float(row["difference"]) <= float(row["ci_high"])

    def test_differences_have_the_error_of_pairs(self, whole: Path) -> None:
        """Much smaller than that of two runs apart, since the draws are shared."""
        apart = {
            row["scenario"]: float(row["std_error"])
            for row in rows(whole, "odds.csv")
            if row["event"] == "first_upper" and row["dealers"] == "with"
        }
        for row in rows(whole, "differences.csv"):
            if row["event"] == "first_upper" and row["scenario"].startswith("impact_bp_per_bn=3.5"):
                assert float(row["std_error"]) < 0.5 * apart[row["scenario"]]

    def test_a_manifest_for_every_case_and_one_for_the_batch(self, whole: Path) -> None:
        batch = small_batch()
        for case in batch.cases:
            manifest = json.loads((whole / "cases" / case.folder / "manifest.json").read_text())
            assert manifest["case"] == case.name
            assert manifest["scenario_hash"] == case.hash
            assert manifest["paths"] == batch.paths
            assert manifest["engine"] == ENGINE
        document = json.loads((whole / "batch.json").read_text())
        assert document["digest"] == batch.digest
        assert {case["status"] for case in document["cases"]} == {FINISHED}

    def test_only_the_baseline_keeps_records(self, whole: Path) -> None:
        assert [path.parent.name for path in whole.rglob("records.npz")] == ["base"]

    def test_parquet_has_the_same_columns(self, tmp_path: Path) -> None:
        parquet = pytest.importorskip("pyarrow.parquet")
        run(small_batch(), tmp_path / "b", parquet=True)
        for name in ("batch", *TABLES, "differences"):
            table = parquet.read_table(tmp_path / "b" / f"{name}.parquet")
            found = rows(tmp_path / "b", f"{name}.csv")
            assert table.column_names == list(found[0])
            assert table.num_rows == len(found)

    def test_a_target_standard_error(self, tmp_path: Path) -> None:
        batch = small_batch(paths=1_000, target_se=0.004, max_paths=100_000, grid={})
        run(batch, tmp_path / "b")
        odds = rows(tmp_path / "b", "odds.csv")
        for case in batch.cases:
            assert case.scenario is not None
            alone = simulate(
                case.scenario, paths=1_000, target_se=0.004, max_paths=100_000, engine=ENGINE, threads=1
            )
            mine = [row for row in odds if row["scenario"] == case.name]
            assert {row["paths"] for row in mine} == {str(alone.outcomes.paths)}
            assert [row["probability"] for row in mine] == [f"{p:.10g}" for p in alone.odds["probability"]]


class TestResume:
    def test_nothing_is_counted_twice(
        self, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batch, out = small_batch(), tmp_path / "b"
        counted: list[str] = []
        count_case = sim.batch.local_executor._count_case

        def counting(*arguments: Any) -> CountedCase:
            counted.append(arguments[1].name)
            return count_case(*arguments)

        monkeypatch.setattr(sim.batch.local_executor, "_count_case", counting)
        run(batch, out, only="impact_bp_per_bn=2*")
        assert counted == [
            "base",
            "impact_bp_per_bn=2.0 impact_half_life=0.0",
            "impact_bp_per_bn=2.0 impact_half_life=2.0",
        ]
        done = run(batch, out, resume=True)
        assert sorted(counted) == sorted(case.name for case in batch.cases)
        assert len(done.kept) == 3
        assert contents(out) == contents(whole)

    def test_records_that_are_gone_are_counted_again(self, whole: Path, tmp_path: Path) -> None:
        batch, out = small_batch(), tmp_path / "b"
        run(batch, out, only="no dealers")
        (out / "cases" / "base" / "records.npz").unlink()
        run(batch, out, resume=True)
        assert contents(out) == contents(whole)

    @pytest.mark.parametrize("damage", ["gone", "empty", "cut", "other keys"])
    def test_without_a_whole_batch_json_finished_cases_are_kept(
        self, whole: Path, tmp_path: Path, damage: str
    ) -> None:
        batch, out = small_batch(), tmp_path / "b"
        run(batch, out, only="no dealers")
        text = (out / "batch.json").read_text()
        (out / "batch.json").unlink()
        left = {"empty": "", "cut": text[:200], "other keys": '{"format": "gammawall-batch/1"}'}
        if damage in left:
            (out / "batch.json").write_text(left[damage])
        with pytest.raises(InputError, match="exists already"):
            run(batch, out)
        with pytest.raises(
            InputError, match=r"json is missing or damaged, and 2 of the cases there are another's"
        ):
            run(small_batch(paths=3_001), out, resume=True)
        done = run(batch, out, resume=True)
        assert done.kept == ["base", "no dealers"]
        assert contents(out) == contents(whole)
        (out / "batch.json").unlink()
        with open_batch_folder(batch, out, overwrite=True) as folder:
            assert {folder.status(case) for case in batch.cases} == {NOT_RUN}

    def test_a_changed_batch_is_refused(self, tmp_path: Path) -> None:
        out = tmp_path / "b"
        run(small_batch(grid={}), out)
        for changes, said in (
            ({"paths": 3_001}, "paths was 3000, is 3001"),
            ({"seed": 2}, "seed was 1, is 2"),
            ({"case": SINGLES[:1]}, "wild, and more"),
            (
                {"case": [SINGLES[0], {"name": SINGLES[1]["name"], "set": {"volatility.annual*": 3}}]},
                "wild, and more",
            ),
        ):
            with pytest.raises(InputError, match=said):
                run(small_batch(grid={}, **changes), out, resume=True)

    def test_a_changed_batch_keeps_what_is_the_same(self, tmp_path: Path) -> None:
        out = tmp_path / "b"
        run(small_batch(grid={}), out)
        changed = small_batch(grid={}, case=[SINGLES[0], {"name": "new", "set": {"volatility.annual*": 3}}])
        with open_batch_folder(changed, out, resume=True, accept_changes=True) as folder:
            assert [folder.status(case) for case in changed.cases] == [FINISHED, FINISHED, NOT_RUN]
            with choose_executor(ENGINE, threads=1) as executor:
                run_batch(changed, folder, changed.cases, executor)
        run(changed, tmp_path / "fresh")
        assert contents(out) == contents(tmp_path / "fresh")

    def test_other_kernels_are_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        run(small_batch(grid={}), tmp_path / "b")
        monkeypatch.setattr("sim.batch.folder.code_digest", lambda: "another")
        with pytest.raises(InputError, match="another version"):
            run(small_batch(grid={}), tmp_path / "b", resume=True)

    def test_cases_added_in_front_keep_those_of_before(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out, key = tmp_path / "b", "dealers.impact_bp_per_bn"
        run(small_batch(grid={key: [1.0, 2.0]}), out)
        more = small_batch(grid={key: [0.5, 1.0, 2.0]})
        done = sim.simulate_batch(more, out, engine=ENGINE, threads=1, resume=True, accept_changes=True)
        assert done.finished == ["impact_bp_per_bn=0.5"]
        run(more, tmp_path / "fresh")
        assert contents(out) == contents(tmp_path / "fresh")

    def test_other_tables_are_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A library, or a line of code, that makes other tables of the same scenario."""
        out, batch = tmp_path / "b", small_batch(grid={})
        how = {"engine": ENGINE, "threads": 1, "resume": True}
        sim.simulate_batch(batch, out, cases=batch.selected("no dealers", None), **how)  # type: ignore[arg-type]
        impact = sim.plan.dealers.impact_per_bn
        monkeypatch.setattr("sim.plan.dealers.impact_per_bn", lambda scenario: 1.01 * impact(scenario))
        with pytest.raises(
            InputError, match="2 finished cases, base for one, were counted with other tables"
        ):
            sim.simulate_batch(batch, out, **how)  # type: ignore[arg-type]
        done = sim.simulate_batch(batch, out, accept_changes=True, **how)  # type: ignore[arg-type]
        assert done.finished == ["base", "no dealers", "wild, and more"]


class TestFailures:
    def failing(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        """Let the cases of these names fail while they are counted."""
        count_case = sim.batch.local_executor._count_case

        def count(batch: Batch, case: Case, *rest: Any) -> CountedCase:
            if case.name in names:
                raise ZeroDivisionError(f"planted in {case.name}")
            return count_case(batch, case, *rest)

        monkeypatch.setattr(sim.batch.local_executor, "_count_case", count)

    def test_the_others_go_on(self, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        out, batch = tmp_path / "b", small_batch()
        with monkeypatch.context() as patched:
            self.failing(patched, "no dealers")
            done = run(batch, out)
        assert done.failed == ["no dealers"]
        assert len(done.finished) == 8
        found = {row["scenario"]: row for row in rows(out)}
        assert found["no dealers"]["status"] == FAILED
        assert found["no dealers"]["error"] == "ZeroDivisionError: planted in no dealers"
        assert found["no dealers"]["first_upper"] == ""
        trace = (out / "cases" / "no-dealers-f2a8574f" / "traceback.txt").read_text()
        assert "planted in no dealers" in trace
        assert Path(__file__).name in trace
        # once more: it stays failed, then it is tried again
        assert run(batch, out, resume=True).failed_before == ["no dealers"]
        assert run(batch, out, resume=True, retry_failed=True).finished == ["no dealers"]
        assert contents(out) == contents(whole)

    def test_fail_fast(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failing(monkeypatch, "no dealers")
        done = run(small_batch(), tmp_path / "b", fail_fast=True)
        assert done.failed == ["no dealers"]
        assert len(done.finished) < 8
        assert {row["status"] for row in rows(tmp_path / "b")} >= {FINISHED, FAILED, NOT_RUN}

    def test_without_a_baseline_there_are_no_differences(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.failing(monkeypatch, "base")
        done = run(small_batch(), tmp_path / "b")
        assert done.failed == ["base"]
        assert len(done.finished) == 8
        assert not (tmp_path / "b" / "differences.csv").exists()
        assert {row["first_upper_vs_baseline"] for row in rows(tmp_path / "b")} == {""}

    def test_a_baseline_that_failed_and_is_tried_again_pairs_all(
        self, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "b"
        with monkeypatch.context() as patched:
            self.failing(patched, "base")
            run(small_batch(), out)
        run(small_batch(), out, resume=True, retry_failed=True)
        assert contents(out) == contents(whole)

    def test_a_bad_case_is_found_before_any_runs(self) -> None:
        batch = small_batch(case=[*SINGLES, IMPOSSIBLE])
        with pytest.raises(InputError, match=r'case "impossible".*m_floor'):
            check_cases(batch.cases)
        check_cases(small_batch().cases)


class TestFullDisk:
    def test_finished_cases_stay(self, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The disk is full after some cases, and again while the tables are written."""
        import errno

        import sim.batch.case_files
        import sim.files.atomic_files

        out, batch = tmp_path / "b", small_batch()
        write_file = sim.files.atomic_files.write_file
        written: list[Path] = []

        def fill(path: Path, content: str | bytes) -> None:
            written.append(path)
            if len(written) > 12:
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            write_file(path, content)

        with monkeypatch.context() as patched:
            patched.setattr(sim.batch.case_files, "write_file", fill)
            with pytest.raises(GammawallError, match="No space left on device"):
                run(batch, out)
        with open_batch_folder(batch, out, resume=True) as folder:
            finished = [case.name for case in batch.cases if folder.status(case) == FINISHED]
        assert len(finished) >= 4
        assert not list(out.rglob(".gammawall-*"))
        done = run(batch, out, resume=True)
        assert done.kept == finished
        assert contents(out) == contents(whole)

    def test_former_tables_stay_if_new_ones_do_not_fit(
        self, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import errno
        import os

        out, batch = tmp_path / "b", small_batch()
        run(batch, out, only="no dealers")
        before = (out / "odds.csv").read_bytes()

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patched, open_batch_folder(batch, out, resume=True) as folder:
            patched.setattr(os, "fsync", full)
            with pytest.raises(GammawallError, match="No space left on device"):
                save_tables(folder)
        assert (out / "odds.csv").read_bytes() == before
        assert not list(out.rglob(".gammawall-*"))
        run(batch, out, resume=True)
        assert contents(out) == contents(whole)


class Told(BatchProgress):
    def __init__(self) -> None:
        self.started: list[tuple[int, int, int]] = []
        self.paths = 0
        self.ended: list[tuple[str, str | None]] = []

    def start(self, cases: int, finished: int, paths: int) -> None:
        self.started.append((cases, finished, paths))

    def advance(self, paths: int, steps: int) -> None:
        assert steps == 12
        self.paths += paths

    def case_ended(self, name: str, error: str | None) -> None:
        self.ended.append((name, error))


@pytest.mark.parametrize("seed", range(3))
def test_tables_do_not_depend_on_the_order_in_which_cases_end(whole: Path, tmp_path: Path, seed: int) -> None:
    """They are written while cases are counted, and each waits for those before it."""
    batch = small_batch()
    order = list(batch.cases[1:])
    random.Random(seed).shuffle(order)
    half = len(order) // 2
    run(batch, tmp_path / "b", only=order[0].name)
    with (
        open_batch_folder(batch, tmp_path / "b", resume=True) as folder,
        choose_executor(ENGINE, threads=1) as executor,
    ):
        run_batch(batch, folder, [batch.cases[0], *order[:half]], executor)
        assert len({row["scenario"] for row in rows(tmp_path / "b", "odds.csv")}) == half + 1
        run_batch(batch, folder, [batch.cases[0], *order[::-1]], executor)
    assert contents(tmp_path / "b") == contents(whole)


def test_progress(tmp_path: Path) -> None:
    batch, told = small_batch(), Told()
    run(batch, tmp_path / "b", progress=told)
    assert told.started == [(9, 0, 3_000)]
    assert told.paths == 9 * 3_000
    assert told.ended == [(case.name, None) for case in batch.cases]


def test_pairs_do_not_depend_on_how_records_are_cut(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sim.batch.local_executor, "MOST_RECORDS", 700)
    run(small_batch(), tmp_path / "b")
    assert contents(tmp_path / "b") == contents(whole)


def test_interrupted_while_counting(whole: Path, tmp_path: Path) -> None:
    """Ctrl-C between two cases: what was counted is filed, and the rest is done later."""
    batch, out = small_batch(), tmp_path / "b"

    def interrupted(
        batch: Batch, cases: Sequence[Case], baseline: Baseline | None, progress: Callable[[int, int], None]
    ) -> Iterator[CountedCase | FailedCase]:
        for number, ended in enumerate(executor(batch, cases, baseline, progress)):
            if number == 3:
                raise KeyboardInterrupt
            yield ended

    with open_batch_folder(batch, out) as folder, choose_executor(ENGINE, threads=1) as executor:
        with pytest.raises(KeyboardInterrupt):
            run_batch(batch, folder, batch.cases, interrupted)
        assert sum(folder.status(case) == FINISHED for case in batch.cases) == 4
    assert isinstance(folder, BatchFolder)
    run(batch, out, resume=True)
    assert contents(out) == contents(whole)
    assert np.all([row["status"] == FINISHED for row in rows(out)])


def test_from_python(whole: Path, tmp_path: Path) -> None:
    """The call of the README, on the small batch."""
    done = sim.simulate_batch(small_batch(), tmp_path / "b", engine=ENGINE, threads=1)
    assert done.folder == tmp_path / "b"
    assert [row["scenario"] for row in done.rows] == [case.name for case in small_batch().cases]
    assert contents(tmp_path / "b") == contents(whole)
    assert set(sim.builtin_batches()) == {"story", "wall-strength", "model-risk", "horizon"}
    assert sim.load_batch("story").baseline == "siege"
