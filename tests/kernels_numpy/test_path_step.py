"""One step, rule by rule: what counts as a touch, in what order targets are met, and where world_sides end."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.sample_scenario import DELETE, sample
from support.scalar_path import scalar_paths

from sim.kernels_numpy.path_state import PathBlock
from sim.kernels_numpy.path_step import take_step
from sim.kernels_numpy.paths import run_block
from sim.kernels_numpy.session import close_session, open_session
from sim.plan.builder import Prepared, prepare
from sim.plan.outcomes import LOWER, NEITHER, UPPER, WITH, WITHOUT
from sim.scenario.model import Scenario

SPOT = 7000.0
PATHS = 20_000
BASE: dict[str, Any] = {
    "market": {"as_of": dt.date(2026, 2, 10), "spot": SPOT, "sessions": 1},
    "volatility": {"annual": 0.3, "overnight_share": 0.5, "steps_per_session": 1, "intraday_shape": "flat"},
    "drift": {"annual": 0.0},
    "jumps": DELETE,
    "catalyst": [],
    "regime": [],
}
NO_BOOK = {"dealers": DELETE}
# Standard deviation of the session's move, and of either half of it.
SESSION = 0.3 / np.sqrt(252)
HALF = SESSION * np.sqrt(0.5)
# Nearest first, standard deviations of the session's move.
UP_LADDER = (0.2, 0.5, 0.8, 0.81, 1.2, 1.7, 2.5, 3.0)
DOWN_LADDER = (0.15, 0.4, 0.41, 0.9, 1.6, 2.4, 3.1)


def price(deviations: float) -> float:
    return float(SPOT * np.exp(deviations * SESSION))


ALL_LEVELS = {
    "levels": [price(d) for d in UP_LADDER[:-1]] + [price(-d) for d in DOWN_LADDER[:-1]],
    "targets": {"upper": price(UP_LADDER[-1]), "lower": price(-DOWN_LADDER[-1])},
}
SIDES = ((1.0, UP_LADDER), (-1.0, DOWN_LADDER))


def prepared_of(edits: dict[str, Any]) -> Prepared:
    return prepare(Scenario.model_validate(sample({**BASE, **edits})))


class Steps:
    """A block taken step by step; what each step did to every path."""

    def __init__(self, prepared: Prepared, paths: int = PATHS, seed: int = 1):
        self.prepared, self.plan = prepared, prepared.plan
        self.block = PathBlock(self.plan, seed, paths)
        self.block.start(0, paths)
        self.step = 0

    def take(self) -> None:
        """One step, the session's opening and closing with it."""
        session, k = divmod(self.step, self.plan.steps_per_session)
        if k == 0:
            open_session(self.block, session)
        self.rank_before = self.block.rank.copy()
        self.start = self.block.coordinate.copy()
        take_step(self.block, self.step)
        self.end = self.block.coordinate.copy()
        self.step += 1
        if k == self.plan.steps_per_session - 1:
            close_session(self.block, session)


def levels_within(log_price: NDArray[Any], sign: float, prepared: Prepared) -> NDArray[np.int64]:
    """Number of levels of a side that each log price has reached."""
    logs = np.sort([sign * np.log(level / SPOT) for level in prepared.axes.levels])
    return np.searchsorted(logs[logs > 0], sign * log_price.astype(np.float64), side="right")


@pytest.mark.parametrize("edits", [NO_BOOK, {}], ids=["no book", "book"])
def test_gaps_touch_what_the_open_lies_beyond_and_nothing_else(edits: dict[str, Any]) -> None:
    prepared = prepared_of({**ALL_LEVELS, **edits})
    steps = Steps(prepared)
    steps.take()
    for world, log_price in ((WITH, steps.block.s), (WITHOUT, steps.end[WITHOUT])):
        for side, (sign, _) in enumerate(SIDES):
            reached = levels_within(log_price, sign, prepared)
            rank = steps.block.rank[2 * world + side]
            # the price comes from a table within 0.012 points, the barrier does not
            differ = np.flatnonzero(rank != reached)
            assert differ.size <= (0 if world == WITHOUT else 5)
            near = levels_within(log_price[differ] + 4e-6, sign, prepared) != levels_within(
                log_price[differ] - 4e-6, sign, prepared
            )
            assert near.all()
            # several levels at once, and many a level come near and not reached
            assert (rank >= 3).sum() > 500
            assert (rank == 0).sum() > 5000


