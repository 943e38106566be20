// Look-ups in tables of straight lines: the reaction map Φ and its inverse.
//
//     x̂ = clip(x, low, high);   zone = lines[truncate(scale·x̂ + offset) + book·zones]
//     line = lines[truncate(zone.slope·x̂ + zone.intercept)];   value = line.intercept + line.slope·x
//
// A table's zones are equal; each is cut into as many cells as its bends need.
#pragma once

#include "plan.cuh"

DEVICE Line line_at(const Line* lines, int place) {
#ifdef __CUDACC__
    const float2 line = __ldg(reinterpret_cast<const float2*>(lines) + place);
    return {line.x, line.y};
#else
    return lines[place];
#endif
}

// A table's head, in two reads on a GPU.
DEVICE LineTable head_of(const LineTable& table) {
#ifdef __CUDACC__
    const float4 range = __ldg(reinterpret_cast<const float4*>(&table));
    const ulonglong2 rest = __ldg(reinterpret_cast<const ulonglong2*>(&table) + 1);
    const Line* lines = reinterpret_cast<const Line*>(rest.x);
    const int zones = static_cast<int>(rest.y);
    return {range.x, range.y, range.z, range.w, lines, zones, float_of(static_cast<int>(rest.y >> 32))};
#else
    return table;
#endif
}

// Place of the zone of x in a book's row.
DEVICE int zone_place(const LineTable& table, float x, int book) {
    const float inside = smaller(larger(x, table.low), table.high);
    return book * table.zones + static_cast<int>(inside * table.scale + table.offset);
}

// Place of the line of x in its zone.
DEVICE int cell_place(const LineTable& table, const Line& zone, float x) {
    const float inside = smaller(larger(x, table.low), table.high);
    return static_cast<int>(zone.slope * inside + zone.intercept);
}

DEVICE float value_at(const Line& line, float x) { return line.intercept + line.slope * x; }

// Value at x of the line of a book's row.
DEVICE float look_up(const LineTable& table, float x, int book) {
    const Line zone = line_at(table.lines, zone_place(table, x, book));
    return value_at(line_at(table.lines, cell_place(table, zone, x)), x);
}
