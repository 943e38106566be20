"""Cross-field rules of the regimes: names, triggers, weights, and the order in which they may follow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sim.errors import Problem
from sim.problems import known, problem, shown, shown_key
from sim.scenario.triggers import TRIGGERS, other_side

INITIAL: Final = "initial"


def regime_problems(scenario: Any) -> Iterator[Problem]:
    """Problems of a scenario's regimes with each other and with the book, each `Problem` without its `where`.

    scenario : a `Scenario`, or anything with its attributes in which unreadable parts are `UNKNOWN`.
    """
    yield from _names(scenario.regime)
    yield from _triggers(scenario)
    yield from _weights(scenario)
    yield from _links(scenario.regime)
    yield from _cycles(scenario.regime)
    yield from _unreachable(scenario.regime)


def _names(regimes: Any) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, regime in enumerate(regimes):
        name = regime.name
        if not known(name):
            continue
        if name == INITIAL:
            yield problem(
                f"regime[{index}].name",
                name,
                "is the name of the regime every path starts in",
                "Try another name.",
            )
        elif name in seen:
            yield problem(f"regime[{index}].name", name, f"repeats regime[{seen[name]}]", "Try another name.")
        seen.setdefault(name, index)


def _triggers(scenario: Any) -> Iterator[Problem]:
    spot = scenario.market.spot
    for index, regime in enumerate(scenario.regime):
        key, when, level = f"regime[{index}]", regime.when, regime.level
        trigger = TRIGGERS.get(when)
        if trigger is None:
            continue
        if not trigger.has_level:
            if level is not None:
                yield problem(f"{key}.level", level, f'when = "{when}" has no level', "Try leaving it out.")
            if regime.from_ is not None:
                why = f'when = "{when}" is entered through `then` only, from has no effect'
                yield problem(f"{key}.from", regime.from_, why, "Try leaving it out.")
        elif level is None:
            yield problem(f"{key}.level", None, f'when = "{when}" needs a level', "Try level = 7000.")
        elif trigger.counts_touches and trigger.side * (level - spot) <= 0:
            here, there, higher = (
                ("below", "above", "higher") if trigger.side > 0 else ("above", "below", "lower")
            )
            why = f"a level touched from {here} must be {there} spot = {shown(spot)}"
            hint = f'Try a {higher} level, or when = "{other_side(trigger).name}".'
            yield problem(f"{key}.level", level, why, hint)
        if "closes" in regime.model_fields_set and not trigger.counts_closes:
            yield problem(
                f"{key}.closes", regime.closes, f'when = "{when}" counts no closes', "Try leaving it out."
            )


def _weights(scenario: Any) -> Iterator[Problem]:
    book = scenario.dealers.book
    if not known(scenario.dealers, scenario.dealers.position, book):
        return
    groups = [position.group for position in scenario.dealers.position]
    groups += book.groups if book is not None else ()
    if not known(*groups):
        return
    listed = ", ".join(sorted(set(groups)))
    for index, regime in enumerate(scenario.regime):
        if not known(regime.weights):
            continue
        for group, weight in regime.weights.items():
            if group not in groups:
                why = "is no group of the dealers' book" if groups else "the dealers' book has no positions"
                hint = f"Try one of: {listed}." if groups else "Try weights = {}."
                yield problem(f"regime[{index}].weights.{shown_key(group)}", weight, why, hint)


def _links(regimes: Any) -> Iterator[Problem]:
    names = [regime.name for regime in regimes]
    listed = ", ".join(name for name in names if known(name))
    for index, regime in enumerate(regimes):
        key, lasts, then = f"regime[{index}]", regime.lasts, regime.then
        if known(regime) and regime.from_ is not None:
            yield from _origins(regime, f"{key}.from", [INITIAL, *names])
        if lasts is not None and then is None:
            why = "lasts is given, but not the regime that follows"
            yield problem(f"{key}.then", None, why, "Try the name of another regime.")
        if then is not None and lasts is None:
            why = "then is given, but not after how many sessions"
            yield problem(f"{key}.lasts", None, why, "Try lasts = 5.")
        if then == INITIAL:
            why = "a regime is entered at most once, and every path has been in the initial one"
            yield problem(f"{key}.then", then, why, 'Try a further regime with when = "never".')
        elif then is not None and known(then, *names) and then not in names:
            yield problem(f"{key}.then", then, "is no regime of this scenario", f"Try one of: {listed}.")


def _origins(regime: Any, key: str, names: list[Any]) -> Iterator[Problem]:
    """Problems of a regime's `from`, which may list `names`."""
    if known(regime.from_) and not regime.from_:
        why = "no regime to come from: it can never be entered"
        yield problem(key, regime.from_, why, "Try leaving it out.")
    for index, origin in enumerate(regime.from_):
        place = f"{key}[{index}]"
        if not known(origin):
            continue
        if origin == regime.name:
            yield problem(place, origin, "a regime cannot be entered from itself", "Try leaving it out.")
        elif known(*names) and origin not in names:
            listed = ", ".join(name for name in names if name != regime.name)
            yield problem(place, origin, "is no regime of this scenario", f"Try one of: {listed}.")
        elif origin in regime.from_[:index]:
            yield problem(place, origin, "is listed twice", "Try leaving it out.")


