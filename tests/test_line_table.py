"""Tables of straight lines: chord error, continuity, the core around narrow bends, and the ends.

Tables are read here in float64, by the formula of the module; float32 look-ups are the kernels' tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtr

from sim.line_table import LineTable, build_line_table

FloatArray = NDArray[np.float64]
LOW, HIGH = -0.3, 0.5
# Intercepts and slopes are rounded to float32: |x| and |value| stay below one.
ROUNDING = 6.0e-8


@dataclass(frozen=True)
class Steps:
    """base·x plus smooth steps, each (place, width, height)."""

    base: float
    steps: tuple[tuple[float, float, float], ...] = ()

    def __call__(self, x: FloatArray) -> FloatArray:
        return np.asarray(self.base * x + sum(h * ndtr((x - p) / w) for p, w, h in self.steps))

    def slope(self, x: FloatArray) -> FloatArray:
        return np.asarray(self.base + sum(h * stats.norm.pdf(x, p, w) for p, w, h in self.steps) + 0 * x)

    def nodes(self, low: float, high: float) -> FloatArray:
        """Abscissae as the reaction map lays them: even, and twelve a width around each step."""
        fine = [p + w / 12 * np.arange(-84, 85) for p, w, _ in self.steps]
        nodes = np.unique(np.concatenate([np.linspace(low, high, 401), *fine]))
        nodes = nodes[(nodes >= low) & (nodes <= high)]
        return nodes[np.concatenate(([True], np.diff(nodes) > 1e-9))]


def table_of(functions: Sequence[Steps], tolerance: float, low: float = LOW, high: float = HIGH) -> LineTable:
    nodes = [f.nodes(low, high) for f in functions]
    return build_line_table(
        functions, nodes, [f.slope(x) for f, x in zip(functions, nodes, strict=True)], tolerance
    )


def cell_of(table: LineTable, x: FloatArray) -> NDArray[np.int64]:
    a, b, d = (float(offset) for offset in table.offset)
    coarse, fine = float(table.coarse), float(table.fine)
    place = np.maximum(coarse * x + a, np.minimum(fine * x + b, coarse * x + d))
    return np.clip(place, 0, table.cells - 1).astype(np.int64)


def knots_of(table: LineTable) -> tuple[float, float, float]:
    """Start of the table, and start and end of its core: where two runs have the same place."""
    a, b, d = (float(offset) for offset in table.offset)
    coarse, fine = float(table.coarse), float(table.fine)
    return -a / coarse, (a - b) / (fine - coarse), (d - b) / (fine - coarse)


def read(table: LineTable, x: FloatArray, row: int = 0) -> FloatArray:
    intercept, slope = table.lines[row, cell_of(table, x)].T.astype(np.float64)
    return intercept + slope * x


def dense(functions: Sequence[Steps], low: float = LOW, high: float = HIGH) -> FloatArray:
    near = [np.linspace(p - 8 * w, p + 8 * w, 20_001) for f in functions for p, w, _ in f.steps]
    x = np.sort(np.concatenate([np.linspace(low, high, 50_001), *near]))
    return x[(x >= low) & (x <= high)]


STRAIGHT = Steps(1.0)
WIDE = Steps(1.0, ((0.1, 0.05, 0.02),))
NARROW = Steps(0.9, ((0.01, 0.0009, 0.01),))
SPIKES = Steps(1.0, ((-0.06, 0.0009, 0.006), (0.0085, 0.0009, 0.02), (0.0113, 0.0009, 0.01)))
FALLING = Steps(1.0, ((0.02, 0.001, -0.002),))
AT_THE_ENDS = Steps(1.0, ((LOW, 0.001, 0.01), (HIGH, 0.001, 0.01)))


@pytest.mark.parametrize("tolerance", [1.7e-6, 5.8e-7])
@pytest.mark.parametrize("function", [WIDE, NARROW, SPIKES, FALLING, AT_THE_ENDS])
def test_chord_error(function: Steps, tolerance: float) -> None:
    """Within the tolerance (index points of 0.012 and 0.004 at 6,941.81), and not wastefully so."""
    table = table_of([function], tolerance)
    x = dense([function])
    error = np.abs(read(table, x) - function(x)).max()
    # Bends are read off between nodes twelve a width apart, which hides up to two per cent of the sharpest.
    assert 0.5 * tolerance < error < 1.02 * tolerance + ROUNDING


def test_straight_line_is_one_cell() -> None:
    table = table_of([STRAIGHT], 1e-6)
    assert table.lines.shape == (1, 1, 2)
    assert table.lines.dtype == np.float32
    np.testing.assert_allclose(read(table, dense([STRAIGHT])), dense([STRAIGHT]), rtol=0, atol=ROUNDING)


def test_core_only_where_equal_cells_would_be_too_many() -> None:
    equal = table_of([WIDE], 1e-6)
    assert equal.fine == equal.coarse > 0
    assert len(set(equal.offset)) == 1
    cored = table_of([NARROW], 5.8e-7)
    assert cored.fine > 3 * cored.coarse > 0
    equal_cells = (HIGH - LOW) * float(cored.fine)
    assert cored.cells < equal_cells / 5


def test_core_covers_every_sharp_bend_of_every_row() -> None:
    table = table_of([NARROW, SPIKES], 1.7e-6)
    _, start, end = knots_of(table)
    assert start < -0.06 - 2 * 0.0009
    assert end > 0.0113 + 2 * 0.0009


@pytest.mark.parametrize("function", [WIDE, NARROW, SPIKES, AT_THE_ENDS])
def test_cells_are_counted_without_gap(function: Steps) -> None:
    """Each of the cells is used, in order, from the first to the last."""
    table = table_of([function], 5.8e-7)
    cells = cell_of(table, np.linspace(LOW, HIGH, 200 * table.cells + 1))
    np.testing.assert_array_equal(np.unique(cells), np.arange(table.cells))
    assert np.all(np.diff(cells) >= 0)


@pytest.mark.parametrize("function", [WIDE, NARROW, SPIKES, AT_THE_ENDS])
def test_neighbours_meet(function: Steps) -> None:
    """Continuity: at each inner edge both lines have one value."""
    table = table_of([function], 5.8e-7)
    lines = table.lines[0].astype(np.float64)
    x = np.linspace(LOW, HIGH, 40 * table.cells + 1)
    cells = cell_of(table, x)
    last = np.flatnonzero(np.diff(cells))
    edge, before, after = 0.5 * (x[last] + x[last + 1]), cells[last], cells[last + 1]
    jump = lines[before, 0] + lines[before, 1] * edge - lines[after, 0] - lines[after, 1] * edge
    # The edge is known to half a fortieth of a cell, over which the lines' slopes differ.
    slack = np.abs(lines[after, 1] - lines[before, 1]) * (x[1] - x[0])
    assert np.all(np.abs(jump) <= slack + 2 * ROUNDING)


@pytest.mark.parametrize("function", [STRAIGHT, WIDE, NARROW, SPIKES, AT_THE_ENDS])
def test_rising_function_has_rising_lines(function: Steps) -> None:
    table = table_of([function], 5.8e-7)
    assert table.lines[0, :, 1].min() > 0
    assert np.diff(read(table, dense([function]))).min() > -2 * ROUNDING


def test_first_and_last_line_go_on() -> None:
    for function in (STRAIGHT, WIDE, NARROW, SPIKES):
        table = table_of([function], 1.7e-6)
        beyond = np.array([LOW - 1e-3, LOW - 0.1, LOW - 0.7])
        expected = function(np.array([LOW])) + function.slope(np.array([LOW])) * (beyond - LOW)
        np.testing.assert_allclose(read(table, beyond), expected, rtol=0, atol=2e-6)
        beyond = np.array([HIGH + 1e-3, HIGH + 0.1, HIGH + 0.5])
        expected = function(np.array([HIGH])) + function.slope(np.array([HIGH])) * (beyond - HIGH)
        np.testing.assert_allclose(read(table, beyond), expected, rtol=0, atol=2e-6)


def test_rows_share_cells_and_keep_their_functions() -> None:
    functions = [STRAIGHT, NARROW, WIDE, SPIKES]
    table = table_of(functions, 1.7e-6)
    assert table.lines.shape == (4, table.cells, 2)
    x = dense(functions)
    for row, function in enumerate(functions):
        assert np.abs(read(table, x, row) - function(x)).max() < 1.02 * 1.7e-6 + ROUNDING


def test_rows_over_different_ranges_cover_both() -> None:
    """Inverses of several books start and end at different values."""
    left, right = Steps(1.0, ((-0.2, 0.001, 0.01),)), Steps(1.0, ((0.4, 0.001, 0.01),))
    nodes = [left.nodes(-0.31, 0.2), right.nodes(0.1, 0.52)]
    slopes = [f.slope(x) for f, x in zip((left, right), nodes, strict=True)]
    table = build_line_table([left, right], nodes, slopes, 1e-6)
    assert knots_of(table)[0] == pytest.approx(-0.31, abs=ROUNDING)
    x = dense([left, right], -0.31, 0.52)
    assert np.abs(read(table, x, 0) - left(x)).max() < 1.02e-6 + ROUNDING
    assert np.abs(read(table, x, 1) - right(x)).max() < 1.02e-6 + ROUNDING
