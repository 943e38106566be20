"""SHA-256 of the plans of some scenarios and of the float64 numbers behind them, by name.

As a script it prints them all as JSON. A plan's tables are float32: a change of a float64 number's last bit vanishes
in most of them, so the numbers behind are digested as they are.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from sim.book import expiry_curves
from sim.chain.book import book_of_chain
from sim.chain.book_rules import BookRules
from sim.chain.files import read_chain
from sim.chain.levels import find_gamma_levels
from sim.chain.scenario import scenario_of_chain
from sim.market import normal_law
from sim.market.elementary import exp, expm1, log, power
from sim.market.gamma_law import inverse_means
from sim.plan.builder import prepare
from sim.scenario.file import load_scenario
from sim.scenario.model import Scenario
from support.places import SYNTHETIC_CHAIN

RULES = BookRules(scale_to_gex=5.5)
VARIANT = ("volatility.tail_dof=2.4", "volatility.u_shape.open_fade=0.07", "dealers.impact_half_life=0.7")


def digest(*values: Any) -> str:
    """SHA-256 of arrays, numbers and texts, types and shapes included."""
    sha = hashlib.sha256()
    for value in values:
        if isinstance(value, str):
            sha.update(value.encode())
            continue
        array = np.asarray(value)
        sha.update(f"{array.dtype.str} {array.shape}".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def functions() -> dict[str, str]:
    """Elementary functions and the gamma law at fixed places."""
    # Exact in any arithmetic: multiples of 2^-17, and powers of two.
    x = np.arange(1, 1 << 18) * 2.0**-17
    wide = np.concatenate([x[:1000] * 2.0**k for k in range(-1000, 1000, 40)])
    return {
        "log": digest(log(x), log(wide)),
        "exp": digest(exp(x), exp(-x), exp(350.0 * (x - 1.0))),
        "expm1": digest(expm1(-x), expm1(x * 2.0**-30)),
        "power": digest(power(2.0, x), power(x, 1.0 - x)),
        "student-t atoms": digest(
            *(inverse_means(0.5 * dof, 4096) for dof in (2.05, 2.5, 5.3, 8.0, 31.0, 1000.0))
        ),
        "normal law": digest(normal_law.LAW, normal_law.DENSITY),
        "knots": digest(expiry_curves.KNOTS),
    }


def scenario_digests(name: str, scenario: Scenario) -> dict[str, str]:
    """The plan and what it is made of; the map at some instants, by NumPy."""
    prepared = prepare(scenario)
    found, grid, plan = prepared.clearing_map, prepared.grid, prepared.plan
    book = found.book
    digests = {
        "plan": plan.digest,
        "variance shares": digest(grid.share, grid.step_time),
        "close edges": digest(prepared.axes.close_edges),
    }
    if not found.is_identity:
        slices = [found.at(float(grid.step_end_minute[step]), False) for step in (0, 14, 70, 139)]
        digests |= {
            "log strikes": digest(book.log_strike(found.spot)),
            "positions": digest(book.units, book.rows.iv, book.rows.carry),
            "map": digest(
                found.half_width, *(array for at in slices for array in (at.nodes, at.values, at.slopes))
            ),
        }
    return {f"{name}: {what}": value for what, value in digests.items()}


def siege_digests() -> dict[str, str]:
    return scenario_digests("siege-of-7000", load_scenario("siege-of-7000"))


def variant_digests() -> dict[str, str]:
    return scenario_digests("variant of siege-of-7000", load_scenario("siege-of-7000", VARIANT))


def no_dealers_digests() -> dict[str, str]:
    return scenario_digests("no-dealers", load_scenario("no-dealers"))


def chain_digests() -> dict[str, str]:
    """A synthetic chain, scaled to a gamma exposure, up to its plan."""
    book = book_of_chain(read_chain(SYNTHETIC_CHAIN), RULES)
    levels = find_gamma_levels(book)
    scenario = scenario_of_chain(book, levels=levels)
    return {
        "chain: carries": digest([carry.carry for carry in book.carries.values()]),
        "chain: contracts": digest(book.rows.contracts),
        "chain: levels": digest(list(scenario.all_levels), [crossing.price for crossing in levels.crossings]),
        "chain: volatility": digest(scenario.volatility.annual),
        **scenario_digests("chain", scenario),
    }


PARTS: dict[str, Callable[[], dict[str, str]]] = {
    "functions": functions,
    "siege-of-7000": siege_digests,
    "variant": variant_digests,
    "no-dealers": no_dealers_digests,
    "chain": chain_digests,
}


def all_digests() -> dict[str, str]:
    return {name: value for part in PARTS.values() for name, value in part().items()}


if __name__ == "__main__":
    json.dump(all_digests(), sys.stdout, indent=2)
