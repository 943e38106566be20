"""Counts add up in any order and refuse counts of another run."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.sample_outcomes import sample_axes, sample_outcomes

from sim.plan.outcomes import Outcomes, OutcomeShape, outcomes_problem

SHAPE = OutcomeShape(steps=6, levels=4, sessions=3, regimes=2, close_bins=5)
ARRAYS = [f.name for f in dataclasses.fields(Outcomes) if f.name != "paths"]


def counts(seed: int, shape: OutcomeShape = SHAPE) -> Outcomes:
    rng = np.random.default_rng(seed)
    outcomes = Outcomes.zeros(shape)
    outcomes.paths = int(rng.integers(1, 1000))
    for name in ARRAYS:
        array = getattr(outcomes, name)
        array += rng.integers(0, 2**40, array.shape)
    return outcomes


def test_zeros() -> None:
    zero = Outcomes.zeros(SHAPE)
    shapes = {name: getattr(zero, name).shape for name in ARRAYS}
    assert shapes == {
        "joint": (3, 3),
        "first": (2, 2, 6),
        "touch": (2, 4, 6),
        "touch_both": (4,),
        "regime": (3, 2),
        "closes": (3, 7),
    }
    assert zero.paths == 0
    for name in ARRAYS:
        assert getattr(zero, name).dtype == np.int64
        assert not getattr(zero, name).any()


def test_sum_is_elementwise_and_leaves_both_alone() -> None:
    a, b = counts(1), counts(2)
    total = a + b
    assert total.paths == a.paths + b.paths
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(total, name), getattr(a, name) + getattr(b, name))
    assert a == counts(1)
    assert b == counts(2)
    for name in ARRAYS:
        assert not np.shares_memory(getattr(total, name), getattr(a, name))


def test_sum_does_not_depend_on_order_or_grouping() -> None:
    a, b, c = counts(1), counts(2), counts(3)
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + Outcomes.zeros(SHAPE) == a


def test_add_in_place_is_the_sum() -> None:
    total = Outcomes.zeros(SHAPE)
    for seed in (3, 1, 2):
        total.add(counts(seed))
    assert total == counts(1) + counts(2) + counts(3)


def test_counts_beyond_float32_and_int32() -> None:
    one = Outcomes.zeros(SHAPE)
    one.joint[0, 0] = 2**53
    one.touch_both[0] = 1
    assert (one + one).joint[0, 0] == 2**54
    one.joint[0, 0] += 1
    assert (one + one).joint[0, 0] == 2**54 + 2


@pytest.mark.parametrize("name", ["paths", *ARRAYS])
def test_equality_sees_every_count(name: str) -> None:
    a, b = counts(1), counts(1)
    assert a == b
    if name == "paths":
        b.paths += 1
    else:
        getattr(b, name).reshape(-1)[-1] += 1
    assert a != b


def test_other_things_are_not_equal() -> None:
    assert Outcomes.zeros(SHAPE) != 0
    assert Outcomes.zeros(SHAPE) != Outcomes.zeros(dataclasses.replace(SHAPE, close_bins=6))


@pytest.mark.parametrize("length", ["steps", "levels", "sessions", "regimes", "close_bins"])
def test_counts_of_another_shape_are_refused(length: str) -> None:
    """Broadcasting would add arrays of length one silently."""
    other = Outcomes.zeros(dataclasses.replace(SHAPE, **{length: 1}))
    other.paths = 20
    one, before = counts(1), counts(1)
    with pytest.raises(ValueError, match="different scenarios"):
        one.add(other)
    assert one == before
    with pytest.raises(ValueError, match="different scenarios"):
        _ = one + other


def test_labels_are_equal_if_all_are() -> None:
    axes = sample_axes()
    assert axes == sample_axes()
    assert hash(axes) == hash(sample_axes())
    assert axes != dataclasses.replace(axes, close_edges=axes.close_edges + 1.0)
    assert axes != dataclasses.replace(axes, upper=axes.upper + 1.0)


def test_levels_by_side_are_nearest_first() -> None:
    axes = dataclasses.replace(sample_axes(), spot=100.0, levels=(80.0, 95.0, 101.0, 120.0))
    assert axes.above == (101.0, 120.0)
    assert axes.below == (95.0, 80.0)
    one_sided = dataclasses.replace(axes, levels=(101.0, 120.0))
    assert (one_sided.above, one_sided.below) == ((101.0, 120.0), ())


def test_counts_of_paths_have_no_problem() -> None:
    assert outcomes_problem(sample_outcomes(), sample_axes()) is None


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("joint", "joint does not add up to the paths"),
        ("first", "first and joint differ"),
        ("touch", "farther levels have more touches"),
        ("touch_both", "touch_both exceeds touch"),
        ("regime", "regime does not add up to the paths"),
        ("closes", "closes do not add up to the paths"),
    ],
)
def test_a_count_too_many_is_told(name: str, told: str) -> None:
    outcomes = sample_outcomes()
    array = getattr(outcomes, name)
    if name == "touch_both":
        array[0] = outcomes.touch[:, 0].sum(axis=1).min() + 1
    elif name == "touch":  # the farthest level as often as there are paths
        array[0, 0, 0] += outcomes.paths - array[0, 0].sum()
    else:
        array.reshape(-1)[0] += 1
    assert outcomes_problem(outcomes, sample_axes()) == told


@pytest.mark.parametrize("name", ARRAYS)
def test_negative_counts_and_other_shapes_are_told(name: str) -> None:
    outcomes = sample_outcomes()
    getattr(outcomes, name).reshape(-1)[-1] = -1
    told = f"{name} holds counts that are negative or above the number of paths"
    assert outcomes_problem(outcomes, sample_axes()) == told
    outcomes = sample_outcomes()
    setattr(outcomes, name, getattr(outcomes, name)[1:])
    problem = outcomes_problem(outcomes, sample_axes())
    assert problem is not None
    assert problem.startswith(f"{name} has the shape (")


def test_a_level_missed_by_more_than_touch_implies() -> None:
    """Paths that touch in one world and those that touch in the other are too many to be different ones."""
    outcomes = sample_outcomes()
    nearest = 2
    outcomes.touch[:, nearest, 0] += outcomes.paths - outcomes.touch[:, nearest].sum(axis=1)
    assert outcomes_problem(outcomes, sample_axes()) == "touch_both is less than touch implies"