def _cycles(regimes: Any) -> Iterator[Problem]:
    follows = {
        regime.name: regime.then
        for regime in reversed(list(regimes))
        if known(regime.name, regime.then) and regime.then is not None
    }
    reported: set[str] = set()
    for index, regime in enumerate(regimes):
        chain = [regime.name]
        while chain[-1] in follows and follows[chain[-1]] not in chain:
            chain.append(follows[chain[-1]])
        closing = follows.get(chain[-1])
        if closing == regime.name and closing not in reported:
            reported.update(chain)
            yield problem(
                f"regime[{index}].then",
                regime.then,
                f"then goes in a circle: {' -> '.join([*chain, closing])}",
                "Try ending the chain: a regime is entered at most once.",
            )


def _unreachable(regimes: Any) -> Iterator[Problem]:
    """Problems of regimes that no path can enter, one for each thing to correct.

    Once a regime is reported it counts as reachable, so those that depend on it are not reported as well.
    """
    names = [regime.name for regime in regimes]
    thens = [regime.then for regime in regimes]
    if not known(*names, *thens):
        return
    reachable = _reachable(regimes, {INITIAL})
    for index, regime in enumerate(regimes):
        trigger = TRIGGERS.get(regime.when)
        if trigger is not None and not trigger.has_level and regime.name not in thens:
            why = f'no regime hands over to "{regime.name}" by then, it can never be entered'
            yield problem(
                f"regime[{index}].when", regime.when, why, "Try a trigger, or leave the regime out."
            )
            reachable = _reachable(regimes, {*reachable, regime.name})
    for index, regime in enumerate(regimes):
        trigger = TRIGGERS.get(regime.when)
        if trigger is not None and trigger.has_level and regime.name not in reachable:
            why = "can never be entered: neither can the regimes it is entered from"
            yield problem(f"regime[{index}].from", regime.from_, why, 'Try adding "initial".')
            reachable = _reachable(regimes, {*reachable, regime.name})


def _reachable(regimes: Any, start: set[str]) -> set[str]:
    """Names of the regimes that can be entered, given some that can.

    A regime whose `from` cannot be judged, or is refused by another rule, counts as one that can.
    """
    reached = set(start)
    names = {regime.name for regime in regimes}
    while True:
        entered = {regime.then for regime in regimes if regime.name in reached and regime.then is not None}
        for regime in regimes:
            trigger = TRIGGERS.get(regime.when)
            if trigger is not None and not trigger.has_level:
                continue
            origins = regime.from_
            judged = known(regime.when, origins) and origins and regime.name not in origins
            if not judged or any(origin in reached or origin not in names for origin in origins):
                entered.add(regime.name)
        if entered <= reached:
            return reached
        reached |= entered
