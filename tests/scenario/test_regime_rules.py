"""Which regimes can be entered, and what is said once when several cannot."""

from __future__ import annotations

from typing import Any

import pytest
from support.sample_scenario import sample

from sim.scenario.model import Scenario
from sim.scenario.regime_rules import regime_problems
from sim.scenario.validation import readable_part


def keys(*regimes: dict[str, Any], broken: set[tuple[int | str, ...]] | None = None) -> list[str]:
    data = sample({"regime": list(regimes)})
    return [problem.key for problem in regime_problems(readable_part(Scenario, data, broken or set()))]


def closing(name: str, **more: Any) -> dict[str, Any]:
    more = {"from" if key == "from_" else key: value for key, value in more.items()}
    return {"name": name, "when": "closes_above", "level": 7000, **more}


def never(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "when": "never", **more}


def test_chain_through_then_and_from_is_reachable() -> None:
    assert keys(closing("c", from_=["b"]), closing("a", lasts=1, then="b"), never("b")) == []


def test_dependents_of_an_unreachable_regime_are_not_reported() -> None:
    """b is handed over to by a, which only comes from c, which only comes from a: one thing to correct."""
    assert keys(never("b"), closing("a", from_=["c"], lasts=1, then="b"), closing("c", from_=["a"])) == [
        "regime[1].from"
    ]


def test_never_regime_is_reported_before_those_it_leads_to() -> None:
    assert keys(closing("a", from_=["n"]), never("n")) == ["regime[1].when"]


def test_two_separate_circles_are_two_problems() -> None:
    pairs = [
        closing("a", from_=["b"]),
        closing("b", from_=["a"]),
        closing("c", from_=["d"]),
        closing("d", from_=["c"]),
    ]
    assert keys(*pairs) == ["regime[0].from", "regime[2].from"]


@pytest.mark.parametrize("length", [1, 2, 5])
def test_circle_of_then_is_reported_once(length: int) -> None:
    ring = [closing(f"r{i}", lasts=1, then=f"r{(i + 1) % length}") for i in range(length)]
    tail = closing("tail", lasts=1, then="r0")
    assert keys(tail, *ring) == ["regime[1].then"]


def test_unreadable_names_silence_what_refers_to_names() -> None:
    regimes = [closing("?", lasts=1, then="c"), closing("b", from_=["a"]), never("c")]
    assert keys(*regimes, broken={("regime", 0, "name")}) == []
    assert keys(*regimes) == ["regime[1].from[0]"]


def test_unreadable_group_silences_weights() -> None:
    data = sample({"dealers.position[0].group": 1, "regime[0].weights": {"nobody": 1.0}})
    hidden = readable_part(Scenario, data, {("dealers", "position", 0, "group")})
    assert list(regime_problems(hidden)) == []


def test_quoted_group_in_a_key() -> None:
    assert keys(closing("a", weights={"no group\n": 1.0})) == ['regime[0].weights."no group\\n"']
