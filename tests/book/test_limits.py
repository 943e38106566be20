"""Names of groups, the same for a scenario, a book file and an option chain."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from sim.book.limits import LONGEST_NAME, MOST_GROUPS, is_group_name
from sim.chain.book_rules import read_groups
from sim.errors import InputError
from sim.scenario.model import Identifier

GOOD = ["wall", "W", "a-b_9", "w" * LONGEST_NAME]
BAD = ["", "9wall", "_wall", "a wall", "wall\n", "wäll", "w" * (LONGEST_NAME + 1)]


@pytest.mark.parametrize("name", GOOD)
def test_good_names(name: str) -> None:
    assert is_group_name(name)
    assert TypeAdapter(Identifier).validate_python(name) == name
    assert read_groups([f"{name}=7000:7020"])[0].name == name


@pytest.mark.parametrize("name", BAD)
def test_bad_names(name: str) -> None:
    assert not is_group_name(name)
    with pytest.raises(ValidationError):
        TypeAdapter(Identifier).validate_python(name)
    with pytest.raises(InputError):
        read_groups([f"{name}=7000:7020"])


def test_calls_and_puts_leave_room_for_two_groups_less() -> None:
    names = [f"g{number}=7000" for number in range(MOST_GROUPS - 2)]
    assert len(read_groups(names)) == MOST_GROUPS - 2
    with pytest.raises(
        InputError, match=f"63 groups besides calls and puts, at most {MOST_GROUPS - 2} are possible"
    ):
        read_groups([*names, "one-more=7000"])
