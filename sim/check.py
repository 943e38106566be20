"""The simulation against answers found another way, for the part of a scenario that has such answers.

A scenario's checkable form has permanent impact, constant variance and no regimes; its gaps, catalysts, jumps,
dealers and expiries stay. Its first-target odds solve a backward PDE (`sim.pde`). Without dealers and gaps they
have closed forms (`sim.oracle`). The PDE's reaction map is built here a second time, from the scenario's keys
alone, by integrating gamma instead of evaluating delta, so that a mistake in the engine's map shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.black_scholes import MINUTES_PER_YEAR, SESSIONS_PER_YEAR, SHORTEST_LIFE_MINUTES, FloatArray
from sim.engines.choice import choose
from sim.errors import InputError, Problem
from sim.oracle import corridor, touch_probability
from sim.outcomes import LOWER, NEITHER, UPPER, Outcomes
from sim.pde import CorridorProblem, first_hit_odds
from sim.plan_builder import gap_outcomes, prepare
from sim.run import check_arguments
from sim.scenario import Dealers, Jumps, Scenario
from sim.scenario_values import shown
from sim.timegrid import TimeGrid, build_time_grid, settlement_minute, trading_calendar

LARGEST_Z = 4.5
# Cells of the map a unit of log price; it reaches eight widths beyond every strike, and this far at least.
MAP_CELLS_PER_UNIT = 4000
SHORTEST_MAP_REACH = 0.8
PDE_POINTS = 1601
# Positions of a book file that the second map is built of, one by one and instant by instant.
MOST_POSITIONS = 500


@dataclass(frozen=True)
class Check:
    """One comparison.

    Attributes
    ----------
    name : what is compared.
    expected : probability by the oracle.
    simulated : share of simulated paths.
    std_error : sqrt(p·(1−p)/n) at the expected probability, at least one path's worth.
    """

    name: str
    expected: float
    simulated: float
    std_error: float

    @property
    def z(self) -> float:
        """Difference in standard errors."""
        return (self.simulated - self.expected) / self.std_error

    @property
    def ok(self) -> bool:
        """Whether the difference is within 4.5 standard errors."""
        return abs(self.z) <= LARGEST_Z


def checkable_form(scenario: Scenario) -> Scenario:
    """Scenario with permanent impact, constant variance and no regimes; all else as given."""
    volatility = scenario.volatility.model_copy(
        update={"alpha": 0.0, "gamma": 0.0, "beta": 1.0, "tail_dof": None, "long_run_annual": None}
    )
    return scenario.model_copy(
        update={
            "regime": (),
            "levels": (),
            "volatility": volatility,
            "dealers": scenario.dealers.model_copy(update={"impact_half_life": 0.0}),
        }
    )


def flat_form(scenario: Scenario) -> Scenario:
    """Checkable form without dealers, gaps, catalysts and jumps, its ladder kept: closed forms exist."""
    plain = checkable_form(scenario)
    volatility = plain.volatility.model_copy(update={"overnight_share": 0.0, "quoted": "fundamental"})
    return plain.model_copy(
        update={
            "levels": scenario.ladder,
            "volatility": volatility,
            "dealers": Dealers(),
            "jumps": Jumps(),
            "catalyst": (),
        }
    )


def run_checks(
    scenario: Scenario,
    *,
    paths: int = 1_000_000,
    seed: int = 1,
    threads: int | None = None,
    devices: Sequence[int] | None = None,
    engine: str = "auto",
    where: str | None = None,
) -> list[Check]:
    """Comparisons of the simulation with PDE and closed forms.

    Parameters
    ----------
    scenario : any scenario; its checkable and flat forms are simulated.
    paths : paths of each simulation.
    seed : 64-bit seed.
    threads : processors to use; all if None.
    devices : GPUs to use; device 0 if None.
    engine : "auto" or an engine's name.
    where : what to call the scenario in an error; its name if None.

    Raises
    ------
    InputError : the reaction map is not increasing and has no floor.
    """
    check_arguments(paths, 0, seed, threads, None, None, None)
    book = scenario.dealers.book
    if book is not None and len(book) > MOST_POSITIONS:
        why = f"has {len(book):,} positions, and the check's own map takes at most {MOST_POSITIONS}"
        hint = "Try a scenario with single positions; the maps of books are tested against sums over all options."
        raise InputError([Problem(where or scenario.name, "dealers.book", shown(book.file), why, hint)])
    worker = choose(engine, threads, devices=devices)
    hedged, flat = checkable_form(scenario), flat_form(scenario)
    with_dealers = worker.run(prepare(hedged, where).plan, seed, 0, paths)
    closed = worker.run(prepare(flat, where).plan, seed, 0, paths)
    return [*_pde_checks(hedged, with_dealers), *_flat_checks(flat, closed)]


class IntegratedMap:
    """Reaction map by integrating the feedback factor over the log price.

        m(s,t) = 1 + impact·0.01·Σ gex_i(S,t)·S0/S;     gex_i(S,t) = gex_i(K,t0)·[Γ·S²](S,t) / [Γ·S²](K,t0)
        Φ(s,t) = ∫_{−∞}^{0} (m − 1) ds + ∫_0^s max(m, floor) ds

    up to a constant a position, which moves no price. Three Gauss points a cell.

    Source: MODEL of the reaction function, Frey & Stremme (1997), rewritten in gamma exposure.
    """

    def __init__(self, scenario: Scenario, grid: TimeGrid):
        self.floor = scenario.dealers.m_floor
        self.positions = []
        dealers = scenario.dealers
        rows = () if dealers.book is None else dealers.book.after(scenario.market.as_of)
        stated = (*dealers.position, *rows)
        if stated:
            calendar = trading_calendar(scenario.market.as_of, max(p.expiry for p in stated))
            for p in stated:
                settles = settlement_minute(calendar, p.expiry, p.settlement)
                years = (settles - grid.start_minute) / MINUTES_PER_YEAR
                years = max(years, SHORTEST_LIFE_MINUTES / MINUTES_PER_YEAR)
                if p.gex_bn is not None:
                    size = p.gex_bn / float(_dollar_gamma(0.0, p.iv, years, p.carry)) / p.strike
                else:
                    assert p.contracts is not None
                    size = p.contracts * 100 * 0.01 / 1e9
                # Σ gex·S0/S per unit of the bracket n(d1)/v: size·S² / S · S0 / S = size·S0
                pressure = scenario.dealers.impact_bp_per_bn * 1e-2 * size * scenario.market.spot
                self.positions.append((p, settles, np.log(p.strike / scenario.market.spot), pressure))
        half_cells = int(np.ceil(self._reach(grid) * MAP_CELLS_PER_UNIT))
        edges = np.arange(-half_cells, half_cells + 1) / MAP_CELLS_PER_UNIT
        self.edges, self.middle = edges, half_cells
        half = 0.5 * (edges[1] - edges[0])
        offsets = np.array([-np.sqrt(0.6), 0.0, np.sqrt(0.6)]) * half
        self.gauss = (0.5 * (edges[1:] + edges[:-1]))[:, None] + offsets
        self.weights = np.array([5.0, 8.0, 5.0]) / 9.0 * half
        self._known: dict[tuple[float, bool], FloatArray] = {}

    def _reach(self, grid: TimeGrid) -> float:
        """Half-width of the covered log prices: all the gamma there ever is, or its tail would look like drift."""
        reach = SHORTEST_MAP_REACH
        for p, settles, strike, _ in self.positions:
            years = (settles - grid.start_minute) / MINUTES_PER_YEAR
            width = p.iv * np.sqrt(years)
            reach = max(reach, abs(strike) + abs(p.carry) * years + width**2 / 2 + 8 * width)
        return float(reach)

    def feedback_less_one(self, s: FloatArray, minute: float, after_settlement: bool) -> FloatArray:
        """M − 1 before any floor."""
        total = np.zeros_like(s)
        for p, settles, strike, pressure in self.positions:
            if settles < minute or (after_settlement and settles == minute):
                continue
            years = max(settles - minute, SHORTEST_LIFE_MINUTES) / MINUTES_PER_YEAR
            total += pressure * _dollar_gamma(s - strike, p.iv, years, p.carry)
        return total

    def __call__(self, s: FloatArray, minute: float, after_settlement: bool) -> FloatArray:
        """Φ(s, t), (n,) log units."""
        key = (minute, after_settlement)
        if key not in self._known:
            excess = self.feedback_less_one(self.gauss, minute, after_settlement)
            middle = self.middle
            offset = float((excess[:middle] @ self.weights).sum())
            floored = np.maximum(1.0 + excess, self.floor) @ self.weights
            running = np.concatenate(([0.0], np.cumsum(floored)))
            slopes = np.maximum(
                1.0 + self.feedback_less_one(self.edges, minute, after_settlement), self.floor
            )
            self._known = {key: np.stack((offset + running - running[middle], slopes))}
        values, slopes = self._known[key]
        return _cubic(s, self.edges, values, slopes)


def _dollar_gamma(moneyness: FloatArray | float, iv: float, years: float, carry: float) -> FloatArray:
    """n(d1)/v = Γ·S with d1 = moneyness/v + b·τ/v + v/2, moneyness = ln(S/K)."""
    total = iv * np.sqrt(years)
    standardised = (np.asarray(moneyness) + carry * years) / total + total / 2
    result: FloatArray = np.exp(-(standardised**2) / 2) / (np.sqrt(2 * np.pi) * total)
    return result


def _cubic(x: FloatArray, edges: FloatArray, values: FloatArray, slopes: FloatArray) -> FloatArray:
    width = edges[1] - edges[0]
    cell = np.clip(((x - edges[0]) / width).astype(np.int64), 0, edges.size - 2)
    t = (x - edges[cell]) / width
    rise = values[cell + 1] - values[cell]
    a, b = slopes[cell] * width - rise, rise - slopes[cell + 1] * width
    result: FloatArray = values[cell] + t * rise + t * (1 - t) * (a * (1 - t) + b * t)
    return result


def _pde_checks(scenario: Scenario, outcomes: Outcomes) -> list[Check]:
    grid = build_time_grid(scenario)
    reaction_map = IntegratedMap(scenario, grid)
    start = float(grid.start_minute)
    variance = scenario.volatility.annual**2 / SESSIONS_PER_YEAR
    if scenario.volatility.quoted == "observed":
        m0 = 1.0 + float(reaction_map.feedback_less_one(np.zeros(1), start, True)[0])
        variance *= max(m0, reaction_map.floor) ** 2
    share = np.tile(grid.share, grid.n_sessions)
    drift = scenario.drift.annual / SESSIONS_PER_YEAR - variance / 2

    def problem(phi: object) -> tuple[float, float, float]:
        return first_hit_odds(
            CorridorProblem(
                step_minute=np.concatenate(([start], grid.step_end_minute)),
                is_gap=np.arange(grid.n_steps) % (grid.steps_per_session + 1) == 0,
                variance=variance * share,
                mean=drift * share,
                phi=phi,  # type: ignore[arg-type]
                upper=float(np.log(scenario.targets.upper / scenario.market.spot)),
                lower=float(np.log(scenario.targets.lower / scenario.market.spot)),
                gap_mixture=tuple(gap_outcomes(scenario, grid)),
            ),
            points=PDE_POINTS,
        )

    checks = []
    for dealers, phi, counts in (
        ("with dealers", reaction_map, outcomes.joint.sum(axis=1)),
        ("without dealers", lambda s, _minute, _after: s, outcomes.joint.sum(axis=0)),
    ):
        expected = problem(phi)
        order = (("first upper", UPPER, 0), ("first lower", LOWER, 1), ("neither", NEITHER, 2))
        checks += [
            _check(f"{name}, {dealers} (PDE)", expected[i], counts[j], outcomes) for name, j, i in order
        ]
    return checks


def _flat_checks(scenario: Scenario, outcomes: Outcomes) -> list[Check]:
    grid = build_time_grid(scenario)
    spot, sessions = scenario.market.spot, grid.n_sessions
    variance = scenario.volatility.annual**2 / SESSIONS_PER_YEAR * sessions
    mean = scenario.drift.annual / SESSIONS_PER_YEAR * sessions - variance / 2
    upper, lower = np.log(scenario.targets.upper / spot), np.log(scenario.targets.lower / spot)
    odds = corridor(upper, lower, mean, variance)
    counts = outcomes.joint.sum(axis=1)
    checks = [
        _check(
            "first upper, flat volatility (closed form)", float(odds.first_upper), counts[UPPER], outcomes
        ),
        _check(
            "first lower, flat volatility (closed form)", float(odds.first_lower), counts[LOWER], outcomes
        ),
    ]
    touches = outcomes.touch[0].sum(axis=1)
    for level, count in zip(scenario.ladder, touches, strict=True):
        expected = float(touch_probability(np.log(level / spot), mean, variance))
        checks.append(
            _check(f"touch {level:,.10g}, flat volatility (closed form)", expected, count, outcomes)
        )
    return checks


def _check(name: str, expected: float, count: int, outcomes: Outcomes) -> Check:
    n = outcomes.paths
    spread = max(expected * (1.0 - expected), 1.0 / n)
    return Check(name, expected, int(count) / n, float(np.sqrt(spread / n)))
