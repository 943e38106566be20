"""Philox4x32-10: random words as a pure function of their address.

    counter = (path low, path high, session · CALLS_PER_SESSION + call, purpose);   key = seed (low, high)

Source: Salmon, Moraes, Dror & Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.kernel_constants import PHILOX_KEY_STEPS, PHILOX_MULTIPLIERS, PHILOX_ROUNDS

WORD_MASK = 0xFFFFFFFF
LOW, HIGH = (0, 1) if sys.byteorder == "little" else (1, 0)
Word64Array = NDArray[np.uint64]
WordArray = NDArray[np.uint32]


def philox4x32(counter: Any, key: tuple[int, int], rounds: int = PHILOX_ROUNDS) -> WordArray:
    """Four random words for each counter, written as the paper states the rounds.

    Parameters
    ----------
    counter : (4, ...) integers below 2^32.
    key : two words.
    rounds : 10 for every use here; the known answers also cover 7.

    Returns
    -------
    words : (4, ...) uint32.
    """
    c0, c1, c2, c3 = (np.asarray(c, dtype=np.uint64) for c in counter)
    k0, k1 = key
    shift, mask = np.uint64(32), np.uint64(WORD_MASK)
    for _ in range(rounds):
        p0, p1 = c0 * np.uint64(PHILOX_MULTIPLIERS[0]), c2 * np.uint64(PHILOX_MULTIPLIERS[1])
        c0, c1, c2, c3 = (
            (p1 >> shift) ^ c1 ^ np.uint64(k0),
            p1 & mask,
            (p0 >> shift) ^ c3 ^ np.uint64(k1),
            p0 & mask,
        )
        k0, k1 = (k0 + PHILOX_KEY_STEPS[0]) & WORD_MASK, (k1 + PHILOX_KEY_STEPS[1]) & WORD_MASK
    return np.stack([c0, c1, c2, c3]).astype(np.uint32)


class PathWords:
    """Random words for many paths at one address (session, call, purpose), in preallocated buffers.

    The first rounds work on scalars where the counter is the same for every path; the words are those of
    `philox4x32`.

    Parameters
    ----------
    capacity : most paths a draw may cover.
    seed : 64 bits.
    """

    def __init__(self, capacity: int, seed: int):
        key = (seed & WORD_MASK, seed >> 32)
        self._keys = [
            [np.uint64((k + r * step) & WORD_MASK) for k, step in zip(key, PHILOX_KEY_STEPS, strict=True)]
            for r in range(PHILOX_ROUNDS)
        ]
        self._even = np.zeros(capacity, dtype=np.uint64)
        self._odd = np.zeros(capacity, dtype=np.uint64)
        self._products = [np.empty(capacity, dtype=np.uint64) for _ in range(4)]

    def draw(self, path_low: Word64Array, path_high: int, call: int, purpose: int, out: WordArray) -> None:
        """Fill `out` with the four words of each path.

        Parameters
        ----------
        path_low : (n,) uint64, low word of each path's number.
        path_high : high word, the same for all.
        call, purpose : third and fourth counter words.
        out : (4, n) uint32.
        """
        n = path_low.size
        even, odd = self._even[:n], self._odd[:n]
        p0, p1, old0, old1 = (p[:n] for p in self._products)
        m0, m1 = (np.uint64(m) for m in PHILOX_MULTIPLIERS)
        keys = self._keys
        even_low, odd_low = _half(even, LOW), _half(odd, LOW)
        p0_halves, p1_halves, old0_halves, old1_halves = (
            (_half(p, LOW), _half(p, HIGH)) for p in (p0, p1, old0, old1)
        )

        # Round 1: only the path's low word differs between paths.
        product = call * PHILOX_MULTIPLIERS[1]
        c0 = (product >> 32) ^ path_high ^ int(keys[0][0])
        c1 = product & WORD_MASK
        np.multiply(path_low, m0, out=old0)
        np.right_shift(old0, np.uint64(32), out=odd)
        np.bitwise_xor(odd, np.uint64(purpose ^ int(keys[0][1])), out=odd)

        # Round 2: the even half is still a scalar.
        product = c0 * PHILOX_MULTIPLIERS[0]
        np.multiply(odd, m1, out=old1)
        np.right_shift(old1, np.uint64(32), out=even)
        np.bitwise_xor(even, np.uint64(c1 ^ int(keys[1][0])), out=even)
        np.bitwise_xor(old0_halves[0], np.uint32((product >> 32) ^ int(keys[1][1])), out=odd_low)
        c3 = product & WORD_MASK

        # Round 3: the last scalar disappears.
        np.multiply(even, m0, out=p0)
        np.multiply(odd, m1, out=p1)
        np.bitwise_xor(p1_halves[1], old1_halves[0], out=even_low)
        np.bitwise_xor(even, keys[2][0], out=even)
        np.right_shift(p0, np.uint64(32), out=odd)
        np.bitwise_xor(odd, np.uint64(c3 ^ int(keys[2][1])), out=odd)

        for k0, k1 in keys[3:]:
            old0, old1, p0, p1 = p0, p1, old0, old1
            old0_halves, old1_halves, p0_halves, p1_halves = p0_halves, p1_halves, old0_halves, old1_halves
            np.multiply(even, m0, out=p0)
            np.multiply(odd, m1, out=p1)
            np.bitwise_xor(p1_halves[1], old1_halves[0], out=even_low)
            np.bitwise_xor(even, k0, out=even)
            np.bitwise_xor(p0_halves[1], old0_halves[0], out=odd_low)
            np.bitwise_xor(odd, k1, out=odd)
        np.copyto(out[0], even_low)
        np.copyto(out[1], p1_halves[0])
        np.copyto(out[2], odd_low)
        np.copyto(out[3], p0_halves[0])


def _half(words: Word64Array, which: int) -> WordArray:
    return words.view(np.uint32)[which::2]
