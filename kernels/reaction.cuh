// Look-ups in tables of straight lines: the clearing map Φ and its inverse.
//
//     x̂ = clip(x, low, high);   panel = lines[truncate(scale·x̂ + offset) + book·panels]
//     line = lines[truncate(panel.slope·x̂ + panel.intercept)];   value = line.intercept + line.slope·x
//
// A table's panels are equal; each is cut into as many segments as its bends need.
#pragma once

#include "plan.cuh"

DEVICE Line line_at(const Line* lines, int index) {
#ifdef __CUDACC__
    const float2 line = __ldg(reinterpret_cast<const float2*>(lines) + index);
    return {line.x, line.y};
#else
    return lines[index];
#endif
}

// A table's head, in two reads on a GPU.
DEVICE SegmentTable head_of(const SegmentTable& table) {
#ifdef __CUDACC__
    const float4 range = __ldg(reinterpret_cast<const float4*>(&table));
    const ulonglong2 rest = __ldg(reinterpret_cast<const ulonglong2*>(&table) + 1);
    const Line* lines = reinterpret_cast<const Line*>(rest.x);
    const int panels = static_cast<int>(rest.y);
    return {range.x, range.y, range.z, range.w, lines, panels, float_of(static_cast<int>(rest.y >> 32))};
#else
    return table;
#endif
}

// Index of the panel of x in a book's row.
DEVICE int panel_index(const SegmentTable& table, float x, int book) {
    const float inside = smaller(larger(x, table.low), table.high);
    return book * table.panels + static_cast<int>(inside * table.scale + table.offset);
}

// Index of the segment of x in its panel.
DEVICE int segment_index(const SegmentTable& table, const Line& panel, float x) {
    const float inside = smaller(larger(x, table.low), table.high);
    return static_cast<int>(panel.slope * inside + panel.intercept);
}

DEVICE float value_at(const Line& line, float x) { return line.intercept + line.slope * x; }

// Value at x of the segment's line in a book's row.
DEVICE float look_up(const SegmentTable& table, float x, int book) {
    const Line panel = line_at(table.lines, panel_index(table, x, book));
    return value_at(line_at(table.lines, segment_index(table, panel, x)), x);
}
