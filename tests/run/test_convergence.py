"""Limits of the simulation: steps per session do not matter, and a still book has the scale function's odds."""

from __future__ import annotations

import numpy as np
import pytest
from support.scale_function import scale_function_odds

from sim.plan.builder import prepare
from sim.plan.outcomes import LOWER, NEITHER, UPPER
from sim.run.simulation import simulate
from sim.scenario.file import load_scenario

PATHS = 100_000


def test_steps_per_session_agree() -> None:
    """Six pairs of two shares each within four combined standard errors; false alarms one in 1,500 seeds."""
    shares = {}
    for steps in (6, 13, 26, 78):
        scenario = load_scenario("siege-of-7000", [f"volatility.steps_per_session={steps}"])
        shares[steps] = (
            simulate(scenario, paths=PATHS, seed=3).outcomes.joint.sum(axis=1)[[UPPER, LOWER]] / PATHS
        )
    reference = shares[13]
    error = np.sqrt(2 * reference * (1 - reference) / PATHS)
    for one in shares.values():
        for other in shares.values():
            assert (np.abs(one - other) <= 4 * error).all()


@pytest.mark.parametrize("gex_bn", [25.0, -12.0])
def test_still_book_has_the_scale_functions_odds(gex_bn: float) -> None:
    """P(upper first) = ∫m over the way down / ∫m over the whole corridor, for a driftless ln F and a book at rest.

    An option years from expiry hardly ages in three months. Its gamma is centred on the upper target, so that
    the odds differ from those without dealers by many standard errors. False alarms one in 16,000 seeds.
    """
    volatility = 0.3
    overrides = [
        "market.sessions=60",
        f"volatility={{annual={volatility}, quoted='fundamental', overnight_share=0.0, intraday_shape='flat'}}",
        f"drift.annual={volatility**2 / 2}",
        "regime=[]",
        "levels=[]",
        "dealers={impact_bp_per_bn=4.0, m_floor=0.2}",
        "dealers.position=[{group='far', type='call', strike=7100, expiry=2040-12-14, settlement='PM', "
        f"iv=0.01, gex_bn={gex_bn}}}]",
    ]
    scenario = load_scenario("siege-of-7000", overrides)
    prepared = prepare(scenario)
    start = prepared.grid.start_minute

    def feedback(s: float) -> float:
        _, slopes = prepared.clearing_map.unfloored(np.atleast_1d(s), start, after_settlement=True)
        return float(slopes[0, 0])

    upper, lower = (float(np.log(t / scenario.market.spot)) for t in (7100, 6800))
    expected, _ = scale_function_odds(feedback, upper, lower)
    joint = simulate(scenario, paths=PATHS, seed=4).outcomes.joint
    with_dealers = joint.sum(axis=1)
    assert with_dealers[NEITHER] < 1e-4 * PATHS
    error = np.sqrt(expected * (1 - expected) / PATHS)
    assert abs(with_dealers[UPPER] / PATHS - expected) <= 4 * error
    assert abs(joint.sum(axis=0)[UPPER] / PATHS - expected) > 10 * error
