"""Arguments of a simulation that are no numbers, checked before any time is spent."""

from __future__ import annotations

from collections.abc import Sequence

from sim.errors import InputError
from sim.files.plain_values import record_problems
from sim.problems import check_type, shown, type_problem


def check_notes(notes: object) -> None:
    """Refuse notes that are no list of texts, or that no manifest can record.

    Errors: `InputError`.
    """
    expected = "a list of texts"
    if isinstance(notes, str):
        raise InputError([type_problem("notes", notes, expected, f"Try [{shown(notes)}].")])
    hint = 'Try notes=["the book is of last week"].'
    if isinstance(notes, (bytes, bytearray)):
        raise InputError([type_problem("notes", notes, expected, hint)])
    check_type("notes", notes, Sequence, expected, hint)
    assert isinstance(notes, Sequence)
    for index, note in enumerate(notes):
        check_type(f"notes[{index}]", note, str, "a text", hint)
    problems = record_problems(list(notes), "notes")
    if problems:
        raise InputError(problems)


def check_progress(progress: object) -> None:
    """Refuse a progress that cannot be called.

    Errors: `InputError`.
    """
    if progress is not None and not callable(progress):
        hint = "Try progress=lambda done, planned: print(done)."
        raise InputError([type_problem("progress", progress, "a function of two numbers", hint)])
