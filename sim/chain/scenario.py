"""Scenario of an option chain: the chain's book, its index and its own volatility, up to a horizon.

A chain says neither how strongly hedging moves the price nor how fast that impact fades: both are assumptions, and a
note of the scenario says so.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from pydantic import PrivateAttr

from sim.chain.book import ChainBook
from sim.chain.levels import GammaLevels, find_gamma_levels
from sim.errors import InputError, Problem
from sim.market.black_scholes import MINUTES_PER_YEAR, SESSIONS_PER_YEAR
from sim.market.calendar import FIRST_DATE, LAST_DATE, TradingCalendar, trading_calendar
from sim.market.elementary import exp, floor_log10, interpolate
from sim.problems import check_type, short_repr, shown
from sim.scenario.file import scenario_from_mapping
from sim.scenario.fragments import Fragment, check_fragments
from sim.scenario.model import Scenario
from sim.scenario.overrides import Overrides

DEFAULT_SESSIONS: Final = 21
# Assumptions: order-flow studies say 0.6 to 2 basis points per $bn, and that pressure fades within one to three days.
IMPACT_BP_PER_BN: Final = 1.0
IMPACT_HALF_LIFE: Final = 2.0
# Distance of default targets, as a share of spot, before it is rounded.
TARGET_STEP: Final = 0.02
# Walls further away than this share of spot are no levels of the scenario.
FURTHEST_LEVEL: Final = 0.15
SMALLEST_ANNUAL: Final = 0.01
LARGEST_ANNUAL: Final = 5.0


@dataclass(frozen=True)
class Horizon:
    """Horizon and targets of a chain's scenario.

    Attributes
    ----------
    until : last session; None: 21 sessions.
    upper, lower : targets, index points; None: round levels on both sides of spot.

    Errors: `InputError` for values of another type.
    """

    until: dt.date | None = None
    upper: float | None = None
    lower: float | None = None

    def __post_init__(self) -> None:
        """Refuse values of another type."""
        if self.until is not None:
            check_type("until", self.until, dt.date, "a date", "Try until=datetime.date(2026, 3, 20).")
        if isinstance(self.until, dt.datetime):
            why = "a date without a time of day is expected"
            raise InputError([Problem("", "until", shown(self.until), why, "Try its .date().")])
        for name, level in (("upper", self.upper), ("lower", self.lower)):
            if level is not None:
                check_type(name, level, (int, float), "a level in index points", f"Try {name}=7100.0.")

    def __repr__(self) -> str:
        until = "21 sessions" if self.until is None else f"until {self.until}"
        sides = (("upper", self.upper), ("lower", self.lower))
        targets = [f"{name} {'round' if level is None else f'{level:,.10g}'}" for name, level in sides]
        return short_repr(self, ", ".join([until, *targets]))


class ChainScenario(Scenario):
    """Scenario of an option chain, with notes on the chain for readers of its odds.

    It is used, written and hashed like any other scenario, and equal to one of the same keys.
    """

    _book: ChainBook | None = PrivateAttr(default=None)
    _chain_notes: tuple[str, ...] = PrivateAttr(default=())
    _fragments: tuple[Fragment, ...] = PrivateAttr(default=())

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on the chain and on the impact of its book, a sentence each."""
        book = self._book
        return self._chain_notes + (() if book is None else tuple(impact_notes(book, self, self._fragments)))

    def with_changes(self, changes: Overrides) -> ChainScenario:
        """Scenario with some keys changed; see `Scenario.with_changes`.

        Keys that are not named stay: the volatility, too, where another horizon is.
        """
        return _noted(super().with_changes(changes), self._book, self._chain_notes, self._fragments)

    def __eq__(self, other: object) -> bool:
        """Whether both scenarios have the same keys and values."""
        if not isinstance(other, Scenario):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in Scenario.model_fields)


def scenario_of_chain(
    book: ChainBook,
    horizon: Horizon | None = None,
    *,
    levels: GammaLevels | None = None,
    overrides: Overrides = (),
    fragments: Sequence[Fragment] = (),
    where: str | None = None,
) -> ChainScenario:
    """Scenario of a chain's book: its start, its spot, its own volatility at the money, up to a horizon.

    Parameters
    ----------
    book : book from `book_of_chain`.
    horizon : last session and targets; 21 sessions and round levels if None.
    levels : levels from `find_gamma_levels`, whose walls become levels of the scenario; found here if None.
    overrides, fragments : see `load_scenario`. The volatility is the chain's up to the horizon that they leave.
    where : place that problems name; the name of the chain's file if None.

    Raises
    ------
    InputError : the horizon is no later session, or an override or a fragment makes no valid scenario.
    """
    check_type("book", book, ChainBook, "a ChainBook", 'Try book_of_chain(read_chain("chain.csv")).')
    if horizon is not None:
        check_type("horizon", horizon, Horizon, "a Horizon", "Try Horizon(until=datetime.date(2026, 3, 20)).")
    if levels is None:
        levels = find_gamma_levels(book)
    check_type("levels", levels, GammaLevels, "GammaLevels", "Try find_gamma_levels(book).")
    check_fragments(fragments)
    place = book.chain.source if where is None else where
    wanted = horizon or Horizon()
    data, notes = _chain_data(book, levels, wanted)
    scenario = scenario_from_mapping(data, place, overrides, fragments)
    last = last_session(scenario)
    if last != data["market"]["until"]:
        data, notes = _chain_data(book, levels, replace(wanted, until=last))
        scenario = scenario_from_mapping(data, place, overrides, fragments)
    return _noted(scenario, book, notes, tuple(fragments))


