"""Errors for users, each with the exit code of the command line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

# Problems that a message lists; it counts the others.
MOST_LISTED: Final = 50
_LONGEST_PLACE: Final = 500
_LONGEST_KEY: Final = 120
_LONGEST_REASON: Final = 1000

LONGEST_REASON = 200


class GammawallError(Exception):
    """Failure that its message alone explains; commands print it without a traceback."""

    exit_code = 1

    def __repr__(self) -> str:
        return f"{type(self).__name__}({one_line(str(self), 90)})"


class PartlyFailedError(GammawallError):
    """Failure of some of a batch's cases; the others are filed."""

    exit_code = 3


@dataclass(frozen=True)
class Problem:
    """One problem with an input.

    Attributes
    ----------
    where : place of the input, a file or an option for instance; "" if there is none to name.
    key, value : the key concerned and the text of its value; "" without one.
    why : reason why it is refused.
    hint : sentence on what to try.
    """

    where: str
    key: str
    value: str
    why: str
    hint: str = ""

    def __repr__(self) -> str:
        return f"Problem({one_line(str(self), 110)})"

    def __str__(self) -> str:
        """Return ``where: key = value (why). hint`` on one line."""
        place = f"{cut(self.where, _LONGEST_PLACE)}: " if self.where else ""
        key, why, hint = (
            cut(self.key, _LONGEST_KEY),
            cut(self.why, _LONGEST_REASON),
            cut(self.hint, _LONGEST_REASON),
        )
        stated = f"{key} = {self.value}" if key and self.value else key or self.value
        text = f"{place}{stated} ({why})." if stated else f"{place}{why}."
        return f"{text} {hint}".rstrip().replace("\n", "\\x0a")  # no value forges a message of its own


class InputError(GammawallError):
    """Error about bad input, with every problem found.

    Its message lists the first 50 of them, those of one place together, and counts the others.

    Parameters
    ----------
    problems : the problems, at least one.
    """

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]):
        assert problems
        self.problems = tuple(problems)
        super().__init__("\n".join(_listed(self.problems)))

    def __repr__(self) -> str:
        more = f" and {len(self.problems) - 1} more" if len(self.problems) > 1 else ""
        return f"InputError({one_line(str(self.problems[0]), 90)}{more})"


def _listed(problems: Iterable[Problem]) -> list[str]:
    """Lines of a message: the first problems, those of one place together, and the number of the others."""
    by_place: dict[str, list[Problem]] = {}
    for problem in problems:
        by_place.setdefault(problem.where, []).append(problem)
    ordered = [problem for found in by_place.values() for problem in found]
    lines = [str(problem) for problem in ordered[:MOST_LISTED]]
    more = len(ordered) - MOST_LISTED
    return lines if more <= 0 else [*lines, f"and {more:,} more."]


def cut(text: str, length: int) -> str:
    """Text of at most `length` characters, with dots in the place of what is left out at its end."""
    return text if len(text) <= length else f"{text[: length - 3]}..."


def one_line(text: str, length: int) -> str:
    """Text on one line, cut to at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def error_text(error: BaseException) -> str:
    """Text of an unforeseen error in a message: its type and what it says, on one line."""
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, GammawallError):
        return one_line(str(error), LONGEST_REASON).rstrip(".")
    said = one_line(str(error), LONGEST_REASON)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
