"""Scenario text: every key shown, defaults marked, equal when read again."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from pydantic import BaseModel
from support.sample_scenario import DELETE, sample

from sim.scenario.file import builtin_scenarios, load_scenario, scenario_from_mapping, scenario_hash
from sim.scenario.model import Scenario
from sim.scenario.toml import scenario_to_toml

OPTIONAL = ("levels", "drift", "jumps", "catalyst", "dealers", "regime", "description")
MINIMAL: dict[str, Any] = dict.fromkeys(OPTIONAL, DELETE)
U_SHAPE = {"base": 0.5, "open": 3.25, "open_fade": 0.1, "close": 0.0, "close_fade": 10.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "everything": {},
    "minimal": MINIMAL,
    "sessions instead of until": {"market.until": DELETE, "market.sessions": 27},
    "two lines": {"description": 'first "quoted" \\ line\nsecond """ line\n\n'},
    "carriage returns": {"description": "first\r\nsecond\r"},
    "control characters": {"description": "\t\x00\x1b\x7f\u2028é"},
    "tiny numbers": {"volatility.annual": 1e-8, "drift.annual": -0.0, "jumps.mean": -1e-300},
    "numbers with many digits": {"market.spot": 6941.810000000001, "targets.upper": 0.1 + 7000.2},
    "normal shocks": {"volatility.tail_dof": DELETE, "volatility.long_run_annual": DELETE},
    "no regimes": {"regime": []},
    "own u shape": {"volatility.u_shape": U_SHAPE},
    "part of a u shape": {"volatility.u_shape": {"base": 1, "open_fade": 1e-05}},
    "u shape of defaults": {"volatility.u_shape": {}},
    "empty weights": {"regime[0].weights": {}},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_round_trip(variant: str) -> None:
    before = Scenario.model_validate(sample(VARIANTS[variant]))
    after = scenario_from_mapping(tomllib.loads(scenario_to_toml(before)), "again")
    assert after == before
    assert scenario_hash(after) == scenario_hash(before)
    assert tomllib.loads(scenario_to_toml(after)) == tomllib.loads(scenario_to_toml(before))


@pytest.mark.parametrize("name", sorted(builtin_scenarios()))
def test_round_trip_of_built_in_scenarios(name: str) -> None:
    loaded = load_scenario(name)
    assert scenario_from_mapping(tomllib.loads(scenario_to_toml(loaded)), name) == loaded


def keys_of(table: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in table.model_fields.items()]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_key_is_visible(variant: str) -> None:
    text = scenario_to_toml(Scenario.model_validate(sample(VARIANTS[variant])))
    tables = re.split(r"^\[+(.+?)\]+$", text, flags=re.MULTILINE)
    shown = {"": tables[0], **dict(zip(tables[1::2], tables[2::2], strict=True))}
    for key in keys_of(Scenario):
        field = Scenario.model_fields["schema_version" if key == "schema" else key]
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            for inner in keys_of(field.annotation):
                stated = re.search(rf"^(# )?{inner} = ", shown[key], re.MULTILINE)
                assert stated or f"{key}.{inner}" in shown
        else:
            assert re.search(rf"^{key} = ", shown[""], re.MULTILINE) or key in shown


def test_defaults_and_absent_values_are_marked() -> None:
    lines = scenario_to_toml(Scenario.model_validate(sample(MINIMAL))).splitlines()
    assert 'name = "sample"' in lines
    assert "levels = []  # default" in lines
    assert "m_floor = 0.2  # default" in lines
    assert "overnight_share = 0.46" in lines
    assert "# sessions =  (none: until is given)" in lines


def test_u_shape_is_one_line() -> None:
    absent = scenario_to_toml(Scenario.model_validate(sample())).splitlines()
    assert "# u_shape =  (none: the default shape)" in absent
    stated = scenario_to_toml(Scenario.model_validate(sample({"volatility.u_shape": U_SHAPE}))).splitlines()
    line = "u_shape = { base = 0.5, open = 3.25, open_fade = 0.1, close = 0.0, close_fade = 10.0 }"
    assert line in stated
    assert stated.index(line) == stated.index('intraday_shape = "u"') + 1


def test_absent_values_of_a_regime() -> None:
    text = scenario_to_toml(Scenario.model_validate(sample()))
    assert '# level =  (none: when = "never" has no level)' in text
    assert '# closes =  (none: when = "touches_above" counts no closes)' in text
    assert "# from =  (none: any other regime)" in text
