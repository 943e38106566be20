"""Anything at all as an option chain: it is read in good order, or refused in orderly lines."""

from __future__ import annotations

import datetime as dt
import json
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.nested import places
from support.sample_chain import HEADER, LISTINGS, QUOTED, SPOT, delayed_quotes_json, quotedata_csv

from sim.chain.files import read_chain
from sim.chain.option_chain import COLUMNS, LARGEST_IV, OptionChain
from sim.chain.quote_time import read_as_of, read_date_line
from sim.errors import GammawallError, InputError
from sim.market.calendar import NEW_YORK

TABLE = quotedata_csv(listings=LISTINGS[:2])
QUOTES = delayed_quotes_json(listings=LISTINGS[:1])
BODY = TABLE.index(HEADER) + len(HEADER) + 1
OVERRIDES: dict[str, Any] = {"as_of": QUOTED, "spot": SPOT}

MARKS = st.sampled_from(list(",;\t\"'\n\r\0\ufeff \u00a0-.0123456789CP{}[]:é\u2028"))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.text(MARKS, max_size=8)
# cells that are right somewhere, and cells that are right nowhere
CELLS = st.one_of(
    TEXT,
    st.integers(-(10**20), 10**20).map(str),
    st.floats().map(str),
    st.sampled_from(
        [
            "",
            "0",
            "-1",
            "5",
            "5.1",
            "1e8",
            "1e9",
            "nan",
            "inf",
            '"1,234"',
            "0,5",
            "6300.00",
            "Fri Sep 05 2025",
        ]
    ),
    st.sampled_from(
        ["SPXW250905C06300000", "SPXW250905P06300000", "SPX250919C05000000", "SPXW259905C06300000"]
    ),
)
FUZZ = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def mutants(draw: st.DrawFn, text: str, first: int = 0) -> str:
    """The text after some cuts, splices, insertions, swaps of lines and other cells, from a place on."""
    head, tail = text[:first], text[first:]
    for _ in range(draw(st.integers(1, 4))):
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(tail))] * 2)))
        action = draw(st.sampled_from(["cut", "drop", "splice", "insert", "swap", "cell", "cell", "cell"]))
        if action == "cut":
            tail = tail[:end]
        elif action == "drop":
            tail = tail[:start] + tail[min(end, start + 40) :]
        elif action == "splice":
            tail = tail[:start] + tail[end : end + 60] + tail[start:]
        elif action == "insert":
            tail = tail[:start] + draw(TEXT) + tail[start:]
        else:
            lines = tail.split("\n")
            one, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
            if action == "swap":
                lines[one], lines[other] = lines[other], lines[one]
            else:
                cells = lines[one].split(",")
                cells[draw(st.integers(0, len(cells) - 1))] = draw(CELLS)
                lines[one] = ",".join(cells)
            tail = "\n".join(lines)
    return head + tail


def check_refusal(error: GammawallError) -> None:
    assert isinstance(error, InputError)
    assert len(str(error).splitlines()) == len(error.problems)
    assert all(str(problem).isprintable() and problem.why for problem in error.problems)


def check_chain(chain: OptionChain) -> None:
    options = chain.options
    assert tuple(options.columns) == COLUMNS
    assert chain.total == len(options) + sum(chain.refused.values())
    assert len(options) > 0
    assert all(count > 0 and reason.isprintable() for reason, count in chain.refused.items())
    assert chain.title.isprintable()
    assert np.isfinite(chain.spot)
    assert chain.spot > 0.0
    assert 1990 <= chain.quoted.year <= 2100
    assert options["line"].ge(1).all()
    assert options["line"].is_monotonic_increasing
    assert options["root"].str.fullmatch("[A-Z][A-Z0-9]{0,5}").all()
    assert options["type"].isin(["call", "put"]).all()
    assert options["expiry"].notna().all()
    assert options["strike"].between(0.001, 99_999.999).all()
    assert options["open_interest"].between(0.0, 1e8).all()
    assert (options["iv"].isna() | options["iv"].between(0.0, LARGEST_IV, inclusive="right")).all()
    for name in ("bid", "ask"):
        assert (options[name].isna() | options[name].ge(0.0)).all()
    assert not np.isinf(options[["bid", "ask", "gamma"]].to_numpy()).any()
    assert not options.duplicated(["root", "expiry", "type", "strike"]).any()


def read_or_refused(folder: Path, content: bytes, **overrides: Any) -> OptionChain | None:
    path = folder / "fuzz.csv"
    path.write_bytes(content)
    try:
        chain = read_chain(path, **overrides)
    except GammawallError as error:
        check_refusal(error)
        return None
    check_chain(chain)
    return chain


