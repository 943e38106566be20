"""Limits of option positions, wherever they are stated: in a scenario, in a book file, by an option chain.

It imports nothing heavy: the command line reads the names of groups.
"""

from __future__ import annotations

import re
from typing import Final

# Index points. Squares and ratios of prices between these stay far from what float64 cannot hold.
SMALLEST_PRICE: Final = 1e-3
LARGEST_PRICE: Final = 1e7
SMALLEST_IV: Final = 0.01  # annual
LARGEST_IV: Final = 5.0
LARGEST_CONTRACTS: Final = 1e9  # on either side
LARGEST_CARRY: Final = 1.0  # annual, of either sign
# Lowest and highest number of each column of positions, and what a number beyond them is told.
RANGES: Final = {
    "strike": (SMALLEST_PRICE, LARGEST_PRICE, "a strike lies between 0.001 and 1e7"),
    "iv": (SMALLEST_IV, LARGEST_IV, "a volatility lies between 0.01 and 5"),
    "contracts": (-LARGEST_CONTRACTS, LARGEST_CONTRACTS, "contracts lie between -1e9 and 1e9"),
    "carry": (-LARGEST_CARRY, LARGEST_CARRY, "a carry lies between -1 and 1"),
}
MOST_GROUPS: Final = 64
# Name of a group or of a regime.
NAME_PATTERN: Final = r"[A-Za-z][A-Za-z0-9_-]*"
LONGEST_NAME: Final = 64


def is_group_name(text: str) -> bool:
    """Whether a text is the name of a group: a letter, then letters, digits, _ and -, 64 in all at most."""
    return len(text) <= LONGEST_NAME and re.fullmatch(NAME_PATTERN, text) is not None
