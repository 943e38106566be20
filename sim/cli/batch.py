"""The commands on families of scenarios: batch, merge and sensitivity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sim.cli.batch_options import read_bump, read_shard, run_options
from sim.cli.delivery import Delivery
from sim.cli.messages import tell
from sim.cli.options import (
    JSON,
    KEPT,
    PATH,
    SCENARIO,
    SET,
    WITH,
    WholeNumber,
    echo,
    in_options,
    kept,
    print_json,
    print_toml,
)
from sim.errors import PartlyFailedError

if TYPE_CHECKING:
    from sim.batch.family import Batch, Case
    from sim.batch.folder import BatchFolder
    from sim.batch.run import BatchRun

SENSITIVITY_PATHS = "200_000"
TO_RUN = "to run"
ARGUMENTS = ("scheduler", "workers", "devices", "threads", "tls_ca", "tls_cert", "tls_key")
NUMBERS = ("paths", "seed", "target_se", "max_paths")


@click.command()
@click.argument("file", required=False)
@click.option("--list", "as_list", is_flag=True, help="List the built-in batches.")
@click.option("--show", is_flag=True, help="Print the batch FILE, as a start for one of your own.")
@click.option("--base", metavar="SCENARIO", help="Scenario to vary instead of the one that FILE names.")
@WITH
@SET
@click.option("--only", metavar="GLOB", help="Run only cases whose names match, and always the baseline.")
@click.option(
    "--shard",
    metavar="I/N",
    callback=read_shard,
    help="Run share I of N, counted from 0; see gammawall merge.",
)
@click.option("--dry-run", is_flag=True, help="Check and list every case; simulate nothing.")
@run_options()
@click.pass_context
def batch(
    ctx: click.Context,
    /,
    file: str | None,
    *,
    as_list: bool,
    show: bool,
    base: str | None,
    fragments: tuple[Path, ...],
    overrides: tuple[str, ...],
    only: str | None,
    shard: tuple[int, int] | None,
    dry_run: bool,
    **options: Any,
) -> None:
    """Simulate a family of scenarios, from FILE or built in.

    All cases are checked before the first one runs. Each case is saved as soon as it is finished, so that --resume
    can continue an interrupted batch. Exits with 3 if some cases failed.
    """
    from sim.batch.file import BATCH_FILE, builtin_batches, load_batch
    from sim.scenario.fragments import read_fragments

    if as_list:
        found = builtin_batches()
        width = max(map(len, found))
        for name, description in found.items():
            echo(f"{name:<{width}}  {description}")
        return
    if file is None:
        raise click.UsageError("Which batch? Name a file or a built-in one; see gammawall batch --list.")
    if show:
        print_toml(BATCH_FILE.text(file))
        return
    numbers = {name: options.pop(name) for name in NUMBERS}
    read = read_fragments(fragments)
    from sim.report.batch import batch_progress

    with batch_progress(shown=not options["quiet"], doing="reading"):
        loaded = load_batch(file, base=base, overrides=overrides, fragments=read, **numbers)
        cases = loaded.selected(only, shard)
    run_family(ctx, loaded, cases, dry_run=dry_run, **options)


def run_family(
    ctx: click.Context,
    loaded: Batch,
    cases: Sequence[Case],
    *,
    dry_run: bool = False,
    finish: Callable[[BatchFolder, BatchRun], None] | None = None,
    report: Callable[[BatchRun], None] | None = None,
    document: Callable[[BatchRun], dict[str, Any]] | None = None,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    tls_ca: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    **how: Any,
) -> None:
    """Run the cases of a batch, file and print the results.

    dry_run : check and list the cases only.
    finish : function that writes further files into the folder.
    report, document : functions that print the results, and that make the document of --json; a batch's own if None.
    tls_ca, tls_cert, tls_key : certificates for a scheduler at a tls:// address.
    how : arguments of `simulate_into_folder`.
    """
    _refuse_contradictions(certificates=(tls_ca, tls_cert, tls_key), **how)
    from sim.batch.run import check_cases
    from sim.batch.simulation import simulate_into_folder
    from sim.batch.tls_files import tls_files
    from sim.report.batch import batch_progress, print_batch
    from sim.report.terminal import Terminal

    if dry_run:
        with batch_progress(shown=not quiet) as progress:
            check_cases(cases, None, progress)
        _print_dry_run(loaded, cases, _statuses(loaded, cases, out, **how), as_json)
        if not quiet:
            _tell_of_folder(loaded, out, **how)
        return

    def opened(folder: BatchFolder) -> None:
        ctx.meta[KEPT] = lambda: _kept_cases(folder)

    how |= {"cases": cases, "opened": opened, "finish": finish}
    how["tls"] = tls_files(tls_ca, tls_cert, tls_key)
    try:
        with batch_progress(shown=not quiet) as progress, in_options(*ARGUMENTS):
            run = simulate_into_folder(loaded, out, progress=progress, **how)
    except SystemExit:  # by a signal
        if KEPT in ctx.meta:
            tell(f"terminated: {kept(ctx, '')}")
        raise
    except Exception:
        if KEPT in ctx.meta:  # whatever ends it, finished cases are filed
            tell(f"note: {kept(ctx, '')}")
        raise
    ctx.meta[KEPT] = f"the results are in {run.folder}"
    _tell_notes(run)

    def show() -> None:
        if as_json:
            made = _document(loaded, run) if document is None else document(run)
            print_json({**made, "results": str(run.folder)})
        elif quiet:
            echo(str(run.folder))
        elif report is not None:
            report(run)
        else:
            print_batch(loaded, run, Terminal())

    failed, finding = len(run.failed) + len(run.failed_before), None
    if failed:
        finding = PartlyFailedError(
            f"{failed} of {len(cases)} cases failed; their tracebacks are in {run.folder / 'cases'}. "
            "Try --resume --retry-failed."
        )
    delivery = Delivery(as_json=as_json, saved=True, finding=finding)
    delivery.show("the report", show, lambda: {"case": run.rows})
    if not quiet:
        tell(_summary(run, run.folder))
    delivery.end()


def _tell_notes(run: BatchRun) -> None:
    """Print the notes on damaged files."""
    for note in run.notes:
        tell(f"note: {note}")


def _kept_cases(folder: BatchFolder) -> str:
    """Text on the finished cases that an interrupted batch has left in its folder."""
    from sim.batch.tables import FINISHED

    finished = sum(folder.status(case) == FINISHED for case in folder.batch.cases)
    if not finished:
        return f"no case had finished; start again with --resume --out {folder.path}"
    noun = "1 finished case is" if finished == 1 else f"{finished:,} finished cases are"
    return f"{noun} in {folder.path}; go on with --resume"


def _refuse_contradictions(
    *,
    resume: bool,
    accept_changes: bool,
    retry_failed: bool,
    overwrite: bool,
    threads: int | None,
    devices: tuple[int, ...] | None,
    workers: int | None,
    scheduler: str | None,
    certificates: Sequence[str | None],
    **_: Any,
) -> None:
    if accept_changes and not resume:
        raise click.UsageError("--accept-changes goes with --resume.")
    if retry_failed and not resume:
        raise click.UsageError("--retry-failed goes with --resume.")
    if resume and overwrite:
        raise click.UsageError("--resume contradicts --overwrite.")
    if scheduler is not None and (workers is not None or devices is not None):
        raise click.UsageError("--scheduler brings its own workers: leave out --workers and --devices.")
    if scheduler is None and any(certificates):
        raise click.UsageError("--tls-ca, --tls-cert and --tls-key go with --scheduler tls://….")
    if threads is not None and (workers is not None or scheduler is not None or len(devices or ()) > 1):
        raise click.UsageError("--threads is for one process. Workers have one thread each.")


def _summary(run: BatchRun, folder: Path) -> str:
    from sim.report.terminal import plural

    parts = [f"{plural(len(run.finished), 'case')} finished"]
    if run.kept:
        parts.append(f"{len(run.kept)} were finished before")
    if run.failed_before:
        parts.append(f"{len(run.failed_before)} had failed before (--retry-failed tries them again)")
    return f"{', '.join(parts)}; results: {folder}"


def _document(loaded: Batch, run: BatchRun) -> dict[str, Any]:
    """Results of a batch as one JSON document."""
    from dataclasses import asdict

    from sim.batch.tables import bands, drivers
    from sim.odds.tables import FIRST_TARGETS

    found = [driver for event in FIRST_TARGETS for driver in drivers(loaded, run.rows, event)]
    return {
        "batch": loaded.name,
        "baseline": loaded.baseline,
        "cases": run.rows,
        "bands": [asdict(band) for band in bands(run.rows)],
        "drivers": [asdict(driver) for driver in found],
    }


def _statuses(
    loaded: Batch, cases: Sequence[Case], out: Path | None, *, resume: bool, retry_failed: bool, **_: Any
) -> dict[str, str]:
    """Name of each chosen case to its status: kept from a former run, or `TO_RUN`."""
    from sim.batch.opening import filed_statuses
    from sim.batch.tables import FAILED, FINISHED

    filed = filed_statuses(loaded, out) if resume else {}
    kept = {FINISHED} if retry_failed else {FINISHED, FAILED}
    statuses = {case.name: filed.get(case.name, "") for case in cases}
    return {name: status if status in kept else TO_RUN for name, status in statuses.items()}


def _print_dry_run(loaded: Batch, cases: Sequence[Case], statuses: dict[str, str], as_json: bool) -> None:
    if as_json:
        rows = [
            {
                "scenario": case.name,
                "parameters": dict(case.parameters),
                "runs": statuses.get(case.name) == TO_RUN,
                "status": statuses.get(case.name, "left out"),
            }
            for case in loaded.cases
        ]
        print_json({"batch": loaded.name, "baseline": loaded.baseline, "paths": loaded.paths, "cases": rows})
        return
    from sim.plan.time_grid import count_steps
    from sim.report.batch import dry_run_views
    from sim.report.terminal import Terminal, plural, print_view, short_number

    for view in dry_run_views(loaded, statuses):
        print_view(view, Terminal())
        echo()
    todo = [case.scenario for case in cases if statuses[case.name] == TO_RUN]
    steps = loaded.paths * sum(count_steps(scenario) for scenario in todo if scenario)
    least = "at least " if loaded.target_se is not None else ""
    echo(f"{plural(len(todo), 'case')} to run, {least}{plural(loaded.paths, 'path')} each; all are in order.")
    echo(f"{short_number(steps)} path-steps; gammawall bench tells how many this machine does per second.")


def _tell_of_folder(loaded: Batch, out: Path | None, *, resume: bool, overwrite: bool, **_: Any) -> None:
    """Print a note on the reason why the folder could not be used, if there is one."""
    from sim.batch.opening import check_batch_folder
    from sim.errors import GammawallError

    try:
        check_batch_folder(loaded, out, resume=resume, overwrite=overwrite)
    except GammawallError as error:
        tell(f"note: {error}")


@click.command()
@click.argument("folders", nargs=-1, required=True, type=PATH)
@click.option("--out", required=True, type=PATH, help="Folder for the whole batch.")
@click.option("--overwrite", is_flag=True, help="Replace an existing batch in the folder.")
@click.option("--parquet", is_flag=True, help="Also write each table as Parquet.")
@JSON
@click.option("--quiet", is_flag=True, help="Print only the folder of the results.")
@click.pass_context
def merge(
    ctx: click.Context,
    folders: tuple[Path, ...],
    *,
    out: Path,
    overwrite: bool,
    parquet: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Join FOLDERS, the shares of a batch run with --shard.

    The result is that of one run of the whole batch. Exits with 3 if cases failed or are missing.
    """
    from sim.batch.merge import merge_folders
    from sim.files.table_files import refuse_parquet_without_pyarrow

    if parquet:
        refuse_parquet_without_pyarrow()
    from sim.report.batch import batch_progress

    with batch_progress(shown=not quiet, doing="joining"):
        loaded, run = merge_folders(folders, out, overwrite=overwrite, parquet=parquet)
    ctx.meta[KEPT] = f"the results are in {out}"
    _tell_notes(run)

    def show() -> None:
        if as_json:
            print_json({**_document(loaded, run), "results": str(out)})
        elif quiet:
            echo(str(out))
        else:
            from sim.report.batch import print_batch
            from sim.report.terminal import Terminal

            print_batch(loaded, run, Terminal())

    finished, finding = set(run.finished), None
    missing = [case.name for case in loaded.cases if case.name not in finished]
    if missing:
        named = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
        finding = PartlyFailedError(
            f"{len(missing)} of {len(loaded.cases)} cases failed or have not run in any share, or not with the "
            f"baseline: {named}. Add the shares that are missing, or run the others again with --resume "
            "--retry-failed."
        )
    delivery = Delivery(as_json=as_json, saved=True, finding=finding)
    delivery.show("the report", show, lambda: {"case": run.rows})
    if not (as_json or quiet):
        from sim.report.terminal import plural

        tell(f"{plural(len(run.finished), 'case')} joined; results: {out}")
    delivery.end()


