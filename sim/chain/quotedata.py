"""Cboe's quotedata table: CSV text, calls on the left and puts on the right of each row.

Above the header stand a line with the index's name and "Last:", and one with "Date:"; in front of these there
may be anything. Copies that a spreadsheet saved again differ in separators, quotation marks and decimals.
"""

from __future__ import annotations

import csv
import datetime as dt
import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from sim.chain.option_chain import CUT_SHORT, OPEN_QUOTE, SPOT_HINT, TOO_MANY_CELLS, ChainFormat, StatedChain
from sim.chain.quote_time import AS_OF_HINT, read_date_line
from sim.errors import InputError, Problem
from sim.files.number_cells import comma_is_decimal, number, numbers
from sim.problems import shown

_HEADER: Final = re.compile(
    r"(?:\A|[\r\n])[\ufeff \t\"']*expiration *date *[\"']?[ ]*(?P<mark>[,;\t]|(?=[\r\n])|\Z)", re.IGNORECASE
)
_LINE_END: Final = re.compile(r"\r\n|\n|\r")
_LAST: Final = re.compile(r"\bLast *: *(?P<number>[^A-Za-z;\t]*(?:(?<=\d)e[+-]?\d+)?)", re.IGNORECASE)
_DATE: Final = re.compile(
    r"^[\ufeff\s\"',;]*Date *:(?P<date>.*?)(?:[\",;\t]+\s*Bid *:.*|\"[\",;\t\s]*.*|[,;\t\s]*)$", re.IGNORECASE
)
_DAY: Final = re.compile(
    r"(?:[A-Za-z]{3,9},? +)?(?P<month>[A-Za-z]{3}) +(?P<day>\d{1,2}),? +(?P<year>\d{4})", re.ASCII
)
_ISO_DAY: Final = re.compile(r"(?P<date>\d{4}-\d{2}-\d{2})(?:[T ]00:00(?::00)?)?", re.ASCII)
_LONGEST_LINE: Final = 1000
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# columns of a row, and those that stand once for calls and once for puts, as letters only
_SHARED: Final = {"expirationdate": "Expiration Date", "calls": "Calls", "strike": "Strike", "puts": "Puts"}
_NEEDED: Final = {"iv": "IV", "openinterest": "Open Interest"}
_OPTIONAL: Final = ("bid", "ask", "gamma")


@dataclass(frozen=True)
class _Side:
    """Columns of the calls or of the puts, each by its index in the row.

    type : "call" or "put".
    symbol : index of the symbol.
    values : index of each number that stands once on either side; the optional ones may be absent.
    """

    type: str
    symbol: int
    values: dict[str, int]


@dataclass(frozen=True)
class _Columns:
    """Columns of the table, each by its index in the row; `width` is their number."""

    width: int
    expiry: int
    strike: int
    sides: tuple[_Side, ...]


def is_quotedata(text: str) -> bool:
    """Whether a line of the text is the header of a quotedata table."""
    return _HEADER.search(text) is not None


def read_quotedata(text: str, where: str, as_of: dt.datetime | None, spot: float | None) -> StatedChain:
    """Content of a quotedata table.

    text : text in which `is_quotedata` finds a header.
    where : name of the file in messages.
    as_of, spot : quote time and spot if they are known; they are then not looked for above the header.

    Limit: nothing tells that a table was cut inside the very last number of its last row.

    Errors: `InputError`.
    """
    lines = _LINE_END.split(text)
    first, found = next((i, match) for i, match in enumerate(map(_HEADER.match, lines)) if match)
    mark = found["mark"] or ","
    header = [cell.strip() for cell in _cells(lines[first].replace("\ufeff", ""), mark)]
    columns = _columns(header, f"{where}, line {first + 1}")
    stated = _stated(lines, first + 1, mark, columns, where)
    above = lines[:first]
    title, last = _last(above, where, mark)
    problems: list[Problem] = []
    quoted = as_of
    if quoted is None:
        try:
            quoted = _quoted(above, where)
        except InputError as error:
            problems += error.problems
    if spot is None:
        spot = last if isinstance(last, float) else None
        if isinstance(last, Problem):
            problems.append(last)
    if problems:
        raise InputError(problems)
    assert spot is not None
    assert quoted is not None
    return StatedChain(title, spot, quoted, stated)


def _cells(line: str, mark: str) -> list[str]:
    if '"' not in line:
        return line.split(mark)
    try:
        # one line at a time: a quotation mark left open must not swallow the lines after it
        return next(csv.reader([line], delimiter=mark), [])
    except csv.Error:
        return [line]


def _columns(header: list[str], where: str) -> _Columns:
    while header and not header[-1]:
        header.pop()
    # pandas numbers columns of the same name, "IV.1"
    names = [re.sub(r"[^a-z]", "", re.sub(r"\.\d+$", "", name.casefold())) for name in header]
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    missing = [title for name, title in _SHARED.items() if name not in places]
    twice = [title for name, title in _SHARED.items() if len(places.get(name, ())) > 1]
    half = places["puts"][0] if "puts" in places else len(names)
    sides = []
    for type_, symbol, side in (("call", "calls", range(half)), ("put", "puts", range(half, len(names)))):
        values = {}
        for name in (*_NEEDED, *_OPTIONAL):
            found = [place for place in places.get(name, ()) if place in side]
            if found:
                values[name] = found[0]
            elif name in _NEEDED and symbol in places:
                missing.append(f"{_NEEDED[name]} of {symbol}")
            if len(found) > 1:
                twice.append(f"{header[found[0]]} of {symbol}")
        sides.append(_Side(type_, places.get(symbol, [-1])[0], values))
    flaws = [f"missing columns: {', '.join(missing)}"] if missing else []
    flaws += [f"columns stated twice: {', '.join(shown(name)[1:-1] for name in twice)}"] if twice else []
    if flaws:
        hint = "Try the table as Cboe's page of quotes offers it for download."
        raise InputError([Problem(where, "", "", f"the header has {'; '.join(flaws)}", hint)])
    return _Columns(len(names), places["expirationdate"][0], places["strike"][0], tuple(sides))


