"""Synthetic option chains in the two formats of Cboe's files, with Black–Scholes quotes at zero rates."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtr

from sim.market.calendar import trading_calendar

Float64s = npt.NDArray[np.float64]
# implied volatility from log-moneyness ln(K/S) and years
Smile = Callable[[Float64s, Float64s], Float64s]
# contracts from log-moneyness, years and strike, of calls (True) or puts
OpenInterest = Callable[[Float64s, Float64s, Float64s, bool], Float64s]

NEW_YORK = ZoneInfo("America/New_York")
SPOT = 6450.0
QUOTED = dt.datetime(2025, 9, 3, 16, 18, tzinfo=NEW_YORK)
HEADER = (
    "Expiration Date,Calls,Last Sale,Net,Bid,Ask,Volume,IV,Delta,Gamma,Open Interest,"
    "Strike,Puts,Last Sale,Net,Bid,Ask,Volume,IV,Delta,Gamma,Open Interest"
)
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class Listing:
    """Strikes of one root and one expiry."""

    root: str
    expiry: dt.date
    strikes: tuple[float, ...]


LISTINGS = (
    Listing("SPXW", dt.date(2025, 9, 5), (6300.0, 6400.0, 6450.0, 6472.5, 6500.0, 6600.0)),
    Listing("SPX", dt.date(2025, 9, 19), (5000.0, 6000.0, 6400.0, 6500.0, 7000.0)),
    Listing("SPXW", dt.date(2025, 9, 19), (6200.0, 6450.0, 6700.0)),
)


def many_listings(quoted: dt.datetime, spot: float, expiries: int, strikes: int) -> list[Listing]:
    """Listings on the next sessions, SPX on every tenth and SPXW on the others, strikes 5 points apart."""
    day = quoted.date()
    sessions = trading_calendar().sessions_after(day, day + dt.timedelta(days=2 * expiries + 14))[:expiries]
    first = 5.0 * round(spot / 5.0 - strikes / 2)
    levels = tuple(first + 5.0 * i for i in range(strikes))
    return [Listing("SPXW" if i % 10 else "SPX", session, levels) for i, session in enumerate(sessions)]


def skewed(moneyness: Float64s, years: Float64s) -> Float64s:
    return np.clip(0.15 - 0.35 * moneyness, 0.07, 0.9)


def around_the_spot(moneyness: Float64s, years: Float64s, strike: Float64s, is_call: bool) -> Float64s:
    """Open interest that is largest near the spot and at round strikes, of puts somewhat below it."""
    centre = 0.02 if is_call else -0.03
    return np.round(
        (1.0 + 2.0 * (strike % 100.0 == 0.0)) * 2000.0 * np.exp(-(((moneyness - centre) / 0.06) ** 2))
    )


def chain_rows(
    *,
    spot: float = SPOT,
    quoted: dt.datetime = QUOTED,
    listings: Sequence[Listing] = LISTINGS,
    iv: Smile = skewed,
    open_interest: OpenInterest = around_the_spot,
) -> pd.DataFrame:
    """One row for each strike of each listing: root, expiry, strike and, for calls and puts, every quote.

    Columns of quotes end in "_call" or "_put".
    """
    sizes = [len(listing.strikes) for listing in listings]
    settled = [
        dt.datetime.combine(x.expiry, dt.time(9, 30) if x.root in ("SPX", "RUT") else dt.time(16), NEW_YORK)
        for x in listings
    ]
    life = np.repeat([(end - quoted).total_seconds() / (365 * 86400) for end in settled], sizes)
    years = np.maximum(life, 1800 / (365 * 86400))
    strike = np.concatenate([listing.strikes for listing in listings])
    moneyness = np.log(strike / spot)
    smile = iv(moneyness, years)
    total = smile * np.sqrt(years)
    d1 = -moneyness / total + 0.5 * total
    call = spot * ndtr(d1) - strike * ndtr(d1 - total)
    gamma = np.exp(-0.5 * d1**2) / np.sqrt(2.0 * np.pi) / (spot * total)
    table: dict[str, Any] = {
        "root": np.repeat([listing.root for listing in listings], sizes),
        "expiry": np.repeat([np.datetime64(listing.expiry, "s") for listing in listings], sizes),
        "strike": strike,
    }
    for side, price, delta in (("call", call, ndtr(d1)), ("put", call - spot + strike, ndtr(d1) - 1.0)):
        table |= {
            f"bid_{side}": np.round(np.maximum(price * 0.99 - 0.05, 0.0), 2),
            f"ask_{side}": np.round(price * 1.01 + 0.05, 2),
            f"iv_{side}": np.round(smile, 4),
            f"delta_{side}": np.round(delta, 4),
            f"gamma_{side}": np.round(gamma, 4),
            f"open_interest_{side}": open_interest(moneyness, years, strike, side == "call"),
        }
    return pd.DataFrame(table)


def symbols(rows: pd.DataFrame, letter: str) -> list[str]:
    days = [f"{day:%y%m%d}" for day in rows["expiry"]]
    cells = zip(rows["root"], days, rows["strike"], strict=True)
    return [f"{root}{day}{letter}{round(1000 * strike):08d}" for root, day, strike in cells]


def quotedata_csv(
    *,
    spot: float = SPOT,
    quoted: dt.datetime = QUOTED,
    listings: Sequence[Listing] = LISTINGS,
    iv: Smile = skewed,
    open_interest: OpenInterest = around_the_spot,
    first_line: str = "",
    title: str = "S&P 500 INDEX",
    last: str | None = None,
    date: str | None = None,
) -> str:
    """Text of a quotedata table.

    last : the line's text after "Last: ", instead of the spot.
    date : the whole cell with the date, instead of one in English in New York time.
    """
    rows = chain_rows(spot=spot, quoted=quoted, listings=listings, iv=iv, open_interest=open_interest)
    if date is None:
        local = quoted.astimezone(NEW_YORK)
        date = f"Date: {local.day} {MONTHS[local.month - 1]} {local.year} at {local:%H:%M} {local.tzname()}"
    if "," in date:
        date = f'"{date}"'
    top = [
        first_line,
        f"{title},Last: {spot if last is None else last},Change:  32.7398",
        f"{date},Bid: {spot - 40:.2f},Ask: {spot + 40:.2f},Size: 1*1,Volume: 0",
        HEADER,
    ]
    days = [f"{WEEKDAYS[x.weekday()]} {MONTHS[x.month - 1]} {x.day:02d} {x.year}" for x in rows["expiry"]]
    sides = []
    for side, letter in (("call", "C"), ("put", "P")):
        quote = [rows[f"{name}_{side}"].tolist() for name in ("bid", "ask", "iv", "delta", "gamma")]
        contracts = rows[f"open_interest_{side}"].astype(np.int64).tolist()
        cells = zip(symbols(rows, letter), *quote, contracts, strict=True)
        sides.append([f"{s},{a},0,{b:g},{a:g},0,{v:g},{d:g},{g:g},{n}" for s, b, a, v, d, g, n in cells])
    strikes = [f"{strike:.2f}" for strike in rows["strike"]]
    lines = [",".join(row) for row in zip(days, sides[0], strikes, sides[1], strict=True)]
    return "\n".join([*top, *lines, ""])


def delayed_quotes_json(
    *,
    spot: float = SPOT,
    quoted: dt.datetime = QUOTED,
    listings: Sequence[Listing] = LISTINGS,
    iv: Smile = skewed,
    open_interest: OpenInterest = around_the_spot,
    symbol: str = "_SPX",
) -> str:
    """Text of a file of delayed quotes."""
    rows = chain_rows(spot=spot, quoted=quoted, listings=listings, iv=iv, open_interest=open_interest)
    names = ("bid", "ask", "iv", "open_interest", "delta", "gamma")
    sides = []
    for side, letter in (("call", "C"), ("put", "P")):
        values = [rows[f"{name}_{side}"].tolist() for name in names]
        cells = zip(symbols(rows, letter), *values, strict=True)
        sides.append([dict(zip(("option", *names), cell, strict=True)) for cell in cells])
    data = {
        "options": [option for pair in zip(*sides, strict=True) for option in pair],
        "symbol": symbol.replace("_", "^"),
        "current_price": spot,
        "close": spot,
        "last_trade_time": f"{quoted.astimezone(NEW_YORK):%Y-%m-%dT%H:%M:%S}",
    }
    stamp = f"{quoted.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S}"
    return json.dumps({"timestamp": stamp, "data": data, "symbol": symbol})
