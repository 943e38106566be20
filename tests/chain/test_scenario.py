from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.places import MARKET_DATA
from support.sample_chain import NEW_YORK, QUOTED, SPOT, Listing, many_listings, quotedata_csv

from sim.book import expiry_curves
from sim.chain.book import ChainBook, book_of_chain
from sim.chain.book_rules import BookRules
from sim.chain.files import read_chain
from sim.chain.levels import find_gamma_levels
from sim.chain.scenario import (
    ChainScenario,
    Horizon,
    chain_volatility,
    impact_notes,
    round_targets,
    scenario_of_chain,
    start_session,
)
from sim.errors import InputError
from sim.market.calendar import trading_calendar
from sim.odds.tables import TABLES
from sim.plan.builder import prepare
from sim.run.simulation import simulate
from sim.scenario.fragments import Fragment

REAL = MARKET_DATA / "chain"
CALENDAR = trading_calendar()


def book_at(quoted: dt.datetime, folder: Path, rules: BookRules | None = None, **changes: Any) -> ChainBook:
    listings = changes.pop("listings", many_listings(quoted, SPOT, 12, 60))
    path = folder / "chain.csv"
    path.write_text(quotedata_csv(quoted=quoted, listings=listings, **changes), encoding="utf-8")
    return book_of_chain(read_chain(path), rules)


def scenario_of(book: ChainBook, horizon: Horizon | None = None, *overrides: str) -> ChainScenario:
    return scenario_of_chain(book, horizon, overrides=overrides)


@pytest.mark.parametrize(
    ("hour", "minute", "day", "noted"),
    [
        (16, 18, 3, False),
        (16, 0, 3, False),
        (23, 59, 3, False),
        (13, 0, 3, True),
        (9, 30, 3, True),
        (9, 29, 2, False),
    ],
)
def test_paths_start_at_the_last_session_that_had_opened(
    hour: int, minute: int, day: int, noted: bool, tmp_path: Path
) -> None:
    book = book_at(dt.datetime(2025, 9, 3, hour, minute, tzinfo=NEW_YORK), tmp_path)
    session, notes = start_session(book, CALENDAR)
    assert session == dt.date(2025, 9, day)
    assert bool(notes) == noted


def test_a_weekends_chain_starts_on_friday(tmp_path: Path) -> None:
    book = book_at(dt.datetime(2025, 9, 6, 11, 0, tzinfo=NEW_YORK), tmp_path)
    assert start_session(book, CALENDAR)[0] == dt.date(2025, 9, 5)


def test_what_the_scenario_is_made_of(tmp_path: Path) -> None:
    book = book_at(QUOTED, tmp_path)
    scenario = scenario_of(book)
    assert scenario.market.as_of == QUOTED.date()
    assert scenario.market.spot == SPOT
    assert len(CALENDAR.sessions_after(scenario.market.as_of, scenario.market.until or dt.date.max)) == 21
    assert scenario.dealers.book is book.rows
    assert (scenario.targets.upper, scenario.targets.lower) == (6600.0, 6300.0)
    levels = find_gamma_levels(book)
    assert levels.call_wall is not None
    assert levels.call_wall.strike in scenario.all_levels
    assert "naive sign" in scenario.description
    assert book.chain.source in scenario.description


def test_horizon_and_targets_are_what_was_asked_for(tmp_path: Path) -> None:
    horizon = Horizon(dt.date(2025, 10, 10), 6800.0, 6111.5)
    scenario = scenario_of(book_at(QUOTED, tmp_path), horizon)
    assert scenario.market.until == dt.date(2025, 10, 10)
    assert (scenario.targets.upper, scenario.targets.lower) == (6800.0, 6111.5)


@pytest.mark.parametrize("until", [dt.date(2025, 9, 3), dt.date(2025, 9, 1), dt.date(2025, 10, 11)])
def test_a_horizon_that_is_no_later_session(until: dt.date, tmp_path: Path) -> None:
    book = book_at(QUOTED, tmp_path)
    with pytest.raises(InputError, match=r"^until = "):
        scenario_of_chain(book, Horizon(until))


@pytest.mark.parametrize(
    ("spot", "upper", "lower"),
    [
        (6448.28, 6600, 6300),
        (6941.81, 7100, 6800),
        (7000.0, 7100, 6900),
        (1806.1, 1840, 1780),
        (450.0, 455, 445),
        (19.3, 19.6, 19.0),
    ],
)
def test_round_targets(spot: float, upper: float, lower: float) -> None:
    found = round_targets(spot)
    assert found[0] > spot > found[1]
    if spot > 100:
        assert found == (upper, lower)


def flat(moneyness: Any, years: Any) -> Any:
    return np.full_like(moneyness, 0.2)