def _stated(lines: list[str], first: int, mark: str, columns: _Columns, where: str) -> pd.DataFrame:
    """Options of the rows from line `first` on, calls and puts in turn, as `judged_options` takes them."""
    blank = re.compile(rf'[\s"{mark}]*')
    rows, places, flaws = [], [], []
    for place, line in enumerate(lines[first:], start=first + 1):
        if not line or blank.fullmatch(line):
            continue
        row = _cells(line, mark)
        if len(row) > columns.width and any(cell.strip() for cell in row[columns.width :]):
            flaw = TOO_MANY_CELLS
        else:
            flaw = OPEN_QUOTE if '"' in line and line.count('"') % 2 else ""
        rows.append(row)
        places.append(place)
        flaws.append(flaw)
    if not rows:
        why = "holds no option: nothing follows the header"
        raise InputError([Problem(where, "", "", why, "Try downloading the table anew.")])
    lengths = np.array([len(row) for row in rows])
    whole = lengths >= columns.width
    padding = [""] * columns.width
    rows = [row if complete else row + padding for row, complete in zip(rows, whole.tolist(), strict=True)]

    def column(index: int) -> list[str]:
        return [row[index].strip() for row in rows]

    texts = {
        side.type: {name: column(place) for name, place in side.values.items()} for side in columns.sides
    }
    strikes = column(columns.strike)
    written = [strikes, *(cells for side in texts.values() for cells in side.values())]
    has_comma = any("," in cell for cells in written for cell in cells)
    decimal_comma = has_comma and comma_is_decimal(cell for cells in written for cell in cells)
    shared = {
        "line": np.array(places, dtype=np.int64),
        "row_expiry": _days(column(columns.expiry)),
        "row_strike": numbers(strikes, decimal_comma),
    }
    sides = []
    for side in columns.sides:
        last = max(columns.strike, columns.expiry, side.symbol, *side.values.values())
        # the last cell of a row that is cut short may be cut itself
        cut = ~whole & (last >= lengths - 1)
        side_flaws = np.array(flaws, dtype=object)
        side_flaws[cut & (side_flaws == "")] = CUT_SHORT
        absent = np.full(len(rows), np.nan)
        values = {name: numbers(cells, decimal_comma) for name, cells in texts[side.type].items()}
        values |= {name: absent for name in _OPTIONAL if name not in values}
        values["open_interest"] = values.pop("openinterest")
        symbols = pd.Series(column(side.symbol), dtype=object)
        named = {"row_type": side.type, "flaw": side_flaws, "symbol": symbols}
        sides.append(pd.DataFrame({**shared, **named, **values}))
    return pd.concat(sides).sort_index(kind="stable").reset_index(drop=True)


def _days(cells: list[str]) -> npt.NDArray[np.datetime64]:
    """Days of expiry, datetime64[s] (n,), NaT where a cell states none."""
    known = {cell: _day(cell) for cell in set(cells)}
    days = np.array([known[cell] for cell in cells], dtype="datetime64[D]")
    return days.astype("datetime64[s]")


def _day(cell: str) -> dt.date | None:
    """Day of "Wed Sep 03 2025" or "2025-09-03", None for any other text."""
    try:
        if iso := _ISO_DAY.fullmatch(cell):
            return dt.date.fromisoformat(iso["date"])
        if found := _DAY.fullmatch(cell):
            month = _MONTHS.index(found["month"].lower()) + 1
            return dt.date(int(found["year"]), month, int(found["day"]))
    except ValueError:
        return None
    return None


def _last(above: list[str], where: str, mark: str) -> tuple[str, float | Problem]:
    """Name of the index, and its last price in index points or the problem with it."""
    for place, line in enumerate(above, start=1):
        found = _LAST.search(line)
        if found is None:
            continue
        cell = _cells(line.replace("\ufeff", ""), mark)[0].strip()
        title = "" if _LAST.search(cell) else cell
        title = title if title.isprintable() else shown(title)[1:-1]
        text = found["number"].strip(" ,\"'\u00a0")
        value = number(text, decimal_comma=comma_is_decimal([text]))
        if value > 0.0:
            return title, value
        why = "is no price above 0" if text else "states no price"
        return title, Problem(f"{where}, line {place}", "Last", shown(text) if text else "", why, SPOT_HINT)
    return "", Problem(where, "", "", 'no line above the header states the index\'s "Last:" price', SPOT_HINT)


def _quoted(above: list[str], where: str) -> dt.datetime:
    for place, line in enumerate(above, start=1):
        found = _DATE.match(line[:_LONGEST_LINE])
        if found:
            return read_date_line(found["date"].strip(' \t,;"'), f"{where}, line {place}")
    why = 'no line above the header states the "Date:" of the quotes'
    raise InputError([Problem(where, "", "", why, AS_OF_HINT)])


QUOTEDATA: Final = ChainFormat(
    "Cboe's quotedata CSV",
    'has no header line that begins with "Expiration Date"',
    is_quotedata,
    read_quotedata,
)
