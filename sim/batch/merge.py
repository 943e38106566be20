"""Merge of a batch whose shares were run apart: one folder with the cases of all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sim.batch.case_files import CASE_FILES, COUNTS, place_case, read_case_file
from sim.batch.documents import BATCH, batch_document, batch_from_document
from sim.batch.family import Batch, Case
from sim.batch.folder import BatchFolder
from sim.batch.folder_rules import is_batch_folder, refuse_links, refuse_lock
from sim.batch.opening import lock_share, open_batch_folder
from sim.batch.run import BatchRun
from sim.batch.table_writer import save_tables
from sim.batch.tables import FAILED, FINISHED
from sim.compiled.kernel_sources import code_digest
from sim.errors import GammawallError, InputError, Problem
from sim.files.atomic_files import cannot_write
from sim.files.paths import output_path
from sim.files.terminal_text import printable_line
from sim.problems import check_type, shown


def merge_folders(
    folders: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    parquet: bool = False,
) -> tuple[Batch, BatchRun]:
    """Join the folders of a batch's shares into a new one; the shares stay as they are.

    Parameters
    ----------
    folders : result folders of the shares.
    out : folder to make.
    overwrite : replace a former batch in `out`.
    parquet : write tables as .parquet too.

    Raises
    ------
    InputError : a folder holds no batch, or another one than the first.
    GammawallError : a share is still running, two shares differ in a case, or the result cannot be written.
    """
    hint = 'Try merge_folders(["results/1", "results/2"], "results/whole").'
    check_type("folders", folders, (tuple, list), "a list of folders", hint)
    for index, folder in enumerate(folders):
        output_path(f"folders[{index}]", folder, "the path of a folder", hint)
    place = output_path("out", out, "the path of a folder", hint)
    for name, value in (("overwrite", overwrite), ("parquet", parquet)):
        check_type(name, value, bool, "True or False", f"Try {name}=True.")
    if not folders:
        raise InputError([Problem("", "folders", "[]", "there is none to join", hint)])
    return _merged([Path(folder) for folder in folders], place, overwrite=overwrite, parquet=parquet)


def _merged(folders: Sequence[Path], out: Path, *, overwrite: bool, parquet: bool) -> tuple[Batch, BatchRun]:
    batch = _same_batch(folders)
    places: dict[str, Path] = {}
    for folder in folders:
        places.setdefault(os.path.realpath(folder), folder)
    _refuse_place_in_a_share(out, places)
    for folder in places.values():
        with _reading(folder):
            refuse_lock(folder)
            refuse_links(folder, [case.folder for case in batch.cases])
    with ExitStack() as stack:
        shares = [
            stack.enter_context(BatchFolder(folder, batch, lock_share(folder))) for folder in places.values()
        ]
        # Before a former result is removed: shares that do not fit are told while it is still there.
        chosen = [(case, _chosen_share(batch, case, shares)) for case in batch.cases]
        whole = stack.enter_context(
            open_batch_folder(batch, out, overwrite=overwrite, parquet=parquet, may_resume=False)
        )
        run = BatchRun(whole.path)
        for case, share in chosen:
            if share is None:
                continue
            _copy_case(case, share, whole)
            (run.finished if share.status(case) == FINISHED else run.failed).append(case.name)
        run.rows = save_tables(whole)
        run.notes = [*whole.notes, *(note for share in shares for note in share.damage.values())]
    return batch, run


def _refuse_place_in_a_share(out: Path, shares: Iterable[str]) -> None:
    """Refuse a share, or a place inside one, for the whole.

    shares : real paths of the shares.
    """
    try:
        place = os.path.realpath(out)
    except OSError as error:  # the current folder is gone
        raise cannot_write(out, error) from error
    for share in shares:
        if Path(place).is_relative_to(share):
            why = "is one of the shares" if place == share else f"lies inside the share {share}"
            raise InputError([Problem("", "--out", str(out), why, "Choose another --out.")])


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Context that turns errors of the disk into GammawallError."""
    try:
        yield
    except OSError as error:
        why = f"cannot be read ({error.strerror or error})"
        raise GammawallError(f"{folder}: {why}. Try giving yourself permission to read it.") from error


