"""Minute bars: what is read, what is left out and counted, and what is refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.places import MARKET_DATA
from support.sample_scenario import check_lines, refusal

from sim.fit.minute_bars import NO_SESSION, OFF_HOURS, REPEATED, MinuteBars, read_minute_bars

SHARED = MARKET_DATA
HEADER = "datetime,open,high,low,close,volume"
ROWS = [
    "2025-11-26 15:58:00,680.0,680.5,679.5,680.2,100",
    "2025-11-26 15:59:00,680.2,681.0,680.0,680.9,100",
    "2025-11-28 09:30:00,681.0,682.0,680.0,681.5,100",
    "2025-11-28 09:31:00,681.5,681.5,681.5,681.5,0",
    "2025-11-28 12:59:00,682.0,682.5,681.5,682.5,50",
]


def text_of(*rows: str, header: str = HEADER) -> str:
    return "\n".join((header, *rows)) + "\n"


def read(tmp_path: Path, content: str | bytes) -> MinuteBars:
    path = tmp_path / "bars.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_minute_bars(path)


def same(one: MinuteBars, other: MinuteBars) -> bool:
    names = ("session", "minute", "open", "high", "low", "close")
    return one.sessions == other.sessions and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in names
    )


def test_bars_of_two_sessions(tmp_path: Path) -> None:
    bars = read(tmp_path, text_of(*ROWS))
    assert bars.source == "bars.csv"
    assert bars.sessions == (dt.date(2025, 11, 26), dt.date(2025, 11, 28))
    assert bars.length.tolist() == [390, 210]
    assert bars.session.tolist() == [0, 0, 1, 1, 1]
    assert bars.minute.tolist() == [388, 389, 0, 1, 209]
    assert bars.open.tolist() == [680.0, 680.2, 681.0, 681.5, 682.0]
    assert bars.high.tolist() == [680.5, 681.0, 682.0, 681.5, 682.5]
    assert bars.low.tolist() == [679.5, 680.0, 680.0, 681.5, 681.5]
    assert bars.close.tolist() == [680.2, 680.9, 681.5, 681.5, 682.5]
    assert (len(bars), bars.missing, bars.absent, bars.out_of_order) == (5, 595, 0, 0)
    assert bars.left_out == {}


def test_hours_before_and_after_the_session_are_left_out(tmp_path: Path) -> None:
    more = ("2025-11-26 04:00:00,1,1,1,1,1", "2025-11-26 19:59:00,1,1,1,1,1", "2025-11-28 20:00:00,1,1,1,1,1")
    bars = read(tmp_path, text_of(*ROWS, *more))
    assert same(bars, read(tmp_path, text_of(*ROWS)))
    assert bars.left_out == {OFF_HOURS: 3}


SPELT: dict[str, Callable[[str], str]] = {
    "byte order mark": lambda text: "\ufeff" + text,
    "carriage returns": lambda text: text.replace("\n", "\r\n"),
    "capitals": lambda text: text.replace(HEADER, " DateTime , OPEN,High, low,Close,VOLUME"),
    "blanks": lambda text: text.replace(",", ", "),
    "a T before the time": lambda text: text.replace("2025-11-28 ", "2025-11-28T"),
    "no seconds": lambda text: text.replace(":00,", ","),
    "fractions of seconds": lambda text: text.replace(":00,", ":00.000,"),
    "blank lines": lambda text: text.replace("\n", "\n\n") + ",,,,,\n",
    "no line end": lambda text: text.rstrip("\n"),
    "quotation marks": lambda text: text.replace(",100\n", ',"1,000"\n').replace("680.5", '"680.5"'),
    "any volume": lambda text: text.replace(",100\n", ",many\n"),
    "no volume": lambda text: "\n".join(line.rpartition(",")[0] for line in text.splitlines()),
    "more columns": lambda text: "\n".join(f"{i},{line}" for i, line in enumerate(text.splitlines())),
}


@pytest.mark.parametrize("name", SPELT)
def test_ways_to_write_the_same(tmp_path: Path, name: str) -> None:
    plain = text_of(*ROWS)
    assert same(read(tmp_path, SPELT[name](plain)), read(tmp_path, plain))


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    off = [
        "2025-11-26 09:29:00,1,1,1,1,0",
        "2025-11-26 16:00:00,0,0,0,0,0",
        "2025-11-28 13:00:00,1,1,1,1,0",
        "2025-11-27 10:00:00,1,1,1,1,0",
        "2025-11-29 10:00:00,1,1,1,1,0",
        ROWS[2].replace(",100", ",7"),
    ]
    bars = read(tmp_path, text_of(*ROWS, *off))
    assert same(bars, read(tmp_path, text_of(*ROWS)))
    assert bars.left_out == {NO_SESSION: 2, OFF_HOURS: 3, REPEATED: 1}
    assert bars.missing == 595


def test_order_is_restored_and_counted(tmp_path: Path) -> None:
    bars = read(tmp_path, text_of(ROWS[2], ROWS[0], ROWS[3], ROWS[1], ROWS[4]))
    assert same(bars, read(tmp_path, text_of(*ROWS)))
    assert bars.out_of_order == 2


def test_absent_sessions_are_counted(tmp_path: Path) -> None:
    bars = read(tmp_path, text_of(ROWS[0], "2025-12-03 10:00:00,680,680,680,680,1"))
    assert bars.absent == 3


# id: (content, words of the refusal, in order)
BROKEN: dict[str, tuple[str | bytes, list[str]]] = {
    "empty": (b"", ["bars.csv: is empty"]),
    "blank": (b"\n \r\n", ["is empty"]),
    "a mark alone": (b"\xef\xbb\xbf", ["is empty"]),
    "web page": ("<!DOCTYPE html>\n<html><body>404, not found</body></html>", ["is a web page"]),
    "binary": (b"PK\x03\x04\x14\x00\x06\x00", ["is an Excel workbook or another zip archive"]),
    "zeros": (b"\x00" * 100, ["is a binary file"]),
    "gzip": (b"\x1f\x8b\x08abc", ["is compressed by gzip"]),
    "latin": (text_of(*ROWS).replace("volume", "größe").encode("latin-1"), ["is not UTF-8 text"]),
    "header alone": (text_of(), ["nothing follows the header"]),
    "header and blanks": (text_of("", ",,,,,"), ["nothing follows the header"]),
    "no header": ("\n".join(ROWS), ["line 1", "no column datetime, open, high, low, close"]),
    "no close": (text_of(*ROWS).replace("close", "last"), ["line 1", "no column close"]),
    "close twice": (text_of(*ROWS).replace("volume", "Close"), ["line 1", "has two columns close"]),
    "close twice alike": (text_of(*ROWS).replace("volume", "close"), ["has two columns close"]),
    "too many cells": (text_of(*(f"{row},1" for row in ROWS)), ["line 2: has 7 cells, and the first line"]),
    "one row too long": (text_of(*ROWS, ROWS[0] + ",1,2,3"), ["line 7: has 9 cells, and the first line"]),
    "open quote": (text_of('"2025-11-26 15:58:00,680.0,680.5,679.5,680.2,100'), ["is no CSV table"]),
    "quotes over lines": (
        text_of(ROWS[0].replace(",100", ',"100'), ROWS[1].replace(",100", ',100"'), *ROWS[2:]),
        ["a quotation mark spans lines"],
    ),
    "row cut short": (text_of(*ROWS[:4], "2025-11-28 12:59:00,682.0"), ["line 6", 'high = ""', "no number"]),
    "other dates": (
        text_of("11/26/2025 15:58,1,1,1,1,1"),
        ["line 2", '"11/26/2025 15:58"', "no date and time"],
    ),
    "no such day": (text_of("2025-02-30 10:00:00,1,1,1,1,1"), ["line 2", "no date and time"]),
    "no such hour": (text_of("2025-11-26 24:00:00,1,1,1,1,1"), ["line 2", "no date and time"]),
    "a day alone": (text_of("2025-11-26,1,1,1,1,1"), ["line 2", "no date and time"]),
    "no time": (text_of(ROWS[0], ",1,1,1,1,1"), ["line 3", "no date and time"]),
    "zone": (text_of("2025-11-26 15:58:00-05:00,1,1,1,1,1"), ["line 2", "states a zone"]),
    "Greenwich": (text_of("2025-11-26T15:58:00Z,1,1,1,1,1"), ["line 2", "states a zone"]),
    "seconds": (text_of("2025-11-26 15:58:30,1,1,1,1,1"), ["line 2", "no whole minute"]),
    "word": (text_of(*ROWS[:2], ROWS[2].replace("681.5", "n/a")), ["line 4", 'close = "n/a"', "no number"]),
    "infinite": (text_of(ROWS[0].replace("680.5", "inf")), ["line 2", 'high = "inf"', "no number"]),
    "nan": (text_of(ROWS[0].replace("680.5", "nan")), ["line 2", "high", "no number"]),
    "zero": (text_of(ROWS[0].replace("679.5", "0")), ["line 2", 'low = "0"', "no price above 0"]),
    "negative": (text_of(ROWS[0].replace("679.5", "-679.5")), ["line 2", "low", "no price above 0"]),
    "high below low": (
        text_of(ROWS[0].replace("680.5", "670")),
        ["line 2", 'high = "670"', "below the bar's low"],
    ),
    "close above high": (
        text_of(ROWS[0].replace("680.2", "690")),
        ["line 2", 'close = "690"', "not between the bar's low and high"],
    ),
    "many lines": (
        text_of(*(row.replace(",680", ",x680").replace(",681", ",x681") for row in ROWS)),
        ["lines 2, 3, 4", "open", "no number"],
    ),
    "contradiction": (
        text_of(*ROWS, ROWS[2].replace("681.5", "681.6")),
        ["line 7", "2025-11-28 09:30:00", "another bar with other prices"],
    ),
    "no session": (text_of("2025-11-27 10:00:00,1,1,1,1,1"), ["no bar lies in a regular session"]),
    "the far past": (text_of("1776-07-04 10:00:00,1,1,1,1,1"), ["no bar lies in a regular session"]),
    "the far future": (text_of("2201-07-04 10:00:00,1,1,1,1,1"), ["no bar lies in a regular session"]),
    "by the end of the bar": (
        text_of("2025-11-26 09:31:00,1,1,1,1,1", "2025-11-26 16:00:00,1,1,1,1,1"),
        ["carry the time of their end"],
    ),
    "long after the close": (
        text_of(
            "2025-11-26 14:30:00,1,1,1,1,1", "2025-11-26 16:00:00,1,1,1,1,1", "2025-11-26 19:59:00,1,1,1,1,1"
        ),
        ["its times are not New York's"],
    ),
    "at night": (
        text_of(*ROWS, "2025-11-28 20:30:00,1,1,1,1,1", "2025-11-28 03:59:00,1,1,1,1,1"),
        ["line 7 and 1 more lie before 04:00 or after 20:00"],
    ),
    "extended hours by the end of the bar": (
        text_of(*ROWS, "2025-11-26 20:00:00,1,1,1,1,1", "2025-11-28 20:00:00,1,1,1,1,1"),
        ["carry the time of their end: many days have one at 20:00, none at 04:00"],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_bad_files(tmp_path: Path, name: str) -> None:
    content, words = BROKEN[name]
    error = refusal(lambda: read(tmp_path, content))
    check_lines(error, str(tmp_path / "bars.csv"))
    # what pytest calls the folder may hold a word too
    message, place = str(error).replace(str(tmp_path), ""), -1
    for word in words:
        assert word in message, message
        assert message.index(word) > place
        place = message.index(word)


def test_every_kind_of_problem_is_told(tmp_path: Path) -> None:
    rows = [ROWS[0].replace("680.5", "x"), ROWS[1].replace("680.0", "-1"), ROWS[2].replace("682.0", "1")]
    error = refusal(lambda: read(tmp_path, text_of(*rows)))
    assert [problem.key for problem in error.problems] == ["high", "low", "high"]
    assert "line 2" in error.problems[0].where
    assert "line 3" in error.problems[1].where
    assert "line 4" in error.problems[2].where


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("none.csv", "no such file"),
        ("", "is a directory"),
        ("x" * 5000, "cannot be read"),
        ("a\0b", "is no path"),
    ],
    ids=["absent", "directory", "long", "zero"],
)
def test_bad_paths(tmp_path: Path, path: str, words: str) -> None:
    error = refusal(lambda: read_minute_bars(f"{tmp_path}/{path}"))
    assert words in str(error)
    assert str(error).isprintable()


@pytest.mark.skipif(not SHARED.exists(), reason="market data is not beside this checkout")
def test_real_file() -> None:
    bars = read_minute_bars(SHARED / "intraday" / "spy_1min_2025-09-15_to_2026-02-10.csv")
    assert (bars.sessions[0], bars.sessions[-1]) == (dt.date(2025, 9, 15), dt.date(2026, 2, 10))
    assert (len(bars), len(bars.sessions), bars.absent, bars.out_of_order) == (39742, 103, 0, 0)
    assert bars.left_out == {OFF_HOURS: 6}
    assert bars.missing == 101 * 390 + 2 * 210 - 39742
