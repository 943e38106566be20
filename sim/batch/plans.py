"""Cache of the plans of a batch's cases: a plan made by the check is used again to count the case."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import fields
from threading import Lock
from typing import NamedTuple

from sim.plan.builder import prepare
from sim.plan.engine_plan import EnginePlan
from sim.plan.outcomes import OutcomeAxes
from sim.plan.shared_work import MOST_BYTES, SharedWork, array_parts
from sim.run.manifest import PlanFacts, plan_facts
from sim.scenario.model import Scenario

# Name and hash of a case.
CaseKey = tuple[str, str]
# Digests kept, a few hundred bytes each: more than a batch has cases.
MOST_MARKS = 1 << 15


class CasePlan(NamedTuple):
    """Plan of a case, with the labels of its counts and the time it took to prepare.

    Attributes
    ----------
    plan : arrays and numbers that engines read.
    axes : labels of the counts.
    facts : facts about the plan for the manifest.
    seconds : time that preparing it took.
    """

    plan: EnginePlan
    axes: OutcomeAxes
    facts: PlanFacts
    seconds: float

    @property
    def parts(self) -> dict[int, int]:
        """Memory of the plan's arrays: `id` of each to its bytes."""
        values = [getattr(holder, f.name) for holder in (self.plan, self.axes) for f in fields(holder)]
        return array_parts(values)


class PlanMark(NamedTuple):
    """Digest of a plan, and the number of steps of a path; kept after the plan itself is gone."""

    digest: str
    steps: int


class CasePlans:
    """Cache of the plans of cases, within a limit of memory; safe to use from several threads.

    A plan that was dropped is made again when it is asked for, and is the same.

    Parameters
    ----------
    most_bytes : limit on the memory of the plans and of the work that they share. The latest plan is kept however
        large it is: chunks of one case follow one another.
    """

    def __init__(self, most_bytes: int = MOST_BYTES):
        self._shared = SharedWork(most_bytes)
        self._marks: OrderedDict[CaseKey, PlanMark] = OrderedDict()
        self._lock = Lock()
        self._last: tuple[CaseKey, CasePlan] | None = None

    def plan(self, scenario: Scenario | None, key: CaseKey, where: str | None = None) -> CasePlan:
        """Plan of a case.

        Parameters
        ----------
        scenario : scenario of the case.
        key : name and hash of the case.
        where : name of the case in an error; its scenario's name if None.

        Errors: InputError, see `prepare`.
        """
        last = self._last
        if last is not None and last[0] == key:
            return last[1]
        assert scenario is not None

        def make() -> CasePlan:
            began = time.perf_counter()
            prepared = prepare(scenario, where, self._shared)
            facts = plan_facts(prepared)
            return CasePlan(prepared.plan, prepared.axes, facts, time.perf_counter() - began)

        plan = self._shared.get(("plan", key), make, lambda made: made.parts)
        self._remember(key, plan)
        self._last = key, plan
        return plan

    def check(self, scenario: Scenario) -> None:
        """Check that a scenario can be run; what its plan has in common with those of cases is kept for them.

        Errors: InputError, see `prepare`.
        """
        prepare(scenario, None, self._shared)

    def _remember(self, key: CaseKey, plan: CasePlan) -> None:
        """Keep the mark of a plan, and drop the oldest of too many."""
        with self._lock:
            self._marks[key] = PlanMark(plan.facts.digest, plan.plan.steps)
            self._marks.move_to_end(key)
            while len(self._marks) > MOST_MARKS:
                self._marks.popitem(last=False)

    def mark(self, scenario: Scenario | None, key: CaseKey) -> PlanMark:
        """Digest and steps of a case's plan, which is made if neither it nor its mark is kept.

        Parameters
        ----------
        scenario, key : see `plan`.

        Errors: InputError, see `prepare`.
        """
        known = self._marks.get(key)
        if known is not None:
            return known
        plan = self.plan(scenario, key)
        return PlanMark(plan.facts.digest, plan.plan.steps)
