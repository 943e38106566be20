from __future__ import annotations

import io
import re

import numpy as np
import pytest
import support.printed
from rich.console import Console
from support.printed import cells, printed_view
from support.sample_outcomes import LEVELS, SampleRun, sample_outcomes

from sim.plan.outcomes import Outcomes
from sim.report import run as report
from sim.report import terminal


@pytest.fixture(scope="module")
def run() -> SampleRun:
    return SampleRun(outcomes=sample_outcomes(100_000))


def printed(run: SampleRun, width: int = 80) -> str:
    return support.printed.printed(lambda console: report.print_report(run, console), width)


# --- the table


def test_each_event_has_its_odds_effect_and_benchmarks(run: SampleRun) -> None:
    text = printed(run)
    odds = run.odds.set_index(["event", "dealers"]).sort_index()
    upper = odds.loc["first_upper"]
    row = cells(text, "7,100 first")
    assert row[1] == f"{100 * upper.loc['with', 'probability']:.1f}%"
    assert row[2] == f"{100 * upper.loc['without', 'probability']:.1f}%"
    effect = upper.loc["difference"]
    points = [100 * effect[name] for name in ("probability", "ci_low", "ci_high")]
    assert row[3] == "{:+.2f} ({:+.2f} to {:+.2f})".format(*points)
    assert row[4:] == ["31.0%", "-"]
    assert cells(text, "neither")[4:] == ["41.0%", "-"]
    for level in LEVELS:
        assert cells(text, f"touch {level:,.0f}")[4:] == ["33.0%", "35.0%"]


def test_levels_stand_as_on_a_chart_highest_first(run: SampleRun) -> None:
    touched = re.findall(r"^touch ([\d,]+)", printed(run), re.MULTILINE)
    assert touched == ["7,100", "7,000", "6,945", "6,800", "6,600"]


def test_missing_benchmarks_are_dashes(run: SampleRun) -> None:
    bare = SampleRun(outcomes=run.outcomes, benchmarks={"flat_touch": {7100.0: None}})
    assert cells(printed(bare), "7,100 first")[4:] == ["-", "-"]
    assert cells(printed(bare), "touch 7,100")[4:] == ["-", "-"]


@pytest.mark.parametrize(("paths", "digits"), [(200, 1), (20_000, 1), (2_000_000, 2), (200_000_000, 3)])
def test_decimals_follow_the_sampling_error(paths: int, digits: int) -> None:
    base = sample_outcomes(200)
    scale = paths // 200
    arrays = {name: getattr(base, name) * scale for name in vars(base)}
    text = printed(SampleRun(outcomes=Outcomes(**arrays)))
    assert len(cells(text, "7,100 first")[1].rstrip("%").partition(".")[2]) == digits


def test_times_to_targets_are_shown_for_both_worlds(run: SampleRun) -> None:
    from sim.odds.tables import sessions_to_target

    rows = sessions_to_target(run.outcomes, run.axes).set_index(["level", "dealers"])
    row = cells(printed(run), "7,100   ")
    for k, dealers in enumerate(("with", "without")):
        times = rows.loc[(7100.0, dealers)]
        assert row[1 + 2 * k] == f"{times['sessions_50']:.1f}"
        assert row[2 + 2 * k] == f"{times['sessions_5']:.1f} to {times['sessions_95']:.1f}"


def test_target_never_touched_has_no_time() -> None:
    outcomes = sample_outcomes(100)
    outcomes.touch[:, LEVELS.index(7100.0)] = 0
    outcomes.touch_both[LEVELS.index(7100.0)] = 0
    row = cells(printed(SampleRun(outcomes=outcomes)), "7,100   ")
    assert row[1:] == ["-", "never", "-", "never"]


# --- words


def test_headline_states_the_odds_and_the_dealers_part(run: SampleRun) -> None:
    sentence = report.headline(run)
    odds = run.odds[run.odds["event"] != "touch"]
    shares = dict(zip(zip(odds["event"], odds["dealers"], strict=True), odds["probability"], strict=True))
    assert f"7,100 comes first on {100 * shares['first_upper', 'with']:.1f}% of paths" in sentence
    assert f"6,800 on {100 * shares['first_lower', 'with']:.1f}%" in sentence
    assert "have reached neither" in sentence
    assert "7,100 first 4.1 points less likely and 6,800 first 4.2 points less likely" in sentence


def test_headline_says_so_when_dealers_make_no_difference() -> None:
    same = SampleRun(outcomes=sample_outcomes(1000, damping=1.0))
    assert "no measurable difference" in report.headline(same)
    assert "more likely" not in report.headline(same)


