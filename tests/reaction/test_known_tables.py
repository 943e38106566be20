"""The known answer of the map's tables: NumPy finds it too, and it is of a map that has everything."""

from __future__ import annotations

import numpy as np
import pytest
from support.needs import needs_native

from sim.compiled.native_library import file_of, load_library
from sim.engines.native_builds import usable_builds
from sim.plan import map_tables
from sim.plan.map_tables import _Tables
from sim.reaction.known_tables import (
    KNOWN_LOG_PRICES,
    KNOWN_RULES,
    KNOWN_TABLES,
    known_instants,
    known_map,
    tables_digest,
    tables_problem,
)
from sim.reaction.native_maps import Built, NativeMaps


def by_numpy() -> list[Built]:
    tables, instants = _Tables(known_map(), KNOWN_LOG_PRICES, "known", 0), known_instants()
    return [tables._by_numpy(instants, number, KNOWN_RULES) for number in range(instants.minute.size)]


def test_numpy_finds_the_known_tables() -> None:
    assert tables_digest(by_numpy()) == KNOWN_TABLES


def test_the_digest_sees_every_part() -> None:
    (first, *rest) = by_numpy()
    values = first.values.copy()
    values[-1, -1, -1] = np.nextafter(values[-1, -1, -1], 1)
    assert tables_digest([Built(values, *list(vars(first).values())[1:]), *rest]) != KNOWN_TABLES
    for name in ("lines", "table_lines", "table_panels", "table_clip", "table_scale", "floor_events"):
        parts = by_numpy()
        some = next(part for part in parts if len(getattr(part, name)))
        object.__setattr__(some, name, getattr(some, name)[:-1])
        assert tables_digest(parts) != KNOWN_TABLES, name


def test_the_known_map_has_everything() -> None:
    found, book = by_numpy(), known_map().book
    assert any(some.floor_events for some in found)
    assert book.expiry_start.size == 2
    assert 0 < book.expiry_start[0] < len(book)
    assert {0.0, 1.0} == set(book.put.tolist())
    assert len({some.table_panels[0] for some in found if some.table_panels}) > 1
    assert KNOWN_RULES.largest_hedge == map_tables.LARGEST_HEDGE


@needs_native
@pytest.mark.parametrize("build", usable_builds())
def test_every_build_finds_them(build: str) -> None:
    maps = NativeMaps(load_library(file_of(build)), known_map(), KNOWN_LOG_PRICES, KNOWN_RULES)
    assert tables_digest([maps.build(known_instants(), 0)]) == KNOWN_TABLES
    assert tables_problem(file_of(build)) is None
