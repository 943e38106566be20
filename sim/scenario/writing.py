"""Scenarios written to files that run as they are: the TOML text and, beside it, the rows of the book."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from sim.book.file import book_csv
from sim.errors import GammawallError, InputError, Problem
from sim.files.atomic_files import replace_file
from sim.files.input_files import place_name
from sim.files.paths import output_path
from sim.problems import check_type
from sim.scenario.model import Scenario
from sim.scenario.toml import scenario_to_toml

DIGEST_LETTERS = 8
HINT = 'Try write_scenario(scenario, "mine.toml").'


def write_scenario(scenario: Scenario, file: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a scenario to a TOML file that `load_scenario` and `gammawall run` take.

    The rows of its book, whether they were read from a file or made of an option chain, are written beside it, to
    ``<name>-book-<digest>.csv``: a file written before keeps its own book until it is replaced, in one step. Read
    again, the scenario is equal to this one and has the same hash. The notes of a chain's scenario become comments at
    the top: a run of the file does not repeat them.

    Parameters
    ----------
    scenario : what to write.
    file : path of the file, which ends in .toml; its folder exists.
    overwrite : replace files that are there.

    Returns
    -------
    The path of the TOML file.

    Raises
    ------
    InputError : an argument is of the wrong type, or a file is there already.
    GammawallError : a file cannot be written.
    """
    check_type("scenario", scenario, Scenario, "a Scenario", 'Try load_scenario("siege-of-7000").')
    check_type("overwrite", overwrite, bool, "True or False", "Try overwrite=True.")
    path = output_path("file", file, "the path of a file", HINT)
    book = scenario.dealers.book
    if not path.name.isprintable():
        raise InputError([Problem("", "file", place_name(path), "has letters that no screen shows", HINT)])
    if book is not None:
        scenario = with_book_file(scenario, f"{path.stem}-book-{book.digest[:DIGEST_LETTERS]}.csv")
    book_path = None if scenario.dealers.book is None else path.with_name(scenario.dealers.book.file)
    _refuse_paths(path, book_path, overwrite)
    comments = "".join(f"# note: {' '.join(note.split())}\n" for note in scenario.notes)
    text = comments + scenario_to_toml(scenario)
    try:
        if book is not None and book_path is not None:
            # the book first: a scenario without its book would not run
            replace_file(book_path, book_csv(book))
        replace_file(path, text)
    except OSError as error:
        raise GammawallError(
            f"{place_name(path)}: it cannot be written ({error.strerror or error})."
        ) from error
    return path


def with_book_file(scenario: Scenario, file: str) -> Scenario:
    """Scenario with its book under the name of a file, relative to the scenario's folder; it must have a book."""
    dealers = scenario.dealers
    assert dealers.book is not None
    renamed = dealers.model_copy(update={"book": replace(dealers.book, file=file)})
    return scenario.model_copy(update={"dealers": renamed})


def _refuse_paths(path: Path, book_path: Path | None, overwrite: bool) -> None:
    where = place_name(path)
    if path.suffix != ".toml":
        raise InputError([Problem("", "file", where, "is no name of a TOML file", HINT)])
    if not path.absolute().parent.is_dir():
        raise InputError([Problem("", "file", where, "its folder does not exist", "Try making it first.")])
    for place in (path, book_path):
        if place is None or not os.path.lexists(place):
            continue
        if not place.is_file() or place.is_symlink():
            why, hint = "is there already, and no plain file", "Try another name."
        elif not overwrite:
            why, hint = "exists already", "Try another name, or overwrite=True to replace it."
        else:
            continue
        raise InputError([Problem("", "file", place_name(place), why, hint)])
