"""Levels of a scenario: which are scored on every path, and how they are ranked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sim.problems import known
from sim.scenario.triggers import TRIGGERS


def all_levels(scenario: Any) -> tuple[float, ...]:
    """Levels every path is scored on, index points, ascending: `levels`, both targets, levels that triggers count
    touches of; each once.

    scenario : a `Scenario`, or anything with its attributes in which unreadable parts are `UNKNOWN`; those are left
        out.
    """
    targets = scenario.targets
    touched = (regime.level for regime in scenario.regime if _is_touched(regime))
    found = {level for level in (*scenario.levels, targets.upper, targets.lower, *touched) if known(level)}
    return tuple(sorted(found))


def _is_touched(regime: Any) -> bool:
    trigger = TRIGGERS.get(regime.when)
    return trigger is not None and trigger.counts_touches and regime.level is not None


def rank_of_level(levels: Sequence[float], spot: float, level: float) -> int:
    """Number of levels between the start and a level: 0 for the nearest on its side.

    levels : all levels, index points.
    spot, level : the start and one of the levels, index points.
    """
    return sum(1 for other in levels if spot < other < level or level < other < spot)
