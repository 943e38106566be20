"""The normal law N and its density n in arithmetic that IEEE 754 pins down, the same with any compiler.

Both are Taylor series about the nearest entry z_k of a table, δ = z − z_k:

    n(z) = n_k · Σ b_j·δ^j                  b_0 = 1, b_1 = −z_k, b_j = −(z_k·b_{j−1} + b_{j−2}) / j
    N(z) = N_k + n_k·δ · Σ b_j·δ^j/(j+1)

The series end with j = 6, which errs by less than 1e-12 of n. From −8.5 down N = n = 0, from 8.5 up N = 1 and n = 0:
the table's ends are such entries.
"""

from __future__ import annotations

import numpy as np

from sim.market.normal_table import FloatArray, normal_tables

# Entries of the table by unit of z, and where it ends.
ENTRIES_PER_UNIT = 64
LAW_HALF_WIDTH = 8.5


def _table() -> tuple[FloatArray, FloatArray]:
    law, density = normal_tables(ENTRIES_PER_UNIT, int(LAW_HALF_WIDTH * ENTRIES_PER_UNIT))
    law[[0, -1]] = 0.0, 1.0
    density[[0, -1]] = 0.0
    for column in (law, density):
        column.flags.writeable = False
    return law, density


LAW, DENSITY = _table()


def law_and_density(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """N(z) and n(z), both of the shape of z."""
    inside = np.minimum(np.maximum(z, -LAW_HALF_WIDTH), LAW_HALF_WIDTH)
    place = (inside * ENTRIES_PER_UNIT + (LAW_HALF_WIDTH * ENTRIES_PER_UNIT + 0.5)).astype(np.int32)
    entry = (place - int(LAW_HALF_WIDTH * ENTRIES_PER_UNIT)) * (1.0 / ENTRIES_PER_UNIT)
    d = inside - entry
    at_entry = DENSITY[place]
    b1 = -entry
    b2 = -(entry * b1 + 1.0) * (1.0 / 2.0)
    b3 = -(entry * b2 + b1) * (1.0 / 3.0)
    b4 = -(entry * b3 + b2) * (1.0 / 4.0)
    b5 = -(entry * b4 + b3) * (1.0 / 5.0)
    b6 = -(entry * b5 + b4) * (1.0 / 6.0)
    density: FloatArray = at_entry * (1.0 + d * (b1 + d * (b2 + d * (b3 + d * (b4 + d * (b5 + d * b6))))))
    b1 = b1 * (1.0 / 2.0)
    b2 = b2 * (1.0 / 3.0)
    b3 = b3 * (1.0 / 4.0)
    b4 = b4 * (1.0 / 5.0)
    b5 = b5 * (1.0 / 6.0)
    b6 = b6 * (1.0 / 7.0)
    rise = d * (1.0 + d * (b1 + d * (b2 + d * (b3 + d * (b4 + d * (b5 + d * b6))))))
    law: FloatArray = LAW[place] + at_entry * rise
    return law, density
