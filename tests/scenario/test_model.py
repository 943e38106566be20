"""The validated scenario: strict types, frozen values, defaults, all levels."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from pydantic import ValidationError
from support.sample_scenario import DELETE, sample

from sim.errors import InputError
from sim.scenario.file import load_scenario, scenario_hash
from sim.scenario.model import Dealers, Drift, Jumps, Market, Position, Regime, Scenario, Volatility

MINIMAL: dict[str, Any] = {
    "schema": 1,
    "name": "minimal",
    "market": {"as_of": dt.date(2026, 2, 10), "spot": 6941.81, "sessions": 21},
    "volatility": {"annual": 0.14},
    "targets": {"upper": 7100, "lower": 6800},
}


def scenario(edits: dict[str, Any] | None = None) -> Scenario:
    return Scenario.model_validate(sample(edits))


def test_defaults() -> None:
    """The defaults are part of what a file means: changing one changes every user's odds."""
    minimal = Scenario.model_validate(MINIMAL)
    assert minimal.volatility.model_dump() == {
        "annual": 0.14,
        "quoted": "observed",
        "long_run_annual": None,
        "alpha": 0.0,
        "gamma": 0.0,
        "beta": 1.0,
        "tail_dof": None,
        "overnight_share": 0.46,
        "steps_per_session": 13,
        "intraday_shape": "u",
    }
    assert minimal.drift == Drift(annual=0.0)
    assert minimal.jumps == Jumps(per_year=0.0, mean=0.0, sd=0.0)
    assert minimal.dealers == Dealers(impact_bp_per_bn=0.0, impact_half_life=0.0, m_floor=0.2, position=())
    assert (minimal.description, minimal.levels, minimal.catalyst, minimal.regime) == ("", (), (), ())
    regime = Regime(name="r", when="closes_above", level=7000.0)
    assert regime.closes == 2
    assert regime.from_ is None
    assert (regime.weights, regime.flow_bn_per_session, regime.lasts, regime.then) == ({}, 0.0, None, None)
    position = Position.model_validate({**sample()["dealers"]["position"][1]})
    assert position.carry == 0.0
    assert position.gex_bn is None


def test_integers_become_floats_and_lists_tuples() -> None:
    loaded = scenario()
    assert loaded.levels == (6300.0, 6945.0, 7000.0, 7020.0)
    assert all(type(level) is float for level in loaded.levels)
    assert type(loaded.dealers.position[0].strike) is float
    assert loaded.regime[3].from_ == ("initial", "breakout")


