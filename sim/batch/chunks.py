"""Chunks of a batch: ranges of a case's paths, counted by workers and joined by the client."""

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
    """Error about a worker that cannot do the work of a batch; the case that it was given is not at fault."""


class Chunk(NamedTuple):
    """Range of a case's paths, the unit of a worker's work: index of the case, first path, number of paths."""

    case: int
    first: int
    paths: int


class ChunkCounts(NamedTuple):
    """Counts of a chunk, with the engine that counted it and the times it took.

    Attributes
    ----------
    axes : labels of the counts.
    outcomes : counts of the chunk's paths.
    pairs : counts path by path with the baseline; None without one.
    records : packed records of the paths; None unless they are to be kept.
    plan, engine : facts for the manifest.
    prepare_s, simulate_s : seconds to make the plan and to count.
    """

    axes: OutcomeAxes
    outcomes: Outcomes
    pairs: PairCounts | None
    records: bytes | None
    plan: PlanFacts
    engine: EngineFacts
    prepare_s: float
    simulate_s: float


class PackedBaseline(NamedTuple):
    """Records of the baseline for the paths from `first` on, packed to be sent to workers."""

    axes: OutcomeAxes
    first: int
    records: bytes


def pack(records: Records) -> bytes:
    """Compressed bytes of records, (paths,) uint16: few of them differ."""
    return zlib.compress(records.tobytes(), 1)


def unpack(data: bytes) -> Records:
    """Records, (paths,) uint16, from the bytes of `pack`."""
    return np.frombuffer(zlib.decompress(data), dtype=np.uint16)


# Plans of the cases that this worker has counted.
_PLANS = CasePlans(MOST_PLAN_BYTES)
# An engine per thread: a GPU's keeps its compiled kernels.
_ENGINES = threading.local()


def _engine(name: str) -> Engine:
    """Engine of a name, one per thread of the worker.

    Errors: UnfitWorkerError if it is not available here.
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
    scenario, seed : scenario of the case and seed of the batch.
    key : name and hash of the case.
    first, count : number of the first path, and number of paths.
    engine : name of the engine to use.
    expected : digests of the code and of the case's plan, which the worker's must equal.
    keep_records : whether the paths' records are returned.
    baseline : baseline's records to pair the paths with; None for no pairs.

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
    """State of a worker: digest of its code, name of the engine it would use, and the reason why it cannot work.

    The reason is "" if it can; the other two are "" if it cannot.
    """
    try:
        return code_digest(), choose(engine, 1).name, ""
    except (GammawallError, OSError) as error:
        return "", "", str(error)


@dataclass
class CaseInProgress:
    """A case in progress: the sums of its chunks counted so far.

    Attributes
    ----------
    case, steps : the case, and the steps per path.
    started : when its first chunk was planned.
    planned : number of paths cut into chunks so far.
    out : number of chunks not counted yet; 0 too once the case has failed.
    counted : a counted chunk, for labels and facts.
    outcomes, pairs : sums over the chunks counted.
    records : first path of a chunk to its packed records, of the baseline.
    engines : names and devices of the engines that counted.
    prepare_s, simulate_s : seconds summed over the chunks.
    """

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
        """Return the counted case, once all its chunks are."""
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
