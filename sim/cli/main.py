"""The command `gammawall`: parse, call, print.

Everything heavier than click is imported by the command that needs it. Data goes to stdout, progress and messages to
stderr. Exit codes: 0, 1 failed, 2 usage or bad input, 3 a batch partly failed, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from sim.cli.batch import BATCH_COMMANDS
from sim.cli.book import book
from sim.cli.fit import fit
from sim.cli.options import (
    DEFAULT_PATHS,
    DEFAULT_SCENARIO,
    DEVICES,
    ENGINE,
    JSON,
    KEPT,
    SCENARIO,
    SEED,
    SET,
    THREADS,
    WITH,
    count_from,
    kept,
    print_json,
    read_numbers,
    read_standard_error,
    tell,
)
from sim.cli.run import run
from sim.errors import GammawallError

INTERRUPTED = 130


class Commands(click.Group):
    """Group of commands, listed as defined, that turns expected failures into messages and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names as defined, the main one first."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            value = super().invoke(ctx)
            sys.stdout.flush()
        except GammawallError as error:
            for line in str(error).splitlines():
                tell(f"error: {line}")
            ctx.exit(error.exit_code)
        except MemoryError:
            tell("error: out of memory. Try fewer --threads, a shorter horizon or fewer steps_per_session.")
            ctx.exit(1)
        except KeyboardInterrupt:
            tell(f"interrupted: {kept(ctx, 'nothing was written')}")
            ctx.exit(INTERRUPTED)
        except OSError as error:
            ctx.exit(_end_output(error, kept(ctx, "")))
        return value


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gammawall-sim", prog_name="gammawall", message="%(prog)s %(version)s")
def cli() -> None:
    """Odds of the S&P 500 at the dealers' gamma wall, by Monte Carlo."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a terminal that cannot show a letter gets a substitute rather than a traceback
        sys.stdout.reconfigure(errors="replace")


cli.add_command(run)
cli.add_command(book)


@cli.group()
def scenario() -> None:
    """List, show or check scenarios."""


@scenario.command("list")
def list_scenarios() -> None:
    """List the built-in scenarios."""
    from sim.scenario.file import builtin_scenarios

    found = builtin_scenarios()
    width = max(len(name) for name in found)
    for name, description in found.items():
        click.echo(f"{name:<{width}}  {description}")


@scenario.command()
@click.argument("name", default=DEFAULT_SCENARIO)
@WITH
@SET
def show(name: str, fragments: tuple[Path, ...], overrides: tuple[str, ...]) -> None:
    """Print a built-in scenario NAME or a TOML file with every key and default."""
    from sim.scenario.file import load_scenario
    from sim.scenario.fragments import read_fragments
    from sim.scenario.toml import scenario_to_toml

    click.echo(scenario_to_toml(load_scenario(name, overrides, read_fragments(fragments))), nl=False)


@scenario.command("check")
@click.argument("file")
@WITH
@SET
def check_scenario(file: str, fragments: tuple[Path, ...], overrides: tuple[str, ...]) -> None:
    """Check a scenario, a FILE or a built-in name, and list all problems."""
    from sim.plan.builder import prepare
    from sim.scenario.file import load_scenario, scenario_hash
    from sim.scenario.fragments import read_fragments

    loaded = load_scenario(file, overrides, read_fragments(fragments))
    prepared = prepare(loaded, file)
    market, targets, sessions = loaded.market, loaded.targets, prepared.grid.sessions
    click.echo(f"ok: {loaded.name}")
    click.echo(f"start      {market.spot:,.2f} at the close of {market.as_of}")
    click.echo(f"horizon    {len(sessions)} sessions, {sessions[0]} to {sessions[-1]}")
    click.echo(f"targets    {targets.upper:,.10g} above, {targets.lower:,.10g} below")
    click.echo(f"levels     {', '.join(f'{level:,.10g}' for level in loaded.all_levels)}")
    book = loaded.dealers.book
    rows = "" if book is None else f", {len(book.after(market.as_of)):,} of {book.file}"
    click.echo(f"dealers    {len(loaded.dealers.position)} positions{rows}")
    click.echo(f"regimes    {', '.join(['initial', *(regime.name for regime in loaded.regime)])}")
    click.echo(f"catalysts  {', '.join(f'{c.name} on {c.session}' for c in loaded.catalyst) or 'none'}")
    click.echo(f"hash       {scenario_hash(loaded)}")


@cli.command()
@click.argument("path", metavar="N", callback=count_from(0))
@SCENARIO
@SEED
@WITH
@SET
@JSON
def trace(
    path: int,
    scenario: str,
    *,
    seed: int,
    fragments: tuple[Path, ...],
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Replay path N alone and print it day by day."""
    from sim.files.json_text import json_rows
    from sim.run.trace import trace_path
    from sim.scenario.file import load_scenario
    from sim.scenario.fragments import read_fragments

    loaded = load_scenario(scenario, overrides, read_fragments(fragments))
    days = trace_path(loaded, path, seed=seed, where=scenario)
    if as_json:
        print_json({"scenario": loaded.name, "seed": seed, "path": path, "days": json_rows(days)})
        return
    from sim.report.terminal import Terminal, print_view
    from sim.report.trace import trace_view

    print_view(trace_view(days), Terminal())


