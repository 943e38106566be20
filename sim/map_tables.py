"""The reaction map as engines read it: line tables and barriers for every step, built once in float64."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np

from sim.black_scholes import FloatArray
from sim.errors import InputError, Problem
from sim.kernel_constants import NO_LEVEL
from sim.line_table import MOST_CELLS, LineTable, build_line_table
from sim.plan import NO_TABLE, Float32Array
from sim.reaction_map import FloorEvent, MapSlice, ReactionMap
from sim.timegrid import TimeGrid

# Largest error of the inverse and of the forward tables, index points at the starting level.
INVERSE_TOLERANCE_POINTS = 0.012
FORWARD_TOLERANCE_POINTS = 0.004
MOST_TABLE_BYTES = 1 << 29
# Mean cells a row from which the map's bends, not the number of steps, fill the memory.
MANY_CELLS = 8192
# Largest |Φ − s|, log units: beyond it float32 no longer resolves a hundredth of a point.
LARGEST_HEDGE = 4.0


@dataclass(frozen=True)
class MapTables:
    """Line tables and barriers of every step.

    Attributes
    ----------
    identity_map : whether Φ(s,t) = s throughout; then there are no tables.
    hedge_start : Φ(0) of the initial book at the start, log units.
    start_barrier, end_barrier : (N, books, levels) Φ of each level at the start and the end of each step.
    step_table, rebase_table : (N,) table of Φ⁻¹ at the end of each step and of Φ just after it; −1: none.
    settles : (N,) whether options settle at the end of the step.
    tables : the line tables, one row a book.
    floor_events : where the floor of the feedback factor binds.
    """

    identity_map: bool
    hedge_start: float
    start_barrier: FloatArray
    end_barrier: FloatArray
    step_table: tuple[int, ...]
    rebase_table: tuple[int, ...]
    settles: tuple[bool, ...]
    tables: tuple[LineTable, ...] = ()
    floor_events: tuple[FloorEvent, ...] = ()

    @property
    def nbytes(self) -> int:
        """Memory of the tables and barriers."""
        return self.start_barrier.nbytes + self.end_barrier.nbytes + sum(t.lines.nbytes for t in self.tables)

    def plan_fields(self, ladder: FloatArray) -> dict[str, Any]:
        """Fields of an `EnginePlan` that the map determines.

        Parameters
        ----------
        ladder : (levels,) log levels, ascending, none at zero.
        """
        lines = [t.lines for t in self.tables] or [np.empty((0, 2), dtype=np.float32)]
        sizes = [len(t.lines) for t in self.tables]
        scales = [(t.scale, t.offset) for t in self.tables]
        above, below = np.flatnonzero(ladder > 0), np.flatnonzero(ladder < 0)[::-1]
        return {
            "identity_map": self.identity_map,
            "hedge_start": np.float32(self.hedge_start),
            "step_table": np.array(self.step_table, dtype=np.int32),
            "rebase_table": np.array(self.rebase_table, dtype=np.int32),
            "settles": np.array(self.settles, dtype=np.bool_),
            "table_start": np.concatenate(([0], np.cumsum(sizes)))[:-1].astype(np.int64),
            "table_zones": np.array([t.zones for t in self.tables], dtype=np.int32),
            "table_clip": np.array([t.clip for t in self.tables], dtype=np.float32).reshape(-1, 2),
            "table_scale": np.array(scales, dtype=np.float32).reshape(-1, 2),
            "lines": np.concatenate(lines),
            "barrier_start": _by_side(self.start_barrier, above, below),
            "barrier_end": _by_side(self.end_barrier, above, below),
            "level": _by_side(ladder[None, None, :], above, below)[0, :, 0],
            "level_count": np.array([above.size, below.size], dtype=np.int32),
        }


def _by_side(values: FloatArray, above: Any, below: Any) -> Float32Array:
    """Values (N, books, levels) as rows (N, 2, books, W): outward by side, nearest level first, ended by no level."""
    rows = np.full((values.shape[0], 2, values.shape[1], max(above.size, below.size) + 1), NO_LEVEL)
    rows[:, 0, :, : above.size] = values[..., above]
    rows[:, 1, :, : below.size] = -values[..., below]
    return rows.astype(np.float32)


def identity_tables(grid: TimeGrid, ladder: FloatArray, books: int) -> MapTables:
    """Tables of a market without impact: none, and every barrier is its level."""
    barrier = np.broadcast_to(ladder, (grid.n_steps, books, ladder.size))
    none = (NO_TABLE,) * grid.n_steps
    return MapTables(True, 0.0, barrier, barrier, none, none, (False,) * grid.n_steps)


def build_map_tables(reaction_map: ReactionMap, grid: TimeGrid, ladder: FloatArray, where: str) -> MapTables:
    """Tables of Φ⁻¹ at every step's end, of Φ where books can change, and every level's barriers.

    Parameters
    ----------
    reaction_map : the float64 map.
    grid : the steps.
    ladder : (levels,) log levels, ascending.
    where : what to call the scenario in an error.

    Raises
    ------
    InputError : the map is not increasing, too large for float32, or too sharp or too long for the memory.
    """
    books, per_session = len(reaction_map.weights), grid.steps_per_session + 1
    start_barrier, end_barrier = (np.empty((grid.n_steps, books, ladder.size)) for _ in range(2))
    tables = _Tables(reaction_map, where)
    start = tables.checked(reaction_map.at(grid.start_minute, after_settlement=True), grid.start_minute)
    here = start.value(ladder)
    step_table, rebase_table, settles = [], [], []
    for step, minute in enumerate(grid.step_end_minute):
        before = tables.checked(reaction_map.at(minute, after_settlement=False), minute)
        start_barrier[step] = here
        end_barrier[step] = here = before.value(ladder)
        step_table.append(tables.add(_inverse_table(before, reaction_map.spot)))
        after, settling = before, reaction_map.book.settles_at(minute)
        if settling:
            after = tables.checked(reaction_map.at(minute, after_settlement=True), minute, counted=False)
            here = after.value(ladder)
        closes = step % per_session == per_session - 1
        rebases = settling or (closes and books > 1)
        rebase_table.append(tables.add(_forward_table(after, reaction_map.spot)) if rebases else NO_TABLE)
        settles.append(settling)
    return MapTables(
        False,
        float(start.value_of(np.zeros(1), 0)[0]),
        start_barrier,
        end_barrier,
        tuple(step_table),
        tuple(rebase_table),
        tuple(settles),
        tuple(tables.tables),
        tuple(tables.floor_events),
    )


class _Tables:
    """Tables built so far, and the refusals of a map that no table can hold."""

    def __init__(self, reaction_map: ReactionMap, where: str):
        self.reaction_map = reaction_map
        self.where = where
        self.tables: list[LineTable] = []
        self.floor_events: list[FloorEvent] = []
        self.bytes = 0

    def checked(self, at: MapSlice, minute: float, counted: bool = True) -> MapSlice:
        """Return the slice if it is increasing and small enough; note where its floor binds."""
        if at.floor_events and self.reaction_map.m_floor == 0:
            worst = min(at.floor_events, key=lambda e: e.lowest)
            raise self._refusal(
                "dealers.m_floor",
                "0",
                f"the feedback factor falls to {worst.lowest:.2f} between {worst.price_low:,.0f} and "
                f"{worst.price_high:,.0f} on {datetime.fromtimestamp(minute * 60, UTC):%Y-%m-%d %H:%M} UTC; at or "
                "near zero no unique price clears the market",
                "Try dealers.m_floor = 0.2, a smaller dealers.impact_bp_per_bn or a smaller short-gamma position.",
            )
        hedge = float(np.abs(at.values - at.nodes).max())
        if hedge > LARGEST_HEDGE:
            sizes = [abs(p.index_units) for p in self.reaction_map.book.positions]
            largest = sizes.index(max(sizes))
            raise self._refusal(
                f"dealers.position[{largest}]",
                f"{sizes[largest] / 100:,.0f} contracts",
                f"hedging the book would move the price by a factor of e^{hedge:.0f}",
                "Try a smaller position, a strike nearer the index or a smaller dealers.impact_bp_per_bn.",
            )
        if counted:
            self.floor_events.extend(at.floor_events)
        return at

    def add(self, table: LineTable) -> int:
        """Return the number of a table added to the others."""
        self.tables.append(table)
        self.bytes += table.lines.nbytes
        if table.cells >= MOST_CELLS:
            raise self._too_sharp(f"one of its tables outgrows {MOST_CELLS:,} cells")
        if self.bytes > MOST_TABLE_BYTES:
            limit = f"tables of the reaction map outgrow {MOST_TABLE_BYTES >> 20} MiB"
            if self.bytes / 8 / sum(t.rows for t in self.tables) > MANY_CELLS:
                raise self._too_sharp(f"the {limit}")
            raise self._refusal(
                "volatility.steps_per_session",
                "",
                f"there are so many steps that the {limit}",
                "Try fewer volatility.steps_per_session or a shorter horizon.",
            )
        return len(self.tables) - 1

    def _too_sharp(self, limit: str) -> InputError:
        return self._refusal(
            "dealers.m_floor",
            f"{self.reaction_map.m_floor:g}",
            f"the map bends so sharply that {limit}",
            "Try a larger dealers.m_floor, a smaller dealers.impact_bp_per_bn or smaller positions.",
        )

    def _refusal(self, key: str, value: str, why: str, hint: str) -> InputError:
        return InputError([Problem(self.where, key, value, why, hint)])


def _inverse_table(at: MapSlice, spot: float) -> LineTable:
    books = range(len(at.values))
    return build_line_table(
        [partial(at.inverse, book=b) for b in books],
        [at.values[b] for b in books],
        [1.0 / at.slopes[b] for b in books],
        INVERSE_TOLERANCE_POINTS / spot,
    )


def _forward_table(at: MapSlice, spot: float) -> LineTable:
    books = range(len(at.values))
    return build_line_table(
        [partial(at.value_of, book=b) for b in books],
        [at.nodes for _ in books],
        [at.slopes[b] for b in books],
        FORWARD_TOLERANCE_POINTS / spot,
    )
