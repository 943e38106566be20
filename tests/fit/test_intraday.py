"""Fits to minute bars: what is known is found again, what cannot be fitted is refused, real bars."""

from __future__ import annotations

import dataclasses
import datetime as dt
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli_w
from support.places import MARKET_DATA
from support.sample_minutes import sample_minutes, write_minutes
from support.sample_scenario import refusal, sample

from sim.errors import InputError
from sim.fit.intraday import EARLY_CLOSE, GAPPY, NO_CLOSE, NO_OPEN, UNMOVED, IntradayFit, fit_intraday
from sim.fit.minute_bars import MinuteBars, read_minute_bars
from sim.scenario.file import scenario_from_mapping
from sim.scenario.intraday import u_shape_integral, variance_shares
from sim.scenario.model import Scenario, UShape

SHARED = MARKET_DATA
FEW = 20
SHAPES = {
    "as the default": (0.46, UShape(), None),
    "steep, with wild sessions": (
        0.3,
        UShape(base=0.5, open=6.0, open_fade=0.04, close=3.0, close_fade=0.03),
        5.0,
    ),
}


def bars_of(folder: Path, table: pd.DataFrame) -> MinuteBars:
    return read_minute_bars(write_minutes(table, folder / "bars.csv"))


@pytest.fixture(scope="module")
def quarter() -> pd.DataFrame:
    """Bars of 45 sessions, the early close before Independence Day among them."""
    return sample_minutes(45, 0.4, UShape(), seed=3, first=dt.date(2025, 6, 2))


@pytest.mark.parametrize("name", SHAPES)
def test_known_shape_is_found(tmp_path: Path, name: str) -> None:
    """Each of 6 numbers within 3 standard errors: about 2% of other seeds would fail."""
    share, shape, tail_dof = SHAPES[name]
    bars = bars_of(tmp_path, sample_minutes(130, share, shape, seed=11, tail_dof=tail_dof))
    fit = fit_intraday(bars, resamples=60)
    assert fit.sessions == 129
    assert fit.gaps == 128
    assert fit.dropped == {EARLY_CLOSE: 1}
    assert 0.01 < fit.overnight_share_error < 0.08
    assert abs(fit.overnight_share - share) < 3 * fit.overnight_share_error
    area = float(u_shape_integral(np.ones(1), shape)[0])
    for part, error in fit.u_shape_error.items():
        true = getattr(shape, part) / (1.0 if part.endswith("_fade") else area)
        assert 0 < error < 0.5 * true
        assert abs(getattr(fit.u_shape, part) - true) < 3 * error, part
    assert fit.at_limit == ()
    assert u_shape_integral(np.ones(1), fit.u_shape)[0] == pytest.approx(1.0, abs=1e-12)
    assert fit.density.shape == (390,)
    assert fit.density.mean() == pytest.approx(1.0, abs=1e-12)


def test_flat_days_give_flat_shares(tmp_path: Path) -> None:
    flat = UShape(base=1.0, open=0.0, close=0.0)
    fit = fit_intraday(bars_of(tmp_path, sample_minutes(60, 0.2, flat, seed=5)), resamples=2)
    shares = variance_shares(0.0, 13, "u", fit.u_shape)[1:]
    np.testing.assert_allclose(shares, 1 / 13, rtol=0.1)


def test_same_bars_same_fit(tmp_path: Path, quarter: pd.DataFrame) -> None:
    bars = bars_of(tmp_path, quarter)
    one, other = fit_intraday(bars, resamples=3), fit_intraday(bars, resamples=3)
    seeded = fit_intraday(bars, resamples=3, seed=1)
    assert one.scenario_keys() == other.scenario_keys() == seeded.scenario_keys()
    assert one.metadata() == other.metadata()
    assert one.u_shape_error != seeded.u_shape_error


def test_unit_of_price_does_not_matter(tmp_path: Path, quarter: pd.DataFrame) -> None:
    prices = quarter.columns[1:]
    scaled = quarter.assign(**{name: 1e-3 * quarter[name] for name in prices})
    one, other = (fit_intraday(bars_of(tmp_path, table), resamples=2) for table in (quarter, scaled))
    assert other.overnight_share == pytest.approx(one.overnight_share, rel=1e-9)
    np.testing.assert_allclose(other.density, one.density, rtol=1e-6)


