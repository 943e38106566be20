from __future__ import annotations

import numpy as np
import pytest
from support.sample_scenario import sample

from sim.engines.choice import choose
from sim.errors import InputError
from sim.kernels_numpy.path_state import PathBlock
from sim.kernels_numpy.paths import run_block
from sim.plan.builder import prepare
from sim.plan.outcomes import LOWER, NEITHER, UPPER
from sim.run.simulation import simulate
from sim.run.trace import trace_path
from sim.scenario.file import load_scenario, scenario_from_mapping
from sim.scenario.model import Scenario

PATH = 12_345


@pytest.fixture(scope="module")
def siege() -> Scenario:
    return load_scenario("siege-of-7000")


def test_the_traced_path_is_the_path_of_the_run(siege: Scenario) -> None:
    prepared = prepare(siege)
    prices, fundamentals, regimes = [], [], []

    def keep(_: int, block: PathBlock) -> None:
        column = PATH - 12_000
        prices.append(siege.market.spot * float(np.exp(np.float64(block.s[column]))))
        fundamentals.append(siege.market.spot * float(np.exp(np.float64(block.coordinate[1, column]))))
        regimes.append(prepared.axes.regimes[block.regime[column]])

    run_block(PathBlock(prepared.plan, 1, 512), 12_000, 512, keep)
    days = trace_path(siege, PATH, seed=1)
    assert days["price"].tolist() == prices
    assert days["fundamental"].tolist() == fundamentals
    assert days["regime"].tolist() == regimes
    np.testing.assert_array_equal(days["impact_points"], days["price"] - days["fundamental"])
    assert days["date"].tolist() == list(prepared.axes.sessions)


def test_traces_add_up_to_the_counts() -> None:
    """A run of ten paths counts exactly what the ten traces show."""
    scenario = scenario_from_mapping(sample(), "sample")
    first, count = 90, 10
    result = simulate(scenario, paths=count, first_path=first, seed=9)
    levels = [f"{level:.10g}" for level in result.axes.levels]
    touches = np.zeros((2, len(levels), len(result.axes.sessions)), dtype=int)
    regimes = np.zeros_like(result.outcomes.regime)
    for path in range(first, first + count):
        for row in trace_path(scenario, path, seed=9).itertuples():
            regimes[row.session - 1, result.axes.regimes.index(row.regime)] += 1
            for world, names in enumerate((row.touches, row.control_touches)):
                for name in names.split():
                    touches[world, levels.index(name), row.session - 1] += 1
    steps = result.axes.steps_per_session + 1
    counted = result.outcomes.touch.reshape(2, len(levels), -1, steps).sum(axis=-1)
    np.testing.assert_array_equal(touches, counted)
    np.testing.assert_array_equal(regimes, result.outcomes.regime)


@pytest.mark.parametrize("path", range(90, 100))
def test_a_path_s_record_is_what_its_trace_shows(path: int) -> None:
    """Its first target as well, unless both came on one day."""
    scenario = scenario_from_mapping(sample(), "sample")
    record = np.zeros(1, dtype=np.uint16)
    choose().run(prepare(scenario).plan, 9, path, 1, records=record)
    days = trace_path(scenario, path, seed=9)["touches"].str.split()
    touched = [float(name) for names in days for name in names]
    spot, targets = scenario.market.spot, scenario.targets
    above = sum(level > spot for level in touched)
    assert int(record[0]) >> 2 == above + 128 * (len(touched) - above)
    day_of = {float(name): day for day, names in enumerate(days) for name in names}
    upper, lower = (day_of.get(level, len(days)) for level in (targets.upper, targets.lower))
    if upper != lower:
        assert int(record[0]) & 3 == (UPPER if upper < lower else LOWER)
    elif upper == len(days):
        assert int(record[0]) & 3 == NEITHER


def test_seeds_and_paths_differ(siege: Scenario) -> None:
    prices = [trace_path(siege, path, seed=seed)["price"].tolist() for path, seed in ((0, 1), (1, 1), (0, 2))]
    assert prices[0] != prices[1]
    assert prices[0] != prices[2]


def test_largest_path_number(siege: Scenario) -> None:
    assert len(trace_path(siege, 2**64 - 1)) == 27


@pytest.mark.parametrize(("path", "seed"), [(-1, 1), (2**64, 1), (0, -1), (0, 2**64)])
def test_out_of_range(siege: Scenario, path: int, seed: int) -> None:
    with pytest.raises(InputError, match=r"must lie between 0 and 2\^64 - 1"):
        trace_path(siege, path, seed=seed)
