"""Paths without dealers, one after another, compiled by Numba: the kernel of `peers.NumbaPaths`.

    random words   SplitMix64 by address: a path's words are the same whatever the threads
    normals        ziggurat of 256 layers
    bridges        one uniform a side and step, drawn only near the next level

Float64 throughout; no fast-math option is set. Arrays are read through local names in the loops, because Numba
counts references whenever it takes an array out of a tuple.

Source: Steele, Lea & Flood (2014), "Fast splittable pseudorandom number generators"; Marsaglia & Tsang (2000) and
Doornik (2005), "An improved ziggurat method to generate normal random samples".
"""

from __future__ import annotations

import numba
import numpy as np

from sim.compiled.kernel_constants import VARIANCE_ATOMS_BITS

CHUNK_PATHS = 1 << 12
# Words set aside for each path, more than the steps of any plan can use.
WORDS_A_PATH = np.uint64(1 << 20)
WEYL_STEP = np.uint64(0x9E3779B97F4A7C15)
MIX_FIRST = np.uint64(0xBF58476D1CE4E5B9)
MIX_SECOND = np.uint64(0x94D049BB133111EB)
UNIFORM_UNIT = 2.0**-53

LAYER_MASK, NEXT_LAYER = np.uint64(255), np.uint64(1)
TAIL_START = 3.6541528853610088
LAYER_AREA = 4.92867323399e-3
# A bridge whose exponent 2·d0·d1/v exceeds this touches with a probability below 1.1e-10.
FARTHEST_EXPONENT = 23.0


def ziggurat_edges() -> np.ndarray:
    """Right edge of each layer, (257,) float64: the base strip's first, then the tail's start, 0 last."""
    layers = int(LAYER_MASK) + 1
    edges = np.zeros(layers + 1)
    density = np.exp(-0.5 * TAIL_START**2)
    edges[:2] = LAYER_AREA / density, TAIL_START
    for layer in range(2, layers):
        density += LAYER_AREA / edges[layer - 1]
        edges[layer] = np.sqrt(-2.0 * np.log(density))
    return edges


EDGES = ziggurat_edges()
DENSITIES = np.exp(-0.5 * EDGES**2)
# A layer's edge in units of a signed 53-bit number.
EDGE_UNITS = EDGES * 2.0 * UNIFORM_UNIT

compiled = numba.njit(error_model="numpy")


@compiled
def next_word(state):
    """Next 64 random bits, behind the state after them."""
    state += WEYL_STEP
    word = (state ^ (state >> np.uint64(30))) * MIX_FIRST
    word = (word ^ (word >> np.uint64(27))) * MIX_SECOND
    return state, word ^ (word >> np.uint64(31))


@compiled
def path_state(seed, path):
    """State before a path's first word."""
    _, start = next_word(np.uint64(seed))
    return start + np.uint64(path) * WORDS_A_PATH * WEYL_STEP


@compiled
def uniform(state):
    """Uniform in (0, 1)."""
    state, word = next_word(state)
    return state, (np.float64(word >> np.uint64(11)) + 0.5) * UNIFORM_UNIT


@compiled
def normal(state):
    """Standard normal. The rest of the ziggurat is kept apart, so that these lines are compiled into the loop."""
    state, word = next_word(state)
    layer = word & LAYER_MASK
    z = np.float64(np.int64(word) >> np.int64(11)) * EDGE_UNITS[layer]
    if abs(z) < EDGES[layer + NEXT_LAYER]:
        return state, z
    return normal_at_edge(state, layer, z)


@compiled
def normal_at_edge(state, layer, z):
    """Standard normal from a point outside its layer's rectangle: in the tail, in the wedge, or drawn again."""
    while abs(z) >= EDGES[layer + NEXT_LAYER]:
        state, u = uniform(state)
        if layer == 0:
            beyond = -np.log(u) / TAIL_START
            state, u = uniform(state)
            if -2.0 * np.log(u) > beyond * beyond:
                return state, np.copysign(TAIL_START + beyond, z)
            # A refused tail point is replaced by another, not by a point of any layer.
            continue
        low, high = DENSITIES[layer], DENSITIES[layer + NEXT_LAYER]
        if low + u * (high - low) < np.exp(-0.5 * z * z):
            return state, z
        state, word = next_word(state)
        layer = word & LAYER_MASK
        z = np.float64(np.int64(word) >> np.int64(11)) * EDGE_UNITS[layer]
    return state, z


@compiled
def near(d0, d1, variance):
    """Whether a level may be touched between distances d0 and d1."""
    return d1 <= 0.0 or 2.0 * d0 * d1 < FARTHEST_EXPONENT * variance


