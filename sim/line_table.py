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

from sim.black_scholes import FloatArray

# Numbers of zones tried for a table; the one with the fewest zones and cells together is taken.
ZONE_CHOICES = (1, 32, 64, 128, 256, 512)
MOST_CELLS = 1 << 20
# x̂ keeps this share of a cell away from both ends, so that no rounding leads out of the table.
END_MARGIN = 1.0 / 64.0


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

    A table stops at about 2^20 cells, `MOST_CELLS`, whatever the tolerance.

    The chord of a cell of width d errs by d²·|f″|/8 at most; f″ is read off the change of slope between nodes.
    """
    low = min(float(x[0]) for x in nodes)
    high = max(float(x[-1]) for x in nodes)
    bends = [np.abs(np.diff(m) / np.diff(x)) for x, m in zip(nodes, slopes, strict=True)]
    finest = np.linspace(low, high, max(ZONE_CHOICES) + 1)
    sharpest = np.stack([_sharpest(finest, x, b) for x, b in zip(nodes, bends, strict=True)])
    choices = [_cells_of_zones(sharpest, high - low, zones, tolerance) for zones in ZONE_CHOICES]
    return _table(functions, low, high, min(choices, key=lambda cells: cells.size + int(cells.sum())))


def _sharpest(edges: FloatArray, nodes: FloatArray, bends: FloatArray) -> FloatArray:
    """Sharpest bend between each two edges; `bends` has one for each two nodes."""
    last = bends.size - 1
    first_interval = np.clip(np.searchsorted(nodes, edges[:-1], side="right") - 1, 0, last)
    after = np.clip(np.searchsorted(nodes, edges[1:], side="left"), first_interval + 1, last + 1)
    pairs = np.stack((first_interval, after), axis=1).reshape(-1)
    result: FloatArray = np.maximum.reduceat(np.append(bends, 0.0), pairs)[::2]
    return result


def _cells_of_zones(sharpest: FloatArray, span: float, zones: int, tolerance: float) -> NDArray[np.int64]:
    """Cells that each zone needs, (rows, zones), from the sharpest bends of finer zones."""
    bend = sharpest.reshape(len(sharpest), zones, -1).max(axis=2)
    needed = span / zones * np.sqrt(bend / (8.0 * tolerance))
    result: NDArray[np.int64] = np.clip(np.ceil(needed), 1, MOST_CELLS // zones).astype(np.int64)
    return result


def _table(
    functions: Sequence[Callable[[FloatArray], FloatArray]], low: float, high: float, cells: NDArray[np.int64]
) -> LineTable:
    rows, zones = cells.shape
    width = (high - low) / zones
    zone_low = low + width * np.arange(zones)
    # Place of each zone's first cell in the array of lines.
    first = rows * zones + np.concatenate(([0], np.cumsum(cells)[:-1])).reshape(rows, zones)
    lines = np.empty((rows * zones + int(cells.sum()), 2), dtype=np.float32)
    slope = (cells / width).astype(np.float32)
    lines[: rows * zones, 1] = slope.reshape(-1)
    lines[: rows * zones, 0] = (first - slope.astype(np.float64) * zone_low).reshape(-1)
    for row, function in enumerate(functions):
        zone = np.repeat(np.arange(zones), cells[row])
        within = np.arange(zone.size) - (first[row] - first[row, 0])[zone]
        edges = np.append(zone_low[zone] + within * (width / cells[row])[zone], high)
        chords = _chords(function, edges)
        lines[first[row, 0] : first[row, 0] + len(chords)] = chords
    margin_low, margin_high = END_MARGIN * width / cells[:, [0, -1]].min(axis=0)
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
    slope = (np.diff(at_edges) / np.diff(edges)).astype(np.float32)
    middle = 0.5 * (edges[1:] + edges[:-1])
    intercept = 0.5 * (at_edges[1:] + at_edges[:-1]) - slope.astype(np.float64) * middle
    return np.stack((intercept.astype(np.float32), slope), axis=1)
