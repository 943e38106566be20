from __future__ import annotations

import json
import math
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.sample_scenario import sample

import sim
from sim.check.checks import run_checks
from sim.engines.choice import ENGINES, choose
from sim.engines.numpy_engine import NumpyEngine
from sim.errors import GammawallError, InputError
from sim.files import versions
from sim.files.versions import installed_versions
from sim.market.closed_forms import corridor, touch_probability
from sim.plan.outcomes import LOWER, UPPER
from sim.run.simulation import Result, simulate
from sim.run.stopping import PATHS_ADDED, paths_wanting
from sim.run.trace import trace_path
from sim.scenario.file import load_scenario, scenario_from_mapping, scenario_hash
from sim.scenario.model import Scenario


@pytest.fixture(scope="module")
def small() -> Scenario:
    """A scenario that runs fast: no dealers, five sessions of three steps."""
    overrides = [
        "market.sessions=5",
        "volatility.steps_per_session=3",
        "targets.upper=7050",
        "targets.lower=6850",
    ]
    return load_scenario("no-dealers", overrides)


@pytest.fixture(scope="module")
def result(small: Scenario) -> Result:
    return simulate(small, paths=20_000, seed=4)


def test_five_lines_of_the_readme() -> None:
    scenario = sim.load_scenario("siege-of-7000")
    result = sim.simulate(scenario, paths=500, seed=1)
    assert result.odds.loc[0, "event"] == "first_upper"
    assert result.outcomes.joint.sum() == 500
    for table in (result.odds, result.first_passage, result.distribution, result.quantiles, result.regimes):
        assert not table.empty
        assert set(table["scenario"]) == {"siege-of-7000"}


def test_split_runs_add_up(small: Scenario, result: Result) -> None:
    parts = [
        simulate(small, paths=paths, first_path=first, seed=4)
        for first, paths in ((0, 6_000), (6_000, 14_000))
    ]
    assert parts[0].outcomes + parts[1].outcomes == result.outcomes


def test_manifest_tells_how_to_repeat_the_run(small: Scenario, result: Result) -> None:
    manifest = json.loads(json.dumps(result.manifest, allow_nan=False))
    assert manifest["seed"] == 4
    assert manifest["paths"] == 20_000
    engine = choose()
    assert [manifest[k] for k in ("engine", "device", "threads")] == [
        engine.name,
        engine.device,
        engine.threads,
    ]
    assert manifest["scenario_hash"] == scenario_hash(small)
    assert scenario_from_mapping_of(manifest["scenario"]) == small
    assert manifest["versions"]["gammawall-sim"] == sim.__version__
    assert manifest["timings"]["simulate_s"] > 0


def test_versions_name_cupy_if_it_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "packages_distributions", lambda: {"cupy": ["numpy", "click", "click"]})
    versions.installed_names.cache_clear()
    usual, of_cuda = installed_versions(), ENGINES["cuda"].libraries
    assert "click" not in usual
    assert installed_versions(of_cuda) == {**usual, "click": version("click")}
    assert installed_versions(ENGINES["native"].libraries) == usual
    monkeypatch.setattr(versions, "packages_distributions", dict)
    versions.installed_names.cache_clear()
    assert installed_versions(of_cuda) == usual
    versions.installed_names.cache_clear()


def scenario_from_mapping_of(data: dict[str, Any]) -> Scenario:
    return Scenario.model_validate_json(json.dumps(data))


@pytest.mark.parametrize("engine", ["numpy", "auto"])
def test_numpy_integers_are_whole_numbers_too(small: Scenario, engine: str) -> None:
    """They overflow where Python's do not."""
    plain = simulate(small, engine=engine, paths=300, first_path=2**63, seed=5, threads=1)
    given = {
        "paths": np.int32(300),
        "first_path": np.uint64(2**63),
        "seed": np.int32(5),
        "threads": np.int8(1),
    }
    result = simulate(small, engine=engine, **given)  # type: ignore[arg-type]
    assert result.outcomes == plain.outcomes
    json.dumps(result.manifest)


def test_auto_says_why_a_native_engine_is_not_used(small: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sim.run.simulation, "choose", lambda *_: choose("numpy", 1))
    monkeypatch.setattr(sim.run.warnings, "compiled_builds", lambda: ["baseline"])
    monkeypatch.setattr(sim.run.warnings, "native_problem", lambda: "it is of another age.")
    warning = "the native engine was not used: it is of another age."
    assert warning in simulate(small, paths=100).warnings
    assert warning not in simulate(small, paths=100, engine="numpy").warnings


