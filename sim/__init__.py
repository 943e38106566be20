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
    from sim.batch_family import Batch
    from sim.batch_file import builtin_batches, load_batch
    from sim.batch_simulation import simulate_batch
    from sim.chain_book import BookRules, book_of_chain
    from sim.chain_files import read_chain
    from sim.chain_scenario import chain_scenario
    from sim.check import run_checks
    from sim.errors import GammawallError, InputError, Problem
    from sim.fit_impact import fit_impact
    from sim.fit_intraday import fit_intraday
    from sim.fit_volatility import fit_volatility
    from sim.fragments import read_fragment
    from sim.gamma_levels import gamma_levels
    from sim.minute_bars import read_minute_bars
    from sim.outcomes import OutcomeAxes, Outcomes
    from sim.results import write_results
    from sim.run import Result, simulate
    from sim.scenario import Scenario
    from sim.scenario_file import (
        builtin_scenarios,
        load_scenario,
        scenario_from_mapping,
        scenario_hash,
        scenario_to_toml,
    )
    from sim.trace import trace_path

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
    "chain_scenario",
    "fit_impact",
    "fit_intraday",
    "fit_volatility",
    "gamma_levels",
    "load_batch",
    "load_scenario",
    "read_chain",
    "read_fragment",
    "read_minute_bars",
    "run_checks",
    "scenario_from_mapping",
    "scenario_hash",
    "scenario_to_toml",
    "simulate",
    "simulate_batch",
    "trace_path",
    "write_results",
]

_HOMES = {
    "Batch": "sim.batch_family",
    "BookRules": "sim.chain_book",
    "GammawallError": "sim.errors",
    "InputError": "sim.errors",
    "OutcomeAxes": "sim.outcomes",
    "Outcomes": "sim.outcomes",
    "Problem": "sim.errors",
    "Result": "sim.run",
    "Scenario": "sim.scenario",
    "book_of_chain": "sim.chain_book",
    "builtin_batches": "sim.batch_file",
    "builtin_scenarios": "sim.scenario_file",
    "chain_scenario": "sim.chain_scenario",
    "fit_impact": "sim.fit_impact",
    "fit_intraday": "sim.fit_intraday",
    "fit_volatility": "sim.fit_volatility",
    "gamma_levels": "sim.gamma_levels",
    "load_batch": "sim.batch_file",
    "load_scenario": "sim.scenario_file",
    "read_chain": "sim.chain_files",
    "read_fragment": "sim.fragments",
    "read_minute_bars": "sim.minute_bars",
    "run_checks": "sim.check",
    "scenario_from_mapping": "sim.scenario_file",
    "scenario_hash": "sim.scenario_file",
    "scenario_to_toml": "sim.scenario_file",
    "simulate": "sim.run",
    "simulate_batch": "sim.batch_simulation",
    "trace_path": "sim.trace",
    "write_results": "sim.results",
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
