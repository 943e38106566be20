"""Triggers of regimes: each kind's name in a scenario, code in the kernels, side, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from sim.compiled import kernel_constants as codes

ABOVE: Final = 1
BELOW: Final = -1


@dataclass(frozen=True)
class Trigger:
    """Kind of trigger by which a regime is entered.

    Attributes
    ----------
    name : its name, `when` in scenario files.
    code : its code in the kernels.
    side : 1: beyond its level is above it, −1: below; 0: it has no level.
    counts_closes : whether it holds after `closes` closes in a row beyond the level.
    counts_touches : whether it holds once the level has been touched, which makes it one of the scenario's levels.
    """

    name: str
    code: int
    side: int = 0
    counts_closes: bool = False
    counts_touches: bool = False

    @property
    def has_level(self) -> bool:
        """Whether the trigger needs a level; a regime without one is entered through `then` alone."""
        return self.side != 0

    def is_beyond(self, price: float, level: float) -> bool:
        """Whether a price lies on the trigger's side of a level, both in index points."""
        return self.side * price > self.side * level


TRIGGERS: Final = {
    trigger.name: trigger
    for trigger in (
        Trigger("closes_above", codes.CLOSES_ABOVE, ABOVE, counts_closes=True),
        Trigger("closes_below", codes.CLOSES_BELOW, BELOW, counts_closes=True),
        Trigger("touches_above", codes.TOUCHES_ABOVE, ABOVE, counts_touches=True),
        Trigger("touches_below", codes.TOUCHES_BELOW, BELOW, counts_touches=True),
        Trigger("never", codes.NEVER),
    )
}

# Type of `when`: the names of `TRIGGERS`, which pydantic lists to whoever states another.
TriggerName: TypeAlias = Literal["closes_above", "closes_below", "touches_above", "touches_below", "never"]


def other_side(trigger: Trigger) -> Trigger:
    """Trigger of the same kind for the other side of a level."""
    wanted = replace(trigger, name="", code=0, side=-trigger.side)
    return next(found for found in TRIGGERS.values() if replace(found, name="", code=0) == wanted)
