"""Option chains from files: both formats, their copies from spreadsheets, what is counted and what is refused."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.places import MARKET_DATA
from support.sample_chain import (
    HEADER,
    LISTINGS,
    NEW_YORK,
    QUOTED,
    SPOT,
    Listing,
    chain_rows,
    delayed_quotes_json,
    many_listings,
    quotedata_csv,
)

from sim.chain import files as chain_files
from sim.chain.files import read_chain
from sim.chain.option_chain import COLUMNS, OptionChain
from sim.chain.quote_time import AS_OF_HINT
from sim.errors import InputError

REAL = MARKET_DATA / "chain"
COUNT = 2 * sum(len(listing.strikes) for listing in LISTINGS)
OVERRIDES: dict[str, Any] = {"as_of": QUOTED, "spot": SPOT}
Written = Callable[[str | bytes], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(content: str | bytes) -> Path:
        path = tmp_path / "chain.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def refusal(path: Path, **overrides: Any) -> str:
    """The message of a refusal, without the folder."""
    with pytest.raises(InputError) as caught:
        read_chain(path, **overrides)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.problems)
    assert all(line.isprintable() for line in lines)
    return str(caught.value).replace(f"{path.parent}/", "")


def expected_options(first_line: int | None = None) -> pd.DataFrame:
    """Options of the sample, as they were before they were written."""
    rows = chain_rows()
    sides = []
    for side in ("call", "put"):
        own = rows[["root", "expiry", "strike"]].assign(type=side)
        for name in ("bid", "ask", "iv", "open_interest", "gamma"):
            own[name] = rows[f"{name}_{side}"]
        sides.append(own)
    both = pd.concat(sides).sort_index(kind="stable").reset_index(drop=True)
    both["line"] = (
        np.arange(1, len(both) + 1) if first_line is None else first_line + np.arange(len(both)) // 2
    )
    return both[list(COLUMNS)]


def check_sample(chain: OptionChain, first_line: int | None = 5) -> None:
    pd.testing.assert_frame_equal(chain.options, expected_options(first_line), check_dtype=False)
    assert chain.refused == {}
    assert (chain.spot, chain.quoted, chain.total) == (SPOT, QUOTED, COUNT)


def with_cell(text: str, row: int, cell: int, value: str) -> str:
    """The table with another cell; rows from 0, cells as in the header."""
    lines = text.split("\n")
    cells = lines[4 + row].split(",")
    cells[cell] = value
    lines[4 + row] = ",".join(cells)
    return "\n".join(lines)


def resaved(text: str, mark: str, decimal: str = ".") -> str:
    """The table as a spreadsheet with other separators saves it: its own texts stay as they are."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=mark, lineterminator="\r\n")
    for row in csv.reader(text.split("\n")):
        writer.writerow(
            [x.replace(".", decimal) if x.lstrip("-").replace(".", "").isdigit() else x for x in row]
        )
    return out.getvalue()


def test_quotedata(written: Written) -> None:
    path = written(quotedata_csv())
    chain = read_chain(path)
    check_sample(chain)
    assert (chain.source, chain.title) == ("chain.csv", "S&P 500 INDEX")
    assert chain.quoted.tzinfo is NEW_YORK or str(chain.quoted.tzinfo) == "America/New_York"
    assert chain.options["line"].dtype == np.int64
    assert chain.options["expiry"].dtype == "datetime64[s]"
    assert {str(chain.options[name].dtype) for name in COLUMNS[4:]} == {"float64"}
    assert read_chain(str(path)).total == COUNT


def test_delayed_quotes(written: Written) -> None:
    chain = read_chain(written(delayed_quotes_json()))
    check_sample(chain, None)
    assert chain.title == "SPX"


@pytest.mark.parametrize(
    "date",
    [
        "Date: September 3, 2025 at 4:18 PM EDT",
        "Date: 3 September 2025 at 16:18 GMT-4",
        "Date: 3 de septiembre de 2025, 16:18 GMT-4",
        "Date: 3 de setembro de 2025 às 16:18 GMT-4",
        "Date: 3. September 2025 um 22:18 MESZ",
        "Date: 3 сентября 2025 г. в 23:18 GMT+3",
    ],
)
@pytest.mark.parametrize(
    "first_line", ["", ",,,,,,", "---Example Data---", "\ufeff", '"a note, with a comma"']
)
def test_date_and_first_lines(written: Written, date: str, first_line: str) -> None:
    check_sample(read_chain(written(quotedata_csv(date=date, first_line=first_line))))


