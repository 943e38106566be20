"""Report of the checks against independent answers on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from sim.report.terminal import new_table

if TYPE_CHECKING:
    from sim.check.checks import Check


def check_view(checks: Sequence[Check]) -> Table:
    """Table of the independent answers beside the simulated ones, with z-scores."""
    table = new_table()
    table.add_column("check", overflow="fold")
    for heading in ("expected", "simulated", "std error", "z"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for check in checks:
        table.add_row(
            check.name,
            f"{check.expected:.6f}",
            f"{check.simulated:.6f}",
            f"{check.std_error:.6f}",
            f"{check.z:+.2f}",
            Text("ok", "green") if check.ok else Text("FAILED", "bold red"),
        )
    return table
