"""Tables of straight lines: a smooth function of one variable, ready for a few float32 operations a look-up.

A table covers [low, high] with equal zones; each zone is cut into as many equal cells as its sharpest bend needs, and
each cell has its line. A zone too is described by a line, whose value is the place of a cell:

    x̂ = clip(x, low, high);   z = zone[truncate(scale·x̂ + offset)]
    line = lines[truncate(z.slope·x̂ + z.intercept)];   value = line.intercept + line.slope·x

Beyond both ends the first and last lines are extended. Every line is the chord of its cell, so the table is
continuous and as monotone as the function. Zones and lines lie in one array, the zones first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.market.black_scholes import FloatArray

# Numbers of zones tried for a table; the one with the fewest zones and cells together is taken.
ZONE_CHOICES = (1, 32, 64, 128, 256, 512)
# Most cells of a table, and of the range in units of its narrowest cell: beyond it float32 resolves no place.
MOST_CELLS = 1 << 20
# x̂ keeps this share of a cell away from both ends. It must exceed the rounding of a place, which is below 0.32 at
# MOST_CELLS over a range around zero, and stay within the cell.
END_MARGIN = 0.375


@dataclass(frozen=True)
class LineTable:
    """Lines of one or several functions (rows) over common zones.

    Attributes
    ----------
    clip : (low, high), the range of x̂.
    scale, offset : the zone of x̂ is truncate(scale·x̂ + offset).
    zones : number of zones a row.
    rows : number of rows.
    lines : (rows·zones + cells, 2) float32 intercept and slope: each row's zones, then the cells of all rows. The
        value of a zone's line is a place in this array.
    """

    clip: tuple[np.float32, np.float32]
    scale: np.float32
    offset: np.float32
    zones: int
    rows: int
    lines: NDArray[np.float32]

    @property
    def cells(self) -> int:
        """Number of cells of all rows."""
        return len(self.lines) - self.rows * self.zones


def build_line_table(
    functions: Sequence[Callable[[FloatArray], FloatArray]],
    nodes: Sequence[FloatArray],
    slopes: Sequence[FloatArray],
    tolerance: float,
) -> LineTable:
    """Line table of functions sampled at nodes, within a tolerance of each.

    Parameters
    ----------
    functions : one callable a row, (n,) float64 to (n,) float64.
    nodes : each row's abscissae, ascending, dense enough to show every bend.
    slopes : each row's derivative at its nodes.
    tolerance : largest distance between chord and function, in units of the function.

    Where a bend needs cells narrower than the range / `MOST_CELLS`, or all bends together need more cells than that,
    the table has `MOST_CELLS` equal cells whatever the tolerance.

    The chord of a cell of width d errs by d²·|f″|/8 at most; f″ is read off the change of slope between nodes.
    """
    low = min(float(x[0]) for x in nodes)
    high = max(float(x[-1]) for x in nodes)
    bends = [np.abs(np.diff(m) / np.diff(x)) for x, m in zip(nodes, slopes, strict=True)]
    zones = max(ZONE_CHOICES)
    finest = np.append(low + (high - low) / zones * np.arange(zones), high)
    sharpest = np.stack([_sharpest(finest, x, b) for x, b in zip(nodes, bends, strict=True)])
    return _table(functions, low, high, _fewest_cells((high - low) * np.sqrt(sharpest / (8.0 * tolerance))))


def _sharpest(edges: FloatArray, nodes: FloatArray, bends: FloatArray) -> FloatArray:
    """Sharpest bend between each two edges; `bends` has one for each two nodes."""
    last = bends.size - 1
    # Each two edges span the intervals of nodes from the even entry to below the odd one, and one more to each side:
    # an interval tells its mean bend, which is sharper at the end towards a sharper interval.
    pairs = np.empty(2 * (edges.size - 1), dtype=np.int64)
    pairs[::2] = np.minimum(np.maximum(np.searchsorted(nodes, edges[:-1], side="right") - 2, 0), last)
    pairs[1::2] = np.maximum(np.searchsorted(nodes, edges[1:], side="left"), pairs[::2]) + 1
    result: FloatArray = np.maximum.reduceat(np.append(bends, 0.0), np.minimum(pairs, last + 1))[::2]
    return result


def _fewest_cells(needed: FloatArray) -> NDArray[np.int64]:
    """Cells of each row's zones, (rows, zones), for the number of zones that takes the fewest lines.

    Parameters
    ----------
    needed : (rows, finest zones) cells that the whole range would need if it bent everywhere as it does there.
    """
    choices = [_cells_of_zones(needed, zones) for zones in ZONE_CHOICES]
    fewest = min(choices, key=lambda cells: cells.size + int(cells.sum()))
    if needed.max() > MOST_CELLS or fewest.sum() > MOST_CELLS:
        return np.full((len(needed), 1), -(-MOST_CELLS // len(needed)))
    return fewest


def _cells_of_zones(needed: FloatArray, zones: int) -> NDArray[np.int64]:
    """Cells of each row's zones, (rows, zones), from what finer zones need."""
    sharpest = needed.reshape(len(needed), zones, -1).max(axis=2)
    cells: NDArray[np.int64] = np.maximum(np.ceil(sharpest / zones), 1).astype(np.int64)
    # The end zones are cut alike in all rows, since x̂ keeps the same margin in all of them.
    cells[:, [0, -1]] = cells[:, [0, -1]].max(axis=0)
    return cells


def _table(
    functions: Sequence[Callable[[FloatArray], FloatArray]], low: float, high: float, cells: NDArray[np.int64]
) -> LineTable:
    rows, zones = cells.shape
    width = (high - low) / zones
    zone_low = low + width * np.arange(zones)
    # Place of each zone's first cell in the array of lines.
    ends = rows * zones + np.cumsum(cells).reshape(rows, zones)
    first = ends - cells
    lines = np.empty((int(ends[-1, -1]), 2), dtype=np.float32)
    slope = (cells / width).astype(np.float32)
    lines[: rows * zones, 1] = slope.reshape(-1)
    lines[: rows * zones, 0] = (first - slope.astype(np.float64) * zone_low).reshape(-1)
    for row, function in enumerate(functions):
        within = np.arange(first[row, 0], ends[row, -1]) - np.repeat(first[row], cells[row])
        starts = np.repeat(zone_low, cells[row]) + within * np.repeat(width / cells[row], cells[row])
        lines[first[row, 0] : ends[row, -1]] = _chords(function, np.append(starts, high))
    margin_low, margin_high = END_MARGIN * width / cells[0, [0, -1]]
    return LineTable(
        (np.float32(low + margin_low), np.float32(high - margin_high)),
        np.float32(1.0 / width),
        np.float32(-low / width),
        zones,
        rows,
        lines,
    )


def _chords(function: Callable[[FloatArray], FloatArray], edges: FloatArray) -> NDArray[np.float32]:
    """Intercept and slope of the chord of each cell, (cells, 2)."""
    at_edges = function(edges)
    lines = np.empty((edges.size - 1, 2), dtype=np.float32)
    lines[:, 1] = np.diff(at_edges) / np.diff(edges)
    middle = 0.5 * (edges[1:] + edges[:-1])
    lines[:, 0] = 0.5 * (at_edges[1:] + at_edges[:-1]) - lines[:, 1].astype(np.float64) * middle
    return lines