def _noted(
    scenario: Scenario, book: ChainBook | None, notes: tuple[str, ...], fragments: tuple[Fragment, ...]
) -> ChainScenario:
    values = {name: getattr(scenario, name) for name in Scenario.model_fields}
    found = ChainScenario.model_construct(_fields_set=set(scenario.model_fields_set), **values)
    found._book, found._chain_notes, found._fragments = book, notes, fragments
    return found


def _chain_data(
    book: ChainBook, levels: GammaLevels, horizon: Horizon
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Nested tables as in a scenario file, with the rows of the book, and notes on the chain.

    Errors: `InputError` if the horizon is no later session.
    """
    calendar = trading_calendar()
    as_of, notes = start_session(book, calendar)
    notes = [*book.notes, *notes]
    notes.append(f"whose side dealers are on is an assumption: {book.rules.text}")
    until = horizon.until or _session_after(calendar, as_of, DEFAULT_SESSIONS)
    if not FIRST_DATE <= until <= LAST_DATE:
        why = f"the year is not from {FIRST_DATE.year} to {LAST_DATE.year}"
        raise InputError([Problem("", "until", str(until), why, f"Try a session after {as_of}.")])
    sessions = calendar.sessions_after(as_of, until)
    if not sessions or not calendar.is_session(until):
        near = " or ".join(str(day) for day in calendar.nearest(until) if day > as_of)
        why = "is no later trading day" if sessions else f"is not after the start, the close of {as_of}"
        raise InputError(
            [Problem("", "until", str(until), why, f"Try {near}." if near else "Try a later one.")]
        )
    upper, lower = round_targets(book.chain.spot)
    # To the cent: more would be the file's float and not a price.
    scored = {round(price, 2) for price in _near_levels(levels)} - {book.chain.spot}
    annual = chain_volatility(book, calendar, as_of, sessions[-1], len(sessions))
    root = min(book.options["root"].unique(), key=len)
    data: dict[str, Any] = {
        "schema": 1,
        "name": f"{root} {as_of}",
        "description": (
            f"{book.chain.title or root} from {book.chain.source}, quoted {book.chain.quoted:%Y-%m-%d %H:%M} New "
            f"York. Dealers' book: {book.rules.text}; net gamma exposure at spot {levels.net_gex_bn:+.4g} $bn. "
            "Unless stated, volatility is the chain's at the money, impact and its half-life are assumptions."
        ),
        "levels": sorted(scored),
        "market": {"as_of": as_of, "spot": book.chain.spot, "until": until},
        "volatility": {"annual": round(annual, 6), "quoted": "observed"},
        "dealers": {
            "impact_bp_per_bn": IMPACT_BP_PER_BN,
            "impact_half_life": IMPACT_HALF_LIFE,
            "book": book.rows,
        },
        "targets": {"upper": _level(horizon.upper, upper), "lower": _level(horizon.lower, lower)},
    }
    return data, tuple(notes)


def _level(stated: float | None, round_level: float) -> float:
    return round_level if stated is None else float(stated)


def last_session(scenario: Scenario) -> dt.date:
    """Session at whose close paths end."""
    market = scenario.market
    if market.until is not None:
        return market.until
    assert market.sessions is not None
    return _session_after(trading_calendar(), market.as_of, market.sessions)


def start_session(book: ChainBook, calendar: TradingCalendar) -> tuple[dt.date, list[str]]:
    """Session at whose close paths start, the last one that had opened when the chain was quoted, and notes on it.

    Errors: `InputError` if the quotes are older than the calendar.
    """
    opened = int(np.searchsorted(calendar.open_minute, book.quoted_minute, side="right")) - 1
    if opened < 0:
        why = f"lies before the first session of the calendar, {calendar.session(0)}"
        raise InputError(
            [Problem("", "as_of", f"{book.chain.quoted:%Y-%m-%d %H:%M}", why, "Try a later one.")]
        )
    session = calendar.session(opened)
    notes = []
    if book.quoted_minute < calendar.close_minute[opened]:
        leaving = (book.options["expiry"] == np.datetime64(session, "s")).to_numpy()
        gex = book.options["gex_bn"].to_numpy()
        notes.append(
            f"the chain was quoted at {book.chain.quoted:%H:%M} New York, before the close: paths start at the close "
            f"of {session} from the price quoted. What expires that day has left the book then: "
            f"{np.count_nonzero(leaving):,} options, {gex[leaving].sum():+.4g} of {gex.sum():+.4g} $bn; "
            f"{gex[~leaving].sum():+.4g} $bn stay"
        )
    return session, notes


def round_targets(spot: float) -> tuple[float, float]:
    """Upper and lower target in index points: round levels, each one to two steps from spot.

    A step is 1, 2 or 5 times a power of ten, the largest within 2% of spot.
    """
    wanted = TARGET_STEP * spot
    power = float(f"1e{floor_log10(wanted)}")
    step = max(size * power for size in (1.0, 2.0, 5.0) if size * power <= wanted * (1 + 1e-12))
    upper = math.ceil(spot / step + 1) * step
    lower = math.floor(spot / step - 1) * step
    return round(upper, 8), round(lower, 8)


def chain_volatility(
    book: ChainBook, calendar: TradingCalendar, start: dt.date, last: dt.date, sessions: int
) -> float:
    """Annual volatility (√252 sessions) from one session's close to another's, from options at the money.

    The total variance iv²·τ from the quotes on, at each expiry's forward, is read off between expiries. Its rate up
    to the last close is that of the whole way, which may begin some hours before the quotes or after them.
    """
    began, ended = (float(calendar.close_minute[calendar.position(day)]) for day in (start, last))
    years = (ended - book.quoted_minute) / MINUTES_PER_YEAR
    smiles, spot = book.smiles, book.chain.spot
    lives, variances = [0.0], [0.0]
    for life in np.sort(smiles["years"].unique()).tolist():
        own = smiles[smiles["years"] == life]
        forward = spot * exp(float(own["carry"].iloc[0]) * life)
        strike, place = np.unique(own["strike"].to_numpy(dtype=np.float64), return_inverse=True)
        iv = np.bincount(place, own["iv"].to_numpy(dtype=np.float64)) / np.bincount(place)
        if strike[0] <= forward <= strike[-1]:
            at_forward = interpolate(forward, strike, iv) if strike.size > 1 else float(iv[0])
            lives.append(life)
            variances.append(at_forward * at_forward * life)
    if len(lives) == 1:
        nearest = smiles.iloc[int((smiles["strike"] - spot).abs().to_numpy().argmin())]
        lives.append(float(nearest["years"]))
        variances.append(float(nearest["iv"]) * float(nearest["iv"]) * lives[-1])
    # The last expiry's volatility goes on beyond it.
    within = interpolate(years, np.array(lives), np.array(variances))
    variance = max(within, variances[-1] * years / lives[-1]) if years > lives[-1] else within
    whole_way = (ended - began) / MINUTES_PER_YEAR
    annual = math.sqrt(variance / years * whole_way * SESSIONS_PER_YEAR / sessions)
    return min(max(annual, SMALLEST_ANNUAL), LARGEST_ANNUAL)


def impact_notes(book: ChainBook, scenario: Scenario, fragments: Sequence[Fragment]) -> list[str]:
    """Notes on the impact of a chain's scenario: it is an assumption, or was fitted to another gamma exposure."""
    fits = [fragment for fragment in fragments if fragment.fit.get("kind") == "impact"]
    impact = scenario.dealers.impact_bp_per_bn
    if not fits and impact == IMPACT_BP_PER_BN:
        return [
            f"dealers.impact_bp_per_bn = {impact:g} is an assumption: order-flow studies say 0.6 to 2, gammawall fit "
            "impact an upper bound"
        ]
    published = next(
        (fit.fit["gex_bn"] for fit in reversed(fits) if isinstance(fit.fit.get("gex_bn"), float)), None
    )
    if fits and book.rules.scale_to_gex is None:
        figure = "the published figure" if published is None else f"the published one, {published:.4g} $bn"
        hint = "" if published is None else f": try --scale-to-gex {published:.4g}"
        return [
            f"{fits[-1].where}: the impact was fitted to a published gamma exposure, and this book's, "
            f"{book.signed.carry:.4g} $bn, is another one than {figure}{hint}"
        ]
    return []


def _near_levels(levels: GammaLevels) -> list[float]:
    """Walls and the zero-gamma price, as far as they are near."""
    walls = [wall.strike for wall in (levels.call_wall, levels.put_wall) if wall is not None]
    found = walls + ([levels.zero_gamma] if levels.zero_gamma is not None else [])
    return [price for price in found if abs(price / levels.spot - 1) <= FURTHEST_LEVEL]


def _session_after(calendar: TradingCalendar, day: dt.date, count: int) -> dt.date:
    index = calendar.position(day) + count
    if index >= len(calendar.days):
        why = "has too few sessions after it in the calendar"
        raise InputError([Problem("", "as_of", str(day), why, "Try an earlier one.")])
    return calendar.session(index)
