"""Rules that turn a chain's open interest into a dealers' book: the dealers' side, the size, the groups of strikes.

Nobody outside the dealers knows the shares. "naive" is the convention of published gamma exposure: customers sell
calls and buy puts, so that dealers are long calls (1) and short puts (−1).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sim.book.limits import MOST_GROUPS, NAME_PATTERN, is_group_name
from sim.errors import InputError, Problem
from sim.problems import check_type, short_repr, shown

# Shares of calls and of puts.
SIGNS: Final = {"naive": (1.0, -1.0), "all-long": (1.0, 1.0), "all-short": (-1.0, -1.0)}
NAIVE: Final = SIGNS["naive"]
CUSTOM: Final = "custom"
# Groups of the options between no two strikes.
SIDES: Final = ("calls", "puts")
# Below it, $bn per 1% move, no figure was ever published; contracts shrink to what float64 cannot hold.
SMALLEST_SCALE: Final = 1e-9
# Groups of strikes, besides calls and puts.
MOST_STRIKE_GROUPS: Final = MOST_GROUPS - 2


@dataclass(frozen=True)
class StrikeGroup:
    """Group of the options between two strikes, both included.

    Attributes
    ----------
    name : a letter, then letters, digits, _ and -, 64 in all at most, other than calls and puts; regimes weigh the
        group by it.
    low, high : strikes, index points, low ≤ high.

    Errors: `InputError`.
    """

    name: str
    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse values of another type, and strikes that are none."""
        hint = 'Try StrikeGroup("wall", 6990, 7010).'
        check_type("name", self.name, str, "the name of a group", hint)
        for name, strike in (("low", self.low), ("high", self.high)):
            check_type(name, strike, (int, float), "a strike", hint)
        if not is_group_name(self.name):
            why = "must begin with a letter and have only letters, digits, _ and -, 64 at most"
            raise InputError([Problem("", "name", shown(self.name), why, hint)])
        if self.name in SIDES:
            why = f"is the group of all other {self.name}, and this one takes calls and puts"
            raise InputError([Problem("", "name", shown(self.name), why, hint)])
        if not 0 <= self.low <= self.high < math.inf:
            why = "strikes ascend: low to high"
            raise InputError([Problem("", "low, high", f"{self.low:g}, {self.high:g}", why, hint)])

    def __repr__(self) -> str:
        return short_repr(self, f"{self.name}: strikes {self.low:,.10g} to {self.high:,.10g}")


