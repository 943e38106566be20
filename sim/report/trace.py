"""Report of a traced path on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from sim.report.terminal import cell_text, new_table

if TYPE_CHECKING:
    import pandas as pd


def trace_view(days: pd.DataFrame) -> Table:
    """Table of one path's sessions."""
    table = new_table(gap=0)
    for name in days.columns:
        if str(name).endswith("touches"):
            prices = " ".join(_touches_text(value) for value in days[name]).split()
            width = max([7, *(len(price) for price in prices)])
            table.add_column(str(name).replace("_", "\n"), width=width)
        elif name == "regime":
            table.add_column(name, overflow="fold")
        else:
            heading = "#" if name == "session" else str(name).replace("_", "\n")
            table.add_column(heading, justify="right", no_wrap=True)
    for row in days.itertuples(index=False):
        cells = zip(days.columns, row, strict=True)
        table.add_row(
            *(_touches_text(v) if str(name).endswith("touches") else cell_text(v) for name, v in cells)
        )
    return table


def _touches_text(levels: Any) -> str:
    """Text of levels, which are a list or a text with a space between them."""
    prices = levels.split() if isinstance(levels, str) else levels
    return " ".join(f"{float(price):,.10g}" for price in prices)
