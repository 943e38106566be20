"""Result folder of a run: a CSV file for each of its tables and a manifest, written whole or not at all.

The files are written into a hidden folder beside the final one, flushed to the disk, and renamed into place
in one step. A full disk, a kill or an interruption leaves nothing under the final name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.errors import InputError
from sim.files.json_text import json_rows, manifest_json
from sim.files.output_folder import (
    MANIFEST,
    Files,
    FolderKind,
    OutputFolder,
    Saved,
    made_files,
    save_folder,
    write_folder,
)
from sim.files.paths import output_path
from sim.files.table_text import table_csv
from sim.odds.tables import TABLES, sessions_to_target
from sim.problems import check_type, type_problem

if TYPE_CHECKING:
    from sim.run.simulation import Result

RUN_FORM = "gammawall-results/1"
RUN_FOLDER = FolderKind("run", (*(table.file_name for table in TABLES.values()), MANIFEST), RUN_FORM)


def write_results(result: Result, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write the files of a run into a folder that appears complete or not at all.

    Parameters
    ----------
    result : the run; its tables and manifest are written as they are.
    folder : the folder to make.
    overwrite : replace a former result folder. Only an empty folder, or one that holds a run's files and
        nothing else, is ever replaced.

    Returns
    -------
    The folder written.

    Errors: InputError if an argument is of a wrong type, or the folder exists and may not be replaced; GammawallError
    if it cannot be written.
    """
    hint = 'Try write_results(result, "results/mine").'
    path = output_path("folder", folder, "the path of a folder", hint)
    check_type("overwrite", overwrite, bool, "True or False", "Try overwrite=True.")
    if not hasattr(result, "manifest"):
        raise InputError([type_problem("result", result, "a Result", 'Try simulate("siege-of-7000").')])
    return write_run(result, OutputFolder(path, RUN_FOLDER, overwrite))


def write_run(result: Result, place: OutputFolder) -> Path:
    """Write the tables and the manifest of a run to a folder; see `write_results`."""
    return write_folder(place, made_files(_files(result)))


def save_results(result: Result, place: OutputFolder) -> Saved:
    """Write a run's files to their place or, so that no finished work is lost, to a new temporary folder.

    Parameters
    ----------
    result : the run; its tables and manifest are written as they are.
    place : from `prepare_output`.
    """
    return save_folder(place, _files(result))


def run_document(result: Result, folder: Path | None) -> dict[str, Any]:
    """JSON document of a run: odds, sessions to each target, benchmarks, manifest, and the folder of its files.

    folder : folder of its files; None if they are not kept.
    """
    benchmarks = {
        name: [{"level": level, "probability": p} for level, p in value.items()]
        if isinstance(value, Mapping)
        else value
        for name, value in result.benchmarks.items()
    }
    return {
        "odds": json_rows(result.odds),
        "sessions_to_target": json_rows(sessions_to_target(result.outcomes, result.axes)),
        "benchmarks": benchmarks,
        "manifest": result.manifest,
        "results": None if folder is None else str(folder),
    }


def _files(result: Result) -> Files:
    """Files of a run, each with the function that makes its content."""
    tables = [(t.file_name, partial(_table_text, result, t.name)) for t in TABLES.values()]
    return [*tables, (MANIFEST, lambda: manifest_json(result.manifest, RUN_FORM))]


def _table_text(result: Result, name: str) -> bytes:
    return table_csv(getattr(result, name))
