"""Option positions as columns: the rows of a book file, of a book made from a chain, of what dealers hedge.

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

from sim.problems import short_repr

COLUMNS: Final = ("strike", "expiry", "type", "settlement", "iv", "contracts", "group")
OPTIONAL: Final = ("carry",)


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
        for array in self._arrays:
            array.flags.writeable = False

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
        """Book of the positions that expire later than a day."""
        later = self.expiry > np.datetime64(day, "D")
        return self if later.all() else self.taken(np.flatnonzero(later))

    def taken(self, index: NDArray[np.intp]) -> BookRows:
        """Book of the positions at `index`, (k,) row numbers, in that order."""
        return BookRows(self.file, self.groups, *(array[index] for array in self._arrays))

    def regrouped(self, groups: tuple[str, ...]) -> BookRows:
        """Book with the same positions and its groups renumbered as in `groups`, which has every name."""
        number = np.array([groups.index(name) for name in self.groups], dtype=np.int32)
        return BookRows(self.file, groups, number[self.group], *self._arrays[1:])

    def joined(self, other: BookRows) -> BookRows:
        """Book of these positions and then those of another book with the same groups."""
        assert self.groups == other.groups
        both = zip(self._arrays, other._arrays, strict=True)
        return BookRows(self.file, self.groups, *(np.concatenate(pair) for pair in both))
