"""A batch on the terminal."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from support.printed import printed
from support.sample_batch import batch_of, single

from sim.batch.family import Batch
from sim.batch.file import load_batch
from sim.batch.run import BatchRun
from sim.batch.sensitivity import COLUMNS, bumps
from sim.batch.tables import FAILED, FINISHED
from sim.odds.tables import FIRST_TARGETS
from sim.report import batch as batch_report
from sim.report.terminal import Terminal, print_view
from sim.scenario.file import load_scenario

WIDTH = 80


def row_of(name: str, upper: float, **others: Any) -> dict[str, Any]:
    """Finished row of batch.csv: the upper target's odds, the lower's half of them."""
    row: dict[str, Any] = {"scenario": name, "status": FINISHED, "warnings": "", "error": ""}
    for event, share in zip(FIRST_TARGETS, (upper, upper / 2, 1 - 1.5 * upper), strict=True):
        row[event] = share
        for end, value in (("", share - 0.4), ("_ci_low", share - 0.41), ("_ci_high", share - 0.39)):
            row[f"{event}_vs_baseline{end}"] = value
    return row | others


def run_of(batch: Batch, odds: Callable[[int], float]) -> BatchRun:
    return BatchRun(
        Path("results"), rows=[row_of(case.name, odds(index)) for index, case in enumerate(batch.cases)]
    )


def check_fits(text: str, width: int = WIDTH) -> None:
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def shown(batch: Batch, run: BatchRun) -> str:
    text = printed(lambda console: batch_report.print_batch(batch, run, console))
    check_fits(text)
    return text


def test_cases_bands_and_differences_of_a_small_batch() -> None:
    batch = load_batch("story")
    text = shown(batch, run_of(batch, lambda index: 0.4 + 0.01 * index))
    assert text.startswith("story: 8 cases of siege-of-7000, 200,000 paths each, seed 1\n")
    for case in batch.cases:
        assert f"\n{case.name} " in text
    assert re.search(r"^support held +47\.0% +\+7\.0 ±1\.0 +23\.5% ", text, re.MULTILINE)
    assert "less siege" in text
    assert re.search(r"^7,100 first +40\.0% +43\.5% +47\.0%", text, re.MULTILINE)
    assert "7,100 first is lowest in: siege\n7,100 first is highest in: support held\n" in text
    assert re.search(r"^6,800 first +20\.0% +21\.8% +23\.5%", text, re.MULTILINE)
    assert re.search(r"^neither +29\.5% +34\.8% +40\.0%", text, re.MULTILINE)
    assert "what drives" not in text
    assert batch_report.MODEL_RISK_OF_BATCH.split()[-1] in text


@pytest.mark.parametrize("name", ["horizon", "wall-strength", "model-risk"])
def test_built_in_grids_fit_the_terminal(name: str) -> None:
    batch = load_batch(name)
    text = shown(batch, run_of(batch, lambda index: 0.2 + 0.3 * index / len(batch.cases)))
    assert ("less base" in text) == (len(batch.cases) <= batch_report.MOST_ROWS)
    assert "what drives 7,100 first" in text
    assert "what drives 6,800 first" in text
    found = re.findall(r"(\d+)%$", text, re.MULTILINE)
    assert len(found) >= 2
    assert all(0 <= int(share) <= 100 for share in found)


def test_drivers_are_shown_the_strongest_first() -> None:
    batch = batch_of(
        grid={"drift.annual": [0.0, 0.1], "dealers.impact_half_life": [1, 2], "jumps.mean": [0, 0.1]}
    )
    effects = [a + b for a, b, _ in itertools.product((0.3, 0.5), (0, 0.1), (0, 0))]
    text = shown(batch, run_of(batch, lambda index: effects[index - 1]))
    first = text[text.index("what drives 7,100") : text.index("what drives 6,800")]
    lines = [line.split() for line in first.splitlines() if line.startswith(("annual", "impact", "mean"))]
    assert lines == [
        ["annual", "35.0%", "0.0", "55.0%", "0.1", "80%"],
        ["impact_half_life", "40.0%", "1", "50.0%", "2", "20%"],
    ]


def test_failed_cases_and_what_they_leave() -> None:
    batch = batch_of(case=[single("good", dealers__m_floor=0.3), single("bad", dealers__m_floor=0.4)])
    rows = [
        row_of("base", 0.4),
        row_of("good", 0.41),
        {"scenario": "bad", "status": FAILED, "warnings": "", "error": "no [red]memory"},
    ]
    text = shown(batch, BatchRun(Path("results"), rows=rows))
    assert text.endswith("failed: bad: no [red]memory\n")
    assert "\nbad " not in text
    alone = shown(batch, BatchRun(Path("results"), rows=rows[:1] + rows[2:]))
    assert "odds over all cases" not in alone
    assert "\nbase " in alone
    none = shown(batch, BatchRun(Path("results"), rows=rows[2:]))
    assert none.splitlines() == [
        "small: 3 cases of siege-of-7000, 1,000,000 paths each, seed 1",
        "",
        "failed: bad: no [red]memory",
    ]


def test_a_case_without_differences_has_dashes() -> None:
    batch = batch_of()
    row = {key: None if "_vs_baseline" in key else value for key, value in row_of("base", 0.4).items()}
    text = printed(
        lambda console: print_view(batch_report.cases_view(batch, [row], names_of(batch)), console)
    )
    assert re.search(r"^base +40\.0% +- +20\.0% +- +40\.0%$", text, re.MULTILINE)


def names_of(batch: Batch) -> dict[str, str]:
    return batch_report.event_names([case.scenario for case in batch.cases if case.scenario])


def test_events_are_named_by_their_level_where_all_cases_share_it() -> None:
    same = {"first_upper": "7,100 first", "first_lower": "6,800 first", "neither": "neither"}
    assert names_of(batch_of(case=[single("x", dealers__m_floor=0.3)])) == same
    assert names_of(batch_of(case=[single("x", targets__upper=7150)])) == {
        **same,
        "first_upper": "upper first",
    }
    assert names_of(batch_of(case=[single("x", targets__lower=6700.5)])) == {
        **same,
        "first_lower": "lower first",
    }


def test_long_names_are_folded_and_no_number_is_cut() -> None:
    names = [f"{'word ' * 15}{index}" for index in range(3)] + ["x" * 100]
    batch = batch_of(case=[single(name) for name in names])
    text = shown(batch, run_of(batch, lambda index: 0.4 + 0.1 * index))
    assert text.replace("\n", "").count("x") >= 100
    assert re.search(r"80\.0% +\+40\.0 ±1\.0 +40\.0% +\+0\.0 ±1\.0 +-20\.0%", text)


# --- sensitivity


def sensitivity_rows(scenario: str = "siege-of-7000", change: float = -0.1234) -> pd.DataFrame:
    """Every input of a scenario, each moving the odds less than the one before."""
    rows = []
    for index, one in enumerate(bumps(load_scenario(scenario), 0.1)):
        for event in FIRST_TARGETS:
            row: dict[str, Any] = {"scenario": scenario, "input": one.label, "event": event, "level": None}
            row |= {"base_value": one.base, "down_value": one.down, "up_value": one.up, "paths": 1000}
            for way, sign in (("down", 1), ("up", -1)):
                middle = sign * change / (index + 1)
                row |= {f"change_{way}": middle, f"change_{way}_ci_low": middle - 0.002}
                row |= {f"change_{way}_ci_high": middle + 0.002}
            rows.append(row | {"swing": abs(2 * change) / (index + 1)})
    return pd.DataFrame(rows, columns=list(COLUMNS))


NAMES = {"first_upper": "7,100 first", "first_lower": "6,800 first"}


def tornado(table: pd.DataFrame, most: int, width: int = WIDTH) -> str:
    return printed(
        lambda console: batch_report.print_sensitivity("siege", table, NAMES, most, console), width
    )


def test_tornado_shows_every_input_in_80_columns() -> None:
    table = sensitivity_rows()
    text = tornado(table, 1000)
    check_fits(text)
    upper = text[: text.index("6,800 first")]
    labels = re.sub(r"\] .*\n  \.", "].", upper)
    assert len(table["input"].unique()) > 20
    for name in table["input"].unique():
        assert f"\n{name} " in labels
    assert "siege: what moves 7,100 first, in points, 95%" in text
    assert re.search(
        r"^volatility\.annual +0\.1269 +0\.1551 +-12\.34 ±0\.20 +\+12\.34 ±0\.20$", text, re.MULTILINE
    )
    assert re.search(r"x 0\.9 +x 1\.1 ", text)  # the wall's positions, all at once
    assert "inputs move it less" not in text


def test_tornado_shows_the_widest_and_says_what_is_left() -> None:
    table = sensitivity_rows()
    shuffled = table.sample(frac=1, random_state=1)
    text = tornado(shuffled, 3)
    rows = [line.split()[0] for line in text.splitlines() if "±" in line]
    assert rows == ["volatility.annual", "volatility.long_run_annual", "volatility.alpha"] * 2
    assert text.count(f"{len(table) // 3 - 3} inputs move it less; all are in sensitivity.csv.") == 2


def test_a_bump_that_was_not_possible_is_a_dash() -> None:
    table = sensitivity_rows()
    up = ["change_up", "change_up_ci_low", "change_up_ci_high"]
    table[up] = float("nan")
    table["up_value"] = "-"
    lines = [line for line in tornado(table, 9).splitlines() if "±" in line]
    assert len(lines) == 18
    assert all(line.endswith(" -") and line.count("±") == 1 for line in lines)


# --- dry runs and progress


def test_dry_run_lists_cases_parameters_and_status() -> None:
    batch = batch_of(grid={"dealers.impact_half_life": [1, 2]})
    statuses = {"base": "to run", "impact_half_life=1": FINISHED}
    (view,) = batch_report.dry_run_views(batch, statuses)
    text = printed(lambda console: print_view(view, console))
    check_fits(text)
    lines = [line.split() for line in text.splitlines()[-3:]]
    assert lines == [
        ["base", "to", "run"],
        ["impact_half_life=1", "finished"],
        ["impact_half_life=2", "left", "out"],
    ]


@pytest.mark.parametrize("name", ["story", "wall-strength", "model-risk", "horizon"])
def test_dry_runs_of_the_built_in_batches_fit(name: str) -> None:
    batch = load_batch(name)
    statuses = {case.name: "to run" for case in batch.cases[1:]}
    views = list(batch_report.dry_run_views(batch, statuses))
    text = "\n".join(printed(lambda console, view=view: print_view(view, console)) for view in views)  # type: ignore[misc]
    check_fits(text)
    assert batch.baseline in text
    if len(batch.cases) <= batch_report.MOST_ROWS:
        assert len(views) == 1
        assert text.count("to run") == len(batch.cases) - 1
        assert text.count("left out") == 1
    else:
        assert "grid of 120 cases" in text
        assert "120 to run" in text
        assert "0.5, 1, 3" in text
    if name == "story":
        assert "impact_bp_per_bn = 0.0" in text
        assert 'catalyst = [{"session": "2026-02-13"' in text


def test_progress_counts_cases_and_tells_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()

    class TerminalInMemory(Terminal):
        def __init__(self, *, stderr: bool = False):
            assert stderr
            Console.__init__(self, file=stream, force_terminal=True, width=100, _environ={"TERM": "xterm"})

    monkeypatch.setattr(batch_report, "Terminal", TerminalInMemory)
    with batch_report.batch_progress(shown=True) as progress:
        progress.start(3, 1, 1000)
        progress.advance(1000, 100)
        progress.case_ended("a", None)
        progress.case_ended("b", "out of [memory]")
        progress.tables(1, 2)
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", stream.getvalue())
    assert "failed: b: out of [memory]" in text
    assert "3/4 cases" in text
    assert "1 failed" in text
    assert "writing tables" in text


def test_progress_shows_what_is_done_before_the_first_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Console, "is_terminal", True)
    descriptions = []
    for doing in ("reading", "joining", "checking"):
        with batch_report.batch_progress(shown=True, doing=doing) as progress:
            assert isinstance(progress, batch_report._Bar)
            descriptions.append(progress.progress.tasks[0].description)
    assert descriptions == ["reading", "joining", "checking"]


def test_no_progress_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for wanted in (True, False):
        with batch_report.batch_progress(shown=wanted) as progress:
            progress.start(3, 1, 1000)
            progress.case_ended("b", "x")
    assert capsys.readouterr() == ("", "")
