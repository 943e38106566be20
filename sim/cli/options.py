"""Options that several commands share, readers of their values, and output on stdout and stderr."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from sim.engines.choice import AUTO, ENGINES, MOST_THREADS
from sim.errors import InputError, Problem, cut
from sim.files.terminal_text import printable

DEFAULT_SCENARIO = "siege-of-7000"
# A test keeps these equal to those of the modules that compute, which are too heavy to load for a command's help.
DEFAULT_PATHS = "1_000_000"
ADDRESSES = 2**64  # numbers of paths and seeds are 64 bit
SMALLEST_TARGET_SE = 1e-6
# Text on what a command has written so far, or a function that returns it, for the message of an interruption.
KEPT = "gammawall.kept"
# A time as hints of functions write it.
AS_OF_IN_PYTHON = re.compile(r"Try as_of=datetime\.datetime\(.*?\)\)\.")
LONGEST_TOLD = 60
DATE_IN_PYTHON = re.compile(r"datetime\.date\((\d+), (\d+), (\d+)\)")
MULTIPLIERS = {"k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}


def kept(ctx: click.Context, nothing: str) -> str:
    """Text on the results that a command has written so far; `nothing` before there are any."""
    value = ctx.meta.get(KEPT, nothing)
    return str(value() if callable(value) else value)


class WholeNumber(click.IntRange):
    """Whole number between two limits."""

    name = "whole number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number; what is none, or out of range, is told."""
        shortened: Any = cut(value, LONGEST_TOLD) if isinstance(value, str) else value
        return super().convert(shortened, param, ctx)


class PathName(click.Path):
    """Path of a file or folder; an empty text is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if value == "":
            self.fail("the path is empty. Try the name of a file or folder.", param, ctx)
        return super().convert(value, param, ctx)


PATH = PathName(path_type=Path)


def count_from(
    smallest: int, largest: int = ADDRESSES - 1
) -> Callable[[click.Context, click.Parameter, str | None], int | None]:
    """Reader of a whole number from ``smallest`` to ``largest``, written as 1000000, 1e6, 1_000_000, 300k or 10M."""
    most = "2^64 - 1" if largest == ADDRESSES - 1 else str(largest)

    def read(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
        if value is None:
            return None
        text = value.strip().lower().replace("_", "").replace(",", "")
        told = repr(cut(value, LONGEST_TOLD))
        multiplier = MULTIPLIERS.get(text[-1:], 1)
        try:
            number = Decimal(text[:-1] if multiplier > 1 else text) * multiplier
        except ArithmeticError as error:
            raise click.BadParameter(f"{told} is not a number such as 1000000, 1e6, 300k or 10M.") from error
        if not number.is_finite() or number.adjusted() > 20 or number != number.to_integral_value():
            raise click.BadParameter(f"{told} is not a whole number.")
        if not smallest <= number <= largest:
            raise click.BadParameter(f"{told} is not between {smallest} and {most}.")
        return int(number)

    return read


def read_standard_error(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """Reader of the standard error of a probability, from 1e-6 to 0.5."""
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number < 0.5:
        raise click.BadParameter(
            f"{cut(value, LONGEST_TOLD)!r} is not a standard error between 0 and 0.5, such as 0.0005."
        )
    if number < SMALLEST_TARGET_SE:
        paths = 0.25 / number / number
        shown = f"some {paths:,.0f}" if paths < ADDRESSES else "more than 2^64"
        raise click.BadParameter(
            f"{cut(value, LONGEST_TOLD)!r} would take {shown} paths. The smallest is {SMALLEST_TARGET_SE:g}."
        )
    return number


def read_numbers(
    smallest: int, largest: int = ADDRESSES - 1
) -> Callable[[click.Context, click.Parameter, str | None], tuple[int, ...] | None]:
    """Reader of distinct whole numbers separated by commas, such as 0,1 or 1e5,1e6."""
    read = count_from(smallest, largest)

    def read_all(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
        if value is None:
            return None
        numbers = [read(ctx, param, part) for part in value.split(",")]
        known = tuple(number for number in numbers if number is not None)
        if len(set(known)) < len(known):
            raise click.BadParameter(f"{cut(value, LONGEST_TOLD)!r} names a number twice.")
        return known

    return read_all


def read_finite(_ctx: click.Context, _param: click.Parameter, value: float | None) -> float | None:
    """Reader of a number that is neither infinite nor NaN."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is no finite number.")
    return value