@pytest.mark.parametrize(
    ("hour", "minute", "start"),
    [(16, 18, 3), (9, 29, 2), (9, 31, 3), (12, 0, 3), (20, 0, 3)],
)
def test_volatility_is_the_chains_at_the_money(hour: int, minute: int, start: int, tmp_path: Path) -> None:
    """Variance by calendar time from close to close, whenever quoted, shared out over the sessions."""
    book = book_at(dt.datetime(2025, 9, 3, hour, minute, tzinfo=NEW_YORK), tmp_path, iv=flat)
    began = dt.date(2025, 9, start)
    for until in (dt.date(2025, 9, 4), dt.date(2025, 9, 30), dt.date(2026, 3, 31)):
        last = CALENDAR.sessions_after(began, until)
        annual = chain_volatility(book, CALENDAR, began, last[-1], len(last))
        first, end = (int(CALENDAR.close_minute[CALENDAR.position(day)]) for day in (began, last[-1]))
        expected = 0.2 * np.sqrt((end - first) / 525_600 * 252 / len(last))
        assert annual == pytest.approx(expected, rel=2e-3)


def test_volatility_is_of_options_that_nobody_holds_too(tmp_path: Path) -> None:
    """It does not depend on whose side dealers are on."""

    def interest(moneyness: Any, years: Any, strike: Any, is_call: bool) -> Any:
        return np.where(np.abs(moneyness) > 0.01, 10.0, 0.0)

    def bent(moneyness: Any, years: Any) -> Any:
        return 0.12 + 2.0 * np.abs(moneyness)

    found = {
        scenario_of(book_at(QUOTED, tmp_path, rules)).volatility.annual
        for rules in (BookRules(), BookRules("custom", 1.0, 0.0), BookRules(net_matched=False, carry=0.0))
    }
    whole = scenario_of(book_at(QUOTED, tmp_path, iv=bent)).volatility.annual
    sparse = scenario_of(book_at(QUOTED, tmp_path, iv=bent, open_interest=interest)).volatility.annual
    assert sparse == whole
    assert len(found) == 1


def test_volatility_is_that_of_the_horizon_however_it_is_stated(tmp_path: Path) -> None:
    def sloped(moneyness: Any, years: Any) -> Any:
        return np.clip(0.1 + 0.5 * years, 0.05, 0.6)

    book = book_at(QUOTED, tmp_path, iv=sloped, listings=many_listings(QUOTED, SPOT, 60, 30))
    levels = find_gamma_levels(book)
    until = dt.date(2025, 10, 31)
    sessions = len(CALENDAR.sessions_after(QUOTED.date(), until))
    stated = scenario_of_chain(book, Horizon(until), levels=levels)
    fragment = Fragment("days.toml", {"market": {"until": until}}, {})
    ways = [
        scenario_of_chain(book, levels=levels, overrides=[f"market.until={until}"]),
        scenario_of_chain(book, levels=levels, overrides=[f"market.sessions={sessions}"]),
        scenario_of_chain(book, overrides={"market.until": until}),
        scenario_of_chain(book, levels=levels, fragments=[fragment]),
    ]
    assert {way.volatility.annual for way in ways} == {stated.volatility.annual}
    assert stated.volatility.annual > scenario_of_chain(book, levels=levels).volatility.annual
    own = scenario_of_chain(book, overrides={"market.until": until, "volatility.annual": 0.3})
    assert own.volatility.annual == 0.3
    # a change afterwards is of that key alone
    assert (
        scenario_of_chain(book).with_changes({"market.until": until}).volatility
        == ways[0].with_changes({"volatility.annual": scenario_of_chain(book).volatility.annual}).volatility
    )


def test_what_expires_today_is_told_apart(tmp_path: Path) -> None:
    listings = many_listings(QUOTED, SPOT, 12, 60)
    book = book_at(dt.datetime(2025, 9, 5, 12, 0, tzinfo=NEW_YORK), tmp_path, listings=listings)
    today = book.options["expiry"] == np.datetime64("2025-09-05")
    assert today.any()
    leaving, staying = (book.options["gex_bn"][rows].sum() for rows in (today, ~today))
    (note,) = start_session(book, CALENDAR)[1]
    assert f"{today.sum():,} options, {leaving:+.4g} of {leaving + staying:+.4g} $bn" in note
    assert f"{staying:+.4g} $bn stay" in note


def test_quotes_before_the_calendar_begins(tmp_path: Path) -> None:
    book = book_at(QUOTED, tmp_path)
    early = replace(book, chain=replace(book.chain, quoted=dt.datetime(1990, 1, 1, 10, 0, tzinfo=NEW_YORK)))
    with pytest.raises(InputError, match=r"^as_of = .*before the first session of the calendar"):
        start_session(early, CALENDAR)