@pytest.mark.parametrize("far", [None, 1.3, 1.9])
def test_touches_of_a_trading_step_follow_the_bridge_law_at_every_level(far: float | None) -> None:
    """Mean of exp(−2·d0·d1/v) over the paths, level by level; fixed seed, four of its standard errors."""
    edits, sides = ALL_LEVELS, SIDES
    if far is not None:
        edits = {"levels": [], "targets": {"upper": price(far), "lower": price(-far)}}
        sides = ((1.0, (far,)), (-1.0, (far,)))
    steps = Steps(prepared_of({**edits, **NO_BOOK}), paths=200_000)
    steps.take()
    steps.take()
    variance = float(steps.block.scaled_variance[0]) * 0.5
    assert variance == pytest.approx(HALF**2, rel=1e-6)
    bridged, rare, expected_rare = 0, 0, 0.0
    for side, (sign, world_side) in enumerate(sides):
        for rank, level in enumerate(world_side):
            untouched = steps.rank_before[side] <= rank
            d0, d1 = (
                level * SESSION - sign * coordinate[WITHOUT, untouched]
                for coordinate in (steps.start, steps.end)
            )
            assert (d0 > 0).all()
            chance = np.where(d1 <= 0, 1.0, np.exp(-2 * d0 * np.maximum(d1, 0) / variance))
            touched = steps.block.rank[side, untouched] > rank
            error = np.sqrt((chance * (1 - chance)).sum())
            assert abs(touched.sum() - chance.sum()) < 4 * error + 1e-9, (side, level)
            assert touched[d1 <= 0].all()
            bridged += int(touched[d1 > 0].sum())
            unlikely = d0 * d1 > 3 * variance
            rare += int(touched[unlikely].sum())
            expected_rare += float(chance[unlikely].sum())
            np.testing.assert_array_equal(steps.block.rank[side], steps.block.rank[2 + side])
    assert bridged > 3000
    # touches that need U below 0.0025; twice their variance, as neighbouring levels share a U
    assert expected_rare > 30
    assert abs(rare - expected_rare) < 4 * np.sqrt(2 * expected_rare)


def test_touch_counts_are_the_ranks() -> None:
    """Each level a path has reached is counted once, in the step that reached it, farther ones after nearer ones."""
    edits = {**ALL_LEVELS, "market": {**BASE["market"], "sessions": 4}, "volatility.steps_per_session": 2}
    steps = Steps(prepared_of(edits), paths=3000)
    plan, outcomes = steps.plan, steps.block.outcomes
    below = int(plan.level_count[1])
    jumped = 0
    for step in range(plan.steps):
        steps.take()
        for world_side in range(4):
            world, side = divmod(world_side, 2)
            before, after = steps.rank_before[world_side], steps.block.rank[world_side]
            assert (after >= before).all()
            assert after.max() <= plan.level_count[side]
            ranks = np.arange(plan.level_count[side])[:, None]
            new = ((before <= ranks) & (ranks < after)).sum(axis=1)
            counted = outcomes.touch[world, :, step]
            np.testing.assert_array_equal(counted[below:] if side == 0 else counted[:below][::-1], new)
            jumped += int((after - before >= 3).sum())
    assert jumped > 1000


def test_levels_touched_in_both_worlds() -> None:
    edits = {**ALL_LEVELS, "market": {**BASE["market"], "sessions": 3}, "dealers.impact_bp_per_bn": 30.0}
    plan = prepared_of(edits).plan
    block = PathBlock(plan, 4, 4000)
    run_block(block, 0, 4000)
    both = []
    for side in (1, 0):
        ranks = range(plan.level_count[side])
        here = [int(((block.rank[side] > r) & (block.rank[side + 2] > r)).sum()) for r in ranks]
        both += here[::-1] if side else here
    np.testing.assert_array_equal(block.outcomes.touch_both, both)
    # the worlds differ, or the test could not tell them apart
    with_dealers, without = block.outcomes.touch.sum(axis=2)
    assert (block.outcomes.touch_both < np.minimum(with_dealers, without)).any()
    assert (with_dealers != without).any()


@pytest.mark.parametrize(("up", "down"), [(0.05, 0.12), (0.12, 0.05)])
@pytest.mark.parametrize("edits", [NO_BOOK, {}], ids=["no book", "book"])
def test_of_two_targets_in_one_step_the_nearer_to_its_start_is_first(
    up: float, down: float, edits: dict[str, Any]
) -> None:
    """Whichever the step ends beyond."""
    targets = {"upper": price(up), "lower": price(-down)}
    wild = {"volatility.annual": 3.0, "volatility.overnight_share": 0.0, "volatility.quoted": "fundamental"}
    steps = Steps(prepared_of({**wild, **edits, "levels": [], "targets": targets}))
    steps.take()
    assert (steps.block.first == NEITHER).all()
    steps.take()
    both = (steps.block.rank.reshape(2, 2, -1) == 1).all(axis=1)
    rises = steps.end[WITHOUT] > 0
    for world in (WITH, WITHOUT):
        assert (both[world] & rises).sum() > 1000
        assert (both[world] & ~rises).sum() > 1000
        assert (steps.block.first[world, both[world]] == (UPPER if up < down else LOWER)).all()
        only_up = steps.block.rank[2 * world] > steps.block.rank[2 * world + 1]
        assert (steps.block.first[world, only_up] == UPPER).all()