@cli.command()
@SCENARIO
@click.option(
    "--paths",
    metavar="N",
    callback=count_from(1),
    default=DEFAULT_PATHS,
    show_default=True,
    help="Paths to simulate.",
)
@SEED
@ENGINE
@DEVICES
@THREADS
@WITH
@SET
@JSON
def check(
    scenario: str,
    *,
    paths: int,
    seed: int,
    engine: str,
    devices: tuple[int, ...] | None,
    threads: int | None,
    fragments: tuple[Path, ...],
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compare the simulation with closed forms and the PDE.

    SCENARIO is simplified to a form that has such answers: permanent impact, constant variance, no regimes. Exits
    with 1 if a z-score is beyond 4.5.
    """
    from sim.check.checks import checks_on
    from sim.engines.choice import choose
    from sim.scenario.file import load_scenario
    from sim.scenario.fragments import read_fragments

    loaded = load_scenario(scenario, overrides, read_fragments(fragments))
    worker = choose(engine, threads, devices=devices)
    checks = checks_on(worker, loaded, paths, seed, scenario)
    ran = {"engine": worker.name, "device": worker.device, "threads": worker.threads}
    failed = [c.name for c in checks if not c.ok]
    if as_json:
        fields = ("name", "expected", "simulated", "std_error", "z", "ok")
        rows = [{name: getattr(c, name) for name in fields} for c in checks]
        document = {"scenario": loaded.name, "seed": seed, "paths": paths, **ran}
        print_json({**document, "ok": not failed, "checks": rows})
    else:
        from sim.report.check import check_view
        from sim.report.run import engine_line
        from sim.report.terminal import Terminal, print_view

        terminal = Terminal()
        print_view(check_view(checks), terminal)
        terminal.print(engine_line(ran))
    if failed:
        raise GammawallError(f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}.")


@cli.command()
@JSON
def engines(as_json: bool) -> None:
    """List the engines available here and how to get the others."""
    from dataclasses import asdict

    from sim.run.bench import engine_states

    states = engine_states()
    if as_json:
        auto = next(state.engine for state in states if state.available)
        print_json({"auto": auto, "engines": [asdict(state) for state in states]})
        return
    from sim.report.engines import print_engines
    from sim.report.terminal import Terminal

    print_engines(states, Terminal())


@cli.command()
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
    callback=read_numbers(1),
    default="1",
    show_default=True,
    help="Processors to use; one row per number.",
)
@DEVICES
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="Runs per row.")
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
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
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

    import pandas as pd

    from sim.files.json_text import json_rows
    from sim.report.engines import print_bench
    from sim.report.terminal import Terminal
    from sim.run.bench import Timing, timings
    from sim.scenario.file import load_scenario, scenario_hash
    from sim.scenario.fragments import read_fragments

    loaded = load_scenario(scenario, overrides, read_fragments(fragments))
    setting: dict[str, Any] = {"scenario": loaded.name, "scenario_hash": scenario_hash(loaded)}
    setting["target_se"] = target_se
    timed: list[Timing] = []
    try:
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
    finally:
        # whatever ends it, what has been timed is shown
        if timed:
            rows = pd.DataFrame(timed)
            try:
                if csv_file is not None:
                    _write_csv(csv_file, rows.assign(**setting).to_csv(index=False, lineterminator="\n"))
                    ctx.meta[KEPT] = f"what was timed is in {csv_file}"
            except OSError as error:
                why = f"{csv_file} cannot be written: {error.strerror}; the table is on stdout."
                raise GammawallError(f"{why} Try another place for --csv.") from error
            finally:
                if as_json:
                    print_json({**setting, "repeats": repeats, "rows": json_rows(rows)})
                else:
                    print_bench(rows, target_se, Terminal())
    if any(row.counts == "DIFFERENT" for row in timed):
        raise GammawallError("the counts differ between engines. Please report this with the table.")


for command in (*BATCH_COMMANDS, fit):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    # as an exception, so that worker processes end and no half-written folder stays
    signal.signal(signal.SIGTERM, _terminate)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # closed by the caller; open again, so that no other file takes its number, here or in a worker
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)
    try:
        cli.main(args=arguments, prog_name="gammawall")
    except OSError as error:
        sys.exit(_end_output(error, ""))
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # all that is left is to end


def _terminate(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _end_output(error: OSError, kept: str) -> int:
    """Exit code after a failed write to stdout, or another error of the system."""
    # what is still buffered must not fail again at exit
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return 0  # the reader has seen enough
    place = os.fsdecode(error.filename) if error.filename else "the output cannot be written"
    tell(f"error: {place}: {error.strerror or error}" + (f"; {kept}" if kept else ""))
    return 1


def _write_csv(csv_file: Path, text: str) -> None:
    """Write a table, over a former file in one step; a device takes it as it is."""
    from sim.files.atomic_files import replace_file

    if csv_file.exists() and not csv_file.is_file():
        csv_file.write_text(text, encoding="utf-8")
    else:
        replace_file(Path(os.path.realpath(csv_file)), text)


def _refuse_csv(csv_file: Path | None, overwrite: bool) -> None:
    """Refuse a file --csv that cannot be written, before any time is spent."""
    if csv_file is None:
        return
    folder = csv_file.absolute().parent
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


if __name__ == "__main__":
    main()
