"""Option symbols, and the one reason for which each option is refused."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from sim.chain import option_chain
from sim.chain.option_chain import COLUMNS, OptionChain, judged_options, parse_symbols


@pytest.mark.parametrize(
    ("symbol", "root", "expiry", "type_", "strike"),
    [
        ("SPXW250903C02600000", "SPXW", "2025-09-03", "call", 2600.0),
        ("SPX301220P12000000", "SPX", "2030-12-20", "put", 12000.0),
        ("SPXW  250903C06472500", "SPXW", "2025-09-03", "call", 6472.5),
        (" RUT230920P00000005 ", "RUT", "2023-09-20", "put", 0.005),
        ("SPX1250903C02600000", "SPX1", "2025-09-03", "call", 2600.0),
        ("A750903C99999999", "A", "2075-09-03", "call", 99999.999),
        ("SPX240229C02600000", "SPX", "2024-02-29", "call", 2600.0),
    ],
)
def test_symbols(symbol: str, root: str, expiry: str, type_: str, strike: float) -> None:
    parsed = parse_symbols(pd.Series([symbol], index=[7]))
    assert parsed.loc[7].tolist() == [root, pd.Timestamp(expiry), type_, strike]
    assert parsed["expiry"].dtype == "datetime64[s]"


@pytest.mark.parametrize(
    "symbol",
    [
        "",
        "SPXW",
        "250903C02600000",
        "1SPX250903C02600000",
        "SPXWEEKLY250903C02600000",
        "SPXW251303C02600000",
        "SPXW250229C02600000",
        "SPXW250903X02600000",
        "SPXW250903C2600000",
        "SPXW250903C026000000",
        "SPXW250903C00000000",
        "spxw250903c02600000",
        "SPXW250903C0260000\u0660",
        None,
    ],
)
def test_symbols_not_understood(symbol: str | None) -> None:
    parsed = parse_symbols(pd.Series([symbol], dtype=object)).iloc[0]
    assert (parsed["root"], parsed["type"]) == ("", "")
    assert pd.isna(parsed["expiry"])
    assert np.isnan(parsed["strike"])


def test_no_symbols() -> None:
    parsed = parse_symbols(pd.Series([], dtype=object))
    assert list(parsed.columns) == ["root", "expiry", "type", "strike"]
    assert parsed["strike"].dtype == np.float64


GOOD = {
    "flaw": "",
    "symbol": "SPXW250903C02600000",
    "bid": 1.0,
    "ask": 2.0,
    "iv": 0.2,
    "open_interest": 10.0,
    "gamma": 0.001,
    "row_expiry": np.datetime64("2025-09-03", "s"),
    "row_strike": 2600.0,
    "row_type": "call",
}


def judged(*edits: dict[str, object]) -> tuple[pd.DataFrame, dict[str, int]]:
    stated = pd.DataFrame([{"line": i, **GOOD, **edit} for i, edit in enumerate(edits, start=5)])
    stated["row_expiry"] = stated["row_expiry"].astype("datetime64[s]")
    return judged_options(stated)


def test_a_good_option() -> None:
    options, refused = judged({})
    assert refused == {}
    assert tuple(options.columns) == COLUMNS
    expected = [5, "SPXW", pd.Timestamp("2025-09-03"), "call", 2600.0, 1.0, 2.0, 0.2, 10.0, 0.001]
    assert options.iloc[0].tolist() == expected
    assert options["line"].dtype == np.int64
    assert options["expiry"].dtype == "datetime64[s]"
    assert all(options[name].dtype == np.float64 for name in COLUMNS[4:])


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        ({"flaw": "row cut short"}, "row cut short"),
        ({"symbol": "SPXW"}, "symbol not understood"),
        ({"row_expiry": np.datetime64("NaT", "ns")}, "expiry missing or unreadable"),
        ({"row_strike": np.nan}, "strike missing or unreadable"),
        ({"row_strike": 2600.1}, "symbol contradicts its row's expiry, strike or side"),
        ({"row_expiry": np.datetime64("2025-09-04")}, "symbol contradicts its row's expiry, strike or side"),
        ({"row_type": "put"}, "symbol contradicts its row's expiry, strike or side"),
        ({"open_interest": np.nan}, "open interest missing or unreadable"),
        ({"open_interest": -1.0}, "open interest negative"),
        ({"open_interest": 3.539}, "open interest no whole number"),
        ({"open_interest": 100_000_001.0}, "open interest beyond 100 million"),
        ({"iv": -0.1}, "implied volatility negative"),
        ({"iv": 100.1}, "implied volatility above 10,000%"),
        ({"iv": -0.1, "open_interest": -1.0, "symbol": "?"}, "symbol not understood"),
        ({"flaw": "row cut short", "symbol": "?"}, "row cut short"),
    ],
)
def test_each_reason(edit: dict[str, object], reason: str) -> None:
    other = {"symbol": "SPXW250903C02700000", "row_strike": 2700.0}
    options, refused = judged(edit, other)
    assert refused == {reason: 1}
    assert options["strike"].tolist() == [2700.0]
    reasons = {
        value for name, value in vars(option_chain).items() if name.isupper() and isinstance(value, str)
    }
    assert reason in reasons


def test_limits_and_missing_values() -> None:
    strikes = (1000.0 + np.arange(6)).tolist()
    edits = [{"iv": 5.0, "open_interest": 1e8}, {"iv": 0.0}, {"iv": np.nan}, {"bid": -1.0}, {"ask": np.nan}]
    edits += [{"gamma": np.nan, "open_interest": -0.0}]
    named = [
        {**edit, "symbol": f"SPX250903C{round(1000 * k):08d}", "row_strike": k}
        for k, edit in zip(strikes, edits, strict=True)
    ]
    options, refused = judged(*named)
    assert refused == {}
    assert options["iv"].isna().tolist() == [False, True, True, False, False, False]
    assert options["bid"].isna().tolist() == [False, False, False, True, False, False]
    assert options["ask"].isna().tolist() == [False, False, False, False, True, False]
    assert options["gamma"].isna().tolist() == [False] * 5 + [True]
    assert str(options["open_interest"].iloc[5]) == "0.0"


def test_the_first_of_a_symbol_is_kept() -> None:
    """A repeat of an option that was refused is no repeat: each option is refused for one reason."""
    spaced = {"symbol": "SPXW  250903C02600000", "open_interest": 20.0}
    options, refused = judged({"open_interest": -1.0}, {}, spaced, {"iv": 900.0})
    assert options["open_interest"].tolist() == [10.0]
    assert options["line"].tolist() == [6]
    assert refused == {
        "open interest negative": 1,
        "repeats an earlier symbol": 1,
        "implied volatility above 10,000%": 1,
    }


def test_total() -> None:
    options, _ = judged({})
    quoted = dt.datetime(2025, 9, 3, tzinfo=dt.UTC)
    assert OptionChain("x.csv", "", 1.0, quoted, options, {"row cut short": 3, "a": 2}).total == 6
