"""Plans of a batch's cases: made once, kept within a limit of memory, the same whether kept or made again."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from support.batch_results import IMPOSSIBLE, SINGLES, contents, small_batch
from support.counted_calls import count_calls

import sim.batch.plans
import sim.batch.simulation
from sim.batch.plans import CasePlans
from sim.batch.run import BatchProgress, check_cases
from sim.batch.simulation import simulate_batch
from sim.errors import InputError
from sim.plan.builder import prepare
from sim.plan.time_grid import build_time_grid
from sim.scenario.dates import calendar_problems

ENGINE = {"engine": "numpy", "threads": 1}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the small batch."""
    out = tmp_path_factory.mktemp("whole") / "small"
    simulate_batch(small_batch(), out, **ENGINE)  # type: ignore[arg-type]
    return out


def test_each_case_is_prepared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = small_batch(grid={})
    plans, grids, checks = (
        count_calls(monkeypatch, f) for f in (prepare, build_time_grid, calendar_problems)
    )
    done = simulate_batch(batch, tmp_path / "b", **ENGINE)  # type: ignore[arg-type]
    assert done.finished == ["base", "no dealers", "wild, and more"]
    assert sorted(scenario.name for scenario, *_ in plans) == sorted(done.finished)
    # their dates were checked when the batch was read
    assert (len(grids), len(checks)) == (3, 0)
    # those that are finished are compared with what they were counted with
    del plans[:]
    assert len(simulate_batch(batch, tmp_path / "b", resume=True, **ENGINE).kept) == 3  # type: ignore[arg-type]
    assert len(plans) == 3


def test_workers_leave_the_client_to_prepare_each_case_once(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    batch = small_batch(grid={})
    plans = count_calls(monkeypatch, prepare)
    # even if no plan is kept
    monkeypatch.setattr(sim.batch.simulation, "MOST_PLAN_BYTES", 0)
    assert len(simulate_batch(batch, tmp_path / "b", engine="numpy", workers=1).finished) == 3
    assert len(plans) == 3


def test_digests_of_old_cases_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that lives long sees many batches."""
    monkeypatch.setattr(sim.batch.plans, "MOST_MARKS", 3)
    batch = small_batch(grid={"dealers.impact_bp_per_bn": [1.0, 2.0]}, case=[])
    plans = CasePlans(0)
    alone = [plans.mark(case.scenario, case.key) for case in batch.cases for _ in range(2)]
    again = small_batch(name="again", grid={"dealers.impact_bp_per_bn": [3.0, 4.0]}, case=[])
    for case in again.cases:
        plans.mark(case.scenario, case.key)
    assert len(plans._marks) == 3
    assert [plans.mark(case.scenario, case.key) for case in batch.cases for _ in range(2)] == alone


@pytest.mark.parametrize("most_bytes", [0, 300_000])
def test_plans_that_had_to_go_are_made_again(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_bytes: int
) -> None:
    plans = count_calls(monkeypatch, prepare)
    monkeypatch.setattr(sim.batch.simulation, "MOST_PLAN_BYTES", most_bytes)
    simulate_batch(small_batch(), tmp_path / "b", **ENGINE)  # type: ignore[arg-type]
    assert 9 < len(plans) <= 18
    assert contents(tmp_path / "b") == contents(whole)


def test_many_cases_do_not_fill_the_memory() -> None:
    batch = small_batch(grid={"dealers.impact_bp_per_bn": np.linspace(1.0, 4.0, 40).tolist()})
    plans = CasePlans(1 << 20)
    check_cases(batch.cases, plans)
    shared = plans._shared
    held = {id(array): array.nbytes for value, _ in shared._kept.values() for array in arrays_of(value)}
    assert 0 < sum(held.values()) <= shared.bytes <= 1 << 20
    # and yet the digest of each is known
    assert set(plans._marks) == {case.key for case in batch.cases}


def arrays_of(value: object) -> list[np.ndarray]:
    """Arrays of a plan, a map's tables or a law's atoms."""
    if isinstance(value, np.ndarray):
        return [value]
    holders = [value.plan, value.axes] if hasattr(value, "plan") else [value]
    fields = [field for holder in holders for field in getattr(holder, "plan_fields", vars(holder)).values()]
    return [field for field in fields if isinstance(field, np.ndarray)]


def test_the_first_to_run_are_those_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = small_batch()
    monkeypatch.setattr("sim.batch.run.available_processors", lambda: 1)
    plans = CasePlans(500_000)
    check_cases(batch.cases, plans)
    kept = [key[1][0] for key in plans._shared._kept if key[0] == "plan"]  # type: ignore[index]
    assert 1 < len(kept) < len(batch.cases)
    assert kept == [case.name for case in batch.cases[: len(kept)]][::-1]


def test_the_last_plan_is_at_hand_however_large(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, *_ = small_batch().cases
    made = count_calls(monkeypatch, prepare)
    plans = CasePlans(0)
    for case in (first, first, second, second, first):
        plans.plan(case.scenario, case.key)
    assert [scenario.name for scenario, *_ in made] == [first.name, second.name, first.name]


def test_threads() -> None:
    cases = small_batch().cases
    alone = [prepare(case.scenario).plan.digest for case in cases if case.scenario]
    plans = CasePlans(400_000)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda case: plans.plan(case.scenario, case.key).plan.digest, 5 * cases))
        marks = list(pool.map(lambda case: plans.mark(case.scenario, case.key).digest, cases))
    assert found == 5 * alone
    assert marks == alone


def test_a_case_that_cannot_be_planned_is_refused_before_any_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = small_batch(case=[*SINGLES, IMPOSSIBLE])
    with pytest.raises(InputError, match=r'case "impossible".*m_floor'):
        simulate_batch(batch, tmp_path / "b", **ENGINE)  # type: ignore[arg-type]
    assert not (tmp_path / "b").exists()


def test_an_interrupted_check_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of cases that are still to be checked."""
    began: list[str] = []

    class Interrupted(BatchProgress):
        def checking(self, done: int, cases: int) -> None:
            raise KeyboardInterrupt

    def plan(_: CasePlans, __: object, ___: str, where: str) -> None:
        began.append(where)
        time.sleep(0.01)

    monkeypatch.setattr(CasePlans, "plan", plan)
    cases = small_batch().cases * 1000
    with pytest.raises(KeyboardInterrupt):
        check_cases(cases, None, Interrupted())
    assert 0 < len(began) < len(cases) / 10
