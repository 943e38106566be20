"""Tables of straight lines: chord error, continuity, number of segments, the ends, indices under float32 rounding.

Values are read here in float64 from the lines that float32 finds; float32 values are the kernels' tests.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from support.stepped_tables import (
    AT_THE_ENDS,
    BENT,
    FALLING,
    HIGH,
    LOW,
    NARROW,
    ROUNDING,
    SPIKES,
    STRAIGHT,
    WIDE,
    Steps,
    around,
    dense,
    hair,
    index_found,
    panel_found,
    read,
    rows_of,
    table_of,
)

from sim.reaction import segment_table
from sim.reaction.segment_table import MOST_SEGMENTS, PANEL_CHOICES, SegmentTable, build_segment_table

# The two tolerances of the clearing map: 0.012 and 0.004 index points at 6,941.81.
TOLERANCES = (1.7e-6, 5.8e-7)
# Bends are read off between nodes twelve a width apart, which hides up to two per cent of the sharpest.
HIDDEN = 1.02


def optimal_segments(function: Steps, tolerance: float) -> float:
    """∫ √(|f″|/(8·tolerance)) dx, the segments of a table that is as fine everywhere as its bend there."""
    x = dense([function])
    bend = np.abs(np.gradient(function.slope(np.unique(x)), np.unique(x)))
    return float(np.trapezoid(np.sqrt(bend / (8 * tolerance)), np.unique(x)))


# Error and shape.


@pytest.mark.parametrize("tolerance", TOLERANCES)
@pytest.mark.parametrize("function", BENT)
def test_chord_error(function: Steps, tolerance: float) -> None:
    """Within the tolerance, and not wastefully so."""
    table = table_of([function], tolerance)
    x = dense([function])
    error = np.abs(read(table, x) - function(x)).max()
    assert 0.5 * tolerance < error < HIDDEN * tolerance + ROUNDING * 20


@pytest.mark.parametrize("tolerance", TOLERANCES)
@pytest.mark.parametrize("function", BENT)
def test_error_at_every_edge_of_segments_and_panels(function: Steps, tolerance: float) -> None:
    """Chords meet the function where segments begin, whichever side rounding picks."""
    table = table_of([function], tolerance)
    (row,) = rows_of(table)
    x = around(row.edges).astype(np.float64)
    x = x[(x >= LOW) & (x <= HIGH)]
    assert np.abs(read(table, x) - function(x)).max() < 0.15 * tolerance + ROUNDING * 20


@pytest.mark.parametrize("side", [1, -1])
def test_bend_that_is_sharpest_where_a_panel_begins(side: int) -> None:
    """Between the two nodes around a panel's edge the mean bend is less than the panel's sharpest."""
    function = Steps(1.0, ((0.0, 0.0266742, 0.08),))
    low, high = sorted((-0.5 * side, 1.0 * side))
    table = table_of([function], 3.16e-7, low, high)
    x = dense([function], low, high)
    assert np.abs(read(table, x) - function(x)).max() < 3.16e-7 + ROUNDING * 0.2


def test_straight_line_is_one_segment() -> None:
    table = table_of([STRAIGHT], 1e-6)
    assert (table.panels, table.rows, table.segments) == (1, 1, 1)
    assert table.lines.shape == (2, 2)
    assert table.lines.dtype == np.float32
    np.testing.assert_allclose(read(table, dense([STRAIGHT])), dense([STRAIGHT]), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("function", BENT)
def test_neighbours_meet(function: Steps) -> None:
    """Continuity: at each inner edge, panels' edges among them, both lines have one value."""
    table = table_of([function], 5.8e-7)
    (row,) = rows_of(table)
    edge, lines = row.edges[1:-1], table.lines[row.indices].astype(np.float64)
    before, after = lines[:-1], lines[1:]
    jump = before[:, 0] + before[:, 1] * edge - after[:, 0] - after[:, 1] * edge
    largest = np.maximum(np.abs(before[:, 0]), np.abs(after[:, 0]))
    assert np.all(np.abs(jump) <= 2.1 * ROUNDING * largest + 1e-9)


@pytest.mark.parametrize("function", [STRAIGHT, WIDE, NARROW, SPIKES, AT_THE_ENDS])
def test_rising_function_has_rising_lines(function: Steps) -> None:
    table = table_of([function], 5.8e-7)
    (row,) = rows_of(table)
    lines = table.lines[row.indices]
    assert lines[:, 1].min() > 0
    # The value falls by no more than what rounding the intercepts of two neighbours does.
    largest = float(np.abs(lines[:, 0]).max())
    assert np.diff(read(table, dense([function]))).min() >= -2.1 * ROUNDING * largest


