"""Smooth steps, their segment tables, and the segments that float32 finds beside those that are exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtr

from sim.reaction.segment_table import SegmentTable, build_segment_table

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]
LOW, HIGH = -0.3, 0.5
# Half a float32 unit in the last place of one.
ROUNDING = 2.0**-24


@dataclass(frozen=True)
class Steps:
    """base·x plus smooth steps, each (centre, width, height)."""

    base: float
    steps: tuple[tuple[float, float, float], ...] = ()

    def __call__(self, x: FloatArray) -> FloatArray:
        return np.asarray(self.base * x + sum(h * ndtr((x - p) / w) for p, w, h in self.steps))

    def slope(self, x: FloatArray) -> FloatArray:
        return np.asarray(self.base + sum(h * stats.norm.pdf(x, p, w) for p, w, h in self.steps) + 0 * x)

    def nodes(self, low: float, high: float) -> FloatArray:
        """Abscissae as the clearing map lays them: even, and twelve a width around each step."""
        fine = [p + w / 12 * np.arange(-84, 85) for p, w, _ in self.steps]
        nodes = np.unique(np.concatenate([np.linspace(low, high, 401), *fine]))
        nodes = nodes[(nodes >= low) & (nodes <= high)]
        return nodes[np.concatenate(([True], np.diff(nodes) > 1e-9))]


def table_of(
    functions: Sequence[Steps], tolerance: float, low: float = LOW, high: float = HIGH
) -> SegmentTable:
    nodes = [f.nodes(low, high) for f in functions]
    return build_segment_table(
        functions, nodes, [f.slope(x) for f, x in zip(functions, nodes, strict=True)], tolerance
    )


@dataclass(frozen=True)
class Row:
    """Segments of a table's row: their exact edges, and the index of the first."""

    first: int
    edges: FloatArray
    panel_edges: FloatArray

    @property
    def indices(self) -> Indices:
        return self.first + np.arange(self.edges.size - 1)

    def index(self, x: NDArray[np.floating]) -> Indices:
        """Index of the segment that x lies in; the outer segments go on without end."""
        return self.first + np.searchsorted(self.edges[1:-1], x.astype(np.float64), side="right")


def rows_of(table: SegmentTable, low: float = LOW, high: float = HIGH) -> list[Row]:
    """Every row, from nothing but the range and the numbers of segments that the panels' slopes tell."""
    width = (high - low) / table.panels
    told = table.lines[: table.rows * table.panels, 1].astype(np.float64) * width
    segments = np.rint(told).astype(np.int64).reshape(table.rows, table.panels)
    np.testing.assert_allclose(told, segments.reshape(-1), rtol=1e-6)
    panel_edges = low + width * np.arange(table.panels + 1)
    rows, first = [], table.rows * table.panels
    for counts in segments:
        pieces = [low + width * (z + np.arange(count) / count) for z, count in enumerate(counts)]
        rows.append(Row(first, np.concatenate([*pieces, [high]]), panel_edges))
        first += int(counts.sum())
    assert first == len(table.lines)
    return rows


def panel_found(table: SegmentTable, x: NDArray[np.floating]) -> Indices:
    """Panel that float32 arithmetic finds."""
    low, high = table.clip
    inside = np.minimum(np.maximum(x.astype(np.float32), low), high)
    return (table.scale * inside + table.offset).astype(np.int64)


def index_found(table: SegmentTable, x: NDArray[np.floating], row: int = 0) -> Indices:
    """Index of the segment that float32 arithmetic finds."""
    low, high = table.clip
    inside = np.minimum(np.maximum(x.astype(np.float32), low), high)
    intercept, slope = table.lines[row * table.panels + panel_found(table, x)].T
    return (slope * inside + intercept).astype(np.int64)


def read(table: SegmentTable, x: FloatArray, row: int = 0) -> FloatArray:
    intercept, slope = table.lines[index_found(table, x, row)].T.astype(np.float64)
    return intercept + slope * x


def dense(functions: Sequence[Steps], low: float = LOW, high: float = HIGH) -> FloatArray:
    """Arguments over the whole range, close around every step, each a float32."""
    near = [np.linspace(p - 8 * w, p + 8 * w, 20_001) for f in functions for p, w, _ in f.steps]
    x = np.sort(np.concatenate([np.linspace(low, high, 50_001), *near])).astype(np.float32).astype(np.float64)
    return x[(x >= low) & (x <= high)]


def around(x: FloatArray) -> NDArray[np.float32]:
    """Each x as float32 with both of its neighbours."""
    here = x.astype(np.float32)
    beyond = np.float32(np.inf)
    return np.concatenate([np.nextafter(here, -beyond), here, np.nextafter(here, beyond)])


def hair(low: float, high: float) -> float:
    """How far rounding shifts an edge: six operations on numbers as large as the range and its ends."""
    return 6 * ROUNDING * max(abs(low), abs(high), high - low)


STRAIGHT = Steps(1.0)
WIDE = Steps(1.0, ((0.1, 0.05, 0.02),))
NARROW = Steps(0.9, ((0.01, 0.0009, 0.01),))
SPIKES = Steps(1.0, ((-0.06, 0.0009, 0.006), (0.0085, 0.0009, 0.02), (0.0113, 0.0009, 0.01)))
FALLING = Steps(1.0, ((0.02, 0.001, -0.002),))
AT_THE_ENDS = Steps(1.0, ((LOW, 0.001, 0.01), (HIGH, 0.001, 0.01)))
BENT = [WIDE, NARROW, SPIKES, FALLING, AT_THE_ENDS]
