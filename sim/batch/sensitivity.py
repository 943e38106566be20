"""Sensitivity of the odds to each input of a scenario, which is bumped down and up on the same draws."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sim.batch.family import Batch, is_chosen
from sim.batch.file import BASE, LONGEST_NAME, Settings, batch_of_scenario
from sim.batch.folder import BatchFolder
from sim.batch.plans import CasePlans
from sim.batch.tables import differences_table
from sim.errors import InputError, Problem
from sim.market.black_scholes import SESSIONS_PER_YEAR
from sim.odds.tables import FIRST_TARGETS
from sim.plan.outcomes import NEITHER
from sim.problems import shown
from sim.scenario.dates import count_sessions
from sim.scenario.model import Scenario
from sim.scenario.overrides import apply_settings, values_at
from sim.scenario.triggers import TRIGGERS
from sim.scenario.validation import scenario_data, validated_tables

DEFAULT_BUMP = 0.1
# Bump of a drift of zero, which cannot be scaled: log return per year.
DRIFT_BUMP = 0.01
# Most halvings of a bump that makes no valid scenario, because the variance would grow without end for example.
MOST_HALVINGS = 6
# Events in which a target is reached; by their changes inputs are ranked.
TARGET_EVENTS = tuple(event for event, target in FIRST_TARGETS.items() if target != NEITHER)
COLUMNS = (
    "scenario",
    "input",
    "base_value",
    "down_value",
    "up_value",
    "event",
    "level",
    "change_down",
    "change_down_ci_low",
    "change_down_ci_high",
    "change_up",
    "change_up_ci_low",
    "change_up_ci_high",
    "swing",
    "paths",
)


@dataclass(frozen=True)
class Bump:
    """Bumps of one input of a scenario, down and up, as settings of two cases.

    Attributes
    ----------
    label : key of the input.
    base, down, up : its values, as text.
    down_set, up_set : settings of the two cases; empty where no such bump is possible.
    """

    label: str
    base: str
    down: str
    up: str
    down_set: Settings
    up_set: Settings


def sensitivity_batch(
    scenario: Scenario,
    *,
    bump: float = DEFAULT_BUMP,
    only: str | None = None,
    plans: CasePlans | None = None,
    **how: Any,
) -> tuple[Batch, tuple[Bump, ...]]:
    """Batch of a scenario with two cases per input, bumped down and up, and the bumps themselves.

    Numbers are scaled by 1 ∓ bump; prices (spot, targets, strikes, regimes' levels) move by that share of a session's
    standard deviation, whole numbers (sessions apart) by one, a drift of zero by 0.01 per year. A bump that makes no
    valid scenario is halved until it does.

    Parameters
    ----------
    scenario : what to bump.
    bump : relative size, 0 < bump < 1.
    only : shell pattern that an input's key must match.
    plans : cache that keeps what the trial of a bump has built for the case itself.
    how : paths, seed, target_se, max_paths.

    Errors: InputError if `only` matches no input, or a case is refused.
    """
    found = tuple(one for one in bumps(scenario, bump, plans) if is_chosen(one.label, only))
    if not any(one.down_set or one.up_set for one in found):
        why = "matches no input" if only is not None else "has no input to bump"
        labels = ", ".join(one.label for one in bumps(scenario, bump, plans))
        raise InputError([Problem("", "--only", shown(only), why, f"Inputs are {labels}.")])
    cases = [
        {"name": _case_name(index, one, way), "set": settings}
        for index, one in enumerate(found)
        for way, settings in (("down", one.down_set), ("up", one.up_set))
        if settings
    ]
    data = {
        "schema": 1,
        "name": f"{scenario.name[:80]}-sensitivity",
        "description": f"Every input of {scenario.name}, down and up.",
        "case": cases,
        **{key: value for key, value in how.items() if value is not None},
    }
    return batch_of_scenario(data, scenario, "sensitivity"), found


def _case_name(index: int, one: Bump, way: str) -> str:
    name = f"{one.label} {way}"
    return name if len(name) <= LONGEST_NAME else f"input {index} {way}"


def bumps(scenario: Scenario, bump: float, plans: CasePlans | None = None) -> Iterator[Bump]:
    """Bumps of every input of a scenario, in the order of its keys.

    bump : relative size.
    plans : see `sensitivity_batch`.
    """
    plans = CasePlans() if plans is None else plans
    data = scenario_data(scenario)
    for key in _scaled_keys(scenario):
        yield _possible(data, key, bump, plans)
    day = scenario.market.spot * scenario.volatility.annual / math.sqrt(SESSIONS_PER_YEAR)
    for key in _price_keys(scenario):
        yield _possible(data, key, bump * day / float(values_at(data, key)[0]), plans)
    sessions = count_sessions(scenario.market)
    fewer = max(1, round(sessions * bump))
    yield _whole("market.sessions", sessions, fewer, data, plans)
    if scenario.drift.annual == 0:
        yield Bump(
            "drift.annual",
            "0.0",
            str(-DRIFT_BUMP),
            str(DRIFT_BUMP),
            {"drift.annual": -DRIFT_BUMP},
            {"drift.annual": DRIFT_BUMP},
        )
    for index, catalyst in enumerate(scenario.catalyst):
        if len(catalyst.outcomes) > 1:
            yield _probability(data, index, bump, plans)
    for regime in scenario.regime:
        if TRIGGERS[regime.when].counts_closes:
            yield _whole(f"regime[{regime.name}].closes", regime.closes, 1, data, plans)
        if regime.lasts is not None:
            yield _whole(f"regime[{regime.name}].lasts", regime.lasts, 1, data, plans)


def _scaled_keys(scenario: Scenario) -> Iterator[str]:
    """Keys of the numbers that are scaled, without those that are zero or missing."""
    data = scenario_data(scenario)
    keys = [
        f"volatility.{name}" for name in ("annual", "long_run_annual", "alpha", "gamma", "beta", "tail_dof")
    ]
    keys += ["volatility.overnight_share", "drift.annual", "jumps.per_year", "jumps.mean", "jumps.sd"]
    keys += [f"dealers.{name}" for name in ("impact_bp_per_bn", "impact_half_life", "m_floor")]
    for group in dict.fromkeys(position.group for position in scenario.dealers.position):
        for name in ("gex_bn", "contracts", "iv", "carry"):
            keys += _position_keys(data, group, name)
    if scenario.dealers.book is not None:
        keys += [f"dealers.book_weights.{group}" for group in scenario.dealers.book.groups]
    for index, catalyst in enumerate(scenario.catalyst):
        for place, _ in enumerate(catalyst.outcomes):
            keys += [f"catalyst[{index}].outcomes[{place}].{name}" for name in ("mean", "sd")]
    for regime in scenario.regime:
        keys += [f"regime[{regime.name}].flow_bn_per_session"]
        keys += [f"regime[{regime.name}].weights.{group}" for group in regime.weights]
    for key in keys:
        if scenario.volatility.is_constant and key == "volatility.beta":
            continue  # the recursion is off
        if any(values_at(data, key)):  # neither zero nor missing
            yield key


def _price_keys(scenario: Scenario) -> Iterator[str]:
    """Keys of the prices that the odds depend on."""
    yield from ("market.spot", "targets.upper", "targets.lower")
    for group in dict.fromkeys(position.group for position in scenario.dealers.position):
        yield f"dealers.position[{group}].strike"
    for regime in scenario.regime:
        if regime.level is not None:
            yield f"regime[{regime.name}].level"


def _position_keys(data: dict[str, Any], group: str, name: str) -> list[str]:
    """Key of a whole group of positions, or of each position that states it where others of the group do not."""
    key = f"dealers.position[{group}].{name}"
    if None not in values_at(data, key):
        return [key]
    positions = enumerate(data["dealers"]["position"])
    return [f"dealers.position[{i}].{name}" for i, one in positions if one["group"] == group and name in one]


def _possible(data: dict[str, Any], key: str, bump: float, plans: CasePlans) -> Bump:
    """Bumps of a key by factors 1 ∓ bump, halved until they make a valid scenario."""
    sides: list[tuple[str, Settings]] = []
    for sign in (-1, 1):
        settings: Settings = {}
        for halving in range(MOST_HALVINGS):
            tried = {f"{key}*": 1 + sign * bump / 2**halving}
            if _is_valid(data, tried, plans):
                settings = tried
                break
        sides.append((_texts(data, key, settings) if settings else "-", settings))
    (down, down_set), (up, up_set) = sides
    return Bump(key, _texts(data, key, {}), down, up, down_set, up_set)


def _whole(key: str, value: int, step: int, data: dict[str, Any], plans: CasePlans) -> Bump:
    """Bumps of a whole number by ∓ step, as far as they make a valid scenario."""
    sides = []
    for number in (value - step, value + step):
        settings = {key: number}
        sides.append(
            (str(number), settings) if number >= 1 and _is_valid(data, settings, plans) else ("-", {})
        )
    (down, down_set), (up, up_set) = sides
    return Bump(key, str(value), down, up, down_set, up_set)


def _probability(data: dict[str, Any], index: int, bump: float, plans: CasePlans) -> Bump:
    """Bumps of the probability of a catalyst's first outcome; the others share the rest in proportion."""
    stated = [outcome["probability"] for outcome in data["catalyst"][index]["outcomes"]]
    sides: list[tuple[str, Settings]] = []
    for sign in (-1, 1):
        first = min(stated[0] * (1 + sign * bump), 1.0)
        rest = sum(stated[1:])
        scale = (1 - first) / rest if rest > 0 else 0.0
        settings = {
            f"catalyst[{index}].outcomes[{place}].probability": first if place == 0 else share * scale
            for place, share in enumerate(stated)
        }
        sides.append((f"{first:.6g}", settings) if _is_valid(data, settings, plans) else ("-", {}))
    (down, down_set), (up, up_set) = sides
    return Bump(f"catalyst[{index}].outcomes[0].probability", f"{stated[0]:.6g}", down, up, down_set, up_set)


def _is_valid(data: dict[str, Any], settings: Settings, plans: CasePlans) -> bool:
    try:
        scenario = _with(data, settings)
        if scenario.dealers.groups and scenario.dealers.m_floor == 0:
            plans.check(scenario)  # without a floor there may be no map
    except InputError:
        return False
    return True


def _with(data: dict[str, Any], settings: Settings) -> Scenario:
    changed = copy.deepcopy(data)
    _, problems = apply_settings(changed, settings.items(), "")
    return validated_tables(Scenario, changed, "", {}, problems)


def _texts(data: dict[str, Any], key: str, settings: Settings) -> str:
    values: Iterable[Any] = values_at(scenario_data(_with(data, settings)), key)
    return " ".join(f"{value:.6g}" if isinstance(value, float) else shown(value) for value in values)


def sensitivity_table(folder: BatchFolder, found: Sequence[Bump]) -> pd.DataFrame:
    """Table of the changes in the odds by input, the widest swing of the odds of a target first.

    Columns: scenario, input, base_value, down_value, up_value, event, level, change_down and change_up, each with
    ci_low and ci_high (paired, 95%), swing (from the lowest to the highest of the three odds), paths. A bump that was
    not possible, or whose case failed, has no change.
    """
    batch = folder.batch
    baseline = folder.counts(batch.baseline_case)
    if baseline is None:
        return pd.DataFrame(columns=list(COLUMNS))
    by_name = {case.name: case for case in batch.cases}
    rows: list[dict[str, Any]] = []
    for index, one in enumerate(found):
        sides = {}
        for way in ("down", "up"):
            case = by_name.get(_case_name(index, one, way))
            counts = folder.counts(case) if case is not None else None
            if counts is not None and counts.pairs is not None:
                table = differences_table(counts.pairs, counts.axes, baseline.axes, BASE)
                sides[way] = {(row["event"], _level(row)): row for row in table.to_dict("records")}
        for event, level in dict.fromkeys(key for side in sides.values() for key in side):
            rows.append(_row(batch.base, one, event, level, sides))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    first = table[table["event"].isin(TARGET_EVENTS)]
    widest = first.groupby("input")["swing"].max().to_dict()
    order = sorted(dict.fromkeys(table["input"]), key=lambda name: -widest.get(name, 0.0))
    ranks = {name: rank for rank, name in enumerate(order)}
    return table.sort_values("input", key=lambda names: names.map(ranks), kind="stable", ignore_index=True)


def _level(row: dict[Any, Any]) -> float | None:
    return float(row["level"]) if row["event"] == "touch" else None


def _row(
    scenario: str, one: Bump, event: str, level: float | None, sides: dict[str, dict[Any, Any]]
) -> dict[str, Any]:
    row: dict[str, Any] = {"scenario": scenario, "input": one.label, "base_value": one.base}
    row |= {"down_value": one.down, "up_value": one.up, "event": event, "level": level}
    changes, paths = [0.0], []
    for way in ("down", "up"):
        found = sides.get(way, {}).get((event, level))
        if found is not None:
            row |= {
                f"change_{way}": found["difference"],
                f"change_{way}_ci_low": found["ci_low"],
                f"change_{way}_ci_high": found["ci_high"],
            }
            changes.append(found["difference"])
            paths.append(found["paths"])
    row |= {"swing": max(changes) - min(changes), "paths": min(paths)}
    return row
