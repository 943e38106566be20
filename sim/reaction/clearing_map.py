"""The clearing map Φ: how far the price must move before dealers' hedging and the fundamental agree.

    Φ_r(s,t) = s + κ·D_r(S0·e^s, t)                    log units
    m_r(s,t) = ∂Φ_r/∂s = 1 + κ·S·G_r(S,t)              the feedback factor

m > 1 damps moves (dealers long gamma), m < 1 amplifies them. Where m would fall below `m_floor`, Φ is
continued with slope `m_floor`, integrating max(m, m_floor) outward from s = 0.

Source: Frey & Stremme (1997); Platen & Schweizer (1998); Schönbucher & Wilmott (2000); Jeannin, Iori & Samuel (2008).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.book.expiry_curves import COARSE_SPACING, WIDTHS_COVERED, ExpiryCurve, ExpiryCurves
from sim.book.hedge import DealerBook, LiveBook
from sim.market.black_scholes import FloatArray
from sim.market.elementary import exp
from sim.market.hermite import hermite
from sim.scenario.rules import SMALLEST_FEEDBACK

NODES_PER_WIDTH = 12
# An interval between nodes is cut into pieces where the feedback factor changes from one end to the other by a larger
# share of itself: the inverse bends sharply where the factor is small.
LARGEST_CHANGE = 0.25
PIECES = 4
# Interpolations of the log price where m crosses its floor in an interval; each squares what is left of the error.
CROSSING_STEPS = 2
# Distances, log units, below which two ends of stretches, and two nodes, count as one.
SMALLEST_STRETCH = 1e-9
SMALLEST_INTERVAL = 1e-12


Curves = Sequence[ExpiryCurve]
Unfloored = Callable[[FloatArray], tuple[FloatArray, FloatArray]]


class Curve(NamedTuple):
    """Nodes (n,), values and slopes (books, n) of a map that is being built."""

    nodes: FloatArray
    values: FloatArray
    slopes: FloatArray


@dataclass(frozen=True)
class FloorEvent:
    """Range of the index and instant at which the feedback factor would fall below its floor.

    Attributes
    ----------
    minute : instant, minutes since 1970-01-01 UTC.
    book : row of regime weights.
    lowest : smallest unfloored feedback factor m.
    price_low, price_high : range of the index over which the floor binds, index points.
    """

    minute: float
    book: int
    lowest: float
    price_low: float
    price_high: float


@dataclass(frozen=True)
class MapSlice:
    """Φ of every book at one instant, on nodes dense enough for cubic Hermite interpolation.

    Attributes
    ----------
    nodes : (n,) log price s, ascending.
    values : (books, n) Φ(s), log units.
    slopes : (books, n) max(m, m_floor).
    floor_events : where m falls below the floor, or below 0.05 when there is none.
    """

    nodes: FloatArray
    values: FloatArray
    slopes: FloatArray
    floor_events: tuple[FloorEvent, ...] = ()

    def value(self, s: FloatArray) -> FloatArray:
        """Φ of every book, (books, len(s)) in log units; linear beyond the nodes."""
        return np.stack([self.value_of(s, book) for book in range(len(self.values))])

    def value_of(self, s: FloatArray, book: int) -> FloatArray:
        """Φ of one book, (len(s),) log units; linear beyond the nodes."""
        return hermite(s, self.nodes, self.values[book], self.slopes[book])

    def inverse(self, y: FloatArray, book: int) -> FloatArray:
        """Φ⁻¹ of one book, the log prices s at which Φ(s) = y, (len(y),); linear beyond the nodes.

        y : (n,) log units.
        """
        return hermite(y, self.values[book], self.nodes, 1.0 / self.slopes[book])


@dataclass(frozen=True)
class ClearingMap:
    """Φ of a dealers' book under each regime's weights.

    Attributes
    ----------
    spot : S0, index points.
    kappa : κ, fraction of price per index unit traded.
    book : the positions.
    weights : (books, groups) weight of each group in each distinct regime book.
    m_floor : smallest allowed feedback factor; 0 = no floor.
    half_width : half-width of the covered log price range.
    """

    spot: float
    kappa: float
    book: DealerBook
    weights: FloatArray
    m_floor: float
    half_width: float

    @property
    def is_identity(self) -> bool:
        """Whether Φ(s,t) = s at all times: no impact or no positions."""
        return self.kappa == 0.0 or not len(self.book)

    @property
    def key(self) -> Hashable:
        """Hashable key of the map: equal keys mean equal maps."""
        weights = (self.weights.shape, self.weights.tobytes())
        return (self.spot, self.kappa, self.book, weights, self.m_floor, self.half_width)

    @cached_property
    def _expiries(self) -> ExpiryCurves:
        return ExpiryCurves(self.book, self.spot, self.half_width)

    def unfloored(
        self, s: FloatArray, minute: float, after_settlement: bool
    ) -> tuple[FloatArray, FloatArray]:
        """Φ = s + κ·D and m = 1 + κ·S·G of every book as if there were no floor, (books, len(s)) at ascending s.

        Position by position, without the curves of `at`.
        """
        live = self.book.live_at(minute, after_settlement, self.spot)
        return self._of_hedge(s, *live.hedge_by_group(s, len(self.book.groups)))

    def _unfloored(self, s: FloatArray, live: LiveBook, curves: Curves) -> tuple[FloatArray, FloatArray]:
        hedge, slope = replace(live, expiry_groups=()).hedge_by_group(s, len(self.book.groups))
        for curve in curves:
            curve.add(s, hedge, slope)
        return self._of_hedge(s, hedge, slope)

    def _of_hedge(self, s: FloatArray, hedge: FloatArray, slope: FloatArray) -> tuple[FloatArray, FloatArray]:
        return s + self.kappa * self._weighted(hedge), 1.0 + self.kappa * self._weighted(slope)

    def _weighted(self, by_group: FloatArray) -> FloatArray:
        """Sum over groups of weight × value, (books, n), in the order of the groups: a BLAS would choose its own."""
        total = np.zeros((len(self.weights), by_group.shape[1]))
        for weight, values in zip(self.weights.T, by_group, strict=True):
            total += weight[:, None] * values
        return total

    def at(self, minute: float, after_settlement: bool) -> MapSlice:
        """Map of every book at one instant, floored where the feedback factor is too small."""
        live = self.book.live_at(minute, after_settlement, self.spot)
        expiries = self._expiries.at(minute, after_settlement)

        def unfloored(s: FloatArray) -> tuple[FloatArray, FloatArray]:
            return self._unfloored(s, live, expiries)

        nodes = base_nodes(live, expiries, self.half_width)
        curve = Curve(nodes, *unfloored(nodes))
        curve = _joined(curve, self._between(curve), unfloored)
        events = tuple(self._floor_events(minute, curve))
        if events and self.m_floor > 0.0:
            curve = _joined(curve, self._crossings(curve, unfloored), unfloored)
            curve = self._floored(curve)
        return MapSlice(*curve, events)

    def _between(self, curve: Curve) -> FloatArray:
        """Log prices that cut the intervals over which the feedback factor of any book changes much."""
        m = np.maximum(curve.slopes, self.least_feedback)
        change = np.abs(m[:, 1:] - m[:, :-1]) > LARGEST_CHANGE * np.minimum(m[:, 1:], m[:, :-1])
        cut = change.any(axis=0)
        low, width = curve.nodes[:-1][cut], np.diff(curve.nodes)[cut]
        return (
            np.concatenate(low[:, None] + width[:, None] * (np.arange(1, PIECES) / PIECES))
            if low.size
            else low
        )

    def _crossings(self, curve: Curve, unfloored: Unfloored) -> FloatArray:
        """Every log price between nodes at which a book's feedback factor crosses the floor."""
        excess = curve.slopes - self.m_floor
        interval, book = np.nonzero(((excess[:, 1:] < 0) != (excess[:, :-1] < 0)).T)
        low, high = curve.nodes[interval], curve.nodes[interval + 1]
        ends = low, high
        at_low, at_high = excess[book, interval], excess[book, interval + 1]
        for _ in range(CROSSING_STEPS):
            between = low + (high - low) * at_low / (at_low - at_high)
            order = np.argsort(between)
            at_between = np.empty(between.size)
            _, slopes = unfloored(between[order])
            at_between[order] = slopes[book[order], np.arange(between.size)] - self.m_floor
            beyond = (at_between < 0) == (at_low < 0)
            low, high = np.where(beyond, between, low), np.where(beyond, high, between)
            at_low, at_high = np.where(beyond, at_between, at_low), np.where(beyond, at_high, at_between)
        crossing = low + (high - low) * at_low / (at_low - at_high)
        apart = (crossing - ends[0] > SMALLEST_INTERVAL) & (ends[1] - crossing > SMALLEST_INTERVAL)
        found = np.sort(crossing[apart])
        return found[np.diff(found, prepend=-np.inf) > SMALLEST_INTERVAL]

    def _floored(self, curve: Curve) -> Curve:
        """Φ with slope m_floor over the intervals below it; none crosses the floor, since crossings are nodes."""
        nodes, values, slopes = curve
        floored = 0.5 * (slopes[:, 1:] + slopes[:, :-1]) < self.m_floor
        areas = np.where(floored, self.m_floor * np.diff(nodes) - np.diff(values, axis=1), 0.0)
        added = np.concatenate((np.zeros((len(slopes), 1)), np.cumsum(areas, axis=1)), axis=1)
        origin = added[:, np.searchsorted(nodes, 0.0)]
        return Curve(nodes, values + added - origin[:, None], np.maximum(slopes, self.m_floor))

    @property
    def least_feedback(self) -> float:
        """Smallest allowed feedback factor: the floor, or the least that a book without a floor may have."""
        return self.m_floor or SMALLEST_FEEDBACK

    def _floor_events(self, minute: float, curve: Curve) -> Iterator[FloorEvent]:
        for book, m in enumerate(curve.slopes):
            low = curve.nodes[m < self.least_feedback]
            if low.size:
                ends = (self.spot * exp(float(s)) for s in low[[0, -1]])
                yield FloorEvent(minute, book, float(m.min()), *ends)


