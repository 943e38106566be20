"""Delivery of finished work: what has been found reaches the user whatever fails on the way.

Saving and printing are tried one after the other. What fails is told at the end in one message, with exit code 1, and
what could not be printed as it should be is printed in plain form.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from sim.cli.messages import tell
from sim.cli.options import echo
from sim.errors import GammawallError, error_text

# Levels of a value that its plain form shows one by one.
DEEPEST = 4


class Delivery:
    """Printing of finished work, and the failures on the way.

    Attributes
    ----------
    as_json : whether stdout is to hold JSON.
    saved : whether the work is kept in files.
    failures : sentences, one per failure.
    finding : what the work itself has found wrong, which no failure on the way may hide; None if all is well.
    """

    def __init__(
        self,
        *,
        as_json: bool = False,
        saved: bool = False,
        failures: tuple[str, ...] = (),
        finding: GammawallError | None = None,
    ):
        self.as_json, self.saved = as_json, saved
        self.failures = list(failures)
        self.finding = finding

    def show(self, what: str, show: Callable[[], None], plain: Callable[[], Any]) -> None:
        """Print finished work or, if that fails, its plain form.

        Parameters
        ----------
        what : what is printed, "the report" for instance.
        show : function that prints it on stdout.
        plain : function that returns the numbers that must not be lost; see `plain_form`.
        """
        try:
            show()
            sys.stdout.flush()
        except OSError as error:
            self._without_stdout(error, plain)
        except Exception as error:  # whatever it is: the work is done
            told = "its numbers are on stdout in plain form"
            self.failures.append(f"{what} cannot be printed ({error_text(error)}); {told}.")
            try:
                for line in self._lines(plain):
                    echo(line)
                sys.stdout.flush()
            except OSError as gone:
                self._without_stdout(gone, plain)

    def _without_stdout(self, error: OSError, plain: Callable[[], Any]) -> None:
        """Go on without stdout: what is not saved goes to stderr, unless the reader of stdout has seen enough."""
        has_reader = not isinstance(error, BrokenPipeError)
        if has_reader and not self.saved:
            for line in self._lines(plain):
                tell(line)
        if not self.failures and self.finding is None:
            raise error
        if has_reader:
            self.failures.append(f"the output cannot be written ({error_text(error)}).")
        silence_stdout()

    def _lines(self, plain: Callable[[], Any]) -> list[str]:
        try:
            form = plain_form(plain())
        except Exception as error:
            form = f"nor in plain form ({error_text(error)})"
        return [json.dumps(form, indent=2)] if self.as_json else list(plain_lines(form))

    def end(self) -> None:
        """Raise the failures and the finding, if there are any, as one GammawallError."""
        if self.failures:
            found = [] if self.finding is None else [str(self.finding)]
            raise GammawallError("\n".join([*self.failures, *found]))
        if self.finding is not None:
            raise self.finding


def silence_stdout() -> None:
    """Lead stdout nowhere, so that what is still buffered does not fail again at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def plain_form(value: Any, depth: int = 0) -> Any:
    """Value as mappings, lists, numbers and texts alone; tables by their rows.

    It needs nothing but the texts of what a value holds, so that hardly anything can fail.
    """
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        value = value.to_dict("records")
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping) and depth < DEEPEST:
        return {str(key): plain_form(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and depth < DEEPEST:
        return [plain_form(item, depth + 1) for item in value]
    if type(value) in (int, bool) or value is None or (type(value) is float and math.isfinite(value)):
        return value
    try:
        return str(value)
    except Exception as error:
        return f"<{error_text(error)}>"


def plain_lines(form: Any, name: str = "", depth: int = 0) -> Iterator[str]:
    """Lines of a plain form: a line per item, or per row of a table, with names and values."""
    if not isinstance(form, (dict, list)):
        yield f"{name}: {form}" if name else str(form)
        return
    items = list(form.items()) if isinstance(form, dict) else [("", item) for item in form]
    if depth and not any(isinstance(item, (dict, list)) for _, item in items):
        told = ", ".join(f"{key} {item}".strip() for key, item in items)
        yield f"{name}: {told}" if name else told
        return
    for key, item in items:
        yield from plain_lines(item, f"{name} {key}".strip(), depth + 1)
