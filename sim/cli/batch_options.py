"""Options of the commands that run a family of scenarios: paths, engine, workers, and the folder of the results."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

from sim.cli.options import (
    DEVICES,
    ENGINE,
    JSON,
    LONGEST_TOLD,
    MAX_PATHS,
    PATH,
    SEEDS,
    TARGET_SE,
    THREADS,
    PathName,
    WholeNumber,
    count_from,
)
from sim.errors import cut

Command = Callable[..., Any]
SHARE = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")
SMALLEST_BUMP = 1e-6
OF_BATCH = "[default: the batch's own]"
RUN_OPTIONS = (
    TARGET_SE,
    MAX_PATHS,
    ENGINE,
    DEVICES,
    THREADS,
    click.option(
        "--workers", type=WholeNumber(1), metavar="N", help="Number of dask worker processes to start here."
    ),
    click.option("--scheduler", metavar="ADDRESS", help="Use the workers of the dask cluster at ADDRESS."),
    click.option(
        "--tls-ca",
        type=PathName(),
        metavar="FILE",
        help="Certificate of the authority of a cluster at tls://.  [default: by dask's configuration]",
    ),
    click.option("--tls-cert", type=PathName(), metavar="FILE", help="Own certificate for such a cluster."),
    click.option(
        "--tls-key",
        type=PathName(),
        metavar="FILE",
        help="Key of that certificate, if it is not in the same file.",
    ),
    click.option("--out", type=PATH, help="Folder for the results.  [default: results/<name>]"),
    click.option("--resume", is_flag=True, help="Continue the batch in the folder, if there is one."),
    click.option(
        "--accept-changes",
        is_flag=True,
        help="Resume even if the batch has changed; keep the cases that are still the same.",
    ),
    click.option("--retry-failed", is_flag=True, help="Run cases again that failed before."),
    click.option("--fail-fast", is_flag=True, help="Stop after the first case that fails."),
    click.option("--overwrite", is_flag=True, help="Replace an existing batch in the folder."),
    click.option("--parquet", is_flag=True, help="Also write each table as Parquet."),
    JSON,
    click.option("--quiet", is_flag=True, help="Print only the folder of the results."),
)


def read_shard(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Reader of a share of a batch, i/n."""
    if value is None:
        return None
    match = SHARE.fullmatch(value)
    if match is None or int(match[1]) >= int(match[2]):
        raise click.BadParameter(f"{cut(value, LONGEST_TOLD)!r} is no share such as 0/3, 1/3 or 2/3.")
    return int(match[1]), int(match[2])


def read_bump(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    """Reader of a relative bump, 0.1 or 10%."""
    try:
        number = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
    except ValueError:
        number = -1.0
    if not SMALLEST_BUMP <= number < 1:
        why = f"is no share between 0 and 1, {SMALLEST_BUMP:g} at least, such as 0.1 or 10%."
        raise click.BadParameter(f"{cut(value, LONGEST_TOLD)!r} {why}")
    return number


def run_options(paths: str | None = None) -> Callable[[Command], Command]:
    """Decorator that adds the options of commands that run a family of scenarios.

    paths : default number of paths per case, of seed 1; None: paths and seed are those of the batch's file.
    """
    own = paths is None
    numbers = (
        click.option(
            "--paths",
            metavar="N",
            callback=count_from(1),
            default=paths,
            show_default=not own,
            help="Paths per case." + (f"  {OF_BATCH}" if own else ""),
        ),
        click.option(
            "--seed",
            type=SEEDS,
            metavar="N",
            default=None if own else 1,
            show_default=not own,
            help="Seed of all cases." + (f"  {OF_BATCH}" if own else ""),
        ),
    )

    def add_options(command: Command) -> Command:
        for option in reversed((*numbers, *RUN_OPTIONS)):
            command = option(command)
        return command

    return add_options
