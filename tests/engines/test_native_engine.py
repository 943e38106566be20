"""The native engine's counts are NumPy's to the last path, whatever the scenario, build, threads and cuts."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.needs import needs_native
from support.places import CASES, ROOT
from support.random_scenarios import COUNT, FEATURES, features_of, random_scenarios
from support.short_scenarios import SPOT, prepared_of

from sim.compiled.kernel_sources import NATIVE_BUILDS
from sim.engines.native_builds import native_problem, usable_builds
from sim.engines.native_engine import NativeEngine
from sim.engines.numpy_engine import NumpyEngine
from sim.plan.builder import prepare
from sim.plan.engine_plan import EnginePlan
from sim.plan.outcomes import LOWER, UPPER, Outcomes
from sim.scenario.file import load_scenario

FILES = [
    *(pytest.param(CASES / f"{name}.toml", id=name) for name in ("flat", "gaps", "permanent", "article")),
    *(pytest.param(file, id=file.stem) for file in sorted((ROOT / "sim" / "scenarios").glob("*.toml"))),
]
# Paths of a block in kernels/paths.cpp.
LANES = 256
SEED = 20_260_210
TWO_TO_32 = 1 << 32

pytestmark = needs_native


@pytest.fixture(params=NATIVE_BUILDS)
def build(request: pytest.FixtureRequest) -> str:
    """Each build that was compiled and that this processor can run."""
    name: str = request.param
    if name not in usable_builds():
        pytest.skip(native_problem(name))
    return name


@cache
def richest() -> EnginePlan:
    """The random scenario with the most features."""
    return max(random_scenarios(), key=lambda prepared: len(features_of(prepared))).plan


@cache
def by_numpy(first_path: int, paths: int) -> Outcomes:
    return NumpyEngine().run(richest(), SEED, first_path, paths)


@cache
def file_by_numpy(file: Path) -> tuple[EnginePlan, Outcomes]:
    plan = prepare(load_scenario(file)).plan
    return plan, NumpyEngine().run(plan, SEED, 0, 5_000)


@cache
def random_by_numpy(index: int) -> Outcomes:
    return NumpyEngine().run(random_scenarios()[index].plan, index, 77, 3_000)


def assert_same(found: Outcomes, expected: Outcomes) -> None:
    for field in dataclasses.fields(Outcomes):
        mine, theirs = getattr(found, field.name), getattr(expected, field.name)
        np.testing.assert_array_equal(mine, theirs, err_msg=field.name)
        assert np.asarray(mine).dtype == np.asarray(theirs).dtype, field.name


def test_random_scenarios_use_every_feature() -> None:
    used = set().union(*map(features_of, random_scenarios()))
    assert used == set(FEATURES)
    assert len({prepared.plan.digest for prepared in random_scenarios()}) == COUNT


def test_random_scenarios_visit_what_they_use() -> None:
    """Most regimes are entered and most targets reached in both worlds, or equal counts would prove little."""
    entered, regimes, reached = 0, 0, 0.0
    for index, prepared in enumerate(random_scenarios()):
        outcomes = random_by_numpy(index)
        regimes += prepared.plan.trigger.size
        entered += np.count_nonzero(outcomes.regime.any(axis=0))
        reached += float(np.mean(outcomes.first.any(axis=2)))
    assert entered > 0.75 * regimes
    assert reached > 0.8 * COUNT


@pytest.mark.parametrize("file", FILES)
def test_scenario_files(file: Path, build: str) -> None:
    plan, expected = file_by_numpy(file)
    assert_same(NativeEngine(build=build).run(plan, SEED, 0, expected.paths), expected)


@pytest.mark.parametrize("index", range(COUNT))
def test_random_scenarios(index: int, build: str) -> None:
    expected = random_by_numpy(index)
    plan = random_scenarios()[index].plan
    assert_same(NativeEngine(2, 997, build).run(plan, index, 77, expected.paths), expected)


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("block", [None, 1, 7, 255, 256, 257, 1000])
def test_threads_and_blocks_change_nothing(threads: int, block: int | None) -> None:
    assert_same(NativeEngine(threads, block).run(richest(), SEED, 0, 2_100), by_numpy(0, 2_100))


@pytest.mark.parametrize("paths", [1, 7, LANES - 1, LANES, LANES + 1, 2 * LANES, 2 * LANES + 3])
def test_numbers_of_paths_about_a_block(paths: int, build: str) -> None:
    assert_same(NativeEngine(build=build).run(richest(), SEED, 0, paths), by_numpy(0, paths))


@pytest.mark.parametrize(
    "first_path", [1, LANES - 1, LANES, 12_345, TWO_TO_32 - 600, 5 * TWO_TO_32 + 3, 1 << 62]
)
def test_first_paths(first_path: int) -> None:
    assert_same(NativeEngine(1, 300).run(richest(), SEED, first_path, 600), by_numpy(first_path, 600))


@pytest.mark.parametrize("before", [1, 255, 256, 599])
@pytest.mark.parametrize(("threads", "block"), [(1, None), (2, 100), (3, 257)])
def test_ranges_across_two_to_the_32(before: int, threads: int, block: int | None) -> None:
    """Both sides of the border in one run are the same as each in its own."""
    first = TWO_TO_32 - before
    engine = NativeEngine(threads, block)
    whole = engine.run(richest(), SEED, first, 600)
    assert_same(whole, by_numpy(first, 600))
    rest = engine.run(richest(), SEED, TWO_TO_32, 600 - before)
    assert_same(engine.run(richest(), SEED, first, before) + rest, whole)
    assert rest != engine.run(richest(), SEED, 0, 600 - before)


@pytest.mark.parametrize("seed", [0, TWO_TO_32 - 1, TWO_TO_32, (1 << 64) - 1])
def test_both_words_of_the_seed_count(seed: int) -> None:
    expected = NumpyEngine().run(richest(), seed, 0, 500)
    assert_same(NativeEngine().run(richest(), seed, 0, 500), expected)
    assert expected != by_numpy(0, 500)


def test_ranges_of_paths_add_up() -> None:
    engine = NativeEngine(2, 111)
    parts = [
        engine.run(richest(), SEED, first, count) for first, count in ((1_500, 600), (0, 400), (400, 1_100))
    ]
    assert_same(parts[0] + parts[1] + parts[2], by_numpy(0, 2_100))


WILD = {"volatility.annual": 2.0, "volatility.quoted": "fundamental", "volatility.overnight_share": 0.0}
CONSTANT = {
    "volatility.alpha": 0.0,
    "volatility.gamma": 0.0,
    "volatility.beta": 1.0,
    "volatility.long_run_annual": 2.0,
}
NO_NEWS: dict[str, Any] = {"jumps": {}, "drift": {}}
CORNERS = {
    "targets as far as each other": {
        **{**WILD, **CONSTANT, **NO_NEWS, "volatility.steps_per_session": 1, "market.sessions": 1},
        **{"levels": [], "dealers": {}, "regime": []},
        "targets": {"upper": SPOT * 1.01, "lower": SPOT / 1.01},
    },
    "as many regimes as there may be": {
        "market.sessions": 34,
        "regime": [
            {
                "name": f"r{i}",
                "when": "closes_above",
                "closes": 1,
                "level": 5000.0,
                "weights": {"wall": 0.1 * (i % 7)},
            }
            for i in range(31)
        ],
    },
    "as many levels as there may be": {
        "levels": [*range(6000, 6900, 30), *range(6960, 7600, 21)],
        "regime": [],
    },
    "far beyond every level": {
        **WILD,
        **CONSTANT,
        "volatility.tail_dof": 2.1,
        "market.sessions": 60,
        "regime": [],
    },
    "390 steps per session": {"volatility.steps_per_session": 390, "market.sessions": 2},
    "a variance that falls to its floor": {
        **{"volatility.alpha": 0.0, "volatility.gamma": 0.0, "volatility.beta": 0.0},
        "volatility.long_run_annual": 0.001,
    },
}


@pytest.mark.parametrize("name", CORNERS)
def test_corners(name: str) -> None:
    plan = prepared_of(CORNERS[name]).plan
    for build in usable_builds():
        assert_same(
            NativeEngine(2, 700, build).run(plan, SEED, 0, 1_500), NumpyEngine().run(plan, SEED, 0, 1_500)
        )


def test_of_two_targets_as_near_the_upper_counts() -> None:
    """In the one trading step of this corner many paths touch both."""
    plan = prepared_of(CORNERS["targets as far as each other"]).plan
    assert plan.level[0, 0] == plan.level[1, 0]
    outcomes = NativeEngine().run(plan, SEED, 0, 2_000)
    both = outcomes.touch[0].sum(axis=1).sum() - outcomes.first[0].sum()
    assert both > 500
    assert outcomes.first[0, UPPER - 1].sum() == outcomes.touch[0, 1].sum()
    assert outcomes.first[0, LOWER - 1].sum() == outcomes.touch[0, 0].sum() - both
