"""The digest of a plan covers every number in it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from support.short_scenarios import CATALYST, prepared_of

from sim.plan.builder import Prepared
from sim.plan.engine_plan import EnginePlan


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepared_of({"catalyst": [CATALYST]})


def changed(value: Any) -> Any:
    """The same field with its last number a little different."""
    if not isinstance(value, np.ndarray):
        return not value if isinstance(value, bool) else type(value)(value + 1)
    assert value.size
    result = value.copy()
    last = result.reshape(-1)[-1:]
    if value.dtype == np.bool_:
        last[:] = ~last
    elif value.dtype == np.float32:
        last[:] = np.nextafter(last, np.float32(99))
    else:
        last -= 1
    return result


def test_digest_sees_every_number(prepared: Prepared) -> None:
    names = [f.name for f in dataclasses.fields(EnginePlan)]
    others = [
        dataclasses.replace(prepared.plan, **{name: changed(getattr(prepared.plan, name))}).digest
        for name in names
    ]
    assert len({prepared.plan.digest, *others}) == 1 + len(names)


def test_digest_is_the_same_for_the_same_market(prepared: Prepared) -> None:
    again = prepared_of({"catalyst": [CATALYST]})
    assert again.plan.digest == prepared.plan.digest
    renamed = prepared_of(
        {"catalyst": [{**CATALYST, "name": "inflation"}], "name": "other", "description": "another text"}
    )
    assert renamed.plan.digest == prepared.plan.digest


@pytest.mark.parametrize(
    "edits",
    [
        {"volatility.annual": 0.1411},
        {"targets.upper": 7110},
        {"dealers.position[0].strike": 7005},
        {"regime[0].closes": 3},
        {"market.spot": 6941.82},
        {"catalyst[0].outcomes[0].mean": 0.0061},
    ],
)
def test_digest_follows_the_scenario(prepared: Prepared, edits: dict[str, Any]) -> None:
    assert prepared_of({"catalyst": [CATALYST], **edits}).plan.digest != prepared.plan.digest