def test_an_impact_that_nobody_stated_is_called_an_assumption(tmp_path: Path) -> None:
    book = book_at(QUOTED, tmp_path)
    (note,) = impact_notes(book, scenario_of(book), [])
    assert "assumption" in note
    assert impact_notes(book, scenario_of(book, None, "dealers.impact_bp_per_bn=2"), []) == []


def test_an_impact_fitted_to_a_published_exposure_wants_a_book_of_that_size(tmp_path: Path) -> None:
    fit = Fragment("impact.toml", {"dealers": {"impact_bp_per_bn": 3.5}}, {"kind": "impact", "gex_bn": 6.71})
    book = book_at(QUOTED, tmp_path)
    (note,) = impact_notes(book, scenario_of(book, None, "dealers.impact_bp_per_bn=3.5"), [fit])
    assert "--scale-to-gex 6.71" in note
    size = float(np.sign(book.signed.carry)) * 6.71
    scaled = book_at(QUOTED, tmp_path, BookRules(scale_to_gex=size))
    assert impact_notes(scaled, scenario_of(scaled, None, "dealers.impact_bp_per_bn=3.5"), [fit]) == []


LISTINGS = [
    Listing(root, expiry, tuple(float(k) for k in range(6150, 6751, 25)))
    for root, expiry in (
        ("SPXW", dt.date(2025, 9, 4)),
        ("SPXW", dt.date(2025, 9, 5)),
        ("SPX", dt.date(2025, 9, 19)),
        ("SPXW", dt.date(2025, 9, 30)),
        ("SPX", dt.date(2026, 3, 20)),
    )
]


def test_odds_by_curves_are_those_of_a_sum_over_all_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same paths on a map whose every node is a sum over all options: touches and first targets hardly move.

    On the same draws the two differ on few paths; four standard errors of the odds would be twenty times as wide.
    """
    scenario = scenario_of(
        book_at(QUOTED, tmp_path, BookRules(scale_to_gex=None), listings=LISTINGS),
        Horizon(dt.date(2025, 9, 12), 6500.0, 6400.0),
        "dealers.impact_bp_per_bn=3",
    )
    by_curves = simulate(scenario, paths=40_000, seed=3)
    with monkeypatch.context() as patch:
        patch.setattr("sim.book.hedge.SMALLEST_EXPIRY_GROUP", 10**9)
        exact = prepare(scenario)
        assert exact.clearing_map.book.expiry_start.tolist() == [len(exact.clearing_map.book)]
        by_sum = simulate(scenario, paths=40_000, seed=3)
    assert by_curves.manifest["plan_digest"] != by_sum.manifest["plan_digest"]
    found, expected = (TABLES["odds"].frame(r.outcomes, r.axes) for r in (by_curves, by_sum))
    difference = (found["probability"] - expected["probability"]).abs()
    assert (difference <= 4 * np.hypot(found["std_error"], expected["std_error"])).all()
    assert difference.max() < 0.001
    effect = expected[expected["dealers"] == "difference"]["probability"].abs().max()
    assert effect > 0.01  # the dealers do something here


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real option chains are not at {REAL}")
def test_the_map_of_the_real_chain_is_within_tolerance_of_a_sum_over_all_options() -> None:
    book = book_of_chain(read_chain(REAL / "cboe_spx_2025-09-03_pt-BR.csv"))
    scenario = scenario_of(book, Horizon(dt.date(2025, 10, 10)), "dealers.impact_bp_per_bn=3.5")
    prepared = prepare(scenario)
    clearing_map, spot = prepared.clearing_map, book.chain.spot
    s = np.linspace(-0.35, 0.35, 601)
    # The first and last minutes of an expiry's last day, its open, and days in between.
    for step in (0, 13, 14, 167, 377):
        minute = float(prepared.grid.step_end_minute[step])
        exact, slopes = clearing_map.unfloored(s, minute, False)
        live = clearing_map.book.live_at(minute, False, spot)
        values, found = clearing_map._unfloored(s, live, clearing_map._expiries.at(minute, False))
        assert spot * np.abs(values - exact).max() < 0.002
        assert np.abs(found - slopes).max() < 1e-4
    assert expiry_curves.NODES_PER_WIDTH >= 10


@pytest.mark.parametrize("until", [dt.date.max, dt.date.min])
def test_a_horizon_beyond_every_calendar(until: dt.date, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^until = .*\(the year is not from 1990 to 2100\)"):
        scenario_of_chain(book_at(QUOTED, tmp_path), Horizon(until))


@pytest.mark.parametrize("side", ["upper", "lower"])
def test_a_target_beyond_every_float(side: str) -> None:
    with pytest.raises(InputError, match=rf"^{side} = an integer of more than 60 digits"):
        Horizon(**{side: 10**400})
