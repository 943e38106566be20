"""Batches made by hand: every problem at once, and nothing written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.finished_batch import simulate_tiny, tiny_batch

from sim.batch.family import Batch, Case, case_folder_name, is_case_folder_name
from sim.batch.rules import batch_problems
from sim.batch.simulation import simulate_batch
from sim.errors import InputError


@pytest.fixture(scope="module")
def batch() -> Batch:
    return tiny_batch()


def refusal(batch: Batch, out: Path, **options: Any) -> list[str]:
    """Problems with a batch; nothing may be written for it."""
    before = sorted(out.parent.rglob("*"))
    with pytest.raises(InputError) as refused:
        simulate_batch(batch, out, engine="numpy", threads=1, **options)
    assert sorted(out.parent.rglob("*")) == before
    assert refused.value.exit_code == 2
    return str(refused.value).splitlines()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"paths": 0}, "batch.paths = 0 (a whole number from 1 to 2^64 - 1 is expected)"),
        ({"paths": None}, "batch.paths"),
        ({"paths": 500.0}, "batch.paths = 500.0"),
        ({"paths": True}, "batch.paths = true"),
        ({"paths": "500"}, 'batch.paths = "500"'),
        ({"paths": -1}, "batch.paths = -1"),
        ({"paths": 2**64}, "batch.paths = 18446744073709551616"),
        ({"seed": -1}, "batch.seed = -1 (a whole number from 0 to 2^64 - 1 is expected)"),
        ({"seed": 2**64 + 1}, "batch.seed = 18446744073709551617"),
        ({"seed": None}, "batch.seed"),
        ({"seed": 1.0}, "batch.seed = 1.0"),
        ({"target_se": 0.0}, "batch.target_se = 0.0"),
        ({"target_se": float("nan")}, "batch.target_se = nan"),
        ({"target_se": 1}, "batch.target_se = 1"),
        ({"max_paths": 300}, "batch.max_paths = 300 (limits target_se, which is not given)"),
        ({"target_se": 0.01, "max_paths": 100}, "batch.max_paths = 100 (is less than paths)"),
        ({"target_se": 0.01, "max_paths": 2**64}, "batch.max_paths"),
        (
            {"baseline": "nope"},
            'batch.baseline = "nope" (is no case of the batch). Try one of its cases: base, no',
        ),
        ({"baseline": None}, "batch.baseline"),
        ({"cases": ()}, "batch.cases (there is none)"),
        ({"cases": None}, "batch.cases (a tuple of cases is expected, not None)"),
        ({"cases": ("base",)}, 'batch.cases = ["base"]'),
        ({"axes": None}, "batch.axes"),
        ({"axes": {"impact": 3}}, "batch.axes"),
        ({"name": 3}, "batch.name = 3 (a text is expected, not an int)"),
        ({"name": "\ud800"}, "batch.name"),
        ({"description": None}, "batch.description"),
    ],
)
def test_a_batch_that_cannot_be_run(batch: Batch, tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    lines = refusal(replace(batch, **changes), tmp_path / "b")
    assert lines[0].startswith(told)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"folder": "../../evil"}, 'batch.cases[1].folder = "../../evil" (is no plain name of a folder)'),
        ({"folder": "/tmp/evil"}, "batch.cases[1].folder"),
        ({"folder": "cases/evil"}, "batch.cases[1].folder"),
        ({"folder": ""}, "batch.cases[1].folder"),
        ({"folder": None}, "batch.cases[1].folder"),
        ({"folder": ".gammawall-partial-0123abcd"}, "batch.cases[1].folder"),
        ({"folder": "base"}, 'batch.cases: folder = "base" (2 cases have it)'),
        ({"name": "base"}, 'batch.cases: name = "base" (2 cases have it)'),
        ({"name": ""}, "batch.cases[1].name"),
        ({"name": None}, "batch.cases[1].name"),
        ({"name": "other"}, 'case other = "no dealers" (its scenario has another name)'),
        ({"hash": "0" * 64}, "case no dealers"),
        ({"hash": None}, "batch.cases[1].hash"),
        ({"scenario": None}, "case no dealers (has no scenario"),
        ({"scenario": "siege-of-7000"}, "case no dealers (has no scenario"),
        ({"point": {"impact": "1"}}, "batch.cases[1].point"),
        ({"point": None}, "batch.cases[1].point"),
        ({"parameters": {"a": 1}}, "batch.cases[1].parameters"),
    ],
)
def test_a_case_that_cannot_be_run(batch: Batch, tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    base, case, *others = batch.cases
    lines = refusal(replace(batch, cases=(base, replace(case, **changes), *others)), tmp_path / "b")
    assert lines[0].startswith(told)


def test_all_problems_are_told_together(batch: Batch, tmp_path: Path) -> None:
    base, case, *others = batch.cases
    wrong = replace(batch, paths=0, seed=-1, cases=(base, replace(case, folder=".."), *others), baseline="x")
    assert [line.split(" ")[0] for line in refusal(wrong, tmp_path / "b")] == [
        "batch.paths",
        "batch.seed",
        "batch.cases[1].folder",
        "batch.baseline",
    ]


def test_cases_that_are_not_the_batchs_own(batch: Batch, tmp_path: Path) -> None:
    other = replace(batch.cases[1], name="other")
    assert "is no case of this batch" in refusal(batch, tmp_path / "b", cases=[batch.cases[0], other])[0]
    twice = refusal(batch, tmp_path / "b", cases=[*batch.cases, batch.cases[1]])
    assert twice == ['cases = "no dealers" (is chosen more than once). Try leaving one out.']


def test_a_choice_without_a_baseline_is_told(batch: Batch) -> None:
    with pytest.raises(InputError, match="is no case of the batch"):
        replace(batch, baseline="nope").selected("no*", None)


def test_batches_that_were_loaded_keep_the_rules(batch: Batch, tmp_path: Path) -> None:
    for loaded in (batch, tiny_batch(target_se=0.01, max_paths=10_000), tiny_batch(seed=2**64 - 1)):
        assert list(batch_problems(loaded)) == []
    simulate_tiny(tmp_path / "b", batch)


def test_a_missing_baseline_is_told(batch: Batch) -> None:
    problems = list(batch_problems(replace(batch, baseline=pd.NA)))  # type: ignore[arg-type]
    assert str(problems[0]).startswith("batch.baseline (a text is expected, not a NAType)")


@pytest.mark.parametrize(
    "name",
    ["base", "no dealers", "..", "../x", "Ω", "x" * 200, "-", ".", "a=b_c.d-e", "A", " ", "a/b\\c", "-x-"],
)
def test_names_of_folders_are_plain(name: str) -> None:
    assert is_case_folder_name(case_folder_name(name))
    case = Case(name, case_folder_name(name), "", None)
    assert Path("cases", case.folder).name == case.folder
