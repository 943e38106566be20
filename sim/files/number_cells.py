"""Numbers from the cells of a table, with thousands separators and decimal commas as spreadsheets write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Float64s = npt.NDArray[np.float64]

_BLANKS: Final = re.compile(r"[\s']")
_PLAIN: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_DOT_DECIMALS: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)", re.ASCII)
_COMMA_DECIMALS: Final = re.compile(r"[+-]?(?:\d+|[1-9]\d{0,2}(?:\.\d{3})+)?,\d*", re.ASCII)
_COMMA_GROUPS: Final = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?", re.ASCII)
_DOT_GROUPS: Final = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+", re.ASCII)


def comma_is_decimal(cells: Iterable[str]) -> bool:
    """Whether cells have decimal commas: more of them can be read only with one than only without."""
    commas = dots = 0
    for cell in cells:
        if "," in cell:
            commas += bool(_COMMA_DECIMALS.fullmatch(cell)) and not _COMMA_GROUPS.fullmatch(cell)
        elif "." in cell:
            dots += bool(_DOT_DECIMALS.fullmatch(cell)) and not _DOT_GROUPS.fullmatch(cell)
    return commas > dots


def number(cell: str, decimal_comma: bool) -> float:
    """Number of a cell, NaN if it has none: "6448.28", "6,448.28", or "6.448,28" with a decimal comma."""
    if not cell:
        return np.nan
    text = _BLANKS.sub("", cell)
    if decimal_comma:
        if "." in text and not (_DOT_GROUPS.fullmatch(text) or _COMMA_DECIMALS.fullmatch(text)):
            return np.nan
        text = text.replace(".", "").replace(",", ".", 1)
    elif _COMMA_GROUPS.fullmatch(text):
        text = text.replace(",", "")
    value = float(text) if _PLAIN.fullmatch(text) else np.nan
    return value if np.isfinite(value) else np.nan


def numbers(cells: Sequence[str], decimal_comma: bool) -> Float64s:
    """Numbers of cells, float64 (n,), each as of `number`."""
    known = {cell: number(cell, decimal_comma) for cell in set(cells)}
    return np.array([known[cell] for cell in cells], dtype=np.float64)


def plain_numbers(cells: Sequence[str]) -> Float64s:
    """Numbers of cells as programs write them, 6448.28 or 1e-3, float64 (n,); NaN for any other text.

    Each is the float64 nearest to the text, which not every release of pandas finds.
    """
    known = {cell: float(cell) if _PLAIN.fullmatch(cell) else np.nan for cell in set(cells)}
    values = np.array([known[cell] for cell in cells], dtype=np.float64)
    values[~np.isfinite(values)] = np.nan
    return values
