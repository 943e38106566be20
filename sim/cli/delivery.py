"""Delivery of finished work: what has been found reaches the user whatever fails on the way.

Saving and printing are tried one after the other. What fails is told at the end in one message, with exit code 1, and
what could not be printed as it should be is printed in plain form.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from sim.cli.options import echo, tell
from sim.errors import GammawallError, error_text

DEEPEST = 4


class Delivery:
    """Printing of finished work, and the failures on the way.

    Attributes
    ----------
    saved : whether the work is kept in files.
    failures : sentences, one per failure.
    """

    def __init__(self, *, saved: bool = False, failures: tuple[str, ...] = ()):
        self.saved = saved
        self.failures = list(failures)

    def show(self, what: str, show: Callable[[], None], plain: Callable[[], Any]) -> None:
        """Print finished work or, if that fails, its plain form.

        Parameters
        ----------
        what : what is printed, "the report" for instance.
        show : function that prints it on stdout.
        plain : function that returns the numbers that must not be lost; see `plain_lines`.
        """
        try:
            show()
            sys.stdout.flush()
        except OSError as error:
            self._without_stdout(error, plain)
        except Exception as error:  # whatever it is: the work is done
            self.failures.append(
                f"{what} cannot be printed ({error_text(error)}); the numbers are in plain form."
            )
            with contextlib.suppress(OSError):
                for line in _lines_of(plain):
                    echo(line)
                sys.stdout.flush()

    def _without_stdout(self, error: OSError, plain: Callable[[], Any]) -> None:
        """Go on without stdout: what is not saved goes to stderr, unless the reader of stdout has seen enough."""
        if isinstance(error, BrokenPipeError) and not self.failures:
            raise error
        if not isinstance(error, BrokenPipeError):
            if not self.saved:
                for line in _lines_of(plain):
                    tell(line)
            if not self.failures:
                raise error
            self.failures.append(f"the output cannot be written ({error_text(error)}).")
        silence_stdout()

    def end(self) -> None:
        """Raise the failures, if there are any, as one GammawallError."""
        if self.failures:
            raise GammawallError("\n".join(self.failures))


def silence_stdout() -> None:
    """Lead stdout nowhere, so that what is still buffered does not fail again at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def plain_lines(value: Any, name: str = "", depth: int = 0) -> Iterator[str]:
    """Lines of text with all that is in a value: a line per item, or per row of a table, with names and values.

    It needs nothing but the texts of the values, so that hardly anything can fail.
    """
    items = _items(value) if depth < DEEPEST else None
    if items is None:
        yield f"{name}: {_text(value)}" if name else _text(value)
    elif depth and all(_items(item) is None for _, item in items):
        told = ", ".join(f"{key} {_text(item)}".strip() for key, item in items)
        yield f"{name}: {told}" if name else told
    else:
        for key, item in items:
            yield from plain_lines(item, f"{name} {key}".strip(), depth + 1)


def _lines_of(plain: Callable[[], Any]) -> list[str]:
    try:
        return list(plain_lines(plain()))
    except Exception as error:
        return [f"nor in plain form ({error_text(error)})"]


def _items(value: Any) -> list[tuple[str, Any]] | None:
    """Items of a value by name; None if it has none."""
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        value = value.to_dict("records")
    if is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, Mapping):
        return [(str(key), item) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [("", item) for item in value]
    return None


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception as error:
        return f"<{error_text(error)}>"
