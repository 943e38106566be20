"""Bytes of users' files and cells of their CSV tables, with one clear error for each way they can be unusable."""

from __future__ import annotations

import io
import os
import re
import select
import stat
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sim.errors import InputError, Problem
from sim.problems import shown

if TYPE_CHECKING:
    from io import RawIOBase

    import pandas as pd

# Lines named for each thing wrong with a column.
LINES_NAMED: Final = 3
# No table that is read here has more columns.
MOST_COLUMNS: Final = 1000
_RAGGED: Final = re.compile(r"Expected (\d+) fields in line (\d+), saw (\d+)")
# "<TICKER>,<DATE>" is the header of a table.
_WEB_PAGE: Final = re.compile(r"\s*<(?![A-Za-z]+>[,;\t])")
# Seconds for which a pipe may have nothing to read, and that it may take in all.
PIPE_WAIT: Final = 10.0
LONGEST_PIPE: Final = 60.0
# Beginnings of files that are no text, nor any table read here, and what such a file is.
_PACKED: Final = (
    (b"PK\x03\x04", "is an Excel workbook or another zip archive"),
    (b"PK\x05\x06", "is an empty zip archive"),
    (b"\xd0\xcf\x11\xe0", "is an Excel workbook"),
    (b"\x1f\x8b", "is compressed by gzip"),
    (b"BZh", "is compressed by bzip2"),
    (b"\xfd7zXZ", "is compressed by xz"),
    (b"(\xb5/\xfd", "is compressed by zstd"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive"),
    (b"%PDF", "is a PDF document"),
)
_LONGEST_START: Final = 8
# Lines of a table that may be blank.
_BLANK_LINES: Final = 1000


@dataclass(frozen=True)
class InputKind:
    """Kind of input file, with the texts of its errors.

    Attributes
    ----------
    noun : name of such a file, "option chain" for instance.
    most_bytes : size above which files are refused.
    hint : what to try if a file is of another kind.
    inside : what to try if the path is a directory.
    missing : what to try if there is no such file.
    most_rows : rows above which tables are refused; None: none.
    most_cells : rows times columns above which tables are refused; None: none.
    """

    noun: str
    most_bytes: int
    hint: str
    inside: str = "Try a file inside it."
    missing: str = "Try a path that exists."
    most_rows: int | None = None
    most_cells: int | None = None


def place_name(path: str | os.PathLike[str]) -> str:
    """Name of a file in messages: its path on one line."""
    name = os.fspath(path)
    return name if name.isprintable() and name else shown(name)


def file_refusal(where: str, why: str, hint: str) -> InputError:
    """Error about a file as a whole."""
    return InputError([Problem(where, "", "", why, hint)])


def file_bytes(path: str | os.PathLike[str], where: str, kind: InputKind) -> bytes:
    """Bytes of a file.

    where : name of the file in messages.

    Errors: `InputError` if it cannot be read, is no file or pipe, is packed, or is too large for its kind.
    """
    try:
        content = _bytes_of(path, where, kind)
    except FileNotFoundError as error:
        raise file_refusal(where, "no such file", kind.missing) from error
    except PermissionError as error:
        raise file_refusal(where, "may not be read", "Try giving yourself permission to read it.") from error
    except OSError as error:
        why = f"cannot be read: {error.strerror or 'input error'}"
        raise file_refusal(where, why, "Try another path.") from error
    except ValueError as error:
        raise file_refusal(where, f"is no path: {error}", "Try another path.") from error
    return content


def _bytes_of(path: str | os.PathLike[str], where: str, kind: InputKind) -> bytes:
    """Bytes of a file of the right kind and size, or of a pipe.

    Errors: `InputError` if it is none; OSError and ValueError of the system.
    """
    if os.path.isdir(path):
        raise file_refusal(where, f"is a directory, not {_a(kind.noun)}", kind.inside)
    with open(path, "rb", buffering=0, opener=_open_at_once) as file:
        state = os.fstat(file.fileno())
        size, mode = state.st_size, state.st_mode
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise file_refusal(where, f"is a device, not {_a(kind.noun)}", "Try the right file.")
        until = time.monotonic() + LONGEST_PIPE if stat.S_ISFIFO(mode) else None
        content = _read_up_to(file, _LONGEST_START, until, where)
        for start, what in _PACKED:
            if content.startswith(start):
                raise file_refusal(where, f"{what}, not text", kind.hint)
        if size <= kind.most_bytes:
            content += _read_up_to(file, kind.most_bytes + 1 - len(content), until, where)
    if max(size, len(content)) > kind.most_bytes:
        limit = f"{kind.most_bytes // 1_000_000} MB"
        raise file_refusal(where, f"is larger than {limit}, no {kind.noun}", "Try the right file.")
    return content


def _open_at_once(path: str, flags: int) -> int:
    """Descriptor of a file; a pipe without a writer would keep a usual call of open waiting."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _read_up_to(file: RawIOBase, most: int, until: float | None, where: str) -> bytes:
    """Bytes up to a number of them or to the end of a file.

    until : time by the monotonic clock at which a pipe must have ended; None for a file.

    Errors: `InputError` if it has not, or has nothing to read for `PIPE_WAIT` seconds.
    """
    pieces = []
    hint = "Try a file, or the command that writes to the pipe first."
    while most > 0:
        if until is not None and not select.select([file], [], [], PIPE_WAIT)[0]:
            why = f"is a pipe with nothing to read for {PIPE_WAIT:g} seconds"
            raise file_refusal(where, why, hint)
        if until is not None and time.monotonic() > until:
            raise file_refusal(where, f"is a pipe that does not end within {LONGEST_PIPE:g} seconds", hint)
        piece = file.read(most)
        if not piece:
            break
        pieces.append(piece)
        most -= len(piece)
    return b"".join(pieces)


def csv_cells(path: str | os.PathLike[str], where: str, kind: InputKind) -> pd.DataFrame:
    """Cells of a CSV table as stripped text, indexed by line; empty rows are left out.

    The first line has the names of the columns, which are taken in lower case. Cells are separated by commas, or by
    semicolons or tabs if that line has no comma.

    where : name of the file in messages.

    Errors: `InputError` if the file is no such table.
    """
    import pandas as pd

    text = _table_text(file_bytes(path, where, kind), where, kind)
    lines = text.count("\n")
    if kind.most_rows is not None and lines > kind.most_rows + 1 + _BLANK_LINES:
        why = f"has {lines:,} lines, and {kind.most_rows:,} rows are the most"
        raise file_refusal(where, why, "Try fewer rows.")
    if text.lstrip()[0] in "{[":
        raise file_refusal(where, "is JSON, not a table", kind.hint)
    header = text.splitlines()[0]
    mark = next((mark for mark in ",;\t" if mark in header), ",")
    if header.count(mark) >= MOST_COLUMNS:
        why = f"has {header.count(mark) + 1:,} columns in its first line, and {MOST_COLUMNS:,} are the most"
        raise file_refusal(where, why, kind.hint)
    if kind.most_cells is not None and (held := lines * (header.count(mark) + 1)) > kind.most_cells:
        why = f"has {held:,} cells, and {kind.most_cells:,} are the most"
        raise file_refusal(where, why, "Try the columns needed alone, or fewer rows.")
    try:
        # The names are read with the rest, so that pandas does not change what comes twice.
        table: pd.DataFrame = pd.read_csv(
            io.StringIO(text),
            sep=mark,
            header=None,
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
            skip_blank_lines=False,
        )
    except pd.errors.EmptyDataError as error:
        raise file_refusal(where, "has no header in its first line", kind.hint) from error
    except (pd.errors.ParserError, ValueError) as error:
        ragged = _RAGGED.search(str(error))
        if ragged:
            why = f"has {ragged[3]} cells, and the first line, its header, has {ragged[1]}"
            hint = "Try the table without lines above its header, or fewer cells in that line."
            raise file_refusal(f"{where}, line {ragged[2]}", why, hint) from error
        raise file_refusal(where, f"is no CSV table: {' '.join(str(error).split())}", kind.hint) from error
    if len(table) != len(text.splitlines()):
        why = "a quotation mark spans lines, and so hides them"
        raise file_refusal(where, why, "Try the file without such marks.")
    names = [str(cell).strip().strip("<>").lower() for cell in table.iloc[0]]
    refuse_repeated_columns((name for name in names if name), f"{where}, line 1")
    table.columns = pd.Index(names)
    table.index = pd.RangeIndex(1, len(table) + 1)
    cells = pd.DataFrame({name: table[name].fillna("").str.strip() for name in names if name}).iloc[1:]
    filled = (cells != "").any(axis=1)
    return cells.loc[filled]


def refuse_repeated_columns(names: Iterable[str], where: str) -> None:
    """Refuse a table in which two columns have one name.

    Errors: `InputError`.
    """
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise file_refusal(where, f"has two columns {twice[0]}", "Try leaving one of them out.")


def note_lines(
    problems: list[Problem], where: str, cells: pd.Series, wrong: Any, why: str, hint: str, noun: str = "line"
) -> None:
    """Add a problem with a column, which names the first wrong lines and counts the others; none if no line is wrong.

    cells : a column, (n,), indexed by line.
    wrong : (n,) bool, the lines concerned.
    noun : word for a line of the file.
    """
    lines = cells.index[wrong]
    if not len(lines):
        return
    named = ", ".join(str(line) for line in lines[:LINES_NAMED])
    more = f" and {len(lines) - LINES_NAMED:,} more" if len(lines) > LINES_NAMED else ""
    place = f"{where}, {noun}{'s' if len(lines) > 1 else ''} {named}{more}"
    problems.append(Problem(place, str(cells.name), shown(cells[wrong].iloc[0]), why, hint))


def _table_text(content: bytes, where: str, kind: InputKind) -> str:
    if b"\0" in content:
        raise file_refusal(where, "is a binary file, not text", kind.hint)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise file_refusal(where, "is not UTF-8 text", "Try saving it as UTF-8.") from error
    if not text.strip():
        raise file_refusal(where, "is empty", kind.hint)
    if _WEB_PAGE.match(text):
        raise file_refusal(where, "is a web page, not a table", kind.hint)
    return text


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
