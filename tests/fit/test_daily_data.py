from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest

from sim.errors import InputError
from sim.fit.daily_data import OHLC, read_daily, window

TEXT = """date,Open,High,Low,Close,Volume
2026-02-09,6917.26,6980.10,6905.87,6964.82,5650260000
2026-02-10,6974.49,6986.83,6937.53,6941.81,5595950000
"""


def file(folder: Path, content: str | bytes) -> Path:
    path = folder / "days.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_columns_are_found_in_any_case(tmp_path: Path) -> None:
    table = read_daily(file(tmp_path, TEXT.replace("date", "DATE")), OHLC, positive=OHLC)
    assert table.source == "days.csv"
    assert table.dropped == 0
    assert table.rows.columns.tolist() == list(OHLC)
    assert table.rows.loc["2026-02-10", "close"] == 6941.81


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + TEXT,
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("6964.82", '"6,964.82"'),
        TEXT + "\n,,,,,\n",
        "\n".join([TEXT.splitlines()[0], *TEXT.splitlines()[:0:-1]]),
        TEXT.replace("2026-02-10", "2026-02-10 00:00:00"),
        TEXT.replace(",", ";").replace(".", ","),
        TEXT.replace(",", "\t"),
        TEXT.replace("date,Open,High,Low,Close,Volume", "<DATE>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>"),
        TEXT.replace("Close,", "Close/Last,"),
        TEXT.replace("2026-02-09", "20260209").replace("2026-02-10", "20260210"),
        TEXT.replace("2026-02-09", '"Feb 09, 2026"').replace("2026-02-10", '"Feb 10, 2026"'),
        TEXT.replace("2026-02-09", "09.02.2026").replace("2026-02-10", "10.02.2026"),
        TEXT.replace("2026-02-09", "02/09/2026").replace("2026-02-10", "02/10/2026") + "01/30/2026,,,,,\n",
        TEXT.replace("2026-02-09", "09/02/2026").replace("2026-02-10", "10/02/2026") + "30/01/2026,,,,,\n",
    ],
)
def test_harmless_differences(content: str, tmp_path: Path) -> None:
    table = read_daily(file(tmp_path, content), OHLC, positive=OHLC)
    assert table.rows.index.tolist() == [pd.Timestamp("2026-02-09"), pd.Timestamp("2026-02-10")]
    assert table.rows["close"].tolist() == [6964.82, 6941.81]
    assert table.rows.index.is_monotonic_increasing


def test_rows_without_a_number_are_left_out_and_counted(tmp_path: Path) -> None:
    table = read_daily(
        file(tmp_path, TEXT + "2026-02-11,,,,,\n2026-02-12,1,2,1,null,0\n"), OHLC, positive=OHLC
    )
    assert (len(table.rows), table.dropped) == (2, 2)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (TEXT.replace("High", "Top"), "has no column high; its columns are date, open, top"),
        (TEXT.replace("2026-02-10", "10.02.2026"), 'days.csv, line 3: date = "10.02.2026" (is no date)'),
        (TEXT + TEXT.splitlines()[1] + "\n", 'line 4: date = "2026-02-09" (comes twice)'),
        (TEXT.replace("6937.53", "low"), 'line 3: low = "low" (is no number)'),
        (TEXT.replace("6941.81", "-6941.81"), "line 3: close"),
        (TEXT.replace("6986.83", "6900"), "is below the day's low"),
        (TEXT.splitlines()[0] + "\n", "has no rows"),
        (TEXT.splitlines()[0] + "\n2026-02-11,,,,,\n", "has no row with every number"),
        ("", "is empty"),
        (TEXT.replace("6941.81", "6990"), 'line 3: close = "6990" (lies outside the day\'s low and high)'),
        (TEXT.replace("6917.26", "6900"), "line 2: open"),
        (
            TEXT.replace("2026-02-09", "02/09/2026").replace("2026-02-10", "02/10/2026"),
            "and all others may have the day first or the month",
        ),
        ("<!doctype html><html>", "is a web page"),
        (b"PK\x03\x04\0\0", "is an Excel workbook or another zip archive"),
        (b"date,close\n\xff\xfe", "is not UTF-8"),
        (TEXT.replace("Volume", "Close"), "has two columns close"),
        ("date,close\n2026-02-10,1,2,3\n", "line 2: has 4 cells, and the first line, its header, has 2"),
        ("date,close\n2026-02-10,1\n2026-02-11,1,2,3\n", "line 3: has 4 cells"),
    ],
)
def test_bad_files(content: str | bytes, expected: str, tmp_path: Path) -> None:
    path = file(tmp_path, content)
    columns = OHLC if b"Open" in path.read_bytes() else ("close",)
    with pytest.raises(InputError) as refused:
        read_daily(path, columns, positive=["close"])
    assert expected in str(refused.value)


