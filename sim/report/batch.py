"""Report of a batch on the terminal: progress, the cases, the band of odds and its drivers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from sim.batch.family import Batch
from sim.batch.run import BatchProgress, BatchRun
from sim.batch.tables import FAILED, FINISHED, Row, bands, drivers
from sim.report.terminal import (
    Terminal,
    new_table,
    plural,
    print_failure,
    print_view,
    progress_on,
    short_number,
    unfailing,
)
from sim.scenario.overrides import short_key

if TYPE_CHECKING:
    import pandas as pd

    from sim.scenario.model import Scenario

MODEL_RISK_OF_BATCH = (
    "None of these cases is the truth: what dealers hold and how hard their hedging pushes cannot be observed. The "
    "band is the answer."
)
# Batches of more cases are shown by their band alone.
MOST_ROWS = 24
# Drivers that explain less of the variance are not worth a line.
SMALLEST_SHARE = 0.005
# Length of a key from which it is broken after what its first brackets choose.
LONG_LABEL = 30
# Length from which the value of a parameter is cut.
LONGEST_VALUE = 60


def print_batch(batch: Batch, run: BatchRun, console: Console) -> None:
    """Print a batch: its cases if they are few, the band of odds, its drivers, warnings and failures."""
    names = event_names([case.scenario for case in batch.cases if case.scenario])
    finished = [row for row in run.rows if row["status"] == FINISHED]
    console.print(
        Text.assemble(
            (batch.name, "bold"),
            f": {plural(len(batch.cases), 'case')} of {batch.base}, "
            f"{plural(batch.paths, 'path')} each, seed {batch.seed}",
        )
    )
    console.print()
    if finished and len(finished) <= MOST_ROWS:
        print_view(cases_view(batch, finished, names), console)
        console.print()
    if len(finished) > 1:
        print_view(band_view(run.rows, names), console)
        console.print()
        for band in bands(run.rows):
            if band.event != "neither":
                name = names[band.event]
                console.print(f"{name} is lowest in: {band.lowest_case}")
                console.print(f"{name} is highest in: {band.highest_case}")
        console.print()
        for event in ("first_upper", "first_lower"):
            table = drivers_view(batch, run.rows, event, names[event])
            if table is not None:
                print_view(table, console)
                console.print()
        console.print(Text(MODEL_RISK_OF_BATCH, "italic"))
    warned = [row["scenario"] for row in finished if row["warnings"]]
    if warned:
        told = f"in {plural(len(warned), 'case')}; see the column warnings of batch.csv"
        console.print(Text.assemble(("warnings: ", "bold yellow"), told))
    for row in run.rows:
        if row["status"] == FAILED:
            print_failure(row["scenario"], row["error"], console)


def cases_view(batch: Batch, rows: Sequence[Row], names: Mapping[str, str]) -> Table:
    """Table of the cases: odds with dealers, and the differences to the baseline in points."""
    table = new_table()
    table.add_column("case", overflow="fold")
    for event, name in names.items():
        table.add_column(name.replace(" ", "\n", 1), justify="right", no_wrap=True)
        if event != "neither":
            table.add_column(f"less {batch.baseline}\nin points, 95%", justify="right", no_wrap=True)
    for row in rows:
        cells = [str(row["scenario"])]
        for event in names:
            cells.append(f"{100 * row[event]:.1f}%")
            if event != "neither":
                cells.append(_difference(row, event))
        table.add_row(*cells)
    return table


def _difference(row: Row, event: str) -> str:
    value, low, high = (row[f"{event}_vs_baseline{end}"] for end in ("", "_ci_low", "_ci_high"))
    return "-" if value is None else f"{100 * value:+.1f} ±{100 * (high - low) / 2:.1f}"


def band_view(rows: Sequence[Row], names: Mapping[str, str]) -> Table:
    """Table of the lowest, the median and the highest odds of every event."""
    table = new_table()
    table.add_column("odds over all cases", no_wrap=True)
    for heading in ("lowest", "median", "highest"):
        table.add_column(heading, justify="right", no_wrap=True)
    for band in bands(rows):
        odds = (f"{100 * share:.1f}%" for share in (band.lowest, band.median, band.highest))
        table.add_row(names[band.event], *odds)
    return table


def drivers_view(batch: Batch, rows: Sequence[Row], event: str, name: str) -> Table | None:
    """Table of the drivers of an event's odds over a whole grid, the strongest first; None without a grid."""
    found = [driver for driver in drivers(batch, rows, event) if driver.share >= SMALLEST_SHARE]
    if not found:
        return None
    table = new_table()
    table.add_column(f"what drives {name}", overflow="fold")
    table.add_column("lowest mean", justify="right")
    table.add_column("at", overflow="fold")
    table.add_column("highest mean", justify="right")
    table.add_column("at", overflow="fold")
    table.add_column("share of\nthe variance", justify="right", no_wrap=True)
    for driver in found:
        low, high = f"{100 * driver.low:.1f}%", f"{100 * driver.high:.1f}%"
        table.add_row(
            short_key(driver.axis, batch.axes),
            low,
            driver.low_label,
            high,
            driver.high_label,
            f"{100 * driver.share:.0f}%",
        )
    rest = 1.0 - sum(driver.share for driver in drivers(batch, rows, event))
    if len(batch.axes) > 1 and rest >= SMALLEST_SHARE:
        table.add_row("together", "", "", "", "", f"{100 * rest:.0f}%")
    return table