def test_date_whose_comma_is_not_quoted(written: Written) -> None:
    text = quotedata_csv(date="Date: September 3, 2025 at 4:18 PM EDT").replace('"', "")
    check_sample(read_chain(written(text)))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("CRLF", lambda text: text.replace("\n", "\r\n")),
        ("lone CR", lambda text: text.replace("\n", "\r")),
        ("mixed line ends", lambda text: text.replace("\n", "\r\n", 3)),
        ("trailing commas", lambda text: text.replace("\n", ",,,\n")),
        ("no line end at the end", lambda text: text.rstrip("\n")),
        ("blank lines at the end", lambda text: text + "\n\n,,,\n"),
        ("every cell quoted", lambda text: "\n".join(quoted_cells(text))),
        ("no decimals of strikes", lambda text: text.replace(".00,", ",")),
        ("other capitals and blanks", lambda text: text.replace(HEADER, HEADER.upper().replace(",", " , "))),
        ("pandas's names", lambda text: text.replace(HEADER, pandas_header())),
        ("padded symbols", lambda text: text.replace("SPXW25", "SPXW  25")),
        ("semicolons", lambda text: resaved(text, ";")),
        ("semicolons and decimal commas", lambda text: resaved(text, ";", ",")),
        ("tabs", lambda text: resaved(text, "\t")),
        ("tabs and decimal commas", lambda text: resaved(text, "\t", ",")),
        ("quoted decimal commas", lambda text: resaved(text, ",", ",")),
        ("dates as ISO", lambda text: iso_dates(text)),
    ],
)
def test_copies(written: Written, name: str, change: Callable[[str], str]) -> None:
    check_sample(read_chain(written(change(quotedata_csv()))))


def quoted_cells(text: str) -> list[str]:
    return [",".join(f'"{cell}"' for cell in row) for row in csv.reader(text.split("\n"))]


def pandas_header() -> str:
    seen: dict[str, int] = {}
    names = []
    for name in HEADER.split(","):
        names.append(f"{name}.{seen[name]}" if name in seen else name)
        seen[name] = seen.get(name, 0) + 1
    return ",".join(names)


def iso_dates(text: str) -> str:
    return text.replace("Fri Sep 05 2025,", "2025-09-05,").replace("Fri Sep 19 2025,", "2025-09-19 00:00:00,")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(written: Written, encoding: str) -> None:
    text = quotedata_csv(date="Date: 3 de setembro de 2025 às 16:18 GMT-4", title="Índice S&P 500")
    chain = read_chain(written(text.encode(encoding)))
    check_sample(chain)
    assert chain.title == "Índice S&P 500"
    if encoding != "cp1252":
        check_sample(read_chain(written(delayed_quotes_json().encode(encoding))), None)


def test_lines_are_those_of_the_file(written: Written) -> None:
    text = quotedata_csv().replace(HEADER, f"a note\n\n\n{HEADER}\n\n").replace("\n", "\r\n")
    assert read_chain(written(text)).options["line"].tolist() == expected_options(10)["line"].tolist()
    bare = "\n".join(quotedata_csv().split("\n")[3:])
    chain = read_chain(written(bare), **OVERRIDES)
    assert (chain.options["line"].min(), chain.title) == (2, "")


