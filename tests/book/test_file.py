from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.book_rows import stated_positions

from sim.batch.file import batch_from_mapping, load_batch
from sim.batch.sensitivity import bumps
from sim.book import file as book_file
from sim.book.file import book_csv, book_table, read_book
from sim.book.rows import BookRows
from sim.errors import InputError
from sim.files.table_files import ParquetTable
from sim.plan.dealers import build_dealer_book
from sim.plan.time_grid import build_time_grid
from sim.scenario.file import load_scenario, scenario_from_mapping, scenario_hash
from sim.scenario.toml import scenario_to_toml

TEXT = """strike,expiry,type,settlement,iv,contracts,carry,group
6900,2026-02-20,put,AM,0.16,-1500,0.03,puts
7000,2026-02-20,call,AM,0.115,12000,0.03,wall
7000,2026-03-20,call,PM,0.12,800.5,0.035,wall
"""
SCENARIO = """schema = 1
name = "with a book"
[market]
as_of = 2026-02-10
spot = 6941.81
sessions = 8
[volatility]
annual = 0.14
[dealers]
impact_bp_per_bn = 2.0
book = "book.csv"
[[regime]]
name = "breakout"
when = "closes_above"
level = 7020
weights = { wall = 0.5 }
[targets]
upper = 7100
lower = 6800
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "book.csv").write_text(TEXT, encoding="utf-8")
    (tmp_path / "market.toml").write_text(SCENARIO, encoding="utf-8")
    return tmp_path


def rows_of(text: str, folder: Path) -> BookRows:
    path = folder / "own.csv"
    path.write_text(text, encoding="utf-8")
    return read_book(path, "own.csv")


def refusal(text: str, folder: Path) -> list[str]:
    with pytest.raises(InputError) as refused:
        rows_of(text, folder)
    return [str(problem) for problem in refused.value.problems]


def test_every_column_is_read(files: Path) -> None:
    rows = read_book(files / "book.csv", "book.csv")
    assert rows.groups == ("puts", "wall")
    assert stated_positions(rows)[2] == {
        "group": "wall",
        "type": "call",
        "strike": 7000.0,
        "expiry": dt.date(2026, 3, 20),
        "settlement": "PM",
        "iv": 0.12,
        "contracts": 800.5,
        "carry": 0.035,
    }
    assert len(rows) == 3


def test_a_table_written_is_the_book_read_again(files: Path) -> None:
    rows = read_book(files / "book.csv", "book.csv")
    (files / "again.csv").write_bytes(book_csv(rows))
    book_table(rows).to_parquet(files / "again.parquet")
    for name in ("again.csv", "again.parquet"):
        again = read_book(files / name, name)
        assert again == rows
        assert again.digest == rows.digest
        assert hash(again) == hash(rows)


def test_groups_are_in_alphabetical_order(files: Path) -> None:
    rows = rows_of(TEXT.replace("puts", "zeta"), files)
    assert rows.groups == ("wall", "zeta")
    assert [rows.groups[i] for i in rows.group] == ["zeta", "wall", "wall"]


def test_csv_keeps_every_digit(files: Path) -> None:
    rows = rows_of(TEXT.replace("0.03,", f"{1 / 30!r},").replace("800.5", "800.1234567890123"), files)
    (files / "again.csv").write_bytes(book_csv(rows))
    assert read_book(files / "again.csv", "again.csv") == rows


def test_a_parquet_row_without_a_group_is_refused(files: Path) -> None:
    table = book_table(rows_of(TEXT, files))
    table["group"] = table["group"].astype(object)
    table.loc[0, "group"] = None
    table.to_parquet(files / "none.parquet")
    with pytest.raises(InputError, match="row 1: group"):
        read_book(files / "none.parquet", "none.parquet")


def test_a_book_is_its_positions(files: Path) -> None:
    rows = read_book(files / "book.csv", "book.csv")
    assert rows_of(TEXT, files) == rows
    for change in (
        ("6900", "6905"),
        ("0.16", "0.17"),
        ("-1500", "1500"),
        ("put,AM", "put,PM"),
        ("wall", "walls"),
    ):
        assert rows_of(TEXT.replace(*change), files) != rows
    assert rows_of(TEXT.replace(",carry", "").replace(",0.03,", ",").replace(",0.035,", ","), files) != rows
    assert copy.deepcopy(rows) is rows
    assert pickle.loads(pickle.dumps(rows)) == rows
    with pytest.raises(ValueError, match="read-only"):
        rows.iv[0] = 1.0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text + "\n\n",
        lambda text: text.replace(",", ", "),
    ],
    ids=["mark", "crlf", "blank lines", "blanks"],
)
def test_harmless_differences(spoil: Callable[[str], str], files: Path) -> None:
    path = files / "own.csv"
    path.write_bytes(spoil(TEXT).encode())
    assert read_book(path, "own.csv") == read_book(files / "book.csv", "book.csv")


BAD = {
    "no column": (
        TEXT.replace("iv,", "vol,"),
        ["column iv (is missing)", 'column "vol" (is no column of a book)'],
    ),
    "no number": (TEXT.replace("12000", "many"), ['own.csv, line 3: contracts = "many" (is no number)']),
    "infinite": (TEXT.replace("12000", "inf"), ["line 3: contracts", "is no number"]),
    "negative strike": (TEXT.replace("6900", "-6900"), ["line 2: strike", "between 0.001 and 1e7"]),
    "iv in percent": (TEXT.replace("0.16", "16"), ["line 2: iv", "between 0.01 and 5"]),
    "no iv": (TEXT.replace("0.16", "0"), ["line 2: iv", "between 0.01 and 5"]),
    "date": (TEXT.replace("2026-03-20", "20/03/2026"), ["line 4: expiry", "is no date"]),
    "type": (TEXT.replace("put,", "Put,"), ["line 2: type", "neither call nor put"]),
    "settlement": (TEXT.replace("PM", "close"), ["line 4: settlement", "neither AM nor PM"]),
    "group": (TEXT.replace("wall", "7000 wall"), ["lines 3, 4: group", "begin with a letter"]),
    "short row": (TEXT + "7050,2026-02-20\n", ["line 5: type", "line 5: iv", "line 5: contracts"]),
    "long row": (TEXT + "7050,2026-02-20,put,AM,0.1,1,0,puts,x,x\n", ["own.csv, line 5: has 10 cells, and"]),
    "all at once": (
        TEXT.replace("0.16", "x").replace("AM,0.115", "XX,0.115"),
        ["line 2: iv", "line 3: settlement"],
    ),
    "no row": (TEXT.splitlines()[0] + "\n", ["has no positions"]),
    "nothing": ("", ["is empty"]),
    "a page": ("<html>\n<body>no</body></html>", ["is a web page"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_books_are_refused_row_by_row(name: str, files: Path) -> None:
    text, expected = BAD[name]
    found = "\n".join(refusal(text, files))
    for part in expected:
        assert part in found, found


def test_many_bad_rows_are_counted(files: Path) -> None:
    header = TEXT.splitlines()[0]
    text = "\n".join([header, *["7000,2026-02-20,call,AM,0,1,0,calls"] * 40])
    (problem,) = refusal(text, files)
    assert "lines 2, 3, 4 and 37 more: iv" in problem


def test_files_that_cannot_be_read(files: Path) -> None:
    (files / "binary.parquet").write_bytes(b"PAR1 no")
    (files / "latin.csv").write_bytes("strike,é".encode("latin-1"))
    for name, why in (
        ("none.csv", "no such file"),
        (".", "is a directory"),
        ("binary.parquet", "is no Parquet file"),
        ("latin.csv", "is not UTF-8"),
        ("a\0b.csv", "is no path"),
    ):
        with pytest.raises(InputError, match=why):
            read_book(files / name, name)


def test_a_scenario_names_a_book_beside_it(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = load_scenario(files / "market.toml")
    assert scenario.dealers.book == read_book(files / "book.csv", "book.csv")
    assert scenario.dealers.groups == ("puts", "wall")
    book = build_dealer_book(scenario, build_time_grid(scenario))
    assert book.units.tolist() == [-150_000.0, 1_200_000.0, 80_050.0]
    # What the command line names lies where the command runs.
    elsewhere = files / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "other.csv").write_text(TEXT.replace("12000", "9"), encoding="utf-8")
    monkeypatch.chdir(elsewhere)
    other = load_scenario(files / "market.toml", ["dealers.book=other.csv"])
    assert other.dealers.book is not None
    assert other.dealers.book.contracts[1] == 9
    with pytest.raises(InputError, match=r"^--set|book\.csv"):
        load_scenario(files / "market.toml", ["dealers.book=book.csv"])


def test_the_same_positions_as_single_ones_make_the_same_book(files: Path) -> None:
    with_file = load_scenario(files / "market.toml")
    data: Any = with_file.model_dump(by_alias=True, exclude_none=True)
    del data["dealers"]["book"]
    del data["dealers"]["book_weights"]
    assert with_file.dealers.book is not None
    data["dealers"]["position"] = stated_positions(with_file.dealers.book)
    del data["regime"][0]["closes"]
    single = scenario_from_mapping(data, "single")
    grid = build_time_grid(single)
    assert build_dealer_book(single, grid) == build_dealer_book(with_file, grid)


def test_hashes_tell_books_apart_and_do_not_tell_where_they_lie(files: Path) -> None:
    before = scenario_hash(load_scenario(files / "market.toml"))
    (files / "moved").mkdir()
    (files / "book.csv").rename(files / "moved" / "renamed.csv")
    text = SCENARIO.replace("book.csv", "moved/renamed.csv")
    (files / "market.toml").write_text(text, encoding="utf-8")
    assert scenario_hash(load_scenario(files / "market.toml")) == before
    (files / "moved" / "renamed.csv").write_text(TEXT.replace("12000", "12001"), encoding="utf-8")
    assert scenario_hash(load_scenario(files / "market.toml")) != before


def test_a_manifest_tells_the_book_and_no_folder(files: Path) -> None:
    scenario = load_scenario(files / "market.toml", [f"dealers.book={files / 'book.csv'}"])
    told = scenario.model_dump(mode="json", by_alias=True)["dealers"]["book"]
    assert scenario.dealers.book is not None
    assert told == {"file": "book.csv", "sha256": scenario.dealers.book.digest, "positions": 3}


def test_shown_and_read_again(files: Path) -> None:
    scenario = load_scenario(files / "market.toml")
    (files / "again.toml").write_text(scenario_to_toml(scenario), encoding="utf-8")
    assert load_scenario(files / "again.toml") == scenario
    assert 'book = "book.csv"' in scenario_to_toml(scenario)


def test_scenarios_without_a_book_are_what_they_were() -> None:
    assert (
        scenario_hash(load_scenario("siege-of-7000"))
        == "de4887f4f58f85cb6dbf24187ff9488842dc20a2baa8d144f1b27d587b2bd66c"
    )


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["dealers.book_weights.calls=2"], "dealers.book_weights.calls = 2.0 (is no group of book.csv)"),
        (["dealers.book_weights.wall=1e4"], "dealers.book_weights.wall"),
        (["regime[breakout].weights={ calls = 1 }"], "regime[0].weights.calls"),
        (["market.as_of=2026-03-20"], "every position expires"),
        (["dealers.book=none.csv"], "none.csv: no such file"),
        (["dealers.book=3"], "the path of a book file is expected"),
    ],
)
def test_scenarios_that_do_not_fit_their_book(overrides: list[str], expected: str, files: Path) -> None:
    with pytest.raises(InputError) as refused:
        load_scenario(files / "market.toml", overrides)
    assert expected in str(refused.value)


def test_a_bad_book_hides_no_other_problem_and_makes_none_up(files: Path) -> None:
    (files / "book.csv").write_text(TEXT.replace("0.16", "x"), encoding="utf-8")
    with pytest.raises(InputError) as refused:
        load_scenario(files / "market.toml", ["targets.upper=6900"])
    keys = [problem.key for problem in refused.value.problems]
    assert keys == ["iv", "targets.upper"]


def test_an_expiry_must_be_a_session(files: Path) -> None:
    (files / "book.csv").write_text(TEXT.replace("2026-03-20", "2026-03-21"), encoding="utf-8")
    with pytest.raises(
        InputError, match=r"2026-03-21, which is no trading day.*Try 2026-03-20 or 2026-03-23"
    ):
        load_scenario(files / "market.toml")


def test_weights_multiply_groups(files: Path) -> None:
    scenario = load_scenario(files / "market.toml", ["dealers.book_weights={ wall = 0.5 }"])
    book = build_dealer_book(scenario, build_time_grid(scenario))
    assert book.units.tolist() == [-150_000.0, 600_000.0, 40_025.0]
    assert scenario_hash(scenario) != scenario_hash(load_scenario(files / "market.toml"))
    starred = load_scenario(
        files / "market.toml", ["dealers.book_weights.wall=2", "dealers.book_weights.wall*=3"]
    )
    assert starred.dealers.book_weights == {"wall": 6.0}


def test_what_has_expired_is_left_out(files: Path) -> None:
    scenario = load_scenario(files / "market.toml", ["market.as_of=2026-02-20"])
    book = build_dealer_book(scenario, build_time_grid(scenario))
    assert book.rows.strike.tolist() == [7000.0]
    assert scenario.dealers.book is not None
    np.testing.assert_array_equal(scenario.dealers.book.after(dt.date(2026, 2, 20)).strike, [7000.0])


def test_a_batch_varies_a_book(files: Path) -> None:
    data = {
        "schema": 1,
        "name": "sides",
        "base": "market.toml",
        "paths": 100,
        "grid": {"dealers.book_weights.puts*": [0.5, -1]},
    }
    batch = batch_from_mapping(data, "sides.toml", folder=files)
    weights = [
        case.scenario.dealers.book_weights["puts"] for case in batch.cases if case.scenario is not None
    ]
    assert weights == [1.0, 0.5, -1.0]
    books = {case.scenario.dealers.book for case in batch.cases if case.scenario is not None}
    assert books == {read_book(files / "book.csv", "book.csv")}


def test_the_sensitivity_bumps_the_groups_of_a_book(files: Path) -> None:
    scenario = load_scenario(files / "market.toml")
    found = {bump.label: bump for bump in bumps(scenario, 0.1)}
    assert found["dealers.book_weights.wall"].down_set == {"dealers.book_weights.wall*": 0.9}
    assert "dealers.book_weights.puts" in found


def parquet_of(folder: Path, table: Any, **options: Any) -> Path:
    import pyarrow.parquet

    pyarrow.parquet.write_table(table, folder / "own.parquet", **options)
    return folder / "own.parquet"


@pytest.fixture
def positions(files: Path) -> Any:
    pyarrow = pytest.importorskip("pyarrow")
    return pyarrow.Table.from_pandas(book_table(read_book(files / "book.csv", "book.csv")))


def refused_parquet(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Message of a refusal before any row is read."""
    monkeypatch.setattr(ParquetTable, "frame", lambda _: pytest.fail("its rows were read"))
    with pytest.raises(InputError) as caught:
        read_book(path, "own.parquet")
    return str(caught.value)


