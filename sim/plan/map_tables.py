"""The clearing map as engines read it: segment tables and barriers for every step, built once in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.compiled.kernel_constants import FORWARD, INVERSE, NO_LEVEL
from sim.errors import InputError, Problem
from sim.market.black_scholes import FloatArray
from sim.market.contracts import UNITS_PER_CONTRACT
from sim.plan.engine_plan import NO_TABLE, Float32Array, Int32Array
from sim.plan.outcomes import IndexArray, levels_by_side
from sim.plan.shared_work import SharedWork, array_parts
from sim.plan.time_grid import TimeGrid
from sim.reaction.clearing_map import ClearingMap, FloorEvent, MapSlice
from sim.reaction.known_tables import working_library
from sim.reaction.native_maps import Built, Instants, NativeMaps, TableRules
from sim.reaction.segment_table import MOST_SEGMENTS, SegmentTable, build_segment_table

# Largest error of the inverse and of the forward tables, index points at the starting level.
INVERSE_TOLERANCE_POINTS = 0.012
FORWARD_TOLERANCE_POINTS = 0.004
MOST_TABLE_BYTES = 1 << 29
# Mean segments per row from which the map's bends, not the number of steps, fill the memory.
MANY_SEGMENTS = 8192
# Largest |Φ − s|, log units: beyond it float32 no longer resolves a hundredth of a point.
LARGEST_HEDGE = 4.0
# Memory of a line and of a floor event.
LINE_BYTES = 8
EVENT_BYTES = 200


@dataclass(frozen=True)
class MapTables:
    """Segment tables and barriers of every step, ready for the plan.

    Attributes
    ----------
    plan_fields : fields of an `EnginePlan` that the map determines; no array can be written to.
    floor_events : where the floor of the feedback factor binds.
    """

    plan_fields: dict[str, Any]
    floor_events: tuple[FloorEvent, ...] = ()

    @property
    def parts(self) -> dict[int, int]:
        """Memory of its arrays and events, bytes by `id`."""
        events = {id(self.floor_events): EVENT_BYTES * len(self.floor_events)}
        return array_parts(self.plan_fields.values()) | events


def _map_tables(
    hedge_start: float,
    barriers: tuple[FloatArray, FloatArray],
    log_levels: FloatArray,
    numbers: tuple[Int32Array, Int32Array, NDArray[np.bool_]],
    tables: Sequence[Built],
    floor_events: tuple[FloorEvent, ...] = (),
) -> MapTables:
    """Tables and barriers as the plan holds them.

    Parameters
    ----------
    hedge_start : Φ(0) of the initial book at the start, log units.
    barriers : (N, books, levels) Φ of each level at the start and at the end of each step.
    log_levels : (levels,) log levels, ascending, none at zero.
    numbers : (N,) table of Φ⁻¹ at the end of each step, table of Φ just after it, whether options settle then.
    tables : none: Φ(s,t) = s.
    """
    above, below = levels_by_side(log_levels, 0.0)
    no_pairs = np.empty((0, 2), dtype=np.float32)
    sizes = [size for some in tables for size in some.table_lines]
    fields: dict[str, Any] = {
        "identity_map": not tables,
        "hedge_start": np.float32(hedge_start),
        "step_table": numbers[0],
        "rebase_table": numbers[1],
        "settles": numbers[2],
        "table_start": np.cumsum([0, *sizes])[:-1].astype(np.int64),
        "table_panels": np.array([panels for some in tables for panels in some.table_panels], dtype=np.int32),
        "table_clip": np.concatenate([no_pairs, *(some.table_clip for some in tables)]),
        "table_scale": np.concatenate([no_pairs, *(some.table_scale for some in tables)]),
        "lines": _joined([no_pairs, *(some.lines for some in tables)]),
        "barrier_start": _by_side(barriers[0], above, below),
        "barrier_end": _by_side(barriers[1], above, below),
        "level": _by_side(log_levels[None, None, :], above, below)[0, :, 0],
        "level_count": np.array([above.size, below.size], dtype=np.int32),
    }
    for value in fields.values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return MapTables(fields, floor_events)


def _by_side(values: FloatArray, above: IndexArray, below: IndexArray) -> Float32Array:
    """Barriers (N, 2, books, W) from values (N, books, levels): outward by side, nearest first, then infinite."""
    rows = np.full((values.shape[0], 2, values.shape[1], max(above.size, below.size) + 1), NO_LEVEL)
    rows[:, 0, :, : above.size] = values[..., above]
    rows[:, 1, :, : below.size] = -values[..., below]
    return rows.astype(np.float32)


def _joined(parts: list[Float32Array]) -> Float32Array:
    """Concatenation of the parts, without a copy if only one of them has any lines."""
    filled = [part for part in parts if part.size]
    return filled[0] if len(filled) == 1 else np.concatenate(parts)


def identity_tables(grid: TimeGrid, log_levels: FloatArray, books: int) -> MapTables:
    """Tables of a market without impact: no segment table, and each barrier at its level."""
    barrier = np.broadcast_to(log_levels, (grid.n_steps, books, log_levels.size))
    none = np.full(grid.n_steps, NO_TABLE, dtype=np.int32)
    settles = np.zeros(grid.n_steps, dtype=np.bool_)
    return _map_tables(0.0, (barrier, barrier), log_levels, (none, none.copy(), settles), ())


def shared_map_tables(
    clearing_map: ClearingMap,
    grid: TimeGrid,
    log_levels: FloatArray,
    where: str,
    single_positions: int,
    shared: SharedWork,
) -> MapTables:
    """Tables of a scenario's map, taken from `shared` if an earlier case had the same map, steps and levels.

    Parameters
    ----------
    clearing_map, grid, log_levels, where, single_positions : see `build_map_tables`.
    shared : what cases before this one have built.

    Errors: `InputError`, see `build_map_tables`.
    """
    if clearing_map.is_identity:
        return identity_tables(grid, log_levels, len(clearing_map.weights))
    instants = (grid.start_minute, grid.step_end_minute.tobytes(), grid.steps_per_session)
    key = ("map tables", clearing_map.key, instants, log_levels.tobytes())
    return shared.get(
        key,
        lambda: build_map_tables(clearing_map, grid, log_levels, where, single_positions),
        lambda maps: maps.parts,
    )


def build_map_tables(
    clearing_map: ClearingMap, grid: TimeGrid, log_levels: FloatArray, where: str, single_positions: int
) -> MapTables:
    """Tables of Φ⁻¹ at every step's end, of Φ where books can change, and every level's barriers.

    Compiled code builds them where it works, NumPy where it does not: the tables are the same.

    Parameters
    ----------
    clearing_map : the float64 map.
    grid : the steps.
    log_levels : (levels,) ln(level/S0), ascending, none at zero.
    where : what to call the scenario in an error.
    single_positions : how many of the book's positions, the first stated, come from the scenario and no book file.

    Raises
    ------
    InputError : the map is not increasing, too large for float32, or too sharp or too long for the memory.
    """
    ends, settlements = grid.step_end_minute, clearing_map.book.settlement
    settles = np.isin(ends, settlements)
    closes = np.arange(ends.size) % (grid.steps_per_session + 1) == grid.steps_per_session
    rebases = settles | (closes & (len(clearing_map.weights) > 1))
    # The start, then each step's end, before what settles at it and, if anything does, after.
    first = np.concatenate(([0], np.cumsum(1 + settles))) + 1
    end, settled = first[:-1], first[:-1][settles] + 1
    instants = Instants(np.empty(first[-1]), np.zeros(first[-1], np.bool_), np.zeros(first[-1], np.uint8))
    instants.minute[0], instants.minute[end], instants.minute[settled] = (
        grid.start_minute,
        ends,
        ends[settles],
    )
    instants.after_settlement[0] = instants.after_settlement[settled] = True
    instants.wanted[end] = INVERSE
    instants.wanted[end + settles] |= np.where(rebases, FORWARD, 0).astype(np.uint8)

    log_prices = np.append(log_levels, 0.0)
    built = _Tables(clearing_map, log_prices, where, single_positions).build(instants)
    values = np.concatenate([some.values for some in built])
    starts = np.cumsum([0, *(len(some.values) for some in built)])
    once = {0, *end.tolist()}
    step_table = np.concatenate(([0], np.cumsum(1 + rebases)))[:-1].astype(np.int32)
    return _map_tables(
        float(values[0, 0, -1]),
        (values[np.concatenate(([0], (end + settles)[:-1]))][..., :-1], values[end][..., :-1]),
        log_levels,
        (step_table, np.where(rebases, step_table + 1, NO_TABLE).astype(np.int32), settles),
        built,
        tuple(
            event
            for first, some in zip(starts.tolist(), built, strict=False)
            for instant, event in some.floor_events
            if first + instant in once
        ),
    )


class _Tables:
    """Tables built so far, and the refusals of a map that no table can hold."""

    def __init__(self, clearing_map: ClearingMap, log_prices: FloatArray, where: str, single_positions: int):
        self.clearing_map = clearing_map
        self.log_prices = log_prices
        self.where = where
        self.single_positions = single_positions
        self.lines = self.rows = 0

    def build(self, instants: Instants) -> list[Built]:
        """Build all instants, one after the other."""
        library, spot = working_library(), self.clearing_map.spot
        rules = TableRules(INVERSE_TOLERANCE_POINTS / spot, FORWARD_TOLERANCE_POINTS / spot, LARGEST_HEDGE)
        native = NativeMaps(library, self.clearing_map, self.log_prices, rules) if library else None
        built: list[Built] = []
        number = 0
        while number < instants.minute.size:
            some = native.build(instants, number) if native else None
            # What compiled code refuses is refused here, with the reason.
            if some is None or not len(some.values):
                some = self._by_numpy(instants, number, rules)
            self.add(some)
            built.append(some)
            number += len(some.values)
        return built

    def _by_numpy(self, instants: Instants, number: int, rules: TableRules) -> Built:
        minute = float(instants.minute[number])
        at = self.checked(self.clearing_map.at(minute, bool(instants.after_settlement[number])), minute)
        wanted, tables = int(instants.wanted[number]), []
        if wanted & INVERSE:
            tables.append(_inverse_table(at, rules.inverse_tolerance))
        if wanted & FORWARD:
            tables.append(_forward_table(at, rules.forward_tolerance))
        return Built(
            at.value(self.log_prices)[None],
            np.concatenate([np.empty((0, 2), dtype=np.float32), *(t.lines for t in tables)]),
            [len(t.lines) for t in tables],
            [t.panels for t in tables],
            np.array([t.clip for t in tables], dtype=np.float32).reshape(-1, 2),
            np.array([(t.scale, t.offset) for t in tables], dtype=np.float32).reshape(-1, 2),
            [(0, event) for event in at.floor_events],
        )

    def checked(self, at: MapSlice, minute: float) -> MapSlice:
        """Return the slice; raise InputError unless it is increasing and fits float32."""
        if at.floor_events and self.clearing_map.m_floor == 0:
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
            book = self.clearing_map.book
            sizes = np.empty(len(book))
            sizes[book.stated] = np.abs(book.units)
            largest = int(sizes.argmax())
            is_file = largest >= self.single_positions
            smaller = "book (dealers.book_weights)" if is_file else "position, a strike nearer the index"
            raise self._refusal(
                "dealers.book" if is_file else f"dealers.position[{largest}]",
                f"{len(sizes) - self.single_positions:,} positions"
                if is_file
                else f"{sizes[largest] / UNITS_PER_CONTRACT:,.0f} contracts",
                f"hedging the book would move the price by a factor of e^{hedge:.0f}",
                f"Try a smaller {smaller} or a smaller dealers.impact_bp_per_bn.",
            )
        return at

    def add(self, some: Built) -> None:
        """Count tables with those before them and refuse what does not fit."""
        books = len(self.clearing_map.weights)
        for lines, panels in zip(some.table_lines, some.table_panels, strict=True):
            self.lines += lines
            self.rows += books
            if lines - books * panels >= MOST_SEGMENTS:
                raise self._too_sharp(f"one of its tables outgrows {MOST_SEGMENTS:,} segments")
            if self.lines * LINE_BYTES > MOST_TABLE_BYTES:
                limit = f"tables of the clearing map outgrow {MOST_TABLE_BYTES >> 20} MiB"
                if self.lines / self.rows > MANY_SEGMENTS:
                    raise self._too_sharp(f"the {limit}")
                raise self._refusal(
                    "volatility.steps_per_session",
                    "",
                    f"there are so many steps that the {limit}",
                    "Try fewer volatility.steps_per_session or a shorter horizon.",
                )

    def _too_sharp(self, limit: str) -> InputError:
        return self._refusal(
            "dealers.m_floor",
            f"{self.clearing_map.m_floor:g}",
            f"the map bends so sharply that {limit}",
            "Try a larger dealers.m_floor, a smaller dealers.impact_bp_per_bn or smaller positions.",
        )

    def _refusal(self, key: str, value: str, why: str, hint: str) -> InputError:
        return InputError([Problem(self.where, key, value, why, hint)])


def _inverse_table(at: MapSlice, tolerance: float) -> SegmentTable:
    books = range(len(at.values))
    return build_segment_table(
        [partial(at.inverse, book=b) for b in books],
        [at.values[b] for b in books],
        [1.0 / at.slopes[b] for b in books],
        tolerance,
    )


def _forward_table(at: MapSlice, tolerance: float) -> SegmentTable:
    books = range(len(at.values))
    return build_segment_table(
        [partial(at.value_of, book=b) for b in books],
        [at.nodes for _ in books],
        [at.slopes[b] for b in books],
        tolerance,
    )
