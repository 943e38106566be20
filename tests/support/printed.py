"""Text that the reports print on a terminal of a given width, and the cells of its tables."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from sim.report.terminal import print_view


def printed(show: Callable[[Console], None], width: int = 80, **options: Any) -> str:
    """Return what a function prints on a console of so many columns."""
    console = Console(
        file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False, _environ={}, **options
    )
    show(console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def printed_view(table: Table, width: int = 80) -> str:
    return printed(lambda console: print_view(table, console), width)


def cells(text: str, start: str) -> list[str]:
    """Return the cells of the one line that begins so; columns stand two blanks or more apart."""
    (line,) = (line for line in text.splitlines() if line.startswith(start))
    return re.split(r"  +", line.strip())
