"""State of a block of paths and the scratch its steps write to, allocated once and used again for every block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.compiled.kernel_constants import NEITHER, WITH, WITHOUT, WORLD_SIDES
from sim.kernels_numpy.normal import Float32Array
from sim.kernels_numpy.philox import PathWords
from sim.kernels_numpy.reaction import LookUpWork, plan_tables
from sim.plan.engine_plan import EnginePlan, Int32Array
from sim.plan.outcomes import Outcomes


class PathBlock:
    """Paths `first_path` … `first_path + n − 1` on their way through a plan.

    A path has four world_sides, 2·world + side: with dealers above and below, then the control path above and below.

    Attributes
    ----------
    coordinate, coordinate_end : (2, n) float32 at both ends of a step: y = s + q with dealers, x without.
    s : (n,) float32 price, ln relative to S0; x, the fundamental, is `coordinate[WITHOUT]`.
    h : (n,) float32 variance of the session.
    regime, age, visited : (n,) int32; `visited` has one bit per listed regime.
    book, flow : (n,) int32 and float32 of the present regime.
    runs : (n,) int32 qualifying closes in a row, of each regime with a close trigger.
    gap_outcome : mean and variance that this session's catalyst or jump adds, (n,) float32 each, or None.
    rank : (4, n) int32 levels touched so far on each world_side; the next one has this rank.
    next_barrier : (4, n) intp index of the next barrier in a row of `barrier_end`.
    distance, distance_end : (4, n) float32 from the path to its next barrier at both ends of a step.
    control_barrier : (2, n) float32 next barrier of the control path, which moves only when it is touched.
    first : (2, n) int8 first target in each world: 0 neither, 1 upper, 2 lower.
    normals : (normals, n) float32 of the session, the gap's first.
    spare : (normals/2, n) uint16 low bits of each pair's angle word.
    barrier_start, barrier_end : (N, ·) float32 the plan's barriers at both ends of each step, then the levels.
    """

    FLOATS = ("s", "h", "flow", "x_open", "scaled_variance", "volatility", "mean", "move", "t")
    INTEGERS = ("regime", "age", "visited", "book", "next_regime")

    s: Float32Array
    h: Float32Array
    flow: Float32Array
    x_open: Float32Array
    scaled_variance: Float32Array
    volatility: Float32Array
    mean: Float32Array
    move: Float32Array
    t: Float32Array
    regime: Int32Array
    age: Int32Array
    visited: Int32Array
    book: Int32Array
    next_regime: Int32Array

    def __init__(self, plan: EnginePlan, seed: int, capacity: int):
        self.plan = plan
        self.capacity = capacity
        self.words = PathWords(capacity, seed)
        self.tables = plan_tables(plan)
        self.outcomes = Outcomes.zeros(plan.outcome_shape)
        self.any_flow = bool(np.any(plan.regime_flow))
        control = np.broadcast_to(plan.level.reshape(1, -1), (plan.steps, plan.level.size))
        self.barrier_start = np.concatenate((plan.barrier_start.reshape(plan.steps, -1), control), axis=1)
        self.barrier_end = np.concatenate((plan.barrier_end.reshape(plan.steps, -1), control), axis=1)
        self.width = plan.level.shape[1]
        sides = self.width * plan.books * np.arange(2)
        # Index of each world_side's first barrier in a row of barriers, in book 0.
        self.first_barrier = np.concatenate((sides, 2 * self.width * plan.books + self.width * np.arange(2)))
        self.normal_count = plan.steps_per_session + plan.steps_per_session % 2
        self._allocate(capacity)

    def _allocate(self, n: int) -> None:
        for name in self.FLOATS:
            setattr(self, name, np.empty(n, dtype=np.float32))
        for name in self.INTEGERS:
            setattr(self, name, np.empty(n, dtype=np.int32))
        self.n = n
        self.coordinate, self.coordinate_end = (np.empty((2, n), dtype=np.float32) for _ in range(2))
        self.distance, self.distance_end = (np.empty((WORLD_SIDES, n), dtype=np.float32) for _ in range(2))
        self.rank = np.empty((WORLD_SIDES, n), dtype=np.int32)
        # As wide as an index is, or every look-up would widen them first.
        self.next_barrier = np.empty((WORLD_SIDES, n), dtype=np.intp)
        self.control_barrier = np.empty((2, n), dtype=np.float32)
        self.first = np.empty((2, n), dtype=np.int8)
        self.runs = {int(r): np.empty(n, dtype=np.int32) for r in np.flatnonzero(self.plan.trigger_closes)}
        self.normals = np.empty((self.normal_count, n), dtype=np.float32)
        self.spare = np.empty((self.normal_count // 2, n), dtype=np.uint16)
        self.random_words = np.empty((4, n), dtype=np.uint32)
        self.scratch = np.empty((3, n), dtype=np.float32)
        self.mask = np.empty(n, dtype=np.bool_)
        self.look_up_work = LookUpWork.allocate(n)
        self.path_low: NDArray[np.uint64] = np.empty(n, dtype=np.uint64)

    def start(self, first_path: int, n: int) -> None:
        """Place n paths at the start; all share the high word of their number."""
        assert 0 < n <= self.capacity
        assert first_path >> 32 == (first_path + n - 1) >> 32
        if n != self.n:
            self._allocate(n)
        plan = self.plan
        self.path_high = first_path >> 32
        self.path_low[:] = np.arange(n, dtype=np.uint64) + np.uint64(first_path & 0xFFFFFFFF)
        for name in ("s", "flow", "regime", "age", "visited", "book", "rank"):
            getattr(self, name).fill(0)
        self.first.fill(NEITHER)
        self.coordinate[WITH] = plan.hedge_start
        self.coordinate[WITHOUT] = 0
        self.h.fill(plan.variance_start)
        self.gap_outcome: tuple[Float32Array, Float32Array] | None = None
        for r, run in self.runs.items():
            run.fill(plan.run_start[r])
        self.next_barrier[:] = self.first_barrier[:, None]
        self.control_barrier[:] = plan.level[:, :1]
        first_barriers = self.barrier_start[0, self.first_barrier]
        start = np.array([plan.hedge_start, -plan.hedge_start, 0, 0], dtype=np.float32)
        self.distance[:] = (first_barriers - start)[:, None]