def test_a_split_hardly_moves_the_share(tmp_path: Path, quarter: pd.DataFrame) -> None:
    split = quarter.copy()
    split.iloc[15 * 390 :, 1:] /= 2.0
    one, other = (fit_intraday(bars_of(tmp_path, table), resamples=2) for table in (quarter, split))
    assert other.winsorised > one.winsorised
    assert abs(other.overnight_share - one.overnight_share) < 0.2
    np.testing.assert_allclose(other.density, one.density, rtol=1e-6)


def test_sessions_that_cannot_be_used(tmp_path: Path, quarter: pd.DataFrame) -> None:
    day, clock = quarter["datetime"].str[:10], quarter["datetime"].str[11:]
    lost = (
        (day.eq("2025-06-10") & clock.eq("09:30:00"))
        | (day.eq("2025-06-12") & clock.eq("15:59:00"))
        | (day.eq("2025-06-17") & clock.between("11:00:00", "11:39:00"))
        | (day.eq("2025-06-20") & clock.between("11:00:00", "11:38:00"))
        | day.eq("2025-06-24")
    )
    still = day.eq("2025-06-26")
    table = quarter.copy()
    table.loc[still, ["open", "high", "low", "close"]] = 600.0
    fit = fit_intraday(bars_of(tmp_path, table[~lost]), resamples=2)
    assert fit.dropped == {EARLY_CLOSE: 1, NO_OPEN: 1, NO_CLOSE: 1, GAPPY: 1, UNMOVED: 1}
    assert fit.sessions == 45 - 1 - 5
    # no close is known before the first, before 13 June and before 25 June
    assert fit.gaps == fit.sessions - 3
    assert fit.sessions_absent == 1
    assert fit.minutes_missing == 1 + 1 + 40 + 39


def test_early_close_still_states_the_close(tmp_path: Path, quarter: pd.DataFrame) -> None:
    fit = fit_intraday(bars_of(tmp_path, quarter), resamples=2)
    assert fit.dropped == {EARLY_CLOSE: 1}
    assert (fit.sessions, fit.gaps) == (44, 43)


def test_as_few_sessions_as_possible(tmp_path: Path, quarter: pd.DataFrame) -> None:
    days = quarter["datetime"].str[:10]
    first = days.unique()[: FEW + 1]
    fit = fit_intraday(bars_of(tmp_path, quarter[days.isin(first)]), resamples=2)
    assert (fit.sessions, fit.gaps) == (FEW + 1, FEW)


def first_sessions(n: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: table[table["datetime"].str[:10].isin(table["datetime"].str[:10].unique()[:n])]


def test_bars_that_are_wider_than_a_minute(tmp_path: Path, quarter: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="its bars are 5 minutes apart, and bars of one minute are expected"):
        bars_of(tmp_path, quarter.iloc[::5])


def test_opens_that_are_the_closes_before_are_remarked(tmp_path: Path, quarter: pd.DataFrame) -> None:
    table = quarter.copy()
    first = table["datetime"].str.slice(11) == "09:30:00"
    before = table["close"].shift(1)
    stale = first & before.notna()
    table.loc[stale, "open"] = before[stale]
    prices = table[["open", "high", "low", "close"]]
    table["high"], table["low"] = prices.max(axis=1), prices.min(axis=1)
    fit = fit_intraday(bars_of(tmp_path, table), resamples=20)
    assert fit.overnight_share < 0.01
    assert any("hardly anything moves overnight" in warning for warning in fit.warnings)


def test_a_day_without_a_middle_is_remarked(tmp_path: Path) -> None:
    shape = UShape(base=0.0, open=10.0, open_fade=0.05, close=10.0, close_fade=0.05)
    fit = fit_intraday(bars_of(tmp_path, sample_minutes(45, 0.4, shape, seed=5)), resamples=20)
    assert "base" in fit.at_limit
    assert any("nothing moves in the middle of the day" in warning for warning in fit.warnings)


def test_the_plain_share_tells_when_few_moves_decide(tmp_path: Path, quarter: pd.DataFrame) -> None:
    table = quarter.copy()
    later = table["datetime"] >= "2025-07-01"
    table.loc[later, ["open", "high", "low", "close"]] *= 1.2  # one jump overnight
    before, after = (fit_intraday(bars_of(tmp_path, rows), resamples=20) for rows in (quarter, table))
    assert after.overnight_share == pytest.approx(before.overnight_share, abs=0.15)
    assert after.overnight_share_plain > 0.9


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (first_sessions(1), "1 of its 1 sessions can be used, at least 20 are needed"),
        (first_sessions(FEW - 1), "19 of its 19 sessions can be used"),
        (first_sessions(FEW), "19 sessions follow on one whose close is known"),
        (lambda table: table[table["datetime"].str.slice(11) != "15:59:00"], f"44 {NO_CLOSE}"),
        (lambda table: table.assign(open=600.0, high=600.0, low=600.0, close=600.0), f"44 {UNMOVED}"),
    ],
    ids=["one", "nineteen", "nineteen gaps", "no last minute", "constant"],
)
def test_too_little_is_refused(
    tmp_path: Path, quarter: pd.DataFrame, change: Callable[[pd.DataFrame], pd.DataFrame], words: str
) -> None:
    bars = bars_of(tmp_path, change(quarter))
    error = refusal(lambda: fit_intraday(bars))
    assert str(error).startswith("bars.csv: ")
    assert words in str(error)
    assert str(error).isprintable()


