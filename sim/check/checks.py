"""Comparison of the simulation with answers found in other ways, for the part of a scenario that has such answers.

A scenario's checkable form has permanent impact, constant variance and no regimes; its gaps, catalysts, jumps,
dealers and expiries stay. Its first-target odds solve a backward PDE (`sim.check.pde`). Without dealers and gaps they
have closed forms (`sim.market.closed_forms`). The PDE's clearing map is a second one (`sim.check.integrated_map`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.check.integrated_map import IntegratedMap
from sim.check.pde import CorridorProblem, first_target_odds
from sim.engines.choice import Engine, choose
from sim.market.black_scholes import SESSIONS_PER_YEAR
from sim.market.closed_forms import corridor, touch_probability
from sim.plan.builder import Prepared, prepare
from sim.plan.gaps import gap_outcomes
from sim.plan.outcomes import LOWER, NEITHER, UPPER, Outcomes
from sim.problems import short_repr
from sim.run.simulation import check_arguments, plain_count
from sim.scenario.file import resolve_scenario
from sim.scenario.model import Dealers, Jumps, Scenario

LARGEST_Z = 4.5
PDE_POINTS = 1601


@dataclass(frozen=True)
class Check:
    """Comparison of one simulated probability with an answer found another way.

    Attributes
    ----------
    name : the event, the market and the method of the other answer.
    expected : probability by that method.
    simulated : share of simulated paths.
    std_error : sqrt(p·(1−p)/n) at the expected probability, at least one path's worth.
    """

    name: str
    expected: float
    simulated: float
    std_error: float

    def __repr__(self) -> str:
        verdict = "ok" if self.ok else "FAILED"
        numbers = f"expected {self.expected:.5f}, simulated {self.simulated:.5f}, z {self.z:+.2f}"
        return short_repr(self, f"{self.name}: {numbers}, {verdict}")

    @property
    def z(self) -> float:
        """Difference in standard errors."""
        return (self.simulated - self.expected) / self.std_error

    @property
    def ok(self) -> bool:
        """Whether the difference is within 4.5 standard errors."""
        return abs(self.z) <= LARGEST_Z


def checkable_form(scenario: Scenario) -> Scenario:
    """Scenario with permanent impact, constant variance, no regimes and no levels but its targets; else as given."""
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
    """Checkable form without dealers, gaps, catalysts and jumps, all levels kept: closed forms exist."""
    plain = checkable_form(scenario)
    volatility = plain.volatility.model_copy(update={"overnight_share": 0.0, "quoted": "fundamental"})
    return plain.model_copy(
        update={
            "levels": scenario.all_levels,
            "volatility": volatility,
            "dealers": Dealers(),
            "jumps": Jumps(),
            "catalyst": (),
        }
    )


def run_checks(
    scenario: Scenario | str | os.PathLike[str],
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
    scenario : any scenario, or its built-in name or its file; its checkable and flat forms are simulated.
    paths : paths of each simulation.
    seed : 64-bit seed.
    threads : processors to use; all if None.
    devices : GPUs to use; device 0 if None.
    engine : "auto" or an engine's name.
    where : name of the scenario in errors; its file or its own name if None.

    Raises
    ------
    InputError : an argument is out of range, or the clearing map is not increasing and has no floor.
    GammawallError : the engine is not available, ran out of memory, or lost its device or a worker.
    """
    scenario, where = resolve_scenario(scenario, where)
    check_arguments(paths, 0, seed, threads, None, None, None)
    worker = choose(engine, plain_count(threads), devices=devices)
    return checks_on(worker, scenario, int(paths), int(seed), where)


def checks_on(worker: Engine, scenario: Scenario, paths: int, seed: int, where: str | None) -> list[Check]:
    """Comparisons by an engine that has been made; see `run_checks`."""
    hedged, flat = (prepare(form(scenario), where) for form in (checkable_form, flat_form))
    with_dealers = worker.run(hedged.plan, seed, 0, paths)
    closed = worker.run(flat.plan, seed, 0, paths)
    return [*_pde_checks(hedged, with_dealers), *_flat_checks(flat, closed)]


def _pde_checks(prepared: Prepared, outcomes: Outcomes) -> list[Check]:
    scenario, grid = prepared.scenario, prepared.grid
    clearing_map = IntegratedMap(scenario, grid)
    start = float(grid.start_minute)
    variance = scenario.volatility.annual**2 / SESSIONS_PER_YEAR
    if scenario.volatility.quoted == "observed":
        m0 = 1.0 + float(clearing_map.feedback_less_one(np.zeros(1), start, True)[0])
        variance *= max(m0, clearing_map.floor) ** 2
    share = np.tile(grid.share, grid.n_sessions)
    drift = scenario.drift.annual / SESSIONS_PER_YEAR - variance / 2

    def problem(phi: object) -> tuple[float, float, float]:
        return first_target_odds(
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
        ("with dealers", clearing_map, outcomes.joint.sum(axis=1)),
        ("without dealers", lambda s, _minute, _after: s, outcomes.joint.sum(axis=0)),
    ):
        expected = problem(phi)
        order = (("first upper", UPPER, 0), ("first lower", LOWER, 1), ("neither", NEITHER, 2))
        checks += [
            _check(f"{name}, {dealers} (PDE)", expected[i], counts[j], outcomes) for name, j, i in order
        ]
    return checks


def _flat_checks(prepared: Prepared, outcomes: Outcomes) -> list[Check]:
    scenario, sessions = prepared.scenario, prepared.grid.n_sessions
    spot = scenario.market.spot
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
    for level, count in zip(scenario.all_levels, touches, strict=True):
        expected = float(touch_probability(np.log(level / spot), mean, variance))
        checks.append(
            _check(f"touch {level:,.10g}, flat volatility (closed form)", expected, count, outcomes)
        )
    return checks


def _check(name: str, expected: float, count: int, outcomes: Outcomes) -> Check:
    n = outcomes.paths
    spread = max(expected * (1.0 - expected), 1.0 / n)
    return Check(name, expected, int(count) / n, float(np.sqrt(spread / n)))
