"""Option chains made of single options."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd

from sim.chain.option_chain import OptionChain
from support.sample_chain import QUOTED, SPOT


def option(**changes: Any) -> dict[str, Any]:
    """One option with all its columns."""
    usual = {
        "line": 5,
        "root": "SPXW",
        "expiry": pd.Timestamp("2025-09-19"),
        "type": "call",
        "strike": 6500.0,
        "bid": 30.0,
        "ask": 31.0,
        "iv": 0.12,
        "open_interest": 1000.0,
        "gamma": 0.002,
    }
    return {**usual, **changes}


def chain_of(
    *options: dict[str, Any], quoted: dt.datetime = QUOTED, refused: dict[str, int] | None = None
) -> OptionChain:
    table = pd.DataFrame(list(options))
    table["expiry"] = table["expiry"].astype("datetime64[s]")
    return OptionChain("own.csv", "S&P 500 INDEX", SPOT, quoted, table, refused or {})
