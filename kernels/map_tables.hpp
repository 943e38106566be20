// Inputs and outputs of map_tables.cpp. sim/reaction/native_maps.py fills and reads the structs by the names below: one
// `type name;` per line, a pointer for an array.
//
// Numbers are float64 unless said otherwise.
#pragma once

#include <cstdint>

struct MapInputs {
    // The normal law and its density at the table's entries, and how they lie; see sim/market/normal_law.py.
    const double* law;
    const double* density;
    double entries_per_unit;
    double law_half_width;
    double spare;
    // The book: one number per position and column, and the books' weights, (books, groups).
    int64_t positions;
    int64_t groups;
    int64_t books;
    const int32_t* group;
    const double* put;
    const double* units;
    const double* log_strike;
    const double* iv;
    const double* carry;
    const double* settlement;
    const double* weights;
    // Expiry groups: the first position of each, and the end of the last.
    int64_t expiry_groups;
    const int64_t* expiry_start;
    // Knots in time, minutes before settlement, ascending.
    int64_t knots;
    const double* knot;
    double minutes_per_year;
    double shortest_life;
    // The map; see sim/reaction/clearing_map.py.
    double kappa;
    double m_floor;
    double least_feedback;
    double half_width;
    double coarse_spacing;
    double nodes_per_width;
    double nodes_per_expiry_width;
    double widths_covered;
    double largest_change;
    double smallest_stretch;
    double smallest_interval;
    int64_t pieces;
    int64_t crossing_steps;
    // The tables; see sim/reaction/segment_table.py.
    double largest_hedge;
    double inverse_tolerance;
    double forward_tolerance;
    double end_margin;
    int64_t most_segments;
    int64_t panel_choices;
    const int64_t* panels;
    // The instants: minute, whether what settles then has left, and which tables are wanted: INVERSE, FORWARD or both.
    int64_t instants;
    const double* minute;
    const uint8_t* after_settlement;
    const uint8_t* wanted;
    // Log prices at which every instant's map is read.
    int64_t log_prices;
    const double* log_price;
    // Where the tables' lines go, (most_lines, 2) float32.
    float* line;
    int64_t most_lines;
};

// The pointers lead into what the library holds.
struct MapOutputs {
    // Instants done: fewer than were asked for where one is refused, or where there is no room for its lines.
    int64_t done;
    int64_t events;
    // Tables in the order of the instants, Φ⁻¹ before Φ: lines and panels of each, range and scale (·, 2).
    const int64_t* table_lines;
    const int64_t* table_panels;
    const float* table_clip;
    const float* table_scale;
    // Φ at the log prices, (done, books, log_prices).
    const double* value;
    // Where the feedback factor is too small: instant and book, (events, 2), and the smallest factor, the first and the
    // last log price, (events, 3).
    const int64_t* event;
    const double* event_range;
};
