"""Counts as files: what is written is read back, and what is damaged is refused."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import fields, replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from support.sample_outcomes import SampleRun, sample_axes, sample_outcomes, sample_records

from sim.batch.case_counts import (
    CaseCounts,
    counts_bytes,
    counts_problem,
    read_counts,
    read_records,
    records_bytes,
)
from sim.errors import GammawallError
from sim.odds.pairs import Margins, PairCounts, outcome_margins, record_margins
from sim.plan.outcomes import ARRAY_FIELDS, OutcomeAxes, Outcomes

FILE = Path("results") / "cases" / "base" / "counts.npz"
COUNTS = st.one_of(st.just(0), st.integers(0, 3), st.integers(0, 2**62))


def sample_counts() -> CaseCounts:
    axes = sample_axes(bins=20)
    outcomes = sample_outcomes(50)
    outcomes.closes = outcomes.closes[:, 1990:2012].copy()
    pairs = PairCounts.zeros((2, 3), (2, 3))
    pairs.count(np.array([5, 512], dtype=np.uint16), np.array([0, 513], dtype=np.uint16))
    return CaseCounts(axes, outcomes, pairs)


@pytest.fixture(scope="module")
def content() -> bytes:
    return counts_bytes(sample_counts())


@st.composite
def tables(draw: st.DrawFn, dimensions: int) -> np.ndarray:
    shape = draw(st.tuples(*[st.integers(0, 4)] * dimensions))
    return draw(arrays.arrays(np.int64, shape, elements=COUNTS, fill=st.just(0)))


OUTCOMES = st.builds(Outcomes, COUNTS, tables(2), tables(3), tables(3), tables(1), tables(2), tables(2))
PAIRS = st.none() | st.builds(PairCounts, COUNTS, tables(2), tables(2), tables(2))
NUMBERS = st.floats(allow_nan=False)
AXES = st.builds(
    OutcomeAxes,
    scenario=st.text(max_size=10),
    spot=NUMBERS,
    as_of=st.dates(),
    sessions=st.lists(st.dates(), max_size=3).map(tuple),
    steps_per_session=st.integers(1, 390),
    step_time=arrays.arrays(np.float64, st.integers(0, 5), elements=NUMBERS),
    levels=st.lists(NUMBERS, max_size=3).map(tuple),
    upper=NUMBERS,
    lower=NUMBERS,
    regimes=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    close_edges=arrays.arrays(np.float64, st.integers(0, 5), elements=NUMBERS),
)


def check_same(found: CaseCounts, expected: CaseCounts) -> None:
    assert found.outcomes == expected.outcomes
    assert found.pairs == expected.pairs
    for name in ARRAY_FIELDS:
        mine, theirs = getattr(found.outcomes, name), getattr(expected.outcomes, name)
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
    for one in fields(OutcomeAxes):
        mine, theirs = getattr(found.axes, one.name), getattr(expected.axes, one.name)
        assert type(mine) is type(theirs)
        assert np.array_equal(mine, theirs)


@settings(deadline=None, max_examples=60)
@given(axes=AXES, outcomes=OUTCOMES, pairs=PAIRS)
def test_any_counts_are_read_back(axes: OutcomeAxes, outcomes: Outcomes, pairs: PairCounts | None) -> None:
    counts = CaseCounts(axes, outcomes, pairs)
    check_same(read_counts(counts_bytes(counts), FILE), counts)


@settings(deadline=None, max_examples=20)
@given(arrays.arrays(np.uint16, st.integers(0, 200)))
def test_any_records_are_read_back(records: np.ndarray) -> None:
    back = read_records(records_bytes(records), FILE)
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back, records)


def test_equal_counts_give_equal_bytes(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert counts_bytes(sample_counts()) == content
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr("time.localtime", lambda *_: (2033, 5, 18, 3, 33, 20, 2, 138, 0))
    assert counts_bytes(sample_counts()) == content
    assert records_bytes(np.arange(5, dtype=np.uint16)) == records_bytes(np.arange(5, dtype=np.uint16))


def test_other_counts_give_other_bytes(content: bytes) -> None:
    counts = sample_counts()
    assert counts.pairs is not None
    counts.pairs.above[0, 0] += 1
    assert counts_bytes(counts) != content
    other = sample_counts()
    assert counts_bytes(replace(other, axes=replace(other.axes, as_of=date(2026, 2, 9)))) != content
    assert counts_bytes(replace(other, pairs=None)) != content


def test_a_run_of_the_usual_size_is_small(tmp_path: Path) -> None:
    run = SampleRun()
    dense = sum(getattr(run.outcomes, name).nbytes for name in ARRAY_FIELDS)
    size = len(counts_bytes(CaseCounts(run.axes, run.outcomes, None))) - run.axes.close_edges.nbytes
    assert size < dense / 8


# --- what cannot be read


def refusal(content: bytes) -> str:
    with pytest.raises(GammawallError) as caught:
        read_counts(content, FILE)
    message = str(caught.value)
    assert message.startswith(f"{FILE}: cannot be read (")
    assert message.endswith(f"Try removing the folder {FILE.parent} and running with --resume.")
    assert "\n" not in message
    return message


def test_every_truncation_is_refused(content: bytes) -> None:
    for length in [*range(0, len(content), 97), len(content) - 1]:
        refusal(content[:length])


@settings(deadline=None, max_examples=300)
@given(place=st.integers(0, 2**20), mask=st.integers(1, 255))
def test_a_damaged_byte_is_refused_or_harmless(content: bytes, place: int, mask: int) -> None:
    """Dates and the like that ZIP stores beside the arrays do not matter; the arrays have checksums."""
    damaged = bytearray(content)
    damaged[place % len(content)] ^= mask
    try:
        found = read_counts(bytes(damaged), FILE)
    except GammawallError:
        return
    check_same(found, sample_counts())


def test_foreign_content_is_refused() -> None:
    for text in (b"", b"PK", b"counts", b"\x93NUMPY", b"\x80\x04]."):
        refusal(text)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "no arrays")
    refusal(file.getvalue())
    bare = io.BytesIO()
    np.save(bare, np.arange(3))
    refusal(bare.getvalue())
    assert "allow_pickle" in refusal(saved(index=np.array([{}], dtype=object)))
    assert "'index'" in refusal(records_bytes(np.arange(3, dtype=np.uint16)))


def saved(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    "labels", [[], None, 5, {}, {"as_of": "2026-02-30"}, {"as_of": 5}, {"as_of": "2026-02-10", "sessions": 5}]
)
def test_labels_that_are_none_are_refused(content: bytes, labels: object) -> None:
    with np.load(io.BytesIO(content)) as archive:
        found = dict(archive)
    index = json.loads(bytes(found["index"]))
    for damaged in (
        labels,
        {**index, "axes": labels},
        {**index, "shapes": labels},
        {**index, "paths": labels},
    ):
        refusal(saved(**{**found, "index": np.frombuffer(json.dumps(damaged).encode(), dtype=np.uint8)}))


def test_counts_are_no_records(content: bytes) -> None:
    with pytest.raises(GammawallError, match=r"counts\.npz: cannot be read \('records'\)"):
        read_records(content, FILE)


# --- what cannot be counts of a case


def paired_counts() -> tuple[CaseCounts, Margins]:
    """Counts of some random paths with their pairs, and the margins of the baseline of other random paths."""
    axes, (mine, theirs) = sample_axes(), (sample_outcomes(500, seed) for seed in (1, 2))
    records = [sample_records(500, seed) for seed in (1, 2)]
    pairs = PairCounts.zeros((3, 2), (3, 2))
    pairs.count(*records)
    return CaseCounts(axes, mine, pairs), outcome_margins(theirs, axes)


def test_counts_of_paths_have_no_problem() -> None:
    counts, baseline = paired_counts()
    assert counts_problem(counts, baseline) is None
    assert counts_problem(counts, None) is None
    assert counts_problem(replace(counts, pairs=None), baseline) is None


def test_pairs_of_the_first_paths_alone_have_no_problem() -> None:
    counts, baseline = paired_counts()
    pairs = PairCounts.zeros((3, 2), (3, 2))
    pairs.count(*(sample_records(500, seed)[:200] for seed in (1, 2)))
    assert counts_problem(replace(counts, pairs=pairs), baseline) is None


@pytest.mark.parametrize("name", ["first", "above", "below"])
@pytest.mark.parametrize(("row", "column"), [(1, 0), (0, 1)])
def test_pairs_whose_margins_are_not_the_counts(name: str, row: int, column: int) -> None:
    """One path more in one cell and one less in its neighbour: the sum stays."""
    counts, baseline = paired_counts()
    assert counts.pairs is not None
    cells = getattr(counts.pairs, name)
    place = np.unravel_index(
        cells[: cells.shape[0] - row, : cells.shape[1] - column].argmax(),
        (cells.shape[0] - row, cells.shape[1] - column),
    )
    cells[place] -= 1
    cells[place[0] + row, place[1] + column] += 1
    problem = counts_problem(counts, baseline)
    whose = "the case's own" if row else "the baseline's"
    assert problem == f"its pairs do not fit {whose} counts: {name} counts other paths"


def test_pairs_that_do_not_add_up() -> None:
    counts, baseline = paired_counts()
    assert counts.pairs is not None
    counts.pairs.above[0, 0] += 1
    assert counts_problem(counts, baseline) == "its pairs do not add up to their paths"
    counts.pairs.above[0, 0] -= 1
    counts.pairs.below = counts.pairs.below[:, :-1]
    assert counts_problem(counts, baseline) is not None


def test_records_are_those_of_the_counts() -> None:
    axes, outcomes = sample_axes(), sample_outcomes(500)
    whole, records = outcome_margins(outcomes, axes), sample_records(500)
    for some in (records, records[:100]):
        margins = record_margins(some, whole)
        assert margins is not None
        assert margins.problem(whole) is None
    zeroed = record_margins(np.zeros_like(records), whole)
    assert zeroed is not None
    assert zeroed.problem(whole) == "first counts other paths"
    assert record_margins(np.full_like(records, 2**16 - 1), whole) is None