def _same_batch(folders: Sequence[Path]) -> Batch:
    """The one batch that all folders hold.

    Errors: InputError if a folder holds no batch, or another than the first.
    """
    problems, first = [], None
    for folder in folders:
        document = batch_document(folder)
        if document is None:
            why, hint = "holds no batch's results", ""
            with _reading(folder):
                holds_cases = is_batch_folder(folder)
            if holds_cases:
                why, hint = f"its {BATCH} is missing or damaged", "Try running that share with --resume."
            problems.append(Problem("", "folder", str(folder), why, hint))
            continue
        if document["code"] != code_digest():
            why = "is of another version of gammawall or its kernels"
            problems.append(Problem("", "folder", str(folder), why, "Merge with that version."))
        first = first or document
        if document["digest"] != first["digest"]:
            why = f"holds another batch than {folders[0]}"
            hint = "Shares of one batch have the same file, base, paths and seed."
            problems.append(Problem("", "folder", str(folder), why, hint))
        elif _labels(document) != _labels(first):
            why = f"its batch has other labels than that of {folders[0]}: {_labels_apart(document, first)}"
            hint = "Try running one of them with --resume and the file of the other."
            problems.append(Problem("", "folder", str(folder), why, hint))
    if problems:
        raise InputError(problems)
    assert first is not None
    return batch_from_document(first)


def _labels(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a batch.json says of the batch and its cases besides what the counts depend on."""
    found = {name: document[name] for name in ("axes", "parameters")}
    for case in document["cases"]:
        found[f"case {shown(case['name'])}"] = (case["point"], case["parameters"])
    return found


def _labels_apart(mine: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Names of the first labels in which two batch.json differ."""
    theirs = _labels(other)
    return ", ".join([name for name, value in _labels(mine).items() if value != theirs.get(name)][:3])


def _chosen_share(batch: Batch, case: Case, shares: Sequence[BatchFolder]) -> BatchFolder | None:
    """Share that finished a case, or else one in which it failed; None if it has run in none.

    Errors: GammawallError if the case is damaged wherever it is, or two shares differ in it.
    """
    statuses = [share.status(case) for share in shares]
    finished = [share for share, status in zip(shares, statuses, strict=True) if status == FINISHED]
    failed = [share for share, status in zip(shares, statuses, strict=True) if status == FAILED]
    if not finished:
        _refuse_damaged(case, shares)
    if case.name == batch.baseline:
        # With its records, for cases still to come.
        finished.sort(key=lambda share: share.baseline_records() is None)
    if case.name != batch.baseline and any(share.status(batch.baseline_case) == FINISHED for share in shares):
        # Where a share had no baseline, its cases lack their differences.
        finished = [share for share in finished if share.is_paired(case)]
    for share in finished[1:]:
        with _reading(share.path):
            mine, theirs = (read_case_file(s.case_path(case) / COUNTS, 0) for s in (finished[0], share))
        if mine != theirs or len({s.plan_digest(case) for s in (finished[0], share)}) > 1:
            raise GammawallError(
                f"{case.name}: {finished[0].path} and {share.path} counted it differently, which must not be. Please "
                "report this with both folders."
            )
    return next(iter(finished or failed), None)


def _copy_case(case: Case, share: BatchFolder, whole: BatchFolder) -> None:
    """Copy the files of a case from a share."""
    source = share.case_path(case)
    with _reading(source):
        files = dict(_case_files(source, share.paths(case)))
    with whole.errors():
        place_case(whole.case_path(case), files)
    whole.forget_state(case)


def _case_files(folder: Path, paths: int) -> Iterator[tuple[str, bytes]]:
    """Files of a filed case of so many paths by name; what is too large, and anything else there, is left out."""
    for name in CASE_FILES:
        try:
            yield name, read_case_file(folder / name, paths)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EFBIG):
                raise


def _refuse_damaged(case: Case, shares: Sequence[BatchFolder]) -> None:
    """Raise GammawallError if a case that no share has whole is damaged in one."""
    damaged = [file for share in shares for file in share.damage if file.parent == share.case_path(case)]
    if damaged:
        where = printable_line(str(damaged[0]))
        why = f"it is damaged, and no other share has the case {shown(case.name)}"
        raise GammawallError(f"{where}: {why}. Try running that share with --resume.")
