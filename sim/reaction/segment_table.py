"""Tables of straight lines: a smooth function of one variable, ready for a few float32 operations per look-up.

A table covers [low, high] with equal panels; each panel is cut into as many equal segments as its sharpest bend
needs, and each segment has its line. A panel has a line too, whose value is the index of a segment:

    x̂ = clip(x, low, high);   panel = lines[truncate(scale·x̂ + offset)]
    line = lines[truncate(panel.slope·x̂ + panel.intercept)];   value = line.intercept + line.slope·x

Beyond both ends the first and last lines are extended. Every line is the chord of its segment, so the table is
continuous and as monotone as the function. The lines of panels and segments lie in one array, the panels' first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.market.black_scholes import FloatArray

# Numbers of panels tried for a table; the one with the fewest panels and segments together is taken.
PANEL_CHOICES = (1, 32, 64, 128, 256, 512)
# Most segments of a table, and of the range in units of its narrowest segment: beyond it float32 resolves no segment.
MOST_SEGMENTS = 1 << 20
# x̂ keeps this share of a segment away from both ends. It must exceed the rounding of a segment's index, which is
# below 0.32 at MOST_SEGMENTS over a range around zero, and stay within the segment.
END_MARGIN = 0.375


@dataclass(frozen=True)
class SegmentTable:
    """Lines of one or several functions (rows) over common panels.

    Attributes
    ----------
    clip : (low, high), the range of x̂.
    scale, offset : the panel of x̂ is truncate(scale·x̂ + offset).
    panels : number of panels per row.
    rows : number of rows.
    lines : (rows·panels + segments, 2) float32 intercept and slope: each row's panels, then the segments of all
        rows. The value of a panel's line is an index into this array.
    """

    clip: tuple[np.float32, np.float32]
    scale: np.float32
    offset: np.float32
    panels: int
    rows: int
    lines: NDArray[np.float32]

    @property
    def segments(self) -> int:
        """Number of segments of all rows."""
        return len(self.lines) - self.rows * self.panels


def build_segment_table(
    functions: Sequence[Callable[[FloatArray], FloatArray]],
    nodes: Sequence[FloatArray],
    slopes: Sequence[FloatArray],
    tolerance: float,
) -> SegmentTable:
    """Segment table of functions sampled at nodes, within a tolerance of each.

    Parameters
    ----------
    functions : one callable per row, (n,) float64 to (n,) float64.
    nodes : each row's abscissae, ascending, dense enough to show every bend.
    slopes : each row's derivative at its nodes.
    tolerance : largest distance between chord and function, in units of the function.

    Where a bend needs segments narrower than the range / `MOST_SEGMENTS`, or all bends together need more segments
    than that, the table has `MOST_SEGMENTS` equal segments whatever the tolerance.

    The chord of a segment of width d errs by d²·|f″|/8 at most; f″ is read off the change of slope between nodes.
    """
    low = min(float(x[0]) for x in nodes)
    high = max(float(x[-1]) for x in nodes)
    bends = [np.abs(np.diff(m) / np.diff(x)) for x, m in zip(nodes, slopes, strict=True)]
    panels = max(PANEL_CHOICES)
    finest = np.append(low + (high - low) / panels * np.arange(panels), high)
    sharpest = np.stack([_sharpest(finest, x, b) for x, b in zip(nodes, bends, strict=True)])
    return _table(
        functions, low, high, _fewest_segments((high - low) * np.sqrt(sharpest / (8.0 * tolerance)))
    )


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


def _fewest_segments(needed: FloatArray) -> NDArray[np.int64]:
    """Segments of each row's panels, (rows, panels), for the number of panels that takes the fewest lines.

    Parameters
    ----------
    needed : (rows, finest panels) segments that the whole range would need if it bent everywhere as it does there.
    """
    choices = [_segments_of_panels(needed, panels) for panels in PANEL_CHOICES]
    fewest = min(choices, key=lambda segments: segments.size + int(segments.sum()))
    if needed.max() > MOST_SEGMENTS or fewest.sum() > MOST_SEGMENTS:
        return np.full((len(needed), 1), -(-MOST_SEGMENTS // len(needed)))
    return fewest


def _segments_of_panels(needed: FloatArray, panels: int) -> NDArray[np.int64]:
    """Segments of each row's panels, (rows, panels), from what finer panels need."""
    sharpest = needed.reshape(len(needed), panels, -1).max(axis=2)
    segments: NDArray[np.int64] = np.maximum(np.ceil(sharpest / panels), 1).astype(np.int64)
    # The end panels are cut alike in all rows, since x̂ keeps the same margin in all of them.
    segments[:, [0, -1]] = segments[:, [0, -1]].max(axis=0)
    return segments


def _table(
    functions: Sequence[Callable[[FloatArray], FloatArray]],
    low: float,
    high: float,
    segments: NDArray[np.int64],
) -> SegmentTable:
    rows, panels = segments.shape
    width = (high - low) / panels
    panel_low = low + width * np.arange(panels)
    # Index of each panel's first segment in the array of lines.
    ends = rows * panels + np.cumsum(segments).reshape(rows, panels)
    first = ends - segments
    lines = np.empty((int(ends[-1, -1]), 2), dtype=np.float32)
    slope = (segments / width).astype(np.float32)
    lines[: rows * panels, 1] = slope.reshape(-1)
    lines[: rows * panels, 0] = (first - slope.astype(np.float64) * panel_low).reshape(-1)
    for row, function in enumerate(functions):
        within = np.arange(first[row, 0], ends[row, -1]) - np.repeat(first[row], segments[row])
        starts = np.repeat(panel_low, segments[row]) + within * np.repeat(
            width / segments[row], segments[row]
        )
        lines[first[row, 0] : ends[row, -1]] = _chords(function, np.append(starts, high))
    margin_low, margin_high = END_MARGIN * width / segments[0, [0, -1]]
    return SegmentTable(
        (np.float32(low + margin_low), np.float32(high - margin_high)),
        np.float32(1.0 / width),
        np.float32(-low / width),
        panels,
        rows,
        lines,
    )


def _chords(function: Callable[[FloatArray], FloatArray], edges: FloatArray) -> NDArray[np.float32]:
    """Intercept and slope of the chord of each segment, (segments, 2)."""
    at_edges = function(edges)
    lines = np.empty((edges.size - 1, 2), dtype=np.float32)
    lines[:, 1] = np.diff(at_edges) / np.diff(edges)
    middle = 0.5 * (edges[1:] + edges[:-1])
    lines[:, 0] = 0.5 * (at_edges[1:] + at_edges[:-1]) - lines[:, 1].astype(np.float64) * middle
    return lines
