"""Options of the commands that make a dealers' book of an option chain."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sim.chain.book_rules import CUSTOM, SIGNS, BookRules, read_groups
from sim.cli.options import in_options

if TYPE_CHECKING:
    from sim.chain.book import ChainBook

Command = Callable[..., Any]
SIGN_NAMES = (*SIGNS, CUSTOM)
# Names of `sim.chain.files.FORMATS`, written out so that the command line need not load pandas; a test compares them.
CHAIN_FORMATS = "Cboe's quotedata CSV or Cboe's delayed-quotes JSON"
CHAIN_NAMES = ("as_of", "spot", "sign", "shares", "net_matched", "scale_to_gex", "carry", "groups")
_SHARES = re.compile(r"calls=([^,=]+),puts=([^,=]+)|puts=([^,=]+),calls=([^,=]+)")


def read_shares(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> tuple[float, float] | None:
    """Reader of dealers' shares of calls and puts, calls=0.7,puts=-0.4."""
    if value is None:
        return None
    match = _SHARES.fullmatch(value.replace(" ", ""))
    try:
        if match is None:
            raise ValueError
        calls, puts = (match[1], match[2]) if match[1] is not None else (match[4], match[3])
        shares = float(calls), float(puts)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no pair of shares such as calls=0.7,puts=-0.4.") from error
    if not all(-1 <= share <= 1 for share in shares):
        raise click.BadParameter(
            f"{value!r}: a share lies between -1, short all of them, and 1, long all of them."
        )
    return shares


CHAIN_OPTIONS = (
    click.option(
        "--as-of",
        metavar="TIME",
        help='Time of the quotes, instead of the file\'s own: "2025-09-03 16:18" in New York, or a date (its close).',
    ),
    click.option(
        "--spot",
        type=float,
        metavar="PRICE",
        help="Index level at the quotes, instead of the file's own.",
    ),
    click.option(
        "--sign",
        type=click.Choice(SIGN_NAMES),
        help="Side of the dealers: long calls and short puts (naive), long or short everything, or by --shares.  "
        "[default: naive]",
    ),
    click.option(
        "--shares",
        metavar="calls=A,puts=B",
        callback=read_shares,
        help="Dealers' shares of the open interest for --sign custom, from -1 (short) to 1 (long).",
    ),
    click.option(
        "--net-matched",
        is_flag=True,
        help="Leave out the open interest that calls and puts of a strike have in common: box spreads have no gamma.",
    ),
    click.option(
        "--scale-to-gex",
        type=float,
        metavar="BN",
        help="Scale all contracts so that the net gamma exposure is BN, in $bn per 1% move.",
    ),
    click.option(
        "--carry",
        type=float,
        metavar="RATE",
        help="Annual carry of every expiry, instead of the one implied by put-call parity.",
    ),
    click.option(
        "--group",
        "groups",
        multiple=True,
        metavar="NAME=LOW:HIGH",
        help="Put the strikes from LOW to HIGH into a group of their own, which regimes can weight. Where groups "
        "overlap, the first has them. Repeatable.",
    ),
)


def chain_options(command: Command) -> Command:
    """Add the options of chains to a command."""
    for option in reversed(CHAIN_OPTIONS):
        command = option(command)
    return command


def refuse_contradictory_signs(given: Mapping[str, Any]) -> None:
    """Refuse --shares without --sign custom, and the reverse."""
    if given["shares"] is not None and given["sign"] not in (None, CUSTOM):
        raise click.UsageError(f"--shares is for --sign custom, not for --sign {given['sign']}.")
    if given["sign"] == CUSTOM and given["shares"] is None:
        raise click.UsageError("--sign custom needs --shares calls=A,puts=B.")


def read_book(chain: Path, given: Mapping[str, Any]) -> ChainBook:
    """Book made of a chain's file by the rules that the options state.

    given : values of the options by name.
    """
    refuse_contradictory_signs(given)

    from sim.chain.book import book_of_chain
    from sim.chain.files import read_chain
    from sim.chain.quote_time import read_as_of

    shares = given["shares"]
    sign = CUSTOM if shares is not None else given["sign"] or "naive"
    calls, puts = shares if shares is not None else (None, None)
    groups = read_groups(given["groups"])
    as_of: dt.datetime | None = None if given["as_of"] is None else read_as_of(given["as_of"])
    with in_options(*CHAIN_NAMES, "calls", "puts"):
        rules = BookRules(
            sign, calls, puts, given["net_matched"], given["scale_to_gex"], given["carry"], groups
        )
        return book_of_chain(read_chain(chain, as_of=as_of, spot=given["spot"]), rules)
