"""Numbers that every engine's kernels share, defined here alone: compiled kernels receive them as definitions.

The polynomials are minimax fits (relative error; absolute for the cosine) and are evaluated by Horner's rule
in float32, one multiply and one add per coefficient, never fused.
"""

from __future__ import annotations

from enum import IntEnum

PHILOX_ROUNDS = 10
PHILOX_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
PHILOX_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)

# Last word of the counter: what a random word is for.
PURPOSE_MOVES = 0
PURPOSE_BRIDGE = 1
# Third word of the counter: session · CALLS_PER_SESSION + call within the session.
CALLS_PER_SESSION = 1 << 12
# Words of a session that come before those of its normals: the variance's and the gap outcome's.
OPENING_WORDS = 2

# A uniform is an odd multiple of 2^-31, between 0 and 1 and symmetric about ½: the top bit of its word is ignored
# and the lowest one set. The farthest normal is sqrt(62·ln 2) = 6.55 standard deviations out.
UNIFORM_BITS = 31

# −2·ln(1 + t) = t·P(t) for t in [√½ − 1, √2 − 1]; relative error 1.3e-06.
LOG_POLYNOMIAL = (
    -2.000002145767212,
    1.0000168085098267,
    -0.6662647128105164,
    0.4984387457370758,
    -0.4106407165527344,
    0.3712017834186554,
    -0.2323087751865387,
)
# Bit pattern of √½ as float32: the mantissa is reduced to [√½, √2).
SQRT_HALF_BITS = 0x3F3504F3
MINUS_TWO_LN_TWO = -1.3862943649291992

# sin(π/2·t) = t·P(t²) for t in [−1, 1]; relative error 9.6e-07.
SINE_POLYNOMIAL = (
    1.5707948207855225,
    -0.6459206938743591,
    0.07948704808950424,
    -0.004362107254564762,
)
# cos(π/2·t) = P(t²) for t in [−1, 1]; absolute error 8.3e-8.
COSINE_POLYNOMIAL = (
    0.9999999403953552,
    -1.2336982488632202,
    0.2536507546901703,
    -0.020810628309845924,
    0.0008581906440667808,
)

# Equally likely values of the session variance V, indexed by the top bits of a word.
VARIANCE_ATOMS_BITS = 12

# Low bits of an angle word that the angle leaves to the bridges of the pair's two steps: the even step's number
# lies in the lowest BRIDGE_KNOWN_BITS, the odd step's above it. The angle keeps the bits between these and the
# top one, which signs the cosine.
ANGLE_SPARE_BITS = 12
# Bits of a step's number. They are the top bits of the uniform above and, all turned, those of the uniform below.
BRIDGE_KNOWN_BITS = 6
# Unit of the kernels' bounds of E/2: ½·ln 2 for a step of one in the bits of a float, 2^23 of them an octave.
BRIDGE_UNIT = 0.34657359027997264 * 2.0**-23

# The barrier that stands for "no further level on this side".
NO_LEVEL = float("inf")

# Sides of the start, both worlds, and a path's first target.
UP, DOWN = 0, 1
WITH, WITHOUT = 0, 1
NEITHER, UPPER, LOWER = 0, 1, 2
# A world and a side, 2·world + side: with dealers above and below, then the control path above and below.
WORLD_SIDES = 4

# A path's record, 16 bits: from the lowest on its first target, levels touched above, levels touched below, all with
# dealers. A rank may be any number of levels that there can be on a side.
RECORD_FIRST_BITS = 2
RECORD_RANK_BITS = 7

# Tables wanted of an instant of the clearing map, Φ⁻¹ and Φ; both are their sum.
INVERSE, FORWARD = 1, 2


class TriggerCode(IntEnum):
    """Codes of the triggers: how a regime is entered."""

    NEVER = 0
    CLOSES_ABOVE = 1
    CLOSES_BELOW = 2
    TOUCHES_ABOVE = 3
    TOUCHES_BELOW = 4


NEVER, CLOSES_ABOVE, CLOSES_BELOW, TOUCHES_ABOVE, TOUCHES_BELOW = TriggerCode
