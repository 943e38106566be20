"""Tables of many cases as files: pieces make the whole, and failures leave what was there."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.sample_outcomes import SampleRun

from sim.errors import GammawallError
from sim.files.table_files import TableFile, refuse_parquet_without_pyarrow, table_file_names
from sim.files.table_text import table_csv

FORMATS = ("csv", "parquet")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return SampleRun().first_passage


def write(folder: Path, pieces: list[pd.DataFrame], *, parquet: bool = True) -> None:
    with TableFile(folder, "rows", parquet) as file:
        for piece in pieces:
            file.add(piece)


def read(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder))}


@pytest.mark.parametrize("cuts", [[], [1], [7, 7, 20], [0]])
def test_pieces_make_the_whole(table: pd.DataFrame, tmp_path: Path, cuts: list[int]) -> None:
    rows = table.head(60)
    edges = [0, *cuts, len(rows)]
    write(tmp_path, [rows.iloc[i:j] for i, j in itertools.pairwise(edges)])
    assert sorted(os.listdir(tmp_path)) == table_file_names("rows")
    assert (tmp_path / "rows.csv").read_bytes() == table_csv(rows)
    parquet = pd.read_parquet(tmp_path / "rows.parquet")
    pd.testing.assert_frame_equal(parquet, rows.reset_index(drop=True), check_dtype=False)


def test_parquet_has_the_columns_and_values_of_csv(table: pd.DataFrame, tmp_path: Path) -> None:
    write(tmp_path, [table.head(30), table.tail(30)])
    parquet = pd.read_parquet(tmp_path / "rows.parquet")
    csv = pd.read_csv(tmp_path / "rows.csv", parse_dates=["date"])
    assert list(parquet.columns) == list(csv.columns) == list(table.columns)
    pd.testing.assert_frame_equal(parquet, csv, check_dtype=False, rtol=1e-9, atol=0)
    assert str(parquet["date"].dtype).startswith("datetime64")
    assert parquet["probability"].dtype == np.float64


def test_nothing_added_is_no_file(table: pd.DataFrame, tmp_path: Path) -> None:
    write(tmp_path, [])
    assert os.listdir(tmp_path) == []
    write(tmp_path, [table])
    write(tmp_path, [])
    assert os.listdir(tmp_path) == []


def test_a_former_parquet_file_does_not_outlive_its_csv(table: pd.DataFrame, tmp_path: Path) -> None:
    write(tmp_path, [table])
    write(tmp_path, [table.head(3)], parquet=False)
    assert os.listdir(tmp_path) == ["rows.csv"]


def test_an_exception_leaves_the_former_files(table: pd.DataFrame, tmp_path: Path) -> None:
    write(tmp_path, [table.head(5)])
    former = read(tmp_path)

    def interrupted() -> None:
        with TableFile(tmp_path, "rows", True) as file:
            file.add(table)
            assert len(os.listdir(tmp_path)) == 4
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert read(tmp_path) == former


def test_a_full_disk_leaves_the_former_files(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, [table.head(5)])
    former = read(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, [table])
    assert read(tmp_path) == former


def test_until_the_end_the_former_files_are_there(table: pd.DataFrame, tmp_path: Path) -> None:
    write(tmp_path, [table.head(5)])
    former = read(tmp_path)
    with TableFile(tmp_path, "rows", True) as file:
        file.add(table)
        found = read(tmp_path)
        assert {name: found[name] for name in former} == former
    assert read(tmp_path)["rows.csv"] == table_csv(table)


def test_text_that_has_no_utf8_is_escaped(tmp_path: Path) -> None:
    write(tmp_path, [pd.DataFrame({"name": ["é\udc80", "b"]}, dtype=object)], parquet=False)
    assert (tmp_path / "rows.csv").read_text(encoding="utf-8") == "name\né\\udc80\nb\n"


def test_parquet_without_pyarrow_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_parquet_without_pyarrow()
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(
        GammawallError, match=r"--parquet needs pyarrow .* Try pip install 'gammawall-sim\[parquet\]'"
    ):
        refuse_parquet_without_pyarrow()
