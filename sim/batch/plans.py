"""Plans of a batch's cases, each made once: what a check has made is there when the case is counted."""

from __future__ import annotations

import time
from dataclasses import fields
from typing import NamedTuple

from sim.plan.builder import prepare
from sim.plan.engine_plan import EnginePlan
from sim.plan.outcomes import OutcomeAxes
from sim.plan.shared_work import MOST_BYTES, SharedWork, array_parts
from sim.run.manifest import PlanFacts, plan_facts
from sim.scenario.model import Scenario

# Name and hash of a case.
CaseKey = tuple[str, str]


class CasePlan(NamedTuple):
    """All that counting a case takes.

    Attributes
    ----------
    plan : what engines see.
    axes : labels of the counts.
    facts : what a manifest tells of the plan.
    seconds : time that making it took.
    """

    plan: EnginePlan
    axes: OutcomeAxes
    facts: PlanFacts
    seconds: float

    @property
    def parts(self) -> dict[int, int]:
        """Memory of its arrays, bytes by `id`."""
        values = [getattr(holder, f.name) for holder in (self.plan, self.axes) for f in fields(holder)]
        return array_parts(values)


class PlanMark(NamedTuple):
    """What is remembered of every plan once made: its digest, and the steps of a path."""

    digest: str
    steps: int


class CasePlans:
    """Plans by case, kept within a limit of memory; safe to use from several threads.

    A plan that has had to go is made again when it is wanted. What it is does not depend on that.

    Parameters
    ----------
    most_bytes : memory that plans and what they have in common may take. The last plan is kept however large it is:
        chunks of one case follow one another.
    """

    def __init__(self, most_bytes: int = MOST_BYTES):
        self._shared = SharedWork(most_bytes)
        self._marks: dict[CaseKey, PlanMark] = {}
        self._last: tuple[CaseKey, CasePlan] | None = None

    def plan(self, scenario: Scenario | None, key: CaseKey, where: str | None = None) -> CasePlan:
        """Plan of a case.

        Parameters
        ----------
        scenario : what is simulated.
        key : name and hash of the case.
        where : what to call the case in an error; its scenario's name if None.

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
        self._marks[key] = PlanMark(plan.facts.digest, plan.plan.steps)
        self._last = key, plan
        return plan

    def mark(self, scenario: Scenario | None, key: CaseKey) -> PlanMark:
        """Digest and steps of a case's plan, which need not be there any more.

        Parameters
        ----------
        scenario, key : see `plan`.

        Errors: InputError, see `prepare`.
        """
        if key not in self._marks:
            self.plan(scenario, key)
        return self._marks[key]
