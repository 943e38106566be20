"""Monte Carlo odds for the S&P 500 at the dealers' gamma wall.

A scenario, built in or of a file, to odds:

    from sim import load_scenario, simulate, write_scenario

    result = simulate("siege-of-7000", paths=1_000_000, seed=1)
    print(result.summary())        # what `gammawall run` prints
    print(result.headline_odds)    # a narrow table; .odds has every number, .outcomes the counts

    scenario = load_scenario("siege-of-7000", {"dealers.impact_bp_per_bn": 1})
    weaker = scenario.with_changes({"dealers.position[wall].gex_bn*": 0.5})
    write_scenario(weaker, "weaker.toml")

An option chain to odds, its volatility and the dealers' impact fitted to files or DataFrames:

    from datetime import date

    from sim import BookRules, Horizon, book_of_chain, find_gamma_levels, read_chain, scenario_of_chain
    from sim import fit_impact, fit_volatility, simulate

    chain = read_chain("chain.csv")
    book = book_of_chain(chain, BookRules(sign="naive", scale_to_gex=6.7))
    print(find_gamma_levels(book))  # .table has the walls and where gamma turns
    fits = [fit_volatility("spx.csv").fragment(), fit_impact("dix.csv", "spx.csv", "vix.csv").fragment()]
    scenario = scenario_of_chain(book, Horizon(until=date(2025, 10, 10)), fragments=fits)
    result = simulate(scenario, fragments=fits)

A family of scenarios on the same draws:

    from sim import load_batch, simulate_batch

    run = simulate_batch(load_batch("story"), "results/story")

Whatever is wrong with a file or an argument of a function is an `InputError`, with every problem and what to try; any
other failure that its message explains is a `GammawallError`. Only a class of the scenario's model that is called
directly, such as `Market` or `Scenario`, raises `pydantic.ValidationError` for a single key that is missing, unknown,
of a wrong type or out of range. Everything is imported on first use, so that importing the package costs next to
nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sim.run import rendering as _rendering

if TYPE_CHECKING:
    from sim.batch.family import Batch, Case
    from sim.batch.file import builtin_batches, load_batch
    from sim.batch.merge import merge_folders
    from sim.batch.run import BatchProgress, BatchRun
    from sim.batch.simulation import simulate_batch
    from sim.book.rows import BookRows
    from sim.chain.book import ChainBook, NetGex, book_of_chain
    from sim.chain.book_rules import BookRules, StrikeGroup
    from sim.chain.files import read_chain
    from sim.chain.levels import Crossing, GammaLevels, Wall, find_gamma_levels
    from sim.chain.option_chain import OptionChain
    from sim.chain.parity_carry import ExpiryCarry
    from sim.chain.scenario import ChainScenario, Horizon, scenario_of_chain
    from sim.check.checks import Check, run_checks
    from sim.errors import GammawallError, InputError, Problem
    from sim.fit.impact import ImpactEstimate, ImpactFit, ImpactSpecification, fit_impact
    from sim.fit.intraday import IntradayFit, fit_intraday
    from sim.fit.minute_bars import MinuteBars, read_minute_bars
    from sim.fit.volatility import ParameterEstimate, VolatilityFit, fit_volatility
    from sim.plan.outcomes import OutcomeAxes, Outcomes, OutcomeShape
    from sim.run.results import write_results
    from sim.run.simulation import Result, simulate
    from sim.run.trace import trace_path
    from sim.scenario.file import builtin_scenarios, load_scenario, scenario_from_mapping, scenario_hash
    from sim.scenario.fragments import Fragment, read_fragment
    from sim.scenario.model import (
        Catalyst,
        CatalystOutcome,
        Dealers,
        Drift,
        Jumps,
        Market,
        Position,
        Regime,
        Scenario,
        Targets,
        UShape,
        Volatility,
    )
    from sim.scenario.toml import scenario_to_toml
    from sim.scenario.writing import write_scenario

    __version__: str

__all__ = [
    "Batch",
    "BatchProgress",
    "BatchRun",
    "BookRows",
    "BookRules",
    "Case",
    "Catalyst",
    "CatalystOutcome",
    "ChainBook",
    "ChainScenario",
    "Check",
    "Crossing",
    "Dealers",
    "Drift",
    "ExpiryCarry",
    "Fragment",
    "GammaLevels",
    "GammawallError",
    "Horizon",
    "ImpactEstimate",
    "ImpactFit",
    "ImpactSpecification",
    "InputError",
    "IntradayFit",
    "Jumps",
    "Market",
    "MinuteBars",
    "NetGex",
    "OptionChain",
    "OutcomeAxes",
    "OutcomeShape",
    "Outcomes",
    "ParameterEstimate",
    "Position",
    "Problem",
    "Regime",
    "Result",
    "Scenario",
    "StrikeGroup",
    "Targets",
    "UShape",
    "Volatility",
    "VolatilityFit",
    "Wall",
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
    "merge_folders",
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
    "write_scenario",
]

_HOMES = {
    "Batch": "sim.batch.family",
    "BatchProgress": "sim.batch.run",
    "BatchRun": "sim.batch.run",
    "BookRows": "sim.book.rows",
    "BookRules": "sim.chain.book_rules",
    "Case": "sim.batch.family",
    "Catalyst": "sim.scenario.model",
    "CatalystOutcome": "sim.scenario.model",
    "ChainBook": "sim.chain.book",
    "ChainScenario": "sim.chain.scenario",
    "Check": "sim.check.checks",
    "Crossing": "sim.chain.levels",
    "Dealers": "sim.scenario.model",
    "Drift": "sim.scenario.model",
    "ExpiryCarry": "sim.chain.parity_carry",
    "Fragment": "sim.scenario.fragments",
    "GammaLevels": "sim.chain.levels",
    "GammawallError": "sim.errors",
    "Horizon": "sim.chain.scenario",
    "ImpactEstimate": "sim.fit.impact",
    "ImpactFit": "sim.fit.impact",
    "ImpactSpecification": "sim.fit.impact",
    "InputError": "sim.errors",
    "IntradayFit": "sim.fit.intraday",
    "Jumps": "sim.scenario.model",
    "Market": "sim.scenario.model",
    "MinuteBars": "sim.fit.minute_bars",
    "NetGex": "sim.chain.book",
    "OptionChain": "sim.chain.option_chain",
    "OutcomeAxes": "sim.plan.outcomes",
    "OutcomeShape": "sim.plan.outcomes",
    "Outcomes": "sim.plan.outcomes",
    "ParameterEstimate": "sim.fit.volatility",
    "Position": "sim.scenario.model",
    "Problem": "sim.errors",
    "Regime": "sim.scenario.model",
    "Result": "sim.run.simulation",
    "Scenario": "sim.scenario.model",
    "StrikeGroup": "sim.chain.book_rules",
    "Targets": "sim.scenario.model",
    "UShape": "sim.scenario.model",
    "Volatility": "sim.scenario.model",
    "VolatilityFit": "sim.fit.volatility",
    "Wall": "sim.chain.levels",
    "book_of_chain": "sim.chain.book",
    "builtin_batches": "sim.batch.file",
    "builtin_scenarios": "sim.scenario.file",
    "find_gamma_levels": "sim.chain.levels",
    "fit_impact": "sim.fit.impact",
    "fit_intraday": "sim.fit.intraday",
    "fit_volatility": "sim.fit.volatility",
    "load_batch": "sim.batch.file",
    "load_scenario": "sim.scenario.file",
    "merge_folders": "sim.batch.merge",
    "read_chain": "sim.chain.files",
    "read_fragment": "sim.scenario.fragments",
    "read_minute_bars": "sim.fit.minute_bars",
    "run_checks": "sim.check.checks",
    "scenario_from_mapping": "sim.scenario.file",
    "scenario_hash": "sim.scenario.file",
    "scenario_of_chain": "sim.chain.scenario",
    "scenario_to_toml": "sim.scenario.toml",
    "simulate": "sim.run.simulation",
    "simulate_batch": "sim.batch.simulation",
    "trace_path": "sim.run.trace",
    "write_results": "sim.run.results",
    "write_scenario": "sim.scenario.writing",
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
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


class _Reports:
    """Renderer of results by the room of reports, which stands above the room of runs and is not imported there."""

    def text(self, result: Result, width: int | None) -> str:
        from sim.report.result import result_text

        return result_text(result, width)

    def html(self, result: Result) -> str:
        from sim.report.result import result_html

        return result_html(result)


_rendering.use_renderer(_Reports())