@pytest.mark.parametrize(
    ("last", "spot"),
    [
        ("6448.2798", 6448.2798),
        ("6448", 6448.0),
        ("6,448.28", 6448.28),
        ('"6,448.28"', 6448.28),
        ("6448,28", 6448.28),
        ("6.448,28", 6448.28),
        ("6 448.28", 6448.28),
    ],
)
def test_last_price(written: Written, last: str, spot: float) -> None:
    assert read_chain(written(quotedata_csv(last=last))).spot == spot


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ("", "chain.csv, line 2: Last (states no price). Try spot=6448.28."),
        ("0", 'chain.csv, line 2: Last = "0" (is no price above 0). Try spot=6448.28.'),
        ("-6448.28", 'chain.csv, line 2: Last = "-6448.28" (is no price above 0). Try spot=6448.28.'),
        ("N/A", "chain.csv, line 2: Last (states no price). Try spot=6448.28."),
        ("64.48.28", 'chain.csv, line 2: Last = "64.48.28" (is no price above 0). Try spot=6448.28.'),
        (
            "6.448",
            "chain.csv: the index stands at 6.448, far from the strikes that are traded: half lie below 6,450. "
            "Try spot=6448.28.",
        ),
        (
            "1e308",
            "chain.csv: the index stands at 1e+308, far from the strikes that are traded: half lie below 6,450. "
            "Try spot=6448.28.",
        ),
    ],
)
def test_last_price_that_is_refused(written: Written, last: str, message: str) -> None:
    path = written(quotedata_csv(last=last))
    assert refusal(path) == message
    assert read_chain(path, spot=6448.5).spot == 6448.5


@pytest.mark.parametrize("spot", [6.7, 67.0, 645.0, 64_500.0, 1e300, 1e-300])
def test_a_spot_of_another_size_than_the_strikes(written: Written, spot: float) -> None:
    assert "far from the strikes that are traded" in refusal(written(quotedata_csv()), spot=spot)
    assert "far from the strikes that are traded" in refusal(written(quotedata_csv(last=f"{spot:g}")))


def test_gammas_that_no_option_has(written: Written) -> None:
    """They are as if not stated: a sum of them would be no number."""
    text = quotedata_csv().splitlines()
    cells = text[5].split(",")
    cells[9], cells[20] = "1e308", "-0.5"
    chain = read_chain(written("\n".join([*text[:5], ",".join(cells), *text[6:], ""])))
    assert chain.options["gamma"].isna().sum() == 2


def test_overrides(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """They win over what the file states, and what it states need then not be readable."""
    other = dt.datetime(2025, 9, 2, 20, 0, tzinfo=dt.UTC)
    for text in (
        quotedata_csv(),
        quotedata_csv(date="Date: the other day", last="?"),
        quotedata_csv().split("\n", 3)[3],
        delayed_quotes_json(),
        delayed_quotes_json().replace('"timestamp"', '"stamp"').replace("price_text", "_prize"),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "dateparser", None)
            chain = read_chain(written(text), as_of=other, spot=6000.0)
        assert (chain.spot, chain.quoted, chain.total) == (6000.0, other, COUNT)
        assert chain.quoted.tzinfo is not dt.UTC


@pytest.mark.parametrize("spot", [0.0, -1.0, float("nan"), float("inf")])
def test_spot_that_is_refused(written: Written, spot: float) -> None:
    message = refusal(written(quotedata_csv()), spot=spot)
    assert message == f"spot = {spot} (is no price above 0). Try spot=6448.28."


def test_quote_time_that_is_refused(written: Written) -> None:
    path = written(quotedata_csv())
    assert "states no time zone" in refusal(path, as_of=dt.datetime(2025, 9, 3))
    assert "the year is not from 1990 to 2100" in refusal(path, as_of=dt.datetime(1925, 9, 3, tzinfo=dt.UTC))


def test_everything_missing_is_told_at_once(written: Written) -> None:
    assert refusal(written(quotedata_csv().split("\n", 3)[3])) == (
        f'chain.csv: no line above the header states the "Date:" of the quotes. {AS_OF_HINT}\n'
        'chain.csv: no line above the header states the index\'s "Last:" price. Try spot=6448.28.'
    )
    assert refusal(written('{"data": {"opts": []}}')) == (
        "chain.csv: data.options (is missing). Try downloading the file anew.\n"
        "chain.csv: timestamp (is missing, and so is data.last_trade_time). "
        f"{AS_OF_HINT}\n"
        "chain.csv: data.current_price (is missing, and so is data.close). Try spot=6448.28."
    )


@pytest.mark.parametrize(
    ("date", "why"),
    [
        ("Date: 3 September 2025 at 16:18", "states no time zone that is known"),
        ("Date: 03/09/2025 16:18 GMT-4", "its day and month can be taken for each other"),
        ("Date: 3 September 2525 at 16:18 EDT", "the year is not from 1990 to 2100"),
        ("Date: ", "states no date"),
    ],
)
def test_date_that_is_refused(written: Written, date: str, why: str) -> None:
    path = written(quotedata_csv(date=date))
    message = refusal(path)
    assert message.startswith("chain.csv, line 3: ")
    assert why in message
    assert message.endswith(AS_OF_HINT)
    assert read_chain(path, as_of=QUOTED).total == COUNT


def test_quotes_of_a_time_after_the_first_expiry(written: Written) -> None:
    """Croats call October what Poles call November; a month that is misread does not go unnoticed."""
    path = written(quotedata_csv(date="Date: 3 listopada 2025 o 16:18 GMT-4"))
    assert refusal(path) == (
        "chain.csv: its quotes are dated 2025-11-03, yet it lists options that expired on 2025-09-05. "
        f"{AS_OF_HINT}"
    )
    assert read_chain(path, as_of=QUOTED).total == COUNT
    # on a weekend Friday's options may still be listed
    assert read_chain(written(quotedata_csv(date="Date: 7 September 2025 at 16:18 EDT"))).total == COUNT


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ({"IV": "Implied"}, "missing columns: IV of calls, IV of puts"),
        ({"Open Interest": "OI"}, "missing columns: Open Interest of calls, Open Interest of puts"),
        ({"Strike": "Level"}, "missing columns: Strike"),
        (
            {"Puts": "Options"},
            "missing columns: Puts; columns stated twice: IV of calls, Open Interest of calls",
        ),
        ({"Net": "IV"}, "columns stated twice: IV of calls, IV of puts"),
        ({"Net": "Strike"}, "columns stated twice: Strike"),
    ],
)
def test_columns_that_are_refused(written: Written, names: dict[str, str], why: str) -> None:
    header = ",".join(names.get(name, name) for name in HEADER.split(","))
    message = refusal(written(quotedata_csv().replace(HEADER, header)))
    assert message.startswith(f"chain.csv, line 4: the header has {why}")
    assert message.endswith("Try the table as Cboe's page of quotes offers it for download.")


