"""The commands of the group fit: fits of a scenario's parameters to market data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from sim.cli.delivery import Delivery
from sim.cli.messages import tell
from sim.cli.options import JSON, PATH, WholeNumber, echo, in_options, print_json, print_toml
from sim.errors import GammawallError, error_text

Command = Callable[..., Any]
DATE = click.DateTime(["%Y-%m-%d"])
FILE = PATH


def fit_options(command: Command) -> Command:
    """Add the options of every fit."""
    for option in reversed(
        (
            click.option(
                "--as-of", type=DATE, metavar="DATE", help="Last day to use.  [default: the last in the data]"
            ),
            click.option(
                "--out",
                type=FILE,
                help="Write the fragment, for run --with, to this TOML file.  [default: print it]",
            ),
            click.option("--overwrite", is_flag=True, help="Replace the file --out if it exists."),
            JSON,
        )
    ):
        command = option(command)
    return command


@click.group()
def fit() -> None:
    """Fit volatility, intraday shape or dealers' impact to data.

    Each fit prints its estimates and a TOML fragment for run --with.
    """


@fit.command()
@click.argument("ohlc", type=FILE)
@click.option(
    "--since",
    type=DATE,
    metavar="DATE",
    help="First day of returns.  [default: 1 January, ten years earlier]",
)
@fit_options
def volatility(
    ohlc: Path,
    *,
    since: dt.datetime | None,
    as_of: dt.datetime | None,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Fit GJR-GARCH with Student-t shocks to daily closes.

    OHLC is a CSV file with the columns date and close.
    """
    _prepare(out, overwrite)
    from sim.fit.volatility import fit_volatility

    with in_options("since", "as_of"):
        found = fit_volatility(ohlc, since=_date(since), as_of=_date(as_of))
    estimates = {n: f"{e.value:.4g} ({e.std_error:.2g})" for n, e in found.estimates.items()}
    comments = [
        f"GJR-GARCH with Student-t shocks: {found.returns} returns of {found.source}, {found.first} to {found.last}.",
        "With standard errors in brackets:",
        f"{', '.join(f'{n} {text}' for n, text in estimates.items())}.",
        f"annual is the volatility of the session after {found.last}.",
    ]
    document = {**found.metadata(), "persistence": found.persistence, "warnings": list(found.warnings)}
    fragment = _fragment(comments, found.scenario_keys(), found.metadata())

    def show() -> None:
        from sim.report.fit import print_volatility
        from sim.report.terminal import Terminal

        print_volatility(found, Terminal())

    _answer(document, found.scenario_keys(), fragment, out, as_json, show)


