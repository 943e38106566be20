from __future__ import annotations

import math
import re

import pytest
from support.printed import printed

from sim.report import terminal


def test_colour_only_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setenv("TERM", "xterm-256color")

    def shown() -> str:
        console = terminal.Terminal()
        with console.capture() as capture:
            terminal.print_failure("a", "it broke", console)
        return capture.get()

    assert "\x1b[1;31mfailed: " in shown()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "failed: a: it broke" in re.sub(r"\x1b\[[\d;]*m", "", shown())
    assert not re.search(r"\x1b\[[\d;]*3\d", shown())


def test_terminal_is_never_taken_for_narrower_than_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert terminal.Terminal().width == 80
    assert terminal.Terminal(stderr=True).width == 40  # a longer progress bar would leave traces
    monkeypatch.setenv("COLUMNS", "133")
    assert terminal.Terminal().width == 133


def test_warnings_and_failures_stand_on_a_line_each() -> None:
    assert printed(lambda console: terminal.print_warning("it binds", console)) == "warning: it binds\n"
    assert printed(lambda console: terminal.print_failure("a", "broke", console)) == "failed: a: broke\n"


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1500, "1.5k"), (1e6, "1M"), (2.13e7, "21.3M"), (2.5e11, "250G")],
)
def test_magnitudes(number: float, text: str) -> None:
    assert terminal.short_number(number) == text


@pytest.mark.parametrize(
    ("price", "text"),
    [(7100.0, "7,100"), (6941.81, "6,941.81"), (0.5, "0.5"), (100.0, "100"), (7020.1, "7,020.1")],
)
def test_prices(price: float, text: str) -> None:
    assert terminal.price_text(price) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.567, "1,234.57"), ([7000.0, 7020.5], "7,000 7,020.5"), ((), ""), ("initial", "initial"), (3, "3")],
)
def test_cells(value: object, text: str) -> None:
    assert terminal.cell_text(value) == text


def test_a_number_that_is_none_is_a_dash() -> None:
    assert terminal.number_text(math.nan, ".2f") == "-"
    assert terminal.number_text(0.0125, ".1%") == "1.2%"