def test_columns_are_found_by_name(written: Written) -> None:
    """More columns, fewer, and in another order."""
    table = pd.read_csv(io.StringIO(quotedata_csv()), skiprows=3, dtype=str)
    dropped = table.drop(columns=["Bid", "Gamma.1", "Volume"])
    dropped.insert(3, "Theo", "1.5")
    dropped = dropped[["Strike", *dropped.columns.drop("Strike")]]
    dropped = dropped[["Expiration Date", *dropped.columns.drop("Expiration Date")]]
    top = quotedata_csv().split("\n")[:3]
    chain = read_chain(written("\n".join([*top, dropped.to_csv(index=False)])))
    expected = expected_options(5)
    expected.loc[expected["type"] == "call", "bid"] = np.nan
    expected.loc[expected["type"] == "put", "gamma"] = np.nan
    pd.testing.assert_frame_equal(chain.options, expected, check_dtype=False)


CELLS = {name: i for i, name in enumerate(HEADER.split(",")[:12])}
PUT = 11


@pytest.mark.parametrize(
    ("cell", "value", "refused"),
    [
        (
            CELLS["Expiration Date"],
            "Sat Sep 06 2025",
            {"symbol contradicts its row's expiry, strike or side": 2},
        ),
        (CELLS["Expiration Date"], "Fri Sep 31 2025", {"expiry missing or unreadable": 2}),
        (CELLS["Expiration Date"], "", {"expiry missing or unreadable": 2}),
        (CELLS["Strike"], "6301.00", {"symbol contradicts its row's expiry, strike or side": 2}),
        (CELLS["Strike"], "many", {"strike missing or unreadable": 2}),
        (CELLS["Strike"], "inf", {"strike missing or unreadable": 2}),
        (CELLS["Calls"], "", {"symbol not understood": 1}),
        (CELLS["Calls"], "SPXW250905P06300000", {"symbol contradicts its row's expiry, strike or side": 1}),
        (CELLS["Calls"], "SPXW250905C06400000", {"symbol contradicts its row's expiry, strike or side": 1}),
        (CELLS["Open Interest"], "", {"open interest missing or unreadable": 1}),
        (CELLS["Open Interest"], "1e999", {"open interest missing or unreadable": 1}),
        (CELLS["Open Interest"], "0,5", {"row with more cells than the header": 2}),
        (CELLS["Open Interest"], "3.539", {"open interest no whole number": 1}),
        (CELLS["Open Interest"] + PUT, "-3", {"open interest negative": 1}),
        (CELLS["Open Interest"] + PUT, "1000000000", {"open interest beyond 100 million": 1}),
        (CELLS["IV"], "-0.1", {"implied volatility negative": 1}),
        (CELLS["IV"] + PUT, "142", {"implied volatility above 10,000%": 1}),
        (CELLS["Volume"], '"89,468,957"', {}),
        (CELLS["Volume"], "89,468,957", {"row with more cells than the header": 2}),
        (CELLS["Volume"] + PUT, "89,468", {"row with more cells than the header": 2}),
        (CELLS["Volume"] + PUT, '"89', {"row with a quotation mark left open": 2}),
        (CELLS["Volume"], 'a"b,"c', {"row cut short": 2}),
    ],
)
def test_options_that_are_refused(written: Written, cell: int, value: str, refused: dict[str, int]) -> None:
    chain = read_chain(written(with_cell(quotedata_csv(), 0, cell, value)))
    assert chain.refused == refused
    assert chain.total == COUNT
    expected = expected_options(5).iloc[2:]
    pd.testing.assert_frame_equal(
        chain.options[chain.options["line"] > 5].reset_index(drop=True),
        expected.reset_index(drop=True),
        check_dtype=False,
    )


