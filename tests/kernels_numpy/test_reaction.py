"""Look-ups in segment tables: against float64, against scalar arithmetic, row by row, and beyond the ends.

`tests/reaction/test_segment_table.py` shows that every index lies in the table and next to the exact one.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtr

from sim.kernels_numpy import reaction
from sim.kernels_numpy.reaction import LookUpWork, look_up, plan_tables
from sim.reaction.segment_table import SegmentTable, build_segment_table

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
TOLERANCE = 1e-6
LOW, HIGH = -0.25, 0.3


class Straight:
    """0.9·x: its table is one line."""

    def __call__(self, x: Doubles) -> Doubles:
        return 0.9 * x

    def slope(self, x: Doubles) -> Doubles:
        return np.full(x.size, 0.9)


class Smooth:
    """x + sin(9x)/100."""

    def __call__(self, x: Doubles) -> Doubles:
        return x + 0.01 * np.sin(9 * x)

    def slope(self, x: Doubles) -> Doubles:
        return 1 + 0.09 * np.cos(9 * x)


class Kinked:
    """A step 0.002 wide at 0.01: its table has many segments in few panels."""

    def __call__(self, x: Doubles) -> Doubles:
        return np.asarray(x + 0.02 * ndtr((x - 0.01) / 0.002))

    def slope(self, x: Doubles) -> Doubles:
        return np.asarray(1 + 10 * stats.norm.pdf((x - 0.01) / 0.002))


Function = Straight | Smooth | Kinked
NEAR_THE_STEP = np.linspace(-0.0199, 0.0399, 3000)
NODES = np.concatenate([np.linspace(LOW, -0.02, 400), NEAR_THE_STEP, np.linspace(0.04, HIGH, 400)])


def table_of(*functions: Function) -> SegmentTable:
    slopes = [f.slope(NODES) for f in functions]
    return build_segment_table(functions, [NODES] * len(functions), slopes, TOLERANCE)


def engine_table_of(table: SegmentTable) -> reaction.SegmentTable:
    """The table as an engine holds it."""
    lines = np.ascontiguousarray(table.lines).view(np.complex64).reshape(-1)
    return reaction.SegmentTable(lines, np.int32(table.panels), *table.clip, table.scale, table.offset)


def looked_up(
    engine_table: reaction.SegmentTable, x: Floats, book: NDArray[np.int32] | None = None
) -> Floats:
    out = np.full(x.size, np.nan, dtype=np.float32)
    look_up(engine_table, x, book, out, LookUpWork.allocate(x.size))
    return out


def some_x(count: int, seed: int, low: float = LOW - 0.1, high: float = HIGH + 0.1) -> Floats:
    return np.random.default_rng(seed).uniform(low, high, count).astype(np.float32)


straight, smooth, kinked = Straight(), Smooth(), Kinked()
LINE, SMOOTH, PANELLED = table_of(straight), table_of(smooth), table_of(kinked)
TABLES = [
    pytest.param(LINE, id="line"),
    pytest.param(SMOOTH, id="smooth"),
    pytest.param(PANELLED, id="panels"),
]


def test_one_of_each_kind() -> None:
    assert (LINE.panels, LINE.segments) == (1, 1)
    assert SMOOTH.segments > 20
    # Panels of one segment and panels of many.
    segments = PANELLED.lines[: PANELLED.panels, 1] / PANELLED.scale
    assert segments.min() == pytest.approx(1)
    assert segments.max() > 10


def exact_look_up(table: SegmentTable, x: Doubles, row: int = 0) -> Doubles:
    """The formula of the module in float64."""
    lines = table.lines.astype(np.float64)
    inside = np.clip(x, float(table.clip[0]), float(table.clip[1]))
    panel = (float(table.scale) * inside + float(table.offset)).astype(np.int64) + row * table.panels
    segment = (lines[panel, 1] * inside + lines[panel, 0]).astype(np.int64)
    return lines[segment, 0] + lines[segment, 1] * x


@pytest.mark.parametrize("table", TABLES)
def test_float64_evaluation(table: SegmentTable) -> None:
    """The formula of the module in float64 may pick the neighbouring segment at an edge, where both lines meet."""
    x = some_x(200_000, 1)
    exact = exact_look_up(table, x.astype(np.float64))
    np.testing.assert_allclose(looked_up(engine_table_of(table), x), exact, rtol=0, atol=1.0e-7)


@pytest.mark.parametrize(
    ("table", "function"), [(SMOOTH, smooth), (PANELLED, kinked)], ids=["smooth", "panels"]
)
def test_function_is_met(table: SegmentTable, function: Function) -> None:
    x = np.concatenate([some_x(200_000, 2, LOW, HIGH), some_x(100_000, 3, 0.0, 0.02)])
    error = np.abs(looked_up(engine_table_of(table), x) - function(x.astype(np.float64)))
    assert 0.5 * TOLERANCE < error.max() < TOLERANCE + 1.0e-7


def panel_edges(table: SegmentTable) -> Floats:
    """Ends of the range and of every panel, with the float32 numbers next to them."""
    edges = ((np.arange(table.panels + 1) - float(table.offset)) / float(table.scale)).astype(np.float32)
    edges = np.concatenate([edges, table.clip])
    return np.concatenate([np.nextafter(edges, np.float32(-9)), edges, np.nextafter(edges, np.float32(9))])


def scalar_look_up(engine_table: reaction.SegmentTable, x: np.float32, book: int) -> np.float32:
    """One float32 operation at a time."""
    inside = x
    if inside < engine_table.low:
        inside = engine_table.low
    if inside > engine_table.high:
        inside = engine_table.high
    scaled = inside * engine_table.scale
    panel = int(scaled + engine_table.offset)
    assert 0 <= panel < engine_table.panels
    panel_line = engine_table.lines[book * int(engine_table.panels) + panel]
    within = np.float32(panel_line.imag) * inside
    line = engine_table.lines[int(within + np.float32(panel_line.real))]
    value = np.float32(line.imag) * x
    return np.float32(np.float32(line.real) + value)


def assert_bits(found: Floats, scalars: list[np.float32]) -> None:
    expected = np.array(scalars)
    assert expected.dtype == found.dtype == np.float32
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


FAR = np.array([0, -0.0, 1e-40, -5, 5, 60, -1e30, 1e30], dtype=np.float32)


@pytest.mark.parametrize("table", TABLES)
def test_scalar_arithmetic(table: SegmentTable) -> None:
    engine_table = engine_table_of(table)
    x = np.concatenate([some_x(2000, 4), panel_edges(table), FAR])
    assert_bits(looked_up(engine_table, x), [scalar_look_up(engine_table, value, 0) for value in x])


MIXED = table_of(smooth, kinked, straight, smooth)
FLOATS = st.floats(-(2.0**99), 2.0**99, width=32) | st.floats(-0.5, 0.5, width=32)
SOME_X = arrays(
    np.float32, st.integers(1, 40), elements=FLOATS | st.sampled_from(panel_edges(MIXED).tolist())
)


@settings(max_examples=200, deadline=None)
@given(SOME_X, st.data())
def test_scalar_arithmetic_anywhere_in_any_row(x: Floats, data: st.DataObject) -> None:
    book = data.draw(arrays(np.int32, x.size, elements=st.integers(0, 3)))
    engine_table = engine_table_of(MIXED)
    assert_bits(
        looked_up(engine_table, x, book),
        [scalar_look_up(engine_table, value, int(row)) for value, row in zip(x, book, strict=True)],
    )


@pytest.mark.parametrize("table", [*TABLES, pytest.param(MIXED, id="rows")])
def test_every_segment_is_read_and_nothing_else(table: SegmentTable) -> None:
    """Lines whose value is their index: each row's paths read all segments of the row, the first to the last."""
    panels = table.rows * table.panels
    engine_table = engine_table_of(table)
    indices = engine_table.lines.copy()
    indices[panels:] = np.arange(panels, len(indices))
    telling = dataclasses.replace(engine_table, lines=indices)
    segments = np.rint(table.lines[:panels, 1] / table.scale).reshape(table.rows, -1).sum(axis=1)
    ends = panels + np.cumsum(segments)
    x = np.concatenate([some_x(100_000, 14), panel_edges(table), FAR])
    for row, (first, end) in enumerate(zip(ends - segments, ends, strict=True)):
        found = looked_up(telling, x, np.full(x.size, row, dtype=np.int32))
        np.testing.assert_array_equal(np.unique(found), np.arange(first, end))
    assert ends[-1] == len(indices)