@compiled
def climb(levels, rank, start, end, variance, state, touch, step):
    """Levels touched so far, counted, after a step near the next one; a variance of 0 jumps over levels.

    touched: exp(−2·d0·d1/v) > u;   1/u − 1 > −ln u spares most steps the logarithm
    """
    state, u = uniform(state)
    d1 = levels[rank] - end
    product = 2.0 * (levels[rank] - start) * d1
    if d1 > 0.0 and product * u > variance * (1.0 - u):
        return state, rank
    bound = -variance * np.log(u)
    while d1 <= 0.0 or product < bound:
        touch[rank, step] += 1
        rank += 1
        d1 = levels[rank] - end
        product = 2.0 * (levels[rank] - start) * d1
    return state, rank


@compiled
def gap_outcome(market, session, word):
    """What the session's catalyst or jump adds to the gap's mean and variance; uses the word's low half."""
    outcome, end = market.outcome_start[session], market.outcome_start[session + 1]
    if outcome == end:
        return 0.0, 0.0
    u = np.float64(word & np.uint64(0xFFFFFFFF)) * 2.0**-32
    while u >= market.outcome_limit[outcome]:
        outcome += 1
    return market.outcome_mean[outcome], market.outcome_variance[outcome]


@compiled
def simulate_path(market, state, first, touch_above, touch_below):
    """One path from the start to the last close, added to the counts."""
    share, root_share, atoms = market.share, market.root_share, market.variance_atoms
    above, below, upper_rank, lower_rank = market.above, market.below, market.upper_rank, market.lower_rank
    drift, steps_per_session = market.session_drift, market.steps_per_session
    omega, alpha, gamma, beta = market.omega, market.alpha, market.gamma, market.beta
    x, h, rank_above, rank_below, undecided = 0.0, market.variance_start, 0, 0, True
    next_above, next_below, step = above[0], below[0], 0
    for session in range(market.sessions):
        state, word = next_word(state)
        v = h * atoms[word >> np.uint64(64 - VARIANCE_ATOMS_BITS)]
        mean, session_deviation, previous_close = drift - 0.5 * h, np.sqrt(v), x
        jump, jump_variance = gap_outcome(market, session, word)
        deviation, bridge = np.sqrt(v * share[0] + jump_variance), 0.0
        for k in range(steps_per_session):
            if k > 0:
                jump, deviation, bridge = 0.0, session_deviation * root_share[k], v * share[k]
            state, z = normal(state)
            end = x + (mean * share[k] + jump) + deviation * z
            near_above = near(next_above - x, next_above - end, bridge)
            near_below = near(next_below + x, next_below + end, bridge)
            if near_above or near_below:
                was_above, was_below = rank_above, rank_below
                if near_above:
                    state, rank_above = climb(above, was_above, x, end, bridge, state, touch_above, step)
                if near_below:
                    state, rank_below = climb(below, was_below, -x, -end, bridge, state, touch_below, step)
                hits_upper = was_above <= upper_rank < rank_above
                hits_lower = was_below <= lower_rank < rank_below
                if undecided and (hits_upper or hits_lower):
                    nearer_lower = below[lower_rank] + x < above[upper_rank] - x
                    first[1 if hits_lower and (nearer_lower or not hits_upper) else 0, step] += 1
                    undecided = False
                next_above, next_below = above[rank_above], below[rank_below]
            x = end
            step += 1
        shock = x - previous_close - mean
        h = omega + (alpha + (gamma if shock < 0.0 else 0.0)) * shock * shock + beta * h


@numba.njit(error_model="numpy", parallel=True)
def simulate_chunks(market, seed, paths, first, touch_above, touch_below):
    """Counts of all paths; threads share out the chunks, each with a row of its own in the three arrays."""
    for chunk in numba.prange(first.shape[0]):
        for path in range(chunk * CHUNK_PATHS, min(paths, (chunk + 1) * CHUNK_PATHS)):
            state = path_state(seed, path)
            simulate_path(market, state, first[chunk], touch_above[chunk], touch_below[chunk])


def count_paths(market, seed: int, paths: int, threads: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts (2, N) of first targets and (levels, N) of touches above and below, the nearest level first.

    market : `peers.Market`.
    seed : of the random words.
    threads : at most as many as Numba was started with.
    """
    chunks, steps = -(-paths // CHUNK_PATHS), market.sessions * market.steps_per_session
    rows = (2, market.above.size - 1, market.below.size - 1)
    counts = [np.zeros((chunks, row, steps), dtype=np.int64) for row in rows]
    before = numba.get_num_threads()
    numba.set_num_threads(threads)
    try:
        simulate_chunks(market, seed, paths, *counts)
    finally:
        numba.set_num_threads(before)
    first, above, below = (chunk.sum(axis=0) for chunk in counts)
    return first, above, below
