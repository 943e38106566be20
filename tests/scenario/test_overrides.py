"""Overrides of scenario keys from the command line."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from support.nested import nested_list
from support.sample_scenario import sample

from sim.errors import InputError
from sim.scenario.file import load_scenario
from sim.scenario.model import Scenario
from sim.scenario.overrides import apply_overrides, apply_settings, plain_key, values_at


@pytest.fixture(scope="module")
def sample_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "sample.toml"
    path.write_text(tomli_w.dumps(sample()), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("override", "edits"),
    [
        ("targets.upper=7150", {"targets.upper": 7150}),
        (" targets.upper = 7150.5 ", {"targets.upper": 7150.5}),
        ("name=other", {"name": "other"}),
        ('name="other"', {"name": "other"}),
        ("description=two words = three", {"description": "two words = three"}),
        ("levels=[6900, 7000]", {"levels": [6900, 7000]}),
        ("levels[3]=7025", {"levels[3]": 7025}),
        ("dealers.position[0].strike=7050", {"dealers.position[0].strike": 7050}),
        (
            "dealers.position[wall].iv=0.2",
            {"dealers.position[0].iv": 0.2, "dealers.position[1].iv": 0.2},
        ),
        ("dealers.position[puts].expiry=2026-02-20", {"dealers.position[2].expiry": dt.date(2026, 2, 20)}),
        ("regime[breakout].level=7030", {"regime[0].level": 7030}),
        ("regime[breakout].weights.puts=0.5", {"regime[0].weights.puts": 0.5}),
        ('regime[support_lost].from=["initial"]', {"regime[3].from": ["initial"]}),
        ("catalyst[jobs report].outcomes[0].sd=0.01", {"catalyst[1].outcomes[0].sd": 0.01}),
        ("catalyst[0].session=2026-02-12", {"catalyst[0].session": dt.date(2026, 2, 12)}),
        ("jumps={per_year=4, sd=0.01}", {"jumps": {"per_year": 4, "sd": 0.01}}),
        ("volatility.steps_per_session=26", {"volatility.steps_per_session": 26}),
        ("volatility.u_shape.base=0.5", {"volatility.u_shape": {"base": 0.5}}),
        (
            "volatility.u_shape={base=1, open=0, open_fade=0.2, close=3, close_fade=0.05}",
            {"volatility.u_shape": {"base": 1, "open": 0, "open_fade": 0.2, "close": 3, "close_fade": 0.05}},
        ),
        ("dealers.impact_bp_per_bn=.6", {"dealers.impact_bp_per_bn": 0.6}),
        ("dealers.impact_bp_per_bn=2.", {"dealers.impact_bp_per_bn": 2.0}),
        ("drift.annual=-.5e-1", {"drift.annual": -0.05}),
    ],
)
def test_override(sample_file: Path, override: str, edits: dict[str, Any]) -> None:
    assert load_scenario(sample_file, [override]) == Scenario.model_validate(sample(edits))


def test_tables_are_created() -> None:
    assert load_scenario("siege-of-7000", ["jumps.per_year=2"]).jumps.per_year == 2.0


def test_empty_book() -> None:
    loaded = load_scenario("siege-of-7000", ["dealers.position=[]", "regime=[]"])
    assert loaded.dealers.position == ()


def test_stating_one_horizon_drops_the_other(sample_file: Path) -> None:
    loaded = load_scenario(sample_file, ["market.sessions=27"])
    assert (loaded.market.sessions, loaded.market.until) == (27, None)
    back = load_scenario(sample_file, ["market.sessions=27", "market.until=2026-03-19"])
    assert (back.market.sessions, back.market.until) == (None, dt.date(2026, 3, 19))


def test_stating_one_size_drops_the_other(sample_file: Path) -> None:
    loaded = load_scenario(sample_file, ["dealers.position[wall].gex_bn=4.5"])
    sizes = [(position.gex_bn, position.contracts) for position in loaded.dealers.position]
    assert sizes == [(4.5, None), (4.5, None), (-6.0, None)]


def test_later_overrides_win(sample_file: Path) -> None:
    assert load_scenario(sample_file, ["targets.upper=7150", "targets.upper=7200"]).targets.upper == 7200.0


@pytest.mark.parametrize(
    ("override", "key", "why"),
    [
        ("targets.upper", "targets.upper", "not key=value"),
        ("=5", "=5", "not key=value"),
        ("", '""', "not key=value"),
        ("targets.upper=", "targets.upper", "no value"),
        ("targets..upper=7", "targets..upper", "no key"),
        ("targets.upper.=7", "targets.upper.", "no key"),
        ("targets upper=7", "targets upper", "no key"),
        ("levels[]=7", "levels[]", "no key"),
        ("levels[4]=7050", "levels[4]", "no item [4]: the last is [3]"),
        ("levels[-1]=7050", "levels[-1]", "no item named -1"),
        ("levels[x]=7050", "levels[x]", "no item named x"),
        ("targets[0].upper=7", "targets[0].upper", "is no list"),
        ("nothing[0].upper=7", "nothing[0].upper", "is no list"),
        ("regime[melt-up].level=7", "regime[melt-up].level", "no item named melt-up"),
        ("market.spot.x=7", "market.spot.x", "market.spot is no table"),
        ("levels[0].x=7", "levels[0].x", "levels[0] is no table"),
        # applied, then refused by validation
        ("targets.uper=7150", "targets.uper", "unknown key"),
        ("targets.upper=6,900", "targets.upper", "number is expected"),
        ("targets.upper=6900", "targets.upper", "not above spot"),
        ("market.as_of='2026-02-10'", "market.as_of", "date is expected"),
        ("market.until=2026-13-01", "market.until", "date is expected"),
        ("market.until=2026-03-22", "market.until", "no trading day"),
        ("market.spot=nan", "market.spot", "finite"),
        ("dealers.position[wall].iv=0", "dealers.position[1].iv", "at least 0.01"),
        ("regime[breakout].weights.nobody=1", "regime[0].weights.nobody", "no group"),
        ("regime[breakout]={name='x'}", "regime[0].when", "missing"),
        ("levels=[6900,", "levels", "list is expected"),
    ],
)
def test_refused_override(sample_file: Path, override: str, key: str, why: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario(sample_file, [override])
    refused = {problem.key: problem for problem in caught.value.problems}
    # The text itself, where the key of the problem is not the one that it states.
    assert refused[key].where in ("--set", f"--set {override}")
    assert (refused[key].where == "--set") == (override.partition("=")[0] in (key, "") or key in ("=5", '""'))
    assert why in refused[key].why
    assert refused[key].hint


def test_file_and_overrides_are_reported_together(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(tomli_w.dumps(sample({"volatility.annual": -1})), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_scenario(path, ["levels[9]=1", "targets.upper=1", "drift.annual=x"])
    assert [(problem.where, problem.key) for problem in caught.value.problems] == [
        ("--set", "levels[9]"),
        (str(path), "volatility.annual"),
        ("--set", "drift.annual"),
        ("--set", "targets.upper"),
    ]


def test_problem_elsewhere_keeps_the_file_as_its_place() -> None:
    with pytest.raises(InputError) as caught:
        load_scenario("siege-of-7000", ["market.spot=7200"])
    assert ("siege-of-7000", "targets.upper") in [(p.where, p.key) for p in caught.value.problems]


def test_applied_keys_are_by_index() -> None:
    applied, problems = apply_overrides(sample(), ["dealers.position[wall].iv=0.1", "levels[0]=6400"])
    assert list(applied) == ["dealers.position[0].iv", "dealers.position[1].iv", "levels[0]"]
    assert problems == []


def test_refused_override_changes_nothing() -> None:
    data = sample()
    apply_overrides(data, ["levels[9]=1", "market.spot.x=7", "nothing.there[0]=1"])
    assert data == sample()


# --- the star that multiplies


@pytest.mark.parametrize(
    ("override", "edits"),
    [
        ("market.spot*=1.001", {"market.spot": 6941.81 * 1.001}),
        (" volatility.tail_dof * = 2 ", {"volatility.tail_dof": 10.6}),
        ("dealers.position[wall].iv*=2", {"dealers.position[0].iv": 0.23, "dealers.position[1].iv": 0.226}),
        ("dealers.position[puts].gex_bn*=-1", {"dealers.position[2].gex_bn": 6.0}),
        ("regime[support_lost].weights.puts*=0", {"regime[3].weights.puts": 0.0}),
        ("volatility.steps_per_session*=2", {"volatility.steps_per_session": 26}),
        ("regime[breakout].closes*=1.5", {"regime[0].closes": 3}),
        ("levels[1]*=1.01", {"levels[1]": 6945.0 * 1.01}),
        ("dealers.position[1].contracts*=0.5", {"dealers.position[1].contracts": 7500}),
    ],
)
def test_star_multiplies(sample_file: Path, override: str, edits: dict[str, Any]) -> None:
    assert load_scenario(sample_file, [override]) == Scenario.model_validate(sample(edits))


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("name*=2", "name holds no number"),
        ("market.sessions*=2", "market.sessions holds nothing"),
        ("nothing.there*=2", "nothing.there holds nothing"),
        ("levels*=2", "levels holds no number"),
        ("market.spot*=x", "the factor is no number"),
        ("market.spot*=true", "the factor is no number"),
        ("market.spot**=2", "is no key"),
        ("*=2", "is no key"),
        (f"market.spot*=1{400 * '0'}", "the product is too large"),
        (f"regime[0].closes*=1{400 * '0'}", "the product is too large"),
    ],
)
def test_refused_star(override: str, why: str) -> None:
    data = sample()
    applied, problems = apply_overrides(data, [override])
    assert (applied, len(problems)) == ({}, 1)
    assert problems[0].why.startswith(why)
    assert data == sample()


@pytest.mark.parametrize("factor", ["inf", "nan", "0.3"])
def test_star_that_makes_no_valid_value_is_refused(sample_file: Path, factor: str) -> None:
    with pytest.raises(InputError, match=r"^--set: volatility\.steps_per_session"):
        load_scenario(sample_file, [f"volatility.steps_per_session*={factor}"])


def test_settings_are_applied_in_order_and_left_as_they_were() -> None:
    weights = {"puts": 1.5}
    settings = [
        ("regime[3].weights", weights),
        ("regime[3].weights.puts*", 2),
        ("levels[9]", 1),
        ("levels[0]*", 2),
    ]
    for _ in range(2):
        data = sample()
        applied, problems = apply_settings(data, settings, "here")
        assert applied == ["regime[3].weights", "regime[3].weights.puts", "levels[0]"]
        assert data["regime"][3]["weights"] == {"puts": 3.0}
        assert data["levels"][0] == 12600
        assert [(problem.where, problem.key, problem.value) for problem in problems] == [
            ("here", "levels[9]", "1")
        ]
    assert weights == {"puts": 1.5}


def test_values_that_a_key_stands_for() -> None:
    data = sample()
    assert values_at(data, "dealers.position[wall].iv*") == [0.115, 0.113]
    assert values_at(data, "dealers.position[wall].gex_bn") == [9.0, None]
    assert values_at(data, "levels") == [[6300, 6945.0, 7000, 7020]]
    assert values_at(data, "market.sessions") == [None]
    assert values_at(data, "regime[nobody].level") == values_at(data, "a..b") == []
    assert [plain_key(key) for key in ("a.b", " a.b* ", "a.b *", "*", "a**")] == [
        "a.b",
        "a.b",
        "a.b",
        "",
        "a*",
    ]


# --- what no scenario can hold

RECURSIVE: list[Any] = [1]
RECURSIVE.append(RECURSIVE)


def generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (RECURSIVE, "nested more than 20 deep"),
        ([{"a": RECURSIVE}], "nested more than 20 deep"),
        (nested_list(100_000), "nested more than 20 deep"),
        (generator(), "no value that a scenario has"),
        (threading.Lock(), "no value that a scenario has"),
        ([memoryview(b"a")], "no value that a scenario has"),
    ],
    ids=["recursive", "recursive table", "deep", "generator", "lock", "memoryview"],
)
@pytest.mark.parametrize("key", ["market.spot", "levels", "no.such.key", "dealers.book", "regime[0].level*"])
def test_values_that_cannot_be_copied_are_refused(key: str, value: Any, why: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario("siege-of-7000", {key: value})
    (problem,) = caught.value.problems
    assert (problem.where, problem.key, why in problem.why) == ("overrides", key, True)
    assert " at 0x" not in str(problem)


@pytest.mark.parametrize(
    "override",
    [f"a{'.a' * 3000}=1", f"levels{'[0]' * 3000}=1", f"levels={'[' * 90}{']' * 90}", f"a{'.a' * 3000}*=2"],
    ids=["dots", "brackets", "lists", "star"],
)
def test_overrides_nested_too_deeply_are_refused(override: str) -> None:
    with pytest.raises(InputError, match=r"^--set: .*more than 20") as caught:
        load_scenario("siege-of-7000", [override])
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("override", "where", "key"),
    [
        ("dealer.impact_bp_per_bn=1", "--set dealer.impact_bp_per_bn=1", "dealer"),
        ("volatilty.u_shape.base=1", "--set volatilty.u_shape.base=1", "volatilty"),
        ("market.spt=6900", "--set", "market.spt"),
        ("dealers.position[wall].iv=9", "--set dealers.position[wall].iv=9", "dealers.position[1].iv"),
        (f"dealer.x={'9' * 300}", f"--set dealer.x={'9' * 70}…", "dealer"),
    ],
)
def test_a_mistyped_override_is_the_place_of_its_problem(
    sample_file: Path, override: str, where: str, key: str
) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario(sample_file, [override])
    assert (where, key) in [(problem.where, problem.key) for problem in caught.value.problems]
    assert {problem.where for problem in caught.value.problems} == {where}


def test_a_mistyped_key_of_a_mapping_is_blamed_on_the_mapping(sample_file: Path) -> None:
    with pytest.raises(InputError, match=r"^overrides: dealer = \{ x = 1 \} \(unknown key\)\. Try dealers\."):
        load_scenario(sample_file, {"dealer.x": 1})
