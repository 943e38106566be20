"""Monte Carlo odds for the S&P 500 at the dealers' gamma wall.

    from sim import load_scenario, simulate

    result = simulate(load_scenario("siege-of-7000"), paths=1_000_000, seed=1)
    print(result.odds)

Everything is imported on first use, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.batch.family import Batch
    from sim.batch.file import builtin_batches, load_batch
    from sim.batch.simulation import simulate_batch
    from sim.chain.book import BookRules, book_of_chain
    from sim.chain.files import read_chain
    from sim.chain.levels import find_gamma_levels
    from sim.chain.scenario import scenario_of_chain
    from sim.check.checks import run_checks
    from sim.errors import GammawallError, InputError, Problem
    from sim.fit.impact import fit_impact
    from sim.fit.intraday import fit_intraday
    from sim.fit.minute_bars import read_minute_bars
    from sim.fit.volatility import fit_volatility
    from sim.plan.outcomes import OutcomeAxes, Outcomes
    from sim.run.results import write_results
    from sim.run.simulation import Result, simulate
    from sim.run.trace import trace_path
    from sim.scenario.file import (
        builtin_scenarios,
        load_scenario,
        scenario_from_mapping,
        scenario_hash,
        scenario_to_toml,
    )
    from sim.scenario.fragments import read_fragment
    from sim.scenario.model import Scenario

    __version__: str

__all__ = [
    "Batch",
    "BookRules",
    "GammawallError",
    "InputError",
    "OutcomeAxes",
    "Outcomes",
    "Problem",
    "Result",
    "Scenario",
    "__version__",
    "book_of_chain",
    "builtin_batches",
    "builtin_scenarios",
    "find_gamma_levels",
    "fit_impact",
    "fit_intraday",
    "fit_volatility",
    "load_batch",
    "load_scenario",
    "read_chain",
    "read_fragment",
    "read_minute_bars",
    "run_checks",
    "scenario_from_mapping",
    "scenario_hash",
    "scenario_of_chain",
    "scenario_to_toml",
    "simulate",
    "simulate_batch",
    "trace_path",
    "write_results",
]

_HOMES = {
    "Batch": "sim.batch.family",
    "BookRules": "sim.chain.book",
    "GammawallError": "sim.errors",
    "InputError": "sim.errors",
    "OutcomeAxes": "sim.plan.outcomes",
    "Outcomes": "sim.plan.outcomes",
    "Problem": "sim.errors",
    "Result": "sim.run.simulation",
    "Scenario": "sim.scenario.model",
    "book_of_chain": "sim.chain.book",
    "builtin_batches": "sim.batch.file",
    "builtin_scenarios": "sim.scenario.file",
    "scenario_of_chain": "sim.chain.scenario",
    "fit_impact": "sim.fit.impact",
    "fit_intraday": "sim.fit.intraday",
    "fit_volatility": "sim.fit.volatility",
    "find_gamma_levels": "sim.chain.levels",
    "load_batch": "sim.batch.file",
    "load_scenario": "sim.scenario.file",
    "read_chain": "sim.chain.files",
    "read_fragment": "sim.scenario.fragments",
    "read_minute_bars": "sim.fit.minute_bars",
    "run_checks": "sim.check.checks",
    "scenario_from_mapping": "sim.scenario.file",
    "scenario_hash": "sim.scenario.file",
    "scenario_to_toml": "sim.scenario.file",
    "simulate": "sim.run.simulation",
    "simulate_batch": "sim.batch.simulation",
    "trace_path": "sim.run.trace",
    "write_results": "sim.run.results",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use.

    Source: PEP 562.
    """
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("gammawall-sim")
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
