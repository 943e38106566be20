"""Peers: what one would otherwise run, each timed beside the engines on the market of a scenario.

    QuantLibBarrier   one barrier, priced by QuantLib's Monte Carlo
    NumbaPaths        one path after another in a loop that Numba compiles: float64, threads
    ArrayPaths        one vectorised step after another, float32, NumPy on the CPU or CuPy on the GPU

The last two simulate the market without dealers, world 1 of `sim.plan.outcomes.Outcomes`, and
their counts have its law.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sim.compiled.kernel_constants import NO_LEVEL, VARIANCE_ATOMS_BITS
from sim.plan.builder import Prepared
from sim.plan.engine_plan import EnginePlan

NO_DEALERS = "dealers, regimes, control path, close histogram"
WARM_UP_PATHS = 64


class Peer(ABC):
    """A program to time: `warm_up` first, then `run` as often as needed.

    Attributes
    ----------
    name : for a table.
    leaves_out : what of our model it does not do.
    """

    name: str
    leaves_out: str

    @abstractmethod
    def run(self, paths: int) -> Any:
        """Result of so many paths, in host memory: the work is done when the call returns."""

    def warm_up(self) -> float:
        """Seconds of a first small run; compilation, where there is any, happens here."""
        began = time.perf_counter()
        self.run(WARM_UP_PATHS)
        return time.perf_counter() - began


class QuantLibBarrier(Peer):
    """Up-and-in call on the scenario's spot, upper target and volatility, by Monte Carlo with bridge correction.

    Parameters
    ----------
    prepared : its horizon is one constant-volatility stretch of as many steps as the plan has, gaps included.
    """

    name = "QuantLib MCBarrierEngine, 1 thread"
    leaves_out = "all but one barrier at constant volatility"

    def __init__(self, prepared: Prepared):
        import QuantLib as ql  # noqa: N813

        self._ql = ql
        self._steps = prepared.plan.steps
        market = prepared.scenario.market
        today = ql.Date(market.as_of.day, market.as_of.month, market.as_of.year)
        ql.Settings.instance().evaluationDate = today
        days = ql.Actual365Fixed()
        rates = ql.YieldTermStructureHandle(ql.FlatForward(today, 0.0, days))
        annual = prepared.scenario.volatility.annual
        volatility = ql.BlackVolTermStructureHandle(
            ql.BlackConstantVol(today, ql.NullCalendar(), annual, days)
        )
        spot = ql.QuoteHandle(ql.SimpleQuote(market.spot))
        self.process = ql.BlackScholesMertonProcess(spot, rates, rates, volatility)
        exercise = ql.EuropeanExercise(today + round(prepared.plan.sessions * 365 / 252))
        payoff = ql.PlainVanillaPayoff(ql.Option.Call, market.spot)
        self.option = ql.BarrierOption(
            ql.Barrier.UpIn, prepared.scenario.targets.upper, 0.0, payoff, exercise
        )

    def run(self, paths: int) -> tuple[float, float]:
        """Price and its standard error, index points."""
        engine = self._ql.MCBarrierEngine(
            self.process, "pseudorandom", self._steps, requiredSamples=paths, seed=1
        )
        self.option.setPricingEngine(engine)
        return float(self.option.NPV()), float(self.option.errorEstimate())


class Market(NamedTuple):
    """What is left of an EnginePlan without dealers; float64, and the same names where nothing has changed.

    Attributes
    ----------
    variance_atoms : (4096,), all one when shocks are normal.
    outcome_limit : (·,) cumulative probability of the gap outcomes of each session.
    above, below : (·,) distance of each level from the start, the nearest first, infinity last.
    upper_rank, lower_rank : places of the targets in `above` and `below`.
    """

    sessions: int
    steps_per_session: int
    share: np.ndarray
    root_share: np.ndarray
    session_drift: float
    variance_start: float
    omega: float
    alpha: float
    gamma: float
    beta: float
    variance_atoms: np.ndarray
    outcome_start: np.ndarray
    outcome_limit: np.ndarray
    outcome_mean: np.ndarray
    outcome_variance: np.ndarray
    above: np.ndarray
    below: np.ndarray
    upper_rank: int
    lower_rank: int


def market_of(plan: EnginePlan) -> Market:
    """The market that a plan's dealers trade in."""
    ladders = [np.append(plan.level[side, : plan.level_count[side]], NO_LEVEL) for side in (0, 1)]
    same = {name: getattr(plan, name) for name in Market._fields if hasattr(plan, name)}
    fields = same | {
        "variance_atoms": plan.variance_atoms
        if plan.variance_atoms.size
        else np.ones(1 << VARIANCE_ATOMS_BITS),
        "outcome_limit": (plan.outcome_threshold + 1.0) / 2.0**32,
        "above": ladders[0],
        "below": ladders[1],
        "upper_rank": int(plan.target_rank[0]),
        "lower_rank": int(plan.target_rank[1]),
    }
    for name, value in fields.items():
        if name != "outcome_start" and not isinstance(value, int):
            fields[name] = float(value) if np.ndim(value) == 0 else np.asarray(value, dtype=np.float64)
    return Market(**fields)


@dataclass(frozen=True)
class FirstPassage:
    """Counts of paths, laid out as world 1 of `Outcomes`.

    Attributes
    ----------
    paths : number of paths counted.
    first : (2, N) int64, [0 upper, 1 lower][step] paths whose first target was reached in that step.
    touch : (L, N) int64, [level, ascending][step] paths that first touched the level in that step.
    """

    paths: int
    first: np.ndarray
    touch: np.ndarray


