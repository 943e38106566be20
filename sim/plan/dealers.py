"""Dealers' book of a scenario, and its weights in every regime."""

from __future__ import annotations

import datetime as dt

import numpy as np
from numpy.typing import NDArray

from sim.book.hedge import BookPosition, DealerBook
from sim.market import black_scholes
from sim.market.calendar import settlement_minute, trading_calendar
from sim.market.contracts import UNITS_PER_CONTRACT
from sim.plan.time_grid import TimeGrid
from sim.scenario.model import Scenario


def build_dealer_book(scenario: Scenario, grid: TimeGrid) -> DealerBook:
    """Dealers' book of a scenario, its sizes turned into index units.

    A position stated by `gex_bn` is sized so that its gamma exposure is that many $bn per 1% move if the
    index stood at its strike at `as_of`: n = gex_bn·1e9 / (Γ(K)·K²·0.01).
    """
    dealers, groups = scenario.dealers, scenario.dealers.groups
    rows = () if dealers.book is None else dealers.book.after(scenario.market.as_of)
    if not dealers.position and not len(rows):
        return DealerBook((), ())
    calendar = trading_calendar(scenario.market.as_of)
    positions = []
    for p in dealers.position:
        settles = settlement_minute(calendar, p.expiry, p.settlement)
        if p.contracts is not None:
            units = UNITS_PER_CONTRACT * p.contracts
        else:
            assert p.gex_bn is not None
            years = float(black_scholes.years_to_settlement(settles - grid.start_minute))
            at_strike = np.array([p.strike])
            _, gamma = black_scholes.delta_and_gamma(
                at_strike, p.strike, years, p.iv, p.carry, p.type == "call"
            )
            units = p.gex_bn * 1e9 / (float(gamma[0]) * (p.strike * p.strike) * 0.01)
        positions.append(
            BookPosition(groups.index(p.group), p.type == "call", p.strike, p.iv, p.carry, units, settles)
        )
    settlements: dict[tuple[dt.date, str], int] = {}
    for row in rows:
        key = row.expiry, row.settlement
        settles = settlements[key] if key in settlements else settlement_minute(calendar, *key)
        settlements[key] = settles
        units = UNITS_PER_CONTRACT * row.contracts * dealers.book_weights.get(row.group, 1.0)
        group = groups.index(row.group)
        positions.append(
            BookPosition(group, row.type == "call", row.strike, row.iv, row.carry, units, settles)
        )
    return DealerBook(groups, tuple(positions))


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
