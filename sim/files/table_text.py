"""CSV text of tables, fast enough for thousands of cases: each distinct cell is formatted once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sim.files.terminal_text import printable_line

if TYPE_CHECKING:
    import pandas as pd

# Fills cells up to their column's width, and is removed afterwards: a byte that UTF-8 has no use for.
FILLER = b"\xff"
# Rows are put together in blocks of about so many bytes.
BLOCK_BYTES = 1 << 20
# Text that begins so is worked out by spreadsheets as a formula, which may start programs: names and labels come from
# anybody's file.
FORMULA_STARTS = frozenset("=+-@")
# A number, a percentage, several numbers, or a dash alone is no formula.
_NUMBER = r"[+-]?(\d[\d_,.]*|\.\d+)(e[+-]?\d+)?%?|[+-]?(inf|nan)"
_PLAIN = re.compile(rf"-|({_NUMBER})( ({_NUMBER}))*", re.IGNORECASE)
# So many cells are formatted faster than compared.
FEW = 256

_Codes = NDArray[np.intp]
_Cells = NDArray[np.uint8]  # (different cells, width), filled up


def table_csv(table: pd.DataFrame | Mapping[str, Any], *, heading: bool = True) -> bytes:
    """CSV of a table in UTF-8: ten significant digits, dates in ISO form, empty cells for NaN, lines ending in LF.

    Control characters, and what UTF-8 cannot encode, are escaped. Text that a spreadsheet would take for a formula
    begins with an apostrophe, by which the spreadsheet knows it as text.

    Parameters
    ----------
    table : its columns by name: arrays of one length, and values that all rows share.
    heading : whether the names of the columns come first.
    """
    names = [_quoted(str(name)) for name in table]
    lengths = {len(values) for _, values in table.items() if np.ndim(values)}
    assert len(lengths) <= 1, f"columns of {sorted(lengths)} rows"
    length = max(lengths, default=0)
    columns = [_column(values, length) for _, values in table.items()]
    if len(names) == 1:  # an empty cell alone would be no line at all
        names = [names[0] or '""']
        columns = [(codes, _padded([text or b'""' for text in _cells(filled)])) for codes, filled in columns]
    text = [_bytes(",".join(names)), b"\n"] if heading else []
    ends = [*b"," * (len(names) - 1), *b"\n"]
    width = sum(cells.shape[1] + 1 for _, cells in columns)
    rows = max(1, BLOCK_BYTES // max(width, 1))
    for first in range(0, length, rows):
        block = np.empty((min(rows, length - first), width), dtype=np.uint8)
        place = 0
        for (codes, cells), end in zip(columns, ends, strict=True):
            after = place + cells.shape[1]
            block[:, place:after] = cells[codes[first : first + rows]]
            block[:, after] = end
            place = after + 1
        text.append(block.tobytes().translate(None, FILLER))
    return b"".join(text)


def _column(values: Any, length: int) -> tuple[_Codes, _Cells]:
    """Index of each row's cell, (rows,), −1 for the last, and the distinct cells of a column."""
    import pandas as pd

    if np.ndim(values) == 0:
        return np.zeros(length, dtype=np.intp), _object_column([values])[1]
    if isinstance(values.dtype, pd.StringDtype) or (
        values.dtype == object and pd.api.types.infer_dtype(values, skipna=False) == "string"
    ):
        codes, different = pd.factorize(values)
        return codes, _padded([*map(_text, different), b""])  # what is missing is coded -1
    array = np.asarray(values)
    if array.dtype.kind == "f":
        # by their bits, since -0 is written otherwise than 0
        codes, bits = _different(array.astype(np.float64).view(np.int64))
        return codes, _number_cells(bits.view(np.float64), "%-17.10g", 17)
    if array.dtype.kind in "iu":
        codes, whole = _different(array)
        return codes, _number_cells(whole, "%-20d", 20)
    if array.dtype.kind == "M":
        codes, days = _different(array.astype("datetime64[D]").view(np.int64))
        return codes, _padded([b"" if np.isnat(day) else _text(day) for day in days.view("datetime64[D]")])
    return _object_column(array.tolist())


def _different(values: NDArray[Any]) -> tuple[_Codes, NDArray[Any]]:
    """Index of each row's value, (rows,), and the distinct values; of few rows, all values as they are."""
    import pandas as pd

    if values.size <= FEW:
        return np.arange(values.size), values
    codes, different = pd.factorize(values)
    return codes, different


def _number_cells(numbers: NDArray[Any], form: str, width: int) -> _Cells:
    """Cells of numbers, (n, width), formatted and filled up; empty for NaN."""
    text = (form * numbers.size) % tuple(numbers.tolist())
    cells = np.frombuffer(text.encode("ascii"), dtype=np.uint8).reshape(-1, width)
    return np.where((cells == ord(" ")) | np.isnan(numbers)[:, np.newaxis], np.uint8(FILLER[0]), cells)


def _object_column(values: list[Any]) -> tuple[_Codes, _Cells]:
    """Index of each row's cell, (rows,), and the distinct cells, for values of any kind."""
    known: dict[str, int] = {}
    codes = np.empty(len(values), dtype=np.intp)
    for row, value in enumerate(values):
        codes[row] = known.setdefault("" if value is None or value != value else str(value), len(known))
    return codes, _padded(list(map(_text, known)))


def _padded(texts: list[bytes]) -> _Cells:
    width = max(map(len, texts), default=0)
    filled = b"".join(text.ljust(width, FILLER) for text in texts)
    return np.frombuffer(filled, dtype=np.uint8).reshape(len(texts), width)


def _cells(padded: _Cells) -> list[bytes]:
    """Texts without their padding."""
    return [row.tobytes().translate(None, FILLER) for row in padded]


def _text(value: object) -> bytes:
    return _bytes(_quoted(str(value)))


def _quoted(text: str) -> str:
    """Text of a cell, in quotes where it could be taken for several cells; a formula gets an apostrophe."""
    if not text.isprintable():
        text = printable_line(text)
    if text[:1] in FORMULA_STARTS and not _PLAIN.fullmatch(text):
        text = "'" + text
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"') else text


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="backslashreplace")
