"""Dealers' book of a scenario, and its weights in every regime."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.book.hedge import DealerBook
from sim.book.rows import BookRows
from sim.market.black_scholes import FloatArray, years_to_settlement
from sim.market.calendar import settlement_minutes, trading_calendar
from sim.market.contracts import UNITS_PER_CONTRACT, units_of_gex
from sim.plan.time_grid import TimeGrid
from sim.scenario.model import Dealers, Scenario


def build_dealer_book(scenario: Scenario, grid: TimeGrid) -> DealerBook:
    """Dealers' book of a scenario, its sizes turned into index units: single positions, then those of the book file.

    A position stated by `gex_bn` is sized so that its gamma exposure is that many $bn per 1% move if the index stood
    at its strike at `as_of`. The rows of the book file that expire by then are left out.
    """
    dealers = scenario.dealers
    rows = _position_rows(dealers)
    minutes, is_session = settlement_minutes(trading_calendar(), rows.expiry, rows.at_open)
    assert is_session.all()
    units = _position_units(
        dealers, rows, years_to_settlement((minutes - grid.start_minute).astype(np.float64))
    )
    if dealers.book is not None:
        more = dealers.book.after(scenario.market.as_of).regrouped(dealers.groups)
        weight = np.array([dealers.book_weights.get(name, 1.0) for name in dealers.groups])
        units = np.concatenate((units, UNITS_PER_CONTRACT * more.contracts * weight[more.group]))
        more_minutes, is_session = settlement_minutes(trading_calendar(), more.expiry, more.at_open)
        assert is_session.all()
        rows, minutes = rows.joined(more), np.concatenate((minutes, more_minutes))
    return DealerBook.of(rows, units, minutes.astype(np.float64))


def _position_rows(dealers: Dealers) -> BookRows:
    """Single positions as columns; contracts are 0 where `gex_bn` states the size."""
    positions, groups = dealers.position, dealers.groups
    return BookRows(
        "",
        groups,
        np.array([groups.index(p.group) for p in positions], dtype=np.int32),
        np.array([p.type == "call" for p in positions], dtype=np.bool_),
        np.array([p.strike for p in positions], dtype=np.float64),
        np.array([p.expiry for p in positions], dtype="datetime64[D]"),
        np.array([p.settlement == "AM" for p in positions], dtype=np.bool_),
        np.array([p.iv for p in positions], dtype=np.float64),
        np.array([p.contracts or 0.0 for p in positions], dtype=np.float64),
        np.array([p.carry for p in positions], dtype=np.float64),
    )


def _position_units(dealers: Dealers, rows: BookRows, years: FloatArray) -> FloatArray:
    """Index units of single positions, (n,)."""
    units = UNITS_PER_CONTRACT * rows.contracts
    sized = np.flatnonzero([p.contracts is None for p in dealers.position])
    gex = np.array([dealers.position[i].gex_bn for i in sized.tolist()], dtype=np.float64)
    units[sized] = units_of_gex(gex, rows.strike[sized], rows.iv[sized], years[sized], rows.carry[sized])
    return units


def group_weights(
    scenario: Scenario, groups: tuple[str, ...]
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Distinct rows of group weights and each regime's row.

    Returns
    -------
    weights : (books, groups), row 0 the initial regime's (all ones).
    book_of_regime : (regimes,) index of each regime's row; regime 0 is "initial".
    """
    rows: list[tuple[float, ...]] = [tuple(1.0 for _ in groups)]
    book_of_regime = [0]
    for regime in scenario.regime:
        row = tuple(float(regime.weights.get(group, 1.0)) for group in groups)
        if row not in rows:
            rows.append(row)
        book_of_regime.append(rows.index(row))
    return np.array(rows).reshape(len(rows), len(groups)), np.array(book_of_regime, dtype=np.int32)