def test_a_decimal_comma_is_no_thousands_separator(tmp_path: Path) -> None:
    rows = 'date,close\n2026-02-09,"17,8"\n2026-02-10,"1.017,79"\n2026-02-11,18\n'
    table = read_daily(file(tmp_path, rows), ["close"], positive=["close"])
    assert table.rows["close"].tolist() == [17.8, 1017.79, 18.0]


def test_optional_columns(tmp_path: Path) -> None:
    table = read_daily(file(tmp_path, TEXT), ["close"], positive=[], optional=["open", "price"])
    assert table.rows["open"].tolist() == [6917.26, 6974.49]
    assert table.rows["price"].isna().all()
    table = read_daily(
        file(tmp_path, TEXT.replace("6974.49", "?")), ["close"], positive=[], optional=["open"]
    )
    assert table.dropped == 0


def test_many_bad_rows_are_counted(tmp_path: Path) -> None:
    rows = "\n".join(f"2026-01-{day:02d},x" for day in range(1, 29))
    with pytest.raises(InputError, match="lines 2, 3, 4 and 25 more: close"):
        read_daily(file(tmp_path, f"date,close\n{rows}\n"), ["close"], positive=["close"])


@pytest.mark.parametrize(
    ("name", "why"), [("none.csv", "no such file"), (".", "is a directory"), ("a\0b", "is no path")]
)
def test_paths_that_are_no_files(name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=why):
        read_daily(tmp_path / name, ["close"], positive=["close"])


def test_the_window_ends_with_a_row() -> None:
    index = pd.DatetimeIndex(["2026-02-06", "2026-02-09", "2026-02-10"])
    assert window(index, None, None, "x") == (index[0], index[-1])
    assert window(index, dt.date(2026, 2, 7), dt.date(2026, 2, 9), "x")[1] == index[1]
    with pytest.raises(InputError, match=r"has no row of 2026-02-07\)\. Try 2026-02-06 or 2026-02-09"):
        window(index, None, dt.date(2026, 2, 7), "x")
    with pytest.raises(InputError, match="is not before"):
        window(index, dt.date(2026, 3, 1), None, "x")


def test_other_files_are_refused_at_once(tmp_path: Path) -> None:
    """A chain's JSON is one long line: not a table with a hundred thousand columns."""
    (tmp_path / "chain.json").write_text(
        '{"data": [' + ", ".join('{"option": "SPX"}' for _ in range(100_000)) + "]}"
    )
    with pytest.raises(InputError, match="is JSON, not a table"):
        read_daily(tmp_path / "chain.json", ["close"], positive=["close"])
    (tmp_path / "wide.csv").write_text(",".join(f"c{i}" for i in range(100_000)) + "\n")
    with pytest.raises(InputError, match="100,000 columns in its first line, and 1,000 are the most"):
        read_daily(tmp_path / "wide.csv", ["close"], positive=["close"])
    (tmp_path / "long.csv").write_text("date,close\n" + "2026-02-10,6941.81\n" * 300_000)
    with pytest.raises(InputError, match="has 300,001 lines, and 200,000 rows are the most"):
        read_daily(tmp_path / "long.csv", ["close"], positive=["close"])
    (tmp_path / "large.csv").write_text(",".join(f"c{i}" for i in range(500)) + "\n" * 10_000)
    with pytest.raises(InputError, match="has 5,000,000 cells, and 3,000,000 are the most"):
        read_daily(tmp_path / "large.csv", ["close"], positive=["close"])
