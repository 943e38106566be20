"""Report of fits on the terminal: estimates with their errors and caveats."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sim.fit.impact import BP_PER_K
from sim.report.terminal import new_table, number_text, plural, print_view, print_warning
from sim.scenario.model import UShape, Volatility

if TYPE_CHECKING:
    from sim.fit.impact import ImpactFit
    from sim.fit.intraday import IntradayFit
    from sim.fit.volatility import VolatilityFit

LETTERS = {"omega": "ω", "alpha": "α", "gamma": "γ", "beta": "β", "tail_dof": "ν", "mean": "μ"}
UNITS = {"omega": "percent² per session", "mean": "percent per session"}
IMPACT_CAVEAT = (
    "An association, and an upper bound: gamma exposure is high when markets are calm anyway, and what the controls "
    "miss of that calm counts as the dealers' doing. Order-flow studies say 0.6 to 2 basis points per $bn."
)
GEX_CAVEAT = (
    "The impact belongs to gamma exposure as published. A book of a full chain is another size, often three times as "
    "large: scale it with --scale-to-gex before this impact moves it."
)


def print_volatility(fit: VolatilityFit, console: Console) -> None:
    """Print a fit of the volatility: estimates with standard errors, volatilities, warnings."""
    used = f"{fit.source}: {fit.returns:,} daily returns, {fit.first} to {fit.last}"
    console.print(Text(f"{used}{_left_out(fit)}", "bold"))
    console.print()
    table = new_table()
    table.add_column("GJR-GARCH, Student-t", no_wrap=True)
    for heading in ("estimate", "std error"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for name, estimate in fit.estimates.items():
        numbers = (number_text(number, ".4f") for number in (estimate.value, estimate.std_error))
        table.add_row(f"{LETTERS[name]}  {name}", *numbers, UNITS.get(name, ""))
    print_view(table, console)
    console.print()
    console.print(f"next session's volatility   {fit.annual:.2%} per year")
    console.print(f"long-run volatility         {fit.long_run_annual:.2%} per year")
    console.print(
        f"persistence α + γ/2 + β     {fit.persistence:.4f}, half gone in {_half_life(fit.persistence)}"
    )
    console.print(Text(f"log-likelihood {fit.log_likelihood:,.2f}", "dim"))
    for warning in fit.warnings:
        print_warning(warning, console)


def print_intraday(fit: IntradayFit, console: Console) -> None:
    """Print a fit of the variance within sessions: overnight share and U with standard errors, warnings."""
    used = f"{plural(fit.sessions, 'session')}, {fit.first} to {fit.last}"
    console.print(Text(f"{fit.source}: {used}", "bold"))
    counts = [f"{plural(count, 'session')} that {reason}" for reason, count in fit.dropped.items()]
    counts += [f"{plural(count, 'bar')} {reason}" for reason, count in fit.bars_left_out.items()]
    lacks = ((fit.minutes_missing, "minute"), (fit.sessions_absent, "session"))
    missing = [plural(count, noun) for count, noun in lacks if count]
    if counts:
        console.print(Text(f"left out: {', '.join(counts)}", "dim"))
    if missing:
        console.print(Text(f"missing: {', '.join(missing)}", "dim"))
    console.print()
    table = new_table()
    table.add_column("variance of a session", no_wrap=True)
    for heading in ("estimate", "std error", "built in"):
        table.add_column(heading, justify="right", no_wrap=True)
    usual = Volatility.model_fields["overnight_share"].default
    table.add_row(
        "overnight_share", f"{fit.overnight_share:.3f}", f"{fit.overnight_share_error:.3f}", f"{usual:g}"
    )
    built_in = UShape()
    for name, error in fit.u_shape_error.items():
        found, usual = getattr(fit.u_shape, name), getattr(built_in, name)
        table.add_row(f"u_shape.{name}", f"{found:.4f}", f"{error:.4f}", f"{usual:g}")
    print_view(table, console)
    console.print()
    console.print(
        Text(
            "density of the variance over the day, u from 0 to 1: base + open·e^(−u/open_fade) + "
            f"close·e^(−(1−u)/close_fade). Errors: {fit.resamples:,} resamples of sessions; "
            f"{plural(fit.winsorised, 'extreme move')} cut to 5 robust deviations; uncut, the overnight share is "
            f"{fit.overnight_share_plain:.3f}.",
            "dim",
        )
    )
    for told in fit.warnings:
        print_warning(told, console)


def print_impact(fit: ImpactFit, console: Console) -> None:
    """Print a fit of the impact: k under every specification with its interval, and the impact."""
    counts = ((fit.lost, "not in all three files"), (fit.unmoved, "without a range"))
    lost = "".join(f"; {plural(count, 'day')} {why}" for count, why in counts if count)
    console.print(
        Text(f"{', '.join(fit.sources)}: {fit.days:,} days, {fit.first} to {fit.last}{lost}", "bold")
    )
    console.print()
    console.print(
        Text(
            f"k = {fit.main.k:.4f} per $bn, 95% {fit.low:.4f} to {fit.high:.4f}: impact_bp_per_bn = "
            f"{fit.impact_bp_per_bn:.2f}, {BP_PER_K * fit.low:.2f} to {BP_PER_K * fit.high:.2f}, an upper bound by "
            "design.",
            "bold",
        )
    )
    console.print()
    print_view(_specifications(fit), console)
    console.print()
    console.print(
        Text(
            f"volatility ∝ 1/(1 + k·GEX), GEX of the day before: mean {fit.gex_mean_bn:.2f}, last "
            f"{fit.gex_bn:.2f} $bn. Stationary bootstrap, {fit.repeats:,} repeats, blocks of {fit.block_days} days.",
            "dim",
        )
    )
    console.print(Text(IMPACT_CAVEAT, "italic"))
    console.print(Text(GEX_CAVEAT, "italic"))


def _specifications(fit: ImpactFit) -> Table:
    table = new_table()
    table.add_column("controls", no_wrap=True)
    for heading in ("k", "std error", "impact_bp_per_bn", "R²", "days"):
        table.add_column(heading, justify="right", no_wrap=True)
    for estimate in (fit.main, *fit.others):
        error = f"{fit.std_error:.4f}" if estimate is fit.main else ""
        cells = [f"{estimate.k:.4f}", error, f"{BP_PER_K * estimate.k:.2f}"]
        cells += [f"{estimate.r_squared:.2f}", f"{estimate.days:,}"]
        table.add_row(estimate.specification.name, *cells, style="bold" if estimate is fit.main else "")
    return table


def _left_out(fit: VolatilityFit) -> str:
    counts = (
        (fit.dropped, "row", "without a number"),
        (fit.untraded, "row", "on days without trading"),
        (fit.spanning, "return", "over more than one session"),
    )
    parts = [f"{plural(count, noun)} {why}" for count, noun, why in counts if count]
    return f"; left out: {', '.join(parts)}" if parts else ""


def _half_life(persistence: float) -> str:
    if not 0 < persistence < 1:
        return "no time"
    return plural(max(1, round(math.log(0.5) / math.log(persistence))), "session")
