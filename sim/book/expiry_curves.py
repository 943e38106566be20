"""Hedge of all positions that settle at one instant, as a curve over the log price.

An option chain has thousands of positions and few expiries. Those of one expiry bend together, over the widths of
their gammas, v = iv·√τ; so their sum is worked out on nodes of its own, v/10 or less apart wherever a gamma lies, and
read off between them by cubics: ten nodes for each width instead of thousands of options at each place.

Time is dealt with likewise. From a day before settlement back, the sum is worked out at knots, each life a seventh
longer than the next, together with its rate of change in time, and read off between two knots by cubics. Far expiries
so need few knots and near ones many; the last day is worked out at each instant.

Both cubics together err by less than 6e-7 of a position's delta.

Legend: z = (s − c)/v, c = ln(K/S0) − b·τ − v²/2, D = Σ n·(N(z) − put), ∂D/∂s = Σ n·n(z)/v, and in time

    ∂z/∂τ = (b + iv²/2)/v − z/(2τ)      ∂D/∂τ = Σ n·n(z)·∂z/∂τ      ∂²D/∂s∂τ = Σ (n/v)·n(z)·(−1/(2τ) − z·∂z/∂τ)
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from sim.book.hedge import SPARE, DealerBook, LiveBook, centre_and_width, near_positions
from sim.market.black_scholes import MINUTES_PER_YEAR, FloatArray, years_to_settlement
from sim.market.elementary import sum_in_order, whole_powers
from sim.market.hermite import cubic, cubic_coefficients, cubic_slope, intervals_of
from sim.market.normal_law import LAW_HALF_WIDTH

# Spacing of nodes where no gamma is narrow, log units. Cells of other sizes are this one doubled again and again.
COARSE_SPACING = 0.002
NODES_PER_WIDTH = 10
WIDTHS_COVERED = 7.0
# Lives at which curves are worked out, minutes before settlement, ascending. Beyond both ends every instant is.
SHORTEST_KNOT = 1440.0
KNOT_RATIO = 1.15
KNOTS = SHORTEST_KNOT * whole_powers(KNOT_RATIO, 78)
KNOTS.flags.writeable = False


@dataclass(frozen=True)
class ExpiryCurve:
    """Hedge D_g and its slope ∂D_g/∂s of every group, on nodes.

    Attributes
    ----------
    cell : width of a cell, log units; cells begin at its multiples.
    first : multiple at which the first cell begins.
    spacing : (cells,) distance between the nodes of a cell.
    nodes : (n,) log price s, ascending.
    hedge, slope : (groups, n) index units.
    """

    cell: float
    first: int
    spacing: FloatArray
    nodes: FloatArray
    hedge: FloatArray
    slope: FloatArray

    def add(self, s: FloatArray, hedge: FloatArray, slope: FloatArray) -> None:
        """Add D_g and its slope at (len(s),) log prices within the nodes to arrays (groups, len(s))."""
        at, width, t = intervals_of(s, self.nodes)
        for group, (values, slopes) in enumerate(zip(self.hedge, self.slope, strict=True)):
            start, end = slopes[at] * width, slopes[at + 1] * width
            second, third = cubic_coefficients(values[at + 1] - values[at], start, end)
            hedge[group] += cubic(t, values[at], start, second, third)
            slope[group] += cubic_slope(t, start, second, third) / width


@dataclass(frozen=True, kw_only=True)
class ExpiryGroup(LiveBook):
    """Positions of one expiry at one instant, with the rates at which their gammas move and narrow.

    Attributes
    ----------
    drift : (n,) (b + iv²/2)/v, 1/year.
    half_rate : 1/(2τ), 1/year.
    """

    drift: FloatArray
    half_rate: float

    def sums(self, s: FloatArray, groups: int, *, rates: bool) -> FloatArray:
        """D_g and ∂D_g/∂s at nodes s, positions added in their order, node by node.

        Parameters
        ----------
        s : (n,) log price, ascending.
        groups : how many groups there are.
        rates : whether ∂/∂τ of both, per year, are wanted too.

        Returns
        -------
        sums : (2, groups, n) or, with the rates, (4, groups, n).
        """
        far = (LAW_HALF_WIDTH + SPARE) * self.width
        low, above = (
            np.searchsorted(s, self.centre - far),
            np.searchsorted(s, self.centre + far, side="right"),
        )
        node, law, density, z = near_positions(s, self.centre, 1.0 / self.width, low, above - low)
        position = np.repeat(np.arange(low.size), above - low)
        units, by_width = self.units[position], (self.units * (1.0 / self.width))[position]
        terms = [units * law, by_width * density]
        if rates:
            z_rate = self.drift[position] - z * self.half_rate
            terms += [units * density * z_rate, by_width * density * (-self.half_rate - z * z_rate)]
        found = np.empty((len(terms), groups, s.size))
        for group in range(groups):
            own = self.group == group
            there = own[position]
            for term, row in zip(terms, found[:, group], strict=True):
                row[:] = np.bincount(node[there], term[there], s.size)
            # Below lies delta's one end, above it the other: a step.
            step = np.bincount(above[own], self.units[own], s.size + 1)[: s.size]
            found[0, group] = (
                found[0, group] + np.cumsum(step) - sum_in_order(self.units[own] * self.put[own])
            )
        return found


@dataclass(frozen=True)
class _Interval:
    """Sums and rates of an expiry at the two knots around an instant.

    Attributes
    ----------
    knot : index of the later one in `KNOTS`.
    curve : cells and nodes, and the sums at the earlier knot.
    knots : (2, 4, groups, n) sums and rates at the earlier and at the later knot; see `ExpiryGroup.sums`.
    """

    knot: int
    curve: ExpiryCurve
    knots: FloatArray


class ExpiryCurves:
    """Curves of a book's expiry groups at any instant.

    Parameters
    ----------
    book : the positions.
    spot : index points at log price zero.
    half_width : curves cover −half_width to half_width, log units.
    """

    def __init__(self, book: DealerBook, spot: float, half_width: float):
        self.book, self.half_width = book, half_width
        self.groups = len(book.groups)
        self.log_strike = book.log_strike(spot)
        starts = book.expiry_start.tolist()
        self.expiry_groups = [slice(*ends) for ends in itertools.pairwise(starts)]
        self._intervals: dict[int, _Interval] = {}

    def at(self, minute: float, after_settlement: bool) -> list[ExpiryCurve]:
        """Curves of the expiries in the book at an instant, by settlement; see `DealerBook.live_at`."""
        found = []
        for number, expiry_group in enumerate(self.expiry_groups):
            left = float(self.book.settlement[expiry_group.start]) - minute
            if left < 0 or (after_settlement and left == 0):
                continue
            knot = int(np.searchsorted(KNOTS, left, side="right")) - 1
            if knot < 0 or knot + 1 == KNOTS.size:
                found.append(self._worked_out(expiry_group, left))
            else:
                found.append(self._between(number, expiry_group, knot, left))
        return found

    def _group_at(self, expiry_group: slice, left: float) -> ExpiryGroup:
        """Expiry group `left` minutes before it settles."""
        rows = self.book.rows
        years = float(years_to_settlement(left))
        iv, carry = rows.iv[expiry_group], rows.carry[expiry_group]
        centre, width = centre_and_width(self.log_strike[expiry_group], iv, carry, years)
        return ExpiryGroup(
            group=rows.group[expiry_group],
            put=self.book.put[expiry_group],
            units=self.book.units[expiry_group],
            centre=centre,
            width=width,
            drift=(carry + 0.5 * (iv * iv)) / width,
            half_rate=0.5 / years,
        )

    def _worked_out(self, expiry_group: slice, left: float) -> ExpiryCurve:
        at = self._group_at(expiry_group, left)
        cell, first, spacing, nodes = _nodes(at, at, self.half_width)
        return ExpiryCurve(cell, first, spacing, nodes, *at.sums(nodes, self.groups, rates=False))

    def _between(self, number: int, expiry_group: slice, knot: int, left: float) -> ExpiryCurve:
        known = self._intervals.get(number)
        if known is None or known.knot != knot:
            early, late = (
                self._group_at(expiry_group, KNOTS[knot + 1]),
                self._group_at(expiry_group, KNOTS[knot]),
            )
            cell, first, spacing, nodes = _nodes(early, late, self.half_width)
            knots = np.array([at.sums(nodes, self.groups, rates=True) for at in (early, late)])
            curve = ExpiryCurve(cell, first, spacing, nodes, *knots[0, :2])
            known = self._intervals[number] = _Interval(knot, curve, knots)
        length = KNOTS[knot + 1] - KNOTS[knot]
        u = (KNOTS[knot + 1] - left) / length
        start, end = known.knots[:, 2:] * (-length / MINUTES_PER_YEAR)
        second, third = cubic_coefficients(known.knots[1, :2] - known.knots[0, :2], start, end)
        hedge, slope = cubic(u, known.knots[0, :2], start, second, third)
        curve = known.curve
        return ExpiryCurve(curve.cell, curve.first, curve.spacing, curve.nodes, hedge, slope)


def _nodes(
    early: ExpiryGroup, late: ExpiryGroup, half_width: float
) -> tuple[float, int, FloatArray, FloatArray]:
    """Cells and nodes of an expiry that serve two instants, at the later of which its gammas are narrower.

    Returns
    -------
    cell, first, spacing, nodes : see `ExpiryCurve`.
    """
    own = late.width / NODES_PER_WIDTH
    cell = COARSE_SPACING
    while 2 * cell <= own.min():
        cell *= 2
    first, last = int(np.floor(-half_width / cell)), int(np.ceil(half_width / cell))
    far = WIDTHS_COVERED * early.width
    low = np.floor((np.minimum(early.centre, late.centre) - far) / cell) - first
    high = np.ceil((np.maximum(early.centre, late.centre) + far) / cell) - first
    finest = np.full(last - first, cell)
    ends = (np.clip(end, 0, finest.size).astype(np.int64).tolist() for end in (low, high))
    for start, stop, spacing in zip(*ends, own, strict=True):
        stretch = finest[start:stop]
        np.minimum(stretch, spacing, out=stretch)
    count = np.ceil(cell / finest).astype(np.int64)
    spacing = cell / count
    of_cell = np.cumsum(count)
    within = np.arange(of_cell[-1]) - np.repeat(of_cell - count, count)
    begins = np.arange(first, last) * cell
    nodes = np.append(np.repeat(begins, count) + within * np.repeat(spacing, count), last * cell)
    return cell, first, spacing, nodes
