"""Writer of a batch's tables, case by case in the batch's order, while further cases are counted."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self

from sim.batch.case_counts import CaseCounts
from sim.batch.family import Case
from sim.batch.folder import DIFFERENCES, ROWS, BatchFolder
from sim.batch.tables import FINISHED, Row, differences_columns
from sim.errors import GammawallError, error_text
from sim.files.table_files import TableFile
from sim.odds.tables import TABLES
from sim.plan.outcomes import OutcomeAxes

if TYPE_CHECKING:
    from types import TracebackType


def save_tables(folder: BatchFolder) -> list[Row]:
    """Write the tables of all finished cases, batch.csv and batch.json; return the rows of batch.csv.

    Errors: GammawallError if they cannot be written; former tables then stay as they are.
    """
    with TableWriter(folder, ()) as tables:
        pass
    return tables.rows


class TableWriter:
    """Writer of the tables of a batch's finished cases, of batch.csv and of batch.json.

    Leaving the context writes the cases still missing and puts the tables into place; an exception leaves the former
    tables. The tables depend on the finished cases alone, not on the order in which they ended. Counting comes first:
    tables that cannot be written while cases are counted give way, and are begun anew at the end.

    Parameters
    ----------
    folder : folder of the batch.
    unsettled : names of the cases that are still to be counted; the others are taken as they are filed.
    progress : called with (cases done, cases) while the cases still missing are written at the end.

    Attributes
    ----------
    rows : rows of batch.csv, once the context is left.

    Raises
    ------
    GammawallError : the tables cannot be written.
    """

    def __init__(
        self,
        folder: BatchFolder,
        unsettled: Collection[str],
        progress: Callable[[int, int], None] | None = None,
    ):
        self.folder, self.progress = folder, progress
        self.unsettled = set(unsettled)
        self.rows: list[Row] = []
        self.done = 0
        self.baseline_axes: OutcomeAxes | None = None
        self.files: dict[str, TableFile] = {}
        self.stack = ExitStack()
        self.given_way = False

    def __enter__(self) -> Self:
        """Return the writer."""
        self._begin()
        return self

    def _begin(self) -> None:
        self.done = 0
        for name in (*TABLES, DIFFERENCES, ROWS):
            self.files[name] = self.stack.enter_context(
                TableFile(self.folder.path, name, self.folder.parquet)
            )

    def settle(self, case: Case, counts: CaseCounts | None) -> None:
        """Take note of a filed case, and write the cases that need not wait any more.

        counts : counts of the case; None if it failed.
        """
        self.unsettled.discard(case.name)
        if self.given_way:
            return
        baseline, cases = self.folder.batch.baseline_case, self.folder.batch.cases
        try:
            while self.done < len(cases) and not {cases[self.done].name, baseline.name} & self.unsettled:
                self._add(cases[self.done], counts if cases[self.done] is case else None)
        except Exception as error:  # told at the end, if it is still so: the case is filed
            self.give_way(error)

    def give_way(self, error: Exception) -> bool:
        """Free the disk space that the tables take until the end; return whether they took any."""
        if self.given_way:
            return False
        self.given_way = True
        with suppress(Exception):  # what was still to be flushed does not fit either
            self.stack.__exit__(type(error), error, error.__traceback__)
        return True

    def _add(self, case: Case, counts: CaseCounts | None) -> None:
        """Append the next case of the batch to every table."""
        self.done += 1
        if self.folder.status(case) != FINISHED:
            return
        counts = counts or self.folder.counts(case)
        assert counts is not None
        self.folder.add_row(case, counts)
        for name, table in TABLES.items():
            self.files[name].add(table.columns(counts.outcomes, counts.axes))
        baseline = self._baseline()
        if counts.pairs is not None and baseline is not None:
            self.files[DIFFERENCES].add(
                differences_columns(counts.pairs, counts.axes, baseline, self.folder.batch.baseline)
            )

    def _baseline(self) -> OutcomeAxes | None:
        if self.baseline_axes is None:
            counts = self.folder.counts(self.folder.batch.baseline_case)
            self.baseline_axes = None if counts is None else counts.axes
        return self.baseline_axes

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the tables into place, or remove them if something went wrong."""
        if kind is not None:
            self.stack.__exit__(kind, error, trace)
            return
        try:
            self._end()
        except (GammawallError, OSError, MemoryError):
            raise
        except Exception as failure:
            why = f"the tables cannot be made ({error_text(failure)}); the counts of all finished cases are kept"
            raise GammawallError(f"{self.folder.path}: {why}. Try again with --resume.") from failure

    def _end(self) -> None:
        """Write what is still missing, and put all tables into place."""
        cases = self.folder.batch.cases
        with self.folder.errors():
            with self.stack:
                if self.given_way:
                    self._begin()
                while self.done < len(cases):
                    self._add(cases[self.done], None)
                    if self.progress is not None:
                        self.progress(self.done, len(cases))
                self.rows = self.folder.rows()
                self.files[ROWS].add(self.folder.rows_table(self.rows))
                for file in self.files.values():
                    file.write_out()  # all of them, before any takes the place of a former one
            self.folder.save_state()