@pytest.mark.parametrize(
    ("cell", "value", "column", "expected"),
    [
        ("IV", "0", "iv", np.nan),
        ("IV", "", "iv", np.nan),
        ("IV", "--", "iv", np.nan),
        ("Bid", "", "bid", np.nan),
        ("Bid", "-0.05", "bid", np.nan),
        ("Ask", "n/a", "ask", np.nan),
        ("Gamma", "nan", "gamma", np.nan),
        ("Open Interest", '"12,345"', "open_interest", 12345.0),
        ("Open Interest", " 7 ", "open_interest", 7.0),
        ("Open Interest", "1e3", "open_interest", 1000.0),
    ],
)
def test_values(written: Written, cell: str, value: str, column: str, expected: float) -> None:
    chain = read_chain(written(with_cell(quotedata_csv(), 0, CELLS[cell], value)))
    assert (chain.refused, chain.total) == ({}, COUNT)
    np.testing.assert_equal(chain.options[column].iloc[0], expected)
    np.testing.assert_equal(chain.options[column].iloc[1], expected_options()[column].iloc[1])


def test_repeated_rows(written: Written) -> None:
    lines = quotedata_csv().split("\n")
    chain = read_chain(written("\n".join([*lines[:6], lines[4], *lines[6:]])))
    assert chain.refused == {"repeats an earlier symbol": 2}
    assert chain.total == COUNT + 2


def test_two_tables_in_one_file(written: Written) -> None:
    chain = read_chain(written(quotedata_csv() + quotedata_csv()))
    assert chain.total == 2 * (COUNT + 3)
    assert chain.refused["repeats an earlier symbol"] == COUNT
    assert len(chain.options) == COUNT


def test_table_cut_anywhere(written: Written) -> None:
    """Whole options stay readable, and none of a cut row is read wrong."""
    content = quotedata_csv().encode()
    body = content.index(HEADER.encode()) + len(HEADER) + 1
    whole = expected_options(5).set_index(["line", "type"])
    last_of_first_call = body + len(content[body:].split(b".00,")[0]) + 3
    for end in range(body + 1, last_of_first_call, 9):
        message = refusal(written(content[:end]), **OVERRIDES)
        assert "no option can be read: 2 row cut short" in message
    for end in [*range(last_of_first_call + 1, body + 300, 5), *range(body + 301, len(content), 67)]:
        chain = read_chain(written(content[:end]), **OVERRIDES)
        rows = len([line for line in content[body:end].decode().split("\n") if line])
        assert chain.total == 2 * rows
        assert set(chain.refused) <= {"row cut short", "open interest missing or unreadable"}
        assert len(chain.options) >= 2 * rows - 2
        read = chain.options.set_index(["line", "type"])
        expected = whole.loc[read.index]
        if content[end - 1 : end + 1].isalnum() or content[end : end + 1] == b".":
            # nothing tells that the very last number of the table was longer
            read, expected = read.iloc[:-1], expected.iloc[:-1]
        pd.testing.assert_frame_equal(read, expected, check_dtype=False)


