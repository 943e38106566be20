"""Look-ups in tables of straight lines: the reaction map Φ and its inverse.

u = (min(x,k1) − k0)·c + (clip(x,k1,k2) − k1)·f + (max(x,k2) − k2)·c
i = truncate(clip(u, 0, cells − 1)) + book·cells;    value = intercept[i] + slope[i]·x
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.kernels_numpy.normal import Float32Array
from sim.plan import EnginePlan, Int32Array

ZERO = np.float32(0.0)


@dataclass(frozen=True)
class Lines:
    """One line table of a plan, its lines as complex64 pairs (intercept + i·slope) so that one gather reads both."""

    pairs: NDArray[np.complex64]
    last_cell: np.float32
    cells: np.int32
    k0: np.float32
    k1: np.float32
    k2: np.float32
    coarse: np.float32
    fine: np.float32


def plan_tables(plan: EnginePlan) -> list[Lines]:
    """Return views of all line tables of a plan."""
    pairs = plan.lines.view(np.complex64).reshape(-1)
    tables = []
    for start, cells, knots, scale in zip(
        plan.table_start, plan.table_cells, plan.table_knots, plan.table_scale, strict=True
    ):
        rows = pairs[start : start + int(cells) * plan.books]
        tables.append(Lines(rows, np.float32(cells - 1), np.int32(cells), *knots, *scale))
    return tables


@dataclass(frozen=True)
class LookUpWork:
    """Scratch for `look_up`: two float32 and one complex64 array of the block's length."""

    u: Float32Array
    part: Float32Array
    index: Int32Array
    pairs: NDArray[np.complex64]

    @classmethod
    def allocate(cls, n: int) -> LookUpWork:
        """Return scratch for up to n paths."""
        return cls(np.empty(n, "f4"), np.empty(n, "f4"), np.empty(n, "i4"), np.empty(n, "c8"))

    def cut(self, n: int) -> LookUpWork:
        """Return the same scratch, shortened to n paths."""
        return LookUpWork(self.u[:n], self.part[:n], self.index[:n], self.pairs[:n])


def look_up(
    table: Lines, x: Float32Array, book: Int32Array | None, out: Float32Array, work: LookUpWork
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
    u, part = work.u, work.part
    if table.fine > 0:
        np.minimum(x, table.k1, out=u)
        np.subtract(u, table.k0, out=u)
        np.multiply(u, table.coarse, out=u)
        np.maximum(x, table.k1, out=part)
        np.minimum(part, table.k2, out=part)
        np.subtract(part, table.k1, out=part)
        np.multiply(part, table.fine, out=part)
        np.add(u, part, out=u)
        np.maximum(x, table.k2, out=part)
        np.subtract(part, table.k2, out=part)
        np.multiply(part, table.coarse, out=part)
        np.add(u, part, out=u)
    else:
        np.subtract(x, table.k0, out=u)
        np.multiply(u, table.coarse, out=u)
    np.maximum(u, ZERO, out=u)
    np.minimum(u, table.last_cell, out=u)
    np.copyto(work.index, u, casting="unsafe")
    if book is not None:
        row = part.view(np.int32)
        np.multiply(book, table.cells, out=row)
        np.add(work.index, row, out=work.index)
    np.take(table.pairs, work.index, out=work.pairs, mode="clip")
    np.multiply(work.pairs.imag, x, out=out)
    np.add(work.pairs.real, out, out=out)
