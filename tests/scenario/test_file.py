"""Loading scenarios: built-in ones, paths, hashes, the words of refusals."""

from __future__ import annotations

import datetime as dt
import re
import threading
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from support.nested import nested_list
from support.places import CASES
from support.sample_scenario import DELETE, sample

from sim.errors import InputError
from sim.problems import UNKNOWN, known
from sim.scenario import key_problems
from sim.scenario.file import (
    builtin_scenarios,
    load_scenario,
    scenario_from_mapping,
    scenario_hash,
)
from sim.scenario.model import Scenario
from sim.scenario.validation import readable_part


def refusal(data: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        scenario_from_mapping(data, "my.toml")
    return str(caught.value)


def test_built_in_scenarios() -> None:
    found = builtin_scenarios()
    assert list(found) == ["no-dealers", "siege-of-7000"]
    assert all(20 < len(line) < 120 for line in found.values())
    for name in found:
        assert load_scenario(name).name == name


def test_siege_tells_the_story() -> None:
    siege = load_scenario("siege-of-7000")
    assert (siege.market.as_of, siege.market.spot) == (dt.date(2026, 2, 10), 6941.81)
    assert (siege.targets.upper, siege.targets.lower) == (7100.0, 6800.0)
    assert {6300.0, 6945.0, 7000.0, 7020.0} <= set(siege.all_levels)
    triggers = {regime.name: (regime.when, regime.level) for regime in siege.regime}
    assert triggers == {
        "breakout": ("closes_above", 7020.0),
        "melt_up": ("touches_above", 7100.0),
        "wall_gone": ("never", None),
        "support_lost": ("closes_below", 6945.0),
        "institutional_hedging": ("touches_below", 6800.0),
    }


def test_siege_is_the_reference_case() -> None:
    """The published odds are those of the built-in scenario, so every value but the prose must agree."""
    reference = load_scenario(CASES / "article.toml").model_dump(exclude={"description"})
    assert load_scenario("siege-of-7000").model_dump(exclude={"description"}) == reference


@pytest.mark.parametrize("case", ["article", "flat", "gaps", "permanent"])
def test_reference_cases_load(case: str) -> None:
    assert load_scenario(str(CASES / f"{case}.toml")).schema_version == 1


def test_no_dealers_is_the_same_market() -> None:
    siege, alone = load_scenario("siege-of-7000"), load_scenario("no-dealers")
    for part in ("market", "volatility", "drift", "jumps", "catalyst", "targets", "all_levels"):
        assert getattr(alone, part) == getattr(siege, part)
    assert (alone.dealers.position, alone.dealers.impact_bp_per_bn, alone.regime) == ((), 0.0, ())


def test_every_number_of_a_built_in_scenario_is_explained() -> None:
    """Each value is marked as the story's or as an assumption; absent dealers need no reason."""
    for name in builtin_scenarios():
        text = (resources.files("sim.scenarios") / f"{name}.toml").read_text(encoding="utf-8")
        for line in re.sub(r'""".*?"""', "", text, flags=re.DOTALL).splitlines():
            absent = name == "no-dealers" and re.match(r"(impact_|m_floor|position|quoted)", line)
            stated = re.match(r"\s*(\w+ = (?!\")[^\[]|\w+ = \[\"|\d)", line)
            if stated and not line.startswith(("schema", "#")) and not absent:
                assert re.search(r"# (story|assumption)", line), f"{name}: {line}"


def test_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(InputError) as caught:
        load_scenario("siege-of-700")
    assert str(caught.value) == (
        "siege-of-700: is no built-in scenario, and no path: a path has a separator or ends in .toml. "
        "Try siege-of-7000; built in are no-dealers, siege-of-7000."
    )
    with pytest.raises(InputError, match=r'^"": is no built-in .* Built in are no-dealers, siege-of-7000\.$'):
        load_scenario("")


def test_names_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare name means the built-in scenario even where a file has that name; a path never does."""
    text = tomli_w.dumps(sample({"name": "mine"}))
    for file in ("siege-of-7000", "siege-of-7000.toml"):
        (tmp_path / file).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_scenario("siege-of-7000").name == "siege-of-7000"
    for source in ("./siege-of-7000", "siege-of-7000.toml", Path("siege-of-7000")):
        assert load_scenario(source).name == "mine"


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "windows.toml"
    path.write_bytes(b"\xef\xbb\xbf" + tomli_w.dumps(sample()).replace("\n", "\r\n").encode())
    assert load_scenario(path) == Scenario.model_validate(sample())


def test_mapping_is_left_as_it_was() -> None:
    data = sample()
    scenario_from_mapping(data, "x")
    assert data == sample()


def test_hash() -> None:
    """Fixed by the scenario alone: not by number type, key order or whether a default is spelt out."""
    base = scenario_hash(scenario_from_mapping(sample(), "x"))
    assert re.fullmatch(r"[0-9a-f]{64}", base)
    backwards = dict(reversed(sample().items()))
    same = [backwards, sample({"levels": [6300.0, 6945, 7000.0, 7020]}), sample({"regime[0].closes": DELETE})]
    assert {scenario_hash(scenario_from_mapping(data, "x")) for data in same} == {base}
    negative_zero = [
        scenario_hash(scenario_from_mapping(sample({"drift.annual": x}), "x")) for x in (0.0, -0.0)
    ]
    assert negative_zero[0] == negative_zero[1]
    for edits in ({"name": "other"}, {"market.spot": 6941.810000000001}, {"regime[0].weights.puts": 1.0}):
        assert scenario_hash(scenario_from_mapping(sample(edits), "x")) != base


@pytest.mark.parametrize(
    ("edits", "line"),
    [
        ({"market.sopt": 1.0}, "my.toml: market.sopt = 1.0 (unknown key). Try spot."),
        (
            {"targets.middle": 1},
            "my.toml: targets.middle = 1 (unknown key). Known here: upper, lower.",
        ),
        (
            {"volatility.steps_per_session": "13"},
            'my.toml: volatility.steps_per_session = "13" (a whole number is expected). '
            "Try a plain integer such as 13, without quotes or decimals.",
        ),
        (
            {"targets": DELETE},
            "my.toml: targets (the key is required but missing). "
            "Try adding a table [targets] with upper, lower.",
        ),
        (
            {"dealers.position[1].strike": DELETE},
            "my.toml: dealers.position[1].strike (the key is required but missing). "
            "Try adding strike = ... to dealers.position[1].",
        ),
        (
            {"regime": {"name": "x"}},
            'my.toml: regime = { name = "x" } (a list is expected). Try [[regime]] with double brackets.',
        ),
        (
            {"market.as_of": dt.date(2026, 2, 7)},
            "my.toml: market.as_of = 2026-02-07 (is no trading day of the New York Stock Exchange). "
            "Try 2026-02-06 or 2026-02-09.",
        ),
        (
            {"volatility.quoted": "seen"},
            'my.toml: volatility.quoted = "seen" (is none of the possible values). '
            "Try 'observed' or 'fundamental'.",
        ),
        (
            {"volatility.annual": 14.1},
            "my.toml: volatility.annual = 14.1 (must be at most 5). Try a value of 5 or less.",
        ),
        (
            {"levels": 7000},
            "my.toml: levels = 7000 (a list is expected). Try [ ... ].",
        ),
    ],
)
def test_words(edits: dict[str, Any], line: str) -> None:
    assert refusal(sample(edits)) == line


def test_readable_part() -> None:
    data = sample({"market.spot": "?", "levels": [1, "x"], "targets": 5})
    view = readable_part(Scenario, data, {("market", "spot"), ("levels", 1), ("targets",)})
    assert not known(view.market.spot)
    assert view.market.as_of == dt.date(2026, 2, 10)
    assert view.market.sessions is None
    assert view.levels == (1, view.levels[1])
    assert not known(view.levels[1])
    assert view.targets is UNKNOWN
    assert view.regime[3].from_ == ("initial", "breakout")
    assert view.regime[1].closes == 2
    assert "closes" not in view.regime[1].model_fields_set
    assert readable_part(Scenario, {}, set()).dealers.m_floor == 0.2
    assert not known(readable_part(Scenario, {}, set()).market)


def generator() -> Iterator[int]:
    yield 1


LOOP: dict[str, Any] = {}
LOOP["loop"] = LOOP


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (generator(), "holds no value that a scenario has"),
        (threading.Lock(), "holds no value that a scenario has"),
        ([memoryview(b"a")], "holds no value that a scenario has"),
        (nested_list(5000), "is nested more than 20 deep"),
        (LOOP, "is nested more than 20 deep"),
    ],
    ids=["generator", "lock", "memoryview", "deep", "loop"],
)
@pytest.mark.parametrize("key", ["levels", "market", "no such key"])
def test_tables_that_cannot_be_copied_are_refused(key: str, value: Any, why: str) -> None:
    message = refusal({**sample(), key: value})
    shown = '"no such key"' if key == "no such key" else key
    assert message.startswith(f"my.toml: {shown} = ")
    assert f"({why})" in message
    assert " at 0x" not in message


@pytest.mark.parametrize("text", [f"{'.'.join('a' * 3000)} = 1", f"a = {'[' * 60}{']' * 60}"])
def test_a_file_nested_too_deeply_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "deep.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_scenario(path)
    assert str(caught.value).startswith(f"{path}: a (is nested more than 20 deep)")


def test_a_file_of_ten_thousand_problems_is_told_in_fifty_lines(tmp_path: Path) -> None:
    path = tmp_path / "many.toml"
    path.write_text(tomli_w.dumps(sample({"levels": [7000.0, *([-1.0] * 60)], "market.spot": -1.0})), "utf-8")
    with pytest.raises(InputError) as caught:
        load_scenario(path)
    count = len(caught.value.problems)
    lines = str(caught.value).splitlines()
    assert count > 60
    assert (len(lines), lines[-1]) == (51, f"and {count - 50} more.")


def test_hints_are_sought_for_the_problems_listed_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sought: list[str] = []
    matches = key_problems.difflib.get_close_matches
    monkeypatch.setattr(
        key_problems.difflib,
        "get_close_matches",
        lambda word, *rest, **how: sought.append(word) or matches(word, *rest, **how),
    )
    with pytest.raises(InputError) as failure:
        scenario_from_mapping(sample() | {f"marke{i}": 1 for i in range(2000)}, "x.toml")
    assert len(failure.value.problems) == 2000
    assert failure.value.problems[0].hint == "Try market."
    assert str(failure.value.problems[-1]) == "x.toml: marke1999 = 1 (extra inputs are not permitted)."
    assert len(sought) == 50
