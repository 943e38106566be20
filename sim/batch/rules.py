"""Rules of a batch as a whole, whether it was made by hand or read from a folder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sim.batch.family import Batch, Case, is_case_folder_name
from sim.errors import InputError, Problem
from sim.problems import problem, type_problem
from sim.run.simulation import LARGEST_SEED
from sim.run.stopping import SMALLEST_TARGET_SE
from sim.scenario.file import scenario_hash
from sim.scenario.model import Scenario

# Paths are numbered with 64 bits.
MOST_PATHS: Final = 2**64 - 1
_LOAD: Final = 'Try load_batch("story").'
_HASH: Final = re.compile(r"[0-9a-f]{64}")


def refuse_wrong_batch(batch: Batch) -> None:
    """Refuse a batch that could not be run as it is, its scenarios included.

    Errors: InputError with every problem.
    """
    problems = list(batch_problems(batch))
    if not problems:
        problems += [found for case in batch.cases for found in _scenario_problems(case)]
    if problems:
        raise InputError(problems)


def refuse_wrong_choice(batch: Batch, cases: Sequence[Case]) -> None:
    """Refuse a choice of cases that are not all the batch's own, each once.

    Errors: InputError with every problem.
    """
    own = {case.key for case in batch.cases}
    hint = 'Try batch.selected("impact*", None).'
    problems = [
        Problem("", f"cases[{index}]", repr(case), "is no case of this batch", hint)
        for index, case in enumerate(cases)
        if case.key not in own
    ]
    twice = [name for name, count in Counter(case.name for case in cases).items() if count > 1]
    problems += [problem("cases", name, "is chosen more than once", "Try leaving one out.") for name in twice]
    if problems:
        raise InputError(problems)


def batch_problems(batch: Batch) -> Iterator[Problem]:
    """Problems of a batch apart from its scenarios: texts, numbers, names and folders of its cases, its grid."""
    for name in ("name", "description", "base", "baseline"):
        if not _is_text(getattr(batch, name)):
            yield type_problem(f"batch.{name}", getattr(batch, name), "a text", _LOAD)
    yield from _number_problems(batch)
    if not (isinstance(batch.axes, Mapping) and all(_are_labels(*axis) for axis in batch.axes.items())):
        yield problem("batch.axes", None, "is no mapping of axes to labels", _LOAD)
        return
    if not isinstance(batch.cases, (tuple, list)) or not all(isinstance(case, Case) for case in batch.cases):
        yield type_problem("batch.cases", batch.cases, "a tuple of cases", _LOAD)
        return
    if not batch.cases:
        yield problem("batch.cases", None, "there is none", _LOAD)
        return
    yield from _case_problems(batch)


def _number_problems(batch: Batch) -> Iterator[Problem]:
    for name, value, least, most in (
        ("paths", batch.paths, 1, MOST_PATHS),
        ("seed", batch.seed, 0, LARGEST_SEED),
        ("max_paths", batch.max_paths, 1, MOST_PATHS),
    ):
        if value is None and name == "max_paths":
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            why = f"a whole number from {least} to 2^64 - 1 is expected"
            yield problem(f"batch.{name}", repr(value) if value is None else value, why, f"Try {name}=1000.")
    target, most_paths = batch.target_se, batch.max_paths
    if target is not None and not (isinstance(target, float) and SMALLEST_TARGET_SE <= target < 0.5):
        why = f"a standard error from {SMALLEST_TARGET_SE:g} to less than 0.5 is expected"
        yield problem("batch.target_se", target, why, "Try target_se=0.001.")
    if isinstance(most_paths, int) and isinstance(batch.paths, int):
        if target is None:
            why = "limits target_se, which is not given"
            yield problem("batch.max_paths", most_paths, why, "Try max_paths=None.")
        elif most_paths < batch.paths:
            yield problem("batch.max_paths", most_paths, "is less than paths", "Try max_paths=None.")


def _case_problems(batch: Batch) -> Iterator[Problem]:
    for index, case in enumerate(batch.cases):
        where = f"batch.cases[{index}]"
        if not (_is_text(case.name) and case.name):
            yield type_problem(f"{where}.name", case.name, "a text that is not empty", "Try a short name.")
        if not is_case_folder_name(case.folder):
            why, hint = "is no plain name of a folder", "Try the folder that load_batch has given it."
            yield problem(f"{where}.folder", case.folder, why, hint)
        if not (isinstance(case.hash, str) and _HASH.fullmatch(case.hash)):
            why, hint = "is no hash of a scenario", "Try scenario_hash(case.scenario)."
            yield problem(f"{where}.hash", case.hash, why, hint)
        if not _is_text_mapping(case.point) or any(
            label not in batch.axes.get(axis, ()) for axis, label in case.point.items()
        ):
            yield problem(f"{where}.point", None, "is no point of the batch's grid", _LOAD)
        if not _is_text_mapping(case.parameters):
            yield problem(f"{where}.parameters", None, "is no mapping of texts to texts", _LOAD)
    for what in ("name", "folder"):
        values = [getattr(case, what) for case in batch.cases]
        for value, count in Counter(value for value in values if isinstance(value, str)).items():
            if count > 1:
                yield problem(
                    f"batch.cases: {what}", value, f"{count} cases have it", "Try another for each."
                )
    if isinstance(batch.baseline, str) and batch.baseline not in [case.name for case in batch.cases]:
        yield batch.baseline_problem()


def _scenario_problems(case: Case) -> Iterator[Problem]:
    key = f"case {case.name}"
    if not isinstance(case.scenario, Scenario):
        why = "has no scenario; a batch read from its results has none"
        yield problem(key, None, why, _LOAD)
    elif case.scenario.name != case.name:
        hint = 'Try scenario.model_copy(update={"name": case.name}).'
        yield problem(key, case.scenario.name, "its scenario has another name", hint)
    elif scenario_hash(case.scenario) != case.hash:
        why = "its hash is that of another scenario"
        yield problem(key, case.hash, why, "Try hash=scenario_hash(case.scenario).")


def _is_text(value: Any) -> bool:
    """Whether a value is a text that a file can hold; half of a surrogate pair has no bytes."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_text_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and all(_is_text(text) for pair in value.items() for text in pair)


def _are_labels(axis: Any, labels: Any) -> bool:
    return _is_text(axis) and isinstance(labels, (tuple, list)) and all(map(_is_text, labels))
