"""Report of a run on the terminal: a headline in plain words, tables, warnings and a progress bar."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from sim.engines.choice import ENGINES
from sim.odds.headline import decimals, price_text
from sim.odds.tables import FIRST_TARGETS, sessions_to_target
from sim.report.terminal import (
    Terminal,
    new_table,
    plural,
    print_view,
    print_warning,
    progress_on,
    short_number,
    unfailing,
)

if TYPE_CHECKING:
    import pandas as pd

    from sim.run.simulation import Result

MODEL_RISK = (
    "These intervals hold the sampling error only. The dealers' positions, their sign and their price impact "
    "are assumptions, and changing them moves the odds much further: try --set dealers.impact_bp_per_bn=1."
)


def print_report(result: Result, console: Console) -> None:
    """Print a run: headline, odds beside the rules of thumb, times to the targets, warnings, provenance, engine."""
    axes = result.axes
    console.print(
        Text.assemble(
            (axes.scenario, "bold"),
            f": {price_text(axes.spot)} at the close of {axes.as_of}, "
            f"{plural(len(axes.sessions), 'session')} to {axes.sessions[-1]}",
        )
    )
    console.print()
    console.print(Text(headline(result), "bold"))
    console.print()
    print_view(odds_view(result), console)
    console.print(Text(_legend(result), "dim"))
    console.print()
    print_view(times_view(result), console)
    console.print()
    for warning in result.warnings:
        print_warning(warning, console)
    console.print(provenance(result.manifest))
    console.print(engine_line(result.manifest))
    console.print(Text(MODEL_RISK, "italic"))


def headline(result: Result) -> str:
    """Headline of a run in two sentences: the first-target odds, and the dealers' effect on them."""
    axes = result.axes
    estimates = _estimates(result.odds)
    upper, lower = price_text(axes.upper), price_text(axes.lower)
    shares = {event: estimates[event, None, "with"]["probability"] for event in FIRST_TARGETS}
    answer = (
        f"With dealers hedging, {upper} comes first on {_share(shares['first_upper'])} of paths and {lower} "
        f"on {_share(shares['first_lower'])}; by {axes.sessions[-1]} "
        f"{_share(shares['neither'])} have reached neither."
    )
    effects = []
    for event, price in (("first_upper", upper), ("first_lower", lower)):
        effect = estimates[event, None, "difference"]
        if effect["ci_low"] > 0 or effect["ci_high"] < 0:
            points = abs(100 * effect["probability"])
            size = f"{points:.1f} points" if points >= 0.1 else "under 0.1 points"
            effects.append(f"{price} first {size} {'more' if effect['probability'] > 0 else 'less'} likely")
    if not effects:
        return f"{answer} The dealers' hedging makes no measurable difference to either."
    return f"{answer} The dealers' hedging makes {' and '.join(effects)}."


def odds_view(result: Result) -> Table:
    """Table of every event: with dealers, without, the dealers' effect in points, and two rules of thumb."""
    axes, benchmarks = result.axes, result.benchmarks
    estimates = _estimates(result.odds)
    digits = decimals(e["std_error"] for (_, _, dealers), e in estimates.items() if dealers != "difference")
    effect_digits = decimals(
        e["std_error"] for (_, _, dealers), e in estimates.items() if dealers == "difference"
    )

    table = new_table()
    table.add_column("event", no_wrap=True)
    table.add_column("with\ndealers", justify="right", no_wrap=True, style="bold")
    table.add_column("without\ndealers", justify="right", no_wrap=True)
    table.add_column("dealers' effect\nin points, 95%", justify="right", no_wrap=True)
    table.add_column("flat\nvolatility", justify="right", no_wrap=True, style="dim")
    table.add_column("2 x\ndelta", justify="right", no_wrap=True, style="dim")

    def add(label: str, event: str, level: float | None, flat: float | None, two_delta: float | None) -> None:
        cells = [
            _percent(estimates[event, level, world]["probability"], digits) for world in ("with", "without")
        ]
        effect = estimates[event, level, "difference"]
        table.add_row(
            label, *cells, _effect(effect, effect_digits), _percent(flat, digits), _percent(two_delta, digits)
        )

    labels = (f"{price_text(axes.upper)} first", f"{price_text(axes.lower)} first", "neither")
    for event, label in zip(FIRST_TARGETS, labels, strict=True):
        add(label, event, None, benchmarks.get(f"flat_{event}"), None)
    table.add_section()
    flat_touch, two_delta = benchmarks.get("flat_touch", {}), benchmarks.get("two_delta", {})
    for level in reversed(axes.levels):
        add(f"touch {price_text(level)}", "touch", level, flat_touch.get(level), two_delta.get(level))
    return table


