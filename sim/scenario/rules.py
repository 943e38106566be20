"""Cross-field rules of a scenario: problems that no single key shows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from sim.errors import Problem
from sim.problems import known, problem, shown, shown_key
from sim.scenario.dates import calendar_problems
from sim.scenario.levels import all_levels
from sim.scenario.regime_rules import regime_problems

MAX_LEVELS: Final = 64
# Below this feedback factor a tiny move of the fundamental is a large one of the price, and the tables of the
# inverse map outgrow any memory.
SMALLEST_FEEDBACK: Final = 0.05
# Densities count only relative to their average: a smaller one is no density but a slip.
LEAST_DENSITY: Final = 1e-9


def cross_field_problems(scenario: Any) -> list[Problem]:
    """Problems of a scenario's keys with each other or the exchange calendar, each `Problem` without its `where`.

    scenario : a `Scenario`, or anything with its attributes in which unreadable parts are `UNKNOWN`.
    """
    return [
        *_market(scenario.market),
        *_volatility(scenario.volatility),
        *_u_shape(scenario.volatility),
        *_catalysts(scenario.catalyst),
        *_targets(scenario),
        *_levels(scenario),
        *_floor(scenario.dealers.m_floor),
        *_book(scenario),
        *_positions(scenario),
        *regime_problems(scenario),
        *calendar_problems(scenario),
    ]


def _market(market: Any) -> Iterator[Problem]:
    if not known(market):
        return
    if market.until is None and market.sessions is None:
        yield problem(
            "market.until", None, "neither until nor sessions states the horizon", "Try sessions = 21."
        )
    elif market.until is not None and market.sessions is not None:
        yield problem(
            "market.sessions",
            market.sessions,
            "until states the horizon already",
            "Try keeping only one of both.",
        )
    if market.until is not None and market.until <= market.as_of:
        yield problem(
            "market.until",
            market.until,
            f"is not after as_of = {market.as_of}",
            "Try a later session or sessions = 21.",
        )


def is_constant(volatility: Any) -> bool:
    """Whether the variance recursion h ← ω + (α + γ·1[n<0])·n² + β·h keeps h constant."""
    return bool(volatility.alpha == 0 and volatility.gamma == 0 and volatility.beta == 1)


def _volatility(volatility: Any) -> Iterator[Problem]:
    alpha, gamma, beta = volatility.alpha, volatility.gamma, volatility.beta
    if alpha + gamma < 0:
        yield problem(
            "volatility.gamma",
            gamma,
            f"alpha + gamma = {alpha + gamma:.6g} is negative: falls would lower the variance below zero",
            "Try gamma >= -alpha.",
        )
    persistence = alpha + gamma / 2 + beta
    constant = is_constant(volatility)
    if persistence >= 1 and not constant:
        key, value = ("volatility.beta", beta) if beta > 0 else ("volatility.gamma", gamma)
        yield problem(
            key,
            value,
            f"the variance is not stationary: alpha + gamma/2 + beta = {persistence:.6g}, must be below 1",
            "Try lowering alpha, gamma or beta; a constant variance is alpha = gamma = 0, beta = 1.",
        )
    long_run = volatility.long_run_annual
    if constant and long_run is not None and long_run != volatility.annual:
        yield problem(
            "volatility.long_run_annual",
            long_run,
            f"beta = 1 keeps the variance at annual = {shown(volatility.annual)}: it has no long run",
            "Try leaving it out, or beta below 1.",
        )


def _u_shape(volatility: Any) -> Iterator[Problem]:
    u_shape, shape = volatility.u_shape, volatility.intraday_shape
    if not known(u_shape) or u_shape is None:
        return
    if known(shape) and shape != "u":
        why = f"intraday_shape = {shown(shape)} has no such parts"
        yield problem("volatility.u_shape", None, why, 'Try intraday_shape = "u", or leaving u_shape out.')
    peaks = ((u_shape.open, u_shape.open_fade), (u_shape.close, u_shape.close_fade))
    if known(u_shape.base, *peaks[0], *peaks[1]):
        area = u_shape.base + sum(height * -fade * math.expm1(-1.0 / fade) for height, fade in peaks)
        if area < LEAST_DENSITY:
            why = f"the density is {area:.6g} on average, which leaves no variance to share out"
            yield problem("volatility.u_shape", None, why, "Try base = 1.0.")


def _catalysts(catalysts: Any) -> Iterator[Problem]:
    seen: dict[object, int] = {}
    for index, catalyst in enumerate(catalysts):
        session = catalyst.session
        if known(session):
            if session in seen:
                yield problem(
                    f"catalyst[{index}].session",
                    session,
                    f"catalyst[{seen[session]}] is on the same session",
                    "Try one catalyst whose outcomes combine both.",
                )
            seen.setdefault(session, index)
        total = sum(outcome.probability for outcome in catalyst.outcomes)
        if len(catalyst.outcomes) and abs(total - 1) > 1e-9:
            yield problem(
                f"catalyst[{index}].outcomes",
                None,
                f"the probabilities sum to {total:.10g}, not 1",
                "Try adding an outcome of mean 0 and sd 0 for the rest.",
            )


def _targets(scenario: Any) -> Iterator[Problem]:
    spot, targets = scenario.market.spot, scenario.targets
    if targets.upper <= spot:
        yield problem(
            "targets.upper", targets.upper, f"is not above spot = {shown(spot)}", "Try a higher level."
        )
    if targets.lower >= spot:
        yield problem(
            "targets.lower", targets.lower, f"is not below spot = {shown(spot)}", "Try a lower level."
        )


def _levels(scenario: Any) -> Iterator[Problem]:
    spot = scenario.market.spot
    seen: dict[object, int] = {}
    for index, level in enumerate(scenario.levels):
        if not known(level):
            continue
        if level == spot:
            yield problem(
                f"levels[{index}]",
                level,
                "equals spot, so it is neither above nor below",
                "Try leaving it out.",
            )
        if level in seen:
            yield problem(f"levels[{index}]", level, f"repeats levels[{seen[level]}]", "Try leaving it out.")
        seen.setdefault(level, index)
    count = len(all_levels(scenario))
    if count > MAX_LEVELS:
        yield problem(
            "levels",
            None,
            f"there are {count} levels with targets and touches, at most {MAX_LEVELS} fit",
            "Try fewer levels.",
        )


def _floor(m_floor: Any) -> Iterator[Problem]:
    if known(m_floor) and 0 < m_floor < SMALLEST_FEEDBACK:
        yield problem(
            "dealers.m_floor",
            m_floor,
            f"lets dealers amplify moves more than {1 / SMALLEST_FEEDBACK:.0f}-fold",
            f"Try {SMALLEST_FEEDBACK} or more, or 0 for a book that needs no floor.",
        )


def _book(scenario: Any) -> Iterator[Problem]:
    dealers, as_of = scenario.dealers, scenario.market.as_of
    book = dealers.book
    if not known(book):
        return
    if book is None:
        if known(dealers.book_weights) and dealers.book_weights:
            why, hint = "there is no book file", 'Try book = "book.csv".'
            yield problem("dealers.book_weights", dealers.book_weights, why, hint)
        return
    if known(dealers.book_weights):
        for group, weight in dealers.book_weights.items():
            if group not in book.groups:
                listed = ", ".join(sorted(book.groups))
                yield problem(
                    f"dealers.book_weights.{shown_key(group)}",
                    weight,
                    f"is no group of {book.file}",
                    f"Try one of: {listed}.",
                )
    if known(as_of) and not len(book.after(as_of)):
        why = f"every position expires at or before the start, the close of {as_of}"
        yield problem("dealers.book", book.file, why, "Try an earlier market.as_of, or a later book.")


def _positions(scenario: Any) -> Iterator[Problem]:
    as_of = scenario.market.as_of
    for index, position in enumerate(scenario.dealers.position):
        key = f"dealers.position[{index}]"
        if not known(position):
            continue
        if position.gex_bn is None and position.contracts is None:
            yield problem(
                f"{key}.gex_bn", None, "neither gex_bn nor contracts states the size", "Try gex_bn = 1.0."
            )
        elif position.gex_bn is not None and position.contracts is not None:
            yield problem(
                f"{key}.contracts",
                position.contracts,
                "gex_bn states the size already",
                "Try keeping only one of both.",
            )
        if position.expiry <= as_of:
            yield problem(
                f"{key}.expiry",
                position.expiry,
                f"expires at or before the start, the close of {as_of}",
                "Try a later expiry, or leave the position out.",
            )