def print_sensitivity(
    scenario: str, table: pd.DataFrame, names: Mapping[str, str], most: int, console: Console
) -> None:
    """Print the inputs that move the first-target odds most: a tornado for each of them."""
    for event in ("first_upper", "first_lower"):
        rows = table[table["event"] == event].sort_values("swing", ascending=False, kind="stable")
        console.print(Text.assemble((scenario, "bold"), f": what moves {names[event]}, in points, 95%"))
        print_view(tornado_view(rows.head(most)), console)
        if len(rows) > most:
            console.print(Text(f"{len(rows) - most} inputs move it less; all are in sensitivity.csv.", "dim"))
        console.print()


def tornado_view(rows: pd.DataFrame) -> Table:
    """Table of inputs, their bumps, and the change in an event's odds at each with its paired interval."""
    table = new_table()
    table.add_column("input", no_wrap=True)
    table.add_column("lower", justify="right", no_wrap=True)
    table.add_column("upper", justify="right", no_wrap=True)
    table.add_column("change at\nthe lower", justify="right", no_wrap=True)
    table.add_column("change at\nthe upper", justify="right", no_wrap=True)
    for row in rows.to_dict("records"):
        label = str(row["input"])
        if len(label) >= LONG_LABEL:
            label = label.replace("].", "]\n  .", 1)
        values = [_bumped(str(row["base_value"]), str(row[f"{way}_value"])) for way in ("down", "up")]
        changes = [
            _points(row[f"change_{way}"], row[f"change_{way}_ci_low"], row[f"change_{way}_ci_high"])
            for way in ("down", "up")
        ]
        table.add_row(label, *values, *changes)
    return table


def _bumped(base: str, bumped: str) -> str:
    """Text of a bumped value; where several are bumped at once, of their factor to the base values."""
    if " " not in base or bumped == "-":
        return bumped
    scaled = [
        (float(to), float(of)) for to, of in zip(bumped.split(), base.split(), strict=True) if float(of)
    ]
    return f"x {scaled[0][0] / scaled[0][1]:.4g}"


def _points(value: float | None, low: float, high: float) -> str:
    """Text of a change in points, ± half the width of its interval; a dash where there is none."""
    if value is None or math.isnan(value):
        return "-"
    return f"{100 * value:+.2f} ±{100 * (high - low) / 2:.2f}"