def times_view(result: Result) -> Table:
    """Table of the number of sessions to each target, over the paths that reach it."""
    times = sessions_to_target(result.outcomes, result.axes)
    table = new_table()
    table.add_column("sessions to reach", no_wrap=True)
    for heading in ("with dealers\nmedian", "\n90% range", "without dealers\nmedian", "\n90% range"):
        table.add_column(heading, justify="right", no_wrap=True)
    for level, rows in times.groupby("level", sort=False):
        cells = []
        for row in rows.itertuples():
            if math.isnan(float(row.sessions_50)):  # type: ignore[arg-type]
                cells += ["-", "never"]
            else:
                cells += [f"{row.sessions_50:.1f}", f"{row.sessions_5:.1f} to {row.sessions_95:.1f}"]
        table.add_row(price_text(float(level)), *cells)  # type: ignore[arg-type]
    return table


def provenance(manifest: Mapping[str, Any]) -> Text:
    """Line on a run's provenance: paths, seed, time and speed."""
    seconds = float(manifest["timings"]["simulate_s"])
    first = int(manifest.get("first_path", 0))
    parts = [
        f"{int(manifest['paths']):,} paths" + (f" from number {first:,}" if first else ""),
        f"seed {manifest['seed']}",
        f"{seconds:.1f} s",
    ]
    rate = manifest["timings"].get("path_steps_per_s")
    if rate:
        parts.append(f"{short_number(rate)} path-steps/s")
    return Text(", ".join(parts), "dim")


def engine_line(manifest: Mapping[str, Any]) -> Text:
    """Line on a run's engine, its device and, on a processor, the number of threads or worker processes."""
    parts = [f"{manifest['engine']} engine", str(manifest["device"])]
    entry = ENGINES.get(manifest["engine"])
    if entry is None or not entry.uses_devices:
        parts.append(plural(int(manifest["threads"]), "thread"))
    return Text(", ".join(parts), "dim")


@contextmanager
def progress_bar(steps_per_path: int, *, shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Context of a progress bar on stderr: paths done, path-steps per second, time left; terminals only.

    Yields the function to call with the numbers of paths done and wanted, or None.
    """
    if not shown:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        _PathsColumn(),
        _RateColumn(steps_per_path),
        TimeRemainingColumn(compact=True),
    )
    with progress_on(Terminal(stderr=True), columns, "simulating") as progress:
        if progress is None:
            yield None
            return
        (task,) = progress.task_ids

        @unfailing
        def advance(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield advance


class _PathsColumn(ProgressColumn):
    """Column with the paths done of the paths wanted."""

    def render(self, task: Task) -> Text:
        total = "?" if task.total is None else short_number(task.total)
        return Text(f"{short_number(task.completed)}/{total} paths")


class _RateColumn(ProgressColumn):
    """Column with the path-steps per second."""

    def __init__(self, steps_per_path: int):
        super().__init__()
        self.steps_per_path = steps_per_path

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{short_number(speed * self.steps_per_path)} path-steps/s" if speed else "")


def _legend(result: Result) -> str:
    rows = result.odds[result.odds["dealers"] != "difference"]
    widest = 100 * float((rows["ci_high"] - rows["ci_low"]).max()) / 2
    return (
        f"Intervals are at 95%; the probabilities are good to {widest:.2g} points or better.\n"
        "flat volatility: the closed form without dealers, gaps or changing volatility.\n"
        "2 x delta: the traders' rule of thumb for a touch."
    )


def _estimates(odds: pd.DataFrame) -> dict[tuple[str, float | None, str], dict[str, float]]:
    """Rows of the odds table, keyed by event, level (None but for touches) and world."""
    found = {}
    for row in odds.to_dict("records"):
        level = float(row["level"]) if row["event"] == "touch" else None
        found[str(row["event"]), level, str(row["dealers"])] = {
            name: float(row[name]) for name in ("probability", "std_error", "ci_low", "ci_high")
        }
    return found


def _effect(effect: Mapping[str, float], digits: int) -> str:
    points = [100 * effect[name] for name in ("probability", "ci_low", "ci_high")]
    value, low, high = (f"{p + 0.0:+.{digits}f}" for p in points)
    return f"{value} ({low} to {high})"


def _percent(share: float | None, digits: int) -> str:
    return "-" if share is None or math.isnan(share) else f"{100 * share:.{digits}f}%"


def _share(share: float) -> str:
    return "under 0.1%" if 0 < share < 0.0005 else f"{100 * share:.1f}%"