def test_a_parquet_file_of_too_many_rows(
    files: Path, positions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow

    path = parquet_of(files, pyarrow.concat_tables([positions] * 70_000))
    assert path.stat().st_size < 2_000_000
    assert refused_parquet(path, monkeypatch) == (
        "own.parquet: has 210,000 positions, at most 200,000 are possible. Try fewer rows."
    )


def test_a_parquet_file_that_unpacks_to_too_much(
    files: Path, positions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow

    texts = pyarrow.array([f"{i}" + "x" * 60_000 for i in range(3)])
    place = positions.schema.get_field_index("group")
    path = parquet_of(files, positions.set_column(place, "group", texts), use_dictionary=False)
    assert path.stat().st_size < 50_000
    monkeypatch.setattr(book_file, "_KIND", dataclasses.replace(book_file._KIND, most_bytes=100_000))
    message = refused_parquet(path, monkeypatch)
    assert re.match(r"own\.parquet: has 18\d,\d{3} bytes unpacked, at most 100,000 are possible", message)


def test_a_parquet_file_of_lists_or_other_columns(
    files: Path, positions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow

    lists = positions.append_column("strikes", pyarrow.array([[1.0] * 1000] * 3))
    message = refused_parquet(parquet_of(files, lists), monkeypatch)
    assert 'column "strikes" (is no column of a book)' in message or "column strikes" in message
    assert "holds neither numbers nor texts nor dates" in message


def test_a_long_text_that_many_rows_share_is_refused(files: Path, positions: Any) -> None:
    import pyarrow

    many = pyarrow.concat_tables([positions] * 30_000)
    place = many.schema.get_field_index("group")
    groups = pyarrow.DictionaryArray.from_arrays(np.zeros(len(many), dtype=np.int32), ["g" * 1_000_000])
    path = parquet_of(files, many.set_column(place, "group", groups))
    message = r"own\.parquet: column group \(has a text of 1,000,000 characters, at most 200 are possible\)"
    with pytest.raises(InputError, match=message):
        read_book(path, "own.parquet")


def test_a_batch_names_a_book_beside_it(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (files / "other.csv").write_text(TEXT.replace("12000", "9"), encoding="utf-8")
    text = 'schema = 1\nname = "b"\nbase = "./market.toml"\n[[case]]\nname = "other"\n'
    text += 'set = { "dealers.book" = "%s" }\n'
    (files / "batch.toml").write_text(text % "other.csv", encoding="utf-8")
    elsewhere = files / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    base, other = (case.scenario.dealers.book for case in load_batch(files / "batch.toml").cases)
    assert (base.contracts[1], other.contracts[1]) == (12000, 9)
    (files / "batch.toml").write_text(text % "none.csv", encoding="utf-8")
    with pytest.raises(InputError, match=r'batch\.toml, case "other": none\.csv: no such file'):
        load_batch(files / "batch.toml")
    (files / "none.csv").write_text(TEXT.replace("12000", "many"), encoding="utf-8")
    with pytest.raises(
        InputError, match=r'case "other": none\.csv, line 3: contracts = "many" \(is no number'
    ):
        load_batch(files / "batch.toml")


def test_a_book_whose_name_no_manifest_can_hold(files: Path) -> None:
    name = os.fsdecode(b"book\xff.csv")
    rows = dataclasses.replace(read_book(files / "book.csv", "book.csv"), file=name)
    with pytest.raises(InputError, match=r"^overrides: dealers\.book = .*file is no Unicode text\)"):
        load_scenario(files / "market.toml", {"dealers.book": rows})


def test_a_parquet_file_with_two_columns_of_a_name(
    files: Path, positions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = parquet_of(files, positions.append_column("group", positions["group"]))
    assert "own.parquet: has two columns group" in refused_parquet(path, monkeypatch)


def test_a_parquet_expiry_with_a_time_of_day_is_refused(files: Path, positions: Any) -> None:
    table = positions.to_pandas()
    table["expiry"] = pd.to_datetime(table["expiry"])
    table.to_parquet(files / "days.parquet")
    assert len(read_book(files / "days.parquet", "days.parquet")) == len(table)
    table.loc[0, "expiry"] += pd.Timedelta(hours=9, minutes=30)
    table.to_parquet(files / "times.parquet")
    with pytest.raises(InputError, match=r"times\.parquet, row 1: expiry = .* 09:30:00. \(is no date\)"):
        read_book(files / "times.parquet", "times.parquet")
