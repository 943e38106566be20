"""Result folder of a batch: its cases, each filed whole or not at all as it finishes, and the tables of all cases.

    batch.json                    settings of the batch, status of its cases
    batch.csv                     a row per case
    odds.csv …                    the tables of a run, for all finished cases
    differences.csv               every case minus the baseline
    sensitivity.csv               of `gammawall sensitivity`: changes per input
    cases/<case>/manifest.json    provenance of the case, or its error
    cases/<case>/counts.npz       its counts, from which every table can be made again
    cases/<baseline>/records.npz  record of each path of the baseline, for cases still to come
    cases/<case>/traceback.txt    of a case that failed

Manifests and batch.json are sealed, and a case's manifest has the digests of its other files: a case of which any has
changed counts as not run. A lock keeps a second process out. What a killed process leaves behind is hidden, and
removed by the next one. See docs/files.md for what is never touched.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from sim.batch.case_counts import (
    CaseCounts,
    archive_key,
    counts_bytes,
    counts_problem,
    read_counts,
    read_records,
    records_bytes,
    unusable,
)
from sim.batch.case_files import (
    CASES,
    COUNTS,
    MANIFEST,
    RECORDS,
    TRACEBACK,
    forget_case,
    place_case,
    read_case_file,
)
from sim.batch.documents import BATCH, BATCH_FORM, case_manifest
from sim.batch.family import Batch, Case
from sim.batch.tables import FAILED, FINISHED, NOT_RUN, CaseState, Row, case_row
from sim.compiled.kernel_sources import code_digest
from sim.errors import GammawallError
from sim.files.atomic_files import cannot_write, replace_file
from sim.files.json_text import is_sealed, sealed_json
from sim.files.own_files import FILE, entry_kind
from sim.files.table_files import TableFile, table_file_names
from sim.odds.pairs import Margins, Records, outcome_margins, record_margins
from sim.odds.tables import TABLES
from sim.run.results import RUN_FORM

if TYPE_CHECKING:
    from types import TracebackType

    import pandas as pd

# Tables of a batch besides those of its runs.
ROWS, DIFFERENCES, SENSITIVITY = "batch", "differences", "sensitivity"
LOCK = ".lock"
TABLE_FILES = (*table_file_names(ROWS, DIFFERENCES, SENSITIVITY, *TABLES),)
OWN_NAMES = {BATCH, CASES, LOCK, *TABLE_FILES}
# Seconds between two updates of batch.csv and batch.json while the batch runs.
REFRESH_S = 5.0


@dataclass
class BatchFolder:
    """Result folder of a batch, locked by this process until `close`.

    Attributes
    ----------
    path : the folder.
    batch : the batch whose results it holds.
    lock : lock that keeps other processes out; None if the folder is only read.
    parquet : whether tables are written as .parquet too.
    damage : file of a case that was found damaged to a sentence about it.
    notes : sentences on what was found or removed when the folder was opened.
    """

    path: Path
    batch: Batch
    lock: FileLock | None
    parquet: bool = False
    damage: dict[Path, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _states: dict[str, CaseState] = field(default_factory=dict)
    _rows: dict[str, Row] = field(default_factory=dict)
    _margins: Margins | None = None
    _refreshed: float = field(default_factory=time.monotonic)

    def close(self) -> None:
        """Release the lock."""
        if self.lock is not None:
            self.lock.release()

    def __enter__(self) -> BatchFolder:
        """Return the folder."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock."""
        self.close()

    def case_path(self, case: Case) -> Path:
        """Folder of a case."""
        return self.path / CASES / case.folder

    def status(self, case: Case) -> str:
        """Status of a case: "finished", "failed" or "not run"."""
        return self._state(case).status

    def _state(self, case: Case) -> CaseState:
        """Status and manifest of a case."""
        if case.name not in self._states:
            self._states[case.name] = self._filed_state(case)
        return self._states[case.name]

    def _filed_state(self, case: Case) -> CaseState:
        """Status and manifest of a case as it is filed; a case whose files are damaged has not run.

        Errors: GammawallError if a file is there that this process may not read.
        """
        none, file = CaseState(NOT_RUN, {}), self.case_path(case) / MANIFEST
        if _content(file) is None:
            return none
        manifest = case_manifest(file)
        if manifest is None or not is_sealed(manifest):
            self._tell_damage(case, MANIFEST)
            return none
        if manifest.get("case_key") != case_key(self.batch, case):
            return none
        if "error" in manifest:
            return CaseState(FAILED, manifest)
        counts = _content(self.case_path(case) / COUNTS) or b""
        if _sha256(counts) != manifest.get("counts_sha256") or archive_key(counts) != manifest["case_key"]:
            self._tell_damage(case, COUNTS)
            return none
        return CaseState(FINISHED, manifest)

    def _tell_damage(self, case: Case, name: str) -> None:
        """Take note of a damaged file of a case."""
        file = self.case_path(case) / name
        state = "is missing" if entry_kind(file) is None else "is damaged"
        self.damage[file] = f"{file} {state}: it is not used, and its case is counted again if wanted"

    def paths(self, case: Case) -> int:
        """Paths of a finished case."""
        return int(self._state(case).manifest.get("paths", 0))

    def plan_digest(self, case: Case) -> str:
        """Digest of the plan by which a finished case was counted."""
        return str(self._state(case).manifest.get("plan_digest"))

    def is_paired(self, case: Case) -> bool:
        """Whether a finished case was counted path by path with the baseline."""
        return bool(self._state(case).manifest.get("paired"))

    def counts(self, case: Case) -> CaseCounts | None:
        """Counts of a case; None if it is not finished.

        Errors: GammawallError if their file is damaged, does not belong to the manifest beside it, or holds what
        cannot be the counts of a case and its pairs with the baseline.
        """
        if self.status(case) != FINISHED:
            return None
        file = self.case_path(case) / COUNTS
        content = _content(file)
        if content is None:
            raise unusable(file, "is missing")
        if _sha256(content) != self._state(case).manifest.get("counts_sha256"):
            raise unusable(file, "is not the file that belongs to the manifest beside it")
        counts = read_counts(content, file)
        is_paired = counts.pairs is not None and case.name != self.batch.baseline
        problem = counts_problem(counts, self.baseline_margins() if is_paired else None)
        if problem is not None:
            raise unusable(file, f"holds no counts of a case ({problem})")
        return counts

    def baseline_margins(self) -> Margins | None:
        """Counts of the baseline's paths by the parts of their records; None if it is not finished.

        Errors: as `counts`.
        """
        if self._margins is None:
            counts = self.counts(self.batch.baseline_case)
            self._margins = None if counts is None else outcome_margins(counts.outcomes, counts.axes)
        return self._margins

    def baseline_records(self) -> Records | None:
        """Records of the baseline, (paths,) uint16; None if it is not finished, or they are gone or damaged.

        Errors: as `counts`.
        """
        case = self.batch.baseline_case
        file = self.case_path(case) / RECORDS
        manifest = self._state(case).manifest
        content = _content(file, self.paths(case)) if self.status(case) == FINISHED else None
        if content is None:
            return None
        known = _sha256(content) == manifest.get("records_sha256")
        if known and archive_key(content) == manifest["case_key"]:
            records, whole = read_records(content, file), self.baseline_margins()
            assert whole is not None
            margins = record_margins(records, whole)
            if margins is not None and margins.problem(whole) is None:
                return records
        self._tell_damage(case, RECORDS)
        return None

    def save_case(
        self, case: Case, counts: CaseCounts, manifest: Mapping[str, Any], records: Records | None = None
    ) -> None:
        """File a finished case, whole or not at all.

        Errors: GammawallError if it cannot be written.
        """
        key = case_key(self.batch, case)
        files: dict[str, str | bytes] = {COUNTS: counts_bytes(counts, key)}
        if records is not None:
            files[RECORDS] = records_bytes(records, key)
        known: dict[str, Any] = {"paired": counts.pairs is not None, "counts_sha256": _sha256(files[COUNTS])}
        if records is not None:
            known["records_sha256"] = _sha256(files[RECORDS])
        self._place(case, FINISHED, files, {**manifest, **known})
        self._rows.pop(case.name, None)
        if case.name == self.batch.baseline:
            self._margins = outcome_margins(counts.outcomes, counts.axes)
        self.add_row(case, counts)
        self._refresh()

    def save_failure(self, case: Case, error: str, trace: str) -> None:
        """File a failed case with its error and the traceback.

        Errors: GammawallError if it cannot be written.
        """
        assert case.scenario is not None
        manifest = {"error": error, "scenario": case.scenario.model_dump(mode="json", by_alias=True)}
        self._place(case, FAILED, {TRACEBACK: trace}, manifest)
        self._refresh()

    def _place(
        self, case: Case, status: str, files: dict[str, str | bytes], manifest: Mapping[str, Any]
    ) -> None:
        """Put a case's files into its folder; see `place_case`."""
        identity = {
            "batch": self.batch.name,
            "case": case.name,
            "baseline": self.batch.baseline,
            "parameters": dict(case.parameters),
            "case_key": case_key(self.batch, case),
        }
        files[MANIFEST] = sealed_json({**manifest, **identity}, RUN_FORM)
        with self.errors():
            place_case(self.case_path(case), files)
        self._states[case.name] = CaseState(status, {**manifest, **identity})

    def forget(self, cases: Sequence[Case]) -> None:
        """Remove the files of cases, so that they run again.

        Errors: GammawallError if they cannot be removed.
        """
        for case in cases:
            with self.errors():
                forget_case(self.case_path(case))
            self.forget_state(case)

    def forget_state(self, case: Case) -> None:
        """Drop the state and the row of a case, so that its folder is read again."""
        self._states.pop(case.name, None)
        self._rows.pop(case.name, None)
        self._margins = None

    def _refresh(self) -> None:
        """Update batch.csv and batch.json, unless that was done less than `REFRESH_S` ago."""
        if time.monotonic() - self._refreshed > REFRESH_S:
            self.save_table(ROWS, self.rows_table(self.rows()))
            self.save_state()
            self._refreshed = time.monotonic()

    def rows(self) -> list[Row]:
        """Rows of batch.csv, one per case, in the batch's order."""
        for case in self.batch.cases:
            if case.name not in self._rows:
                state = self._state(case)
                row = case_row(case, state, self.counts(case))
                if state.status == NOT_RUN:
                    continue
                self._rows[case.name] = row
        unknown = CaseState(NOT_RUN, {})
        return [self._rows.get(case.name) or case_row(case, unknown, None) for case in self.batch.cases]

    def add_row(self, case: Case, counts: CaseCounts) -> None:
        """Add the row of a finished case to those of batch.csv, unless it has one."""
        if case.name not in self._rows:
            self._rows[case.name] = case_row(case, self._state(case), counts)

    def rows_table(self, rows: Sequence[Row]) -> pd.DataFrame:
        """Table of the rows of batch.csv, parameters as numbers where all of a column are."""
        import pandas as pd

        frame = pd.DataFrame(rows)
        return frame.assign(**{name: _numbers(frame[name]) for name in self.batch.parameters})

    def save_state(self) -> None:
        """Write batch.json.

        Errors: GammawallError if it cannot be written.
        """
        with self.errors():
            replace_file(self.path / BATCH, sealed_json(self.document(), BATCH_FORM))

    def document(self) -> dict[str, Any]:
        """Content of batch.json: the settings of the batch and the status of its cases."""
        batch = self.batch
        states = [self._state(case) for case in batch.cases]
        seconds = [state.manifest.get("timings", {}).get("simulate_s", 0.0) for state in states]
        cases = [
            {
                "name": case.name,
                "folder": case.folder,
                "scenario_hash": case.hash,
                "status": state.status,
                "point": dict(case.point),
                "parameters": dict(case.parameters),
            }
            for case, state in zip(batch.cases, states, strict=True)
        ]
        return {
            "name": batch.name,
            "description": batch.description,
            "base": batch.base,
            "baseline": batch.baseline,
            # lists keep their order
            "axes": [{"axis": axis, "labels": list(labels)} for axis, labels in batch.axes.items()],
            "parameters": list(batch.parameters),
            "paths": batch.paths,
            "seed": batch.seed,
            "target_se": batch.target_se,
            "max_paths": batch.max_paths,
            "digest": batch.digest,
            "code": code_digest(),
            "cases": cases,
            "timings": {"simulate_s": round(sum(seconds), 4)},
        }

    def save_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table of the batch, as .csv and, where asked for, .parquet.

        Errors: GammawallError if it cannot be written.
        """
        with self.errors(), TableFile(self.path, name, self.parquet) as file:
            file.add(table)

    @contextlib.contextmanager
    def errors(self) -> Any:
        """Context that turns errors of the disk into GammawallError."""
        try:
            yield
        except OSError as error:
            raise cannot_write(self.path, error) from error


def case_key(batch: Batch, case: Case) -> str:
    """SHA-256 (hex) of everything that the counts and pairs of a case depend on, code included."""
    baseline = batch.baseline_case.hash
    how = [
        case.name,
        case.hash,
        baseline,
        batch.paths,
        batch.seed,
        batch.target_se,
        batch.max_paths,
        code_digest(),
    ]
    return hashlib.sha256(json.dumps(how).encode("utf-8")).hexdigest()


def _content(file: Path, paths: int = 0) -> bytes | None:
    """Content of a file of a case, empty if it is far too large; None without such a file.

    paths : paths of the case, for its records.

    Errors: GammawallError if it is there and this process may not read it, or the disk fails.
    """
    try:
        return read_case_file(file, paths) if entry_kind(file) == FILE else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.EFBIG:
            return b""
        raise GammawallError(f"{file}: cannot be read ({error.strerror or error}).") from error


def _sha256(content: str | bytes) -> str:
    return hashlib.sha256(content.encode("utf-8") if isinstance(content, str) else content).hexdigest()


def _numbers(column: Any) -> Any:
    """Column as numbers if all its texts are numbers or empty, else as it is."""
    import pandas as pd

    numbers = pd.to_numeric(column.where(column != ""), errors="coerce")
    return column if bool((numbers.isna() & (column != "")).any()) else numbers
