"""Batch: a family of scenarios that share their draws, and the choice of those to run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from sim.errors import InputError, Problem
from sim.problems import problem, short_repr, shown
from sim.scenario.model import Scenario


@dataclass(frozen=True)
class Case:
    """One scenario of a batch, with its name and its place in the grid.

    Attributes
    ----------
    name : its name, in the column `scenario` of every table.
    folder : name of its result folder.
    hash : hash of its scenario.
    scenario : the scenario; None in a batch read from its results.
    point : grid axis to label of the value there; empty for a case outside the grid.
    parameters : column of batch.csv to text of the value in this case.
    """

    name: str
    folder: str
    hash: str
    scenario: Scenario | None
    point: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        stated = ", ".join(f"{name} = {value}" for name, value in self.parameters.items() if value)
        return short_repr(self, f"{self.name}: {stated}" if stated else self.name)

    @property
    def key(self) -> tuple[str, str]:
        """Name and hash, which together identify the case."""
        return self.name, self.hash


@dataclass(frozen=True)
class Batch:
    """Family of scenarios that share their draws, one of them the baseline.

    Attributes
    ----------
    name, description : texts of the batch file.
    base : name of the base scenario.
    baseline : name of the case that the others are compared with.
    cases : all cases, in the order of the tables; their names are unique.
    axes : grid axis to the labels of its values.
    paths, seed, target_se, max_paths : arguments of every case's simulation; see `sim.simulate`.
    """

    name: str
    description: str
    base: str
    baseline: str
    cases: tuple[Case, ...]
    axes: Mapping[str, tuple[str, ...]]
    paths: int
    seed: int
    target_se: float | None = None
    max_paths: int | None = None

    def __repr__(self) -> str:
        noun = "case" if len(self.cases) == 1 else "cases"
        size = f"{len(self.cases):,} {noun} of {self.base}, {self.paths:,} paths each"
        return short_repr(self, f"{self.name}: {size}, seed {self.seed}, baseline {self.baseline}")

    @property
    def baseline_case(self) -> Case:
        """The case that the others are compared with.

        Errors: InputError if there is no such case.
        """
        found = next((case for case in self.cases if case.name == self.baseline), None)
        if found is None:
            raise InputError([self.baseline_problem()])
        return found

    def baseline_problem(self) -> Problem:
        """Problem with a baseline that is no case."""
        names = ", ".join(str(case.name) for case in self.cases[:4])
        hint = f"Try one of its cases: {names}." if names else "Try a batch with cases."
        return problem("batch.baseline", self.baseline, "is no case of the batch", hint)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Columns of batch.csv with the parameters in which the cases differ."""
        return tuple(dict.fromkeys(name for case in self.cases for name in case.parameters))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of everything that the results depend on except the engine and the kernels."""
        cases = [[case.name, case.folder, case.hash] for case in self.cases]
        how = [self.name, self.baseline, self.paths, self.seed, self.target_se, self.max_paths]
        return hashlib.sha256(json.dumps([how, cases]).encode("utf-8")).hexdigest()

    def selected(self, pattern: str | None, shard: tuple[int, int] | None) -> tuple[Case, ...]:
        """Cases to run: the baseline, then those whose names match, or every n-th of these from the i-th on.

        Parameters
        ----------
        pattern : shell pattern such as "impact*"; all cases if None.
        shard : (i, n), 0 ≤ i < n; the baseline belongs to every shard.

        Errors: InputError if the pattern matches nothing.
        """
        matching = [case for case in self.cases if is_chosen(case.name, pattern)]
        if not matching:
            names = ", ".join(case.name for case in self.cases[:4])
            raise InputError(
                [Problem("", "--only", shown(pattern), "matches no case", f"Try one of: {names} ...")]
            )
        index, shards = shard or (0, 1)
        others = [case for case in matching if case.name != self.baseline]
        return self.baseline_case, *others[index::shards]


def is_chosen(name: str, pattern: str | None) -> bool:
    """Whether a name matches a shell pattern, or equals it, brackets and all; True for every name if it is None."""
    return pattern is None or name == pattern or fnmatchcase(name, pattern)


def case_folder_name(name: str) -> str:
    """Name of a case's folder: the case's own where every file system takes it, else part of it and a digest.

    It does not depend on the case's position, so that a batch to which cases are added finds those of before.
    """
    plain = re.sub(r"[^a-z0-9_.=-]+", "-", name).strip("-.")[:60]
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
    return plain if plain == name else f"{plain or 'case'}-{digest[:8]}"


def is_case_folder_name(folder: object) -> bool:
    """Whether a value is a name such as `case_folder_name` makes: one plain name, never a path or a hidden one."""
    return isinstance(folder, str) and re.fullmatch(r"[a-z0-9_=][a-z0-9_.=-]{0,68}", folder) is not None
