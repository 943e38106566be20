"""Work that cases of one study have in common: whatever one case has built, another with the same key is given.

What is kept changes how long a case takes to prepare, never what it is: a value depends on its key alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeVar

MOST_BYTES = 256 << 20
# A key and the entry that holds it.
ENTRY_BYTES = 1 << 10

_Value = TypeVar("_Value")


class SharedWork:
    """Values by key within a limit of memory, the least recently used out first; safe to use from several threads.

    Parameters
    ----------
    most_bytes : memory that the values kept may take together.
    """

    def __init__(self, most_bytes: int = MOST_BYTES):
        self.most_bytes = most_bytes
        self.bytes = 0
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, build: Callable[[], _Value], size: Callable[[_Value], int]) -> _Value:
        """Value of a key, built if it is not there.

        Parameters
        ----------
        key : everything that the value depends on.
        build : called without the lock, so that threads may build the same value side by side; what it raises is
            raised here, and nothing is kept.
        size : bytes of a value, which must not be changed by whoever is given it.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                value: _Value = self._kept[key][0]
                return value
        value = build()
        self._keep(key, value, ENTRY_BYTES + size(value))
        return value

    def _keep(self, key: Hashable, value: object, size: int) -> None:
        with self._lock:
            if key in self._kept or size > self.most_bytes:
                return
            self._kept[key] = (value, size)
            self.bytes += size
            while self.bytes > self.most_bytes:
                _, (_, freed) = self._kept.popitem(last=False)
                self.bytes -= freed
