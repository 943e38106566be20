"""Units of a batch's work, a case and a range of its paths: counted by a worker, put together again by the client."""

from __future__ import annotations

import threading
import time
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import numpy as np

from sim.batch_family import Case
from sim.batch_folder import code_digest
from sim.case_counter import CountedCase, levels_by_side
from sim.case_files import CaseCounts
from sim.engines.choice import choose
from sim.errors import GammawallError
from sim.outcomes import OutcomeAxes, Outcomes
from sim.pairs import PairCounts, Records
from sim.plan_builder import Prepared, prepare
from sim.run import EngineFacts, PlanFacts, plan_facts, run_timings
from sim.scenario import Scenario
from sim.shared_work import SharedWork

OTHER_VERSION = "another version of gammawall or its kernels. Install the same one everywhere."
# Plans that a worker keeps: units of one case follow one another.
MOST_PLANS = 4


class Unit(NamedTuple):
    """A range of a case's paths."""

    case: int
    first: int
    paths: int


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


# Plans of the cases that this process saw last.
_PLANS: OrderedDict[tuple[str, str], Prepared] = OrderedDict()
_PLANS_LOCK = threading.Lock()
# What its cases have in common.
_SHARED = SharedWork()


def _prepared(scenario: Scenario, key: tuple[str, str]) -> Prepared:
    with _PLANS_LOCK:
        if key in _PLANS:
            _PLANS.move_to_end(key)
            return _PLANS[key]
    made = prepare(scenario, None, _SHARED)
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
        raise GammawallError(f"a worker has {OTHER_VERSION}")
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


def worker_state(engine: str) -> tuple[str, str, str]:
    """Version, engine that a worker would take, and why it cannot."""
    try:
        return code_digest(), choose(engine, 1).name, ""
    except (GammawallError, OSError) as error:
        return "", "", str(error)


@dataclass
class CaseUnderWay:
    """A case some of whose units are counted."""

    case: Case
    steps: int
    started: datetime
    planned: int = 0
    out: int = 0
    counted: UnitCounts | None = None
    outcomes: Outcomes | None = None
    pairs: PairCounts | None = None
    records: dict[int, bytes] = field(default_factory=dict)
    engines: set[tuple[str, str]] = field(default_factory=set)
    prepare_s: float = 0.0
    simulate_s: float = 0.0

    def add(self, unit: Unit, counts: UnitCounts) -> None:
        """Add a unit's counts."""
        if self.outcomes is None:
            self.counted, self.outcomes, self.pairs = counts, counts.outcomes, counts.pairs
        else:
            self.outcomes.add(counts.outcomes)
            if self.pairs is None:
                self.pairs = counts.pairs
            elif counts.pairs is not None:
                self.pairs.add(counts.pairs)
        if counts.records is not None:
            self.records[unit.first] = counts.records
        self.engines.add((counts.engine.name, counts.engine.device))
        self.prepare_s += counts.prepare_s
        self.simulate_s += counts.simulate_s

    def ended(self, threads: int) -> CountedCase:
        """Return the case, all of whose units are counted."""
        assert self.counted is not None
        assert self.outcomes is not None
        records = [unpack(self.records[first]) for first in sorted(self.records)]
        names, devices = (sorted(set(column)) for column in zip(*self.engines, strict=True))
        return CountedCase(
            self.case,
            CaseCounts(self.counted.axes, self.outcomes, self.pairs),
            np.concatenate(records) if records else None,
            self.counted.plan,
            EngineFacts(", ".join(names), ", ".join(devices), threads),
            run_timings(self.outcomes.paths * self.steps, self.started, self.prepare_s, self.simulate_s),
        )
