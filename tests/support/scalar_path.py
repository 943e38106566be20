"""One path's whole life in plain scalar Python: what the model says, one float32 rounding per operation.

Every real number is a `np.float32`, every random word a Python integer, every level of a world_side is looked at on
its own. Nothing is shared with the kernels but the plan and the constants, so that equal bits mean that
both do what the model says and not that both make the same mistake.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sim.compiled.kernel_constants import (
    CALLS_PER_SESSION,
    CLOSES_ABOVE,
    CLOSES_BELOW,
    COSINE_POLYNOMIAL,
    LOG_POLYNOMIAL,
    MINUS_TWO_LN_TWO,
    PHILOX_KEY_STEPS,
    PHILOX_MULTIPLIERS,
    PHILOX_ROUNDS,
    PURPOSE_BRIDGE,
    PURPOSE_MOVES,
    SINE_POLYNOMIAL,
    SQRT_HALF_BITS,
    TOUCHES_ABOVE,
    TOUCHES_BELOW,
    VARIANCE_ATOMS_BITS,
)
from sim.plan.engine_plan import EnginePlan
from sim.plan.outcomes import LOWER, NEITHER, UPPER, WITH, WITHOUT, Outcomes

F = np.float32
WORLDS, SIDES = (WITH, WITHOUT), (0, 1)
SIGN = (F(1), F(-1))
SQRT_HALF = np.uint32(SQRT_HALF_BITS).view(np.float32)


def philox(counter: tuple[int, int, int, int], seed: int) -> tuple[int, int, int, int]:
    """Four random words of a counter, as the paper states the rounds."""
    c0, c1, c2, c3 = counter
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(PHILOX_ROUNDS):
        high0, low0 = divmod(PHILOX_MULTIPLIERS[0] * c0, 1 << 32)
        high1, low1 = divmod(PHILOX_MULTIPLIERS[1] * c2, 1 << 32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + PHILOX_KEY_STEPS[0]) % (1 << 32), (k1 + PHILOX_KEY_STEPS[1]) % (1 << 32)
    return c0, c1, c2, c3


def polynomial(coefficients: tuple[float, ...], t: np.float32) -> np.float32:
    """c0 + c1·t + c2·t² + … by Horner's rule."""
    value = F(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value = value * t + F(c)
    return value


def minus_two_log(word: int) -> np.float32:
    """−2·ln u, u = (word mod 2^31, made odd)/2^31 = m·2^e with m in [√½, √2)."""
    odd = word % (1 << 31) // 2 * 2 + 1
    mantissa, exponent = math.frexp(F(odd) / F(1 << 31))
    if mantissa < SQRT_HALF:
        mantissa, exponent = 2 * mantissa, exponent - 1
    t = F(mantissa) - F(1)
    return F(exponent) * F(MINUS_TWO_LN_TWO) + polynomial(LOG_POLYNOMIAL, t) * t


def normal_pair(radius_word: int, angle_word: int) -> tuple[np.float32, np.float32]:
    """Two normals: the top bit signs the cosine, the next 19 are a signed number, which and a half is the angle."""
    radius = np.sqrt(minus_two_log(radius_word))
    number = angle_word // (1 << 12) % (1 << 19)
    if number >= 1 << 18:
        number -= 1 << 19
    t = F((number + 0.5) / (1 << 18))
    square = t * t
    sine = polynomial(SINE_POLYNOMIAL, square) * t * radius
    cosine = polynomial(COSINE_POLYNOMIAL, square) * radius
    return (-cosine if angle_word >> 31 else cosine), sine


@dataclass(frozen=True)
class Close:
    """State after a close; ranks are levels touched so far: with dealers above, below, then the control path's."""

    x: np.float32
    y: np.float32
    s: np.float32
    h: np.float32
    regime: int
    ranks: tuple[int, int, int, int]


class ScalarPath:
    """One path; `live` runs it, `count_into` adds it to outcomes, `events` counts what befell it."""

    def __init__(self, plan: EnginePlan, seed: int, path: int):
        self.plan, self.seed, self.path = plan, seed, path
        self.x, self.s, self.y, self.h = F(0), F(0), plan.hedge_start, plan.variance_start
        self.regime, self.age, self.visited = 0, 0, {0}
        self.runs = [int(run) for run in plan.run_start]
        # (world, side, rank of the level) to the step of its first touch
        self.touched: dict[tuple[int, int, int], int] = {}
        # world to (target, step)
        self.first: dict[int, tuple[int, int]] = {}
        self.closes: list[Close] = []
        self.events: Counter[str] = Counter()

    def live(self) -> list[Close]:
        """Closes of the whole life."""
        plan = self.plan
        for session in range(plan.sessions):
            self.open_session(session)
            for k in range(plan.steps_per_session):
                step = session * plan.steps_per_session + k
                self.take_step(session, step, k)
                if plan.settles[step] and k < plan.steps_per_session - 1:
                    self.rebase(step)
                    self.events["settlement at an open"] += 1
            self.close_session(step)
            ranks = [
                sum((world, side, rank) in self.touched for rank in range(plan.level_count[side]))
                for world in WORLDS
                for side in SIDES
            ]
            a, b, c, d = ranks
            self.closes.append(Close(self.x, self.y, self.s, self.h, self.regime, (a, b, c, d)))
        return self.closes

    def words(self, session: int, call: int, purpose: int) -> tuple[int, int, int, int]:
        address = session * CALLS_PER_SESSION + call
        return philox((self.path & 0xFFFFFFFF, self.path >> 32, address, purpose), self.seed)

    def open_session(self, session: int) -> None:
        """A word for V, one for the gap's outcome, then normals, two words each pair."""
        plan = self.plan
        pairs = (plan.steps_per_session + 1) // 2
        words: list[int] = []
        for call in range(pairs // 2 + 1):
            words += self.words(session, call, PURPOSE_MOVES)
        self.normals: list[np.float32] = []
        for pair in range(pairs):
            self.normals += normal_pair(words[2 + 2 * pair], words[3 + 2 * pair])
        self.angle_words = words[3 : 2 + 2 * pairs : 2]
        variance_word, outcome_word = words[:2]

        v = self.h
        if plan.variance_atoms.size:
            v = v * plan.variance_atoms[variance_word >> (32 - VARIANCE_ATOMS_BITS)]
        self.session_variance = v
        self.mean = plan.session_drift - self.h * F(0.5)
        self.outcome = None
        for i in range(plan.outcome_start[session], plan.outcome_start[session + 1]):
            if outcome_word <= plan.outcome_threshold[i]:
                self.outcome = plan.outcome_mean[i], plan.outcome_variance[i]
                self.events["gap outcome"] += 1
                break
        self.x_open = self.x

    def take_step(self, session: int, step: int, k: int) -> None:
        plan, gap = self.plan, k == 0
        z = self.normals[k]
        if gap and self.outcome is not None:
            mean, variance = self.outcome
            move = np.sqrt(self.session_variance * plan.share[0] + variance) * z + mean
        else:
            move = np.sqrt(self.session_variance) * plan.root_share[k] * z
        move = move + self.mean * plan.share[k]

        x, y = self.x + move, self.y + move
        if not gap:
            y = y - (self.s - self.x) * plan.fade
            y = y + plan.regime_flow[self.regime]
        self.s = y if plan.identity_map else self.look_up(int(plan.step_table[step]), y)
        self.touch_levels(session, step, k, (self.y, self.x), (y, x))
        self.x, self.y = x, y

    def look_up(self, table: int, x: np.float32) -> np.float32:
        plan = self.plan
        low, high = plan.table_clip[table]
        scale, offset = plan.table_scale[table]
        inside = min(max(x, low), high)
        start = int(plan.table_start[table])
        row = int(plan.book_of_regime[self.regime]) * int(plan.table_panels[table])
        first, per_unit = plan.lines[start + row + int(inside * scale + offset)]
        intercept, slope = plan.lines[start + int(per_unit * inside + first)]
        return intercept + slope * x

    def distances(
        self, step: int, world: int, side: int, rank: int, start: np.float32, end: np.float32
    ) -> tuple[np.float32, np.float32]:
        """Distances to a level at both ends of a step, positive while it is untouched."""
        plan = self.plan
        if world == WITH:
            book = plan.book_of_regime[self.regime]
            at_start, at_end = (b[step, side, book, rank] for b in (plan.barrier_start, plan.barrier_end))
        else:
            at_start = at_end = plan.level[side, rank]
        return at_start - SIGN[side] * start, at_end - SIGN[side] * end

    def half_exponential(self, session: int, k: int, side: int) -> np.float32:
        """E/2: U's six top bits are spare ones of the angle word, the others are drawn; U below is 1 − U above."""
        known = self.angle_words[k // 2] // 64 ** (k % 2) % 64
        drawn = self.words(session, k, PURPOSE_BRIDGE)[0]
        above = known * (1 << 25) + drawn // (1 << 7)
        return minus_two_log(above if side == 0 else (1 << 31) - 1 - above) * F(0.25)

    def touch_levels(
        self,
        session: int,
        step: int,
        k: int,
        starts: tuple[np.float32, np.float32],
        ends: tuple[np.float32, np.float32],
    ) -> None:
        plan = self.plan
        variance = self.session_variance * plan.share[k]
        reaches = [self.half_exponential(session, k, side) * variance for side in SIDES] if k else None
        targets: dict[int, list[tuple[np.float32, int]]] = {WITH: [], WITHOUT: []}
        for world in WORLDS:
            for side in SIDES:
                new = 0
                for rank in range(plan.level_count[side]):
                    d0, d1 = self.distances(step, world, side, rank, starts[world], ends[world])
                    beyond = d1 <= 0
                    if reaches is not None:
                        beyond = beyond or d0 <= 0 or reaches[side] > d0 * d1
                    if not beyond or (world, side, rank) in self.touched:
                        continue
                    self.touched[world, side, rank] = step
                    new += 1
                    if d1 > 0:
                        self.events["touched between the ends"] += 1
                    if rank == plan.target_rank[side]:
                        targets[world].append((d0, (UPPER, LOWER)[side]))
                if new > 1:
                    self.events["several levels in a gap" if k == 0 else "several levels in a step"] += 1
        for world in WORLDS:
            if targets[world] and world not in self.first:
                self.first[world] = min(targets[world])[1], step
                if len(targets[world]) == 2:
                    self.events[f"both targets in a step, nearer one {self.first[world][0]}"] += 1

    def close_session(self, step: int) -> None:
        plan = self.plan
        shock = self.x - self.x_open - self.mean
        weight = plan.alpha + plan.gamma if shock < 0 else plan.alpha
        self.h = self.h * plan.beta + plan.omega + shock * shock * weight
        before, self.regime = self.regime, self.next_regime()
        if plan.settles[step]:
            self.rebase(step)
            self.events["settlement at a close"] += 1
        elif self.regime != before and plan.rebase_table[step] >= 0:
            self.rebase(step)
            self.events["new book at a close"] += 1

    def next_regime(self) -> int:
        plan, present = self.plan, self.regime
        self.age += 1
        holds = [self.trigger_holds(r) for r in range(plan.trigger.size)]
        if self.age == plan.lasts[present]:
            then = int(plan.successor[present])
            if then not in self.visited:
                self.events["hand-over"] += 1
                if any(holds[r] and self.may_enter(r) for r in range(1, plan.trigger.size)):
                    self.events["hand-over before a trigger"] += 1
                return self.enter(then)
            self.events["nothing to hand over to"] += 1
        for r in range(1, plan.trigger.size):
            if holds[r] and self.may_enter(r):
                self.events[f"trigger {plan.trigger[r]}"] += 1
                return self.enter(r)
            if holds[r] and r not in self.visited:
                self.events["from forbids"] += 1
            elif holds[r] and r != present and plan.allowed_from[r][present]:
                self.events["visited before"] += 1
        return present

    def may_enter(self, r: int) -> bool:
        return r not in self.visited and bool(self.plan.allowed_from[r][self.regime])

    def enter(self, r: int) -> int:
        self.visited.add(r)
        self.age = 0
        return r

    def trigger_holds(self, r: int) -> bool:
        """Whether a trigger holds at this close; counts the closes in a row, so it is asked once per close."""
        plan, trigger, level = self.plan, self.plan.trigger[r], self.plan.trigger_level[r]
        if trigger in (CLOSES_ABOVE, CLOSES_BELOW):
            qualifies = self.s > level if trigger == CLOSES_ABOVE else self.s < level
            self.runs[r] = self.runs[r] + 1 if qualifies else 0
            return self.runs[r] >= int(plan.trigger_closes[r])
        if trigger in (TOUCHES_ABOVE, TOUCHES_BELOW):
            side = 0 if trigger == TOUCHES_ABOVE else 1
            return (WITH, side, int(plan.trigger_rank[r])) in self.touched
        return False

    def rebase(self, step: int) -> None:
        self.y = self.look_up(int(self.plan.rebase_table[step]), self.s)

    def ascending(self, side: int, rank: int) -> int:
        """Index of a level in the outcomes' order."""
        below = int(self.plan.level_count[1])
        return below + rank if side == 0 else below - 1 - rank

    def count_into(self, outcomes: Outcomes) -> None:
        """Add the path to outcomes, after `live`."""
        plan = self.plan
        outcomes.paths += 1
        for (world, side, rank), step in self.touched.items():
            outcomes.touch[world, self.ascending(side, rank), step] += 1
            if world == WITH and (WITHOUT, side, rank) in self.touched:
                outcomes.touch_both[self.ascending(side, rank)] += 1
        for world, (target, step) in self.first.items():
            outcomes.first[world, target - UPPER, step] += 1
        pair = (self.first.get(world, (NEITHER, 0))[0] for world in WORLDS)
        outcomes.joint[tuple(pair)] += 1
        for session, close in enumerate(self.closes):
            outcomes.regime[session, close.regime] += 1
            position = (close.s - plan.close_low) * plan.close_scale + F(1)
            outcomes.closes[session, int(min(max(position, F(0)), F(plan.close_bins + 1)))] += 1


def scalar_paths(plan: EnginePlan, seed: int, paths: range) -> Iterator[ScalarPath]:
    """Paths that have lived."""
    for number in paths:
        path = ScalarPath(plan, seed, number)
        path.live()
        yield path
