"""Dealers' book of an option chain: the options used, with the contracts that dealers hold of each.

    contracts = open interest × share        share: 1 dealers long every option, −1 short every option

The shares are those of `sim.chain.book_rules`. Each option of the chain is used or dropped for one reason, and all
are counted.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sim.book.limits import LARGEST_CONTRACTS, LARGEST_IV, SMALLEST_IV
from sim.book.rows import BookRows
from sim.chain.book_rules import NAIVE, SIDES, BookRules
from sim.chain.chain_rules import refuse_wrong_chain
from sim.chain.option_chain import OptionChain
from sim.chain.parity_carry import ExpiryCarry, given_carries, near_forwards, parity_carries
from sim.errors import InputError, Problem
from sim.market.black_scholes import FloatArray, years_to_settlement
from sim.market.calendar import TradingCalendar, settlement_minutes, trading_calendar
from sim.market.contracts import GexColumns, dollar_gex, own_gamma_gex
from sim.market.elementary import log, sum_in_order
from sim.problems import check_type, short_repr

# When options of a root settle: at the open of their expiry day, or at its close.
SETTLEMENT_OF_ROOT: Final = {
    **dict.fromkeys(("SPX", "RUT", "NDX", "DJX"), "AM"),
    **dict.fromkeys(("SPXW", "RUTW", "NDXP", "XSP", "SPY", "QQQ", "IWM", "DIA"), "PM"),
}
# |ln| of a forward over spot, and its growth per year of the expiry's life: up to UNREMARKED no note is made of it,
# beyond CREDIBLE it is refused.
UNREMARKED: Final = (0.003, 0.1)
CREDIBLE: Final = (0.03, 0.1)
WHAT_IF: Final = "To ask what if the index moved, try the scenario with another market.spot."

UNKNOWN_ROOT: Final = "root without a known settlement"
NO_SESSION: Final = "expiry is no trading day"
EXPIRED: Final = "expired"
NO_INTEREST: Final = "no open interest"
NO_IV: Final = "no implied volatility"
ABSURD_IV: Final = "implied volatility outside 1% to 500%"
MATCHED: Final = "matched call and put interest"
NO_SHARE: Final = "dealers' share is zero"


@dataclass(frozen=True, eq=False)
class NetGex:
    """Net gamma exposure of a book at spot, worked out in three ways, $bn per 1% move.

    Attributes
    ----------
    own_gamma : from the file's own gammas, all unexpired options.
    zero_carry : from implied volatilities, as if every forward stood at spot.
    carry : from implied volatilities, with each expiry's carry.
    """

    own_gamma: float
    zero_carry: float
    carry: float

    def __repr__(self) -> str:
        ways = (
            f"file's gammas {self.own_gamma:+.4g}, zero carry {self.zero_carry:+.4g}, carry {self.carry:+.4g}"
        )
        return short_repr(self, f"{ways} $bn per 1%")


@dataclass(frozen=True, eq=False)
class ChainBook:
    """Dealers' book of an option chain.

    Attributes
    ----------
    chain : the chain.
    rules : the rules by which it became a book.
    rows : the positions, contracts signed from the dealers' side.
    options : the options used, in the order of `rows`: line, root, expiry, type, strike, iv, open_interest (less what
        is matched, where `net_matched`), years, carry, contracts, gex_bn (gamma exposure at spot, $bn per 1% move).
    smiles : unexpired options with an implied volatility, whatever their open interest: expiry, strike, iv, years,
        carry.
    dropped : options not used, by reason; with the options used they are all of the chain.
    interest_used : share of the unexpired open interest that the options used have.
    carries : carry of each expiry, by (expiry, settlement).
    naive, signed : net gamma exposure under the naive sign with all open interest, and of this book before it is
        scaled.
    scale : factor that contracts were scaled by.
    notes : warnings about the chain itself, a sentence each.
    """

    chain: OptionChain
    rules: BookRules
    rows: BookRows
    options: pd.DataFrame
    smiles: pd.DataFrame
    dropped: dict[str, int]
    interest_used: float
    carries: dict[tuple[dt.date, str], ExpiryCarry]
    naive: NetGex
    signed: NetGex
    scale: float
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        used = f"{len(self.rows):,} of {self.chain.total:,} options of {self.chain.source}"
        net = float(self.options["gex_bn"].sum())
        return short_repr(self, f"{used}, {self.rules.sign} sign, net {net:+,.4g} $bn per 1%")

    @property
    def quoted_minute(self) -> float:
        """Instant of the quotes, minutes since 1970-01-01 UTC."""
        return self.chain.quoted.timestamp() / 60.0


def book_of_chain(chain: OptionChain, rules: BookRules | None = None) -> ChainBook:
    """Dealers' book of a chain.

    Parameters
    ----------
    chain : chain from `read_chain`.
    rules : rules that turn its open interest into a book; those of the naive sign if None.

    Raises
    ------
    InputError : the chain was changed by hand and is none any more, no option is left, the index is not where its
        options put it, or the net gamma exposure cannot be scaled as asked.
    """
    check_type("chain", chain, OptionChain, "an OptionChain", 'Try read_chain("chain.csv").')
    refuse_wrong_chain(chain)
    rules = BookRules() if rules is None else rules
    check_type("rules", rules, BookRules, "BookRules", 'Try BookRules(sign="naive").')

    options = _with_settlement(chain, trading_calendar())
    reason = _reasons(options)
    alive = options["minutes"].to_numpy() > 0
    # Of other roots and days nobody knows when, nor at what price, they settle.
    understood = alive & (options["settlement"] != "").to_numpy() & options["is_session"].to_numpy()
    notes = _spot_notes(options[understood], chain)
    carries = _carries(options[understood], chain.spot, rules.carry)
    by_years = options["years"].map({years: found.carry for years, found in carries.items()})
    options["carry"] = by_years.fillna(0.0)
    usable = reason == ""
    interest = options["open_interest"].to_numpy(dtype=np.float64)
    is_call = (options["type"] == "call").to_numpy()
    if rules.net_matched:
        interest = _without_matched(options, interest, usable)
        reason[usable & (interest == 0)] = MATCHED
    share = np.where(is_call, *rules.shares)
    reason[(reason == "") & (share == 0)] = NO_SHARE
    used = reason == ""
    if not used.any():
        why = f"no option is left of {chain.total:,}: {_listed(_counts(chain, reason))}"
        raise InputError(
            [Problem(chain.source, "", "", why, "Try the time of its quotes, or a whole chain.")]
        )
    notes += _empty_group_notes(options.loc[used, "strike"], rules)
    naive_contracts = options["open_interest"].to_numpy() * np.where(is_call, *NAIVE)
    naive = _net_gex(options, naive_contracts, alive, usable, chain.spot)
    contracts = interest * share
    signed = _net_gex(options, contracts, alive, used, chain.spot)
    scale = _scale(signed.carry, rules.scale_to_gex, chain)
    kept = options[used].assign(contracts=contracts[used] * scale, open_interest=interest[used])
    kept["gex_bn"] = option_gex(kept, chain.spot)
    if np.abs(kept["contracts"]).max() > LARGEST_CONTRACTS:
        why = f"makes positions of more than {LARGEST_CONTRACTS:g} contracts"
        raise InputError(
            [Problem("", "scale_to_gex", f"{rules.scale_to_gex:g}", why, "Try a smaller figure.")]
        )
    columns = ["line", "root", "expiry", "type", "strike", "iv", "open_interest", "years", "carry"]
    credible = understood & options["iv"].between(SMALLEST_IV, LARGEST_IV).to_numpy()
    stated = options["open_interest"].to_numpy(dtype=np.float64)
    return ChainBook(
        chain,
        rules,
        _rows(kept, rules, chain.source),
        kept[[*columns, "contracts", "gex_bn"]].reset_index(drop=True),
        options.loc[credible, ["expiry", "strike", "iv", "years", "carry"]].reset_index(drop=True),
        _counts(chain, reason),
        sum_in_order(stated[used]) / sum_in_order(stated[alive]),
        _by_expiry(options[understood], carries),
        naive,
        signed,
        scale,
        tuple(notes),
    )


def gex_columns(options: pd.DataFrame) -> GexColumns:
    """Columns of options that `dollar_gex` takes, each (n,) float64.

    options : n rows with columns contracts, strike, iv, years, carry.
    """
    contracts, strike, iv, years, carry = (
        options[name].to_numpy(dtype=np.float64) for name in ("contracts", "strike", "iv", "years", "carry")
    )
    return GexColumns(contracts, log(strike), iv, years, carry)


def option_gex(options: pd.DataFrame, price: float) -> FloatArray:
    """Gamma exposure of each option (n,), $bn of hedge trading per 1% move, G·S²·0.01/1e9 with n = 100 × contracts.

    Parameters
    ----------
    options : as in `gex_columns`.
    price : S, where the index stands, index points.
    """
    return dollar_gex(price, gex_columns(options))


def _with_settlement(chain: OptionChain, calendar: TradingCalendar) -> pd.DataFrame:
    """Options with further columns: settlement ("AM", "PM" or ""), is_session, minutes and years to settlement."""
    options = chain.options.copy()
    settlement = options["root"].map(SETTLEMENT_OF_ROOT).fillna("")
    at_open = (settlement == "AM").to_numpy()
    settles, is_session = settlement_minutes(calendar, options["expiry"].to_numpy(), at_open)
    options["settlement"], options["is_session"] = settlement, is_session
    options["minutes"] = settles - chain.quoted.timestamp() / 60.0
    options["years"] = years_to_settlement(options["minutes"].to_numpy())
    return options


def _reasons(options: pd.DataFrame) -> NDArray[np.object_]:
    """Reason for dropping each option, (n,) texts; "" if it is kept. The first reason that holds counts."""
    reason = np.full(len(options), "", dtype=object)
    iv = options["iv"].to_numpy()
    tests = (
        (UNKNOWN_ROOT, (options["settlement"] == "").to_numpy()),
        (NO_SESSION, ~options["is_session"].to_numpy()),
        (EXPIRED, options["minutes"].to_numpy() <= 0),
        (NO_INTEREST, options["open_interest"].to_numpy() == 0),
        (NO_IV, np.isnan(iv)),
        (ABSURD_IV, ~((iv >= SMALLEST_IV) & (iv <= LARGEST_IV))),
    )
    for text, holds in tests:
        reason[(reason == "") & holds] = text
    return reason


def _empty_group_notes(strikes: pd.Series, rules: BookRules) -> list[str]:
    """Notes on groups of strikes in which no option of the book lies."""
    return [
        f"no option of the book has a strike of the group {group.name}, {group.low:,.10g} to {group.high:,.10g}"
        for group in rules.groups
        if not strikes.between(group.low, group.high).any()
    ]


def _spot_notes(options: pd.DataFrame, chain: OptionChain) -> list[str]:
    """Warnings about a spot away from where put–call parity puts the index, at most one.

    The nearest expiry decides. One expiry may be quoted absurdly: spot is refused only where it is far from all the
    near ones.

    Errors: `InputError`.
    """
    forwards = near_forwards(options)
    if not forwards:
        return []
    years, price = forwards[0]
    why = f"put–call parity of its options puts the index near {price:,.2f}"
    if all(_distance(forward, chain.spot) > CREDIBLE[0] + CREDIBLE[1] * life for life, forward in forwards):
        hint = f"Try spot={price:.2f}. {WHAT_IF}"
        raise InputError([Problem(chain.source, "spot", f"{chain.spot:.10g}", why, hint)])
    if _distance(price, chain.spot) <= UNREMARKED[0] + UNREMARKED[1] * years:
        return []
    return [
        f"the index is given as {chain.spot:,.2f}, and {why} ({price / chain.spot - 1:+.2%}): forwards, gammas and "
        f"levels mix the two. Was it quoted at another time? Try --spot {price:.2f}"
    ]


def _distance(forward: float, spot: float) -> float:
    return abs(log(forward / spot)) if forward > 0 else math.inf


def _carries(options: pd.DataFrame, spot: float, carry: float | None) -> dict[float, ExpiryCarry]:
    if carry is not None:
        return given_carries(options["years"].to_numpy(), spot, carry)
    return parity_carries(options, spot)


def _without_matched(options: pd.DataFrame, interest: FloatArray, usable: NDArray[np.bool_]) -> FloatArray:
    """Open interest (n,) less what the other side has at the same strike, expiry and root."""
    keyed = options.loc[usable, ["root", "expiry", "strike", "type"]].assign(interest=interest[usable])
    sides = keyed.pivot_table(
        index=["root", "expiry", "strike"], columns="type", values="interest", aggfunc="sum"
    )
    both = sides.reindex(columns=["call", "put"]).min(axis=1, skipna=False).fillna(0.0)
    keys = pd.MultiIndex.from_frame(options[["root", "expiry", "strike"]])
    matched = both.reindex(keys).fillna(0.0).to_numpy()
    return np.where(usable, interest - matched, interest)


def _net_gex(
    options: pd.DataFrame,
    contracts: FloatArray,
    alive: NDArray[np.bool_],
    used: NDArray[np.bool_],
    spot: float,
) -> NetGex:
    gamma = options["gamma"].fillna(0.0).to_numpy()
    own = sum_in_order(own_gamma_gex(spot, contracts, gamma)[alive])
    held = options[used].assign(contracts=contracts[used])
    flat = sum_in_order(option_gex(held.assign(carry=0.0), spot))
    return NetGex(own, flat, sum_in_order(option_gex(held, spot)))


def _scale(net: float, wanted: float | None, chain: OptionChain) -> float:
    if wanted is None:
        return 1.0
    if net == 0 or net * wanted < 0:
        why = f"the book's own net gamma exposure is {net:.4g} $bn: scaling it would turn the dealers' side round"
        raise InputError([Problem(chain.source, "scale_to_gex", f"{wanted:g}", why, "Try another sign.")])
    return wanted / net


def _rows(kept: pd.DataFrame, rules: BookRules, source: str) -> BookRows:
    names = (*SIDES, *(group.name for group in rules.groups))
    strike = kept["strike"].to_numpy(dtype=np.float64)
    is_call = (kept["type"] == "call").to_numpy()
    number = np.where(is_call, 0, 1)
    for group in reversed(rules.groups):
        number = np.where((strike >= group.low) & (strike <= group.high), names.index(group.name), number)
    held = sorted({names[i] for i in np.unique(number)})
    place = np.array([held.index(name) if name in held else -1 for name in names], dtype=np.int32)
    return BookRows(
        source,
        tuple(held),
        place[number],
        is_call,
        strike,
        kept["expiry"].to_numpy().astype("datetime64[D]"),
        (kept["settlement"] == "AM").to_numpy(),
        kept["iv"].to_numpy(dtype=np.float64),
        kept["contracts"].to_numpy(dtype=np.float64),
        kept["carry"].to_numpy(dtype=np.float64),
    )


def _counts(chain: OptionChain, reason: NDArray[np.object_]) -> dict[str, int]:
    found = pd.Series(reason[reason != ""], dtype=object).value_counts()
    return {**{str(text): int(count) for text, count in found.items()}, **chain.refused}


def _listed(counts: Mapping[str, int]) -> str:
    return "; ".join(f"{count:,} {text}" for text, count in counts.items())


def _by_expiry(
    options: pd.DataFrame, carries: dict[float, ExpiryCarry]
) -> dict[tuple[dt.date, str], ExpiryCarry]:
    known: Any = options[["expiry", "settlement", "years"]].drop_duplicates().sort_values("years")
    return {
        (expiry.date(), settlement): carries[years]
        for expiry, settlement, years in known.itertuples(index=False)
    }
