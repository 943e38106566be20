"""Seals of JSON documents: they outlast another layout, and no change of a value."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import numpy as np
import pytest
from support.nested import places

from sim.files.json_text import is_sealed, sealed_json

MANIFEST = {
    "name": "süß",
    "share": 0.1,
    "paths": 300,
    "whole": 2.0,
    "none": None,
    "yes": True,
    "day": dt.date(2026, 2, 10),
    "number": np.float64(1e-17),
    "nested": {"list": [1, [2.5, "x"], {"a": False}]},
}


def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sealed_json(MANIFEST, "some/1"))
    return found


def test_a_sealed_document_is_sealed_however_it_is_laid_out() -> None:
    assert is_sealed(document())
    backwards = dict(reversed(document().items()))
    for indent in (None, 0, 7):
        assert is_sealed(json.loads(json.dumps(backwards, indent=indent, ensure_ascii=indent == 0)))


@pytest.mark.parametrize("place", [place for place in places(document()) if place], ids=str)
def test_every_change_breaks_the_seal(place: tuple[str | int, ...]) -> None:
    changed = document()
    parent: Any = changed
    for step in place[:-1]:
        parent = parent[step]
    parent[place[-1]] = "other"
    assert not is_sealed(changed)
    del parent[place[-1]]
    assert not is_sealed(changed)


def test_no_seal_is_no_seal() -> None:
    assert not is_sealed({})
    assert not is_sealed({**document(), "more": None})
