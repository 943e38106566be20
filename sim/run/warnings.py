"""Warnings of a run: sentences about its engine, counts, book, fits and map that a reader of the odds should know.

What is to be known of an option chain comes as notes of its scenario (`sim.chain.scenario`).
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from pathlib import Path

from sim.compiled.native_library import compiled_builds, file_of
from sim.engines.choice import AUTO
from sim.engines.native_builds import native_problem, passed_over_builds
from sim.market.calendar import NEW_YORK
from sim.plan.builder import Prepared
from sim.plan.outcomes import Outcomes
from sim.run.stopping import paths_wanting
from sim.scenario.fragments import Fragment, holds_fragment
from sim.scenario.model import Scenario
from sim.scenario.validation import scenario_data

# Share of a session's closes beyond the histogram from which a warning is due; the outermost quantile is 1%.
LARGEST_SHARE_OUTSIDE = 0.001
MOST_STRIKES_NAMED = 12


def engine_warnings(asked: str, ran: str) -> list[str]:
    """Reasons why "auto" passed over a native engine that was compiled here, or native over faster builds of it.

    Parameters
    ----------
    asked : engine that was asked for, "auto" or a name.
    ran : name of the engine that ran.

    Returns
    -------
    A sentence for each.
    """
    if asked == AUTO and ran == "numpy" and compiled_builds():
        problem = native_problem()
        return [] if problem is None else [_without_folders(f"the native engine was not used: {problem}")]
    if ran == "native":
        refused = passed_over_builds()
        return [
            _without_folders(f"the {build} build of the native engine was not used: {why}")
            for build, why in refused.items()
        ]
    return []


def _without_folders(text: str) -> str:
    """Text without the folders that this package is installed in: results are shown to others."""
    package = Path(__file__).resolve().parents[1]
    for folder in (*(file_of(build).parent for build in compiled_builds()), package, package.parent):
        text = text.replace(f"{folder}{os.sep}", "")
    return text


def run_warnings(outcomes: Outcomes, target_se: float | None) -> list[str]:
    """Warnings about closes outside the histogram and a target standard error that was not reached.

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
    """Warning about rows of the scenario's book file that have expired by the start; none without such rows."""
    book, as_of = scenario.dealers.book, scenario.market.as_of
    gone = 0 if book is None else len(book) - len(book.after(as_of))
    if book is None or not gone:
        return []
    return [
        f"{gone:,} of {len(book):,} positions of {book.file} expire by the start, the close of {as_of}: left out"
    ]


def date_notes(fragments: Sequence[Fragment], as_of: dt.date) -> list[str]:
    """Warnings about fits whose last day is not the day on which paths start, at most one for each.

    A fit to later days knows what came after the start; a volatility fitted to earlier days is of another session.
    """
    notes = []
    for fragment in fragments:
        last = fragment.fit.get("last")
        if not isinstance(last, dt.date) or isinstance(last, dt.datetime):
            continue
        if last > as_of:
            known = f"and so knows what came after the start, {as_of}"
            notes.append(f"{fragment.where} was fitted to data up to {last}, {known}")
        elif last < as_of and fragment.fit.get("kind") == "volatility":
            notes.append(
                f"{fragment.where}: annual is the volatility of the session after {last}, and paths start at the "
                f"close of {as_of}: try gammawall fit volatility --as-of {as_of}"
            )
    return notes


def absent_fragments(fragments: Sequence[Fragment], scenario: Scenario) -> list[str]:
    """Warnings about fragments of which a scenario holds no key, at most one for each."""
    tables = scenario_data(scenario) if fragments else {}
    return [
        f"the scenario holds none of the keys of {fragment.where}, which has no part in these odds: it is merged by "
        "load_scenario, or by --with where no --set states the same keys"
        for fragment in fragments
        if not holds_fragment(tables, fragment)
    ]


def floor_warnings(prepared: Prepared) -> list[str]:
    """Warning about the feedback factor's floor: near which strikes, when and how far it binds, over all regimes.

    Strikes and prices are in index points, times are New York's. No warning if the floor never binds.
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
    """List of strikes in words: a few by name, many by their range."""
    if len(strikes) > MOST_STRIKES_NAMED:
        return f"between {min(strikes):,.0f} and {max(strikes):,.0f}"
    return ", ".join(f"{strike:,.0f}" for strike in sorted(strikes)) or "of the book"


def _new_york(minute: float) -> str:
    instant = dt.datetime.fromtimestamp(minute * 60, tz=NEW_YORK)
    return f"{instant:%Y-%m-%d %H:%M}"
