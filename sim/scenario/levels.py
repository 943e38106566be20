"""Levels of a scenario that are scored on every path, and their ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sim.problems import known
from sim.scenario.triggers import TRIGGERS


def all_levels(scenario: Any) -> tuple[float, ...]:
    """Distinct levels that every path is scored on, index points, ascending.

    They are `levels`, both targets, and the levels of the triggers that count touches.

    scenario : a `Scenario`, or anything with its attributes in which unreadable parts are `UNKNOWN`; those are left
        out.
    """
    targets = scenario.targets
    touched = (regime.level for regime in scenario.regime if _is_touched(regime))
    found = {level for level in (*scenario.levels, targets.upper, targets.lower, *touched) if known(level)}
    return tuple(sorted(found))


def _is_touched(regime: Any) -> bool:
    """Whether a regime is entered by the touch of a level."""
    trigger = TRIGGERS.get(regime.when)
    return trigger is not None and trigger.counts_touches and regime.level is not None


def rank_of_level(levels: Sequence[float], spot: float, level: float) -> int:
    """Rank of a level: the number of levels between the start and it, 0 for the nearest on its side.

    levels : all levels, index points.
    spot, level : the start and one of the levels, index points.
    """
    return sum(1 for other in levels if spot < other < level or level < other < spot)
