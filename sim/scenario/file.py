"""Scenario files: TOML read into a validated `Scenario`, and the hash of one.

Everything wrong with a file is reported at once: what pydantic finds key by key, then the rules across keys,
the exchange calendar's among them, as far as the remaining keys let them be judged. So is an argument of the wrong
type.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

from sim.errors import InputError, Problem
from sim.files.input_files import place_name
from sim.files.plain_values import TOO_DEEP, nests_too_deep
from sim.files.toml_file import FileKind, is_path
from sim.problems import check_type, shown, shown_key
from sim.scenario.fragments import Fragment, check_fragments
from sim.scenario.model import Scenario
from sim.scenario.overrides import Overrides
from sim.scenario.validation import changed_tables

SCENARIO_FILE: Final = FileKind("scenario", "sim.scenarios", "gammawall scenario show siege-of-7000")


def load_scenario(
    source: str | os.PathLike[str], overrides: Overrides = (), fragments: Sequence[Fragment] = ()
) -> Scenario:
    """Scenario read from a file or from the built-in ones.

    Parameters
    ----------
    source : a path, or the name of a built-in scenario; a string is a path if it has a separator or ends in ".toml".
    overrides : dotted keys and their values, {"dealers.impact_bp_per_bn": 1}, or texts as --set takes them,
        ["dealers.impact_bp_per_bn=1"]; applied in order before validation; grammar: `sim.scenario.overrides`.
    fragments : keys merged into the scenario's, before the overrides.

    Raises
    ------
    InputError : with every problem. Those of an override have "overrides" as their place, or "--set" if it is a text.
    """
    if isinstance(source, Scenario):
        why = "a name or a path is expected, and this is a scenario already"
        raise InputError(
            [Problem("", "source", "", why, 'Try scenario.with_changes({"market.spot": 6900}).')]
        )
    check_fragments(fragments)
    where, data = SCENARIO_FILE.read(source)
    folder = Path(os.fspath(source)).parent if is_path(source) else Path()
    return changed_tables(Scenario, data, where, overrides, fragments, folder=folder)


def resolve_scenario(
    source: Scenario | str | os.PathLike[str], where: str | None = None, fragments: Sequence[Fragment] = ()
) -> tuple[Scenario, str | None]:
    """Scenario that an argument is or stands for, and what problems name as its place.

    Parameters
    ----------
    source : a scenario, or its built-in name or its file; see `load_scenario`.
    where : place that the caller names; if None the file or the built-in name, and None again for a scenario, whose
        own name does then.
    fragments : keys merged into a scenario that is read here; a scenario that exists stays as it is.

    Raises
    ------
    InputError : an argument is of another type, or what the source names is no valid scenario.
    """
    if where is not None:
        check_type("where", where, str, "a name for the scenario in messages", 'Try where="my.toml".')
        where = where and place_name(where)
    if isinstance(source, Scenario):
        return source, where
    return load_scenario(source, (), fragments), place_name(source) if where is None else where


def scenario_from_mapping(
    data: Mapping[str, Any], where: str, overrides: Overrides = (), fragments: Sequence[Fragment] = ()
) -> Scenario:
    """Scenario from the nested tables of a file, as `tomllib` returns them.

    Parameters
    ----------
    data : the tables; they stay as they are.
    where : place that problems name, usually the file.
    overrides, fragments : see `load_scenario`.

    Raises
    ------
    InputError : with every problem.
    """
    check_type(
        "data", data, Mapping, "a mapping of a scenario's tables", 'Try tomllib.load(open("my.toml", "rb")).'
    )
    check_type("where", where, str, "what problems name as their place", 'Try where="my.toml".')
    check_fragments(fragments)
    return changed_tables(Scenario, _copied(data, where), where, overrides, fragments)


def _copied(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Copy of a mapping's nested tables.

    Errors: `InputError` for what cannot be copied, and for what holds itself.
    """
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, value in data.items():
        name, hint = shown_key(key) if isinstance(key, str) else shown(key), "Try leaving it out."
        if nests_too_deep({key: value}):
            problems.append(Problem(where, name, shown(value), TOO_DEEP, hint))
            continue
        try:
            found[key] = deepcopy(value)
        except Exception:  # the copying of foreign objects fails in many ways
            problems.append(Problem(where, name, shown(value), "holds no value that a scenario has", hint))
    if problems:
        raise InputError(problems)
    return found


def builtin_scenarios() -> dict[str, str]:
    """Names of the built-in scenarios, each with the first line of its description."""
    return SCENARIO_FILE.builtin()


def scenario_hash(scenario: Scenario) -> str:
    """SHA-256 (hex) of a scenario's canonical JSON, defaults included; equal scenarios have equal hashes.

    Errors: `InputError` if it is no `Scenario`.
    """
    check_type("scenario", scenario, Scenario, "a Scenario", 'Try load_scenario("siege-of-7000").')
    data = _without_negative_zero(scenario.model_dump(mode="json", by_alias=True))
    if scenario.dealers.book is not None:
        data["dealers"]["book"] = scenario.dealers.book.digest  # wherever it lies
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _without_negative_zero(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_negative_zero(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_negative_zero(item) for item in value]
    return value + 0.0 if isinstance(value, float) else value