def test_table_cut_above_its_rows(written: Written) -> None:
    content = quotedata_csv().encode()
    body = content.index(HEADER.encode()) + len(HEADER)
    for end in range(1, body + 1):
        message = refusal(written(content[:end]))
        assert message.startswith("chain.csv")
        expected = ("is empty", "is no option chain", "missing columns", "holds no option")
        assert any(text in message for text in expected), message


def test_delayed_quotes_cut_anywhere(written: Written) -> None:
    content = delayed_quotes_json().encode()
    for end in range(1, len(content), 37):
        assert "is not valid JSON" in refusal(written(content[:end]))


def edited_json(edit: Callable[[dict[str, Any]], object]) -> str:
    content = json.loads(delayed_quotes_json())
    edit(content)
    return json.dumps(content)


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (lambda x: x.pop("data"), "chain.csv: is JSON, but no delayed quotes: it has no table data."),
        (lambda x: x.update(data=[]), "chain.csv: is JSON, but no delayed quotes: it has no table data."),
        (lambda x: x["data"].pop("options"), "chain.csv: data.options (is missing)."),
        (lambda x: x["data"].update(options={}), "chain.csv: data.options (must be a list)."),
        (
            lambda x: x["data"].update(options=[]),
            "chain.csv: data.options (is an empty list: it holds no option).",
        ),
        (
            lambda x: x.update(timestamp="soon"),
            'chain.csv: timestamp = "soon" (is no date and time such as 2025-09-03 20:18:00).',
        ),
        (
            lambda x: x.update(timestamp="2025-09-03"),
            'chain.csv: timestamp = "2025-09-03" (is no date and time such as 2025-09-03 20:18:00).',
        ),
        (
            lambda x: x.update(timestamp=1756930680),
            "chain.csv: timestamp = 1756930680 (is no date and time such as 2025-09-03 20:18:00).",
        ),
        (
            lambda x: x.update(timestamp="0001-01-01 00:00:00"),
            'chain.csv: "0001-01-01 00:00:00+00:00" (the year is not from 1990 to 2100).',
        ),
        (
            lambda x: x["data"].update(current_price=-1.0),
            "chain.csv: data.current_price = -1.0 (is no price above 0).",
        ),
        (
            lambda x: x["data"].update(current_price="6450"),
            'chain.csv: data.current_price = "6450" (is no price above 0).',
        ),
        (
            lambda x: x["data"].update(current_price=None, close=0),
            "chain.csv: data.close = 0 (is no price above 0).",
        ),
    ],
)
def test_delayed_quotes_that_are_refused(
    written: Written, edit: Callable[[dict[str, Any]], object], line: str
) -> None:
    assert refusal(written(edited_json(edit))).startswith(f"{line} Try ")


def test_a_key_twice_is_refused(written: Written) -> None:
    """JSON would take the last of them without a word."""
    text = edited_json(lambda _: None)
    once = '"open_interest": '
    assert once in text
    twice = text.replace(once, f"{once}1, {once}", 1)
    why = 'chain.csv: is no delayed quotes: a table has the key "open_interest" twice.'
    assert refusal(written(twice)).startswith(why)


def test_delayed_quotes_with_less(written: Written) -> None:
    """The last trade stands in for the time stamp, the close for the price."""

    def edit(content: dict[str, Any]) -> None:
        del content["timestamp"], content["symbol"]
        content["data"].update(current_price=None, close=6449.0, last_trade_time="2025-09-03T16:15:00")
        del content["data"]["options"][0]["bid"], content["data"]["options"][0]["gamma"]

    chain = read_chain(written(edited_json(edit)))
    assert chain.spot == 6449.0
    assert chain.quoted == dt.datetime(2025, 9, 3, 16, 15, tzinfo=NEW_YORK)
    assert (chain.title, chain.total, chain.refused) == ("SPX", COUNT, {})
    assert chain.options.loc[0, ["bid", "gamma"]].isna().all()