@fit.command()
@click.argument("minutes", type=FILE)
@click.option(
    "--resamples",
    type=WholeNumber(20, 100_000),
    default=200,
    show_default=True,
    help="Resamples for the errors.",
)
@click.option(
    "--seed", type=WholeNumber(0, 2**63 - 1), default=1, show_default=True, help="Seed of the resamples."
)
@fit_options
def intraday(
    minutes: Path,
    *,
    resamples: int,
    seed: int,
    as_of: dt.datetime | None,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Fit overnight share and U-shape of variance to minute bars.

    MINUTES is a CSV file with the columns datetime (New York), open, high, low and close.
    """
    _prepare(out, overwrite)
    from sim.fit.intraday import fit_intraday

    with in_options("since", "as_of"):
        found = fit_intraday(minutes, as_of=_date(as_of), resamples=resamples, seed=seed)
    error = f"standard error {found.overnight_share_error:.2g}"
    comments = [
        f"Variance within sessions: {found.sessions} sessions of {found.source}, {found.first} to {found.last}.",
        f"overnight_share {found.overnight_share:.3f}, {error}. The shape's integral over the day is 1.",
    ]
    metadata = found.metadata()
    fragment = _fragment(comments, found.scenario_keys(), metadata)

    def show() -> None:
        from sim.report.fit import print_intraday
        from sim.report.terminal import Terminal

        print_intraday(found, Terminal())

    document = {**metadata, "warnings": list(found.warnings)}
    _answer(document, found.scenario_keys(), fragment, out, as_json, show)


@fit.command()
@click.argument("dix", type=FILE)
@click.argument("ohlc", type=FILE)
@click.argument("vix", type=FILE)
@click.option(
    "--since", type=DATE, default="2023-01-01", metavar="DATE", show_default=True, help="First day to use."
)
@click.option(
    "--repeats", type=WholeNumber(50, 100_000), default=500, show_default=True, help="Bootstrap samples."
)
@click.option(
    "--seed", type=WholeNumber(0, 2**63 - 1), default=1, show_default=True, help="Seed of the bootstrap."
)
@fit_options
def impact(
    dix: Path,
    ohlc: Path,
    vix: Path,
    *,
    since: dt.datetime,
    repeats: int,
    seed: int,
    as_of: dt.datetime | None,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Fit an upper bound of the dealers' impact.

    The bound is an association of volatility with gamma exposure.

    Columns: DIX has date and gex (USD per 1% move); OHLC has date, open, high, low and close; VIX has date and close.
    """
    _prepare(out, overwrite)
    from sim.fit.impact import fit_impact

    with in_options("since", "as_of"):
        found = fit_impact(dix, ohlc, vix, since=since.date(), as_of=_date(as_of), repeats=repeats, seed=seed)
    comments = [
        f"Volatility against gamma exposure: {found.days} days, {found.first} to {found.last}, of",
        f"{', '.join(found.sources)}.",
        f"k = {found.main.k:.4f} per $bn, std error {found.std_error:.4f}, 95% {found.low:.4f} to {found.high:.4f}.",
        "An association and an upper bound. It belongs to gamma exposure as published: scale a book of a full chain",
        f"to it, --scale-to-gex {found.gex_bn:.4g} for that of {found.last}.",
    ]
    others = {other.specification.name: other.k for other in found.others}
    lost = {"lost_days": found.lost, "unmoved_days": found.unmoved}
    document = {**found.metadata(), "block_days": found.block_days, **lost, "k_of_others": others}

    def show() -> None:
        from sim.report.fit import print_impact
        from sim.report.terminal import Terminal

        print_impact(found, Terminal())

    try:
        keys = found.scenario_keys()
    except GammawallError as error:  # what was found is printed all the same
        delivery = Delivery(as_json=as_json)
        delivery.show("the fit", lambda: _print(document, None, None, as_json, show), lambda: document)
        delivery.failures.append(str(error))
        delivery.end()
        return
    _answer(document, keys, _fragment(comments, keys, found.metadata()), out, as_json, show)


def _date(value: dt.datetime | None) -> dt.date | None:
    return None if value is None else value.date()


def _prepare(out: Path | None, overwrite: bool) -> None:
    """Refuse a file --out that cannot be written, before any time is spent."""
    if out is None:
        if overwrite:
            raise click.UsageError("--overwrite is about --out, which is not given.")
        return
    from sim.scenario.fragments import refuse_fragment_file

    refuse_fragment_file(out, overwrite=overwrite)


def _fragment(
    comments: Sequence[str], keys: Mapping[str, Any], metadata: Mapping[str, Any]
) -> Callable[[], str]:
    """Function that makes a fragment's text."""

    def make() -> str:
        from sim.scenario.fragments import fragment_text

        return fragment_text(comments, keys, metadata)

    return make


def _answer(
    document: Mapping[str, Any],
    keys: Mapping[str, Any],
    fragment: Callable[[], str],
    out: Path | None,
    as_json: bool,
    show: Callable[[], None],
) -> None:
    """Write the fragment, print the estimates and, if it is not written, the fragment."""
    delivery = Delivery(as_json=as_json)
    text, written = "", None
    try:
        text = fragment()
        if out is not None:
            from sim.scenario.fragments import write_fragment

            write_fragment(out, text)
            written, delivery.saved = out, True
    except GammawallError as error:  # what was found is printed all the same
        delivery.failures.append(str(error))
    except Exception as error:
        delivery.failures.append(
            f"the fragment cannot be {'written' if text else 'made'} ({error_text(error)})."
        )

    def report() -> None:
        _print(document, keys, written, as_json, show)
        if text and not as_json and written is None:
            echo()
            print_toml(text)

    delivery.show("the fit", report, lambda: {**document, "scenario_keys": dict(keys)})
    if written is not None and not as_json:
        tell(f"fragment: {written}")
    delivery.end()


def _print(
    document: Mapping[str, Any],
    keys: Mapping[str, Any] | None,
    out: Path | None,
    as_json: bool,
    show: Callable[[], None],
) -> None:
    if not as_json:
        show()
        return
    from sim.files.json_text import plain_json

    place = None if out is None else str(out)
    print_json(
        plain_json({**document, "scenario_keys": None if keys is None else dict(keys), "fragment": place})
    )
