"""Cases prepared with shared work are those prepared alone: in any order, in threads, with any memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from support.sample_scenario import refusal
from support.short_scenarios import CATALYST, scenario_of

from sim.plan import builder, variance
from sim.plan.builder import prepare
from sim.plan.shared_work import SharedWork
from sim.scenario.model import Scenario

# Keys that leave the map as it is, and keys that change it.
SAME_MAP: list[dict[str, Any]] = [
    {"dealers.impact_half_life": 0.0},
    {"dealers.impact_half_life": 7.5},
    {"drift.annual": 0.07},
    {"volatility.annual": 0.16},
    {"volatility.quoted": "fundamental"},
    {"volatility.beta": 0.8},
    {"volatility.tail_dof": 4.0},
    {"volatility.tail_dof": None},
    {"volatility.overnight_share": 0.3},
    {"volatility.intraday_shape": "flat"},
    {"jumps.per_year": 9.0},
    {"catalyst": [CATALYST]},
    {"regime[1].flow_bn_per_session": -3.0},
    {"regime[1].lasts": 2},
    {"description": "another"},
]
OTHER_MAP: list[dict[str, Any]] = [
    {"dealers.impact_bp_per_bn": 2.0},
    {"dealers.impact_bp_per_bn": 0.0},
    {"dealers.impact_bp_per_bn": 30.0},
    {"dealers.m_floor": 0.95},
    {"dealers.position[0].gex_bn": -9.0},
    {"dealers.position[0].gex_bn": 4.0},
    {"dealers.position[1].contracts": 20000},
    {"dealers.position[0].strike": 6990},
    {"dealers.position[0].iv": 0.12},
    {"dealers.position[0].carry": 0.0},
    {"dealers.position[0].type": "put"},
    {"dealers.position[0].settlement": "PM"},
    {"regime[0].weights": {"wall": 0.5}},
    {"targets.upper": 7110},
    {"levels": [6300]},
    {"market.spot": 6950.0},
    {"volatility.steps_per_session": 4},
    {"volatility.annual": 1.5},
]


@pytest.fixture(scope="module")
def cases() -> list[Scenario]:
    return [scenario_of(edits) for edits in ({}, *SAME_MAP, *OTHER_MAP)]


@pytest.fixture(scope="module")
def alone(cases: list[Scenario]) -> list[str]:
    """Digest of each case's plan, prepared for itself."""
    return [prepare(case).plan.digest for case in cases]


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which tables have been built since the test began."""
    built: list[str] = []

    def count(module: ModuleType, name: str) -> None:
        sound = getattr(module, name)

        def counted(*arguments: Any) -> Any:
            built.append(name)
            return sound(*arguments)

        monkeypatch.setattr(module, name, counted)

    count(builder, "build_map_tables")
    count(variance, "student_t_variance_atoms")
    return built


def test_cases_differ(alone: list[str]) -> None:
    """All but the one with another description alone."""
    assert len(set(alone)) == len(alone) - 1


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize("most_bytes", [1 << 28, 1 << 20, 0])
def test_any_order_and_any_memory(
    cases: list[Scenario], alone: list[str], seed: int | None, most_bytes: int
) -> None:
    shared = SharedWork(most_bytes)
    order = np.arange(len(cases)) if seed is None else np.random.default_rng(seed).permutation(len(cases))
    for number in order:
        assert prepare(cases[number], None, shared).plan.digest == alone[number]
        assert shared.bytes <= most_bytes


def test_threads(cases: list[Scenario], alone: list[str]) -> None:
    shared = SharedWork()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda case: prepare(case, None, shared).plan.digest, 3 * cases))
    assert found == 3 * alone


def test_a_map_is_built_once(builds: list[str]) -> None:
    shared = SharedWork()
    prepare(scenario_of(), None, shared)
    assert sorted(builds) == ["build_map_tables", "student_t_variance_atoms"]
    for edits in SAME_MAP:
        prepare(scenario_of(edits), None, shared)
    # those of 4 degrees of freedom
    assert sorted(builds) == ["build_map_tables"] + 2 * ["student_t_variance_atoms"]


@pytest.mark.parametrize("edits", OTHER_MAP)
def test_another_map_is_built_anew(edits: dict[str, Any], builds: list[str]) -> None:
    shared = SharedWork()
    prepare(scenario_of(), None, shared)
    del builds[:]
    prepare(scenario_of(edits), None, shared)
    assert builds == ([] if edits == {"dealers.impact_bp_per_bn": 0.0} else ["build_map_tables"])


def test_nothing_is_shared_unless_asked(builds: list[str]) -> None:
    for _ in range(2):
        prepare(scenario_of())
    assert builds.count("build_map_tables") == 2


def test_shared_arrays_cannot_be_written_to() -> None:
    plan = prepare(scenario_of()).plan
    for name in ("lines", "barrier_start", "barrier_end", "step_table", "table_clip", "settles"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(plan, name)[...] = 0


def test_a_refusal_names_its_own_case() -> None:
    """What was refused for one case is refused for the next, by its name."""
    shared = SharedWork()
    folding = scenario_of({"dealers.m_floor": 0.0, "dealers.impact_bp_per_bn": 60.0})
    for where in ("first.toml", "second.toml"):
        (problem,) = refusal(lambda where=where: prepare(folding, where, shared)).problems
        assert (problem.where, problem.key) == (where, "dealers.m_floor")
