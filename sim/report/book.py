"""Report of a dealers' book on the terminal: its levels, largest strikes and expiries, and the options used."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sim.report.terminal import new_table, number_text, plural, print_view, print_warning

if TYPE_CHECKING:
    from sim.chain.book import ChainBook, NetGex
    from sim.chain.levels import GammaLevels

EXPIRIES_SHOWN = 8
STRIKES_SHOWN = 8
SIGN_RISK = (
    "Whose side dealers are on is an assumption that moves these levels more than anything else: try "
    "--sign all-long, --sign all-short, or --sign custom --shares calls=0.5,puts=-0.8."
)


def print_book(book: ChainBook, levels: GammaLevels, console: Console, *, verbose: bool) -> None:
    """Print a book: headline, levels, the largest expiries and strikes, and the count of its options.

    verbose : whether to print all expiries with their carries, and the net gamma exposure in three ways, too.
    """
    chain = book.chain
    quoted = f": {chain.spot:,.2f}, quoted {chain.quoted:%Y-%m-%d %H:%M} New York"
    console.print(Text.assemble((chain.title or chain.source, "bold"), quoted))
    console.print(Text(f"{book.rules.text}", "dim"))
    console.print()
    console.print(Text(headline(levels), "bold"))
    console.print()
    print_view(levels_view(levels), console)
    console.print()
    print_view(strikes_view(levels), console)
    console.print()
    print_view(expiries_view(levels, None if verbose else EXPIRIES_SHOWN), console)
    if verbose:
        console.print()
        print_view(carries_view(book), console)
        console.print()
        print_view(three_ways_view(book), console)
    console.print()
    for line in counts_lines(book):
        console.print(line)
    for note in book.notes:
        print_warning(note, console)
    console.print(Text(SIGN_RISK, "italic"))


def headline(levels: GammaLevels) -> str:
    """Headline of a book in two sentences: net and gross gamma exposure, and where the net turns."""
    figures = (
        f"Net gamma exposure {levels.net_gex_bn:+,.2f} $bn per 1% move, gross {levels.gross_gex_bn:,.1f}"
    )
    if levels.net_gex_bn == 0:
        answer = f"{figures}: dealers' hedging at spot neither damps moves nor amplifies them."
    else:
        side, effect = ("long", "damps") if levels.net_gex_bn > 0 else ("short", "amplifies")
        answer = f"{figures}: dealers are {side} gamma at spot, and their hedging {effect} moves."
    if levels.zero_gamma is None:
        return f"{answer} It does not change its sign within {levels.spot_range:.0%} of spot."
    distance = levels.zero_gamma / levels.spot - 1
    return f"{answer} It turns at {levels.zero_gamma:,.2f}, {distance:+.1%} from spot."


def levels_view(levels: GammaLevels) -> Table:
    """Table of spot, walls and zero-gamma prices."""
    table = new_table()
    table.add_column("level", no_wrap=True)
    for heading in ("price", "from spot", "$bn per 1%"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for row in levels.table.to_dict("records"):
        name, note = str(row["level"]).replace("_", " "), str(row["note"])
        price, exposure = row["price"], row["gex_bn"]
        if name == "gross":
            table.add_row("", "", "", f"{exposure:,.2f}", note)
        elif math.isnan(price):
            table.add_row(name, "none", "", "", "" if note == "none" else note)
        else:
            distance = "" if name == "spot" else f"{price / levels.spot - 1:+.2%}"
            table.add_row(name, f"{price:,.2f}", distance, f"{exposure:+,.2f}", note)
    return table


def strikes_view(levels: GammaLevels) -> Table:
    """Table of the strikes with the largest gross exposure, by strike."""
    largest = levels.by_strike.nlargest(STRIKES_SHOWN, "gross_gex_bn").sort_values("strike", ascending=False)
    table = new_table()
    table.add_column("largest strikes", no_wrap=True)
    headings = [f"{name}\n$bn per 1%" for name in ("calls", "puts", "net")]
    for heading in (*headings, "call open\ninterest", "put open\ninterest"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in largest.to_dict("records"):
        table.add_row(
            f"{row['strike']:,.10g}",
            *(f"{row[name]:+,.2f}" for name in ("call_gex_bn", "put_gex_bn", "net_gex_bn")),
            *(f"{row[name]:,.0f}" for name in ("call_interest", "put_interest")),
        )
    return table


def expiries_view(levels: GammaLevels, most: int | None) -> Table:
    """Table of the expiries, all or those with the largest share of the gross exposure."""
    rows = levels.by_expiry if most is None else levels.by_expiry.nlargest(most, "share").sort_values("days")
    table = new_table()
    table.add_column("expiry" if most is None else "largest expiries", no_wrap=True)
    for heading in ("", "days", "net\n$bn per 1%", "gross\n$bn per 1%", "share of\ngross", "options"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows.to_dict("records"):
        table.add_row(
            row["expiry"],
            row["settlement"],
            f"{row['days']:,.1f}",
            f"{row['net_gex_bn']:+,.2f}",
            f"{row['gross_gex_bn']:,.2f}",
            f"{row['share']:.1%}",
            f"{row['options']:,}",
        )
    return table


def carries_view(book: ChainBook) -> Table:
    """Table of the forwards and carries by expiry, each with its source."""
    table = new_table()
    table.add_column("carry of", no_wrap=True)
    for heading in ("", "forward", "std error", "carry", "rate", "pairs"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("from", no_wrap=True)
    for (expiry, settlement), found in book.carries.items():
        error, rate = (
            number_text(number, form) for number, form in ((found.std_error, ".2f"), (found.rate, ".2%"))
        )
        forward, carry = f"{found.forward:,.2f}", f"{found.carry:+.2%}"
        table.add_row(str(expiry), settlement, forward, error, carry, rate, f"{found.pairs}", found.source)
    return table


def three_ways_view(book: ChainBook) -> Table:
    """Table of the net gamma exposure in three ways: file's gammas, zero carry, and the carry, which is used."""
    table = new_table()
    table.add_column("net gamma exposure, $bn per 1%", no_wrap=True)
    for heading in ("file's own\ngammas", "from IV,\nzero carry", "from IV, with\ncarry (used)"):
        table.add_column(heading, justify="right", no_wrap=True)
    rows: list[tuple[str, NetGex]] = [("naive sign, all open interest", book.naive)]
    if book.rules.sign != "naive" or book.rules.net_matched:
        rows.append(("as signed here, not scaled", book.signed))
    for name, net in rows:
        table.add_row(name, *(f"{number:+,.2f}" for number in (net.own_gamma, net.zero_carry, net.carry)))
    return table


def counts_lines(book: ChainBook) -> list[str]:
    """Lines on the number of options used, and of those dropped for each reason."""
    used, total = len(book.rows), book.chain.total
    dropped = [f"{count:,} {reason}" for reason, count in book.dropped.items()]
    lines = [f"{plural(total, 'option')}: {used:,} used" + "".join(f" + {part}" for part in dropped)]
    if book.interest_used < 1.0:
        lines.append(f"The options used have {book.interest_used:.1%} of the unexpired open interest.")
    if book.scale != 1.0:
        unscaled = f"unscaled the net gamma exposure is {book.signed.carry:+,.2f} $bn"
        lines.append(f"contracts scaled by {book.scale:.4g}: {unscaled}")
    return lines
