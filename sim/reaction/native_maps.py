"""Tables of the clearing map from compiled code, `kernels/map_tables.cpp`: the same bytes as NumPy's."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.book import expiry_curves, hedge
from sim.compiled.struct_layout import filled_struct, struct_dtype
from sim.market import black_scholes, normal_law
from sim.market.black_scholes import FloatArray
from sim.market.elementary import exp
from sim.reaction import clearing_map, segment_table
from sim.reaction.clearing_map import ClearingMap, FloorEvent

# Instants that the library builds in one call, so that an interruption is heeded soon, and the lines it has room for,
# enough for any instant. Room that is not used takes no memory.
INSTANTS_AT_ONCE = 2048
MOST_LINES = 1 << 22


@dataclass(frozen=True)
class Instants:
    """Instants at which the clearing map is to be built.

    Attributes
    ----------
    minute : (n,) minutes since 1970-01-01 UTC.
    after_settlement : (n,) whether what settles then has left the book.
    wanted : (n,) which tables: `INVERSE`, `FORWARD`, both added, or 0.
    """

    minute: FloatArray
    after_settlement: NDArray[np.bool_]
    wanted: NDArray[np.uint8]


@dataclass(frozen=True)
class Built:
    """Tables of the map, and its values, at consecutive instants.

    Attributes
    ----------
    values : (instants, books, log prices) Φ.
    lines : (·, 2) float32, lines of all tables wanted, an instant's inverse first.
    table_lines, table_panels : lines and panels of each table.
    table_clip, table_scale : (·, 2) float32, range, and scale and offset; see `sim.reaction.segment_table`.
    floor_events : instant's index among these, and where the floor binds.
    """

    values: FloatArray
    lines: NDArray[np.float32]
    table_lines: list[int]
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


class NativeMaps:
    """Builder of the map's tables by the compiled kernels.

    Parameters
    ----------
    library : see `sim.compiled.native_library`.
    clearing_map : the map.
    log_prices : (L,) log prices at which its values are wanted.
    rules : error limits of the tables.
    """

    def __init__(
        self, library: ctypes.CDLL, clearing_map: ClearingMap, log_prices: FloatArray, rules: TableRules
    ):
        self.library = library
        self.map = clearing_map
        self.log_prices = log_prices
        self.arrays: list[NDArray[Any]] = []
        self.inputs = self._inputs(rules)

    def _address(self, array: Any, dtype: Any = np.float64) -> int:
        """Address of an array that is kept as long as this object."""
        self.arrays.append(np.ascontiguousarray(array, dtype=dtype))
        return int(self.arrays[-1].ctypes.data)

    def _inputs(self, rules: TableRules) -> dict[str, Any]:
        """Fields of `MapInputs` that are the same for all instants."""
        book, rows, address = self.map.book, self.map.book.rows, self._address
        return {
            "law": address(normal_law.LAW),
            "density": address(normal_law.DENSITY),
            "entries_per_unit": normal_law.ENTRIES_PER_UNIT,
            "law_half_width": normal_law.LAW_HALF_WIDTH,
            "spare": hedge.SPARE,
            "positions": book.units.size,
            "groups": len(book.groups),
            "books": len(self.map.weights),
            "group": address(rows.group, np.int32),
            "put": address(book.put),
            "units": address(book.units),
            "log_strike": address(book.log_strike(self.map.spot)),
            "iv": address(rows.iv),
            "carry": address(rows.carry),
            "settlement": address(book.settlement),
            "expiry_groups": book.expiry_start.size - 1,
            "expiry_start": address(book.expiry_start, np.int64),
            "weights": address(self.map.weights),
            "knots": expiry_curves.KNOTS.size,
            "knot": address(expiry_curves.KNOTS),
            "minutes_per_year": black_scholes.MINUTES_PER_YEAR,
            "shortest_life": black_scholes.SHORTEST_LIFE_MINUTES,
            "kappa": self.map.kappa,
            "m_floor": self.map.m_floor,
            "least_feedback": self.map.least_feedback,
            "half_width": self.map.half_width,
            "coarse_spacing": expiry_curves.COARSE_SPACING,
            "nodes_per_width": clearing_map.NODES_PER_WIDTH,
            "nodes_per_expiry_width": expiry_curves.NODES_PER_WIDTH,
            "widths_covered": expiry_curves.WIDTHS_COVERED,
            "largest_change": clearing_map.LARGEST_CHANGE,
            "smallest_stretch": clearing_map.SMALLEST_STRETCH,
            "smallest_interval": clearing_map.SMALLEST_INTERVAL,
            "pieces": clearing_map.PIECES,
            "crossing_steps": clearing_map.CROSSING_STEPS,
            "largest_hedge": rules.largest_hedge,
            "inverse_tolerance": rules.inverse_tolerance,
            "forward_tolerance": rules.forward_tolerance,
            "end_margin": segment_table.END_MARGIN,
            "most_segments": segment_table.MOST_SEGMENTS,
            "panel_choices": len(segment_table.PANEL_CHOICES),
            "panels": address(segment_table.PANEL_CHOICES, np.int64),
            "log_prices": self.log_prices.size,
            "log_price": address(self.log_prices),
        }

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
        lines = np.empty((MOST_LINES, 2), dtype=np.float32)
        inputs = filled_struct(
            "MapInputs",
            self.inputs
            | {
                "instants": minute.size,
                "minute": minute.ctypes.data,
                "after_settlement": after.ctypes.data,
                "wanted": wanted.ctypes.data,
                "line": lines.ctypes.data,
                "most_lines": MOST_LINES,
            },
        )
        outputs = np.zeros((), dtype=struct_dtype("MapOutputs"))
        held = self.library.build_map_tables(inputs.ctypes.data, outputs.ctypes.data)
        if not held:
            raise MemoryError("no memory for the clearing map's tables")
        try:
            return self._built(outputs, minute, wanted, lines)
        finally:
            self.library.free_map_tables(held)

    def _built(
        self, out: NDArray[Any], minute: FloatArray, wanted: NDArray[np.uint8], lines: NDArray[np.float32]
    ) -> Built:
        """Copy of the library's results, an unfinished instant left out."""
        done, events = int(out["done"]), int(out["events"])
        tables = sum(int(some).bit_count() for some in wanted[:done])
        counts = _copied(out["table_lines"], np.int64, tables).tolist()
        instants_and_books = _copied(out["event"], np.int64, events, 2).tolist()
        ranges = _copied(out["event_range"], np.float64, events, 3)
        lowest, prices = ranges[:, 0].tolist(), (self.map.spot * exp(ranges[:, 1:])).tolist()
        return Built(
            _copied(out["value"], np.float64, done, len(self.map.weights), self.log_prices.size),
            lines[: sum(counts)].copy(),  # and not the room that it had
            counts,
            _copied(out["table_panels"], np.int64, tables).tolist(),
            _copied(out["table_clip"], np.float32, tables, 2),
            _copied(out["table_scale"], np.float32, tables, 2),
            [
                (instant, FloorEvent(float(minute[instant]), book, m, *ends))
                for (instant, book), m, ends in zip(instants_and_books, lowest, prices, strict=True)
                if instant < done
            ],
        )


def _copied(address: NDArray[Any], dtype: Any, *shape: int) -> NDArray[Any]:
    """Copy of an array of the library's."""
    array = np.empty(shape, dtype=dtype)
    if array.nbytes:
        assert address
        ctypes.memmove(array.ctypes.data, int(address), array.nbytes)
    return array
