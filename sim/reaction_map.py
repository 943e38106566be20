"""The reaction map Φ: how far the price must move before dealers' hedging and the fundamental agree.

    Φ_r(s,t) = s + κ·D_r(S0·e^s, t)                    log units
    m_r(s,t) = ∂Φ_r/∂s = 1 + κ·S·G_r(S,t)              the feedback factor

m > 1 damps moves (dealers long gamma), m < 1 amplifies them. Where m would fall below `m_floor`, Φ is
continued with slope `m_floor`, integrating max(m, m_floor) outward from s = 0.

Source: Frey & Stremme (1997); Platen & Schweizer (1998); Schönbucher & Wilmott (2000); Jeannin, Iori & Samuel (2008).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

import numpy as np

from sim.black_scholes import FloatArray
from sim.dealer_book import DealerBook
from sim.scenario_rules import SMALLEST_FEEDBACK

COARSE_SPACING = 0.002
NODES_PER_WIDTH = 12
NODES_PER_WIDTH_AT_FLOOR = 48
WIDTHS_COVERED = 7.0
# Interpolations of the place where m crosses its floor within a cell; each squares what is left of the error.
CROSSING_STEPS = 2


@dataclass(frozen=True)
class FloorEvent:
    """A place and time at which the feedback factor would fall below its floor.

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
        """Φ⁻¹ of one book, the log price s at which Φ(s) = y; linear beyond the nodes."""
        return hermite(y, self.values[book], self.nodes, 1.0 / self.slopes[book])


def hermite(x: FloatArray, nodes: FloatArray, values: FloatArray, slopes: FloatArray) -> FloatArray:
    """Piecewise cubic through (nodes, values) with the given slopes; straight lines beyond both ends."""
    cell = np.minimum(np.maximum(np.searchsorted(nodes, x, side="right") - 1, 0), nodes.size - 2)
    width = nodes[cell + 1] - nodes[cell]
    t = (x - nodes[cell]) / width
    rise = values[cell + 1] - values[cell]
    start, end = slopes[cell] * width, slopes[cell + 1] * width
    inside = values[cell] + t * (start + t * ((3 * rise - 2 * start - end) + t * (start + end - 2 * rise)))
    below = values[0] + slopes[0] * (x - nodes[0])
    above = values[-1] + slopes[-1] * (x - nodes[-1])
    result: FloatArray = np.where(x < nodes[0], below, np.where(x > nodes[-1], above, inside))
    return result


