"""Chunks of a batch's work, a case and a range of its paths: counted by a worker, joined again by the client."""

from __future__ import annotations

import threading
import time
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import numpy as np

from sim.batch.case_counts import CaseCounts
from sim.batch.family import Case
from sim.batch.local_executor import CountedCase, levels_by_side
from sim.batch.plans import CaseKey, CasePlans
from sim.compiled.kernel_sources import code_digest
from sim.engines.choice import Engine, choose
from sim.errors import GammawallError
from sim.odds.pairs import PairCounts, Records
from sim.plan.outcomes import OutcomeAxes, Outcomes
from sim.run.manifest import EngineFacts, PlanFacts, run_timings
from sim.scenario.model import Scenario

OTHER_VERSION = "another version of gammawall or its kernels. Install the same one everywhere."
# Memory of the plans that a worker keeps.
MOST_PLAN_BYTES = 1 << 29


class UnfitWorkerError(GammawallError):
    """A worker that cannot do the work of this batch, which is no fault of the case it was given."""


class Chunk(NamedTuple):
    """A range of a case's paths."""

    case: int
    first: int
    paths: int


class ChunkCounts(NamedTuple):
    """What a worker counted of a chunk."""

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


# Plans of the cases that this process has seen.
_PLANS = CasePlans(MOST_PLAN_BYTES)
# An engine per thread: a GPU's keeps its compiled kernels.
_ENGINES = threading.local()


def _engine(name: str) -> Engine:
    """Engine of this thread.

    Errors: UnfitWorkerError if it is not available.
    """
    made: dict[str, Engine] = _ENGINES.__dict__
    if name not in made:
        try:
            made[name] = choose(name, 1)
        except GammawallError as error:
            raise UnfitWorkerError(str(error)) from error
    return made[name]


def count_chunk(
    scenario: Scenario,
    key: CaseKey,
    seed: int,
    first: int,
    count: int,
    engine: str,
    expected: tuple[str, str],
    keep_records: bool,
    baseline: PackedBaseline | None,
) -> ChunkCounts:
    """Counts of a range of a case's paths, on a worker.

    Parameters
    ----------
    scenario, seed, first, count : what to count.
    key : name and hash of the case.
    engine : name of the engine to use.
    expected : version of the package and its kernels, and digest of the case's plan, that the batch is counted with.
    keep_records : whether the paths' records are wanted.
    baseline : what the paths are paired with.

    Raises
    ------
    UnfitWorkerError : this worker has another version, or makes other tables, or lacks the engine.
    """
    if expected[0] != code_digest():
        raise UnfitWorkerError(f"a worker has {OTHER_VERSION}")
    began = time.perf_counter()
    planned = _PLANS.plan(scenario, key)
    if planned.facts.digest != expected[1]:
        raise UnfitWorkerError("a worker makes other tables. Install the same libraries everywhere.")
    worker = _engine(engine)
    ready = time.perf_counter()
    records = np.empty(count, dtype=np.uint16) if keep_records or baseline is not None else None
    outcomes = worker.run(planned.plan, seed, first, count, None, records)
    pairs = None
    if baseline is not None and records is not None:
        pairs = PairCounts.zeros(levels_by_side(planned.axes), levels_by_side(baseline.axes))
        theirs = unpack(baseline.records)
        assert baseline.first <= first
        theirs = theirs[first - baseline.first :]
        pairs.count(records[: theirs.size], theirs[: records.size])
    return ChunkCounts(
        planned.axes,
        outcomes,
        pairs,
        pack(records) if keep_records and records is not None else None,
        planned.facts,
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
class CaseInProgress:
    """A case some of whose chunks are counted."""

    case: Case
    steps: int
    started: datetime
    planned: int = 0
    out: int = 0
    counted: ChunkCounts | None = None
    outcomes: Outcomes | None = None
    pairs: PairCounts | None = None
    records: dict[int, bytes] = field(default_factory=dict)
    engines: set[tuple[str, str]] = field(default_factory=set)
    prepare_s: float = 0.0
    simulate_s: float = 0.0

    def add(self, chunk: Chunk, counts: ChunkCounts) -> None:
        """Add a chunk's counts."""
        if self.outcomes is None:
            self.counted, self.outcomes, self.pairs = counts, counts.outcomes, counts.pairs
        else:
            self.outcomes.add(counts.outcomes)
            if self.pairs is None:
                self.pairs = counts.pairs
            elif counts.pairs is not None:
                self.pairs.add(counts.pairs)
        if counts.records is not None:
            self.records[chunk.first] = counts.records
        self.engines.add((counts.engine.name, counts.engine.device))
        self.prepare_s += counts.prepare_s
        self.simulate_s += counts.simulate_s

    def ended(self, threads: int) -> CountedCase:
        """Return the case, all of whose chunks are counted."""
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