def first_entry(**edits: Any) -> dict[str, Any]:
    return {"option": "SPXW250905C06300000", "iv": 0.1, "open_interest": 1, **edits}


@pytest.mark.parametrize(
    ("entry", "refused"),
    [
        (7, "entry that is no object"),
        (None, "entry that is no object"),
        ({}, "entry without option, iv or open_interest"),
        ({"option": "SPXW250905C06300000", "open_interest": 1}, "entry without option, iv or open_interest"),
        (first_entry(option=5), "symbol not understood"),
        (first_entry(option="AAPL"), "symbol not understood"),
        (first_entry(open_interest=None), "open interest missing or unreadable"),
        (first_entry(open_interest=True), "open interest missing or unreadable"),
        (first_entry(open_interest=10**400), "open interest missing or unreadable"),
        (first_entry(open_interest=-1), "open interest negative"),
        (first_entry(iv=900), "implied volatility above 10,000%"),
        (first_entry(option="SPXW250905C06400000"), ""),
        (first_entry(iv=None), ""),
        (first_entry(iv={"a": []}, bid="x", ask=[]), ""),
    ],
)
def test_entries(written: Written, entry: Any, refused: str) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["data"]["options"][0] = entry

    chain = read_chain(written(edited_json(edit)))
    assert chain.total == COUNT
    if refused:
        assert chain.refused == {refused: 1}
        assert chain.options["line"].tolist() == list(range(2, COUNT + 1))
    else:
        # the strike 6400 stands in the list again
        assert sum(chain.refused.values()) == (entry["option"] == "SPXW250905C06400000")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty."),
        (b"\xef\xbb\xbf\r\n \n", "is empty."),
        ("<!DOCTYPE html><html><body>Access denied", "is a web page, not an option chain."),
        ("\n\n<HTML>", "is a web page, not an option chain."),
        (b"PK\x03\x04rest", "is an Excel workbook or another zip archive, not text."),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "is an Excel workbook, not text."),
        (b"\x1f\x8b\x08rest", "is compressed by gzip, not text."),
        (b"%PDF-1.7", "is a PDF document, not text."),
        (b"Expiration Date,\0", "is a binary file, not text."),
        (
            "Date,Open,High\n1,2,3\n",
            'is no option chain: it has no header line that begins with "Expiration Date", and is no JSON.',
        ),
        ('{"a": NaN}', "is not valid JSON: NaN is no number."),
        ("[" * 100_000, "is not valid JSON: it is nested too deeply."),
        ("[1" + "0" * 5000 + "]", "is not valid JSON: a number has too many digits."),
        ("[]", "is JSON, but no delayed quotes: it has no table data."),
        (HEADER, "holds no option: nothing follows the header."),
        (f"{HEADER}\n,,,\n\n", "holds no option: nothing follows the header."),
        (
            f"{HEADER}\nFri Sep 05 2025,SPXW\nnote",
            "no option can be read: 4 row cut short.",
        ),
    ],
)
def test_files_that_are_refused(written: Written, content: str | bytes, why: str) -> None:
    assert refusal(written(content), **OVERRIDES).startswith(f"chain.csv: {why} Try ")


def test_place_of_a_syntax_error(written: Written) -> None:
    message = refusal(written('{"timestamp": 1,\n  "data" 2}'))
    assert message == (
        "chain.csv, line 2, column 10: is not valid JSON: Expecting ':' delimiter. Try downloading the file anew."
    )


def test_paths_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(tmp_path / "none.csv") == "none.csv: no such file. Try a path that exists."
    assert "is a directory" in refusal(tmp_path)
    assert "is no path" in refusal(tmp_path / "a\0b.csv")
    message = refusal(tmp_path / "line\nbreak.csv")
    assert len(message.splitlines()) == 1
    assert "no such file" in message

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "denied")

    monkeypatch.setattr("builtins.open", denied)
    assert "may not be read" in refusal(tmp_path / "mine.csv")


