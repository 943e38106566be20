"""Files with an option chain, and the one list of their formats, `FORMATS`."""

from __future__ import annotations

import codecs
import datetime as dt
import math
import os
from pathlib import Path
from typing import Final

import pandas as pd

from sim.chain.delayed_quotes import DELAYED_QUOTES
from sim.chain.option_chain import SPOT_HINT, OptionChain, judged_options
from sim.chain.quote_time import AS_OF_HINT, checked_quote_time
from sim.chain.quotedata import QUOTEDATA
from sim.errors import InputError, Problem
from sim.files.input_files import InputKind, file_bytes, file_refusal, place_name
from sim.problems import check_type, shown

# Formats in the order in which they are tried; a test keeps `sim.cli.chain_options.CHAIN_FORMATS` equal.
FORMATS: Final = (QUOTEDATA, DELAYED_QUOTES)
# Quotes of a weekend or a holiday may still list what expired on the session before.
_LISTED_AFTER_EXPIRY: Final = dt.timedelta(days=7)
# Factor between the index and the middle of its strikes.
_FURTHEST_SPOT: Final = 8.0
_KIND: Final = InputKind(
    "option chain",
    200_000_000,
    f"Try {' or '.join(one.name for one in FORMATS)} as it was downloaded.",
)


def read_chain(
    path: str | os.PathLike[str], *, as_of: dt.datetime | None = None, spot: float | None = None
) -> OptionChain:
    """Option chain read from a file in one of `FORMATS`, which its content tells.

    Parameters
    ----------
    path : the file.
    as_of : aware instant of the quotes, instead of what the file states.
    spot : price of the index, index points, instead of what the file states.

    Raises
    ------
    InputError : the file has none of these formats, or an argument is of another type. A single option that cannot
        be read is no error: `OptionChain.refused` counts it.
    """
    check_type("path", path, (str, os.PathLike), "the path of an option chain's file", 'Try "chain.csv".')
    where = place_name(path)
    if as_of is not None:
        check_type("as_of", as_of, dt.datetime, "a time with its zone", AS_OF_HINT)
        if pd.isna(as_of) or as_of.tzinfo is None or as_of.utcoffset() is None:
            stated = "NaT" if pd.isna(as_of) else as_of.isoformat(sep=" ")
            raise InputError([Problem("", "as_of", stated, "states no time zone", AS_OF_HINT)])
        as_of = checked_quote_time(as_of, "as_of")
    if spot is not None:
        spot = _checked_spot(spot)
    text = _text(file_bytes(path, where, _KIND), where)
    chain_format = next((one for one in FORMATS if one.recognises(text)), None)
    if chain_format is None:
        raise file_refusal(where, _no_chain(text), _KIND.hint)
    found = chain_format.read(text, where, as_of, spot)
    options, refused = judged_options(found.stated)
    if options.empty:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in refused.items())
        raise file_refusal(where, f"no option can be read: {reasons}", _KIND.hint)
    if as_of is None:
        _check_quote_time(found.quoted, options, where)
    _check_spot(found.spot, options, where)
    source = Path(path).name
    return OptionChain(
        source=source if source.isprintable() else shown(source)[1:-1],
        title=found.title,
        spot=found.spot,
        quoted=found.quoted,
        options=options,
        refused=refused,
    )


def _checked_spot(spot: float) -> float:
    check_type("spot", spot, (int, float), "a price of the index", "Try spot=6448.28.")
    if not (math.isfinite(spot) and spot > 0.0):
        raise InputError([Problem("", "spot", str(spot), "is no price above 0", SPOT_HINT)])
    return float(spot)


def _check_quote_time(quoted: dt.datetime, options: pd.DataFrame, where: str) -> None:
    # a month misread, "listopad" for instance, October here and November there, shows itself like this
    first = options["expiry"].min().date()
    if quoted.date() > first + _LISTED_AFTER_EXPIRY:
        why = f"its quotes are dated {quoted:%Y-%m-%d}, yet it lists options that expired on {first}"
        raise file_refusal(where, why, AS_OF_HINT)


def _check_spot(spot: float, options: pd.DataFrame, where: str) -> None:
    # a decimal point misread is a factor of 10 or more; a file cut short may hold the lowest strikes alone
    middle = _middle_strike(options)
    if not middle / _FURTHEST_SPOT <= spot <= _FURTHEST_SPOT * middle:
        why = f"the index stands at {spot:g}, far from the strikes that are traded: half lie below {middle:,.10g}"
        raise file_refusal(where, why, SPOT_HINT)


def _middle_strike(options: pd.DataFrame) -> float:
    """Median strike weighted by open interest, index points."""
    by_strike = options.groupby("strike")["open_interest"].sum() + 1e-9
    return float(by_strike.index[int((by_strike.cumsum() >= 0.5 * by_strike.sum()).to_numpy().argmax())])


def _text(content: bytes, where: str) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        # an odd byte at the end is a file cut short
        text = content.decode("utf-16", errors="replace")
    elif b"\0" in content:
        raise file_refusal(where, "is a binary file, not text", _KIND.hint)
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252", errors="replace")
    if not text.strip("\ufeff \t\r\n"):
        raise file_refusal(where, "is empty", _KIND.hint)
    return text


def _no_chain(text: str) -> str:
    start = text[:2000].lstrip("\ufeff \t\r\n").lower()
    if start.startswith("<") or "<html" in start:
        return "is a web page, not an option chain"
    *others, last = (one.lacks for one in FORMATS)
    return f"is no option chain: it {', '.join(others)}, and {last}"