@dataclass(frozen=True)
class BookRules:
    """Rules that turn open interest into a book.

    Attributes
    ----------
    sign : "naive" (dealers are long calls and short puts), "all-long", "all-short", or "custom" with shares.
    calls, puts : dealers' share of the open interest, −1 to 1; None: the sign's. Only "custom" states them.
    net_matched : take away what calls and puts of a strike and an expiry have in common: a box spread's two halves,
        which have no gamma together.
    scale_to_gex : net gamma exposure at spot, $bn per 1% move, that all contracts are scaled to; None: as they are.
    carry : annual carry of every expiry; None: each one's own, from put–call parity.
    groups : groups of strikes; the others are "calls" and "puts".

    Errors: `InputError` for values of another type or out of range, an unknown sign, or shares that contradict it.
    """

    sign: str = "naive"
    calls: float | None = None
    puts: float | None = None
    net_matched: bool = False
    scale_to_gex: float | None = None
    carry: float | None = None
    groups: tuple[StrikeGroup, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values of another type or out of range, and put the sign's shares in the place of None."""
        _check_types_of_rules(self)
        calls, puts = SIGNS.get(self.sign, (self.calls, self.puts))
        problems = _problems_of_ranges(self)
        for name, stated, share in (("calls", self.calls, calls), ("puts", self.puts, puts)):
            if share is None:
                why = "the custom sign needs dealers' shares of both"
                problems.append(Problem("", name, "", why, 'Try BookRules("custom", calls=0.7, puts=-0.4).'))
            elif not -1 <= share <= 1:
                hint = 'Try BookRules("custom", calls=1, puts=-0.5).'
                problems.append(Problem("", name, f"{share:g}", "a share lies between -1 and 1", hint))
            elif stated is not None and stated != share:
                why = f"the {self.sign} sign has a share of {share:+g}"
                problems.append(Problem("", name, f"{stated:g}", why, 'Try sign="custom".'))
        names = [group.name for group in self.groups]
        twice = sorted({name for name in names if names.count(name) > 1})
        problems += [
            Problem("", "groups", name, "names a group twice", "Try another name.") for name in twice
        ]
        if problems:
            raise InputError(problems)
        object.__setattr__(self, "calls", calls)
        object.__setattr__(self, "puts", puts)
        object.__setattr__(self, "groups", tuple(self.groups))

    def __repr__(self) -> str:
        return short_repr(self, self.text)

    @property
    def shares(self) -> tuple[float, float]:
        """Dealers' shares of calls and of puts."""
        assert self.calls is not None
        assert self.puts is not None
        return self.calls, self.puts

    @property
    def text(self) -> str:
        """The rules in words."""
        calls, puts = self.shares
        parts = [f"{self.sign} sign: dealers hold {calls:+g} of the calls and {puts:+g} of the puts"]
        if self.net_matched:
            parts.append("calls and puts of equal open interest at a strike taken away")
        if self.scale_to_gex is not None:
            parts.append(f"scaled to a net gamma exposure of {self.scale_to_gex:g} $bn")
        return ", ".join(parts)


def read_groups(texts: Sequence[str]) -> tuple[StrikeGroup, ...]:
    """Groups of strikes as a user states them, "wall=7000:7020" each.

    Errors: `InputError`.
    """
    groups: list[StrikeGroup] = []
    problems = []
    for text in texts:
        match = re.fullmatch(rf"({NAME_PATTERN})=([0-9.]+)(?::([0-9.]+))?", text.strip())
        try:
            low, high = (float(match[2]), float(match[3] or match[2])) if match else (1.0, 0.0)
        except ValueError:
            low, high = 1.0, 0.0
        if match is not None and is_group_name(match[1]) and low > high > 0:
            why = "the lower strike comes first"
            problems.append(Problem("--group", "", text, why, f"Try {match[1]}={match[3]}:{match[2]}."))
        elif match is None or not is_group_name(match[1]) or low > high:
            problems.append(Problem("--group", "", text, "is no NAME=LOW:HIGH", "Try wall=7000:7020."))
        elif match[1] in [group.name for group in groups]:
            problems.append(Problem("--group", "", text, "names a group twice", "Try another name."))
        elif match[1] in SIDES:
            why = f"{match[1]} is the group of all others"
            problems.append(Problem("--group", "", text, why, "Try another name."))
        else:
            groups.append(StrikeGroup(match[1], low, high))
    if len(groups) > MOST_STRIKE_GROUPS:
        most = f"at most {MOST_STRIKE_GROUPS} are possible"
        why = f"there are {len(groups)} groups besides calls and puts, {most}"
        problems.append(Problem("--group", "", "", why, "Try wider ones."))
    if problems:
        raise InputError(problems)
    return tuple(groups)


def _check_types_of_rules(rules: BookRules) -> None:
    check_type("sign", rules.sign, str, "a sign", 'Try BookRules(sign="naive").')
    if rules.sign not in (*SIGNS, CUSTOM):
        hint = f"Try one of {', '.join((*SIGNS, CUSTOM))}."
        raise InputError([Problem("", "sign", shown(rules.sign), "there is no such sign", hint)])
    numbers = (("calls", -1.0, "a share"), ("puts", -1.0, "a share"))
    for name, example, expected in (
        *numbers,
        ("scale_to_gex", 6.7, "$bn per 1% move"),
        ("carry", 0.04, "a rate"),
    ):
        value = getattr(rules, name)
        if value is not None:
            check_type(name, value, (int, float), f"{expected}, a number", f"Try {name}={example}.")
    check_type("net_matched", rules.net_matched, bool, "True or False", "Try net_matched=True.")
    hint = 'Try groups=(StrikeGroup("wall", 6990, 7010),).'
    check_type("groups", rules.groups, (tuple, list), "a tuple of groups of strikes", hint)
    for index, group in enumerate(rules.groups):
        check_type(f"groups[{index}]", group, StrikeGroup, "a StrikeGroup", hint)


def _problems_of_ranges(rules: BookRules) -> list[Problem]:
    """Problems of a carry and of a scale out of range."""
    problems = []
    if rules.carry is not None and not -1 <= rules.carry <= 1:
        why = "a carry lies between -1 and 1"
        problems.append(Problem("", "carry", f"{rules.carry:g}", why, "Try 0.04."))
    if rules.scale_to_gex is not None and not SMALLEST_SCALE <= abs(rules.scale_to_gex) < math.inf:
        why = "a gamma exposure other than zero is expected, in $bn per 1% move"
        problems.append(Problem("", "scale_to_gex", f"{rules.scale_to_gex:g}", why, "Try 6.7."))
    return problems
