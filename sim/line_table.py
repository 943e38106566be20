"""Tables of straight lines: a smooth function of one variable, ready for two float32 operations a look-up.

A table covers [k0, k3] with three runs of equal cells, [k0,k1], [k1,k2] and [k2,k3]; the middle run, the core,
is fine enough for the sharpest bend, the outer runs are coarse. A look-up is

    u = (min(x,k1) − k0)·c + (clip(x,k1,k2) − k1)·f + (max(x,k2) − k2)·c
    i = truncate(clip(u, 0, cells − 1));   value = intercept[i] + slope[i]·x

Outside [k0, k3] the first and last lines are extended. A table without a core has k1 = k2 = k3 and only the
first term. Every cell is the chord between its ends, so the table is continuous and as monotone as the function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.black_scholes import FloatArray

COARSE_CELLS = 768
SINGLE_RUN_CELLS = 3072
MOST_CELLS = 1 << 20


@dataclass(frozen=True)
class LineTable:
    """Lines of one or several functions (rows) over common cells.

    Attributes
    ----------
    knots : (k0, k1, k2), start of the table and of its core, and end of the core.
    coarse, fine : c and f, cells per unit of x outside and inside the core; fine = 0 when there is no core.
    lines : (rows, cells, 2) float32 intercept and slope.
    """

    knots: tuple[np.float32, np.float32, np.float32]
    coarse: np.float32
    fine: np.float32
    lines: NDArray[np.float32]

    @property
    def cells(self) -> int:
        """Number of cells a row."""
        return int(self.lines.shape[1])


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

    A table stops at 2^20 cells, `MOST_CELLS`, whatever the tolerance.

    The chord of a cell of width d errs by d²·|f″|/8 at most; f″ is read off the change of slope between nodes.
    """
    low = min(float(x[0]) for x in nodes)
    high = max(float(x[-1]) for x in nodes)
    bends = [np.abs(np.diff(m) / np.diff(x)) for x, m in zip(nodes, slopes, strict=True)]
    sharpest = max(float(b.max()) for b in bends)
    width = np.sqrt(8.0 * tolerance / sharpest) if sharpest > 0 else np.inf
    needed = int(np.clip(np.ceil((high - low) / width), 1, MOST_CELLS))
    if needed <= SINGLE_RUN_CELLS:
        edges = np.linspace(low, high, needed + 1)
        return _table(functions, edges, (low, high, high), needed / (high - low), 0.0)
    coarse_width = (high - low) / COARSE_CELLS
    core_low, core_high = high, low
    for x, bend in zip(nodes, bends, strict=True):
        sharp = np.flatnonzero(bend > 8.0 * tolerance / coarse_width**2)
        if sharp.size:
            core_low = min(core_low, float(x[sharp[0]]))
            core_high = max(core_high, float(x[sharp[-1] + 1]))
    # The core starts and ends on coarse cell edges counted from k0 and from the core's end.
    before = int((core_low - low) / coarse_width)
    core_low = low + before * coarse_width
    core_cells = int(np.clip(np.ceil((core_high - core_low) / width), 1, MOST_CELLS))
    after = int(np.ceil((high - core_high) / coarse_width))
    edges = np.concatenate(
        (
            low + coarse_width * np.arange(before),
            np.linspace(core_low, core_high, core_cells + 1),
            core_high + coarse_width * np.arange(1, after + 1),
        )
    )
    return _table(
        functions, edges, (low, core_low, core_high), 1.0 / coarse_width, core_cells / (core_high - core_low)
    )


def _table(
    functions: Sequence[Callable[[FloatArray], FloatArray]],
    edges: FloatArray,
    knots: tuple[float, float, float],
    coarse: float,
    fine: float,
) -> LineTable:
    lines = np.empty((len(functions), edges.size - 1, 2), dtype=np.float32)
    for row, function in zip(lines, functions, strict=True):
        at_edges = function(edges)
        slope = (np.diff(at_edges) / np.diff(edges)).astype(np.float32)
        middle = 0.5 * (edges[1:] + edges[:-1])
        row[:, 1] = slope
        row[:, 0] = 0.5 * (at_edges[1:] + at_edges[:-1]) - slope.astype(np.float64) * middle
    k0, k1, k2 = (np.float32(k) for k in knots)
    return LineTable((k0, k1, k2), np.float32(coarse), np.float32(fine), lines)
