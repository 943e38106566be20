"""Whether a path touched a barrier between the two ends of a step.

    P(touch | y0, y1) = exp(−2·d0·d1 / v),   decided by   v·E/2 > d0·d1,   E = −ln U

d0, d1 are the distances to the barrier at the two ends, v the variance of the step. One U a side serves every
level on it, so that touching a farther level implies touching the nearer one.

Source: Brownian-bridge extremum law, Andersen & Brotherton-Ratcliffe (1996); Glasserman (2003) section 6.4.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.kernels_numpy.normal import Float32Array, minus_two_log
from sim.kernels_numpy.philox import WordArray

QUARTER = np.float32(0.25)


def known_bits(step: int, side: int) -> tuple[int, int]:
    """Mask and shift of the two bits of U that a step's angle byte holds for a side (0 above, 1 below).

    `step` counts within the session; the two steps of a pair of normals share the byte.
    """
    shift = 4 * (step % 2) + 2 * side
    return 0b11 << shift, shift


def bridge_words(spare: NDArray[np.uint8], step: int, side: int, words: WordArray) -> WordArray:
    """Words of U: the two known bits on top, 30 drawn ones below.

    Parameters
    ----------
    spare : (n,) uint8 low byte of the angle word of the step's pair.
    step, side : see `known_bits`.
    words : (n,) uint32 drawn for the bridge.
    """
    mask, shift = known_bits(step, side)
    top = (spare & np.uint8(mask)) >> np.uint8(shift)
    return (top.astype(np.uint32) << np.uint32(30)) | (words >> np.uint32(2))


def half_exponential(words: WordArray) -> Float32Array:
    """E/2 of each word, (n,) float32."""
    out = np.empty(words.size, dtype=np.float32)
    minus_two_log(words, out, np.empty((2, words.size), dtype=np.float32))
    np.multiply(out, QUARTER, out=out)
    return out


def touched(start: Float32Array, end: Float32Array, reach: Float32Array | None) -> NDArray[np.bool_]:
    """Whether the barrier was touched.

    Parameters
    ----------
    start, end : (n,) distances to the barrier, positive on the near side, log units.
    reach : (n,) v·E/2; None in a gap, which jumps over levels, so that only its end counts.
    """
    beyond: NDArray[np.bool_] = end <= 0
    if reach is not None:
        beyond |= start <= 0
        beyond |= start * end < reach
    return beyond