def test_each_path_reads_the_row_of_its_book() -> None:
    functions, engine_table = (smooth, kinked, straight, smooth), engine_table_of(MIXED)
    x = some_x(30_000, 5, LOW, HIGH)
    book = np.random.default_rng(6).integers(0, 4, x.size, dtype=np.int32)
    found = looked_up(engine_table, x, book)
    for row, function in enumerate(functions):
        here = book == row
        np.testing.assert_allclose(
            found[here], function(x[here].astype(np.float64)), rtol=0, atol=TOLERANCE + 1e-7
        )
        every = np.full(x.size, row, dtype=np.int32)
        np.testing.assert_array_equal(found[here], looked_up(engine_table, x, every)[here])


def test_rows_end_where_the_next_begins() -> None:
    """Far outside, a path stays in its own row."""
    engine_table = engine_table_of(table_of(smooth, kinked, smooth))
    x = np.array([-9, 9], dtype=np.float32)
    ends = [looked_up(engine_table, x, np.full(2, row, dtype=np.int32)) for row in range(3)]
    np.testing.assert_array_equal(ends[0], ends[2])
    assert np.all(ends[0] != ends[1])


def test_book_is_not_needed_for_one_row() -> None:
    engine_table, x = engine_table_of(PANELLED), some_x(1000, 7)
    np.testing.assert_array_equal(
        looked_up(engine_table, x), looked_up(engine_table, x, np.zeros(1000, dtype=np.int32))
    )


