"""The kernels' functions that read a plan, compiled for the processor: NumPy's bits."""

from __future__ import annotations

import numpy as np
import pytest
from support.compiled_kernels import needs_compiler
from support.device_functions import CORNERS, Array, assert_bits, call, call_with_count, some_words
from support.random_scenarios import COUNT, random_scenarios

from sim.compiled.kernel_constants import WORLD_SIDES
from sim.compiled.struct_layout import struct_dtype
from sim.engines.kernel_plan import TallyLayout, kernel_draws, kernel_plan, outcomes_from_tallies
from sim.engines.numpy_engine import NumpyEngine
from sim.kernels_numpy import paths as whole_paths
from sim.kernels_numpy import reaction, session
from sim.kernels_numpy.path_state import PathBlock
from sim.plan.builder import Prepared
from sim.plan.engine_plan import EnginePlan

pytestmark = needs_compiler


def placed(plan: EnginePlan) -> tuple[Array, list[Array]]:
    """A plan as the kernels see it, and the arrays it points to."""
    kept: list[Array] = []

    def place(_: str, array: Array) -> int:
        kept.append(array)
        return int(array.ctypes.data)

    return kernel_plan(plan, place), kept


def with_books() -> Prepared:
    return max(random_scenarios(), key=lambda p: (p.plan.books, p.plan.lines.size))


def test_look_up() -> None:
    """Every table of a plan with several books, inside its range, at its ends and far beyond."""
    plan = with_books().plan
    rng = np.random.default_rng(17)
    _, kept = placed(plan)
    tables = next(array for array in kept if array.dtype == struct_dtype("SegmentTable"))
    assert len(tables) == len(reaction.plan_tables(plan)) > 4
    for n, numpy_table in enumerate(reaction.plan_tables(plan)):
        own = tables[n : n + 1].reshape(())
        low, high = float(numpy_table.low), float(numpy_table.high)
        x = np.concatenate(
            [rng.uniform(low, high, 5_000), rng.normal(0, 0.01, 5_000), [low, high, -9, 9, 0, -0.0]]
        )
        x = np.concatenate([x, np.nextafter(np.float32([low, high]), np.float32(0))]).astype(np.float32)
        book = rng.integers(0, plan.books, x.size, dtype=np.int32)
        found, expected = np.zeros_like(x), np.zeros_like(x)
        call("look_up", own, x, book, found)
        reaction.look_up(numpy_table, x, book, expected, reaction.LookUpWork.allocate(x.size))
        assert_bits(found, expected)


def block_of(prepared: Prepared, n: int) -> tuple[PathBlock, Array, list[Array]]:
    """A block at the start, the plan as the kernels see it, and the arrays it points to."""
    struct, kept = placed(prepared.plan)
    block = PathBlock(prepared.plan, 1, n)
    block.start(0, n)
    return block, struct, kept


def test_gap_outcomes_and_their_thresholds() -> None:
    """Each session with several outcomes, at the words on both sides of every threshold."""
    seen = 0
    for prepared in random_scenarios():
        plan = prepared.plan
        edges = plan.outcome_threshold
        near = np.concatenate(
            [edges - np.uint32(1), edges, edges + np.uint32(1), CORNERS, some_words(18, 2_000)]
        )
        words = near.astype(np.uint32)
        block, struct, _kept = block_of(prepared, words.size)
        for day in range(plan.sessions):
            found = session.gap_outcome(block, day, words)
            present = np.zeros(words.size, dtype=np.bool_)
            mean, variance = (np.zeros(words.size, dtype=np.float32) for _ in range(2))
            call("gap_outcome", struct, day, words, present, mean, variance)
            assert present.all() if found is not None else not present.any()
            if found is not None:
                assert_bits(mean, found[0])
                assert_bits(variance, found[1])
                seen += 1
    assert seen > 20


