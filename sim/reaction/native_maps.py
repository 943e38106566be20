"""Tables of the clearing map from its compiled twin, `kernels/map_tables.cpp`: the same bytes as NumPy's."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.book import expiry_curves
from sim.book import hedge as dealer_book
from sim.market import black_scholes, normal_law
from sim.market.black_scholes import FloatArray
from sim.market.elementary import exp
from sim.reaction import clearing_map as clearing_map
from sim.reaction import segment_table
from sim.reaction.clearing_map import ClearingMap, FloorEvent

# Tables wanted of an instant.
INVERSE, FORWARD = 1, 2
# Instants that the library does at a time, so that an interruption is heeded soon, and the lines it has room for,
# enough for any instant. Room that is not used takes no memory.
INSTANTS_AT_ONCE = 2048
MOST_ENTRIES = 1 << 22


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
    table_entries, table_panels : lines and panels of each table.
    table_clip, table_scale : (·, 2) float32, range, and scale and offset; see `sim.reaction.segment_table`.
    floor_events : instant's place among these, and where the floor binds.
    """

    values: FloatArray
    lines: NDArray[np.float32]
    table_entries: list[int]
    table_panels: list[int]
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
        *((name, _REAL) for name in ("entries_per_unit", "law_half_width", "spare")),
        *((name, _WHOLE) for name in ("positions", "groups", "books")),
        *(
            (name, _ARRAY)
            for name in ("group", "put", "units", "log_strike", "iv", "carry", "settlement", "weights")
        ),
        ("expiry_groups", _WHOLE),
        ("expiry_start", _ARRAY),
        ("knots", _WHOLE),
        ("knot", _ARRAY),
        *(
            (name, _REAL)
            for name in ("minutes_per_year", "shortest_life", "kappa", "m_floor", "least", "half_width")
        ),
        *(
            (name, _REAL)
            for name in ("coarse_spacing", "nodes_per_width", "nodes_per_expiry_width", "widths_covered")
        ),
        ("largest_change", _REAL),
        *((name, _REAL) for name in ("smallest_stretch", "smallest_cell")),
        *((name, _WHOLE) for name in ("pieces", "crossing_steps")),
        *(
            (name, _REAL)
            for name in ("largest_hedge", "inverse_tolerance", "forward_tolerance", "end_margin")
        ),
        *((name, _WHOLE) for name in ("most_segments", "panel_choices")),
        ("panels", _ARRAY),
        ("instants", _WHOLE),
        *((name, _ARRAY) for name in ("minute", "after_settlement", "wanted")),
        ("places", _WHOLE),
        ("place", _ARRAY),
        ("line", _ARRAY),
        ("most_entries", _WHOLE),
    )


class _Outputs(ctypes.Structure):
    """`MapOutputs` of map_tables.cpp."""

    _fields_ = (
        *((name, _WHOLE) for name in ("done", "events")),
        *((name, _ARRAY) for name in ("table_entries", "table_panels", "table_clip", "table_scale")),
        *((name, _ARRAY) for name in ("value", "event", "event_range")),
    )


class NativeMaps:
    """Builder of instants with the compiled kernels.

    Parameters
    ----------
    library : see `sim.compiled.native_library`.
    clearing_map, places : the map, and the log prices at which it is read.
    rules : what the tables must keep to.
    """

    def __init__(
        self, library: ctypes.CDLL, clearing_map: ClearingMap, places: FloatArray, rules: TableRules
    ):
        self.library = library
        self.map = clearing_map
        self.places = places
        self.arrays: list[NDArray[Any]] = []
        self.inputs = self._inputs(rules)

    def _place(self, array: Any, dtype: Any = np.float64) -> int:
        """Address of an array that is kept as long as this object."""
        self.arrays.append(np.ascontiguousarray(array, dtype=dtype))
        return int(self.arrays[-1].ctypes.data)

    def _inputs(self, rules: TableRules) -> _Inputs:
        book, rows, place = self.map.book, self.map.book.rows, self._place
        return _Inputs(
            law=place(normal_law.LAW),
            density=place(normal_law.DENSITY),
            entries_per_unit=normal_law.ENTRIES_PER_UNIT,
            law_half_width=normal_law.LAW_HALF_WIDTH,
            spare=dealer_book.SPARE,
            positions=book.units.size,
            groups=len(book.groups),
            books=len(self.map.weights),
            group=place(rows.group, np.int32),
            put=place(book.put),
            units=place(book.units),
            log_strike=place(book.log_strike(self.map.spot)),
            iv=place(rows.iv),
            carry=place(rows.carry),
            settlement=place(book.settlement),
            expiry_groups=book.expiry_start.size - 1,
            expiry_start=place(book.expiry_start, np.int64),
            weights=place(self.map.weights),
            knots=expiry_curves.KNOTS.size,
            knot=place(expiry_curves.KNOTS),
            minutes_per_year=black_scholes.MINUTES_PER_YEAR,
            shortest_life=black_scholes.SHORTEST_LIFE_MINUTES,
            kappa=self.map.kappa,
            m_floor=self.map.m_floor,
            least=self.map.least_feedback,
            half_width=self.map.half_width,
            coarse_spacing=expiry_curves.COARSE_SPACING,
            nodes_per_width=clearing_map.NODES_PER_WIDTH,
            nodes_per_expiry_width=expiry_curves.NODES_PER_WIDTH,
            widths_covered=expiry_curves.WIDTHS_COVERED,
            largest_change=clearing_map.LARGEST_CHANGE,
            smallest_stretch=clearing_map.SMALLEST_STRETCH,
            smallest_cell=clearing_map.SMALLEST_CELL,
            pieces=clearing_map.PIECES,
            crossing_steps=clearing_map.CROSSING_STEPS,
            largest_hedge=rules.largest_hedge,
            inverse_tolerance=rules.inverse_tolerance,
            forward_tolerance=rules.forward_tolerance,
            end_margin=segment_table.END_MARGIN,
            most_segments=segment_table.MOST_SEGMENTS,
            panel_choices=len(segment_table.PANEL_CHOICES),
            panels=place(segment_table.PANEL_CHOICES, np.int64),
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
        lines = np.empty((MOST_ENTRIES, 2), dtype=np.float32)
        inputs.line, inputs.most_entries = lines.ctypes.data, MOST_ENTRIES
        outputs = _Outputs()
        held = self.library.build_map_tables(ctypes.byref(inputs), ctypes.byref(outputs))
        if not held:
            raise MemoryError("no memory for the clearing map's tables")
        try:
            return self._built(outputs, minute, wanted, lines)
        finally:
            self.library.free_map_tables(held)

    def _built(
        self, out: _Outputs, minute: FloatArray, wanted: NDArray[np.uint8], lines: NDArray[np.float32]
    ) -> Built:
        """Copy of what the library holds, but for an instant that it has not finished."""
        tables = sum(int(some).bit_count() for some in wanted[: out.done])
        lengths = _copied(out.table_entries, np.int64, tables).tolist()
        events = _copied(out.event, np.int64, out.events, 2).tolist()
        ranges = _copied(out.event_range, np.float64, out.events, 3)
        lowest, prices = ranges[:, 0].tolist(), (self.map.spot * exp(ranges[:, 1:])).tolist()
        return Built(
            _copied(out.value, np.float64, out.done, len(self.map.weights), self.places.size),
            lines[: sum(lengths)].copy(),  # and not the room that it had
            lengths,
            _copied(out.table_panels, np.int64, tables).tolist(),
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
