"""Look-ups in line tables: against float64, against a scalar twin, row by row, and beyond the ends."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtr

from sim.kernels_numpy.reaction import Lines, LookUpWork, look_up, plan_tables
from sim.line_table import LineTable, build_line_table

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
TOLERANCE = 1e-6
LOW, HIGH = -0.25, 0.3


class Smooth:
    """x + sin(9x)/100."""

    def __call__(self, x: Doubles) -> Doubles:
        return x + 0.01 * np.sin(9 * x)

    def slope(self, x: Doubles) -> Doubles:
        return 1 + 0.09 * np.cos(9 * x)


class Kinked:
    """A step 0.002 wide at 0.01: its table needs a core."""

    def __call__(self, x: Doubles) -> Doubles:
        return np.asarray(x + 0.02 * ndtr((x - 0.01) / 0.002))

    def slope(self, x: Doubles) -> Doubles:
        return np.asarray(1 + 10 * stats.norm.pdf((x - 0.01) / 0.002))


Function = Smooth | Kinked
NEAR_THE_STEP = np.linspace(-0.0199, 0.0399, 3000)
NODES = np.concatenate([np.linspace(LOW, -0.02, 400), NEAR_THE_STEP, np.linspace(0.04, HIGH, 400)])


def table_of(*functions: Function) -> LineTable:
    slopes = [f.slope(NODES) for f in functions]
    return build_line_table(functions, [NODES] * len(functions), slopes, TOLERANCE)


def lines_of(table: LineTable) -> Lines:
    """The table as an engine holds it."""
    pairs = np.ascontiguousarray(table.lines).view(np.complex64).reshape(-1)
    last, cells = np.float32(table.cells - 1), np.int32(table.cells)
    return Lines(pairs, last, cells, *table.offset, coarse=table.coarse, fine=table.fine)


def looked_up(lines: Lines, x: Floats, book: NDArray[np.int32] | None = None) -> Floats:
    out = np.full(x.size, np.nan, dtype=np.float32)
    look_up(lines, x, book, out, LookUpWork.allocate(x.size))
    return out


def some_x(count: int, seed: int, low: float = LOW - 0.1, high: float = HIGH + 0.1) -> Floats:
    return np.random.default_rng(seed).uniform(low, high, count).astype(np.float32)


smooth, kinked = Smooth(), Kinked()
SINGLE, CORED = table_of(smooth), table_of(kinked)
TABLES = [pytest.param(SINGLE, id="single run"), pytest.param(CORED, id="core")]


def test_one_of_each_kind() -> None:
    assert SINGLE.fine == SINGLE.coarse
    assert len(set(SINGLE.offset)) == 1
    assert CORED.fine > CORED.coarse > 0


@pytest.mark.parametrize("table", TABLES)
def test_float64_evaluation(table: LineTable) -> None:
    """The formula of the module in float64 may pick the neighbouring cell at an edge, where both lines meet."""
    x = some_x(200_000, 1)
    a, b, d = (float(offset) for offset in table.offset)
    c, f = float(table.coarse), float(table.fine)
    exact = x.astype(np.float64)
    place = np.maximum(c * exact + a, np.minimum(f * exact + b, c * exact + d))
    cell = np.clip(place, 0, table.cells - 1).astype(np.int64)
    intercept, slope = table.lines[0, cell].T.astype(np.float64)
    np.testing.assert_allclose(looked_up(lines_of(table), x), intercept + slope * exact, rtol=0, atol=1.0e-7)


@pytest.mark.parametrize(
    ("table", "function"), [(SINGLE, smooth), (CORED, kinked)], ids=["single run", "core"]
)
def test_function_is_met(table: LineTable, function: Function) -> None:
    x = np.concatenate([some_x(200_000, 2, LOW, HIGH), some_x(100_000, 3, 0.0, 0.02)])
    error = np.abs(looked_up(lines_of(table), x) - function(x.astype(np.float64)))
    assert 0.5 * TOLERANCE < error.max() < TOLERANCE + 1.0e-7


def knots_of(table: LineTable) -> Floats:
    """Start of the table, and start and end of its core where it has one."""
    a, b, d = (float(offset) for offset in table.offset)
    core = [(a - b) / (table.fine - table.coarse), (d - b) / (table.fine - table.coarse)] if b != a else []
    return np.array([-a / table.coarse, *core], dtype=np.float32)


def scalar_look_up(lines: Lines, x: np.float32, book: int) -> np.float32:
    """One float32 operation at a time."""
    first = lines.coarse * x
    middle = lines.fine * x
    u = max(first + lines.a, min(middle + lines.b, first + lines.d))
    cell = int(min(max(u, np.float32(0)), lines.last_cell))
    line = lines.pairs[cell + book * int(lines.cells)]
    value = np.float32(line.imag) * x
    return np.float32(np.float32(line.real) + value)


@pytest.mark.parametrize("table", TABLES)
def test_scalar_twin(table: LineTable) -> None:
    lines = lines_of(table)
    knots = knots_of(table)
    edges = [np.nextafter(knots, np.float32(-9)), knots, np.nextafter(knots, np.float32(9))]
    x = np.concatenate([some_x(2000, 4), *edges, np.array([0, -0.0, -5, 5, 60], dtype=np.float32)])
    twin = np.array([scalar_look_up(lines, value, 0) for value in x])
    assert twin.dtype == np.float32
    np.testing.assert_array_equal(looked_up(lines, x).view(np.uint32), twin.view(np.uint32))


def test_each_path_reads_the_row_of_its_book() -> None:
    functions = (smooth, kinked, smooth)
    lines = lines_of(table_of(*functions))
    x = some_x(30_000, 5, LOW, HIGH)
    book = np.random.default_rng(6).integers(0, 3, x.size, dtype=np.int32)
    found = looked_up(lines, x, book)
    for row, function in enumerate(functions):
        here = book == row
        np.testing.assert_allclose(
            found[here], function(x[here].astype(np.float64)), rtol=0, atol=TOLERANCE + 1e-7
        )
        every = np.full(x.size, row, dtype=np.int32)
        np.testing.assert_array_equal(found[here], looked_up(lines, x, every)[here])
    twin = [scalar_look_up(lines, value, int(row)) for value, row in zip(x[:500], book[:500], strict=True)]
    np.testing.assert_array_equal(found[:500], twin)


def test_rows_end_where_the_next_begins() -> None:
    """Far outside, a path stays in its own row."""
    lines = lines_of(table_of(smooth, kinked, smooth))
    x = np.array([-9, 9], dtype=np.float32)
    ends = [looked_up(lines, x, np.full(2, row, dtype=np.int32)) for row in range(3)]
    np.testing.assert_array_equal(ends[0], ends[2])
    assert np.all(ends[0] != ends[1])


def test_book_is_not_needed_for_one_row() -> None:
    lines, x = lines_of(CORED), some_x(1000, 7)
    np.testing.assert_array_equal(looked_up(lines, x), looked_up(lines, x, np.zeros(1000, dtype=np.int32)))


@pytest.mark.parametrize("table", TABLES)
def test_same_bits_whatever_the_block(table: LineTable) -> None:
    lines, x = lines_of(table), some_x(131, 8)
    whole = looked_up(lines, x)
    for path in range(x.size):
        np.testing.assert_array_equal(looked_up(lines, x[path : path + 1]), whole[path : path + 1])
    for start in range(1, 9):
        np.testing.assert_array_equal(looked_up(lines, x[start:-start]), whole[start:-start])


def test_work_can_be_cut_and_keeps_nothing() -> None:
    lines, x = lines_of(CORED), some_x(300, 9)
    whole = looked_up(lines, x)
    work = LookUpWork.allocate(300)
    for n in (300, 7, 1, 299):
        out = np.full(n, np.nan, dtype=np.float32)
        look_up(lines, x[-n:], None, out, work.cut(n))
        np.testing.assert_array_equal(out, whole[-n:])


@pytest.mark.parametrize("table", TABLES)
def test_straight_beyond_the_ends(table: LineTable) -> None:
    """The first and the last line go on, however far."""
    lines = lines_of(table)
    for cell, ends in ((0, (LOW, -1.0, -30.0)), (-1, (HIGH, 1.0, 30.0))):
        x = np.array(ends, dtype=np.float32)
        intercept, slope = table.lines[0, cell]
        np.testing.assert_array_equal(looked_up(lines, x), intercept + slope * x)


@pytest.mark.parametrize("table", TABLES)
def test_never_falls(table: LineTable) -> None:
    """Both functions rise, and so do their tables, but for the last bit where two lines meet."""
    x = np.sort(np.concatenate([some_x(300_000, 10), some_x(100_000, 11, 0.0, 0.02)]))
    assert np.diff(looked_up(lines_of(table), x)).min() >= -6.0e-8


@dataclasses.dataclass(frozen=True)
class TablesOnly:
    """What `plan_tables` reads of a plan."""

    lines: Floats
    table_start: NDArray[np.int64]
    table_cells: NDArray[np.int32]
    table_offset: Floats
    table_scale: Floats
    books: int


def test_plan_tables_are_views_in_order() -> None:
    tables = [table_of(smooth, kinked), table_of(kinked, smooth), table_of(smooth, smooth)]
    sizes = [t.lines.shape[0] * t.cells for t in tables]
    plan = TablesOnly(
        lines=np.concatenate([t.lines.reshape(-1, 2) for t in tables]),
        table_start=np.cumsum([0, *sizes[:-1]]),
        table_cells=np.array([t.cells for t in tables], dtype=np.int32),
        table_offset=np.array([t.offset for t in tables], dtype=np.float32),
        table_scale=np.array([(t.coarse, t.fine) for t in tables], dtype=np.float32),
        books=2,
    )
    x, book = some_x(500, 12), np.random.default_rng(13).integers(0, 2, 500, dtype=np.int32)
    for lines, table in zip(plan_tables(plan), tables, strict=True):  # type: ignore[arg-type]
        assert np.shares_memory(lines.pairs, plan.lines)
        np.testing.assert_array_equal(looked_up(lines, x, book), looked_up(lines_of(table), x, book))