def test_frozen() -> None:
    loaded = scenario()
    with pytest.raises(ValidationError, match="frozen"):
        loaded.market.spot = 7000.0  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        loaded.name = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (Market, {"as_of": dt.date(2026, 2, 10), "spot": "6941.81", "sessions": 5}),
        (Market, {"as_of": dt.date(2026, 2, 10), "spot": True, "sessions": 5}),
        (Market, {"as_of": "2026-02-10", "spot": 6941.81, "sessions": 5}),
        (Market, {"as_of": dt.datetime(2026, 2, 10), "spot": 6941.81, "sessions": 5}),
        (Market, {"as_of": dt.date(2026, 2, 10), "spot": 6941.81, "sessions": 5.0}),
        (Market, {"as_of": dt.date(2026, 2, 10), "spot": float("nan"), "sessions": 5}),
        (Volatility, {"annual": 0.14, "tail_dof": float("inf")}),
        (Volatility, {"annual": 0.14, "steps_per_session": False}),
        (Volatility, {"annual": 0.14, "anual": 0.14}),
        (Regime, {"name": 3, "when": "never"}),
    ],
)
def test_strict_types(table: type[Market], values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        table.model_validate(values)
    assert caught.value.error_count() == 1


def test_contradictions_are_refused_by_the_constructor() -> None:
    with pytest.raises(InputError) as caught:
        scenario({"targets.upper": 6900, "market.sessions": 21})
    assert [problem.key for problem in caught.value.problems] == ["market.sessions", "targets.upper"]


def test_a_copy_is_checked_as_a_whole() -> None:
    loaded = scenario()
    market = loaded.market.model_copy(update={"as_of": dt.date(2026, 2, 8), "spot": 7120.0})
    with pytest.raises(InputError) as caught:
        loaded.model_copy(update={"market": market})
    assert [problem.key for problem in caught.value.problems] == ["targets.upper", "market.as_of"]
    assert loaded.model_copy() == loaded
    assert loaded.model_copy(update={"name": "other"}).name == "other"


def test_all_levels() -> None:
    """Levels, both targets and every touch trigger once, ascending; those of close triggers are not among them."""
    found = scenario({"levels": [7300, 7100, 6300], "regime[0].level": 7042}).all_levels
    assert found == (6300.0, 6800.0, 7100.0, 7150.0, 7300.0)
    assert Scenario.model_validate(MINIMAL).all_levels == (6800.0, 7100.0)


def test_most_levels() -> None:
    """64 levels in all, targets and touches among them; those that coincide count once."""
    levels = [6800, 7100, 7150, *range(7201, 7262)]
    assert len(scenario({"levels": levels}).all_levels) == 64
    with pytest.raises(InputError, match="there are 65 levels"):
        scenario({"levels": [*levels[1:], 7300]})


@pytest.mark.parametrize(
    "edits",
    [
        {"volatility.alpha": 0.05, "volatility.gamma": -0.05, "volatility.beta": 0.97},
        {"volatility.alpha": 0, "volatility.gamma": 0, "volatility.beta": 0},
        {
            "volatility.alpha": 0,
            "volatility.gamma": 0,
            "volatility.beta": 1,
            "volatility.long_run_annual": 0.141,
        },
        {"volatility.overnight_share": 0.0, "volatility.steps_per_session": 1},
        {"volatility.steps_per_session": 390, "volatility.tail_dof": 1000},
        {"dealers.impact_bp_per_bn": 0, "dealers.m_floor": 0},
        {"dealers.position": [], "regime": []},
        {"dealers.position[0].carry": -1.0},
        {"catalyst[0].outcomes[0].probability": 0.55 + 5e-10},
        {"catalyst[1].outcomes[0].sd": 0},
        {"regime[0].closes": 1, "regime[0].level": 6941.81},
        {"regime[0].weights": {"wall": -1.5, "puts": 0}},
        {"regime[0].lasts": 1, "regime[0].then": "wall_gone"},
        {"market.until": DELETE, "market.sessions": 2520},
    ],
)
def test_limits_are_inclusive(edits: dict[str, Any]) -> None:
    loaded = scenario(edits)
    assert loaded != scenario()


# --- copies, and tables that are read again

COPIES: dict[str, tuple[dict[str, Any], str]] = {
    "no table": ({"market": "x"}, 'update: market = "x" (a table is expected)'),
    "none": ({"market": None}, "update: market = None (a table is expected)"),
    "no number": ({"levels": (float("nan"),)}, "update: levels[0] = nan (must be finite)"),
    "a path as the name": ({"name": "a/b"}, 'update: name = "a/b" (has a path separator'),
    "half a letter": ({"description": "\udcff"}, 'update: description = "\\udcff" (is no Unicode text)'),
    "unknown": ({"nonsense": 1}, "update: nonsense = 1 (unknown key)"),
    "key of the file": ({"schema": 2}, "update: schema = 2 (is not the version of these keys)"),
    "no mapping": (5, "update = 5 (a mapping of attributes to values is expected"),  # type: ignore[dict-item]
}


@pytest.mark.parametrize(("update", "message"), COPIES.values(), ids=COPIES)
def test_a_copy_is_validated(update: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario("siege-of-7000").model_copy(update=update)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("spot", ["x", float("nan"), 10**400, 0], ids=["text", "nan", "huge", "zero"])
def test_a_copy_of_a_table_is_validated(spot: Any) -> None:
    with pytest.raises(InputError, match=r"^update: spot = "):
        load_scenario("siege-of-7000").market.model_copy(update={"spot": spot})


def test_a_copy_keeps_what_it_does_not_name() -> None:
    loaded = load_scenario("siege-of-7000")
    assert loaded.regime[0].model_copy(update={"from": ["initial"]}).from_ == ("initial",)
    copied = loaded.model_copy(update={"levels": [7010]}, deep=True)
    assert (copied.levels, copied.market) == ((7010.0,), loaded.market)
    assert copied.model_fields_set == loaded.model_fields_set


@pytest.mark.parametrize("name", ["siege-of-7000", "no-dealers"])
def test_tables_of_a_scenario_can_be_read_again(name: str) -> None:
    loaded = load_scenario(name)
    again = Scenario.model_validate(loaded.model_dump(by_alias=True))
    assert again == loaded
    assert scenario_hash(again) == scenario_hash(loaded)


@pytest.mark.parametrize("key", ["market.spot", "targets.lower", "levels", "dealers.position[0].strike"])
@pytest.mark.parametrize("price", [1e-310, 1e-320, 5e-324, 1e-300])
def test_prices_whose_reciprocals_overflow_are_refused(key: str, price: float) -> None:
    with pytest.raises(InputError, match=r"must be at least 0\.001"):
        load_scenario("siege-of-7000", {key: [price] if key == "levels" else price})
    with pytest.raises(InputError, match=r"volatility\.annual = .* \(must be at least 1e-08"):
        load_scenario("siege-of-7000", {"volatility.annual": price})


def test_a_table_that_was_never_validated_is_refused_where_it_is_used() -> None:
    scenario = load_scenario("siege-of-7000")
    wrong = Volatility.model_construct(**{**dict(scenario.volatility), "annual": -5.0})
    with pytest.raises(InputError, match=r"update: volatility\.annual = -5\.0 \(must be at least"):
        scenario.model_copy(update={"volatility": wrong})
    with pytest.raises(InputError, match=r"changes: volatility\.annual = -5\.0"):
        scenario.with_changes({"volatility": wrong})
    same = scenario.model_copy(update={"regime": scenario.regime, "dealers": scenario.dealers})
    assert (same, scenario_hash(same)) == (scenario, scenario_hash(scenario))
    assert scenario.with_changes({"regime": scenario.regime, "volatility": scenario.volatility}) == scenario