@dataclass(frozen=True)
class ReactionMap:
    """Φ of a dealers' book under each regime's weights.

    Attributes
    ----------
    spot : S0, index points.
    kappa : κ, fraction of price per index unit traded.
    book : the positions.
    weights : (books, groups) weight of each group in each distinct regime book.
    m_floor : smallest allowed feedback factor; 0 = no floor.
    reach : half-width of the covered log price range.
    """

    spot: float
    kappa: float
    book: DealerBook
    weights: FloatArray
    m_floor: float
    reach: float

    @property
    def is_identity(self) -> bool:
        """Whether Φ(s,t) = s at all times."""
        return self.kappa == 0.0 or not self.book.positions

    @property
    def key(self) -> Hashable:
        """Everything that the map depends on."""
        weights = (self.weights.shape, self.weights.tobytes())
        return (self.spot, self.kappa, self.book, weights, self.m_floor, self.reach)

    def unfloored(
        self, s: FloatArray, minute: float, after_settlement: bool
    ) -> tuple[FloatArray, FloatArray]:
        """S + κ·D and 1 + κ·S·G of every book, each (books, len(s))."""
        price = self.spot * np.exp(s)
        hedge, slope = self.book.hedge_by_group(price, minute, after_settlement)
        return s + self.kappa * self._weighted(hedge), 1.0 + self.kappa * price * self._weighted(slope)

    def _weighted(self, by_group: FloatArray) -> FloatArray:
        """Sum over groups of weight × value, (books, n), in the order of the groups: a BLAS would choose its own."""
        total = np.zeros((len(self.weights), by_group.shape[1]))
        for weight, values in zip(self.weights.T, by_group, strict=True):
            total += weight[:, None] * values
        return total

    def nodes_at(self, minute: float, after_settlement: bool, per_width: int) -> FloatArray:
        """Log prices at which the map is tabulated: a coarse grid, refined around each live strike."""
        half = int(np.ceil(self.reach / COARSE_SPACING))
        pieces = [COARSE_SPACING * np.arange(-half, half + 1)]
        for p in self.book.live(minute, after_settlement):
            centre, width = p.bend(minute, self.spot)
            if per_width * COARSE_SPACING > width:
                count = int(WIDTHS_COVERED * per_width)
                pieces.append(centre + width / per_width * np.arange(-count, count + 1))
        nodes = np.unique(np.concatenate(pieces))
        nodes = nodes[np.abs(nodes) <= half * COARSE_SPACING * (1 + 1e-12)]
        spaced = nodes[np.concatenate(([True], np.diff(nodes) > 1e-9))]
        result: FloatArray = spaced
        return result

    def at(self, minute: float, after_settlement: bool) -> MapSlice:
        """Map of every book at one instant, floored where the feedback factor is too small."""
        nodes = self.nodes_at(minute, after_settlement, NODES_PER_WIDTH)
        values, slopes = self.unfloored(nodes, minute, after_settlement)
        events = tuple(self._floor_events(minute, nodes, slopes))
        if events and self.m_floor > 0.0:
            nodes = self.nodes_at(minute, after_settlement, NODES_PER_WIDTH_AT_FLOOR)
            nodes = self._with_crossings(nodes, minute, after_settlement)
            values, slopes = self.unfloored(nodes, minute, after_settlement)
            values, slopes = self._apply_floor(nodes, values, slopes)
        return MapSlice(nodes, values, slopes, events)

    def _with_crossings(self, nodes: FloatArray, minute: float, after_settlement: bool) -> FloatArray:
        """Nodes and every place where a book's feedback factor crosses the floor."""
        _, slopes = self.unfloored(nodes, minute, after_settlement)
        excess = slopes - self.m_floor
        book, cell = np.nonzero((excess[:, 1:] < 0) != (excess[:, :-1] < 0))
        low, high = nodes[cell], nodes[cell + 1]
        at_low, at_high = excess[book, cell], excess[book, cell + 1]
        for _ in range(CROSSING_STEPS):
            between = low + (high - low) * at_low / (at_low - at_high)
            _, slopes = self.unfloored(between, minute, after_settlement)
            at_between = slopes[book, np.arange(cell.size)] - self.m_floor
            beyond = (at_between < 0) == (at_low < 0)
            low, high = np.where(beyond, between, low), np.where(beyond, high, between)
            at_low, at_high = np.where(beyond, at_between, at_low), np.where(beyond, at_high, at_between)
        crossing = low + (high - low) * at_low / (at_low - at_high)
        joined = np.unique(np.concatenate((nodes, crossing)))
        result: FloatArray = joined[np.concatenate(([True], np.diff(joined) > 1e-12))]
        return result

    def _apply_floor(
        self, nodes: FloatArray, values: FloatArray, slopes: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Φ with slope m_floor over the cells below it; no cell crosses the floor, since crossings are nodes."""
        floored = 0.5 * (slopes[:, 1:] + slopes[:, :-1]) < self.m_floor
        areas = np.where(floored, self.m_floor * np.diff(nodes) - np.diff(values, axis=1), 0.0)
        added = np.concatenate((np.zeros((len(slopes), 1)), np.cumsum(areas, axis=1)), axis=1)
        origin = np.array([np.interp(0.0, nodes, row) for row in added])
        return values + added - origin[:, None], np.maximum(slopes, self.m_floor)

    def _floor_events(self, minute: float, nodes: FloatArray, slopes: FloatArray) -> Iterator[FloorEvent]:
        for book, m in enumerate(slopes):
            low = np.flatnonzero(m < (self.m_floor or SMALLEST_FEEDBACK))
            if low.size:
                price = self.spot * np.exp(nodes[low])
                yield FloorEvent(minute, book, float(m.min()), float(price.min()), float(price.max()))