@pytest.mark.parametrize("table", TABLES)
def test_same_bits_whatever_the_block(table: SegmentTable) -> None:
    engine_table, x = engine_table_of(table), some_x(131, 8)
    whole = looked_up(engine_table, x)
    for path in range(x.size):
        np.testing.assert_array_equal(looked_up(engine_table, x[path : path + 1]), whole[path : path + 1])
    for start in range(1, 9):
        np.testing.assert_array_equal(looked_up(engine_table, x[start:-start]), whole[start:-start])


def test_work_can_be_cut_and_keeps_nothing() -> None:
    engine_table, x = engine_table_of(PANELLED), some_x(300, 9)
    whole = looked_up(engine_table, x)
    work = LookUpWork.allocate(300)
    for n in (300, 7, 1, 299):
        out = np.full(n, np.nan, dtype=np.float32)
        look_up(engine_table, x[-n:], None, out, work.cut(n))
        np.testing.assert_array_equal(out, whole[-n:])


@pytest.mark.parametrize("table", TABLES)
def test_straight_beyond_the_ends(table: SegmentTable) -> None:
    """The first and the last line go on, however far."""
    engine_table = engine_table_of(table)
    for line, ends in ((table.panels, (LOW, -1.0, -30.0, -1e30)), (-1, (HIGH, 1.0, 30.0, 1e30))):
        x = np.array(ends, dtype=np.float32)
        intercept, slope = table.lines[line]
        np.testing.assert_array_equal(looked_up(engine_table, x), intercept + slope * x)


@pytest.mark.parametrize("table", TABLES)
def test_never_falls(table: SegmentTable) -> None:
    """The functions rise, and so do their tables, but for the last bit where two lines meet."""
    x = np.concatenate([some_x(300_000, 10), some_x(100_000, 11, 0.0, 0.02), panel_edges(table)])
    x = np.sort(x)
    assert np.diff(looked_up(engine_table_of(table), x)).min() >= -6.0e-8


@dataclasses.dataclass(frozen=True)
class TablesOnly:
    """What `plan_tables` reads of a plan."""

    lines: Floats
    table_start: NDArray[np.int64]
    table_panels: NDArray[np.int32]
    table_clip: Floats
    table_scale: Floats


def plan_of(tables: list[SegmentTable]) -> TablesOnly:
    return TablesOnly(
        lines=np.concatenate([np.empty((0, 2), dtype=np.float32), *(t.lines for t in tables)]),
        table_start=np.cumsum([0, *(len(t.lines) for t in tables)])[:-1],
        table_panels=np.array([t.panels for t in tables], dtype=np.int32),
        table_clip=np.array([t.clip for t in tables], dtype=np.float32).reshape(-1, 2),
        table_scale=np.array([(t.scale, t.offset) for t in tables], dtype=np.float32).reshape(-1, 2),
    )


def test_plan_tables_are_views_in_order() -> None:
    tables = [table_of(smooth, kinked), table_of(straight, straight), table_of(kinked, smooth)]
    plan = plan_of(tables)
    x, book = some_x(500, 12), np.random.default_rng(13).integers(0, 2, 500, dtype=np.int32)
    views = plan_tables(plan)  # type: ignore[arg-type]
    for engine_table, table in zip(views, tables, strict=True):
        assert np.shares_memory(engine_table.lines, plan.lines)
        assert engine_table.lines.size == len(table.lines)
        np.testing.assert_array_equal(
            looked_up(engine_table, x, book), looked_up(engine_table_of(table), x, book)
        )


def test_plan_without_tables() -> None:
    assert plan_tables(plan_of([])) == []  # type: ignore[arg-type]
