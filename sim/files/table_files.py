"""Table files, CSV and Parquet, written piece by piece and put into place in one step.

The only module that imports pyarrow.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sim.errors import GammawallError
from sim.files.atomic_files import flush_folder, hidden_name
from sim.files.table_text import table_csv

if TYPE_CHECKING:
    from types import TracebackType

    import pandas as pd

INSTALL_PARQUET = "pip install 'gammawall-sim[parquet]'"


def table_file_names(*names: str) -> list[str]:
    """Names of the files of tables, both formats of each."""
    return [f"{name}.{suffix}" for name in names for suffix in ("csv", "parquet")]


def refuse_parquet_without_pyarrow() -> None:
    """Raise GammawallError unless Parquet files can be written; called before any time is spent."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise GammawallError(f"--parquet needs pyarrow ({error}). Try {INSTALL_PARQUET}.") from error


class TableFile:
    """Table file written piece by piece: `<name>.csv` in a folder and, where asked for, `<name>.parquet`.

    Leaving the context puts the files into place; an exception leaves the former files. Without any piece there is
    no file.
    """

    def __init__(self, folder: Path, name: str, parquet: bool):
        self.folder, self.name, self.parquet = folder, name, parquet
        self.hidden = {suffix: hidden_name(folder, f"{name}.{suffix}") for suffix in ("csv", "parquet")}
        self.text: Any = None
        self.pieces: Any = None
        self.rowless: Any = None

    def __enter__(self) -> Self:
        """Return the table."""
        return self

    def add(self, piece: pd.DataFrame | Mapping[str, Any]) -> None:
        """Append rows, given as in `table_csv`; all pieces have the same columns."""
        first = self.text is None
        if first:
            self.text = open(self.hidden["csv"], "wb")  # noqa: SIM115
        self.text.write(table_csv(piece, heading=first))
        if self.parquet:
            self._add_parquet(piece)

    def _add_parquet(self, piece: pd.DataFrame | Mapping[str, Any]) -> None:
        import pandas as pd
        import pyarrow
        import pyarrow.parquet

        frame = pd.DataFrame(piece)
        if frame.empty and self.pieces is None:
            # Text without a row has no type yet.
            self.rowless = frame
            return
        self.rowless = None
        if self.pieces is None:
            rows = pyarrow.Table.from_pandas(frame, preserve_index=False)
            self.pieces = pyarrow.parquet.ParquetWriter(self.hidden["parquet"], rows.schema)
        else:
            rows = pyarrow.Table.from_pandas(frame, schema=self.pieces.schema, preserve_index=False)
        self.pieces.write_table(rows)

    def write_out(self) -> None:
        """Flush the rows added to the disk; none can be added after that."""
        if self.rowless is not None:
            self.hidden["parquet"].write_bytes(parquet_bytes(self.rowless))
            self.rowless = None
        pieces, self.pieces = self.pieces, None
        text, self.text = self.text, None
        with contextlib.ExitStack() as stack:
            if pieces is not None:
                stack.callback(pieces.close)
            if text is not None:
                stack.enter_context(text)
                text.flush()
                os.fsync(text.fileno())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the files into place, or remove them if something went wrong."""
        try:
            self.write_out()
            if kind is None:
                for suffix, hidden in self.hidden.items():
                    final = self.folder / f"{self.name}.{suffix}"
                    if hidden.exists():
                        os.replace(hidden, final)
                    else:
                        final.unlink(missing_ok=True)
                flush_folder(self.folder)
        finally:
            for hidden in self.hidden.values():
                hidden.unlink(missing_ok=True)


def parquet_bytes(table: pd.DataFrame) -> bytes:
    """Bytes of a Parquet file of a whole table."""
    import io

    import pyarrow
    import pyarrow.parquet

    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pandas(table, preserve_index=False), file)
    return file.getvalue()


class ParquetTable:
    """Parquet file whose sizes are known before its rows are read.

    Attributes
    ----------
    rows : number of rows.
    bytes : size of all columns once they are unpacked.
    columns : names of the columns.
    odd : those of them whose cells are neither numbers nor texts nor dates: lists, tables, bytes.

    Errors: ImportError without pyarrow, and pyarrow's own for what is no such file.
    """

    def __init__(self, content: bytes):
        import pyarrow
        import pyarrow.parquet

        source = pyarrow.BufferReader(content)
        metadata = pyarrow.parquet.read_metadata(source)
        schema = metadata.schema.to_arrow_schema()
        self.rows = int(metadata.num_rows)
        self.bytes = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
        self.columns = [str(name) for name in schema.names]
        kinds = pyarrow.types
        is_text = [kinds.is_string, kinds.is_large_string, kinds.is_dictionary]
        is_plain = [kinds.is_integer, kinds.is_floating, kinds.is_boolean, kinds.is_decimal, kinds.is_null]
        is_plain += [kinds.is_date, kinds.is_timestamp, *is_text]
        self.odd = [field.name for field in schema if not any(holds(field.type) for holds in is_plain)]
        # One long text that many rows share is kept once.
        texts = [field.name for field in schema if any(holds(field.type) for holds in is_text)]
        self._texts, self._source = texts, source

    def frame(self) -> pd.DataFrame:
        """Table of all rows; columns of text are categorical, since one long text may stand in many rows."""
        import pyarrow.parquet

        file = pyarrow.parquet.ParquetFile(self._source, read_dictionary=self._texts)
        table: pd.DataFrame = file.read().to_pandas()
        return table