def test_plan_digest_is_the_same_every_time(small: Scenario, result: Result) -> None:
    assert simulate(small, paths=1).manifest["plan_digest"] == result.manifest["plan_digest"]
    other = small.model_copy(update={"drift": small.drift.model_copy(update={"annual": 0.01})})
    assert simulate(other, paths=1).manifest["plan_digest"] != result.manifest["plan_digest"]


def test_benchmarks_are_the_closed_forms(small: Scenario, result: Result) -> None:
    variance = 5 * small.volatility.annual**2 / 252
    upper, lower = (math.log(t / small.market.spot) for t in (small.targets.upper, small.targets.lower))
    odds = corridor(upper, lower, -variance / 2, variance)
    assert result.benchmarks["flat_first_upper"] == pytest.approx(float(odds.first_upper))
    assert result.benchmarks["flat_first_lower"] == pytest.approx(float(odds.first_lower))
    assert result.benchmarks["flat_neither"] == pytest.approx(float(odds.neither))
    assert (
        set(result.benchmarks["flat_touch"]) == set(result.benchmarks["two_delta"]) == set(small.all_levels)
    )
    touch = float(touch_probability(upper, -variance / 2, variance))
    assert result.benchmarks["flat_touch"][small.targets.upper] == pytest.approx(touch)


def test_target_se_is_reached_with_few_paths_to_spare(small: Scenario) -> None:
    result = simulate(small, paths=10_000, seed=4, target_se=0.0012)
    n = result.outcomes.paths
    shares = result.outcomes.joint.sum(axis=1)[[UPPER, LOWER]] / n
    errors = np.sqrt(shares * (1 - shares) / n)
    assert errors.max() <= 0.0012
    assert errors.max() > 0.0010
    assert (n - 10_000) % PATHS_ADDED == 0
    assert result.manifest["paths"] == n
    assert result.outcomes == simulate(small, paths=n, seed=4).outcomes
    assert not result.warnings


def test_target_se_already_met(small: Scenario) -> None:
    assert simulate(small, paths=5_000, target_se=0.05).outcomes.paths == 5_000


def test_max_paths_limits_target_se(small: Scenario) -> None:
    result = simulate(small, paths=1_000, target_se=0.0001, max_paths=30_000)
    assert result.outcomes.paths == 30_000
    assert any("0.0001 was not reached within 30,000 paths" in warning for warning in result.warnings)


def test_an_event_never_seen_is_not_settled(result: Result) -> None:
    outcomes = result.outcomes + result.outcomes
    outcomes.joint[:] = 0
    outcomes.joint[0, 0] = outcomes.paths
    assert paths_wanting(outcomes, 1e-6, None) > 0


def test_progress_ends_at_the_total(small: Scenario) -> None:
    calls: list[tuple[int, int]] = []
    simulate(small, paths=3_000, block_paths=500, progress=lambda done, total: calls.append((done, total)))
    assert [done for done, _ in calls] == [500, 1000, 1500, 2000, 2500, 3000]
    assert {total for _, total in calls} == {3_000}


def test_floor_is_reported_with_strikes_times_and_depth() -> None:
    (warning,) = simulate(load_scenario("siege-of-7000"), paths=1).warnings
    assert "m_floor = 0.2 near short strikes 6,800, 6,850, 6,900" in warning
    assert "from 2026-02-10 16:00 to 2026-03-20 09:30 New York" in warning
    for regime in ("initial", "breakout", "melt_up", "support_lost", "institutional_hedging"):
        assert f"{regime} -" in warning


def test_closes_beyond_the_histogram_are_reported(small: Scenario) -> None:
    jumps = small.jumps.model_copy(update={"per_year": 252.0, "mean": 1.0, "sd": 0.0})
    (warning,) = simulate(small.model_copy(update={"jumps": jumps}), paths=100).warnings
    assert "outside the histogram" in warning


def test_no_floor_and_a_folded_map() -> None:
    scenario = load_scenario("siege-of-7000", ["dealers.m_floor=0"])
    with pytest.raises(InputError, match=r"wall\.toml: dealers\.m_floor = 0 \(the feedback factor falls to "):
        simulate(scenario, paths=1, where="wall.toml")


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"paths": 0}, "paths"),
        ({"first_path": -1}, "first_path"),
        ({"first_path": 2**64 - 1, "paths": 2}, "first_path"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"threads": 0}, "threads"),
        ({"block_paths": 0}, "block_paths"),
        ({"target_se": 0.0}, "target_se"),
        ({"target_se": math.nan}, "target_se"),
        ({"target_se": 1e-200}, "target_se"),
        ({"paths": 1e6}, "paths"),
        ({"paths": "10"}, "paths"),
        ({"paths": True}, "paths"),
        ({"seed": 1.5}, "seed"),
        ({"paths": 10, "target_se": 0.1, "max_paths": 5}, "max_paths"),
        ({"engine": "abacus"}, "engine"),
        ({"engine": "x" * 1_000_000}, "engine"),
        ({"engine": np.array(["auto", "numpy"])}, "engine"),
        ({"engine": pd.NA}, "engine"),
        ({"threads": 10**9, "paths": 10**6, "block_paths": 1}, "threads"),
        ({"first_path": np.uint64(2**64 - 1)}, "first_path"),
        ({"devices": [10**5000]}, "devices"),
        ({"paths": pd.Series([1, 2])}, "paths"),
    ],
)
def test_bad_arguments(small: Scenario, arguments: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError) as caught:
        simulate(small, **arguments)
    assert caught.value.problems[0].key == key
    assert len(str(caught.value)) < 300


