"""The command bench: time the engines, and compare their counts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sim.cli.delivery import Delivery
from sim.cli.messages import tell
from sim.cli.options import (
    DEVICES,
    JSON,
    KEPT,
    SCENARIO,
    SET,
    WITH,
    PathName,
    WholeNumber,
    in_options,
    print_json,
    read_numbers,
    read_standard_error,
)
from sim.engines.choice import MOST_THREADS
from sim.errors import GammawallError, error_text

if TYPE_CHECKING:
    from sim.run.bench import Timing


@click.command()
@SCENARIO
@click.option("--engines", metavar="NAME,…", help="Engines to time.  [default: all available]")
@click.option(
    "--paths",
    metavar="N,…",
    callback=read_numbers(1),
    default="100_000",
    show_default=True,
    help="Paths per run.",
)
@click.option(
    "--threads",
    metavar="N,…",
    callback=read_numbers(1, MOST_THREADS),
    default="1",
    show_default=True,
    help="Processors to use; one row per number.",
)
@DEVICES
@click.option(
    "--repeats", type=WholeNumber(1), metavar="N", default=3, show_default=True, help="Runs per row."
)
@click.option(
    "--target-se",
    metavar="SE",
    callback=read_standard_error,
    default="0.0005",
    show_default=True,
    help="Show the time to this standard error of the first-target odds.",
)
@WITH
@SET
@click.option(
    "--csv",
    "csv_file",
    type=PathName(path_type=Path, dir_okay=False, writable=True),
    help="Write the table to this CSV file.",
)
@click.option("--overwrite", is_flag=True, help="Replace the file --csv if it exists.")
@JSON
@click.pass_context
def bench(
    ctx: click.Context,
    scenario: str,
    *,
    engines: str | None,
    paths: tuple[int, ...],
    threads: tuple[int, ...],
    devices: tuple[int, ...] | None,
    repeats: int,
    target_se: float,
    fragments: tuple[Path, ...],
    overrides: tuple[str, ...],
    csv_file: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Time the engines on SCENARIO and compare their counts.

    Times are medians, after a warm-up; a GPU is timed by its own clock. Exits with 1 if any counts differ.
    """
    _refuse_csv(csv_file, overwrite)

    from sim.run.bench import timings
    from sim.scenario.file import load_scenario, scenario_hash
    from sim.scenario.fragments import read_fragments

    loaded = load_scenario(scenario, overrides, read_fragments(fragments))
    setting: dict[str, Any] = {"scenario": loaded.name, "scenario_hash": scenario_hash(loaded)}
    setting |= {"target_se": target_se}
    timed: list[Timing] = []

    def deliver() -> Delivery:
        return _deliver(ctx, timed, setting, repeats, csv_file, as_json)

    try:
        with in_options("engines", "devices"):
            for row in timings(
                loaded,
                engines=None if engines is None else [name.strip() for name in engines.split(",")],
                paths=paths,
                threads=threads,
                devices=devices,
                repeats=repeats,
                target_se=target_se,
                where=scenario,
            ):
                timed.append(row)  # noqa: PERF402 - one by one, so that an error keeps those before it
    except BaseException:
        if timed:  # whatever ended it, what has been timed is shown
            for failure in deliver().failures:
                tell(f"error: {failure}")
        raise
    deliver().end()


def _deliver(
    ctx: click.Context,
    timed: Sequence[Timing],
    setting: Mapping[str, Any],
    repeats: int,
    csv_file: Path | None,
    as_json: bool,
) -> Delivery:
    """Write and print the table of what has been timed."""
    delivery = Delivery(as_json=as_json)
    if any(row.counts == "DIFFERENT" for row in timed):
        delivery.finding = GammawallError(
            "the counts differ between engines. Please report this with the table."
        )
    if csv_file is not None:
        try:
            _write_csv(csv_file, _csv(timed, setting))
            delivery.saved = True
            ctx.meta[KEPT] = f"what was timed is in {csv_file}"
        except Exception as error:  # the table is on stdout all the same
            why = f"{csv_file} cannot be written: {error_text(error)}; the table is on stdout."
            delivery.failures.append(f"{why} Try another place for --csv.")

    def show() -> None:
        import pandas as pd

        from sim.files.json_text import json_rows
        from sim.report.engines import print_bench
        from sim.report.terminal import Terminal

        rows = pd.DataFrame(timed)
        if as_json:
            print_json({**setting, "repeats": repeats, "rows": json_rows(rows)})
        else:
            print_bench(rows, setting["target_se"], Terminal())

    delivery.show("the table", show, lambda: {"row": list(timed)})
    return delivery


def _csv(timed: Sequence[Timing], setting: Mapping[str, Any]) -> bytes:
    import pandas as pd

    from sim.files.table_text import table_csv

    return table_csv(pd.DataFrame(timed).assign(**setting))


def _write_csv(csv_file: Path, content: bytes) -> None:
    """Write a table, over a former file in one step; a device takes it as it is."""
    from sim.files.atomic_files import replace_file

    if csv_file.exists() and not csv_file.is_file():
        csv_file.write_bytes(content)
    else:
        replace_file(Path(os.path.realpath(csv_file)), content)


def _refuse_csv(csv_file: Path | None, overwrite: bool) -> None:
    """Refuse a file --csv that cannot be written, before any time is spent."""
    if csv_file is None:
        if overwrite:
            raise click.UsageError("--overwrite is about --csv, which is not given.")
        return
    from sim.files.paths import folder_around, output_path

    path = output_path("--csv", csv_file, "the path of a file", "Try --csv table.csv.")
    folder = folder_around("--csv", path)
    if not folder.is_dir():
        raise click.UsageError(f"--csv {csv_file}: there is no folder {csv_file.parent}.")
    if not csv_file.exists() and not os.access(folder, os.W_OK):
        raise click.UsageError(f"--csv {csv_file}: nothing may be written to the folder {csv_file.parent}.")
    if csv_file.is_fifo() or (csv_file.is_symlink() and not csv_file.exists()):
        what = "a pipe" if csv_file.exists() else "a link that leads nowhere"
        raise click.UsageError(f"--csv {csv_file} is {what}. Try the name of a file, or --json for a pipe.")
    if csv_file.is_file() and not overwrite:
        raise click.UsageError(f"--csv {csv_file} is there already. Try another name, or --overwrite.")
    if str(csv_file) == "-":
        raise click.UsageError("--csv takes the name of a file. Try --csv table.csv.")
