"""Result folder of a book: the book file, its levels as tables, a picture, a scenario and a manifest."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pandas as pd

from sim.book.file import book_csv, book_table
from sim.chain.book import ChainBook, NetGex
from sim.chain.levels import Crossing, GammaLevels, Wall
from sim.files.json_text import json_rows, manifest_json
from sim.files.output_folder import MANIFEST, Files, FolderKind
from sim.files.table_files import parquet_bytes
from sim.files.table_text import table_csv
from sim.files.versions import installed_versions
from sim.scenario.model import Scenario
from sim.scenario.toml import scenario_to_toml

BOOK_FORM: Final = "gammawall-book/1"
BOOK, PARQUET = "book.csv", "book.parquet"
PICTURE: Final = "gamma.png"
SCENARIO: Final = "scenario.toml"
TABLES: Final = ("levels.csv", "gex_by_strike.csv", "gex_by_expiry.csv", "gamma_profile.csv")
BOOK_FOLDER: Final = FolderKind("book", (BOOK, PARQUET, *TABLES, PICTURE, SCENARIO, MANIFEST), BOOK_FORM)


def book_files(
    book: ChainBook, levels: GammaLevels, scenario: Scenario | None, picture: bytes | None, *, parquet: bool
) -> Files:
    """Files of a book's folder, by name, each with the function that makes its content.

    scenario, picture : a scenario that runs with the book, and a PNG; None if there is to be none.
    parquet : whether the book file is Parquet rather than CSV.
    """
    files: list[tuple[str, Callable[[], str | bytes]]] = []
    if parquet:
        files.append((PARQUET, lambda: parquet_bytes(book_table(book.rows))))
    else:
        files.append((BOOK, lambda: book_csv(book.rows)))
    tables = (levels.table, levels.by_strike, levels.by_expiry, levels.profile)
    files += [(name, partial(table_csv, table)) for name, table in zip(TABLES, tables, strict=True)]
    if picture is not None:
        files.append((PICTURE, lambda: picture))
    if scenario is not None:
        files.append((SCENARIO, lambda: scenario_to_toml(scenario)))
    return [*files, (MANIFEST, lambda: manifest_json(book_document(book, levels), BOOK_FORM))]


def book_document(book: ChainBook, levels: GammaLevels) -> dict[str, Any]:
    """JSON document of a book and its levels: source, rules, options used and dropped, levels found."""
    chain, rules = book.chain, book.rules
    return {
        "chain": {
            "file": chain.source,
            "title": chain.title,
            "spot": chain.spot,
            "quoted": chain.quoted.isoformat(),
        },
        "rules": {
            "sign": rules.sign,
            "shares": dict(zip(("calls", "puts"), rules.shares, strict=True)),
            "net_matched": rules.net_matched,
            "scale_to_gex": rules.scale_to_gex,
            "scale": book.scale,
            "carry": rules.carry,
            "groups": [{"name": g.name, "low": g.low, "high": g.high} for g in rules.groups],
        },
        "options": {
            "total": chain.total,
            "used": len(book.rows),
            "dropped": book.dropped,
            "open_interest_used": book.interest_used,
        },
        "warnings": list(book.notes),
        "net_gex_bn": {"naive": _net(book.naive), "as_signed": _net(book.signed)},
        "levels": {
            "net_gex_bn": levels.net_gex_bn,
            "gross_gex_bn": levels.gross_gex_bn,
            "call_wall": _wall(levels.call_wall),
            "put_wall": _wall(levels.put_wall),
            "zero_gamma": levels.zero_gamma,
            "crossings": [_crossing(crossing) for crossing in levels.crossings],
            "crossings_within": levels.spot_range,
        },
        "carries": json_rows(carries_table(book)),
        "book_sha256": book.rows.digest,
        "versions": installed_versions(),
    }


def carries_table(book: ChainBook) -> pd.DataFrame:
    """Carry of each expiry: expiry, settlement, forward, std_error, carry, rate, pairs, source."""
    rows = [
        {
            "expiry": str(expiry),
            "settlement": settlement,
            "forward": found.forward,
            "std_error": found.std_error,
            "carry": found.carry,
            "rate": found.rate,
            "pairs": found.pairs,
            "source": found.source,
        }
        for (expiry, settlement), found in book.carries.items()
    ]
    return pd.DataFrame(rows)


def _net(net: NetGex) -> dict[str, float]:
    return {"own_gamma": net.own_gamma, "zero_carry": net.zero_carry, "carry": net.carry}


def _wall(wall: Wall | None) -> dict[str, Any] | None:
    if wall is None:
        return None
    side = "as_expected" if wall.as_expected else "wrong_side_of_spot"
    return {"strike": wall.strike, "gex_bn": wall.gex_bn, "share": wall.share, "side": side}


def _crossing(crossing: Crossing) -> dict[str, Any]:
    return {"price": crossing.price, "rising": crossing.rising, "nearest": crossing.nearest}
