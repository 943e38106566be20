// Segment tables and barriers of the clearing map, instant by instant: what sim/plan/map_tables.py builds with NumPy,
// built with the same operations in the same order, so that both find the same bytes. The names are those of
// sim/market/normal_law.py, sim/book/hedge.py, sim/book/expiry_curves.py, sim/reaction/clearing_map.py and
// sim/reaction/segment_table.py, where everything is explained.
//
// Numbers are float64 unless said otherwise; all of them come from Python, constants and the normal law included.
#include "map_tables.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <memory>
#include <new>
#include <vector>

static_assert(FLT_EVAL_METHOD == 0, "arithmetic is rounded to its type");

namespace {

#define PRAGMA(text) _Pragma(#text)
#define VECTORISED PRAGMA(omp simd)
#define VECTORISED_WITH(clause) PRAGMA(omp simd clause)

using Reals = std::vector<double>;

// Positions in the book at an instant.
struct LiveBook {
    std::vector<int32_t> group;
    Reals put, units, centre, width, scale, slope_units, drift;
    double half_rate;
    void clear() {
        group.clear();
        for (Reals* own : {&put, &units, &centre, &width, &scale, &slope_units, &drift}) own->clear();
    }
};

// Hedge and slope of an expiry by group, one row after another, and their rates in time.
struct Sums {
    Reals hedge, slope, hedge_rate, slope_rate;
};

// Curve of an expiry at an instant, and the sums at the two knots that it is read off between.
struct Expiry {
    double cell;
    int64_t first, knot = -1;
    Reals spacing, nodes, hedge, slope;
    Sums early, late;
};

// Nodes, values and slopes of a map; the latter two by book, one row after another.
struct Curve {
    Reals nodes, values, slopes;
    const double* value(int64_t book) const { return values.data() + book * nodes.size(); }
    const double* slope(int64_t book) const { return slopes.data() + book * nodes.size(); }
};

// Function of a table's row, on nodes of its own or shared.
struct Row {
    const double *nodes, *values, *slopes;
};

// `count` copies of a value.
template <class Number>
Number* filled(std::vector<Number>& numbers, size_t count, Number value) {
    numbers.resize(count);
    Number* const data = numbers.data();
    VECTORISED
    for (size_t j = 0; j < count; ++j) data[j] = value;
    return data;
}

// Table of the normal law. Loops hold it by value: through a reference, compilers would not vectorise them.
struct NormalLaw {
    const double *law, *density;
    double entries_per_unit, half_width;
};

inline __attribute__((always_inline)) void law_and_density(const NormalLaw table, double z, double& law,
                                                           double& density) {
    const double half_width = table.half_width;
    double inside = z > -half_width ? z : -half_width;
    inside = inside < half_width ? inside : half_width;
    const int32_t index =
        static_cast<int32_t>(inside * table.entries_per_unit + (half_width * table.entries_per_unit + 0.5));
    const double entry =
        (index - static_cast<int32_t>(half_width * table.entries_per_unit)) * (1.0 / table.entries_per_unit);
    const double d = inside - entry;
    const double at_entry = table.density[index];
    double b1 = -entry;
    double b2 = -(entry * b1 + 1.0) * (1.0 / 2.0);
    double b3 = -(entry * b2 + b1) * (1.0 / 3.0);
    double b4 = -(entry * b3 + b2) * (1.0 / 4.0);
    double b5 = -(entry * b4 + b3) * (1.0 / 5.0);
    double b6 = -(entry * b5 + b4) * (1.0 / 6.0);
    density = at_entry * (1.0 + d * (b1 + d * (b2 + d * (b3 + d * (b4 + d * (b5 + d * b6))))));
    b1 = b1 * (1.0 / 2.0);
    b2 = b2 * (1.0 / 3.0);
    b3 = b3 * (1.0 / 4.0);
    b4 = b4 * (1.0 / 5.0);
    b5 = b5 * (1.0 / 6.0);
    b6 = b6 * (1.0 / 7.0);
    const double rise = d * (1.0 + d * (b1 + d * (b2 + d * (b3 + d * (b4 + d * (b5 + d * b6))))));
    law = table.law[index] + at_entry * rise;
}

class Builder {
  public:
    explicit Builder(const MapInputs& inputs) : in(inputs) {}
    void build();
    MapOutputs outputs() const;

  private:
    const MapInputs in;
    LiveBook live, early, late;
    std::vector<Expiry> all_expiries;
    std::vector<Expiry*> expiries;
    Curve curve;
    // Results.
    int64_t done = 0, lines = 0;
    std::vector<float> table_clip, table_scale;
    std::vector<int64_t> table_lines, table_panels, event;
    Reals value, event_range;
    // Scratch.
    Curve joined;
    Reals breaks, middle, excess, finest, hedge, slope, more, more_values, more_slopes;
    Reals inverse, bends, needed, edges, at_edges;
    Reals panel_edges, step;
    std::vector<int32_t> interval, below;
    // Numbers of segments of each panel, whole.
    Reals segments, fewest;
    std::vector<Row> rows;

