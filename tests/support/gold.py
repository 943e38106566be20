"""Gold results: what a former version gave, kept in files, compared to the last digit."""

from __future__ import annotations

import json
from typing import Any

from support.places import TESTS

GOLD = TESTS / "gold"


def gold(name: str) -> dict[str, Any]:
    """Results kept in `tests/gold/<name>.json`."""
    kept: dict[str, Any] = json.loads((GOLD / f"{name}.json").read_text(encoding="utf-8"))
    return kept


def check_gold(name: str, found: dict[str, Any], update: bool) -> None:
    """Compare results with `tests/gold/<name>.json`, or write them there.

    Parameters
    ----------
    name : of the file, without its ending.
    found : results that JSON can hold.
    update : write them instead of comparing.
    """
    file = GOLD / f"{name}.json"
    text = json.dumps(found, indent=1, sort_keys=True) + "\n"
    if update:
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return
    kept = gold(name)
    moved = [key for key in sorted({*kept, *found}) if kept.get(key) != found.get(key)]
    assert not moved, f"{file.name}: moved for {', '.join(moved)}; if that is meant: pytest --update-gold"