def test_nearer_means_from_the_start_of_the_step() -> None:
    """The start of that step, not of the path: a gap has moved it, so that either target may be the nearer one."""
    targets = {"upper": price(0.1), "lower": price(-0.1)}
    wild = {"volatility.annual": 3.0, "volatility.overnight_share": 1e-6, "volatility.quoted": "fundamental"}
    steps = Steps(prepared_of({**wild, **NO_BOOK, "levels": [], "targets": targets}))
    steps.take()
    assert (steps.block.rank == 0).all()
    steps.take()
    both = (steps.block.rank == 1).all(axis=0)
    above_middle = steps.start[WITHOUT] > 0
    clear = both & (np.abs(steps.start[WITHOUT]) > 1e-6)
    assert (clear & above_middle).sum() > 1000
    assert (clear & ~above_middle).sum() > 1000
    first = steps.block.first[WITHOUT]
    np.testing.assert_array_equal(first[clear] == UPPER, above_middle[clear])
    np.testing.assert_array_equal(steps.block.first[WITH], first)


def test_the_first_target_stays_the_first() -> None:
    edits = {
        **{"levels": [], "targets": {"upper": price(0.3), "lower": price(-0.3)}},
        **{"market": {**BASE["market"], "sessions": 5}, "volatility.steps_per_session": 2},
    }
    steps = Steps(prepared_of(edits), paths=2000)
    before = steps.block.first.copy()
    for _ in range(steps.plan.steps):
        steps.take()
        settled = before != NEITHER
        np.testing.assert_array_equal(steps.block.first[settled], before[settled])
        before = steps.block.first.copy()
    rank = steps.block.rank.reshape(2, 2, -1)
    # nearly every path meets both in the end
    assert (rank == 1).all(axis=1).mean() > 0.5
    np.testing.assert_array_equal(before == NEITHER, (rank == 0).all(axis=1))


NEWS = [dt.date(2026, 2, day) for day in (11, 12, 13, 17, 18, 19, 20, 23, 24, 25, 26, 27)]


def news_of(*means: float) -> list[dict[str, Any]]:
    return [
        {"session": date, "name": "news", "outcomes": [{"probability": 1.0, "mean": mean, "sd": 0.01}]}
        for date, mean in zip(NEWS, means, strict=False)
    ]


@pytest.mark.parametrize("edits", [NO_BOOK, {}], ids=["no book", "book"])
@pytest.mark.parametrize(
    "means",
    [(2.0,), (-2.0,), (1.5, -2.0, -2.0, 2.0, 1.0)],
    ids=["above every level", "below every level", "above, then below"],
)
def test_beyond_the_last_level_nothing_is_left_to_touch(
    means: tuple[float, ...], edits: dict[str, Any]
) -> None:
    sessions = {"market": {**BASE["market"], "sessions": 7}, "volatility.steps_per_session": 3}
    prepared = prepared_of({**ALL_LEVELS, **sessions, **edits, "catalyst": news_of(*means)})
    plan = prepared.plan
    block = PathBlock(plan, 1, 500)
    run_block(block, 0, 500)
    touches = block.outcomes.touch.sum(axis=2)
    below = int(plan.level_count[1])
    gone = [side for side, sign in ((0, 1), (1, -1)) if max(sign * np.cumsum(means)) > 1]
    assert gone
    for side in gone:
        assert (block.rank[[side, 2 + side]] == plan.level_count[side]).all()
        assert (touches[:, below:] == 500).all() if side == 0 else (touches[:, :below] == 500).all()
    first = UPPER if means[0] > 0 else LOWER
    assert block.outcomes.joint[first, first] == 500
    assert (block.outcomes.closes.sum(axis=1) == 500).all()


@pytest.mark.parametrize("edits", [NO_BOOK, {}], ids=["no book", "book"])
@pytest.mark.parametrize("sign", [1, -1])
def test_no_path_is_too_far_out(sign: int, edits: dict[str, Any]) -> None:
    """A jump of two log units each night leads past 64, far beyond any level, and changes nothing else."""
    far = {
        "market": {**BASE["market"], "sessions": 40},
        "jumps": {"per_year": 252.0, "mean": 2.0 * sign, "sd": 0.0},
        "volatility.alpha": 0.0,
    }
    prepared = prepared_of({**ALL_LEVELS, **far, **edits})
    plan = prepared.plan
    farthest = []
    block = PathBlock(plan, 1, 64)
    run_block(block, 0, 64, lambda _, here: farthest.append(float((sign * here.coordinate).min())))
    assert farthest[-1] > 64
    side = 0 if sign > 0 else 1
    np.testing.assert_array_equal(block.rank[[side, side + 2]], plan.level_count[side])
    below = int(plan.level_count[1])
    touches = block.outcomes.touch.sum(axis=2)
    assert (touches[:, below:] == 64).all() if side == 0 else (touches[:, :below] == 64).all()
    scalar = next(scalar_paths(plan, 1, range(5, 6)))
    assert float(scalar.closes[-1].x) == float(block.coordinate[WITHOUT, 5])
    assert float(scalar.closes[-1].s) == float(block.s[5])
    assert scalar.closes[-1].ranks == tuple(block.rank[:, 5])