@pytest.mark.parametrize("function", [WIDE, NARROW, SPIKES, FALLING, AT_THE_ENDS, STRAIGHT])
def test_first_and_last_line_go_on(function: Steps) -> None:
    table = table_of([function], 1.7e-6)
    (row,) = rows_of(table)
    below = np.concatenate([around(np.array([LOW])), np.float32([LOW - 1e-3, LOW - 0.7, -60, -1e30])])
    above = np.concatenate([around(np.array([HIGH])), np.float32([HIGH + 1e-3, HIGH + 0.5, 60, 1e30])])
    np.testing.assert_array_equal(index_found(table, below), row.first)
    np.testing.assert_array_equal(index_found(table, above), len(table.lines) - 1)


@pytest.mark.parametrize("function", [STRAIGHT, WIDE, NARROW, SPIKES])
def test_extension_has_the_slope_of_the_end(function: Steps) -> None:
    table = table_of([function], 1.7e-6)
    for end, beyond in ((LOW, [LOW - 1e-3, LOW - 0.1, LOW - 0.7]), (HIGH, [HIGH + 1e-3, HIGH + 0.5])):
        x = np.array(beyond)
        expected = function(np.array([end])) + function.slope(np.array([end])) * (x - end)
        np.testing.assert_allclose(read(table, x), expected, rtol=0, atol=2e-6)


# Number of segments.


@pytest.mark.parametrize("tolerance", [*TOLERANCES, 1e-8])
@pytest.mark.parametrize("function", BENT)
def test_near_the_fewest_segments(function: Steps, tolerance: float) -> None:
    """No more than the panels that four widths to both sides of a step touch, all cut as its sharpest bend needs.

    Farther out a bend is less than a four hundredth of the sharpest, which costs a tenth more.
    """
    table = table_of([function], tolerance)
    bounds = []
    for panels in PANEL_CHOICES:
        width = (HIGH - LOW) / panels
        sharpest = [abs(h) / w**2 * stats.norm.pdf(1.0) for _, w, h in function.steps]
        segments = [
            min(8 * w + 2 * width, HIGH - LOW) * np.sqrt(bend / (8 * tolerance))
            for bend, (_, w, _) in zip(sharpest, function.steps, strict=True)
        ]
        bounds.append(2 * panels + 1.1 * sum(segments))
    assert 0.97 * optimal_segments(function, tolerance) < table.segments
    assert len(table.lines) < min(bounds)


def test_fine_tables_come_near_the_fewest_segments() -> None:
    """With many segments per panel each panel has almost one bend, and the panels themselves cost nothing."""
    excess = [len(table_of([WIDE], t).lines) / optimal_segments(WIDE, t) for t in (1e-6, 1e-8, 1e-10)]
    assert excess[0] > excess[1] > excess[2]
    # A panel is narrower here than the distance of the nodes that show its bend, and takes the sharpest around it.
    assert 1.0 < excess[2] < 1.1


