"""Warnings of a run, in words."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from sim.compiled.native_library import library_file, native_problem
from sim.plan.builder import Prepared
from sim.plan.outcomes import Outcomes
from sim.run.stopping import paths_wanting
from sim.scenario.model import Scenario

# Share of a session's closes beyond the histogram from which a warning is due; the outermost quantile is 1%.
LARGEST_SHARE_OUTSIDE = 0.001
MOST_STRIKES_NAMED = 12


def engine_warnings(asked: str, ran: str) -> list[str]:
    """Why a native engine that was compiled here is not the one that auto took.

    Parameters
    ----------
    asked : engine that was asked for, "auto" or a name.
    ran : name of the engine that ran.

    Returns
    -------
    At most one sentence, as of the other warnings.
    """
    problem = native_problem() if asked == "auto" and ran == "numpy" and library_file("baseline") else None
    return [] if problem is None else [f"the native engine was not used: {problem}"]


def run_warnings(outcomes: Outcomes, target_se: float | None) -> list[str]:
    """Closes outside the histogram, and a target standard error that was not reached.

    Parameters
    ----------
    outcomes : counts of a whole run.
    target_se : standard error asked for, a probability; None if none was.
    """
    warnings = []
    if target_se is not None and paths_wanting(outcomes, target_se, None) > 0:
        warnings.append(
            f"the standard error of {target_se:g} was not reached within {outcomes.paths:,} paths"
        )
    outside = float((outcomes.closes[:, [0, -1]].sum(axis=1) / outcomes.paths).max())
    if outside > LARGEST_SHARE_OUTSIDE:
        warnings.append(
            f"{outside:.2%} of the closes of a session lie outside the histogram, so that its outer quantiles "
            "are not known"
        )
    return warnings


def book_warnings(scenario: Scenario) -> list[str]:
    """How many rows of the scenario's book file have left the book by the start; none without a file or such rows."""
    book, as_of = scenario.dealers.book, scenario.market.as_of
    gone = 0 if book is None else len(book) - len(book.after(as_of))
    if book is None or not gone:
        return []
    return [
        f"{gone:,} of {len(book):,} positions of {book.file} expire by the start, the close of {as_of}: left out"
    ]


def floor_warnings(prepared: Prepared) -> list[str]:
    """Where the feedback factor's floor binds: which strikes, when, and how far, over all regimes.

    Strikes and prices are in index points, times New York's; no sentence if the floor never binds.
    """
    events = prepared.floor_events
    if not events:
        return []
    clearing_map = prepared.clearing_map
    minutes = sorted({e.minute for e in events})
    book = clearing_map.book
    rows = book.rows
    strikes: set[float] = set()
    for e in events:
        short = book.units * clearing_map.weights[e.book, rows.group] < 0
        there = (rows.strike >= e.price_low) & (rows.strike <= e.price_high) & (book.settlement >= e.minute)
        strikes.update(rows.strike[short & there].tolist())
    depths = {}
    for regime, number in zip(prepared.axes.regimes, prepared.plan.book_of_regime, strict=True):
        lowest = min((e.lowest for e in events if e.book == number), default=None)
        if lowest is not None:
            depths[regime] = f"{regime} {lowest:.1f}"
    worst = min(events, key=lambda e: e.lowest)
    return [
        f"feedback factor held at m_floor = {clearing_map.m_floor:g} near short strikes "
        f"{_strikes_listed(strikes)}, at {len(minutes)} of "
        f"{prepared.plan.steps + 1} instants from {_new_york(minutes[0])} to {_new_york(minutes[-1])} New York; "
        f"lowest by regime: {', '.join(depths.values())}; at worst {worst.lowest:.1f} from "
        f"{worst.price_low:,.0f} to {worst.price_high:,.0f} on {_new_york(worst.minute)}"
    ]


def _strikes_listed(strikes: set[float]) -> str:
    """Strikes in words: a few by name, many by their range."""
    if len(strikes) > MOST_STRIKES_NAMED:
        return f"between {min(strikes):,.0f} and {max(strikes):,.0f}"
    return ", ".join(f"{strike:,.0f}" for strike in sorted(strikes)) or "of the book"


def _new_york(minute: float) -> str:
    instant = datetime.fromtimestamp(minute * 60, tz=ZoneInfo("America/New_York"))
    return f"{instant:%Y-%m-%d %H:%M}"
