"""Look-ups in tables of straight lines: the clearing map Φ and its inverse.

    x̂ = clip(x, low, high);   panel = lines[truncate(scale·x̂ + offset) + book·panels]
    line = lines[truncate(panel.slope·x̂ + panel.intercept)];   value = line.intercept + line.slope·x

A table's panels are equal; each is cut into as many segments as its bends need.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.kernels_numpy.normal import Float32Array
from sim.plan.engine_plan import EnginePlan, Int32Array


@dataclass(frozen=True)
class SegmentTable:
    """Segment table of a plan, its lines as complex64 pairs (intercept + i·slope) so that one gather reads both."""

    lines: NDArray[np.complex64]
    panels: np.int32
    low: np.float32
    high: np.float32
    scale: np.float32
    offset: np.float32


def plan_tables(plan: EnginePlan) -> list[SegmentTable]:
    """Views of all segment tables of a plan."""
    lines = plan.lines.view(np.complex64).reshape(-1)
    # A plan without tables has no lines, hence no end either.
    ends = np.append(plan.table_start[1:], lines.size)[: plan.table_start.size]
    return [
        SegmentTable(lines[start:end], panels, *clip, *scale)
        for start, end, panels, clip, scale in zip(
            plan.table_start, ends, plan.table_panels, plan.table_clip, plan.table_scale, strict=True
        )
    ]


@dataclass(frozen=True)
class LookUpWork:
    """Scratch for `look_up`: two float32, one int32 and one complex64 array of the block's length."""

    inside: Float32Array
    scaled: Float32Array
    index: Int32Array
    line: NDArray[np.complex64]

    @classmethod
    def allocate(cls, n: int) -> LookUpWork:
        """Scratch for up to n paths."""
        return cls(np.empty(n, "f4"), np.empty(n, "f4"), np.empty(n, "i4"), np.empty(n, "c8"))

    def cut(self, n: int) -> LookUpWork:
        """The same scratch, shortened to n paths."""
        return LookUpWork(self.inside[:n], self.scaled[:n], self.index[:n], self.line[:n])


def look_up(
    table: SegmentTable, x: Float32Array, book: Int32Array | None, out: Float32Array, work: LookUpWork
) -> None:
    """Value of each path's line at x.

    Parameters
    ----------
    table : the lines.
    x : (n,) float32.
    book : (n,) int32 row of each path, or None when the table has one row.
    out : (n,) float32, not x itself.
    work : scratch of n.
    """
    inside, scaled = work.inside, work.scaled
    np.clip(x, table.low, table.high, out=inside)
    np.multiply(inside, table.scale, out=scaled)
    np.add(scaled, table.offset, out=scaled)
    np.copyto(work.index, scaled, casting="unsafe")
    if book is not None:
        row = scaled.view(np.int32)
        np.multiply(book, table.panels, out=row)
        np.add(work.index, row, out=work.index)
    np.take(table.lines, work.index, out=work.line, mode="clip")
    np.multiply(work.line.imag, inside, out=scaled)
    np.add(work.line.real, scaled, out=scaled)
    np.copyto(work.index, scaled, casting="unsafe")
    np.take(table.lines, work.index, out=work.line, mode="clip")
    np.multiply(work.line.imag, x, out=out)
    np.add(work.line.real, out, out=out)
