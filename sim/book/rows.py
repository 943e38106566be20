"""Option positions as columns, read from a book file or made of an option chain, and hedged by dealers.

A book file is CSV or Parquet with one row per position and the columns

    strike, expiry, type, settlement, iv, contracts, group      and, if wanted, carry (0 where there is none)

each as the key of the same name of `[[dealers.position]]`; contracts are signed from the dealers' side.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sim.book.limits import RANGES, is_group_name
from sim.errors import InputError
from sim.files.plain_values import is_unicode
from sim.problems import check_type, short_repr, type_problem

COLUMNS: Final = ("strike", "expiry", "type", "settlement", "iv", "contracts", "group")
OPTIONAL: Final = ("carry",)
_FLOATS: Final = (np.dtype(np.float64), "floats")
_FLAGS: Final = (np.dtype(np.bool_), "true and false")
# Columns in memory, in their order, each with its NumPy type and what that holds.
_KINDS: Final = {
    "group": (np.dtype(np.int32), "whole numbers"),
    "is_call": _FLAGS,
    "strike": _FLOATS,
    "expiry": (np.dtype("datetime64[D]"), "dates"),
    "at_open": _FLAGS,
    "iv": _FLOATS,
    "contracts": _FLOATS,
    "carry": _FLOATS,
}


def _constant(array: NDArray[Any], kind: np.dtype[Any]) -> NDArray[Any]:
    """Copy of an array that cannot be changed, in a type if it has another of that kind and no value is lost."""
    copy = np.array(array)
    # Of dates the finer units can be days; a week, a month and a year are none.
    is_kin = copy.dtype != kind and copy.dtype.kind == kind.kind
    if is_kin and (kind.kind != "M" or np.can_cast(kind, copy.dtype, "safe")):
        with np.errstate(all="ignore"):
            cast = copy.astype(kind)
            same = cast == copy
        if (same | (copy != copy)).all():
            copy = cast
    copy.flags.writeable = False
    return copy


@dataclass(frozen=True, eq=False)
class BookRows:
    """Option positions, one number per position in each column; equal if all positions are, in the same order.

    Attributes
    ----------
    file : the file as the scenario names it; "" for positions that come from no file.
    groups : names; books that are read and made here have them in alphabetical order.
    group : (n,) int32 index into them.
    is_call : (n,) bool.
    strike : (n,) index points.
    expiry : (n,) datetime64[D].
    at_open : (n,) bool, settled at 09:30 New York rather than at the close.
    iv : (n,) annual Black–Scholes volatility.
    contracts : (n,) of 100 index units, signed from the dealers' side.
    carry : (n,) annual carry of the forward.
    """

    file: str
    groups: tuple[str, ...]
    group: NDArray[np.int32]
    is_call: NDArray[np.bool_]
    strike: NDArray[np.float64]
    expiry: NDArray[np.datetime64]
    at_open: NDArray[np.bool_]
    iv: NDArray[np.float64]
    contracts: NDArray[np.float64]
    carry: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuse columns that are no arrays, and keep constant copies of the arrays in the types stated above."""
        for (name, (kind, _)), array in zip(_KINDS.items(), self._arrays, strict=True):
            hint = f"Try {name}=numpy.asarray(...)."
            check_type(name, array, np.ndarray, "a NumPy array", hint)
            if isinstance(array, np.ma.MaskedArray):
                raise InputError([type_problem(name, array, "a NumPy array without a mask", hint)])
            object.__setattr__(self, name, _constant(array, kind))

    def __len__(self) -> int:
        return self.strike.size

    def __repr__(self) -> str:
        return short_repr(
            self, f"{len(self):,} positions in {', '.join(self.groups)}; {self.file or 'no file'}"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BookRows) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __deepcopy__(self, _memo: Any) -> BookRows:
        return self  # nothing in it can change

    @property
    def _arrays(self) -> tuple[NDArray[Any], ...]:
        return (
            self.group,
            self.is_call,
            self.strike,
            self.expiry,
            self.at_open,
            self.iv,
            self.contracts,
            self.carry,
        )

    @cached_property
    def flaw(self) -> str:
        """Reason why these are no positions, "" if they are; rows that are read or made here always are."""
        if not isinstance(self.file, str) or not is_unicode(self.file):
            return "the name of its file is no Unicode text"
        names = self.groups
        if not isinstance(names, tuple) or not all(isinstance(n, str) and is_group_name(n) for n in names):
            return "its groups are no tuple of names, each a letter, then letters, digits, _ and -"
        if len(set(names)) < len(names):
            return "two of its groups have one name"
        for (name, (kind, held)), array in zip(_KINDS.items(), self._arrays, strict=True):
            if array.shape != (len(self),) or array.dtype != kind:
                return f"its column {name} is no array of {len(self):,} {held}"
        if len(self) and not (self.group.min() >= 0 and self.group.max() < len(names)):
            return "its column group numbers a group that it has no name for"
        if np.isnat(self.expiry).any():
            return "its column expiry has a row without a date"
        for name, (low, high, why) in RANGES.items():
            numbers = getattr(self, name)
            if not ((numbers >= low) & (numbers <= high)).all():
                return f"its column {name} has another number: {why}"
        return ""

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the positions, whatever the file's name and format and the order of the groups' names."""
        names = sorted(self.groups)
        number = np.array([names.index(name) for name in self.groups], dtype=np.int32)[self.group]
        found = hashlib.sha256(repr(tuple(names)).encode())
        kinds = ("<i4", "?", "<f8", "<M8[D]", "?", "<f8", "<f8", "<f8")
        for array, kind in zip((number, *self._arrays[1:]), kinds, strict=True):
            found.update(np.ascontiguousarray(array + 0.0 if kind == "<f8" else array, dtype=kind).tobytes())
        return found.hexdigest()

    def after(self, day: dt.date) -> BookRows:
        """Book of the positions that expire after a day."""
        later = self.expiry > np.datetime64(day, "D")
        return self if later.all() else self.taken(np.flatnonzero(later))

    def taken(self, index: NDArray[np.intp]) -> BookRows:
        """Book of the rows at `index`, (m,) int, in that order."""
        return BookRows(self.file, self.groups, *(array[index] for array in self._arrays))

    def regrouped(self, groups: tuple[str, ...]) -> BookRows:
        """Book with its groups renumbered as in `groups`, which has every name."""
        number = np.array([groups.index(name) for name in self.groups], dtype=np.int32)
        return BookRows(self.file, groups, number[self.group], *self._arrays[1:])

    def joined(self, other: BookRows) -> BookRows:
        """Book of these positions followed by those of another book with the same groups."""
        assert self.groups == other.groups
        both = zip(self._arrays, other._arrays, strict=True)
        return BookRows(self.file, self.groups, *(np.concatenate(pair) for pair in both))