    void live_at(double minute, bool after_settlement);
    NormalLaw normal_law() const { return {in.law, in.density, in.entries_per_unit, in.law_half_width}; }
    void add_live(LiveBook& to, int64_t position, double left) const;
    void add_expiry_group(LiveBook& to, int64_t expiry_group, double left) const;
    void expiry_curve(int64_t expiry_group, double left);
    void expiry_nodes(Expiry& expiry);
    void sum_up(const LiveBook& positions, const Reals& s, Sums& sums, bool rates);
    void add_expiry(const Expiry& expiry, const Reals& s);
    void base_nodes();
    void unfloored(const Reals& s, Reals& values, Reals& slopes);
    double feedback(double s, int64_t book);
    void join();
    void between();
    bool note_events(int64_t instant);
    void crossings();
    void apply_floor();
    bool hedge_fits() const;
    bool add_table(double tolerance);
    void sharpest(const Row& row, double* of_panel);
    void fewest_segments();
    void bring_down(int64_t panels, int64_t together);
    void add_lines(double low, double high);
    void hermite(const Row& row, const double* x, size_t count, double* out);
};

void Builder::add_live(LiveBook& to, int64_t i, double left) const {
    const double years = (left > in.shortest_life ? left : in.shortest_life) / in.minutes_per_year;
    const double iv = in.iv[i], width = iv * std::sqrt(years);
    to.group.push_back(in.group[i]);
    to.put.push_back(in.put[i]);
    to.units.push_back(in.units[i]);
    to.centre.push_back(in.log_strike[i] - in.carry[i] * years - 0.5 * (width * width));
    to.width.push_back(width);
    to.scale.push_back(1.0 / width);
    to.slope_units.push_back(in.units[i] * (1.0 / width));
    to.drift.push_back((in.carry[i] + 0.5 * (iv * iv)) / width);
    to.half_rate = 0.5 / years;
}

void Builder::add_expiry_group(LiveBook& to, int64_t expiry_group, double left) const {
    to.clear();
    for (int64_t i = in.expiry_start[expiry_group]; i < in.expiry_start[expiry_group + 1]; ++i) add_live(to, i, left);
}

void Builder::live_at(double minute, bool after_settlement) {
    const auto alive = [&](int64_t i) {
        return after_settlement ? in.settlement[i] > minute : in.settlement[i] >= minute;
    };
    live.clear();
    for (int64_t i = 0; i < in.expiry_start[0]; ++i) {
        if (alive(i)) add_live(live, i, in.settlement[i] - minute);
    }
    all_expiries.resize(in.expiry_groups);
    expiries.clear();
    for (int64_t k = 0; k < in.expiry_groups; ++k) {
        if (!alive(in.expiry_start[k])) continue;
        expiry_curve(k, in.settlement[in.expiry_start[k]] - minute);
        expiries.push_back(&all_expiries[k]);
    }
}

// Hedge and slope of an expiry with `left` minutes left: worked out, or read off between two knots.
void Builder::expiry_curve(int64_t expiry_group, double left) {
    Expiry& expiry = all_expiries[expiry_group];
    const int64_t knot = std::upper_bound(in.knot, in.knot + in.knots, left) - in.knot - 1;
    if (knot < 0 || knot + 1 == in.knots) {
        add_expiry_group(early, expiry_group, left);
        late = early;
        expiry_nodes(expiry);
        sum_up(early, expiry.nodes, expiry.early, false);
        std::swap(expiry.hedge, expiry.early.hedge);
        std::swap(expiry.slope, expiry.early.slope);
        expiry.knot = -1;
        return;
    }
    if (expiry.knot != knot) {
        add_expiry_group(early, expiry_group, in.knot[knot + 1]);
        add_expiry_group(late, expiry_group, in.knot[knot]);
        expiry_nodes(expiry);
        sum_up(early, expiry.nodes, expiry.early, true);
        sum_up(late, expiry.nodes, expiry.late, true);
        expiry.knot = knot;
    }
    const double length = in.knot[knot + 1] - in.knot[knot];
    const double u = (in.knot[knot + 1] - left) / length, by_year = -length / in.minutes_per_year;
    const size_t count = expiry.early.hedge.size();
    const auto read_off = [=](const Reals& from, const Reals& to, const Reals& from_rate, const Reals& to_rate,
                              Reals& out) {
        out.resize(count);
        const double *const a = from.data(), *const b = to.data();
        const double *const a_rate = from_rate.data(), *const b_rate = to_rate.data();
        double* const own = out.data();
        VECTORISED
        for (size_t j = 0; j < count; ++j) {
            const double start = a_rate[j] * by_year, end = b_rate[j] * by_year, rise = b[j] - a[j];
            const double second = 3 * rise - 2 * start - end, third = start + end - 2 * rise;
            own[j] = a[j] + u * (start + u * (second + u * third));
        }
    };
    const Sums &a = expiry.early, &b = expiry.late;
    read_off(a.hedge, b.hedge, a.hedge_rate, b.hedge_rate, expiry.hedge);
    read_off(a.slope, b.slope, a.slope_rate, b.slope_rate, expiry.slope);
}

// Nodes of an expiry from `early` to `late`.
void Builder::expiry_nodes(Expiry& expiry) {
    const size_t count = late.width.size();
    double narrowest = late.width[0];
    for (const double width : late.width) narrowest = width < narrowest ? width : narrowest;
    double size = in.coarse_spacing;
    while (2 * size <= narrowest / in.nodes_per_expiry_width) size *= 2;
    expiry.cell = size;
    expiry.first = static_cast<int64_t>(std::floor(-in.half_width / size));
    const int64_t last = static_cast<int64_t>(std::ceil(in.half_width / size)), all = last - expiry.first;
    Reals& spacing = expiry.spacing;
    spacing.assign(all, size);
    const double most = static_cast<double>(all), first = static_cast<double>(expiry.first);
    for (size_t i = 0; i < count; ++i) {
        const double far = in.widths_covered * early.width[i], own = late.width[i] / in.nodes_per_expiry_width;
        const double a = early.centre[i], b = late.centre[i];
        double low = std::floor(((a < b ? a : b) - far) / size) - first;
        double high = std::ceil(((a < b ? b : a) + far) / size) - first;
        low = low > 0.0 ? (low < most ? low : most) : 0.0;
        high = high > 0.0 ? (high < most ? high : most) : 0.0;
        double* const of_cell = spacing.data();
        const int64_t stop = static_cast<int64_t>(high);
        VECTORISED
        for (int64_t c = static_cast<int64_t>(low); c < stop; ++c) of_cell[c] = own < of_cell[c] ? own : of_cell[c];
    }
    expiry.nodes.clear();
    for (int64_t c = 0; c < all; ++c) {
        const int64_t parts = static_cast<int64_t>(std::ceil(size / spacing[c]));
        const double begins = static_cast<double>(expiry.first + c) * size;
        spacing[c] = size / static_cast<double>(parts);
        for (int64_t k = 0; k < parts; ++k) expiry.nodes.push_back(begins + static_cast<double>(k) * spacing[c]);
    }
    expiry.nodes.push_back(static_cast<double>(last) * size);
}

// Hedge and slope of positions by group, and their rates if asked for.
void Builder::sum_up(const LiveBook& positions, const Reals& s, Sums& sums, bool rates) {
    const size_t n = s.size();
    for (Reals* own : {&sums.hedge, &sums.slope}) filled(*own, in.groups * n, 0.0);
    if (rates) {
        for (Reals* own : {&sums.hedge_rate, &sums.slope_rate}) filled(*own, in.groups * n, 0.0);
    }
    filled(step, in.groups * (n + 1), 0.0);
    more_values.assign(in.groups, 0.0);
    const NormalLaw table = normal_law();
    const double *const at = s.data(), half_rate = positions.half_rate;
    for (size_t i = 0; i < positions.width.size(); ++i) {
        const int64_t group = positions.group[i];
        double *const hedge_ = sums.hedge.data() + group * n, *const slope_ = sums.slope.data() + group * n;
        const double centre = positions.centre[i], scale = positions.scale[i], drift = positions.drift[i];
        const double units = positions.units[i], slope_units = positions.slope_units[i];
        const double far = (in.law_half_width + in.spare) * positions.width[i];
        const size_t low = std::lower_bound(s.begin(), s.end(), centre - far) - s.begin();
        const size_t high = std::upper_bound(s.begin(), s.end(), centre + far) - s.begin();
        if (rates) {
            double* const hedge_rate = sums.hedge_rate.data() + group * n;
            double* const slope_rate = sums.slope_rate.data() + group * n;
            VECTORISED
            for (size_t j = low; j < high; ++j) {
                double law, density;
                const double z = (at[j] - centre) * scale;
                law_and_density(table, z, law, density);
                const double z_rate = drift - z * half_rate;
                hedge_[j] += units * law;
                slope_[j] += slope_units * density;
                hedge_rate[j] += units * density * z_rate;
                slope_rate[j] += slope_units * density * (-half_rate - z * z_rate);
            }
        } else {
            VECTORISED
            for (size_t j = low; j < high; ++j) {
                double law, density;
                law_and_density(table, (at[j] - centre) * scale, law, density);
                hedge_[j] += units * law;
                slope_[j] += slope_units * density;
            }
        }
        step[group * (n + 1) + high] += units;
        more_values[group] += units * positions.put[i];
    }
    for (int64_t group = 0; group < in.groups; ++group) {
        double* const own = sums.hedge.data() + group * n;
        const double* const rise = step.data() + group * (n + 1);
        double risen = 0.0;
        for (size_t j = 0; j < n; ++j) {
            risen += rise[j];
            own[j] = own[j] + risen - more_values[group];
        }
    }
}

// Hedge and slope of an expiry at ascending s, added to those of its groups.
void Builder::add_expiry(const Expiry& expiry, const Reals& s) {
    const size_t n = s.size(), nodes = expiry.nodes.size();
    const double *const node = expiry.nodes.data(), *const log_price = s.data();
    interval.resize(n);
    int32_t here = 0;
    const int32_t last = static_cast<int32_t>(nodes) - 2;
    for (size_t j = 0; j < n; ++j) {
        while (here < last && node[here + 1] <= log_price[j]) ++here;
        interval[j] = here;
    }
    const int32_t* const at = interval.data();
    for (int64_t group = 0; group < in.groups; ++group) {
        const double* const values = expiry.hedge.data() + group * nodes;
        const double* const slopes = expiry.slope.data() + group * nodes;
        double *const own_hedge = hedge.data() + group * n, *const own_slope = slope.data() + group * n;
        VECTORISED
        for (size_t j = 0; j < n; ++j) {
            const int32_t c = at[j];
            const double width = node[c + 1] - node[c], t = (log_price[j] - node[c]) / width;
            const double start = slopes[c] * width, end = slopes[c + 1] * width, rise = values[c + 1] - values[c];
            const double second = 3 * rise - 2 * start - end, third = start + end - 2 * rise;
            own_hedge[j] += values[c] + t * (start + t * (second + t * third));
            own_slope[j] += (start + t * (2 * second + t * (3 * third))) / width;
        }
    }
}

void Builder::base_nodes() {
    const double half_width = in.half_width, least = in.smallest_stretch;
    const auto apart = [half_width, least](double end) {
        return end > -half_width && end < half_width && std::fabs(end) > least && half_width - end > least &&
               end + half_width > least;
    };
    breaks = {-half_width, 0.0, half_width};
    for (size_t i = 0; i < live.width.size(); ++i) {
        const double far = in.widths_covered * live.width[i];
        for (const double end : {live.centre[i] - far, live.centre[i] + far}) {
            if (apart(end)) breaks.push_back(end);
        }
    }
    if (!expiries.empty()) {
        const int64_t last = static_cast<int64_t>(std::ceil(half_width / in.coarse_spacing));
        for (int64_t c = static_cast<int64_t>(std::floor(-half_width / in.coarse_spacing)); c <= last; ++c) {
            const double end = static_cast<double>(c) * in.coarse_spacing;
            if (apart(end)) breaks.push_back(end);
        }
    }
    std::sort(breaks.begin(), breaks.end());
    size_t kept = 1;
    for (size_t i = 1, before = 0; i < breaks.size(); ++i) {
        const double gap = breaks[i] - breaks[before];
        before = i;
        if (gap > least) more.push_back(breaks[i]);
    }
    for (const double end : more) breaks[kept++] = end;
    more.clear();
    breaks.resize(kept);

    const size_t stretches = breaks.size() - 1;
    middle.resize(stretches);
    finest.assign(stretches, in.coarse_spacing);
    for (size_t i = 0; i < stretches; ++i) middle[i] = 0.5 * (breaks[i + 1] + breaks[i]);
    for (size_t i = 0; i < live.width.size(); ++i) {
        const double far = in.widths_covered * live.width[i], own = live.width[i] / in.nodes_per_width;
        const double low = live.centre[i] - far, high = live.centre[i] + far;
        const size_t first = std::upper_bound(middle.begin(), middle.end(), low) - middle.begin();
        const size_t last = std::lower_bound(middle.begin(), middle.end(), high) - middle.begin();
        for (size_t j = first; j < last; ++j) finest[j] = own < finest[j] ? own : finest[j];
    }
    for (const Expiry* expiry : expiries) {
        for (size_t i = 0; i < stretches; ++i) {
            const double own =
                expiry->spacing[static_cast<int64_t>(std::floor(middle[i] / expiry->cell)) - expiry->first];
            finest[i] = own < finest[i] ? own : finest[i];
        }
    }
    curve.nodes.clear();
    for (size_t i = 0; i < stretches; ++i) {
        const double width = breaks[i + 1] - breaks[i];
        const int64_t count = static_cast<int64_t>(std::ceil(width / finest[i]));
        const double step = width / static_cast<double>(count);
        for (int64_t k = 0; k < count; ++k) curve.nodes.push_back(breaks[i] + static_cast<double>(k) * step);
    }
    curve.nodes.push_back(half_width);
}

// s + κ·D and 1 + κ·∂D/∂s of every book at ascending s, row by row.
void Builder::unfloored(const Reals& s, Reals& values, Reals& slopes) {
    const size_t n = s.size();
    filled(hedge, in.groups * n, 0.0);
    filled(slope, in.groups * n, 0.0);
    const NormalLaw table = normal_law();
    const double* const at = s.data();
    for (size_t i = 0; i < live.width.size(); ++i) {
        double *const own_hedge = hedge.data() + live.group[i] * n, *const own_slope = slope.data() + live.group[i] * n;
        const double centre = live.centre[i], scale = live.scale[i], put = live.put[i];
        const double units = live.units[i], slope_units = live.slope_units[i];
        const double far = (in.law_half_width + in.spare) * live.width[i];
        const size_t low = std::lower_bound(s.begin(), s.end(), centre - far) - s.begin();
        const size_t high = std::upper_bound(s.begin(), s.end(), centre + far) - s.begin();
        const double before = units * (0.0 - put), after = units * (1.0 - put);
        VECTORISED
        for (size_t j = 0; j < low; ++j) own_hedge[j] += before;
        VECTORISED
        for (size_t j = low; j < high; ++j) {
            double law, density;
            law_and_density(table, (at[j] - centre) * scale, law, density);
            own_hedge[j] += units * (law - put);
            own_slope[j] += slope_units * density;
        }
        VECTORISED
        for (size_t j = high; j < n; ++j) own_hedge[j] += after;
    }
    for (const Expiry* expiry : expiries) add_expiry(*expiry, s);
    filled(values, in.books * n, 0.0);
    filled(slopes, in.books * n, 0.0);
    for (int64_t book = 0; book < in.books; ++book) {
        double *const value = values.data() + book * n, *const factor = slopes.data() + book * n;
        for (int64_t g = 0; g < in.groups; ++g) {
            const double weight = in.weights[book * in.groups + g];
            const double *const d = hedge.data() + g * n, *const m = slope.data() + g * n;
            VECTORISED
            for (size_t j = 0; j < n; ++j) {
                value[j] += weight * d[j];
                factor[j] += weight * m[j];
            }
        }
        VECTORISED
        for (size_t j = 0; j < n; ++j) {
            value[j] = s[j] + in.kappa * value[j];
            factor[j] = 1.0 + in.kappa * factor[j];
        }
    }
}

// 1 + κ·∂D/∂s of one book at one log price.
double Builder::feedback(double s, int64_t book) {
    Reals& by_group = hedge;
    by_group.assign(in.groups, 0.0);
    const NormalLaw table = normal_law();
    for (size_t i = 0; i < live.width.size(); ++i) {
        double law, density;
        law_and_density(table, (s - live.centre[i]) * live.scale[i], law, density);
        by_group[live.group[i]] += live.slope_units[i] * density;
    }
    for (const Expiry* own : expiries) {
        const Expiry& expiry = *own;
        const size_t nodes = expiry.nodes.size();
        const double* const node = expiry.nodes.data();
        const size_t above = std::upper_bound(node, node + nodes, s) - node;
        const size_t c = std::min(above > 0 ? above - 1 : 0, nodes - 2);
        const double width = node[c + 1] - node[c], t = (s - node[c]) / width;
        for (int64_t group = 0; group < in.groups; ++group) {
            const double* const values = expiry.hedge.data() + group * nodes;
            const double* const slopes = expiry.slope.data() + group * nodes;
            const double start = slopes[c] * width, end = slopes[c + 1] * width, rise = values[c + 1] - values[c];
            const double second = 3 * rise - 2 * start - end, third = start + end - 2 * rise;
            by_group[group] += (start + t * (2 * second + t * (3 * third))) / width;
        }
    }
    double total = 0.0;
    for (int64_t g = 0; g < in.groups; ++g) total += in.weights[book * in.groups + g] * by_group[g];
    return 1.0 + in.kappa * total;
}

// The curve with more nodes.
void Builder::join() {
    if (more.empty()) return;
    unfloored(more, more_values, more_slopes);
    const size_t n = curve.nodes.size(), added = more.size(), both = n + added;
    joined.nodes.resize(both);
    joined.values.resize(in.books * both);
    joined.slopes.resize(in.books * both);
    interval.resize(both);
    size_t i = 0, k = 0;
    for (size_t j = 0; j < both; ++j) {
        const bool old = k == added || (i < n && curve.nodes[i] <= more[k]);
        joined.nodes[j] = old ? curve.nodes[i] : more[k];
        interval[j] = old ? static_cast<int32_t>(i++) : -1 - static_cast<int32_t>(k++);
    }
    for (int64_t book = 0; book < in.books; ++book) {
        for (size_t j = 0; j < both; ++j) {
            const bool old = interval[j] >= 0;
            const size_t from = old ? book * n + interval[j] : book * added + (-1 - interval[j]);
            joined.values[book * both + j] = (old ? curve.values : more_values)[from];
            joined.slopes[book * both + j] = (old ? curve.slopes : more_slopes)[from];
        }
    }
    std::swap(curve, joined);
    more.clear();
}

// Log prices that cut the intervals between nodes over which the feedback factor changes much.
void Builder::between() {
    const size_t n = curve.nodes.size();
    // By how much the factor's change over an interval exceeds the largest allowed, the most of all books.
    double* const beyond = filled(excess, n, 0.0);
    for (int64_t book = 0; book < in.books; ++book) {
        const double* const m = curve.slope(book);
        VECTORISED
        for (size_t j = 0; j < n - 1; ++j) {
            const double a = m[j] > in.least_feedback ? m[j] : in.least_feedback;
            const double b = m[j + 1] > in.least_feedback ? m[j + 1] : in.least_feedback;
            const double own = std::fabs(b - a) - in.largest_change * (a < b ? a : b);
            beyond[j] = own > beyond[j] ? own : beyond[j];
        }
    }
    for (size_t j = 0; j < n - 1; ++j) {
        if (!(beyond[j] > 0.0)) continue;
        const double low = curve.nodes[j], width = curve.nodes[j + 1] - low;
        for (int64_t k = 1; k < in.pieces; ++k) {
            more.push_back(low + width * (static_cast<double>(k) / static_cast<double>(in.pieces)));
        }
    }
}

bool Builder::note_events(int64_t instant) {
    const size_t n = curve.nodes.size(), before = event.size();
    for (int64_t book = 0; book < in.books; ++book) {
        const double* const m = curve.slope(book);
        double lowest = m[0];
        VECTORISED_WITH(reduction(min : lowest))
        for (size_t j = 1; j < n; ++j) lowest = m[j] < lowest ? m[j] : lowest;
        if (!(lowest < in.least_feedback)) continue;
        size_t first = 0, last = n - 1;
        while (!(m[first] < in.least_feedback)) ++first;
        while (!(m[last] < in.least_feedback)) --last;
        event.insert(event.end(), {instant, book});
        event_range.insert(event_range.end(), {lowest, curve.nodes[first], curve.nodes[last]});
    }
    return event.size() > before;
}

// Every log price between nodes at which a book's feedback factor crosses the floor.
void Builder::crossings() {
    const size_t n = curve.nodes.size();
    for (int64_t book = 0; book < in.books; ++book) {
        const double* const m = curve.slope(book);
        for (size_t j = 0; j < n - 1; ++j) {
            double at_low = m[j] - in.m_floor, at_high = m[j + 1] - in.m_floor;
            if ((at_low < 0) == (at_high < 0)) continue;
            double low = curve.nodes[j], high = curve.nodes[j + 1];
            for (int64_t step = 0; step < in.crossing_steps; ++step) {
                const double between = low + (high - low) * at_low / (at_low - at_high);
                const double at_between = feedback(between, book) - in.m_floor;
                const bool beyond = (at_between < 0) == (at_low < 0);
                (beyond ? low : high) = between;
                (beyond ? at_low : at_high) = at_between;
            }
            const double crossing = low + (high - low) * at_low / (at_low - at_high);
            if (crossing - curve.nodes[j] > in.smallest_interval &&
                curve.nodes[j + 1] - crossing > in.smallest_interval) {
                more.push_back(crossing);
            }
        }
    }
    std::sort(more.begin(), more.end());
    double before = -INFINITY;
    size_t kept = 0;
    for (size_t k = 0; k < more.size(); ++k) {
        const double crossing = more[k];
        if (crossing - before > in.smallest_interval) more[kept++] = crossing;
        before = crossing;
    }
    more.resize(kept);
}

void Builder::apply_floor() {
    const size_t n = curve.nodes.size();
    const size_t zero = std::lower_bound(curve.nodes.begin(), curve.nodes.end(), 0.0) - curve.nodes.begin();
    Reals& added = more_values;
    added.resize(n);
    for (int64_t book = 0; book < in.books; ++book) {
        double *const value = curve.values.data() + book * n, *const m = curve.slopes.data() + book * n;
        if (std::none_of(m, m + n, [this](double own) { return own < in.m_floor; })) continue;
        added[0] = 0.0;
        for (size_t j = 0; j < n - 1; ++j) {
            const bool floored = 0.5 * (m[j + 1] + m[j]) < in.m_floor;
            const double area = in.m_floor * (curve.nodes[j + 1] - curve.nodes[j]) - (value[j + 1] - value[j]);
            added[j + 1] = added[j] + (floored ? area : 0.0);
        }
        const double origin = added[zero];
        VECTORISED
        for (size_t j = 0; j < n; ++j) {
            value[j] = value[j] + added[j] - origin;
            m[j] = m[j] > in.m_floor ? m[j] : in.m_floor;
        }
    }
}

bool Builder::hedge_fits() const {
    int misfits = 0;
    for (int64_t book = 0; book < in.books; ++book) {
        const double *const value = curve.value(book), *const s = curve.nodes.data();
        const size_t n = curve.nodes.size();
        VECTORISED_WITH(reduction(| : misfits))
        for (size_t j = 0; j < n; ++j) misfits |= !(std::fabs(value[j] - s[j]) <= in.largest_hedge);
    }
    return misfits == 0;
}

// Piecewise cubic at x, which mostly ascends.
void Builder::hermite(const Row& row, const double* x, size_t count, double* out) {
    const double *const nodes = row.nodes, *const values = row.values, *const slopes = row.slopes;
    const int32_t last = static_cast<int32_t>(curve.nodes.size()) - 2;
    interval.resize(count);
    int32_t here = 0;
    for (size_t i = 0; i < count; ++i) {
        while (here < last && nodes[here + 1] <= x[i]) ++here;
        while (here > 0 && nodes[here] > x[i]) --here;
        interval[i] = here;
    }
    const int32_t* const at = interval.data();
    VECTORISED
    for (size_t i = 0; i < count; ++i) {
        const int32_t c = at[i];
        const double low = nodes[c], from = values[c], width = nodes[c + 1] - low;
        const double t = (x[i] - low) / width, rise = values[c + 1] - from;
        const double start = slopes[c] * width, end = slopes[c + 1] * width;
        out[i] = from + t * (start + t * ((3 * rise - 2 * start - end) + t * (start + end - 2 * rise)));
    }
    const double low = nodes[0], high = nodes[last + 1];
    for (size_t i = 0; i < count; ++i) {
        if (x[i] < low) out[i] = values[0] + slopes[0] * (x[i] - low);
        if (x[i] > high) out[i] = values[last + 1] + slopes[last + 1] * (x[i] - high);
    }
}

// Sharpest bend of a row in each of the finest panels: of the intervals that the panel touches and one more to each
// side. Those are the three intervals next to every node of the panel, and the three next to its start.
void Builder::sharpest(const Row& row, double* of_panel) {
    const size_t n = curve.nodes.size();
    const int32_t panels = static_cast<int32_t>(panel_edges.size()) - 1;
    const double *const edge = panel_edges.data(), *const node = row.nodes;
    const double low = edge[0], high = edge[panels], width = (high - low) / static_cast<double>(panels);
    const double per_unit = 1.0 / width;
    // Bends from index two on, and around them zeros for the intervals that do not exist.
    double* const bend = filled(bends, n + 3, 0.0);
    VECTORISED
    for (size_t j = 0; j < n - 1; ++j) {
        bend[j + 2] = std::fabs((row.slopes[j + 1] - row.slopes[j]) / (node[j + 1] - node[j]));
    }
    VECTORISED
    for (size_t j = 0; j < n + 1; ++j) {
        const double side = bend[j] > bend[j + 1] ? bend[j] : bend[j + 1];
        bend[j] = side > bend[j + 2] ? side : bend[j + 2];
    }
    // Now entry j holds the most of the three intervals that end with the one from node j on.
    interval.resize(n);
    int32_t* const above = interval.data();
    VECTORISED
    for (size_t j = 0; j < n; ++j) {
        // The first edge above the node; `near` is at most one off.
        int32_t near = static_cast<int32_t>((node[j] - low) * per_unit);
        near = near < panels - 1 ? near : panels - 1;
        const double next = near + 1 < panels ? low + width * static_cast<double>(near + 1) : high;
        above[j] = near + (node[j] >= low + width * static_cast<double>(near)) + (node[j] >= next);
    }
    // By edge, the first node from which on it is the first above; then, from the last edge down, the nodes below each.
    filled(below, panels + 2, static_cast<int32_t>(n));
    for (size_t j = n; j > 0; --j) below[above[j - 1]] = static_cast<int32_t>(j - 1);
    int32_t start = below[panels + 1];
    for (int32_t k = panels - 1; k >= 0; --k) {
        start = below[k + 1] < start ? below[k + 1] : start;
        size_t from = start;
        while (from < n && node[from] <= edge[k]) ++from;
        of_panel[k] = bend[from];
    }
    for (size_t j = 0; j < n; ++j) {
        double& most = of_panel[above[j] < panels ? above[j] - 1 : panels - 1];
        most = bend[j + 1] > most ? bend[j + 1] : most;
    }
}

// Segments of each row's panels for the number of panels that takes the fewest lines, the smallest such number.
// `needed` is brought down from the finest panels to each choice in turn.
void Builder::fewest_segments() {
    const int64_t count = rows.size();
    double least_lines = INFINITY, least_segments = 0.0;
    double most_needed = 0.0;
    const double* const of_finest = needed.data();
    const size_t finest_panels = needed.size();
    VECTORISED_WITH(reduction(max : most_needed))
    for (size_t k = 0; k < finest_panels; ++k) most_needed = of_finest[k] > most_needed ? of_finest[k] : most_needed;
    if (!(most_needed > static_cast<double>(in.most_segments))) {
        for (int64_t choice = in.panel_choices - 1; choice >= 0; --choice) {
            const int64_t panels = in.panels[choice], all = count * panels;
            if (choice < in.panel_choices - 1) bring_down(all, in.panels[choice + 1] / panels);
            segments.resize(all);
            double total = 0.0;
            const double share = static_cast<double>(panels);
            const double* const of_panel = needed.data();
            double* const own = segments.data();
            VECTORISED
            for (int64_t k = 0; k < all; ++k) {
                const double wanted = std::ceil(of_panel[k] / share);
                own[k] = wanted > 1.0 ? wanted : 1.0;
            }
            // Whole numbers below 2^53 add up alike in any order.
            VECTORISED_WITH(reduction(+ : total))
            for (int64_t k = 0; k < all; ++k) total += own[k];
            for (const int64_t end : {int64_t{0}, panels - 1}) {
                double most = 1.0;
                for (int64_t row = 0; row < count; ++row) most = std::max(most, segments[row * panels + end]);
                for (int64_t row = 0; row < count; ++row) {
                    total += most - segments[row * panels + end];
                    segments[row * panels + end] = most;
                }
            }
            if (static_cast<double>(all) + total <= least_lines) {
                least_lines = static_cast<double>(all) + total;
                least_segments = total;
                fewest.swap(segments);
            }
        }
        if (least_segments <= static_cast<double>(in.most_segments)) return;
    }
    fewest.assign(count, static_cast<double>((in.most_segments + count - 1) / count));
}

// What `panels` panels need, each as much as the neediest of its `together` finer ones.
void Builder::bring_down(int64_t panels, int64_t together) {
    double* const of_panel = needed.data();
    if (together == 2) {
        // Each is written after it has been read.
        for (int64_t k = 0; k < panels; ++k) {
            const double a = of_panel[2 * k], b = of_panel[2 * k + 1];
            of_panel[k] = a > b ? a : b;
        }
        return;
    }
    for (int64_t panel = 0; panel < panels; ++panel) {
        double most = of_panel[panel * together];
        for (int64_t k = 1; k < together; ++k) {
            most = of_panel[panel * together + k] > most ? of_panel[panel * together + k] : most;
        }
        of_panel[panel] = most;
    }
}

void Builder::add_lines(double low, double high) {
    const int64_t count = rows.size(), panels = fewest.size() / count;
    const double width = (high - low) / static_cast<double>(panels);
    int64_t total = count * panels;
    for (const double own : fewest) total += static_cast<int64_t>(own);
    float* const table = in.line + 2 * lines;
    lines += total;
    int64_t first = count * panels;
    for (int64_t row = 0; row < count; ++row) {
        const int64_t row_first = first;
        edges.clear();
        for (int64_t panel = 0; panel < panels; ++panel) {
            const int64_t own = static_cast<int64_t>(fewest[row * panels + panel]);
            const double panel_low = low + width * static_cast<double>(panel);
            const float panel_slope = static_cast<float>(fewest[row * panels + panel] / width);
            table[2 * (row * panels + panel)] =
                static_cast<float>(static_cast<double>(first) - static_cast<double>(panel_slope) * panel_low);
            table[2 * (row * panels + panel) + 1] = panel_slope;
            const double step = width / fewest[row * panels + panel];
            const size_t before = edges.size();
            edges.resize(before + own);
            double* const of_panel = edges.data() + before;
            for (int64_t k = 0; k < own; ++k) of_panel[k] = panel_low + static_cast<double>(k) * step;
            first += own;
        }
        edges.push_back(high);
        at_edges.resize(edges.size());
        hermite(rows[row], edges.data(), edges.size(), at_edges.data());
        const double *const e = edges.data(), *const f = at_edges.data();
        float* const chord = table + 2 * row_first;
        const int64_t chords = first - row_first;
        VECTORISED
        for (int64_t k = 0; k < chords; ++k) {
            const float chord_slope = static_cast<float>((f[k + 1] - f[k]) / (e[k + 1] - e[k]));
            const double centre = 0.5 * (e[k + 1] + e[k]);
            chord[2 * k] = static_cast<float>(0.5 * (f[k + 1] + f[k]) - static_cast<double>(chord_slope) * centre);
            chord[2 * k + 1] = chord_slope;
        }
    }
    const double margin_low = in.end_margin * width / fewest[0];
    const double margin_high = in.end_margin * width / fewest[panels - 1];
    table_lines.push_back(total);
    table_panels.push_back(panels);
    table_clip.insert(table_clip.end(), {static_cast<float>(low + margin_low), static_cast<float>(high - margin_high)});
    table_scale.insert(table_scale.end(), {static_cast<float>(1.0 / width), static_cast<float>(-low / width)});
}

// Table of the rows; false if it would have too many segments, or if there is no room.
bool Builder::add_table(double tolerance) {
    const size_t n = curve.nodes.size(), panels = in.panels[in.panel_choices - 1];
    double low = rows[0].nodes[0], high = rows[0].nodes[n - 1];
    for (const Row& row : rows) {
        low = std::min(low, row.nodes[0]);
        high = std::max(high, row.nodes[n - 1]);
    }
    needed.resize(rows.size() * panels);
    panel_edges.resize(panels + 1);
    const double width = (high - low) / static_cast<double>(panels);
    for (size_t k = 0; k < panels; ++k) panel_edges[k] = low + width * static_cast<double>(k);
    panel_edges[panels] = high;
    for (size_t row = 0; row < rows.size(); ++row) sharpest(rows[row], needed.data() + row * panels);
    double* const of_panel = needed.data();
    const size_t all = needed.size();
    VECTORISED
    for (size_t k = 0; k < all; ++k) of_panel[k] = (high - low) * std::sqrt(of_panel[k] / (8.0 * tolerance));
    fewest_segments();
    double total = 0.0;
    for (const double own : fewest) total += own;
    if (total >= static_cast<double>(in.most_segments)) return false;
    if (static_cast<double>(lines) + static_cast<double>(fewest.size()) + total > static_cast<double>(in.most_lines)) {
        return false;
    }
    add_lines(low, high);
    return true;
}

void Builder::build() {
    for (int64_t instant = 0; instant < in.instants; ++instant) {
        live_at(in.minute[instant], in.after_settlement[instant] != 0);
        base_nodes();
        unfloored(curve.nodes, curve.values, curve.slopes);
        between();
        join();
        const bool binds = note_events(instant);
        if (binds && !(in.m_floor > 0.0)) return;
        if (binds) {
            crossings();
            join();
            apply_floor();
        }
        if (!hedge_fits()) return;

        const size_t n = curve.nodes.size();
        if (in.wanted[instant] & INVERSE) {
            inverse.resize(in.books * n);
            const double* const slopes = curve.slopes.data();
            double* const of_inverse = inverse.data();
            const size_t all = in.books * n;
            VECTORISED
            for (size_t j = 0; j < all; ++j) of_inverse[j] = 1.0 / slopes[j];
            rows.clear();
            for (int64_t book = 0; book < in.books; ++book) {
                rows.push_back({curve.value(book), curve.nodes.data(), inverse.data() + book * n});
            }
            if (!add_table(in.inverse_tolerance)) return;
        }
        rows.clear();
        for (int64_t book = 0; book < in.books; ++book) {
            rows.push_back({curve.nodes.data(), curve.value(book), curve.slope(book)});
        }
        if ((in.wanted[instant] & FORWARD) && !add_table(in.forward_tolerance)) return;
        for (int64_t book = 0; book < in.books; ++book) {
            value.resize(value.size() + in.log_prices);
            hermite(rows[book], in.log_price, in.log_prices, value.data() + value.size() - in.log_prices);
        }
        done = instant + 1;
    }
}

MapOutputs Builder::outputs() const {
    return {done,
            static_cast<int64_t>(event.size() / 2),
            table_lines.data(),
            table_panels.data(),
            table_clip.data(),
            table_scale.data(),
            value.data(),
            event.data(),
            event_range.data()};
}

}  // namespace

// Build tables and barriers; the outputs hold until `free_map_tables`. Null for want of memory.
extern "C" __attribute__((visibility("default"))) void* build_map_tables(const MapInputs* inputs, MapOutputs* outputs) {
    try {
        std::unique_ptr<Builder> builder(new Builder(*inputs));
        builder->build();
        *outputs = builder->outputs();
        return builder.release();
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

extern "C" __attribute__((visibility("default"))) void free_map_tables(void* builder) {
    delete static_cast<Builder*>(builder);
}
