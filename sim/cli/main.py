"""The command `gammawall`: parse, call, print.

Everything heavier than click is imported by the command that needs it. Data goes to stdout, progress and messages to
stderr. Exit codes: 0, 1 failed, 2 usage or bad input, 3 a batch partly failed, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from sim.cli.batch import BATCH_COMMANDS
from sim.cli.bench import bench
from sim.cli.book import book
from sim.cli.delivery import Delivery, silence_stdout
from sim.cli.fit import fit
from sim.cli.help_texts import restore_help
from sim.cli.messages import NOTHING_WRITTEN, end_code, tell
from sim.cli.options import (
    DEFAULT_PATHS,
    DEFAULT_SCENARIO,
    DEVICES,
    ENGINE,
    JSON,
    SCENARIO,
    SEED,
    SET,
    THREADS,
    WITH,
    count_from,
    echo,
    in_options,
    kept,
    print_json,
    print_toml,
)
from sim.cli.run import run
from sim.cli.signals import end_on_signals, ignore_signals, signal_code
from sim.errors import GammawallError
from sim.files.terminal_text import STAND_IN, printable


class Commands(click.Group):
    """Group of commands, listed as defined, that turns expected failures into messages and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names as defined, the main one first."""
        return list(self.commands)

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Parse the arguments of the group; click would take an interruption for an error."""
        try:
            return super().make_context(*arguments, **options)
        except KeyboardInterrupt as error:
            sys.exit(end_code(error))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            value = super().invoke(ctx)
            sys.stdout.flush()
        except GammawallError as error:
            for line in str(error).split("\n"):  # and at no other separator, which a name may hold
                tell(f"error: {line}")
            ctx.exit(error.exit_code)
        except MemoryError:
            tell("error: out of memory. Try fewer --threads, a shorter horizon or fewer steps_per_session.")
            ctx.exit(1)
        except KeyboardInterrupt as error:
            ctx.exit(end_code(error, kept(ctx, NOTHING_WRITTEN)))
        except click.ClickException as error:
            vars(error)["message"] = printable(error.message)
            raise
        except OSError as error:
            ctx.exit(_end_output(error, kept(ctx, "")))
        except Exception as error:
            if signal_code() is None or isinstance(error, click.exceptions.Exit):
                raise
            ctx.exit(end_code(error, kept(ctx, NOTHING_WRITTEN)))
        return value


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gammawall-sim", prog_name="gammawall", message="%(prog)s %(version)s")
def cli() -> None:
    """Odds of the S&P 500 at the dealers' gamma wall, by Monte Carlo."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # a terminal that cannot show a letter gets a stand-in rather than a traceback
            stream.reconfigure(errors=STAND_IN)


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
        echo(f"{name:<{width}}  {description}")


@scenario.command()
@click.argument("name", default=DEFAULT_SCENARIO)
@WITH
@SET
def show(name: str, fragments: tuple[Path, ...], overrides: tuple[str, ...]) -> None:
    """Print a built-in scenario NAME or a TOML file with every key and default."""
    from sim.scenario.file import load_scenario
    from sim.scenario.fragments import read_fragments
    from sim.scenario.toml import scenario_to_toml

    print_toml(scenario_to_toml(load_scenario(name, overrides, read_fragments(fragments))))


@scenario.command("check")
@click.argument("file")
@WITH
@SET
def check_scenario(file: str, fragments: tuple[Path, ...], overrides: tuple[str, ...]) -> None:
    """Check a scenario, a FILE or a built-in name, and list all problems."""
    from sim.plan.builder import prepare
    from sim.report.terminal import plural
    from sim.scenario.file import load_scenario, scenario_hash
    from sim.scenario.fragments import read_fragments

    loaded = load_scenario(file, overrides, read_fragments(fragments))
    prepared = prepare(loaded, file)
    market, targets, sessions = loaded.market, loaded.targets, prepared.grid.sessions
    echo(f"ok: {loaded.name}")
    echo(f"start      {market.spot:,.2f} at the close of {market.as_of}")
    echo(f"horizon    {len(sessions)} sessions, {sessions[0]} to {sessions[-1]}")
    echo(f"targets    {targets.upper:,.10g} above, {targets.lower:,.10g} below")
    echo(f"levels     {', '.join(f'{level:,.10g}' for level in loaded.all_levels)}")
    book = loaded.dealers.book
    rows = "" if book is None else f", {len(book.after(market.as_of)):,} of {book.file}"
    echo(f"dealers    {plural(len(loaded.dealers.position), 'position')}{rows}")
    echo(f"regimes    {', '.join(['initial', *(regime.name for regime in loaded.regime)])}")
    echo(f"catalysts  {', '.join(f'{c.name} on {c.session}' for c in loaded.catalyst) or 'none'}")
    echo(f"hash       {scenario_hash(loaded)}")


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

    def show() -> None:
        if as_json:
            print_json({"scenario": loaded.name, "seed": seed, "path": path, "days": json_rows(days)})
            return
        from sim.report.terminal import Terminal, print_view
        from sim.report.trace import trace_view

        print_view(trace_view(days), Terminal())

    delivery = Delivery(as_json=as_json)
    delivery.show("the path", show, lambda: {"day": days})
    delivery.end()


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
    with in_options("devices"):
        worker = choose(engine, threads, devices=devices)
    checks = checks_on(worker, loaded, paths, seed, scenario)
    ran = {"engine": worker.name, "device": worker.device, "threads": worker.at_work}
    failed = [c.name for c in checks if not c.ok]

    def show() -> None:
        if as_json:
            fields = ("name", "expected", "simulated", "std_error", "z", "ok")
            rows = [{name: getattr(c, name) for name in fields} for c in checks]
            document = {"scenario": loaded.name, "seed": seed, "paths": paths, **ran}
            print_json({**document, "ok": not failed, "checks": rows})
            return
        from sim.report.check import check_view
        from sim.report.run import engine_line
        from sim.report.terminal import Terminal, print_view

        terminal = Terminal()
        print_view(check_view(checks), terminal)
        terminal.print(engine_line(ran))

    finding = None
    if failed:
        finding = GammawallError(f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}.")
    delivery = Delivery(as_json=as_json, finding=finding)
    delivery.show("the checks", show, lambda: {"check": list(checks)})
    delivery.end()


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


for command in (bench, *BATCH_COMMANDS, fit):
    cli.add_command(command)
if not __debug__:
    restore_help(cli)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # closed by the caller; open again, so that no other file takes its number, here or in a worker
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)
    end_on_signals()
    try:
        cli.main(args=arguments, prog_name="gammawall")
    except OSError as error:
        sys.exit(_end_output(error, ""))
    except Exception as error:
        sys.exit(end_code(error))
    finally:
        ignore_signals()  # all that is left is to end


def _end_output(error: OSError, kept: str) -> int:
    """Exit code after a failed write to stdout, or another error of the system."""
    silence_stdout()
    if isinstance(error, BrokenPipeError):
        return 0  # the reader has seen enough
    place = os.fsdecode(error.filename) if error.filename else "the output cannot be written"
    tell(f"error: {place}: {error.strerror or error}" + (f"; {kept}" if kept else ""))
    return 1


if __name__ == "__main__":
    main()
