"""`make test-lowest` installs what pyproject.toml calls the lowest versions that do."""

from __future__ import annotations

import re
import tomllib
from itertools import chain

from support.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONSTRAINTS = ROOT / "tests" / "constraints-lowest.txt"
INSTALLED = ("book", "fit", "cluster", "parquet", "test")


def test_constraints_are_the_lower_bounds_of_the_project() -> None:
    """Else copy what is wanted."""
    extras = (PROJECT["optional-dependencies"][extra] for extra in INSTALLED)
    bounds = {*PROJECT["dependencies"], *chain.from_iterable(extras)}
    wanted = sorted((bound.replace(">=", "==") for bound in bounds), key=str.casefold)
    assert CONSTRAINTS.read_text(encoding="utf-8").splitlines() == wanted


def test_every_requirement_has_one_lower_bound() -> None:
    found: dict[str, set[str]] = {}
    for requirement in chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        if requirement.endswith(".*"):
            continue  # a formatter: what it writes is its version's own
        named = re.match(r"([\w.-]+)(?:\[\w+\])?>=([\d.]+)(;|$)", requirement)
        assert named, requirement
        found.setdefault(named[1], set()).add(named[2])
    assert {name: versions for name, versions in found.items() if len(versions) > 1} == {}
