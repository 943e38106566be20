"""Building blocks of terminal output: tables that fit the width, warnings, numbers and plurals in words."""

from __future__ import annotations

import math
from typing import IO, Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from sim.odds.headline import price_text

NARROWEST = 80
NARROWEST_FOLDED = 12


class Terminal(Console):
    """Console for one of the standard streams or a file; except on stderr at least 80 columns wide.

    Where a narrower terminal breaks the lines itself, every digit is still there. A reader of stdout that
    goes away shows as BrokenPipeError.
    """

    def __init__(self, *, stderr: bool = False, file: IO[str] | None = None, width: int | None = None):
        super().__init__(stderr=stderr, file=file, width=width, highlight=False, markup=False, emoji=False)
        if not stderr and self.width < NARROWEST:
            self.width = NARROWEST

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError, so that the command ends the program."""
        raise BrokenPipeError


def print_view(table: Table, console: Console) -> None:
    """Print a table so that no number is cut or broken, however narrow the terminal."""
    for column in table.columns:
        if column.no_wrap:
            texts = [line for cell in (column.header, *column.cells) for line in str(cell).splitlines()]
            column.min_width = max(cell_len(text) for text in texts)
    usual = console.width
    console.width = max(usual, _least_width(table, console))
    try:
        console.print(table)
    finally:
        console.width = usual


def _least_width(table: Table, console: Console) -> int:
    """Least width, in columns, at which no number is cut; names are folded, within words where they must be."""
    folded = [column for column in table.columns if column.overflow == "fold" and not column.no_wrap]
    for column in folded:
        column.max_width = NARROWEST_FOLDED
    least = Measurement.get(console, console.options.update(max_width=10_000), table).minimum
    for column in folded:
        column.max_width = None
    return least


def new_table(gap: int = 1) -> Table:
    """Empty table in the common style; `gap` blanks follow each column."""
    return Table(box=box.SIMPLE_HEAD, padding=(0, gap, 0, 0), pad_edge=False, show_edge=False)


def print_warning(text: str, console: Console) -> None:
    """Print a warning."""
    console.print(Text.assemble(("warning: ", "bold yellow"), text))


def print_failure(case: str, error: str, console: Console) -> None:
    """Print the error that ended a case."""
    console.print(Text.assemble(("failed: ", "bold red"), f"{case}: {error}"))


def plural(count: int, noun: str) -> str:
    """Text of a count with its noun, in the plural where it is not one."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def short_number(number: float) -> str:
    """Text of a number with three digits and, from a thousand on, k, M or G."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{suffix}"
    return f"{number:.3g}"


def cell_text(value: Any) -> str:
    """Text of a value in a table: floats with two decimals, prices of a list in one line, dates in ISO form."""
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, (list, tuple)):
        return " ".join(price_text(float(v)) for v in value)
    if hasattr(value, "date"):
        return str(value.date())
    return str(value)


def number_text(number: float, form: str) -> str:
    """Text of a number in a form such as ".2f"; a dash for NaN."""
    return "-" if math.isnan(number) else format(number, form)