def test_headline_tells_more_likely_from_less() -> None:
    amplified = SampleRun(outcomes=sample_outcomes(100_000, damping=1.1))
    assert re.search(r"7,100 first [\d.]+ points more likely", report.headline(amplified))


def test_warnings_and_provenance_and_model_risk_are_told(run: SampleRun) -> None:
    text = printed(SampleRun(outcomes=run.outcomes, warnings=("the floor binds at 6,800", "another")), 120)
    assert "warning: the floor binds at 6,800\nwarning: another\n" in text
    assert "100,000 paths, seed 1, 1.2 s, 21M path-steps/s\nnumpy engine, cpu, 2 threads\n" in text
    assert "sampling error only" in text
    assert "warning" not in printed(run)


@pytest.mark.parametrize(
    ("manifest", "line"),
    [
        (("native", "AMD EPYC (avx2 build)", 1), "native engine, AMD EPYC (avx2 build), 1 thread"),
        # a thread on the host for each GPU is nobody's business
        (("cuda", "H200 (device 0), H200 (device 1)", 2), "cuda engine, H200 (device 0), H200 (device 1)"),
    ],
)
def test_the_engine_that_ran_is_told(manifest: tuple[str, str, int], line: str) -> None:
    names = ("engine", "device", "threads")
    assert report.engine_line(dict(zip(names, manifest, strict=True))).plain == line


# --- terminals


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize("paths", [50, 100_000])
def test_no_line_is_wider_than_the_terminal_and_no_number_is_cut(width: int, paths: int) -> None:
    run = SampleRun(outcomes=sample_outcomes(paths))
    text = printed(run, width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    for line in text.splitlines():
        if line.startswith("touch "):
            assert len(cells(text, line[:11])) == 6


@pytest.mark.parametrize("width", [20, 40, 60])
def test_tables_keep_their_numbers_on_a_terminal_that_is_too_narrow(run: SampleRun, width: int) -> None:
    text = printed_view(report.odds_view(run), width)
    assert "…" not in text
    assert len(cells(text, "touch 7,100")) == 6


def test_wide_numbers_still_stand_on_one_line_each() -> None:
    from dataclasses import replace

    run = SampleRun()
    levels = tuple(1_000_000 + level + 0.25 for level in LEVELS)
    run.axes = replace(run.axes, levels=levels, upper=levels[-1], lower=levels[1], spot=1_006_941.81)
    run.benchmarks = {f"flat_{event}": 0.5 for event in ("first_upper", "first_lower", "neither")}
    text = printed(run, 80)
    assert len(cells(text, "touch 1,007,100.25")) == 6
    assert len(cells(text, "1,007,100.25 first")) == 6


def test_plain_text_when_not_a_terminal(run: SampleRun) -> None:
    assert "\x1b" not in printed(run)


def test_ascii_terminal_gets_ascii(run: SampleRun) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    console = Console(file=stream, width=80, highlight=False, markup=False, emoji=False)
    report.print_report(run, console)
    stream.flush()
    assert b"touch 7,100" in raw.getvalue()


def test_names_are_never_read_as_markup() -> None:
    run = SampleRun(warnings=("[red]not markup[/red] :smile:",))
    assert "[red]not markup[/red] :smile:" in printed(run, 120)


# --- progress


def test_no_progress_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with report.progress_bar(378, shown=True) as advance:
        assert advance is None
    assert capsys.readouterr() == ("", "")


def test_progress_tells_paths_speed_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()

    class TerminalInMemory(terminal.Terminal):
        def __init__(self, *, stderr: bool = False):
            assert stderr
            Console.__init__(self, file=stream, force_terminal=True, width=100, _environ={"TERM": "xterm"})

    monkeypatch.setattr(report, "Terminal", TerminalInMemory)
    with report.progress_bar(378, shown=False) as advance:
        assert advance is None
    with report.progress_bar(378, shown=True) as advance:
        assert advance is not None
        advance(0, 1_000_000)
        advance(250_000, 1_000_000)
        advance(500_000, 1_000_000)
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", stream.getvalue())
    assert "500k/1M paths" in text
    assert re.search(r"[\d.]+[kMG] path-steps/s", text)


def test_small_shares_are_not_called_zero() -> None:
    assert report._share(1e-5) == "under 0.1%"
    assert report._share(0.0) == "0.0%"
    assert report._share(np.float64(0.123)) == "12.3%"
