"""Counting a batch on dask workers: worker processes on this machine, one a GPU, or a running cluster.

A unit of work is a case and a range of its paths. Units count integers, which are added as they come, so that neither
the number of workers nor their order, nor a worker that dies and whose units are counted again, changes a result.

The only module that imports dask.distributed.
"""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from sim.batch import Counter
from sim.batch_file import Batch, Case
from sim.batch_folder import code_digest
from sim.case_counter import (
    Baseline,
    CountedCase,
    FailedCase,
    count_pairs,
    failed_case,
    levels_by_side,
    paths_left,
)
from sim.case_files import CaseCounts
from sim.engines.choice import choose
from sim.errors import GammawallError
from sim.outcomes import OutcomeAxes, Outcomes
from sim.pairs import PairCounts, Records
from sim.plan_builder import Prepared, prepare
from sim.run import EngineFacts, PlanFacts, plan_facts, run_timings
from sim.scenario import Scenario

INSTALL = "pip install 'gammawall-sim[cluster]'"
# Path-steps of a unit: a second or two, and on a GPU a tenth of one.
UNIT_STEPS = {"cuda": 1 << 34}
USUAL_UNIT_STEPS = 1 << 28
SMALLEST_UNIT = 1 << 14
# Units that wait on the scheduler for each thread of a worker, so that none is idle.
UNITS_AHEAD = 3
# Deaths of workers that a unit survives.
ALLOWED_DEATHS = 5
JOIN_TIMEOUT_S = 60


class Unit(NamedTuple):
    """A range of a case's paths."""

    case: int
    first: int
    count: int


class UnitCounts(NamedTuple):
    """What a worker counted of a unit."""

    axes: OutcomeAxes
    outcomes: Outcomes
    pairs: PairCounts | None
    records: bytes | None
    plan: PlanFacts
    engine: EngineFacts
    prepare_s: float
    simulate_s: float


class PackedBaseline(NamedTuple):
    """Baseline's records of a range of paths, on their way to workers."""

    axes: OutcomeAxes
    first: int
    records: bytes


def pack(records: Records) -> bytes:
    """Records compressed; they repeat themselves."""
    return zlib.compress(records.tobytes(), 1)


def unpack(data: bytes) -> Records:
    """Records as they were before `pack`."""
    return np.frombuffer(zlib.decompress(data), dtype=np.uint16)


# Plans of the cases that a worker saw last: units of one case follow one another.
_PLANS: OrderedDict[tuple[str, str], Prepared] = OrderedDict()
_PLANS_LOCK = threading.Lock()
MOST_PLANS = 4


def _prepared(scenario: Scenario, key: tuple[str, str]) -> Prepared:
    with _PLANS_LOCK:
        if key in _PLANS:
            _PLANS.move_to_end(key)
            return _PLANS[key]
    made = prepare(scenario)
    with _PLANS_LOCK:
        _PLANS[key] = made
        while len(_PLANS) > MOST_PLANS:
            _PLANS.popitem(last=False)
    return made


def count_unit(
    scenario: Scenario,
    key: tuple[str, str],
    seed: int,
    first: int,
    count: int,
    engine: str,
    code: str,
    keep_records: bool,
    baseline: PackedBaseline | None,
) -> UnitCounts:
    """Counts of a range of a case's paths, on a worker.

    Parameters
    ----------
    scenario, seed, first, count : what to count.
    key : name and hash of the case.
    engine : name of the engine to use.
    code : version of the package and its kernels that the batch is counted with.
    keep_records : whether the paths' records are wanted.
    baseline : what the paths are paired with.

    Raises
    ------
    GammawallError : this worker has another version, or the engine is not available.
    """
    if code != code_digest():
        raise GammawallError("a worker has another version of gammawall or its kernels. Install the same one everywhere.")
    began = time.perf_counter()
    prepared = _prepared(scenario, key)
    ready = time.perf_counter()
    worker = choose(engine, 1)
    records = np.empty(count, dtype=np.uint16) if keep_records or baseline is not None else None
    outcomes = worker.run(prepared.plan, seed, first, count, None, records)
    pairs = None
    if baseline is not None and records is not None:
        pairs = PairCounts.zeros(levels_by_side(prepared.axes), levels_by_side(baseline.axes))
        theirs = unpack(baseline.records)
        assert baseline.first <= first
        theirs = theirs[first - baseline.first :]
        pairs.count(records[: theirs.size], theirs[: records.size])
    return UnitCounts(
        prepared.axes,
        outcomes,
        pairs,
        pack(records) if keep_records and records is not None else None,
        plan_facts(prepared),
        EngineFacts(worker.name, worker.device, worker.threads),
        ready - began,
        time.perf_counter() - ready,
    )