def dry_run_views(batch: Batch, statuses: Mapping[str, str]) -> Iterator[Table]:
    """Tables of the cases of a dry run: their differences to the baseline, and their status.

    Where there are many cases, those of the grid are shown by their axes alone.
    """
    shown = [case for case in batch.cases if len(batch.cases) <= MOST_ROWS or not case.point]
    table = new_table()
    table.add_column("case", overflow="fold")
    table.add_column(f"differs from {batch.baseline} in", overflow="fold")
    table.add_column("status", no_wrap=True)
    of_baseline = batch.baseline_case.parameters
    for case in shown:
        settings = [
            f"{short_key(key, batch.parameters)} = {_clipped(value)}"
            for key, value in case.parameters.items()
            if value != of_baseline.get(key, "") and key not in batch.axes
        ]
        table.add_row(case.name, "\n".join(settings), statuses.get(case.name, "left out"))
    yield table
    if len(shown) < len(batch.cases):
        counts = Counter(statuses.get(case.name, "left out") for case in batch.cases if case.point)
        axes = new_table()
        axes.add_column(f"grid of {plural(sum(counts.values()), 'case')}", overflow="fold")
        axes.add_column(", ".join(f"{count:,} {status}" for status, count in counts.items()), overflow="fold")
        for axis, labels in batch.axes.items():
            axes.add_row(short_key(axis, batch.axes), ", ".join(labels))
        yield axes


def _clipped(value: str) -> str:
    """Text of a value, cut off where it is too long for a table."""
    return value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE - 3]}..."


def event_names(scenarios: Sequence[Scenario]) -> dict[str, str]:
    """Name of each event, by its level where all scenarios share it."""
    found = {}
    for end in ("upper", "lower"):
        levels = {getattr(scenario.targets, end) for scenario in scenarios}
        found[f"first_{end}"] = f"{levels.pop():,.10g} first" if len(levels) == 1 else f"{end} first"
    return {**found, "neither": "neither"}


@contextmanager
def batch_progress(*, shown: bool, doing: str = "checking") -> Iterator[BatchProgress]:
    """Context of a progress bar on stderr: cases done, path-steps per second, time left, failures; terminals only.

    doing : what is done until the bar is told of something else.
    """
    if not shown:
        yield BatchProgress()
        return
    columns: Any = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[cases]}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[failed]}", style="bold red"),
    )
    texts = {"cases": "", "rate": "", "failed": ""}
    with progress_on(Terminal(stderr=True), columns, doing, **texts) as progress:
        yield BatchProgress() if progress is None else _Bar(progress)


class _Bar(BatchProgress):
    """Progress bar of a batch, by paths."""

    def __init__(self, progress: Progress):
        self.progress = progress
        (self.task,) = progress.task_ids
        self.cases = self.ended = self.kept = self.failed = 0
        self.steps = 0
        self.began = progress.get_time()

    @unfailing
    def checking(self, done: int, cases: int) -> None:
        self.progress.update(self.task, description="checking", completed=done, total=cases)

    @unfailing
    def waiting(self, what: str) -> None:
        if self.cases:  # it is simulating, and goes on
            self.progress.console.print(f"waiting {what}", markup=False)
            return
        self.progress.update(self.task, description=f"waiting {what}", total=None)

    @unfailing
    def start(self, cases: int, finished: int, paths: int) -> None:
        self.cases, self.kept = cases, finished
        self.began = self.progress.get_time()
        self.progress.update(self.task, description="simulating", completed=0, total=cases * paths)
        self._show()

    @unfailing
    def advance(self, paths: int, steps: int) -> None:
        self.steps += paths * steps
        self.progress.advance(self.task, paths)
        self._show()

    @unfailing
    def case_ended(self, name: str, error: str | None) -> None:
        self.ended += 1
        if error is not None:
            self.failed += 1
            print_failure(name, error, self.progress.console)
        self._show()

    @unfailing
    def tables(self, done: int, cases: int) -> None:
        self.progress.update(self.task, description="writing tables", completed=done, total=cases, rate="")

    def _show(self) -> None:
        seconds = self.progress.get_time() - self.began
        rate = f"{short_number(self.steps / seconds)} path-steps/s" if seconds > 0.5 and self.steps else ""
        cases = f"{self.kept + self.ended}/{self.kept + self.cases} cases"
        failed = f"{self.failed} failed" if self.failed else ""
        self.progress.update(self.task, cases=cases, rate=rate, failed=failed)
