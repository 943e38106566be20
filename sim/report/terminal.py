"""Building blocks of terminal output: tables that fit the width, warnings, numbers and plurals in words."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, TypeVar, cast

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.progress import Progress, ProgressColumn
from rich.table import Table
from rich.text import Text

from sim.files.terminal_text import printable
from sim.odds.headline import price_text

NARROWEST = 80
NARROWEST_FOLDED = 12
# Lines of text are not padded, but a progress bar of the width that COLUMNS names would be.
WIDEST = 1000
LINES = 25

Callback = TypeVar("Callback", bound=Callable[..., None])


class Terminal(Console):
    """Console for one of the standard streams or a file; except on stderr at least 80 columns wide.

    Where a narrower terminal breaks the lines itself, every digit is still there. What is printed may quote any name:
    control characters are escaped. A reader of stdout that goes away shows as BrokenPipeError.
    """

    def __init__(self, *, stderr: bool = False, file: IO[str] | None = None, width: int | None = None):
        looks: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
        try:
            super().__init__(stderr=stderr, file=file, width=width, **looks)
        except ValueError:  # COLUMNS or LINES in digits that are no number
            super().__init__(stderr=stderr, file=file, width=width or NARROWEST, height=LINES, **looks)
        if not stderr and self.width < NARROWEST:
            self.width = NARROWEST
        if self.width > WIDEST:
            self.width = WIDEST

    def print(self, *objects: Any, **options: Any) -> None:
        """Print objects, their control characters escaped."""
        super().print(*map(_escaped, objects), **options)

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError, so that the command ends the program."""
        raise BrokenPipeError


def _escaped(value: Any) -> Any:
    """Text or table without control characters; anything else as it is."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Text):
        plain = printable(value.plain)
        return value if plain == value.plain else Text(plain, value.style)
    if isinstance(value, Table):
        for column in value.columns:
            column.header, column._cells = _escaped(column.header), [_escaped(c) for c in column._cells]
    return value


def print_view(table: Table, console: Console) -> None:
    """Print a table so that no number is cut or broken, however narrow the terminal."""
    _escaped(table)
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


def unfailing(callback: Callback) -> Callback:
    """Callback whose failures are ignored: a progress bar that cannot be drawn must not cost the work it shows."""

    @functools.wraps(callback)
    def guarded(*arguments: Any) -> None:
        with contextlib.suppress(Exception):
            callback(*arguments)

    return cast(Callback, guarded)


@contextlib.contextmanager
def progress_on(
    console: Terminal, columns: Sequence[ProgressColumn], description: str, **texts: Any
) -> Iterator[Progress | None]:
    """Context of a progress display with one task; None where there is no terminal.

    description, texts : of the task, as its columns name them.
    """
    progress = None
    if console.is_terminal:
        progress = Progress(*columns, console=console, transient=True)
        progress.add_task(description, total=None, **texts)
        unfailing(progress.start)()
    try:
        yield progress
    finally:
        if progress is not None:
            unfailing(progress.stop)()


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
