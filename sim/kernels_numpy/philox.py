"""Philox4x32-10: random words as a pure function of their address.

    counter = (path low, path high, session · CALLS_PER_SESSION + call, purpose);   key = seed (low, high)

Source: Salmon, Moraes, Dror & Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.compiled.kernel_constants import PHILOX_KEY_STEPS, PHILOX_MULTIPLIERS, PHILOX_ROUNDS

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
    capacity : most paths that a draw may cover.
    seed : 64 bits.
    """

    def __init__(self, capacity: int, seed: int):
        key = (seed & WORD_MASK, seed >> 32)
        self._keys = [
            [(k + r * step) & WORD_MASK for k, step in zip(key, PHILOX_KEY_STEPS, strict=True)]
            for r in range(PHILOX_ROUNDS)
        ]
        # The counter's even words swap rows from round to round, so that one operation serves both.
        self._key_rows = [np.array(k if r % 2 else k[::-1], "u8")[:, None] for r, k in enumerate(self._keys)]
        rows = np.array(PHILOX_MULTIPLIERS, dtype=np.uint64)[:, None]
        self._multiplier_rows = (rows, rows[::-1].copy())
        self._buffers = np.zeros((3, 2, capacity), dtype=np.uint64)

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
        even, products, before = (buffer[:, :n] for buffer in self._buffers)
        m0, m1 = PHILOX_MULTIPLIERS
        keys, shift = self._keys, np.uint64(32)

        # Round 1: only the path's low word differs between paths; c0 and c1 stay scalars, c3 is low(before[0]).
        product = call * m1
        c0, c1 = (product >> 32) ^ path_high ^ keys[0][0], product & WORD_MASK
        np.multiply(path_low, np.uint64(m0), out=before[0])
        np.right_shift(before[0], shift, out=even[1])
        np.bitwise_xor(even[1], np.uint64(purpose ^ keys[0][1]), out=even[1])

        # Round 2: c0 is still a scalar, and so is c3 after it.
        product = c0 * m0
        np.multiply(even[1], np.uint64(m1), out=before[1])
        np.right_shift(before[1], shift, out=even[0])
        np.bitwise_xor(even[0], np.uint64(c1 ^ keys[1][0]), out=even[0])
        np.bitwise_xor(
            _half(before[0], LOW), np.uint32((product >> 32) ^ keys[1][1]), out=_half(even[1], LOW)
        )
        # The product of the scalar c0, as round 3 expects it: its low word is c3.
        before[0] = product & WORD_MASK

        low, high = (tuple(_half(buffer, which) for buffer in (products, before)) for which in (LOW, HIGH))
        even_low = _half(even, LOW)
        now, last = (products, before), 0
        # Rounds 3 to 10: (c0, c2) ← (high(c2·m1) ^ c1 ^ k0, high(c0·m0) ^ c3 ^ k1), rows swapped each time.
        for r in range(2, PHILOX_ROUNDS):
            this = r % 2
            np.multiply(even, self._multiplier_rows[this], out=now[this])
            previous = low[1 - this] if r == 2 else low[1 - this][::-1]
            np.bitwise_xor(high[this], previous, out=even_low)
            np.bitwise_xor(even, self._key_rows[r], out=even)
            last = this
        out[0::2] = even_low
        out[1::2] = low[last]


def _half(words: Word64Array, which: int) -> WordArray:
    return words.view(np.uint32)[..., which::2]
