"""Signs of life of the workers of a cluster, as its scheduler has seen them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any


class Heartbeats:
    """When each worker was last heard of, by this machine's clock: that of the scheduler may differ.

    silent_s : seconds without a sign of life after which a worker counts as silent.
    """

    def __init__(self, silent_s: float):
        self.silent_s = silent_s
        self._seen: dict[str, tuple[object, float]] = {}

    def silent(self, workers: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Addresses of the workers that have been silent for too long.

        workers : what the scheduler says of each worker now, by address.
        """
        now = time.monotonic()
        for address, state in workers.items():
            beat = state.get("last_seen")
            if address not in self._seen or self._seen[address][0] != beat:
                self._seen[address] = beat, now
        self._seen = {address: seen for address, seen in self._seen.items() if address in workers}
        return [address for address, (_, since) in self._seen.items() if now - since > self.silent_s]