def _joined(curve: Curve, more: FloatArray, unfloored: Unfloored) -> Curve:
    """Curve with further nodes `more`, (k,) ascending, none of which it has yet."""
    if not more.size:
        return curve
    values, slopes = unfloored(more)
    nodes = np.concatenate((curve.nodes, more))
    order = np.argsort(nodes, kind="stable")
    both = [
        np.concatenate(pair, axis=1)[:, order] for pair in ((curve.values, values), (curve.slopes, slopes))
    ]
    return Curve(nodes[order], *both)


def base_nodes(live: LiveBook, expiries: Curves, half_width: float) -> FloatArray:
    """Log prices at which a map is tabulated, (n,) ascending: coarse, and finer around each strike.

    −half_width, 0 and half_width are among them.

    Each stretch between the log prices where a strike's surroundings begin or end is divided evenly, into intervals
    as narrow as its narrowest gamma needs. Where there are curves of expiries, their cells begin stretches too.

    Parameters
    ----------
    live : positions that are hedged one by one.
    expiries : curves of the others.
    half_width : log units.
    """
    far = WIDTHS_COVERED * live.width
    low, high = live.centre - far, live.centre + far
    spacing = live.width / NODES_PER_WIDTH
    anchors = np.array([-half_width, 0.0, half_width])
    ends = np.concatenate((low, high))
    ends = ends[_apart(ends, half_width)]
    if expiries:
        lattice = (
            np.arange(np.floor(-half_width / COARSE_SPACING), np.ceil(half_width / COARSE_SPACING) + 1)
            * COARSE_SPACING
        )
        ends = np.concatenate((ends, lattice[_apart(lattice, half_width)]))
    breaks = np.sort(np.concatenate((anchors, ends)))
    breaks = breaks[(np.diff(breaks, prepend=-np.inf) > SMALLEST_STRETCH)]
    middle = 0.5 * (breaks[1:] + breaks[:-1])
    finest = np.full(middle.size, COARSE_SPACING)
    for first, last, own in zip(
        np.searchsorted(middle, low, side="right"), np.searchsorted(middle, high), spacing, strict=True
    ):
        stretch = finest[first:last]
        np.minimum(stretch, own, out=stretch)
    for curve in expiries:
        finest = np.minimum(
            finest, curve.spacing[np.floor(middle / curve.cell).astype(np.int64) - curve.first]
        )
    width = np.diff(breaks)
    intervals = np.ceil(width / finest).astype(np.int64)
    last = np.cumsum(intervals)
    within = np.arange(last[-1]) - np.repeat(last - intervals, intervals)
    nodes = np.repeat(breaks[:-1], intervals) + within * np.repeat(width / intervals, intervals)
    return np.append(nodes, half_width)


def _apart(ends: FloatArray, half_width: float) -> NDArray[np.bool_]:
    """Which ends of stretches lie within the half-width, and apart from both its ends and from zero."""
    inside = (ends > -half_width) & (ends < half_width) & (np.abs(ends) > SMALLEST_STRETCH)
    return np.asarray(
        inside & (half_width - ends > SMALLEST_STRETCH) & (ends + half_width > SMALLEST_STRETCH)
    )
