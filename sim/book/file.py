"""Book files, CSV or Parquet: read, with every problem at once, and written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sim.book.limits import MOST_GROUPS, RANGES, is_group_name
from sim.book.rows import COLUMNS, OPTIONAL, BookRows
from sim.errors import InputError, Problem
from sim.files.input_files import (
    InputKind,
    csv_cells,
    file_bytes,
    file_refusal,
    note_lines,
    place_name,
    refuse_repeated_columns,
)
from sim.files.number_cells import plain_numbers
from sim.files.table_files import ParquetTable
from sim.files.table_text import table_csv
from sim.problems import shown

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS: Final = 200_000
LONGEST_CELL: Final = 200
_KIND: Final = InputKind(
    "book file",
    100_000_000,
    "Try gammawall book CHAIN, which writes such a file.",
    "Try the book.csv inside it.",
    "Try gammawall book CHAIN, which writes such a file.",
    MOST_ROWS,
)


def read_book(path: Path, stated: str) -> BookRows:
    """Positions read from a book file.

    Parameters
    ----------
    path : the file; Parquet if its name ends so, else CSV.
    stated : the file as the user names it.

    Raises
    ------
    InputError : with every kind of problem of the file; its place is the file.
    """
    where = place_name(stated)
    table = _table(path, where)
    problems = list(_column_problems(table.columns, where))
    if problems:
        raise InputError(problems)
    return _Checked(table, where, "row" if _is_parquet(path) else "line").rows(stated)


def book_table(rows: BookRows) -> pd.DataFrame:
    """Positions as the table of a book file."""
    import pandas as pd

    return pd.DataFrame(
        {
            "strike": rows.strike,
            "expiry": np.datetime_as_string(rows.expiry, unit="D"),
            "type": np.where(rows.is_call, "call", "put"),
            "settlement": np.where(rows.at_open, "AM", "PM"),
            "iv": rows.iv,
            "contracts": rows.contracts,
            "carry": rows.carry,
            "group": np.array(rows.groups, dtype=object)[rows.group],
        }
    )


def book_csv(rows: BookRows) -> bytes:
    """Positions as the bytes of a CSV book file, each number as the shortest text that reads back the same."""
    table = book_table(rows)
    for name in ("strike", "iv", "contracts", "carry"):
        table[name] = [repr(number).removesuffix(".0") for number in table[name].tolist()]
    return table_csv(table)


def _table(path: Path, where: str) -> pd.DataFrame:
    """Cells of the file as text, one row per position; its index is the line in a CSV file, the row in Parquet."""
    table = _parquet(path, where) if _is_parquet(path) else csv_cells(path, where, _KIND)
    _refuse_rows(len(table), where)
    return table


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


def _parquet(path: Path, where: str) -> pd.DataFrame:
    import pandas as pd

    content = file_bytes(path, where, _KIND)
    try:
        file = ParquetTable(content)
        _refuse_sizes(file, where)
        table = _short_texts(file.frame(), where)
    except ImportError as error:
        hint = "Try pip install 'gammawall-sim[parquet]', or a CSV file."
        raise file_refusal(where, "needs pyarrow to be read", hint) from error
    except InputError:
        raise
    except Exception as error:  # pyarrow has many
        raise file_refusal(where, "is no Parquet file", "Try the right file, or CSV.") from error
    for name in table:
        if pd.api.types.is_datetime64_any_dtype(table[name]):
            days = table[name].dt.normalize() == table[name]
            table[name] = table[name].dt.strftime("%Y-%m-%d").where(days, table[name].astype(str))
    table.index = pd.RangeIndex(1, len(table) + 1)
    return table.astype(str).mask(table.isna(), "")


def _refuse_sizes(file: ParquetTable, where: str) -> None:
    """Refuse a Parquet file that would outgrow memory, by what it says of itself, before its rows are read.

    Errors: `InputError`.
    """
    _refuse_rows(file.rows, where)
    refuse_repeated_columns(file.columns, where)
    if file.bytes > _KIND.most_bytes:
        why = f"has {file.bytes:,} bytes unpacked, at most {_KIND.most_bytes:,} are possible"
        raise file_refusal(where, why, _KIND.hint)
    problems = list(_column_problems(file.columns, where))
    problems += [
        Problem(where, f"column {name}", "", "holds neither numbers nor texts nor dates", _KIND.hint)
        for name in file.odd
    ]
    if problems:
        raise InputError(problems)


def _short_texts(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """Table with the cells of its categorical columns themselves, none of them long.

    Errors: `InputError`: one long text in many rows is a small file, but outgrows memory where each row has it.
    """
    texts = [name for name in table if str(table[name].dtype) == "category"]
    for name in texts:
        longest = max((len(str(text)) for text in table[name].cat.categories), default=0)
        if longest > LONGEST_CELL:
            why = f"has a text of {longest:,} characters, at most {LONGEST_CELL} are possible"
            raise InputError([Problem(where, f"column {name}", "", why, _KIND.hint)])
    return table.astype(dict.fromkeys(texts, object))


def _refuse_rows(rows: int, where: str) -> None:
    if not rows:
        raise file_refusal(where, "has no positions", _KIND.hint)
    if rows > MOST_ROWS:
        why = f"has {rows:,} positions, at most {MOST_ROWS:,} are possible"
        raise file_refusal(where, why, "Try fewer rows.")


def _column_problems(columns: Iterable[object], where: str) -> Iterator[Problem]:
    names = [str(name) for name in columns]
    missing = [name for name in COLUMNS if name not in names]
    unknown = [name for name in names if name not in (*COLUMNS, *OPTIONAL)]
    if missing:
        why = f"is missing, like every other of {', '.join(missing[1:])}" if missing[1:] else "is missing"
        yield Problem(where, f"column {missing[0]}", "", why, _KIND.hint)
    if unknown:
        known = ", ".join((*COLUMNS, *OPTIONAL))
        yield Problem(
            where, f"column {shown(unknown[0])}", "", "is no column of a book", f"Columns are {known}."
        )


class _Checked:
    """Columns of a book file, read one by one, and the problems found in them.

    noun : what messages call one of its rows, "line" or "row".
    """

    def __init__(self, table: pd.DataFrame, where: str, noun: str):
        self.table, self.where, self.noun = table, where, noun
        self.problems: list[Problem] = []

    def rows(self, stated: str) -> BookRows:
        """Return the positions, or raise every problem."""
        strike, iv, contracts = (self._numbers(name) for name in ("strike", "iv", "contracts"))
        carry = self._numbers("carry") if "carry" in self.table else np.zeros(len(self.table))
        expiry = self._dates()
        is_call = self._choice("type", ("call", "put"))
        at_open = self._choice("settlement", ("AM", "PM"))
        groups, group = self._groups()
        if self.problems:
            raise InputError(self.problems)
        return BookRows(stated, groups, group, is_call, strike, expiry, at_open, iv, contracts, carry)

    def _numbers(self, name: str) -> Any:
        numbers = plain_numbers(self.table[name].tolist())
        low, high, why = RANGES[name]
        self._refuse(name, ~np.isfinite(numbers), "is no number", "Try a plain number such as 0.14.")
        self._refuse(
            name,
            np.isfinite(numbers) & ~((numbers >= low) & (numbers <= high)),
            why,
            "Try leaving the row out.",
        )
        return numbers

    def _dates(self) -> Any:
        import pandas as pd

        dates = pd.to_datetime(self.table["expiry"], format="%Y-%m-%d", errors="coerce")
        self._refuse("expiry", dates.isna().to_numpy(), "is no date", "Try it as 2026-03-20.")
        return dates.to_numpy().astype("datetime64[D]")

    def _choice(self, name: str, allowed: tuple[str, str]) -> Any:
        cells = self.table[name]
        wrong = ~cells.isin(allowed).to_numpy()
        self._refuse(
            name, wrong, f"is neither {allowed[0]} nor {allowed[1]}", f"Try {allowed[0]} or {allowed[1]}."
        )
        return (cells == allowed[0]).to_numpy()

    def _groups(self) -> tuple[tuple[str, ...], Any]:
        codes, names = self.table["group"].factorize(sort=True)
        bad = [i for i, name in enumerate(names) if not is_group_name(name)]
        why = "must begin with a letter and have only letters, digits, _ and -"
        self._refuse("group", np.isin(codes, bad), why, "Try a name such as wall.")
        if len(names) > MOST_GROUPS:
            why = f"there are {len(names)} groups, at most {MOST_GROUPS} are possible"
            self.problems.append(Problem(self.where, "column group", "", why, "Try fewer names."))
        return tuple(names), codes.astype(np.int32)

    def _refuse(self, name: str, wrong: Any, why: str, hint: str) -> None:
        note_lines(self.problems, self.where, self.table[name], wrong, why, hint, self.noun)
