"""A small clearing map whose tables are known to the last bit, and the library that builds them.

Every position's formula, the curves of an expiry group, the floor and both kinds of tables have their part in it.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from sim.book.hedge import SMALLEST_EXPIRY_GROUP, DealerBook
from sim.book.rows import BookRows
from sim.compiled.kernel_constants import FORWARD, INVERSE
from sim.compiled.native_library import REINSTALL, file_of, library_problem, load_library, runnable_builds
from sim.reaction.clearing_map import ClearingMap
from sim.reaction.native_maps import Built, Instants, NativeMaps, TableRules

# SHA-256 of the tables of the known map; NumPy finds the same, see tests/reaction/test_known_tables.py.
KNOWN_TABLES = "2fd6fb840ec5dd21474f21640f30e15bb146cb583c389ef3ea0ffa3e4a6e89c6"
KNOWN_LOG_PRICES = np.array([-0.03, -0.004, 0.0, 0.011, 0.06])
KNOWN_LOG_PRICES.flags.writeable = False
# Far below the tolerances of a run, so that the last bits of a map show in the number of its lines.
KNOWN_RULES = TableRules(1e-7, 2e-7, 4.0)
DAY = 1440.0


def known_map() -> ClearingMap:
    """Three positions of two groups, and an expiry group of a third, under two sets of weights."""
    lone, many = 3, SMALLEST_EXPIRY_GROUP
    count = lone + many
    number = np.arange(count)
    rows = BookRows(
        "",
        ("far", "puts", "wall"),
        np.where(number < lone, 1 + number % 2, 0).astype(np.int32),
        number % 3 != 1,
        5000.0 + np.where(number < lone, 40.0 * (number - 1), 25.0 * (number - lone - many // 2)),
        np.full(count, "2026-02-13", dtype="datetime64[D]"),
        number < 1,
        np.array([0.11 + 0.005 * (k % 5) for k in range(count)]),
        np.zeros(count),
        np.array([0.01 * (k % 3) for k in range(count)]),
    )
    units = np.where(number < lone, 9e4 * (1.0 - number), 1e4 * (number % 4 - 1.2))
    settlement = np.where(number < lone, (1.0 + number) * DAY, 9.0 * DAY)
    weights = np.array([[1.0, 1.0, 1.0], [0.5, -0.25, 2.0]])
    return ClearingMap(5000.0, 2e-7, DealerBook.of(rows, units, settlement), weights, 0.3, 0.25)


def known_instants() -> Instants:
    """A start, the instant of a settlement, before it and after, one near the next settlement, and eight more."""
    minute = np.concatenate(([0.25, 1.0, 1.0, 1.75], 2.125 + 0.875 * np.arange(8))) * DAY
    wanted = np.array([0, INVERSE, FORWARD, INVERSE + FORWARD, *(INVERSE for _ in range(8))], dtype=np.uint8)
    after_settlement = np.zeros(minute.size, dtype=np.bool_)
    after_settlement[[0, 2]] = True
    return Instants(minute, after_settlement, wanted)


def tables_digest(built: Sequence[Built]) -> str:
    """SHA-256 (hex) of all that was built at consecutive instants, in however many parts."""
    sha = hashlib.sha256()
    forms = {"values": "<f8", "lines": "<f4", "table_lines": "<i8", "table_panels": "<i8"}
    for name, form in {**forms, "table_clip": "<f4", "table_scale": "<f4"}.items():
        sha.update(name.encode())
        sha.update(
            b"".join(np.ascontiguousarray(getattr(some, name), dtype=form).tobytes() for some in built)
        )
    events = [
        (e.minute, e.book, e.lowest, e.price_low, e.price_high)
        for some in built
        for _, e in some.floor_events
    ]
    sha.update(np.array(events, dtype="<f8").tobytes())
    return sha.hexdigest()


@cache
def tables_problem(file: Path) -> str | None:
    """Reason why a library that can be loaded may not build tables, with a remedy; None if it may."""
    try:
        found = tables_digest([_built(load_library(file))])
    except Exception as error:
        return f"its library fails at the tables of a known map ({error!r}). Install the package again: {REINSTALL}."
    if found != KNOWN_TABLES:
        return f"its library builds other tables of a known map than it must. Install the package again: {REINSTALL}."
    return None


def _built(library: ctypes.CDLL) -> Built:
    return NativeMaps(library, known_map(), KNOWN_LOG_PRICES, KNOWN_RULES).build(known_instants(), 0)


@cache
def working_library() -> ctypes.CDLL | None:
    """Fastest library that builds tables here, or None; NumPy builds the same tables without it."""
    for build in runnable_builds():
        if library_problem(build) is None and tables_problem(file_of(build)) is None:
            return load_library(file_of(build))
    return None