@click.command()
@SCENARIO
@WITH
@SET
@click.option(
    "--bump",
    metavar="SHARE",
    callback=read_bump,
    default="10%",
    show_default=True,
    help="Size of the bumps, as a share of each input.",
)
@click.option("--only", metavar="GLOB", help="Bump only the inputs whose keys match.")
@click.option(
    "--top", type=WholeNumber(1), metavar="N", default=12, show_default=True, help="Inputs to print."
)
@run_options(SENSITIVITY_PATHS)
@click.pass_context
def sensitivity(
    ctx: click.Context,
    /,
    scenario: str,
    *,
    fragments: tuple[Path, ...],
    overrides: tuple[str, ...],
    bump: float,
    only: str | None,
    top: int,
    **options: Any,
) -> None:
    """Bump each input of SCENARIO and show the effect on the odds.

    Each input is bumped down and up. All cases share their draws, so that changes far smaller than the odds' own
    error can be seen. Writes a batch's files and sensitivity.csv.
    """
    from sim.batch.folder import SENSITIVITY
    from sim.batch.plans import CasePlans
    from sim.batch.sensitivity import sensitivity_batch, sensitivity_table
    from sim.batch.simulation import MOST_PLAN_BYTES
    from sim.scenario.file import load_scenario
    from sim.scenario.fragments import read_fragments

    loaded = load_scenario(scenario, overrides, read_fragments(fragments))
    numbers = {name: options.pop(name) for name in NUMBERS}
    plans = CasePlans(MOST_PLAN_BYTES)
    from sim.report.batch import batch_progress

    with batch_progress(shown=not options["quiet"], doing="reading"):
        family, bumps = sensitivity_batch(loaded, bump=bump, only=only, plans=plans, **numbers)
    tables: list[Any] = []

    def finish(folder: BatchFolder, _run: BatchRun) -> None:
        tables.append(sensitivity_table(folder, bumps))
        folder.save_table(SENSITIVITY, tables[0])

    def report(_run: BatchRun) -> None:
        from sim.report.batch import event_names, print_sensitivity
        from sim.report.terminal import Terminal

        print_sensitivity(loaded.name, tables[0], event_names([loaded]), top, Terminal())

    def document(_run: BatchRun) -> dict[str, Any]:
        from sim.files.json_text import json_rows

        return {"scenario": loaded.name, "bump": bump, "sensitivity": json_rows(tables[0])}

    run_family(
        ctx, family, family.cases, finish=finish, report=report, document=document, plans=plans, **options
    )


BATCH_COMMANDS = (batch, merge, sensitivity)
