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
    // One 64-bit read, so that vectorised look-ups gather half as often.
    static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the intercept is the low half");
    Word64 line;
    __builtin_memcpy(&line, lines + place, sizeof line);
    return {float_of(static_cast<int>(line)), float_of(static_cast<int>(line >> 32))};
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

// Value at x of the line of a book's row.
DEVICE float look_up(const LineTable& table, float x, int book) {
    const float inside = smaller(larger(x, table.low), table.high);
    const Line zone = line_at(table.lines, book * table.zones + static_cast<int>(inside * table.scale + table.offset));
    const Line line = line_at(table.lines, static_cast<int>(zone.slope * inside + zone.intercept));
    return line.intercept + line.slope * x;
}
