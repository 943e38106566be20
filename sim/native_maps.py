"""Tables of the reaction map from the compiled twin of `sim.reaction_map` and `sim.line_table`: the same bytes."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim import black_scholes, dealer_book, expiry_curves, line_table, normal_law, reaction_map
from sim.black_scholes import FloatArray
from sim.market.elementary import exp
from sim.reaction_map import FloorEvent, ReactionMap

# Tables wanted of an instant.
INVERSE, FORWARD = 1, 2
# Instants that the library does at a time, so that an interruption is heeded soon, and the lines it has room for,
# enough for any instant. Room that is not used takes no memory.
INSTANTS_AT_ONCE = 2048
MOST_LINES = 1 << 22


@dataclass(frozen=True)
class Instants:
    """Instants at which the map is wanted.

    Attributes
    ----------
    minute : (n,) minutes since 1970-01-01 UTC.
    after_settlement : (n,) whether what settles then has left the book.
    wanted : (n,) tables, `INVERSE` and `FORWARD` added.
    """

    minute: FloatArray
    after_settlement: NDArray[np.bool_]
    wanted: NDArray[np.uint8]


@dataclass(frozen=True)
class Built:
    """What some instants, one after the other, have given.

    Attributes
    ----------
    values : (instants, books, places) Φ.
    lines : (·, 2) float32, lines of all tables wanted, an instant's inverse first.
    table_lines, table_zones : lines and zones of each table.
    table_clip, table_scale : (·, 2) float32, range, and scale and offset; see `sim.line_table`.
    floor_events : instant's place among these, and where the floor binds.
    """

    values: FloatArray
    lines: NDArray[np.float32]
    table_lines: list[int]
    table_zones: list[int]
    table_clip: NDArray[np.float32]
    table_scale: NDArray[np.float32]
    floor_events: list[tuple[int, FloorEvent]]


@dataclass(frozen=True)
class TableRules:
    """Errors allowed in both tables, log units, and the largest |Φ − s|."""

    inverse_tolerance: float
    forward_tolerance: float
    largest_hedge: float


_REAL, _WHOLE, _ARRAY = ctypes.c_double, ctypes.c_int64, ctypes.c_void_p


class _Inputs(ctypes.Structure):
    """`MapInputs` of map_tables.cpp."""

    _fields_ = (
        *((name, _ARRAY) for name in ("law", "density")),
        *((name, _REAL) for name in ("entries_per_unit", "law_reach", "spare")),
        *((name, _WHOLE) for name in ("positions", "groups", "books")),
        *((name, _ARRAY) for name in ("group", "put", "units", "log_strike", "iv", "carry", "settlement", "weights")),
        ("smiles", _WHOLE),
        ("smile_start", _ARRAY),
        ("knots", _WHOLE),
        ("knot", _ARRAY),
        *((name, _REAL) for name in ("minutes_per_year", "shortest_life", "kappa", "m_floor", "least", "reach")),
        *((name, _REAL) for name in ("coarse_spacing", "nodes_per_width", "nodes_per_smile_width", "widths_covered")),
        ("largest_change", _REAL),
        *((name, _REAL) for name in ("smallest_stretch", "smallest_cell")),
        *((name, _WHOLE) for name in ("pieces", "crossing_steps")),
        *((name, _REAL) for name in ("largest_hedge", "inverse_tolerance", "forward_tolerance", "end_margin")),
        *((name, _WHOLE) for name in ("most_cells", "zone_choices")),
        ("zones", _ARRAY),
        ("instants", _WHOLE),
        *((name, _ARRAY) for name in ("minute", "after_settlement", "wanted")),
        ("places", _WHOLE),
        ("place", _ARRAY),
        ("line", _ARRAY),
        ("most_lines", _WHOLE),
    )


class _Outputs(ctypes.Structure):
    """`MapOutputs` of map_tables.cpp."""

    _fields_ = (
        *((name, _WHOLE) for name in ("done", "events")),
        *((name, _ARRAY) for name in ("table_lines", "table_zones", "table_clip", "table_scale")),
        *((name, _ARRAY) for name in ("value", "event", "event_range")),
    )


class NativeMaps:
    """Builder of instants with the compiled kernels.

    Parameters
    ----------
    library : see `sim.native_library`.
    reaction_map, places : the map, and the log prices at which it is read.
    rules : what the tables must keep to.
    """

    def __init__(self, library: ctypes.CDLL, reaction_map: ReactionMap, places: FloatArray, rules: TableRules):
        self.library = library
        self.map = reaction_map
        self.places = places
        self.arrays: list[NDArray[Any]] = []
        self.inputs = self._inputs(rules)

    def _place(self, array: Any, dtype: Any = np.float64) -> int:
        """Address of an array that is kept as long as this object."""
        self.arrays.append(np.ascontiguousarray(array, dtype=dtype))
        return int(self.arrays[-1].ctypes.data)

    def _inputs(self, rules: TableRules) -> _Inputs:
        book, place = self.map.book.columns, self._place
        return _Inputs(
            law=place(normal_law.LAW),
            density=place(normal_law.DENSITY),
            entries_per_unit=normal_law.ENTRIES_PER_UNIT,
            law_reach=normal_law.LAW_REACH,
            spare=dealer_book.SPARE,
            positions=book.units.size,
            groups=len(self.map.book.groups),
            books=len(self.map.weights),
            group=place(book.group, np.int32),
            put=place(book.put),
            units=place(book.units),
            log_strike=place(book.log_strike(self.map.spot)),
            iv=place(book.iv),
            carry=place(book.carry),
            settlement=place(book.settlement),
            smiles=book.smile_start.size - 1,
            smile_start=place(book.smile_start, np.int64),
            weights=place(self.map.weights),
            knots=expiry_curves.KNOTS.size,
            knot=place(expiry_curves.KNOTS),
            minutes_per_year=black_scholes.MINUTES_PER_YEAR,
            shortest_life=black_scholes.SHORTEST_LIFE_MINUTES,
            kappa=self.map.kappa,
            m_floor=self.map.m_floor,
            least=self.map.least_feedback,
            reach=self.map.reach,
            coarse_spacing=expiry_curves.COARSE_SPACING,
            nodes_per_width=reaction_map.NODES_PER_WIDTH,
            nodes_per_smile_width=expiry_curves.NODES_PER_WIDTH,
            widths_covered=expiry_curves.WIDTHS_COVERED,
            largest_change=reaction_map.LARGEST_CHANGE,
            smallest_stretch=reaction_map.SMALLEST_STRETCH,
            smallest_cell=reaction_map.SMALLEST_CELL,
            pieces=reaction_map.PIECES,
            crossing_steps=reaction_map.CROSSING_STEPS,
            largest_hedge=rules.largest_hedge,
            inverse_tolerance=rules.inverse_tolerance,
            forward_tolerance=rules.forward_tolerance,
            end_margin=line_table.END_MARGIN,
            most_cells=line_table.MOST_CELLS,
            zone_choices=len(line_table.ZONE_CHOICES),
            zones=place(line_table.ZONE_CHOICES, np.int64),
            places=self.places.size,
            place=place(self.places),
        )

    def build(self, instants: Instants, first: int) -> Built:
        """Build instants from `first` on, as many as are done at a time; none if the first of them is refused.

        Raises
        ------
        MemoryError : there is none left.
        """
        some = slice(first, first + INSTANTS_AT_ONCE)
        minute = np.ascontiguousarray(instants.minute[some], dtype=np.float64)
        after = np.ascontiguousarray(instants.after_settlement[some], dtype=np.uint8)
        wanted = np.ascontiguousarray(instants.wanted[some], dtype=np.uint8)
        inputs = _Inputs.from_buffer_copy(self.inputs)
        inputs.instants = minute.size
        inputs.minute, inputs.after_settlement, inputs.wanted = (
            array.ctypes.data for array in (minute, after, wanted)
        )
        lines = np.empty((MOST_LINES, 2), dtype=np.float32)
        inputs.line, inputs.most_lines = lines.ctypes.data, MOST_LINES
        outputs = _Outputs()
        held = self.library.build_map_tables(ctypes.byref(inputs), ctypes.byref(outputs))
        if not held:
            raise MemoryError("no memory for the reaction map's tables")
        try:
            return self._built(outputs, minute, wanted, lines)
        finally:
            self.library.free_map_tables(held)

    def _built(
        self, out: _Outputs, minute: FloatArray, wanted: NDArray[np.uint8], lines: NDArray[np.float32]
    ) -> Built:
        """Copy of what the library holds, but for an instant that it has not finished."""
        tables = sum(int(some).bit_count() for some in wanted[: out.done])
        lengths = _copied(out.table_lines, np.int64, tables).tolist()
        events = _copied(out.event, np.int64, out.events, 2).tolist()
        ranges = _copied(out.event_range, np.float64, out.events, 3)
        lowest, prices = ranges[:, 0].tolist(), (self.map.spot * exp(ranges[:, 1:])).tolist()
        return Built(
            _copied(out.value, np.float64, out.done, len(self.map.weights), self.places.size),
            lines[: sum(lengths)].copy(),  # and not the room that it had
            lengths,
            _copied(out.table_zones, np.int64, tables).tolist(),
            _copied(out.table_clip, np.float32, tables, 2),
            _copied(out.table_scale, np.float32, tables, 2),
            [
                (instant, FloorEvent(float(minute[instant]), book, m, *ends))
                for (instant, book), m, ends in zip(events, lowest, prices, strict=True)
                if instant < out.done
            ],
        )


def _copied(address: int | None, dtype: Any, *shape: int) -> NDArray[Any]:
    """Array of the library's, in memory of our own."""
    array = np.empty(shape, dtype=dtype)
    if array.nbytes:
        assert address is not None
        ctypes.memmove(array.ctypes.data, address, array.nbytes)
    return array
