"""The command run: simulate a scenario, or an option chain, and print its odds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.core import ParameterSource

from sim.cli.chain_options import CHAIN_FORMATS, CHAIN_NAMES, chain_options, read_book
from sim.cli.delivery import Delivery
from sim.cli.messages import tell
from sim.cli.options import (
    ADDRESSES,
    DEFAULT_PATHS,
    DEVICES,
    ENGINE,
    JSON,
    KEPT,
    MAX_PATHS,
    PATH,
    SCENARIO,
    SEED,
    SET,
    TARGET_SE,
    THREADS,
    WITH,
    count_from,
    echo,
    in_options,
    print_json,
    read_finite,
    refuse_silence,
)

if TYPE_CHECKING:
    from sim.scenario.fragments import Fragment
    from sim.scenario.model import Scenario


class _Loaded(NamedTuple):
    """A scenario as loaded, its name in messages, and the fragments read from files."""

    scenario: Scenario
    where: str
    fragments: tuple[Fragment, ...]


@click.command()
@SCENARIO
@click.option(
    "--chain",
    type=PATH,
    help=f"Simulate this option chain instead of SCENARIO: {CHAIN_FORMATS}.",
)
@click.option(
    "--until", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE", help="Last session of the horizon."
)
@click.option("--upper", type=float, callback=read_finite, metavar="LEVEL", help="Target above the index.")
@click.option("--lower", type=float, callback=read_finite, metavar="LEVEL", help="Target below the index.")
@WITH
@chain_options
@click.option(
    "--paths",
    metavar="N",
    callback=count_from(1),
    default=DEFAULT_PATHS,
    show_default=True,
    help="Paths to simulate.",
)
@click.option(
    "--first-path",
    metavar="N",
    callback=count_from(0),
    default="0",
    show_default=True,
    help="Number of the first path; lets a run be split.",
)
@SEED
@ENGINE
@DEVICES
@THREADS
@TARGET_SE
@MAX_PATHS
@SET
@click.option("--out", type=PATH, help="Folder for the results.  [default: results/<scenario>]")
@click.option("--no-save", is_flag=True, help="Write no files.")
@click.option("--overwrite", is_flag=True, help="Replace an existing result folder.")
@JSON
@click.option("--quiet", is_flag=True, help="Print only the folder of the results.")
@click.pass_context
def run(
    ctx: click.Context,
    /,
    scenario: str,
    *,
    chain: Path | None,
    until: dt.datetime | None,
    upper: float | None,
    lower: float | None,
    fragments: tuple[Path, ...],
    paths: int,
    first_path: int,
    seed: int,
    engine: str,
    devices: tuple[int, ...] | None,
    threads: int | None,
    target_se: float | None,
    max_paths: int | None,
    overrides: tuple[str, ...],
    out: Path | None,
    no_save: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **of_chain: Any,
) -> None:
    """Simulate SCENARIO, or an option chain, and print the odds.

    SCENARIO is a built-in name or a TOML file. With --chain the dealers' book, the start and the volatility come from
    the chain; the targets are round levels unless --upper and --lower are given. The results are written to a new
    folder, completely or not at all.
    """
    _refuse_contradictions(first_path + paths, paths, target_se, max_paths, no_save, out, overwrite)
    refuse_silence(quiet=quiet, no_save=no_save, as_json=as_json)
    _refuse_chain_options(ctx, chain)

    from sim.files.output_folder import Saved, prepare_output
    from sim.odds.plain import plain_odds
    from sim.run.results import RUN_FOLDER, run_document, save_results
    from sim.run.simulation import simulate

    asked = _Asked(None if until is None else until.date(), upper, lower)
    if chain is None:
        loaded = _load(scenario, fragments, asked, overrides)
    else:
        loaded = _load_chain(chain, of_chain, fragments, asked, overrides)
    place = None if no_save else prepare_output(loaded.scenario.name, RUN_FOLDER, out, overwrite=overwrite)

    from sim.plan.time_grid import count_steps
    from sim.report.run import print_report, progress_bar
    from sim.report.terminal import Terminal

    with progress_bar(count_steps(loaded.scenario), shown=not quiet) as progress, in_options("devices"):
        if progress is not None:
            progress(0, paths)
        result = simulate(
            loaded.scenario,
            paths=paths,
            first_path=first_path,
            seed=seed,
            engine=engine,
            threads=threads,
            devices=devices,
            target_se=target_se,
            max_paths=max_paths,
            progress=progress,
            where=loaded.where,
            fragments=loaded.fragments,
        )
    saved = Saved(None, (), whole=False) if place is None else save_results(result, place)
    folder = saved.folder
    if folder is not None:
        ctx.meta[KEPT] = f"the results are in {folder}"

    def show() -> None:
        if as_json:
            print_json(run_document(result, folder))
        elif not quiet or (saved.failures and not saved.whole):  # the numbers must not be lost
            print_report(result, Terminal())
        elif folder is not None:
            echo(str(folder))

    delivery = Delivery(as_json=as_json, saved=saved.whole, failures=saved.failures)
    delivery.show("the report", show, lambda: plain_odds(result.outcomes, result.axes))
    if folder is not None and not quiet:
        tell(f"results: {folder}")
    delivery.end()


class _Asked(NamedTuple):
    """Horizon and targets stated on the command line."""

    until: dt.date | None
    upper: float | None
    lower: float | None

    @property
    def fragments(self) -> list[Fragment]:
        """Fragments that state them as keys of a scenario, one per option given."""
        from sim.scenario.fragments import Fragment

        stated = (
            ("--until", "market", "until", self.until),
            ("--upper", "targets", "upper", self.upper),
            ("--lower", "targets", "lower", self.lower),
        )
        return [
            Fragment(name, {table: {key: value}}, {})
            for name, table, key, value in stated
            if value is not None
        ]


def _load(scenario: str, fragments: tuple[Path, ...], asked: _Asked, overrides: tuple[str, ...]) -> _Loaded:
    from sim.scenario.file import load_scenario
    from sim.scenario.fragments import read_fragments

    read = read_fragments(fragments)
    return _Loaded(load_scenario(scenario, overrides, [*read, *asked.fragments]), scenario, tuple(read))


def _load_chain(
    chain: Path,
    of_chain: Mapping[str, Any],
    fragments: tuple[Path, ...],
    asked: _Asked,
    overrides: tuple[str, ...],
) -> _Loaded:
    from sim.chain.scenario import Horizon, scenario_of_chain
    from sim.scenario.fragments import read_fragments

    read = read_fragments(fragments)
    book = read_book(chain, of_chain)
    with in_options("until", "upper", "lower", "as_of"):
        horizon = Horizon(asked.until, asked.upper, asked.lower)
        scenario = scenario_of_chain(
            book, horizon, overrides=overrides, fragments=[*read, *asked.fragments], where=str(chain)
        )
    return _Loaded(scenario, str(chain), tuple(read))


def _refuse_chain_options(ctx: click.Context, chain: Path | None) -> None:
    if chain is None:
        stray = [
            name for name in CHAIN_NAMES if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        ]
        if stray:
            option = next(p.opts[0] for p in ctx.command.params if p.name == stray[0])
            raise click.UsageError(f"{option} is about an option chain, and there is no --chain.")
    elif ctx.get_parameter_source("scenario") is ParameterSource.COMMANDLINE:
        raise click.UsageError(
            "--chain takes the place of SCENARIO; to change its keys, try --with or --set."
        )


def _refuse_contradictions(
    end: int,
    paths: int,
    target_se: float | None,
    max_paths: int | None,
    no_save: bool,
    out: Path | None,
    overwrite: bool,
) -> None:
    if end > ADDRESSES:
        raise click.UsageError("--first-path and --paths together go beyond path 2^64 - 1.")
    if max_paths is not None and target_se is None:
        raise click.UsageError("--max-paths limits --target-se, which is not given.")
    if max_paths is not None and max_paths < paths:
        raise click.UsageError(f"--max-paths {max_paths} is less than --paths {paths}.")
    if no_save and (out is not None or overwrite):
        raise click.UsageError("--no-save contradicts --out and --overwrite.")
