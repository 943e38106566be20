"""CSV of tables, against pandas' own writer."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sim.files import table_text
from sim.files.table_text import table_csv
from sim.files.terminal_text import printable_line

# Formulas and control characters have tests of their own.
TEXTS = (
    st.text(st.sampled_from("ab,\"; é'\\0"), max_size=6)
    | st.text(max_size=5).filter(lambda t: printable_line(t) == t)
).filter(lambda t: not t.startswith(("=", "+", "-", "@")))
FLOATS = st.floats() | st.sampled_from(
    [0.0, -0.0, math.nan, -math.nan, math.inf, -math.inf, 1 / 3, 5e-324, 7000.0]
)
DATES = st.datetimes(min_value=pd.Timestamp("1990-01-01"), max_value=pd.Timestamp("2100-12-31"))
KINDS = {
    "float": FLOATS,
    "int": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    "text": TEXTS,
    "mixed": st.one_of(
        TEXTS, st.integers(), st.booleans(), st.sampled_from([None, math.nan, 1, 1.0, -0.0, 0.0])
    ),
    "string": TEXTS | st.just(math.nan),
    "date": DATES.map(pd.Timestamp) | st.just(pd.NaT),
}
DTYPES = {
    "float": "float64",
    "int": "int64",
    "bool": "bool",
    "text": object,
    "mixed": object,
    "string": "str",
    "date": "datetime64[ns]",
}


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    kinds = draw(st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=5))
    names = draw(st.lists(TEXTS, min_size=len(kinds), max_size=len(kinds), unique=True))
    rows = draw(st.integers(0, 6))
    columns = {
        name: pd.Series(draw(st.lists(KINDS[kind], min_size=rows, max_size=rows)), dtype=DTYPES[kind])
        for name, kind in zip(names, kinds, strict=True)
    }
    return pd.DataFrame(columns)


@settings(deadline=None, max_examples=200)
@given(tables())
@example(pd.DataFrame({"": pd.Series([""], dtype=object)}))
@example(pd.DataFrame({"p": [math.nan]}))
@example(pd.DataFrame({"a": [None, None]}, dtype=object))
@example(pd.DataFrame({"a": ["x", "x"], "b": [-0.0, 0.0]}))
def test_text_is_that_of_pandas(table: pd.DataFrame) -> None:
    expected = table.to_csv(index=False, float_format="%.10g", date_format="%Y-%m-%d", lineterminator="\n")
    assert table_csv(table).decode() == expected
    body = table.to_csv(
        index=False, header=False, float_format="%.10g", date_format="%Y-%m-%d", lineterminator="\n"
    )
    assert table_csv(table, heading=False).decode() == body


def test_single_precision_is_written_as_pandas_does() -> None:
    table = pd.DataFrame({"p": np.array([0.1, 1e30, np.nan, -0.0, 16777217], dtype=np.float32)})
    assert table_csv(table).decode() == table.to_csv(index=False, float_format="%.10g", lineterminator="\n")


@pytest.mark.parametrize("paths", [1, 7000])
def test_repeated_numbers_stay_in_their_rows(paths: int) -> None:
    values = np.tile([0.25, -0.0, np.nan, 0.0, 1 / 3], paths)
    lines = table_csv(pd.DataFrame({"n": np.arange(values.size), "p": values})).decode().splitlines()
    cells = ["0.25", "-0", "", "0", "0.3333333333"] * paths
    assert lines == ["n,p", *(f"{i},{cell}" for i, cell in enumerate(cells))]


def test_long_tables_are_put_together_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pd.DataFrame({"n": np.arange(1000), "text": ["é", "two", '"', "a,b", "\U0001f600"] * 200})
    whole = table_csv(table)
    monkeypatch.setattr(table_text, "BLOCK_BYTES", 100)
    assert table_csv(table) == whole
    assert whole.decode() == table.to_csv(index=False, lineterminator="\n")


def test_values_that_all_rows_share_need_no_array() -> None:
    rows = 1000
    shared = {"scenario": 'a "b"', "n": 7, "p": np.arange(rows) / 3, "none": np.full(rows, np.nan)}
    whole = {name: np.full(rows, value) if np.ndim(value) == 0 else value for name, value in shared.items()}
    assert table_csv(shared) == table_csv(pd.DataFrame(whole))
    with pytest.raises(AssertionError, match="columns of"):
        table_csv({"a": np.arange(2), "b": np.arange(3)})


@pytest.mark.parametrize("rows", [1, table_text.FEW, table_text.FEW + 1, 5000])
def test_tables_long_and_short_are_those_of_pandas(rows: int) -> None:
    rng = np.random.default_rng(rows)
    table = pd.DataFrame(
        {
            "float": rng.choice([0.1, -0.0, 0.0, math.nan, 1e300, -1 / 3], rows),
            "different": rng.standard_normal(rows) * 10.0 ** rng.integers(-300, 300, rows),
            "int": rng.integers(-3, 3, rows),
            "date": pd.to_datetime(rng.integers(0, 400, rows), unit="D"),
            "text": rng.choice(np.array(["a", "", 'b"', "c,d"], dtype=object), rows),
        }
    )
    expected = table.to_csv(index=False, float_format="%.10g", date_format="%Y-%m-%d", lineterminator="\n")
    assert table_csv(table).decode() == expected


FORMULAS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+cmd|x",
    "-2+3+cmd|x",
    "@SUM(A1)",
    "-wall",
    "--",
    "+",
    "= x",
]
PLAIN = ["-10%", "+1", "-1.5e-3", "-0.5 +2", "-", "-inf", "+1,000.5", "-1_000", "wall=-5", "'=1", ""]


@pytest.mark.parametrize("dtype", [object, "str"])
def test_text_is_never_a_formula(dtype: str) -> None:
    table = pd.DataFrame({"scenario": pd.Series([*FORMULAS, *PLAIN], dtype=dtype)}).assign(
        paths=-1, odds=-0.5
    )
    rows = list(csv.reader(io.StringIO(table_csv(table).decode(), newline="")))[1:]
    assert [row[0] for row in rows] == [*("'" + text for text in FORMULAS), *PLAIN]
    assert {tuple(row[1:]) for row in rows} == {("-1", "-0.5")}


def test_text_moves_no_cursor_and_breaks_no_line() -> None:
    text = "a\x1b[31m\x9b\u202e\r\n\t=1"
    told = r"a\x1b[31m\u009b\u202e\x0d\x0a\x09=1"
    assert table_csv({text: np.array([text, "\t=1"], dtype=object)}).decode() == f"{told}\n{told}\n\\x09=1\n"


def test_nor_is_a_heading_or_a_value_that_all_rows_share() -> None:
    assert table_csv({"=a": np.array([1]), "@b": "=c", "d": "-5"}) == b"'=a,'@b,d\n1,'=c,-5\n"
    assert table_csv({"mixed": np.array(["=a", -1, None], dtype=object)}) == b'mixed\n\'=a\n-1\n""\n'