@pytest.mark.parametrize("tolerance", [*TOLERANCES, 1e-8])
@pytest.mark.parametrize("functions", [[STRAIGHT], *([f] for f in BENT), [WIDE, NARROW, SPIKES]])
def test_choice_of_panels_has_the_fewest_lines(
    functions: list[Steps], tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = table_of(functions, tolerance)
    lines = {}
    for panels in PANEL_CHOICES:
        monkeypatch.setattr(segment_table, "PANEL_CHOICES", (panels,))
        table = table_of(functions, tolerance)
        assert table.panels == panels
        lines[panels] = len(table.lines)
    assert len(chosen.lines) == lines[chosen.panels] == min(lines.values())


def test_panels_only_where_equal_segments_would_be_too_many() -> None:
    assert table_of([STRAIGHT], 1e-9).panels == 1
    assert table_of([WIDE], 1e-4).panels == 1
    panelled = table_of([NARROW], 5.8e-7)
    bend = 0.01 / 0.0009**2 * stats.norm.pdf(1.0)
    equal_segments = (HIGH - LOW) * np.sqrt(bend / (8 * 5.8e-7))
    assert panelled.panels > 1
    assert len(panelled.lines) < equal_segments / 5


def test_only_panels_with_a_bend_are_cut() -> None:
    """Seven widths from every step a panel is one segment."""
    table = table_of([SPIKES], 1.7e-6)
    (row,) = rows_of(table)
    low, high = row.panel_edges[:-1], row.panel_edges[1:]
    bent = np.any([(low < p + 7 * w) & (high > p - 7 * w) for p, w, _ in SPIKES.steps], axis=0)
    segments = np.diff(np.searchsorted(row.edges, row.panel_edges - 1e-9))
    assert 0 < bent.sum() < table.panels / 4
    assert np.all(segments[~bent] == 1)
    assert segments[bent].max() > 10


# Rows.


def assert_rows_meet(
    table: SegmentTable, functions: Sequence[Steps], tolerance: float, low: float = LOW, high: float = HIGH
) -> None:
    x = dense(functions, low, high)
    for number, (row, function) in enumerate(zip(rows_of(table, low, high), functions, strict=True)):
        largest = float(np.abs(table.lines[row.indices, 0]).max())
        error = np.abs(read(table, x, number) - function(x)).max()
        assert error < 1.05 * tolerance + ROUNDING * largest


def test_rows_share_panels_and_keep_their_functions() -> None:
    functions = [STRAIGHT, NARROW, WIDE, SPIKES]
    table = table_of(functions, 1.7e-6)
    assert table.rows == 4
    assert_rows_meet(table, functions, 1.7e-6)
    segments = [row.indices.size for row in rows_of(table)]
    assert segments[0] == table.panels
    assert segments[0] < segments[2] < segments[1] < segments[3]
    assert sum(segments) == table.segments


def test_a_row_does_not_pay_for_the_bends_of_another() -> None:
    both = table_of([NARROW, FALLING], 1.7e-6)
    alone = [table_of([f], 1.7e-6) for f in (NARROW, FALLING)]
    assert len(both.lines) < 1.1 * sum(len(t.lines) for t in alone)


def test_rows_that_differ_at_the_ends() -> None:
    """A row that bends at an end beside one that does not: the margin at the end suits both."""
    ends = [STRAIGHT, Steps(1.0, ((LOW, 0.0002, 0.002),)), Steps(1.0, ((HIGH, 0.0002, 0.002),))]
    for functions in (ends, ends[::-1]):
        table = table_of(functions, 5.8e-7)
        assert_rows_meet(table, functions, 5.8e-7)
        for number, row in enumerate(rows_of(table)):
            x = around(np.array([LOW, *row.edges[1:-1], HIGH]))
            assert np.abs(index_found(table, x, number) - row.index(x)).max() <= 1


def test_rows_over_different_ranges_cover_both() -> None:
    """Inverses of several books start and end at different values."""
    left, right = Steps(1.0, ((-0.2, 0.001, 0.01),)), Steps(1.0, ((0.4, 0.001, 0.01),))
    nodes = [left.nodes(-0.31, 0.2), right.nodes(0.1, 0.52)]
    slopes = [f.slope(x) for f, x in zip((left, right), nodes, strict=True)]
    table = build_segment_table([left, right], nodes, slopes, 1e-6)
    assert_rows_meet(table, [left, right], 1e-6, -0.31, 0.52)


# Largest tables.

TOO_NARROW = Steps(1.0, ((0.011, 1e-6, 1e-5),))


@pytest.mark.parametrize("rows", [1, 3])
def test_bends_too_narrow_for_float32_stop_at_the_most_segments(rows: int) -> None:
    """Such a table is as large as any, so that it is seen, and still one that every index lies in."""
    table = table_of([STRAIGHT, WIDE, TOO_NARROW][-rows:], 1e-7)
    assert table.panels == 1
    assert MOST_SEGMENTS <= table.segments < MOST_SEGMENTS + rows
    assert_indices(table, LOW, HIGH)


def test_many_segments_together_stop_at_the_most_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    free = table_of([WIDE], 1.7e-7).segments
    monkeypatch.setattr(segment_table, "MOST_SEGMENTS", 1 << 12)
    assert table_of([WIDE], 1.7e-7).segments == free < 1 << 12
    assert 40 * free > 1 << 12
    crowded = table_of([WIDE] * 40, 1.7e-7)
    assert crowded.panels == 1
    assert 1 << 12 <= crowded.segments < (1 << 12) + 40
    assert_indices(crowded, LOW, HIGH)


@pytest.mark.parametrize("centre", [LOW, 0.0, HIGH])
def test_narrowest_segments_before_the_limit(centre: float) -> None:
    """Just wide enough for float32, at an end or within: indices stay in the table and next to the true segment."""
    width = 2.6e-5
    function = Steps(1.0, ((centre, width, 2 * width),))
    bend = 2.0 / width * stats.norm.pdf(1.0)
    tolerance = bend / 8 * ((HIGH - LOW) / (0.98 * MOST_SEGMENTS)) ** 2
    table = table_of([function], tolerance)
    (row,) = rows_of(table)
    assert 0.9 * MOST_SEGMENTS < (HIGH - LOW) / np.diff(row.edges).min() <= MOST_SEGMENTS
    assert table.segments < MOST_SEGMENTS / 100
    assert_indices(table, LOW, HIGH)


# Indices under rounding.


def assert_indices(table: SegmentTable, low: float, high: float) -> None:
    """Every float32 finds its own segment, or, within a hair of an edge, the neighbouring one."""
    random = np.random.default_rng(1).uniform(low, high, 4000)
    far = np.array([-1e30, -5.0, -1.0, -1e-40, -0.0, 0.0, 1e-40, 1.0, 5.0, 1e30])
    for number, row in enumerate(rows_of(table, low, high)):
        some = row.edges[:: max(1, row.edges.size // 5000)]
        ends = np.array([low, high, *table.clip], dtype=np.float64)
        x = np.concatenate([around(np.concatenate([some, row.panel_edges, ends, random])), np.float32(far)])
        panel, index = panel_found(table, x), index_found(table, x, number)
        assert panel.min() >= 0
        assert panel.max() < table.panels
        assert row.indices[0] <= index.min()
        assert index.max() <= row.indices[-1]
        wrong = index != row.index(x)
        assert np.abs(index - row.index(x)).max(initial=0) <= 1
        near = row.edges[np.maximum(index, row.index(x))[wrong] - row.first]
        # An index as large as the table is long is rounded too, to a share of a segment.
        rounded = 2 * ROUNDING * len(table.lines) * np.diff(row.edges).max()
        assert np.abs(near - x[wrong]).max(initial=0) < hair(low, high) + rounded


@pytest.mark.parametrize("functions", [[STRAIGHT], *([f] for f in BENT), [STRAIGHT, *BENT]])
def test_each_segment_is_found_from_its_middle(functions: list[Steps]) -> None:
    """Every index after the panels' belongs to one segment, in order, row by row."""
    table = table_of(functions, 5.8e-7)
    found = [
        index_found(table, 0.5 * (row.edges[1:] + row.edges[:-1]), number)
        for number, row in enumerate(rows_of(table))
    ]
    panels = table.rows * table.panels
    np.testing.assert_array_equal(np.concatenate(found), np.arange(panels, panels + table.segments))


@st.composite
def ranges(draw: st.DrawFn) -> tuple[float, float]:
    return draw(st.floats(-1.0, -0.05)), draw(st.floats(0.05, 1.0))


@st.composite
def rising(draw: st.DrawFn, low: float, high: float) -> Steps:
    """Up to three steps within the range or at its ends, from a thousandth of it to wider than it."""
    centre = st.one_of(st.sampled_from([low, 0.0, high]), st.floats(low, high))
    steps = []
    for _ in range(draw(st.integers(0, 3))):
        width = (high - low) * 10.0 ** draw(st.floats(-3.5, 0.3))
        steps.append((draw(centre), width, width * draw(st.floats(0.01, 10.0))))
    return Steps(draw(st.floats(0.2, 2.0)), tuple(steps))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_table(data: st.DataObject) -> None:
    """Indices, error and rise of tables of any rising rows, at panel edges and between."""
    low, high = data.draw(ranges())
    functions = data.draw(st.lists(rising(low, high), min_size=1, max_size=4))
    tolerance = 10.0 ** data.draw(st.floats(-6.5, -4.0))
    table = table_of(functions, tolerance, low, high)
    assert len(table.lines) == table.rows * table.panels + table.segments
    assert_indices(table, low, high)
    for number, (row, function) in enumerate(zip(rows_of(table, low, high), functions, strict=True)):
        x = np.concatenate([dense([function], low, high)[::5], around(row.panel_edges).astype(np.float64)])
        x = np.sort(x[(x >= low) & (x <= high)])
        lines = table.lines[index_found(table, x, number)].astype(np.float64)
        true_slope = table.lines[row.index(x), 1].astype(np.float64)
        value = lines[:, 0] + lines[:, 1] * x
        rounded = ROUNDING * np.abs(lines[:, 0]) + np.abs(lines[:, 1] - true_slope) * hair(low, high)
        assert np.all(np.abs(value - function(x)) <= HIDDEN * tolerance + rounded + 1e-9)
        assert lines[:, 1].min() > 0
        assert np.all(np.diff(value) >= -2.1 * (rounded[1:] + rounded[:-1]) - 1e-9)
