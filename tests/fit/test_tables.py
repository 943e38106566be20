"""DataFrames in place of files: the same fit to the last bit, the same checks, and what is said of bad ones."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.sample_days import gjr_returns, write_closes, write_impact_files
from support.sample_minutes import sample_minutes, write_minutes

from sim.errors import InputError
from sim.fit.daily_data import OHLC, read_daily
from sim.fit.impact import ImpactFit, fit_impact
from sim.fit.intraday import IntradayFit, fit_intraday
from sim.fit.minute_bars import MinuteBars, read_minute_bars
from sim.fit.volatility import VolatilityFit, fit_volatility
from sim.scenario.file import load_scenario
from sim.scenario.model import UShape

SINCE = dt.date(2010, 1, 5)
Fit = VolatilityFit | IntradayFit | ImpactFit


def same(one: Fit, other: Fit) -> bool:
    """Whether two fits are equal bit by bit but for the names of what they were fitted to."""
    names = [field.name for field in fields(one) if field.name not in ("source", "sources")]
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def refusal(attempt: Callable[[], object]) -> str:
    with pytest.raises(InputError) as refused:
        attempt()
    assert all(str(problem).isprintable() for problem in refused.value.problems)
    return str(refused.value)


def numbers_of(path: Path) -> pd.DataFrame:
    """Columns of a CSV file but for its first, each number the float nearest to its text."""
    return pd.read_csv(path, dtype=str).iloc[:, 1:].map(float)


@pytest.fixture(scope="module")
def closes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    path = tmp_path_factory.mktemp("days") / "days.csv"
    index = write_closes(path, gjr_returns(900, seed=4))
    return path, numbers_of(path).set_index(index)


@pytest.fixture(scope="module")
def by_file(closes: tuple[Path, pd.DataFrame]) -> VolatilityFit:
    return fit_volatility(closes[0], since=SINCE)


def dates(frame: pd.DataFrame) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(frame.index)


# However the days are written: the same fit.
WRITTEN: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "index of times": lambda frame: frame,
    "column of times": lambda frame: frame.rename_axis("Date").reset_index(),
    "column of days": lambda frame: frame.assign(DATE=[day.date() for day in dates(frame)]).reset_index(
        drop=True
    ),
    "column of text": lambda frame: frame.assign(date=dates(frame).strftime("%d.%m.%Y")).reset_index(
        drop=True
    ),
    "index of days": lambda frame: frame.set_axis(
        pd.Index([day.date() for day in dates(frame)], name="date"), axis=0
    ),
    "New York's midnights": lambda frame: frame.tz_localize("America/New_York"),
    "times of the closes": lambda frame: frame.set_axis(dates(frame) + pd.Timedelta(hours=16), axis=0),
    "Greenwich": lambda frame: frame.tz_localize("UTC"),
    "seconds": lambda frame: frame.set_axis(dates(frame).as_unit("s"), axis=0),
    "unsorted": lambda frame: frame.sample(frac=1.0, random_state=1),
    "text of numbers": lambda frame: frame.astype(str),
    "objects": lambda frame: frame.astype(object),
    "nullable": lambda frame: frame.astype("Float64"),
    "another column": lambda frame: frame.assign(Volume="many"),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_volatility_is_that_of_the_file(
    name: str, closes: tuple[Path, pd.DataFrame], by_file: VolatilityFit
) -> None:
    frame = WRITTEN[name](closes[1])
    before = frame.copy(deep=True)
    fit = fit_volatility(frame, since=SINCE)
    assert same(fit, by_file)
    assert fit.source == "DataFrame prices"
    pd.testing.assert_frame_equal(frame, before)


def test_an_intraday_shape_is_that_of_the_file(tmp_path: Path) -> None:
    table = sample_minutes(30, 0.4, UShape(), seed=3)
    by_file = fit_intraday(write_minutes(table, tmp_path / "bars.csv"), resamples=5)
    times = pd.to_datetime(table["datetime"])
    indexed = table.drop(columns="datetime").set_index(pd.DatetimeIndex(times))
    frames = {
        "text": table,
        "column": table.assign(datetime=times),
        "index": indexed,
        "New York": indexed.tz_localize("America/New_York"),
        "Greenwich": indexed.tz_localize("America/New_York").tz_convert("UTC"),
        "unsorted": indexed.iloc[::-1],
    }
    for name, frame in frames.items():
        fit = fit_intraday(frame, resamples=5)
        assert fit.source == "DataFrame bars"
        ordered = fit if name != "unsorted" else _in_order(fit)
        assert same(ordered, by_file), name
    assert same(fit_intraday(read_minute_bars(indexed), resamples=5), by_file)
    day = times.iloc[25 * 390].date()
    early = fit_intraday(indexed, as_of=day, resamples=5)
    assert early.last == day
    assert same(early, fit_intraday(tmp_path / "bars.csv", as_of=day, resamples=5))


def _in_order(fit: IntradayFit) -> IntradayFit:
    assert fit.bars_out_of_order > 0
    return replace(fit, bars_out_of_order=0)


def test_an_impact_is_that_of_the_files(tmp_path: Path) -> None:
    index = write_impact_files(tmp_path, 0.04, days=500)
    names = ("dix", "ohlc", "vix")
    by_file = fit_impact(*(tmp_path / f"{name}.csv" for name in names), since=SINCE, repeats=20)
    frames = [numbers_of(tmp_path / f"{name}.csv").set_index(index) for name in names]
    fit = fit_impact(*frames, since=SINCE, repeats=20)
    assert same(fit, by_file)
    assert fit.sources == ("DataFrame gex", "DataFrame prices", "DataFrame vix")
    mixed = fit_impact(tmp_path / "dix.csv", frames[1], str(tmp_path / "vix.csv"), since=SINCE, repeats=20)
    assert same(mixed, by_file)
    assert mixed.sources == ("dix.csv", "DataFrame prices", "vix.csv")


def test_a_fit_is_a_fragment(closes: tuple[Path, pd.DataFrame], by_file: VolatilityFit) -> None:
    fragment = by_file.fragment()
    assert fragment.where == "volatility fit of days.csv"
    assert load_scenario("siege-of-7000", (), [fragment]).volatility.beta == pytest.approx(
        by_file.estimates["beta"].value, rel=1e-5
    )


def test_rows_without_a_number_are_counted(closes: tuple[Path, pd.DataFrame]) -> None:
    frame = closes[1].copy()
    frame.iloc[[300, 301]] = np.nan
    fit = fit_volatility(frame, since=SINCE)
    assert (fit.dropped, fit.spanning) == (2, 1)


DAYS = pd.DataFrame(
    {"open": [10.0, 11.0, 12.0], "high": [12.0] * 3, "low": [9.0] * 3, "close": [11.0, 12.0, 10.0]},
    index=pd.DatetimeIndex(["2026-02-05", "2026-02-06", "2026-02-09"]),
)


def changed(column: str, row: int, value: Any) -> pd.DataFrame:
    frame = DAYS.astype({column: object})
    frame.iloc[row, list(frame.columns).index(column)] = value
    return frame


# id: (frame, what is said of it)
BAD_DAYS: dict[str, tuple[pd.DataFrame, str]] = {
    "missing column": (
        DAYS.drop(columns="close"),
        "DataFrame prices: has no column close; its columns are date, open, high, low.",
    ),
    "no days": (
        DAYS.reset_index(drop=True),
        "DataFrame prices: has no column date, and its index is no DatetimeIndex; its columns are open",
    ),
    "no rows": (DAYS.iloc[:0], "DataFrame prices: has no rows."),
    "two levels": (
        pd.concat({"SPX": DAYS}, axis=1),
        "DataFrame prices: has columns of 2 levels, and names are expected. Try frame.droplevel",
    ),
    "two columns": (DAYS.assign(Close=1.0), "DataFrame prices: has two columns close."),
    "duplicates": (
        pd.concat([DAYS, DAYS.iloc[:1]]),
        "DataFrame prices, row 3: date = 2026-02-05T00:00:00 (comes twice).",
    ),
    "no date": (
        DAYS.set_axis(pd.DatetimeIndex(["2026-02-05", None, "2026-02-09"]), axis=0),
        "DataFrame prices, row 1: date = NaT (is no date).",
    ),
    "times as numbers": (
        DAYS.assign(date=[1770249600.5, 1770336000.5, 1770595200.5]),
        "DataFrame prices, rows 0, 1, 2: date = 1770249600.5 (is no date).",
    ),
    "infinite": (changed("close", 1, np.inf).astype(float), "row 1: close = inf (is no number)."),
    "text": (changed("close", 2, "n/k"), 'DataFrame prices, row 2: close = "n/k" (is no number).'),
    "truth": (DAYS.assign(close=True), "DataFrame prices, rows 0, 1, 2: close = true (is no number)."),
    "complex": (DAYS.assign(close=1j), "DataFrame prices, rows 0, 1, 2: close = 1j (is no number)."),
    "times as prices": (DAYS.assign(close=DAYS.index), "close = 2026-02-05T00:00:00 (is no number)."),
    "negative": (
        changed("close", 1, -12.0).astype(float),
        "DataFrame prices, row 1: close = -12.0 (a number above zero is expected).",
    ),
    "upside down": (changed("high", 0, 8.0).astype(float), "row 0: high = 8.0 (is below the day's low)."),
    "outside": (
        changed("close", 0, 13.0).astype(float),
        "row 0: close = 13.0 (lies outside the day's low and high).",
    ),
    "NaN alone": (DAYS * np.nan, "DataFrame prices: has no row with every number."),
}


@pytest.mark.parametrize("name", BAD_DAYS)
def test_bad_days(name: str) -> None:
    frame, expected = BAD_DAYS[name]
    assert expected in refusal(lambda: read_daily(frame, OHLC, positive=OHLC, argument="prices"))


def test_days_of_another_zone_are_no_sessions(closes: tuple[Path, pd.DataFrame]) -> None:
    """Closes in New York are the next day in Tokyo: Saturdays give them away."""
    frame = closes[1].set_axis(dates(closes[1]) + pd.Timedelta(hours=16), axis=0)
    tokyo = frame.tz_localize("America/New_York").tz_convert("Asia/Tokyo")
    assert "days are without trading in New York" in refusal(lambda: fit_volatility(tokyo, since=SINCE))


def bars() -> pd.DataFrame:
    times = pd.date_range("2025-11-26 09:30", periods=390, freq="min")
    return pd.DataFrame({"open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0}, index=times)


def barred(column: str, row: int, value: float) -> pd.DataFrame:
    frame = bars()
    frame.iloc[row, list(frame.columns).index(column)] = value
    return frame


def shifted(**by: float) -> pd.DataFrame:
    return bars().set_axis(bars().index + pd.Timedelta(**by), axis=0)  # type: ignore[arg-type]


BAD_BARS: dict[str, tuple[Callable[[], pd.DataFrame], str]] = {
    "missing column": (
        lambda: bars().drop(columns="low"),
        "DataFrame bars: has no column low; its columns are",
    ),
    "no times": (
        lambda: bars().reset_index(drop=True),
        "DataFrame bars: has no column datetime, and its index",
    ),
    "no rows": (lambda: bars().iloc[:0], "DataFrame bars: has no bars."),
    "NaN": (lambda: barred("close", 3, np.nan), "DataFrame bars, row 3: close = nan (is no number)."),
    "negative": (
        lambda: barred("open", 5, -1.0),
        "DataFrame bars, row 5: open = -1.0 (is no price above 0).",
    ),
    "crossed": (
        lambda: barred("high", 7, 8.0),
        "DataFrame bars, row 7: high = 8.0 (is below the bar's low).",
    ),
    "seconds": (
        lambda: shifted(seconds=30),
        "rows 0, 1, 2 and 387 more: datetime = 2025-11-26T09:30:30 (is no whole",
    ),
    "no time": (
        lambda: bars().set_axis(bars().index.where(np.arange(390) != 4), axis=0),
        "DataFrame bars, row 4: datetime = NaT (is no date and time).",
    ),
    "duplicates": (
        lambda: pd.concat([bars(), barred("close", 0, 10.5).iloc[:1]]),
        "DataFrame bars, row 390: datetime = 2025-11-26T09:30:00 (has another bar with other prices).",
    ),
    "times of another zone": (lambda: shifted(hours=5), "its times are not New York's"),
    "ends of bars": (lambda: shifted(minutes=1), "its bars carry the time of their end"),
    "at night": (lambda: shifted(hours=11), "row 0 and 209 more lie before 04:00 or after 20:00"),
    "no session": (lambda: shifted(days=1), "no bar lies in a regular session"),
}


@pytest.mark.parametrize("name", BAD_BARS)
def test_bad_bars(name: str) -> None:
    make, expected = BAD_BARS[name]
    assert expected in refusal(lambda: read_minute_bars(make()))


def test_repeated_bars_are_left_out() -> None:
    read = read_minute_bars(pd.concat([bars(), bars().iloc[:2]]))
    assert isinstance(read, MinuteBars)
    assert (len(read), read.left_out) == (390, {"repeated word for word": 2})


@pytest.mark.parametrize("wrong", [5, 1.5, None, b"days.csv", ["days.csv"], pd.Series([1.0]), np.ones(3)])
def test_what_is_neither_a_path_nor_a_frame(wrong: Any) -> None:
    expected = "a path or a DataFrame, a table of days is expected, not "
    assert expected in refusal(lambda: fit_volatility(wrong))
    assert "bars" in refusal(lambda: fit_intraday(wrong))
    assert "vix" in refusal(lambda: fit_impact(DAYS.assign(gex=1e9), DAYS, wrong))


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (
            {"since": "2016-01-01"},
            'since = "2016-01-01" (a date is expected, not a str). Try datetime.date',
        ),
        ({"as_of": 2016}, "as_of = 2016 (a date is expected, not an int)"),
        ({"as_of": dt.datetime(2016, 1, 1, 12)}, "as_of = 2016-01-01T12:00:00 (has a time of day)"),
    ],
)
def test_arguments_of_another_type(
    how: dict[str, Any], expected: str, closes: tuple[Path, pd.DataFrame]
) -> None:
    assert expected in refusal(lambda: fit_volatility(closes[1], **how))
    assert expected in refusal(lambda: fit_impact(DAYS, DAYS, DAYS, **how))


def test_a_timestamp_is_a_day(closes: tuple[Path, pd.DataFrame], by_file: VolatilityFit) -> None:
    last = dates(closes[1])[-1]
    assert same(fit_volatility(closes[1], since=pd.Timestamp(SINCE), as_of=last), by_file)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"resamples": 1}, "resamples = 1 (must be at least 2)"),
        ({"resamples": "many"}, 'resamples = "many" (a whole number is expected, not a str)'),
        ({"resamples": True}, "resamples = true (a whole number is expected, not a bool)"),
        ({"seed": -1}, "seed = -1 (must be at least 0)"),
    ],
)
def test_counts_out_of_range(how: dict[str, Any], expected: str) -> None:
    assert expected in refusal(lambda: fit_intraday(bars(), **how))
    how = {"repeats" if name == "resamples" else name: value for name, value in how.items()}
    assert expected.replace("resamples", "repeats") in refusal(lambda: fit_impact(DAYS, DAYS, DAYS, **how))


@pytest.mark.parametrize("kind", ["date32[day][pyarrow]", "date64[ms][pyarrow]", "timestamp[us][pyarrow]"])
@pytest.mark.parametrize("as_index", [False, True], ids=["column", "index"])
def test_times_of_arrow_are_dates(tmp_path: Path, kind: str, as_index: bool) -> None:
    pytest.importorskip("pyarrow")
    days = write_closes(tmp_path / "closes.csv", gjr_returns(20, 1))
    table = pd.DataFrame(
        {"date": pd.Series(days).dt.date.astype(kind), "close": np.arange(1.0, len(days) + 1)}
    )
    found = read_daily(table.set_index("date") if as_index else table, ["close"], positive=["close"])
    assert list(found.rows.index) == list(days)


@pytest.mark.parametrize("day", [pd.NaT, dt.date.max, dt.date.min, pd.Timestamp.max, dt.datetime.max])
@pytest.mark.parametrize("name", ["as_of", "since"])
def test_days_that_no_calendar_has(tmp_path: Path, name: str, day: Any) -> None:
    write_closes(tmp_path / "closes.csv", gjr_returns(20, 1))
    with pytest.raises(InputError, match=rf"^{name} = .*(is no date|the year is not from 1990 to 2100)"):
        fit_volatility(tmp_path / "closes.csv", **{name: day})


@pytest.mark.parametrize("count", [10**400, 100_001])
def test_repetitions_that_outgrow_memory_are_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(InputError, match=r"^resamples = .* \(must be at most 100,000\)"):
        fit_intraday(tmp_path / "none.csv", resamples=count)
    with pytest.raises(InputError, match=r"^repeats = .* \(must be at most 100,000\)"):
        fit_impact(*[tmp_path / "none.csv"] * 3, since=dt.date(2020, 1, 2), repeats=count)