def test_sessions_without_any_move_are_refused(tmp_path: Path, quarter: pd.DataFrame) -> None:
    clock = quarter["datetime"].str[11:]
    ends = clock.isin(["09:30:00", "12:59:00", "15:59:00"])
    table = quarter.copy()
    table.loc[ends, ["open", "high", "low", "close"]] = 600.0
    with pytest.raises(InputError, match="no session closes at another price than it opened"):
        fit_intraday(bars_of(tmp_path, table))


def test_keys_make_a_scenario(tmp_path: Path, quarter: pd.DataFrame) -> None:
    fit = fit_intraday(bars_of(tmp_path, quarter), resamples=2)
    keys = fit.scenario_keys()["volatility"]
    assert list(keys) == ["overnight_share", "intraday_shape", "u_shape"]
    data = sample({f"volatility.{key}": value for key, value in keys.items()})
    volatility = scenario_from_mapping(data, "x").volatility
    assert volatility == Scenario.model_validate(data).volatility
    assert volatility.u_shape is not None
    for name in UShape.model_fields:
        assert getattr(volatility.u_shape, name) == pytest.approx(getattr(fit.u_shape, name), rel=1e-3)
    np.testing.assert_allclose(
        variance_shares(fit.overnight_share, 13, "u", fit.u_shape),
        variance_shares(volatility.overnight_share, 13, "u", volatility.u_shape),
        atol=5e-4,
    )


def test_metadata_is_toml(tmp_path: Path, quarter: pd.DataFrame) -> None:
    fit = fit_intraday(bars_of(tmp_path, quarter), resamples=2)
    stated = fit.metadata()
    assert tomllib.loads(tomli_w.dumps(stated)) == stated
    assert stated["source"] == "bars.csv"
    assert stated["sessions_dropped"] == {EARLY_CLOSE: 1}
    assert stated["u_shape_error"].keys() == UShape.model_fields.keys()
    with pytest.raises(dataclasses.FrozenInstanceError):
        fit.sessions = 0  # type: ignore[misc]


@pytest.fixture(scope="module")
def spy() -> IntradayFit:
    if not SHARED.exists():
        pytest.skip("market data is not beside this checkout")
    return fit_intraday(read_minute_bars(SHARED / "intraday" / "spy_1min_2025-09-15_to_2026-02-10.csv"))


def test_real_shape_is_the_default(spy: IntradayFit) -> None:
    """Bars of the months that the default was fit to, but for the last."""
    assert (spy.sessions, spy.gaps, spy.dropped) == (101, 100, {EARLY_CLOSE: 2})
    for name, error in spy.u_shape_error.items():
        assert abs(getattr(spy.u_shape, name) - getattr(UShape(), name)) < 2 * error, name
    np.testing.assert_allclose(
        variance_shares(0.0, 13, "u", spy.u_shape)[1:], variance_shares(0.0, 13, "u")[1:], atol=0.012
    )


def test_real_share(spy: IntradayFit) -> None:
    """A third of the variance of these months was overnight, with the error of 100 sessions."""
    assert spy.overnight_share == pytest.approx(0.333, abs=0.001)
    assert 0.04 < spy.overnight_share_error < 0.08
    assert abs(spy.overnight_share - 0.46) < 3 * spy.overnight_share_error
