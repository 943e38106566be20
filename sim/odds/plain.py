"""Odds of a run in the plainest form, straight from its counts: what is printed where no table can be made."""

from __future__ import annotations

from sim.plan.outcomes import LOWER, NEITHER, UPPER, OutcomeAxes, Outcomes


def plain_odds(outcomes: Outcomes, axes: OutcomeAxes) -> dict[str, str]:
    """Shares of paths for each event, with dealers and without, by the event's name.

    A level is named by the shortest text that reads back as the same number.

    Errors: `GammawallError` if the counts do not add up.
    """
    paths = outcomes.checked_paths()

    def shares(with_dealers: int, without: int) -> str:
        return f"{100 * with_dealers / paths:.4f}% with dealers, {100 * without / paths:.4f}% without"

    joint = outcomes.joint.tolist()
    odds = {"paths": str(paths)}
    named = ((f"{axes.upper!r} first", UPPER), (f"{axes.lower!r} first", LOWER), ("neither", NEITHER))
    for event, target in named:
        odds[event] = shares(sum(joint[target]), sum(row[target] for row in joint))
    for level, steps in zip(axes.levels, zip(*outcomes.touch.tolist(), strict=True), strict=True):
        odds[f"touch {level!r}"] = shares(*map(sum, steps))
    return odds