class NumbaPaths(Peer):
    """Scalar paths compiled by Numba; the counts do not depend on the number of threads.

    Parameters
    ----------
    plan : whose market to simulate.
    threads : at most as many as Numba was started with.
    seed : of the random words.
    """

    leaves_out = NO_DEALERS

    def __init__(self, plan: EnginePlan, threads: int = 1, seed: int = 1):
        from numba_kernel import count_paths  # compiling takes Numba, which the other peers do without

        self._count_paths = count_paths
        self.name = f"Numba, {threads} thread{'s'[: threads > 1]}"
        self.threads, self.seed = threads, seed
        self.market = market_of(plan)

    def run(self, paths: int) -> FirstPassage:
        first, above, below = self._count_paths(self.market, self.seed, paths, self.threads)
        return FirstPassage(paths, first, np.concatenate((below[::-1], above)))


class ArrayPaths(Peer):
    """All paths at once, one array operation after another, as one would write it for NumPy or CuPy.

    Parameters
    ----------
    plan : whose market to simulate.
    xp : the module `numpy` or `cupy`.
    seed : of `xp.random.default_rng`.
    """

    leaves_out = NO_DEALERS

    def __init__(self, plan: EnginePlan, xp: Any = np, seed: int = 1):
        self.name = f"{xp.__name__} arrays"
        self.xp = xp
        # Made once: CuPy takes its time to seed a generator. A later run draws on.
        self.random = xp.random.default_rng(seed)
        self.market = market_of(plan)

    def run(self, paths: int) -> FirstPassage:
        xp, market, random = self.xp, self.market, self.random
        atoms = xp.asarray(market.variance_atoms, dtype=xp.float32)
        levels = ArrayLevels(xp, market, paths)
        x = xp.zeros(paths, dtype=xp.float32)
        h = xp.full(paths, market.variance_start, dtype=xp.float32)
        for session in range(market.sessions):
            v = h * atoms[random.integers(0, atoms.size, paths)]
            mean = market.session_drift - 0.5 * h
            previous_close = x
            for k in range(market.steps_per_session):
                share = float(market.share[k])
                move, variance = mean * share, v * share
                if k == 0:
                    jump, jump_variance = self._gap_outcome(session, random, paths)
                    move, variance = move + jump, variance + jump_variance
                z = random.standard_normal(paths, dtype=xp.float32)
                end = x + move + xp.sqrt(variance) * z
                levels.count(
                    session * market.steps_per_session + k, x, end, variance, random if k > 0 else None
                )
                x = end
            shock = x - previous_close - mean
            leverage = market.gamma * xp.minimum(shock, 0.0) ** 2
            h = market.omega + market.alpha * shock**2 + leverage + market.beta * h
        on_host = getattr(xp, "asnumpy", np.asarray)
        return FirstPassage(paths, on_host(levels.first), on_host(levels.touch))

    def _gap_outcome(self, session: int, random: Any, paths: int) -> tuple[Any, Any]:
        """What each path's catalyst or jump adds to the gap's mean and variance."""
        xp, market = self.xp, self.market
        here = slice(market.outcome_start[session], market.outcome_start[session + 1])
        if here.start == here.stop:
            return 0.0, 0.0
        mean, variance = (
            xp.asarray(array[here], dtype=xp.float32)
            for array in (market.outcome_mean, market.outcome_variance)
        )
        outcome = xp.searchsorted(xp.asarray(market.outcome_limit[here]), random.random(paths), side="right")
        return mean[outcome], variance[outcome]


class ArrayLevels:
    """The levels that each path has touched, ascending, its first target, and the counts of both."""

    def __init__(self, xp: Any, market: Market, paths: int):
        self.xp = xp
        self.signed = [(-1, float(d)) for d in market.below[-2::-1]] + [
            (1, float(d)) for d in market.above[:-1]
        ]
        below = market.below.size - 1
        self.upper, self.lower = below + market.upper_rank, below - 1 - market.lower_rank
        self.touched = xp.zeros((len(self.signed), paths), dtype=bool)
        self.undecided = xp.ones(paths, dtype=bool)
        steps = market.sessions * market.steps_per_session
        self.first = xp.zeros((2, steps), dtype=xp.int64)
        self.touch = xp.zeros((len(self.signed), steps), dtype=xp.int64)

    def count(self, step: int, start: Any, end: Any, variance: Any, random: Any | None) -> None:
        """Count a step's touches and first targets; without `random` the step jumps over levels."""
        xp = self.xp
        if random is not None:
            # 1 − u lies in (0, 1]: a u of zero would touch every level
            u = {sign: 1 - random.random(start.size, dtype=xp.float32) for sign in (-1, 1)}
        now = []
        for i, (sign, distance) in enumerate(self.signed):
            d0, d1 = distance - sign * start, distance - sign * end
            hit = d1 <= 0
            if random is not None:
                hit |= u[sign] < xp.exp(-2 * xp.maximum(d0 * d1, 0) / variance)
            now.append(hit & ~self.touched[i])
            self.touch[i, step] = now[i].sum()
            self.touched[i] |= hit
        upper, lower = now[self.upper] & self.undecided, now[self.lower] & self.undecided
        to_upper, to_lower = self.signed[self.upper][1] - start, self.signed[self.lower][1] + start
        is_lower = lower & ~(upper & (to_upper <= to_lower))
        self.first[0, step] = (upper & ~is_lower).sum()
        self.first[1, step] = is_lower.sum()
        self.undecided &= ~(upper | lower)