def test_the_samples_are_read(tmp_path: Path) -> None:
    # mutants of what is refused anyway would prove nothing
    assert read_or_refused(tmp_path, TABLE.encode()) is not None
    assert read_or_refused(tmp_path, QUOTES.encode()) is not None


STARTS = (b"", b"\xef\xbb\xbf", b"\xff\xfe", f"{HEADER}\n".encode(), b"{", b"[")


@given(st.binary(max_size=60), st.sampled_from(STARTS))
@FUZZ
def test_bytes(tmp_path: Path, content: bytes, start: bytes) -> None:
    assert read_or_refused(tmp_path, start + content, **OVERRIDES) is None


@given(mutants(TABLE), st.sampled_from(["utf-8", "utf-8", "utf-16", "cp1252"]), st.booleans())
@FUZZ
def test_tables(tmp_path: Path, text: str, encoding: str, known: bool) -> None:
    read_or_refused(tmp_path, text.encode(encoding, errors="replace"), **(OVERRIDES if known else {}))


@given(mutants(TABLE, BODY))
@FUZZ
@example(TABLE + '"' * 101)
@example(TABLE + "," * 5000)
@example(TABLE + "x" * 200_000 + '"",')
def test_rows(tmp_path: Path, text: str) -> None:
    """Every row that holds anything counts as two options."""
    text = text.replace("\0", "0")
    chain = read_or_refused(tmp_path, text.encode(), **OVERRIDES)
    if chain is not None:
        rows = text[BODY:].replace("\r\n", "\n").replace("\r", "\n").split("\n")
        assert chain.total == 2 * sum(bool(row.replace(",", " ").replace('"', " ").strip()) for row in rows)


@given(mutants(QUOTES), st.booleans())
@FUZZ
def test_delayed_quotes(tmp_path: Path, text: str, known: bool) -> None:
    read_or_refused(tmp_path, text.encode(), **(OVERRIDES if known else {}))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | CELLS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
@FUZZ
def test_delayed_quotes_with_other_values(tmp_path: Path, data: st.DataObject) -> None:
    content = json.loads(QUOTES)
    entries = len(content["data"]["options"])
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(content)[1:]))
        node = content
        for part in path[:-1]:
            node = node[part]
        if data.draw(st.booleans()) and isinstance(node, dict):
            del node[path[-1]]
        else:
            node[path[-1]] = data.draw(JSON_VALUES)
        if not isinstance(content.get("data"), dict) or not content["data"].get("options"):
            break
    text = json.dumps(content).replace("Infinity", "1e999")
    chain = read_or_refused(tmp_path, text.encode())
    if chain is not None:
        assert chain.total == len(content["data"]["options"]) <= max(entries, 3)


DATE_LINES = ("Date: 3 de setembro de 2025 às 16:18 GMT-4", "September 3, 2025 at 4:18 PM EDT")


@given(st.one_of(TEXT, *map(mutants, DATE_LINES)))
@FUZZ
@example("Date: 2025" + " a" * 40)
@example("Date: 99999999999 GMT+1")
@example("Date: 3 September 2025 at 16:18 GMT+")
@example("Date: 0000-00-00 00:00 UTC")
@example("Date: 31 December 9999 at 23:59 GMT-12")
@example("Date: 1 January 1 at 00:00 GMT+12")
def test_date_lines(text: str) -> None:
    try:
        read = read_date_line(text, "fuzz.csv, line 3")
    except GammawallError as error:
        check_refusal(error)
        return
    assert read.tzinfo is NEW_YORK
    assert dt.date(1990, 1, 1) <= read.date() <= dt.date(2100, 12, 31)
    # what is read stands in the text
    assert str(read.year) in text or str(read.year + 1) in text or str(read.year - 1) in text


@given(
    st.text(max_size=30) | st.text(string.digits + "-: TZ+.", max_size=30) | mutants("2025-09-03 16:18-04:00")
)
@FUZZ
@example("2025-09-03 16:18\n")
@example("0000-00-00")
@example("9999-12-31 23:59-14:00")
def test_as_of(text: str) -> None:
    try:
        read = read_as_of(text)
    except GammawallError as error:
        check_refusal(error)
        return
    assert read.tzinfo is NEW_YORK
    assert 1990 <= read.year <= 2100


@pytest.mark.parametrize("content", [TABLE, QUOTES])
def test_every_byte_changed(tmp_path: Path, content: str) -> None:
    """One byte after another set to a mark that matters."""
    raw = content.encode()
    for place in range(0, len(raw), max(len(raw) // 40, 1)):
        for mark in (b'"', b","):
            read_or_refused(tmp_path, raw[:place] + mark + raw[place + 1 :], **OVERRIDES)
