"""Checks of the arguments with which a batch is simulated."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sim.batch.run import BatchProgress
from sim.engines.choice import AUTO, ENGINES, MOST_DEVICES, MOST_THREADS
from sim.errors import InputError, Problem
from sim.files.paths import output_path
from sim.problems import gives_text, problem, shown, type_problem

FLAGS = ("resume", "accept_changes", "retry_failed", "fail_fast", "overwrite", "parquet")
COUNTS = ("threads", "workers")
FILES = ("tls_ca", "tls_cert", "tls_key")


def check_arguments(given: Mapping[str, Any]) -> None:
    """Refuse arguments of a wrong type or out of range, all of them together, and those that contradict each other.

    given : arguments of `simulate_batch` by their names; None, which stands for a default, is right for most.

    Errors: `InputError`.
    """
    problems = [
        *_out_problems(given["out"]),
        *_engine_problems(given["engine"]),
        *(found for name in COUNTS for found in _count_problems(name, given[name])),
        *_device_problems(given["devices"]),
        *_scheduler_problems(given),
        *(
            type_problem(name, given[name], "True or False", f"Try {name}=True.")
            for name in FLAGS
            if not isinstance(given[name], (bool, np.bool_))
        ),
    ]
    if given["progress"] is not None and not isinstance(given["progress"], BatchProgress):
        hint = "Try an object of a class derived from it."
        problems.append(type_problem("progress", given["progress"], "a BatchProgress", hint))
    problems = problems or _contradictions(given)
    if problems:
        raise InputError(problems)


def _out_problems(out: object) -> list[Problem]:
    hint = 'Try out="results/story".'
    if out is None:
        return []
    try:
        path = output_path("out", out, "the path of a folder", hint)
    except InputError as error:
        return list(error.problems)
    return [] if os.fspath(path).strip() and out != "" else [problem("out", out, "names no folder", hint)]


def _engine_problems(engine: object) -> list[Problem]:
    if isinstance(engine, str):
        return []  # which names there are is the choice's to say
    return [
        type_problem("engine", engine, "the name of an engine", f"Try one of {', '.join((AUTO, *ENGINES))}.")
    ]


def _count_problems(name: str, value: object) -> list[Problem]:
    if value is None:
        return []
    if not _is_whole(value):
        return [type_problem(name, value, "a whole number", f"Try {name}=2.")]
    assert isinstance(value, (int, np.integer))
    if value < 1:
        return [problem(name, int(value), "at least 1 is needed", f"Try {name}=2.")]
    if name == "threads" and value > MOST_THREADS:
        return [problem(name, int(value), f"at most {MOST_THREADS:,} are possible", "Try fewer.")]
    return []


def _device_problems(devices: object) -> list[Problem]:
    hint = "Try devices=[0]."
    if devices is None:
        return []
    is_array = isinstance(devices, np.ndarray) and devices.ndim == 1
    if isinstance(devices, (str, bytes)) or not (is_array or isinstance(devices, Sequence)):
        return [type_problem("devices", devices, "a list of numbers of GPUs", hint)]
    assert isinstance(devices, (Sequence, np.ndarray))
    numbers = list(devices)
    if not numbers:
        return [problem("devices", numbers, "names no GPU", hint)]
    if not all(map(_is_whole, numbers)):
        return [problem("devices", numbers, "whole numbers are expected", hint)]
    if min(numbers) < 0:
        return [problem("devices", numbers, "GPUs are numbered from 0", hint)]
    if max(numbers) > MOST_DEVICES:
        return [problem("devices", numbers, "no GPU has such a number", hint)]
    if len(set(numbers)) < len(numbers):
        return [problem("devices", numbers, "names a GPU twice", hint)]
    return []


def _scheduler_problems(given: Mapping[str, Any]) -> list[Problem]:
    kinds: dict[str, tuple[tuple[type, ...], str, str]] = {
        "scheduler": ((str,), "the address of a dask scheduler", 'Try scheduler="tcp://node1:8786".'),
        **{name: ((str, os.PathLike), "the path of a file", f'Try {name}="{name}.pem".') for name in FILES},
    }
    return [
        type_problem(name, given[name], expected, hint)
        for name, (types, expected, hint) in kinds.items()
        if given[name] is not None
        and not (isinstance(given[name], types) and (isinstance(given[name], str) or gives_text(given[name])))
    ]


def _contradictions(given: Mapping[str, Any]) -> list[Problem]:
    """Problems with arguments that are right by themselves and wrong together."""
    devices = () if given["devices"] is None else given["devices"]
    several = given["workers"] is not None or given["scheduler"] is not None or len(devices) > 1
    checks = (
        ("overwrite", given["resume"] and given["overwrite"], "contradicts resume", "Leave out one of them."),
        (
            "scheduler",
            given["scheduler"] is not None and not (given["workers"] is None and given["devices"] is None),
            "brings its own workers",
            "Leave out workers and devices.",
        ),
        ("threads", given["threads"] is not None and several, "is for one process", "Workers have one each."),
        (
            next((name for name in FILES if given[name] is not None), ""),
            given["scheduler"] is None and any(given[name] is not None for name in FILES),
            "goes with a scheduler",
            'Try scheduler="tls://node1:8786".',
        ),
    )
    return [
        Problem("", name, shown(given[name]) if name in FILES else str(given[name]), why, hint)
        for name, broken, why, hint in checks
        if broken
    ]


def _is_whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
