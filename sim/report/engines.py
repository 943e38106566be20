"""Report of the engines on the terminal: their availability and their speed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sim.report.terminal import print_view

if TYPE_CHECKING:
    import pandas as pd

    from sim.run.bench import EngineState


def print_engines(states: Sequence[EngineState], console: Console) -> None:
    """Print every engine with its device or the way to get it, and the one that auto takes."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("engine", no_wrap=True, style="bold")
    table.add_column("available", no_wrap=True)
    table.add_column("device, or why not and how to get it", overflow="fold")
    for state in states:
        mark = Text("yes", "green") if state.available else Text("no", "bold yellow")
        table.add_row(state.engine, mark, state.device or state.problem)
    print_view(table, console)
    for state in states:
        if state.builds:
            run = f"; this processor can run {', '.join(state.usable_builds)}" if state.usable_builds else ""
            console.print(Text(f"{state.engine} builds here: {', '.join(state.builds)}{run}", "dim"))
        for build, why in state.refused_builds.items():
            console.print(Text.assemble((f"{state.engine} {build} build refused: ", "bold yellow"), why))
    auto = next(state.engine for state in states if state.available)
    console.print(f"--engine auto takes {auto}.")


def print_bench(rows: pd.DataFrame, target_se: float, console: Console) -> None:
    """Print the timings as one table, and below it the device and the compilation of each engine."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("engine", no_wrap=True)
    for name in ("workers", "paths", "path-steps/s", "ns per path-step", "speed", f"to se {target_se:g}"):
        table.add_column(name, justify="right", no_wrap=True)
    limited = rows["issue_share"].notna().any()
    if limited:
        table.add_column("of issue limit", justify="right", no_wrap=True)
    table.add_column("counts", no_wrap=True)
    for row in rows.to_dict("records"):
        cells = [
            row["engine"],
            f"{row['workers']}",
            f"{row['paths']:,}",
            f"{row['path_steps_per_s']:.3g}",
            f"{row['ns_per_path_step']:.3g}",
            "-" if math.isnan(row["speed"]) else f"{row['speed']:.2f}x",
            f"{row['seconds_to_target']:.3g} s",
        ]
        if limited:
            cells.append("" if math.isnan(row["issue_share"]) else f"{row['issue_share']:.0%}")
        table.add_row(*cells, row["counts"])
    print_view(table, console)
    for row in rows.drop_duplicates("engine").to_dict("records"):
        compiled = f", compiled in {row['compile_seconds']:.1f} s" if row["compile_seconds"] else ""
        console.print(Text(f"{row['engine']}: {row['device']}{compiled}", "dim"))