def test_variance_of_a_session_and_of_the_next() -> None:
    rng = np.random.default_rng(19)
    words = some_words(20, 20_000)
    for prepared in random_scenarios():
        block, struct, _kept = block_of(prepared, words.size)
        block.h[:] = np.exp(rng.uniform(-12, -6, words.size))
        scaled = np.zeros((words.size, 3), dtype=np.float32)
        call("scale_variance", struct, words, block.h, scaled)
        session.scale_variance(block, words)
        assert_bits(scaled.T.copy(), np.stack([block.scaled_variance, block.volatility, block.mean]))
        block.x_open[:] = rng.normal(0, 0.01, words.size)
        block.coordinate[1] = block.x_open + rng.normal(0, 0.01, words.size).astype(np.float32)
        # A shock of exactly nothing is no fall.
        block.coordinate[1][:100] = block.x_open[:100] + block.mean[:100]
        found = block.h.copy()
        call("update_variance", struct, block.coordinate[1].copy(), block.x_open, block.mean, found)
        session.update_variance(block)
        assert_bits(found, block.h)


def test_distances_at_the_start_of_a_step() -> None:
    """To the next barrier of each world_side; with dealers never below zero, wherever the book has left the path."""
    plan = with_books().plan
    struct, _kept = placed(plan)
    n, rng = 5_000, np.random.default_rng(21)
    x, y = rng.normal(0, 0.02, (2, n)).astype(np.float32)
    side = np.arange(WORLD_SIDES) % 2
    rank = rng.integers(0, plan.level_count[side] + 1, (n, WORLD_SIDES)).astype(np.int32)
    book = rng.integers(0, plan.books, n, dtype=np.int32)
    sign = np.array([1, -1], dtype=np.float32)
    for number in (0, 1, plan.steps - 1):
        world_sides, closest = (
            np.zeros((n, WORLD_SIDES), dtype=np.float32),
            np.zeros((n, 2), dtype=np.float32),
        )
        call("distance", struct, number, x, y, rank, book, world_sides, closest)
        barriers = plan.barrier_start[number][side[:2], book[:, None], rank[:, :2]]
        with_dealers = np.maximum(barriers - sign * y[:, None], np.float32(0))
        without = plan.level[side[2:], rank[:, 2:]] - sign * x[:, None]
        np.testing.assert_array_equal(world_sides, np.concatenate((with_dealers, without), axis=1))
        np.testing.assert_array_equal(closest, np.minimum(with_dealers, without))
        assert (with_dealers == 0).any()


def test_records_of_every_first_target_and_rank() -> None:
    """Whatever the book, the control path's own first target and the levels that it touched."""
    prepared = with_books()
    plan, rng = prepared.plan, np.random.default_rng(23)
    above, below = (int(count) + 1 for count in plan.level_count)
    each = np.indices((3, 3, plan.books, above, below)).reshape(5, -1).astype(np.int32)
    first, control_first, book, up, down = each
    block, struct, _kept = block_of(prepared, first.size)
    block.first[:] = first, control_first
    block.rank[:] = up, down, rng.integers(0, above, first.size), rng.integers(0, below, first.size)
    found = np.zeros(first.size, dtype=np.uint16)
    call("record", struct, first + 4 * control_first, book, np.ascontiguousarray(block.rank.T), found)
    np.testing.assert_array_equal(found, first + 4 * up + 512 * down)
    expected = whole_paths.record_of(block)
    assert expected.dtype == np.uint16
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("index", range(COUNT))
def test_paths_one_by_one(index: int) -> None:
    """The order of work of a GPU's thread, four steps a call of the generator, counts what blocks of paths count."""
    plan = random_scenarios()[index].plan
    struct, _kept = placed(plan)
    tallies = np.zeros(TallyLayout.of(plan).tallies, dtype=np.uint32)
    first, paths = 4_000_000_000, 1_000
    records, expected = np.zeros((2, paths), dtype=np.uint16)
    call_with_count("path", paths, struct, kernel_draws(index, 0), first, tallies, records)
    found = outcomes_from_tallies(plan, tallies.astype(np.int64), paths)
    assert found == NumpyEngine().run(plan, index, first, paths, records=expected)
    np.testing.assert_array_equal(records, expected)
