"""Batch files in TOML: a base scenario varied by a grid and by single cases.

    schema = 1
    name = "impact"
    base = "siege-of-7000"          # a built-in scenario, or a file beside this one
    paths = 200_000

    [grid]                          # every combination of the values
    "dealers.impact_bp_per_bn" = [0.6, 2, 3.5]
    wall = [
      { label = "half", set = { "dealers.position[wall].gex_bn*" = 0.5 } },
      { label = "double", set = { "dealers.position[wall].gex_bn*" = 2 } },
    ]

    [[case]]
    name = "no dealers"
    set = { "dealers.impact_bp_per_bn" = 0 }

The base itself is a case, called "base" unless `baseline` names another one to compare with.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError

from sim.batch.family import Batch, Case, case_folder_name
from sim.batch.rules import MOST_PATHS
from sim.book.rows import BookRows
from sim.errors import InputError, Problem
from sim.files.toml_file import FileKind, is_path
from sim.plan.dealers import initial_feedback
from sim.problems import check_type, shown, shown_key
from sim.run.simulation import DEFAULT_PATHS, LARGEST_SEED
from sim.run.stopping import SMALLEST_TARGET_SE
from sim.scenario.file import load_scenario, scenario_from_mapping, scenario_hash
from sim.scenario.fragments import Fragment
from sim.scenario.key_problems import key_problems
from sim.scenario.model import Items, Scenario, ScenarioTable, Title
from sim.scenario.overrides import Overrides, apply_settings, contradiction, plain_key, short_key, values_at
from sim.scenario.validation import scenario_data, validated_tables

BATCH_FILE: Final = FileKind("batch", "sim.batches", "gammawall batch --show story")
BASE: Final = "base"
MOST_CASES: Final = 20_000
LONGEST_NAME: Final = 100

PathCount = Annotated[int, Field(ge=1, le=MOST_PATHS)]
Settings = dict[str, Any]
# Tables of a scenario that are no lists: a key such as dealers.m_floor that is not in quotes arrives as one of them.
SCENARIO_TABLES: Final = ("market", "volatility", "drift", "jumps", "dealers", "targets")
# What to try where one of these keys is wrong as a whole.
HINTS: Final = {
    "set": 'Try set = { "market.spot" = 6900 }.',
    "grid": 'Try [grid], in single brackets, and under it "market.spot" = [6900, 6950].',
    "case": "Try [[case]], in double brackets, and under it name and set.",
}
# In the order in which they are applied: a key may be multiplied several times.
SequenceOfSettings = list[tuple[str, Any]]


class CaseTable(ScenarioTable):
    """A single case: `set` gives keys of the scenario their values or, with a star behind the key, a factor."""

    name: Annotated[Title, Field(min_length=1)]
    set: Settings


class BatchTable(ScenarioTable):
    """Keys of a batch file.

    base : name of a built-in scenario, or path of a scenario file, relative to the batch file's folder.
    baseline : case that the others are compared with.
    volatility_held : what stays as it is in the base when a case changes the dealers: "observed", from which each
        case infers its own fundamental volatility, as a run does; or "fundamental", so that only the dealers change.
    set : settings of every case, the baseline included.
    grid : scenario key, or any other name with labelled values, to the list of its values.
    """

    schema_version: Annotated[int, Field(alias="schema", ge=1, le=1)]
    name: Annotated[Title, Field(min_length=1)]
    description: Annotated[str, Field(max_length=10_000)] = ""
    base: Annotated[str, Field(min_length=1)] = "siege-of-7000"
    baseline: Title = BASE
    volatility_held: Literal["observed", "fundamental"] = "observed"
    paths: PathCount = DEFAULT_PATHS
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] = 1
    target_se: Annotated[float, Field(ge=SMALLEST_TARGET_SE, lt=0.5)] | None = None
    max_paths: PathCount | None = None
    set: Settings = Field(default_factory=dict)
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    case: Items[CaseTable] = ()


def builtin_batches() -> dict[str, str]:
    """Names of the built-in batches, each with the first line of its description."""
    return BATCH_FILE.builtin()


def load_batch(
    source: str | os.PathLike[str],
    *,
    base: Scenario | str | os.PathLike[str] | None = None,
    overrides: Overrides = (),
    fragments: Sequence[Fragment] = (),
    paths: int | None = None,
    seed: int | None = None,
    target_se: float | None = None,
    max_paths: int | None = None,
) -> Batch:
    """Batch read from a file or from the built-in ones, every case validated.

    Parameters
    ----------
    source : a path, or the name of a built-in batch.
    base : scenario to use instead of the one the file names: a `Scenario`, a built-in name or a path.
    overrides, fragments : see `load_scenario`; applied to the base before the cases are made of it.
    paths, seed, target_se, max_paths : instead of the file's; None leaves them.

    Raises
    ------
    InputError : with every problem of the file, the base and all cases.
    """
    if isinstance(source, Batch):
        why = "a name or a path is expected, and this is a batch already"
        raise InputError([Problem("", "source", "", why, "Try simulate_batch(batch).")])
    where, data = BATCH_FILE.read(source)
    if base is not None:
        expected = "a Scenario, a built-in scenario's name or the path of a scenario file"
        check_type("base", base, (Scenario, str, os.PathLike), expected, 'Try base="no-dealers".')
    folder = Path(os.fspath(source)).parent if is_path(source) else None
    return batch_from_mapping(
        data,
        where,
        folder=folder,
        base=base,
        overrides=overrides,
        fragments=fragments,
        paths=paths,
        seed=seed,
        target_se=target_se,
        max_paths=max_paths,
    )


def batch_from_mapping(
    data: Mapping[str, Any],
    where: str,
    *,
    folder: Path | None = None,
    base: Scenario | str | os.PathLike[str] | None = None,
    overrides: Overrides = (),
    fragments: Sequence[Fragment] = (),
    **changes: Any,
) -> Batch:
    """Batch from the nested tables of a file, as `tomllib` returns them; see `load_batch`.

    where : place that problems name, usually the file.
    folder : folder that the paths of a base and of book files are relative to; the present one if None.
    changes : paths, seed, target_se, max_paths.

    Errors: `InputError` with every problem of the tables, the base and all cases.
    """
    table = _batch_table(data, where, changes)
    if isinstance(base, Scenario):
        scenario = scenario_from_mapping(scenario_data(base), base.name, overrides, fragments)
    else:
        scenario = _read_base(table, where, folder, base, overrides, fragments)
    if table.volatility_held == "fundamental":
        scenario = with_fundamental_volatility(scenario)
    return _Builder(table, scenario, where, folder).batch()


def _read_base(
    table: BatchTable,
    where: str,
    folder: Path | None,
    base: str | os.PathLike[str] | None,
    overrides: Overrides,
    fragments: Sequence[Fragment],
) -> Scenario:
    """Base scenario read from the file or built-in name that the caller or else the batch file states."""
    place = "--base" if base is not None else where
    if base is None:
        base = os.fspath((folder or Path()) / table.base) if is_path(table.base) else table.base
    try:
        return load_scenario(base, overrides, fragments)
    except InputError as error:
        if _is_batch(base):
            why, hint = (
                "is a batch; the base of one is a scenario",
                "Try siege-of-7000, or a scenario's file.",
            )
            raise InputError(
                [Problem(place, "" if place == "--base" else "base", shown(os.fspath(base)), why, hint)]
            ) from error
        raise


def _is_batch(source: str | os.PathLike[str]) -> bool:
    """Whether a name or a file is a batch rather than a scenario."""
    try:
        data = BATCH_FILE.read(source)[1]
    except InputError:
        return False
    return "market" not in data and any(key in data for key in ("base", "baseline", "grid", "case"))


def resolve_batch(source: Batch | str | os.PathLike[str]) -> Batch:
    """Batch given as it is, or loaded by its name or path; see `load_batch`.

    Errors: `InputError`.
    """
    return source if isinstance(source, Batch) else load_batch(source)


def batch_of_scenario(data: Mapping[str, Any], scenario: Scenario, where: str) -> Batch:
    """Batch with a loaded scenario as its base; `base` and `volatility_held` of the tables are ignored.

    data : nested tables of a batch file.
    where : place that problems name.

    Errors: `InputError` with every problem.
    """
    return _Builder(_batch_table(data, where, {}), scenario, where).batch()


def _batch_table(data: Mapping[str, Any], where: str, changes: Mapping[str, Any]) -> BatchTable:
    """Validated keys of a batch file, with the changes that are not None in place of its own.

    Errors: `InputError` with every problem.
    """
    data = {**data, **{key: value for key, value in changes.items() if value is not None}}
    grid = data.get("grid")
    unquoted = (
        [key for key, values in grid.items() if isinstance(values, dict)] if isinstance(grid, dict) else []
    )
    if unquoted:
        why, hint = "a list of values is expected", "Try the whole key in quotes, dots and all."
        raise InputError([Problem(where, f"grid.{shown_key(key)}", "", why, hint) for key in unquoted])
    try:
        table = BatchTable.model_validate(data)
    except ValidationError as failure:
        problems = key_problems(failure.errors(include_url=False), BatchTable)
        raise InputError(
            [replace(problem, where=where, hint=HINTS.get(problem.key, problem.hint)) for problem in problems]
        ) from failure
    if table.max_paths is not None and (table.target_se is None or table.max_paths < table.paths):
        why = "limits target_se, which is not given" if table.target_se is None else "is less than paths"
        raise InputError([Problem(where, "max_paths", str(table.max_paths), why, "Try leaving it out.")])
    return table


class _Builder:
    """Builder of a batch that collects the problems of all cases and raises them together."""

    def __init__(self, table: BatchTable, base: Scenario, where: str, folder: Path | None = None):
        self.table, self.base, self.where, self.folder = table, base, where, folder
        self.problems: dict[Problem, list[str]] = {}
        self.labelled: dict[str, list[Settings]] = {}

    def batch(self) -> Batch:
        """Return the batch, or raise every problem."""
        stated = [(name, self._settings(name, chosen), point) for name, chosen, point in self._stated()]
        names = [name for name, _, _ in stated]
        for name in sorted(name for name, count in Counter(names).items() if count > 1):
            self._refuse(
                "", Problem("", "name", shown(name), "two cases have this name", "Try another name.")
            )
        if self.table.baseline not in names:
            hint = "Try leaving it out" + (f", or one of: {', '.join(names[:5])}." if names else ".")
            why = "is no case"
            self._refuse("", Problem("", "baseline", shown(self.table.baseline), why, hint))
        settings = [settings for _, settings, _ in stated]
        columns = list(dict.fromkeys(plain_key(key) for chosen in settings for key, _ in chosen))
        axes = {
            axis: tuple(dict.fromkeys(point[axis] for _, _, point in stated if axis in point))
            for axis in self.table.grid
        }
        cases = []
        for name, chosen, point in stated:
            made = self._case(name, chosen, point, columns)
            if made is not None:
                cases.append(made)
        if self.problems:
            raise InputError([self._placed(problem, found) for problem, found in self.problems.items()])
        table = self.table
        return Batch(
            table.name,
            table.description.strip(),
            self.base.name,
            table.baseline,
            tuple(cases),
            axes,
            table.paths,
            table.seed,
            table.target_se,
            table.max_paths,
        )

    def _stated(self) -> Iterator[tuple[str, SequenceOfSettings, dict[str, str]]]:
        """Name, settings and grid point of every case: the base, the single cases, the grid."""
        common = list(self.table.set.items())
        singles = [(case.name, [*common, *case.set.items()]) for case in self.table.case]
        if self.table.baseline == BASE and all(name != BASE for name, _ in singles):
            yield BASE, common, {}
        for name, settings in singles:
            yield name, settings, {}
        axes = [list(self._axis(name, values)) for name, values in self.table.grid.items()]
        size = 1
        for axis in axes:
            size *= len(axis)
        if size > MOST_CASES:
            why = f"makes {size:,} cases, at most {MOST_CASES:,} are possible"
            raise InputError([Problem(self.where, "grid", "", why, "Try fewer values.")])
        for index, corner in enumerate(itertools.product(*axes) if axes else ()):
            name = " ".join(part for part, _, _ in corner)
            settings = [*common, *(pair for _, _, chosen in corner for pair in chosen.items())]
            point = dict(zip(self.table.grid, (label for _, label, _ in corner), strict=True))
            yield name if len(name) <= LONGEST_NAME else f"grid {index:05d}", settings, point

    def _axis(self, name: str, values: list[Any]) -> Iterator[tuple[str, str, Settings]]:
        """Part of a case's name, label and settings, for each value of an axis."""
        labelled = [isinstance(value, dict) and "label" in value for value in values]
        if any(labelled):
            yield from self._labelled_axis(name, values)
            return
        short = short_key(name, self.table.grid)
        sign = "=" if plain_key(name) == name.strip() else "*"
        known: dict[
            tuple[bool, Any], Any
        ] = {}  # 6900 and 6900.0 are the same to a scenario, 1 and true are not
        for index, value in enumerate(values):
            key = isinstance(value, bool), repr(value) if isinstance(value, (list, dict)) else value
            if known.setdefault(key, index) != index:
                why = f"is the same value as {shown(values[known[key]])} before it"
                hint = "Try leaving one of them out."
                self._refuse("", Problem("", f"grid.{shown_key(name)}[{index}]", shown(value), why, hint))
                continue
            label = value if isinstance(value, str) else shown(value)
            yield _part(f"{short}{sign}{label}"), label, {name: value}

    def _labelled_axis(self, name: str, values: list[Any]) -> Iterator[tuple[str, str, Settings]]:
        for index, value in enumerate(values):
            keys = set(value) if isinstance(value, dict) else set()
            if keys != {"label", "set"} or not isinstance(value["set"], dict):
                why = "a value with a label is { label = ..., set = { key = value } }, and so are all of its axis"
                key = f"grid.{shown_key(name)}[{index}]"
                self._refuse("", Problem("", key, shown(value), why, "Try completing it."))
                continue
            label = value["label"] if isinstance(value["label"], str) else shown(value["label"])
            if isinstance(value["label"], (dict, list)):
                key = f"grid.{shown_key(name)}[{index}].label"
                why, hint = "a short text is expected", 'Try label = "half".'
                self._refuse("", Problem("", key, shown(value["label"]), why, hint))
            elif not label.isprintable():
                key = f"grid.{shown_key(name)}[{index}].label"
                self._refuse(
                    "", Problem("", key, shown(label), "has a control character", 'Try label = "half".')
                )
                continue
            yield _part(f"{name}={label}"), label, value["set"]

    def _settings(self, name: str, stated: SequenceOfSettings) -> SequenceOfSettings:
        """Settings with whole tables split into their keys, so that the other keys of a table stay as they are."""
        found: SequenceOfSettings = []
        for key, value in stated:
            if key in SCENARIO_TABLES and isinstance(value, dict):
                found += [(f"{key}.{inner}", item) for inner, item in value.items()]
            elif plain_key(key) == "name":
                why, hint = "a case's name is the key beside set", "Try leaving it out of set."
                self._refuse(name, Problem("", "set.name", shown(value), why, hint))
            else:
                found.append((key, value))
        return found

    def _case(
        self, name: str, settings: SequenceOfSettings, point: dict[str, str], columns: Sequence[str]
    ) -> Case | None:
        own = [key for key, _ in settings if key not in self.table.set]  # what all share, a case may overrule
        contrary = contradiction(own)
        if contrary is not None:
            why, hint = f"contradicts {contrary[1]}, which the same case states", "Try only one of them."
            self._refuse(name, Problem("", contrary[0], "", why, hint))
            return None
        data = scenario_data(self.base)
        _, problems = apply_settings(data, settings, "")
        data["name"] = name
        try:
            scenario = validated_tables(Scenario, data, "", {}, problems, folder=self.folder)
        except InputError as failure:
            for problem in failure.problems:
                self._refuse(name, problem)
            return None
        resolved = scenario_data(scenario)
        parameters = {axis: point.get(axis, "") for axis in self.table.grid if self._is_labelled(axis)}
        parameters |= {key: " ".join(map(_text, values_at(resolved, key))) for key in columns}
        return Case(name, case_folder_name(name), scenario_hash(scenario), scenario, point, parameters)

    def _is_labelled(self, axis: str) -> bool:
        first = self.table.grid[axis][0]
        return isinstance(first, dict) and "label" in first

    def _refuse(self, case: str, problem: Problem) -> None:
        self.problems.setdefault(problem, []).append(case)

    def _placed(self, problem: Problem, cases: list[str]) -> Problem:
        """Problem whose place is the file and the cases that have it, and the book file where it is in that."""
        named = [case for case in cases if case]
        more = f" and {len(named) - 1:,} more" if len(named) > 1 else ""
        place = f"{self.where}, case {shown(named[0])}{more}" if named else self.where
        return replace(problem, where=f"{place}: {problem.where}" if problem.where else place)


def with_fundamental_volatility(scenario: Scenario) -> Scenario:
    """Scenario that quotes the volatilities of the fundamental, inferred from its observed ones and its dealers."""
    stated = scenario.volatility
    if stated.quoted == "fundamental":
        return scenario
    feedback = initial_feedback(scenario)
    long_run = None if stated.long_run_annual is None else stated.long_run_annual * feedback
    changes = {"quoted": "fundamental", "annual": stated.annual * feedback, "long_run_annual": long_run}
    return scenario.model_copy(update={"volatility": stated.model_copy(update=changes)})


def _part(text: str) -> str:
    """Text as a part of a case's name, without slashes and control characters."""
    kept = "".join("-" if c in "/\\" or not c.isprintable() else c for c in text)
    return kept.strip()


def _text(value: Any) -> str:
    """Text of a value in a cell of a table, whole however long; empty where a scenario has no value."""
    if isinstance(value, (dict, list)):
        return json.dumps(value, default=str)
    if isinstance(value, BookRows):
        return value.file
    if isinstance(value, float):
        value = float(f"{value:.12g}")  # what a product was rounded to shows in no table
    return value if isinstance(value, str) else "" if value is None else shown(value)
