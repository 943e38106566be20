"""State of a block of paths and the scratch its steps write to, allocated once and used again for every block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.kernels_numpy.normal import Float32Array
from sim.kernels_numpy.philox import PathWords
from sim.kernels_numpy.reaction import Lines, LookUpWork, plan_tables
from sim.outcomes import NEITHER, Outcomes
from sim.plan import EnginePlan, Int32Array

UP, DOWN = 0, 1


class WorldState:
    """One world's ladder: with dealers in the hedged price, without them in the fundamental.

    Attributes
    ----------
    rank : two (n,) int32, levels touched so far above and below; the next one has this place.
    distance : two (n,) float32 from the path to the next level on each side, at the step's start.
    first : (n,) int8 first target: 0 neither, 1 upper, 2 lower.
    """

    def __init__(self, n: int):
        self.rank = [np.zeros(n, dtype=np.int32) for _ in (UP, DOWN)]
        self.distance = [np.empty(n, dtype=np.float32) for _ in (UP, DOWN)]
        self.distance_end = [np.empty(n, dtype=np.float32) for _ in (UP, DOWN)]
        self.first = np.zeros(n, dtype=np.int8)

    def cut(self, n: int) -> WorldState:
        """Return the same arrays, shortened to n paths."""
        short = WorldState(0)
        for name in ("rank", "distance", "distance_end"):
            setattr(short, name, [a[:n] for a in getattr(self, name)])
        short.first = self.first[:n]
        return short


class PathBlock:
    """Paths `first_path` … `first_path + n − 1` on their way through a plan.

    Attributes
    ----------
    x, s : (n,) float32 fundamental and price, ln relative to S0.
    y : (n,) float32 reaction coordinate s + q.
    h : (n,) float32 variance of the session.
    regime, age, visited : (n,) int32; `visited` has one bit a regime.
    book, flow : (n,) int32 and float32 of the present regime.
    gap_outcome : mean and variance that this session's catalyst or jump adds, (n,) float32 each, or None.
    codes : above and below, (n,) int32 place of each path's next barrier in the plan's rows, book·width + rank.
    runs : one (n,) int32 a regime with a close trigger, qualifying closes in a row.
    worlds : with dealers, without.
    """

    FLOATS = (
        *("x", "x_end", "s", "y", "y_end", "h", "flow", "x_open"),
        *("scaled_variance", "volatility", "mean", "move", "gate", "t"),
    )
    INTEGERS = ("regime", "age", "visited", "book", "next_regime")

    def __init__(self, plan: EnginePlan, seed: int, capacity: int):
        self.plan = plan
        self.capacity = capacity
        self.words = PathWords(capacity, seed)
        self.tables: list[Lines] = plan_tables(plan)
        self.outcomes = Outcomes.zeros(plan.outcome_shape)
        self.any_flow = bool(np.any(plan.regime_flow))
        normals = plan.steps_per_session + plan.steps_per_session % 2
        self._floats = {name: np.empty(capacity, dtype=np.float32) for name in self.FLOATS}
        self._integers = {name: np.empty(capacity, dtype=np.int32) for name in self.INTEGERS}
        self._worlds = [WorldState(capacity) for _ in range(2)]
        self._runs = {int(r): np.empty(capacity, dtype=np.int32) for r in np.flatnonzero(plan.trigger_closes)}
        self._codes = [np.empty(capacity, dtype=np.int32) for _ in (UP, DOWN)]
        self._barriers = [[np.empty(capacity, dtype=np.float32) for _ in (UP, DOWN)] for _ in range(2)]
        self._normals = np.empty((normals, capacity), dtype=np.float32)
        self._words = np.empty((4, capacity), dtype=np.uint32)
        self._scratch = np.empty((3, capacity), dtype=np.float32)
        self._masks = np.empty((2, capacity), dtype=np.bool_)
        self._look_up = LookUpWork.allocate(capacity)
        self._path_low = np.empty(capacity, dtype=np.uint64)

    def start(self, first_path: int, n: int) -> None:
        """Place n paths at the start; none may share the block with a path on the other side of a multiple of 2^32."""
        assert 0 < n <= self.capacity
        assert first_path >> 32 == (first_path + n - 1) >> 32
        plan = self.plan
        for name in self.FLOATS:
            setattr(self, name, self._floats[name][:n])
        for name in self.INTEGERS:
            setattr(self, name, self._integers[name][:n])
        self.n = n
        self.first_path = first_path
        self.path_high = first_path >> 32
        self.path_low = self._path_low[:n]
        self.path_low[:] = np.arange(n, dtype=np.uint64) + np.uint64(first_path & 0xFFFFFFFF)
        self.normals = self._normals[:, :n]
        self.random_words = self._words[:, :n]
        self.scratch = self._scratch[:, :n]
        self.masks = self._masks[:, :n]
        self.look_up_work = self._look_up.cut(n)
        self.codes = [code[:n] for code in self._codes]
        self.barriers = [[b[:n] for b in pair] for pair in self._barriers]
        self.worlds = [world.cut(n) for world in self._worlds]
        self.runs = {r: run[:n] for r, run in self._runs.items()}

        for name in ("x", "s", "flow", "regime", "age", "book"):
            getattr(self, name).fill(0)
        self.gap_outcome: tuple[Float32Array, Float32Array] | None = None
        self.visited.fill(0)
        self.y.fill(plan.hedge_start)
        self.h.fill(plan.variance_start)
        for r, run in self.runs.items():
            run.fill(plan.run_start[r])
        for world in self.worlds:
            world.first.fill(NEITHER)
            for side in (UP, DOWN):
                world.rank[side].fill(0)
        for side, hedged, bare in (
            (UP, plan.above_start[0, 0, 0] - plan.hedge_start, plan.level_above[0]),
            (DOWN, plan.hedge_start - plan.below_start[0, 0, 0], -plan.level_below[0]),
        ):
            self.codes[side].fill(0)
            self.worlds[0].distance[side].fill(hedged)
            self.worlds[1].distance[side].fill(bare)
            self.barriers[1][side].fill(bare if side == UP else -bare)

    x: Float32Array
    x_end: Float32Array
    s: Float32Array
    y: Float32Array
    y_end: Float32Array
    flow: Float32Array
    h: Float32Array
    x_open: Float32Array
    scaled_variance: Float32Array
    volatility: Float32Array
    mean: Float32Array
    move: Float32Array
    gate: Float32Array
    t: Float32Array
    regime: Int32Array
    age: Int32Array
    visited: Int32Array
    book: Int32Array
    next_regime: Int32Array
    path_low: NDArray[np.uint64]