@contextlib.contextmanager
def in_options(*names: str) -> Iterator[None]:
    """Context in which problems with arguments of these names are told of the options by which they were given."""
    try:
        yield
    except InputError as failure:
        raise InputError([_in_option(problem, names) for problem in failure.problems]) from failure


def _in_option(problem: Problem, names: tuple[str, ...]) -> Problem:
    hint = AS_OF_IN_PYTHON.sub('Try --as-of "2025-09-03 16:18".', problem.hint)
    hint = DATE_IN_PYTHON.sub(_iso_date, hint)
    for name in names:
        hint = hint.replace(f"Try {name}=", f"Try --{name.replace('_', '-')} ")
    if problem.key not in names:
        return replace(problem, hint=hint)
    option = f"--{problem.key.replace('_', '-')}"
    if problem.where:
        return replace(problem, key=option, hint=hint)
    return replace(problem, where=option, key="", hint=hint)


def _iso_date(found: re.Match[str]) -> str:
    return "-".join(part.zfill(2) for part in found.groups())


def echo(text: str = "", *, end: str = "\n") -> None:
    """Print text on stdout."""
    print(printable(text), end=end)


def print_toml(text: str) -> None:
    """Print a TOML document on stdout, in UTF-8 whatever the terminal: it may be led into a file."""
    click.echo(printable(text).encode("utf-8"), nl=False)


def refuse_silence(*, quiet: bool, no_save: bool, as_json: bool) -> None:
    """Refuse options that together would show the results nowhere."""
    if quiet and no_save and not as_json:
        raise click.UsageError(
            "--quiet with --no-save would show the results nowhere. Try one of them, or --json."
        )


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document on stdout."""
    text = json.dumps(document, indent=2, allow_nan=False)
    echo(text.replace("\x7f", "\\u007f"))  # the one control character that JSON leaves as it is


SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the scenario, e.g. dealers.impact_bp_per_bn=1. Repeatable.",
)
WITH = click.option(
    "--with",
    "fragments",
    multiple=True,
    type=PATH,
    metavar="FRAGMENT",
    help="TOML file whose keys replace the scenario's, such as one that a fit wrote. Repeatable.",
)
SEEDS = WholeNumber(0, ADDRESSES - 1)
SEED = click.option(
    "--seed",
    type=SEEDS,
    metavar="N",
    default=1,
    show_default=True,
    help="Seed of the random numbers; the same seed replays the same paths.",
)
TARGET_SE = click.option(
    "--target-se",
    metavar="SE",
    callback=read_standard_error,
    help="Simulate beyond --paths until both first-target odds have this standard error.",
)
MAX_PATHS = click.option(
    "--max-paths",
    metavar="N",
    callback=count_from(1),
    help="Upper limit on the paths that --target-se may add up to.",
)
THREADS = click.option(
    "--threads",
    type=WholeNumber(1, MOST_THREADS),
    metavar="N",
    help="Processors to use.  [default: all]",
)
ENGINE = click.option(
    "--engine",
    type=click.Choice([AUTO, *ENGINES]),
    default=AUTO,
    show_default=True,
    help="Engine to use; auto takes the first one available, in this order.",
)
DEVICES = click.option(
    "--devices",
    metavar="N,…",
    callback=read_numbers(0),
    help="GPUs that share the paths, by number; implies --engine cuda.  [default: 0]",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
SCENARIO = click.argument("scenario", default=DEFAULT_SCENARIO)
