"""Cache of what several cases of a batch need alike: maps' tables and Student-t atoms.

It changes how long a case takes to prepare and never the result: a value depends on its key alone.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from threading import Lock
from typing import Any, TypeVar

import numpy as np

MOST_BYTES = 256 << 20
# A key and the entry that holds it.
ENTRY_BYTES = 1 << 10

_Value = TypeVar("_Value")


def array_parts(values: Iterable[object]) -> dict[int, int]:
    """Memory of the arrays among some values, bytes by `id`."""
    return {id(value): value.nbytes for value in values if isinstance(value, np.ndarray)}


class SharedWork:
    """Cache of values by key within a limit of memory, least recently used out first; safe to share between threads.

    Parameters
    ----------
    most_bytes : memory that the values may take together; an array that several of them hold counts once.
    """

    def __init__(self, most_bytes: int = MOST_BYTES):
        self.most_bytes = most_bytes
        self.bytes = 0
        self._kept: OrderedDict[Hashable, tuple[Any, Mapping[int, int]]] = OrderedDict()
        self._holders: Counter[int] = Counter()
        self._lock = Lock()

    def get(
        self, key: Hashable, build: Callable[[], _Value], parts: Callable[[_Value], Mapping[int, int]]
    ) -> _Value:
        """Value of a key, built unless it is in the cache.

        Parameters
        ----------
        key : everything that the value depends on.
        build : called without the lock, so that threads may build the same value side by side; what it raises is
            raised here, and nothing is kept.
        parts : memory of a value, bytes by `id` of each part that it holds; whoever is given it must not change it.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                value: _Value = self._kept[key][0]
                return value
        built = build()
        return self._keep(key, built, parts(built))

    def _keep(self, key: Hashable, value: _Value, parts: Mapping[int, int]) -> _Value:
        """Keep a value and return it, or the one that another thread has kept under the key meanwhile."""
        with self._lock:
            if key in self._kept:
                first: _Value = self._kept[key][0]
                return first
            if ENTRY_BYTES + sum(parts.values()) > self.most_bytes:
                return value
            self._kept[key] = value, parts
            self.bytes += ENTRY_BYTES + sum(size for part, size in parts.items() if not self._holders[part])
            self._holders.update(parts.keys())
            while self.bytes > self.most_bytes:
                self._drop_oldest()
            return value

    def _drop_oldest(self) -> None:
        _, (_, parts) = self._kept.popitem(last=False)
        self._holders.subtract(parts.keys())
        gone = [part for part in parts if not self._holders[part]]
        self.bytes -= ENTRY_BYTES + sum(parts[part] for part in gone)
        for part in gone:
            del self._holders[part]