def test_file_that_is_too_large(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_files, "_KIND", dataclasses.replace(chain_files._KIND, most_bytes=1000))
    assert refusal(written(quotedata_csv())).startswith("chain.csv: is larger than 0 MB, no option chain.")


def test_large_chains(written: Written) -> None:
    """Both formats of one chain of 24,000 options agree."""
    listings = many_listings(QUOTED, SPOT, expiries=50, strikes=240)
    table = read_chain(written(quotedata_csv(listings=listings)))
    quotes = read_chain(written(delayed_quotes_json(listings=listings)))
    assert table.total == quotes.total == len(table.options) == 24_000
    assert table.options["expiry"].nunique() == 50
    pd.testing.assert_frame_equal(
        table.options.drop(columns="line"), quotes.options.drop(columns="line"), check_exact=True
    )
    assert (table.spot, table.quoted) == (quotes.spot, quotes.quoted)


def test_other_indices(written: Written) -> None:
    """Roots with digits, half strikes, low prices."""
    listings = [
        Listing("RUT1", dt.date(2025, 9, 19), (17.5, 20.0)),
        Listing("MXEA", dt.date(2025, 9, 19), (22.5,)),
    ]
    chain = read_chain(written(quotedata_csv(spot=19.0, listings=listings, title="Another Index")))
    assert chain.options["root"].tolist() == ["RUT1"] * 4 + ["MXEA"] * 2
    assert (chain.spot, chain.title) == (19.0, "Another Index")


@pytest.mark.skipif(not REAL.exists(), reason="real option chains are not beside this checkout")
@pytest.mark.parametrize(
    ("name", "title", "spot", "quoted", "total", "roots", "refused"),
    [
        (
            "cboe_spx_2025-09-03_pt-BR.csv",
            "S&P 500 INDEX",
            6448.2798,
            "2025-09-03T16:18:00-04:00",
            24_112,
            {"SPXW": 15_710, "SPX": 8_402},
            {},
        ),
        (
            "cboe_spx_2022-12-12_en.csv",
            "Standard & Poors 500 Index",
            3990.5601,
            "2022-12-12T20:30:00-05:00",
            19_156,
            {"SPXW": 12_762, "SPX": 6_394},
            {},
        ),
        (
            "cboe_rut_2023-09-21.json",
            "RUT",
            1806.1193,
            "2023-09-20T23:17:42-04:00",
            6_680,
            {"RUTW": 5_208, "RUT": 1_472},
            {},
        ),
    ],
)
def test_real_chains(
    name: str,
    title: str,
    spot: float,
    quoted: str,
    total: int,
    roots: dict[str, int],
    refused: dict[str, int],
) -> None:
    chain = read_chain(REAL / name)
    assert (chain.source, chain.title, chain.spot) == (name, title, spot)
    assert chain.quoted == dt.datetime.fromisoformat(quoted)
    assert chain.total == total
    assert chain.options["root"].value_counts().to_dict() == roots
    assert chain.refused == refused
    assert chain.total == sum(roots.values()) + sum(refused.values())
    assert set(chain.options["type"]) == {"call", "put"}
    assert chain.options["open_interest"].between(0, 400_000).all()
    assert chain.options["line"].is_monotonic_increasing


@pytest.mark.parametrize("as_of", [dt.datetime(2025, 9, 3, 16, 18), pd.Timestamp("2025-09-03"), pd.NaT])
def test_an_instant_without_a_zone_is_refused_with_a_hint_that_has_one(written: Written, as_of: Any) -> None:
    path = written(quotedata_csv())
    with pytest.raises(
        InputError, match=r"^as_of = .*states no time zone.*Try as_of=datetime\.datetime\(.*tzinfo="
    ):
        read_chain(path, as_of=as_of)


@pytest.mark.parametrize("spot", [10**400, -(10**400)])
def test_a_spot_beyond_every_float_is_refused(written: Written, spot: int) -> None:
    with pytest.raises(InputError, match=r"^spot = an integer of more than 60 digits"):
        read_chain(written(quotedata_csv()), spot=spot)
