"""Option chain: quotes and open interest of every option of an index at one instant, as a file states them.

Each option of a file is judged once: it is read, or it is refused for one reason, and both are counted.

Source: OCC, "Options Symbology Initiative" (2010): root, expiry as yymmdd, C or P, strike × 1000 in 8 digits.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from sim.problems import short_repr

LARGEST_OPEN_INTEREST: Final = 1e8
LARGEST_IV: Final = 100.0
# No option has more gamma than this: 1 is a delta from 0 to 1 within a point.
LARGEST_GAMMA: Final = 100.0
COLUMNS: Final = (
    *("line", "root", "expiry", "type", "strike"),
    *("bid", "ask", "iv", "open_interest", "gamma"),
)

OPEN_QUOTE: Final = "row with a quotation mark left open"
TOO_MANY_CELLS: Final = "row with more cells than the header"
CUT_SHORT: Final = "row cut short"
NO_OBJECT: Final = "entry that is no object"
LACKS_FIELDS: Final = "entry without option, iv or open_interest"
NO_SYMBOL: Final = "symbol not understood"
NO_ROW_EXPIRY: Final = "expiry missing or unreadable"
NO_ROW_STRIKE: Final = "strike missing or unreadable"
CONTRADICTION: Final = "symbol contradicts its row's expiry, strike or side"
NO_OPEN_INTEREST: Final = "open interest missing or unreadable"
NEGATIVE_OPEN_INTEREST: Final = "open interest negative"
PART_OPEN_INTEREST: Final = "open interest no whole number"
HUGE_OPEN_INTEREST: Final = "open interest beyond 100 million"
NEGATIVE_IV: Final = "implied volatility negative"
HUGE_IV: Final = "implied volatility above 10,000%"
REPEATED: Final = "repeats an earlier symbol"

SPOT_HINT: Final = "Try spot=6448.28."

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class OptionChain:
    """Option chain read from a file.

    Attributes
    ----------
    source : name of the file, without folders.
    title : name of the index in the file, such as "S&P 500 INDEX"; "" where there is none.
    spot : index points.
    quoted : instant of the quotes, in New York time.
    options : one row for each option that could be read, in the order of the file, with the columns
        line : int64, line of the file, from 1; for JSON the place in its list.
        root : str, "SPX" or "SPXW" for instance.
        expiry : datetime64[s], day of expiry at midnight.
        type : "call" or "put".
        strike : float64, index points.
        bid, ask : float64, index points; NaN where the file states none.
        iv : float64, annual implied volatility, in (0, 100]; NaN where the file states none or 0.
        open_interest : float64, contracts, from 0 to 100 million.
        gamma : float64, the file's own, change of delta per index point; NaN where it states none in [0, 100].
    refused : number of options that could not be read, by reason.
    """

    source: str
    title: str
    spot: float
    quoted: dt.datetime
    options: pd.DataFrame
    refused: dict[str, int]

    def __repr__(self) -> str:
        index = f"{self.title or self.source}: {self.spot:,.2f}, quoted {self.quoted:%Y-%m-%d %H:%M}"
        return short_repr(
            self, f"{index}, {len(self.options):,} options, {sum(self.refused.values()):,} refused"
        )

    @property
    def total(self) -> int:
        """Number of options in the file, those that could not be read included."""
        return len(self.options) + sum(self.refused.values())


@dataclass(frozen=True, eq=False)
class StatedChain:
    """Content of a file before its options are judged.

    Attributes
    ----------
    title, spot, quoted : as in `OptionChain`.
    stated : options as `judged_options` takes them.
    """

    title: str
    spot: float
    quoted: dt.datetime
    stated: pd.DataFrame


@dataclass(frozen=True)
class ChainFormat:
    """Format of files with an option chain; each has a module of its own, and a row in `sim.chain.files.FORMATS`.

    Attributes
    ----------
    name : name of the format in messages, "Cboe's quotedata CSV" for instance.
    lacks : what a text of another format lacks, worded to follow "it" in a message.
    recognises : whether a text is of this format; the first format that says so reads it.
    read : reader of the content of such a text. Called with the text, the name of the file in messages, and the quote
        time and the spot if they are known, else None; the reader then finds them in the text, or refuses it with
        `InputError`, all problems together.
    """

    name: str
    lacks: str
    recognises: Callable[[str], bool]
    read: Callable[[str, str, dt.datetime | None, float | None], StatedChain]


def parse_symbols(symbols: pd.Series) -> pd.DataFrame:
    """Parts of option symbols: columns root, expiry (datetime64[s]), type and strike, and the same index.

    symbols : text such as "SPXW250903C02600000"; blanks around it and after the root are allowed.

    A symbol that is not understood has the root "", the expiry NaT, the type "" and the strike NaN.
    """
    pattern = r"^\s*([A-Z][A-Z0-9]{0,5})\s*([0-9]{6})([CP])([0-9]{8})\s*$"
    parts = symbols.astype(object).where(symbols.notna(), "").astype(str).str.extract(pattern)
    days = parts[1].unique()
    expiries = pd.to_datetime(pd.Series(days, dtype=object), format="%y%m%d", errors="coerce")
    # %y would take 69 to 99 for the last century, and no option of that time is listed
    expiries = expiries.where(expiries.dt.year >= 2000, expiries + pd.DateOffset(years=100))
    expiry = parts[1].map(dict(zip(days, expiries, strict=True)))
    strike = pd.to_numeric(parts[3]).astype(np.float64) / 1000.0
    understood = (expiry.notna() & (strike > 0.0)).to_numpy()
    return pd.DataFrame(
        {
            "root": parts[0].where(understood, ""),
            "expiry": pd.to_datetime(expiry.where(understood)).astype("datetime64[s]"),
            "type": parts[2].map({"C": "call", "P": "put"}).where(understood, ""),
            "strike": strike.where(understood),
        },
        index=symbols.index,
    )


def judged_options(stated: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Options that can be read, as in `OptionChain.options`, and the number refused for each reason.

    stated : one row for each option of a file, in its order, with the columns
        line : int64.
        flaw : str, reason for which the option's row or entry is refused as a whole, or "".
        symbol : str.
        bid, ask, iv, open_interest, gamma : float64, NaN where missing or unreadable.
        and, where the file states what the symbol does as well,
        row_expiry : datetime64[s], row_strike : float64, row_type : str.

    An option with several flaws is refused for the first, in the order of the reasons above.
    """
    parsed = parse_symbols(stated["symbol"])
    open_interest, iv = stated["open_interest"].to_numpy(), stated["iv"].to_numpy()
    tests: list[tuple[str, Bools]] = [(NO_SYMBOL, (parsed["root"] == "").to_numpy())]
    if "row_strike" in stated:
        row_strike = stated["row_strike"]
        disagrees = (
            (stated["row_expiry"] != parsed["expiry"])
            | ((row_strike - parsed["strike"]).abs() > 5e-4)
            | (stated["row_type"] != parsed["type"])
        )
        tests += [
            (NO_ROW_EXPIRY, stated["row_expiry"].isna().to_numpy()),
            (NO_ROW_STRIKE, row_strike.isna().to_numpy()),
            (CONTRADICTION, disagrees.to_numpy()),
        ]
    tests += [
        (NO_OPEN_INTEREST, np.isnan(open_interest)),
        (NEGATIVE_OPEN_INTEREST, open_interest < 0.0),
        # "3.539" may be 3,539: nobody knows.
        (PART_OPEN_INTEREST, open_interest != np.floor(open_interest)),
        (HUGE_OPEN_INTEREST, open_interest > LARGEST_OPEN_INTEREST),
        (NEGATIVE_IV, iv < 0.0),
        (HUGE_IV, iv > LARGEST_IV),
    ]
    reason = stated["flaw"].to_numpy(dtype=object).copy()
    for text, refused in tests:
        reason[(reason == "") & refused] = text
    kept = reason == ""
    repeated = parsed[kept].duplicated().to_numpy()
    reason[np.flatnonzero(kept)[repeated]] = REPEATED
    kept = reason == ""
    options = pd.concat([stated.loc[:, ["line"]], parsed, stated.drop(columns="line")], axis=1)
    options = options.loc[kept, list(COLUMNS)].reset_index(drop=True)
    options["iv"] = options["iv"].where(options["iv"] > 0.0)
    options["gamma"] = options["gamma"].where(options["gamma"].between(0.0, LARGEST_GAMMA))
    for column in ("bid", "ask"):
        options[column] = options[column].where(options[column] >= 0.0)
    # a file may write "-0": it is no different from 0
    options["open_interest"] += 0.0
    counts = pd.Series(reason[~kept], dtype=object).value_counts()
    return options, {str(text): int(count) for text, count in counts.items()}