def test_small_integers_of_numpy_do_not_overflow(small: Scenario) -> None:
    how: dict[str, Any] = {"engine": "numpy", "threads": 1}
    plain = simulate(small, paths=100, first_path=100, **how)
    own = simulate(small, paths=np.int8(100), first_path=np.int8(100), **how)
    assert (own.outcomes.joint == plain.outcomes.joint).all()
    checks = run_checks(small, paths=np.uint8(200), threads=np.int8(1), engine="numpy")
    assert checks == run_checks(small, paths=200, threads=1, engine="numpy")
    with pytest.raises(InputError, match="path = an integer of more than 60 digits"):
        trace_path(small, 10**5000)


def test_every_bad_argument_is_named(small: Scenario) -> None:
    with pytest.raises(InputError) as caught:
        simulate(small, paths=0, seed=-1, threads=0)
    assert [problem.key for problem in caught.value.problems] == ["paths", "seed", "threads"]


def test_the_sample_scenario_runs() -> None:
    result = simulate(scenario_from_mapping(sample(), "sample"), paths=200)
    assert result.outcomes.paths == 200


# what was given, and the message
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "notes, none": ({"notes": None}, "notes (a list of texts is expected, not None)"),
    "notes, a number": ({"notes": 1}, "notes = 1 (a list of texts is expected, not an int)"),
    "notes, numbers": ({"notes": [1]}, "notes[0] = 1 (a text is expected, not an int)"),
    "notes, half a letter": ({"notes": ["\udcff"]}, 'notes[0] = "\\udcff" (is no Unicode text)'),
    "notes, bytes": ({"notes": b"a"}, "notes (a list of texts is expected, not a bytes)"),
    "progress": ({"progress": 1}, "progress = 1 (a function of two numbers is expected, not an int)"),
    "where": ({"where": 1}, "where = 1 (a name for the scenario in messages is expected, not an int)"),
    "devices": ({"devices": 5}, "devices = 5 (a list of GPUs by their numbers is expected, not an int)"),
    "devices, a text": ({"devices": "0"}, 'devices = "0" (a list of GPUs'),
    "devices, fractions": ({"devices": [1.5]}, "devices[0] = 1.5 (the number of a GPU is expected"),
    "devices, negative": ({"devices": [-1]}, "devices = [-1] (GPUs are numbered from 0)"),
    "devices, none": ({"devices": []}, "devices = [] (names no GPU)"),
    "paths, none": ({"paths": None}, "paths = None (must be a whole number). Try paths=100000."),
    "paths, a float": ({"paths": 3.0}, "paths = 3.0 (must be a whole number). Try paths=3."),
    "paths, huge": ({"paths": 10**5000}, "first_path = 0 (path numbers have 64 bits)."),
    "seed, huge": ({"seed": 10**5000}, "seed = an integer of more than 60 digits (a seed has 64 bits"),
    "target_se, huge": (
        {"target_se": 10**400},
        "target_se = an integer of more than 60 digits (is too large",
    ),
    "engine": ({"engine": []}, "engine = [] (there is no such engine)"),
}


@pytest.mark.parametrize(("given", "message"), WRONG.values(), ids=WRONG)
def test_arguments_of_a_wrong_type_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        simulate("no-dealers", **{"paths": 8, "engine": "numpy", **given})
    assert str(caught.value).startswith(message)


def test_an_engine_that_loses_paths_makes_no_odds(monkeypatch: pytest.MonkeyPatch) -> None:
    run = NumpyEngine.run

    def forgetful(engine: NumpyEngine, plan: Any, seed: int, first: int, paths: int, *rest: Any) -> Any:
        return run(engine, plan, seed, first, paths - 1, *rest)

    monkeypatch.setattr(NumpyEngine, "run", forgetful)
    with pytest.raises(GammawallError, match=r"^the numpy engine counted 9 of 10 paths"):
        simulate("no-dealers", paths=10, engine="numpy", threads=1)
