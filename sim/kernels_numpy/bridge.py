"""Whether a path touched a barrier between the two ends of a step.

    P(touch | y0, y1) = exp(−2·d0·d1 / v),   decided by   v·E/2 > d0·d1,   E = −ln U

d0, d1 are the distances to the barrier at the two ends, v the variance of the step. One U per side serves every
level on it, so that touching a farther level implies touching the nearer one. U below is 1 − U above.

Source: Brownian-bridge extremum law, Andersen & Brotherton-Ratcliffe (1996); Glasserman (2003) section 6.4.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.compiled.kernel_constants import BRIDGE_KNOWN_BITS, UNIFORM_BITS
from sim.kernels_numpy.normal import Float32Array, minus_two_log
from sim.kernels_numpy.philox import WordArray
from sim.market.elementary import log

SpareArray = NDArray[np.uint16]
QUARTER = np.float32(0.25)
KNOWN_MASK = np.uint16((1 << BRIDGE_KNOWN_BITS) - 1)
DRAWN_BITS = UNIFORM_BITS - BRIDGE_KNOWN_BITS
# A bridge touches when v·E/2 exceeds the product of the distances, E = −ln U. The smallest U gives E/2 = 10.744;
# beyond this bound no word need be drawn. Known bits, a number above zero, lower it to −ln(number/64)/2.
BRIDGE_BOUND = 11.0
# Room for the rounding of E/2 and of the products it is compared with.
BOUND_MARGIN = 1e-5


def known_bits(spare: SpareArray, step: int) -> SpareArray:
    """Number below 64 that each path knows of a step before anything is drawn for its bridge.

    Parameters
    ----------
    spare : (n,) uint16 low bits of the angle word of the step's pair.
    step : counted within the session; an even step has the lowest bits, an odd one those above them.
    """
    return (spare >> np.uint16(BRIDGE_KNOWN_BITS * (step % 2))) & KNOWN_MASK


def bridge_word(known: SpareArray, drawn: WordArray) -> WordArray:
    """Word of U above, (n,) uint32; its complement is the word of U below, 1 − U.

    Each side's law is exact on its own, and the bits known beforehand serve both.

    Parameters
    ----------
    known : (n,) uint16, see `known_bits`: the top bits of those that count.
    drawn : (n,) uint32, a word drawn for the bridge: the other bits.
    """
    words = np.left_shift(known, np.uint32(DRAWN_BITS), dtype=np.uint32)
    np.bitwise_or(words, drawn >> np.uint32(32 - DRAWN_BITS), out=words)
    return words


def half_exponential(words: WordArray) -> Float32Array:
    """E/2 of each word, (n,) float32."""
    out = np.empty(words.size, dtype=np.float32)
    minus_two_log(words, out, np.empty((2, words.size), dtype=np.float32))
    np.multiply(out, QUARTER, out=out)
    return out


def largest_bounds() -> Float32Array:
    """Upper bounds of E/2 for each known number, above and below, (2, 64): beyond them nothing need be drawn."""
    number = np.arange(1, KNOWN_MASK + 1)
    bounds = -0.5 * log(number / (KNOWN_MASK + 1.0)) * (1 + BOUND_MARGIN) + BOUND_MARGIN
    above = np.concatenate(([BRIDGE_BOUND], bounds))
    found = np.stack((above, above[::-1])).astype(np.float32)
    found.flags.writeable = False
    return found


def touched(start: Float32Array, end: Float32Array, bound: Float32Array | None) -> NDArray[np.bool_]:
    """Whether the barrier was touched.

    Parameters
    ----------
    start, end : (n,) distances to the barrier, positive on the near side, log units.
    bound : (n,) v·E/2; None in a gap, which jumps over levels, so that only its end counts.
    """
    beyond: NDArray[np.bool_] = end <= 0
    if bound is not None:
        beyond |= start <= 0
        beyond |= start * end < bound
    return beyond
