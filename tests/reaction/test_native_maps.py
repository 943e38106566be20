"""Tables from compiled code and from NumPy: the same bytes, the same refusals, whatever the book."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from support.needs import needs_native
from support.random_scenarios import mapping, random_scenarios
from support.short_scenarios import SHORT, scenario_of

from sim.compiled import native_library
from sim.engines.native_builds import usable_builds
from sim.errors import InputError
from sim.plan import map_tables
from sim.plan.builder import Prepared, prepare
from sim.reaction import known_tables, native_maps
from sim.scenario.file import load_scenario, scenario_from_mapping
from sim.scenario.model import Scenario

CALL = {"group": "wall", "type": "call", "settlement": "PM", "iv": 0.12, "gex_bn": 3.0}
WEEK = [dt.date(2026, 2, day) for day in (11, 12, 13, 17, 18, 19)]


def chain(count: int, sign: float = 1.0) -> list[dict[str, Any]]:
    """Strikes all over, expiries one after the other, calls and puts in turn."""
    return [
        {
            **CALL,
            "group": f"g{k % 5}",
            "type": "put" if k % 3 else "call",
            "strike": 6300.0 + 7 * k,
            "expiry": WEEK[k % len(WEEK)],
            "settlement": "AM" if k % 2 else "PM",
            "iv": 0.08 + 0.01 * (k % 9),
            "carry": 0.01 * (k % 4),
            "gex_bn": sign * (-1.0) ** k * (0.1 + 0.05 * (k % 7)),
        }
        for k in range(count)
    ]


def expiry_groups(count: int, expiries: int) -> list[dict[str, Any]]:
    """Strikes all over at each of some expiries: from days to years away, some at the open, one with few strikes."""
    dates = [*WEEK, dt.date(2026, 3, 20), dt.date(2026, 12, 18), dt.date(2031, 12, 19)][:expiries]
    return [
        {
            **CALL,
            "group": f"g{k % 3}",
            "type": "put" if k % 2 else "call",
            "strike": 5600.0 + 2400.0 * k / count + 3 * e,
            "expiry": expiry,
            "settlement": "AM" if e % 2 else "PM",
            "iv": 0.07 + 0.3 * abs(k / count - 0.6) + 0.01 * e,
            "carry": 0.01 * (e % 5) - 0.01,
            "gex_bn": (-1.0) ** (k // 2) * (0.05 + 0.02 * (k % 7)),
        }
        for e, expiry in enumerate(dates)
        for k in range(count if e != 2 else 9)
    ]


def regimes(count: int) -> list[dict[str, Any]]:
    return [
        {
            "name": f"r{k}",
            "when": "closes_above",
            "level": 7000 + k,
            "weights": {"wall": 0.1 * k, "puts": -0.05 * k},
        }
        for k in range(count)
    ]


def thanksgiving() -> Scenario:
    """Half a day of trading, at whose end a call settles."""
    return scenario_of(
        {
            "market": {"as_of": dt.date(2026, 11, 24), "spot": 6941.81, "sessions": 4},
            "dealers.position": [{**CALL, "strike": 6950, "expiry": dt.date(2026, 11, 27)}],
            "regime": [],
        }
    )


HARD = {
    "floor binds": scenario_of({"dealers.impact_bp_per_bn": 40.0}),
    "high floor": scenario_of({"dealers.m_floor": 1.0}),
    "no floor": scenario_of({"dealers.m_floor": 0.0, "regime": []}),
    "early close": thanksgiving(),
    "31 books": scenario_of({"regime": regimes(31)}),
    "one book": scenario_of({"regime": []}),
    "long chain": scenario_of({"dealers.position": chain(150), "regime": []}),
    "short chain": scenario_of(
        {
            "dealers.position": chain(70, -1.0),
            "regime": [],
            "dealers.m_floor": 0.5,
            "dealers.impact_bp_per_bn": 20.0,
        }
    ),
    "expiry groups": scenario_of({"dealers.position": expiry_groups(40, 9), "regime": []}),
    "expiry groups that bind": scenario_of(
        {
            "dealers.position": expiry_groups(30, 7),
            "dealers.impact_bp_per_bn": 30.0,
            "regime": [
                {"name": "r", "when": "closes_above", "level": 7000, "weights": {"g0": 0.1, "g1": -0.5}}
            ],
        }
    ),
    "expiry groups and lone": scenario_of(
        {"dealers.position": [*expiry_groups(20, 3), *chain(30)], "regime": []}
    ),
    "identity": scenario_of({"dealers.impact_bp_per_bn": 0.0}),
    "no position": scenario_of({"dealers.position": [], "regime": []}),
    "opposed": scenario_of(
        {
            "dealers.position": [
                {**CALL, "strike": 6950, "expiry": WEEK[2]},
                {**CALL, "strike": 6950, "expiry": WEEK[2], "gex_bn": -3.0},
            ],
            "regime": [],
        }
    ),
    "level beyond the nodes": scenario_of({"levels": [100.0, 7000.0, 400_000.0]}),
    "every minute": scenario_of(
        {"market": {**SHORT["market"], "sessions": 1}, "volatility.steps_per_session": 390}
    ),
    "far strike": scenario_of(
        {"dealers.position": [{**CALL, "strike": 9e4, "expiry": WEEK[4]}], "regime": []}
    ),
}


@pytest.fixture
def by_numpy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Prepare a scenario as a machine without compiled code does."""

    def prepared(scenario: Scenario) -> Prepared:
        with monkeypatch.context() as patch:
            patch.setattr(map_tables, "working_library", lambda: None)
            return prepare(scenario)

    return prepared


