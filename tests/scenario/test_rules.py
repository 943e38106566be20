"""Rules across keys on scenarios of which parts are unreadable."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from support.sample_scenario import sample

from sim.problems import UNKNOWN
from sim.scenario.model import Scenario
from sim.scenario.rules import cross_field_problems
from sim.scenario.validation import readable_part


def keys(edits: dict[str, Any], *broken: tuple[int | str, ...]) -> list[str]:
    view = readable_part(Scenario, sample(edits), set(broken))
    return [problem.key for problem in cross_field_problems(view)]


def test_nothing_known_nothing_said() -> None:
    everything = SimpleNamespace(
        **dict.fromkeys(
            ["market", "volatility", "catalyst", "levels", "dealers", "regime", "targets"], UNKNOWN
        )
    )
    assert cross_field_problems(everything) == []


def test_unreadable_horizon_counts_as_stated() -> None:
    assert keys({"market.until": "soon"}, ("market", "until")) == []
    assert keys({"market.until": "soon", "market.sessions": 5}, ("market", "until")) == ["market.sessions"]


def test_unreadable_probability_leaves_other_catalysts_judged() -> None:
    edits = {"catalyst[0].outcomes[0].probability": "?", "catalyst[1].outcomes[0].probability": 0.9}
    assert keys(edits, ("catalyst", 0, "outcomes", 0, "probability")) == ["catalyst[1].outcomes"]


def test_unreadable_parameter_silences_stationarity() -> None:
    edits = {"volatility.beta": 1.2, "volatility.alpha": "?"}
    assert keys({"volatility.beta": 1.2}) == ["volatility.beta"]
    assert keys(edits, ("volatility", "alpha")) == []


def test_unreadable_level_keeps_the_places_of_the_others() -> None:
    assert keys({"levels": ["?", 7000, 7000]}, ("levels", 0)) == ["levels[2]"]


def test_unreadable_position_leaves_other_positions_judged() -> None:
    edits = {"dealers.position[0]": 5, "dealers.position[2].contracts": 3}
    assert keys(edits, ("dealers", "position", 0)) == ["dealers.position[2].contracts"]