def assert_same(found: Prepared, expected: Prepared) -> None:
    for name, value in vars(expected.plan).items():
        np.testing.assert_array_equal(getattr(found.plan, name), value, err_msg=name)
    assert found.plan.digest == expected.plan.digest
    assert found.floor_events == expected.floor_events


@needs_native
@pytest.mark.parametrize("name", HARD)
def test_hard_cases(name: str, by_numpy: Any) -> None:
    assert_same(prepare(HARD[name]), by_numpy(HARD[name]))


def test_hard_cases_are_what_they_are_called() -> None:
    events = {name: len(prepare(HARD[name]).floor_events) for name in HARD}
    assert all(
        events[name] > 0 for name in ("floor binds", "high floor", "short chain", "expiry groups that bind")
    )
    assert events["no floor"] == events["opposed"] == 0
    assert prepare(HARD["31 books"]).plan.books == 32
    closes = prepare(HARD["early close"]).grid
    assert len(set((closes.close_minute - closes.open_minute).tolist())) == 2


@needs_native
def test_random_scenarios(by_numpy: Any) -> None:
    for prepared in random_scenarios():
        assert_same(prepared, by_numpy(prepared.scenario))


def outcome(prepared_by: Callable[[Scenario], Prepared], scenario: Scenario) -> Prepared | str:
    """The prepared scenario, or why it was refused."""
    try:
        return prepared_by(scenario)
    except InputError as error:
        return str(error)


def folding_scenarios(count: int) -> Iterator[Scenario]:
    """Random scenarios with strong impact and low floors: many of them are refused."""
    rng = np.random.default_rng(11)
    for index in range(count):
        data = mapping(index, rng)
        if "dealers" in data:
            data["dealers"]["impact_bp_per_bn"] = float(rng.uniform(1, 30))
            data["dealers"]["m_floor"] = float(rng.choice([0, 0.05, 0.3]))
        with contextlib.suppress(InputError):
            yield scenario_from_mapping(data, "random")


@needs_native
def test_refusals_too_are_the_same(by_numpy: Any) -> None:
    refused = built = 0
    for scenario in folding_scenarios(40):
        found, expected = outcome(prepare, scenario), outcome(by_numpy, scenario)
        if isinstance(expected, str):
            refused += 1
            assert found == expected
        else:
            built += 1
            assert isinstance(found, Prepared)
            assert_same(found, expected)
    assert min(refused, built) > 5


@needs_native
@pytest.mark.parametrize("build", usable_builds())
def test_every_build_finds_the_same(build: str, monkeypatch: pytest.MonkeyPatch, by_numpy: Any) -> None:
    library = native_library.load_library(native_library.file_of(build))
    monkeypatch.setattr(map_tables, "working_library", lambda: library)
    for name in ("floor binds", "long chain"):
        assert_same(prepare(HARD[name]), by_numpy(HARD[name]))


@needs_native
def test_the_siege(by_numpy: Any) -> None:
    scenario = load_scenario("siege-of-7000")
    assert_same(prepare(scenario), by_numpy(scenario))


@needs_native
@pytest.mark.parametrize("limit", [{"INSTANTS_AT_ONCE": 1}, {"INSTANTS_AT_ONCE": 7}, {"MOST_LINES": 20_000}])
def test_parts_make_the_same_whole(limit: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = prepare(HARD["floor binds"])
    for name, value in limit.items():
        monkeypatch.setattr(native_maps, name, value)
    assert_same(prepare(HARD["floor binds"]), expected)


@needs_native
def test_compiled_code_is_used_where_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """All instants, none of them by NumPy."""
    monkeypatch.setattr(map_tables._Tables, "_by_numpy", None)
    assert prepare(HARD["floor binds"]).plan.lines.size


@needs_native
def test_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    library = known_tables.working_library()

    class Exhausted:
        build_map_tables = staticmethod(lambda inputs, outputs: None)

    assert library is not None
    monkeypatch.setattr(map_tables, "working_library", lambda: Exhausted)
    with pytest.raises(MemoryError, match="no memory for the clearing map"):
        prepare(HARD["one book"])


@pytest.mark.parametrize("unfit", ["library_problem", "tables_problem"])
def test_without_a_working_library_numpy_builds(unfit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = prepare(HARD["one book"])
    known_tables.working_library.cache_clear()
    try:
        monkeypatch.setattr(known_tables, unfit, lambda _: "it is unfit")
        assert map_tables.working_library() is None
        assert_same(prepare(HARD["one book"]), expected)
    finally:
        monkeypatch.undo()
        known_tables.working_library.cache_clear()
