from __future__ import annotations

import datetime as dt
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.places import MARKET_DATA
from support.sample_days import GJR, Float64s, gjr_returns, write_closes

from sim.errors import GammawallError, InputError
from sim.fit.volatility import STARTS, ParameterEstimate, fit_volatility
from sim.scenario.file import load_scenario
from sim.scenario.fragments import Fragment

REAL = MARKET_DATA / "daily" / "spx_ohlcv_2005_to_2026-02-10.csv"


def test_known_parameters_are_found_within_their_errors(tmp_path: Path) -> None:
    returns = gjr_returns(4000, seed=11)
    index = write_closes(tmp_path / "days.csv", returns)
    fit = fit_volatility(tmp_path / "days.csv", since=index[1].date())
    assert fit.returns == 4000
    assert (fit.first, fit.last) == (index[1].date(), index[-1].date())
    # Six parameters within three standard errors: fails on two seeds of a hundred.
    for name, estimate in fit.estimates.items():
        assert abs(estimate.value - GJR[name]) < 3 * estimate.std_error, name
    assert 0 < fit.persistence < 1


def test_the_state_is_the_recursion_carried_to_the_as_of_date(tmp_path: Path) -> None:
    returns = gjr_returns(1500, seed=2)
    write_closes(tmp_path / "days.csv", returns)
    fit = fit_volatility(tmp_path / "days.csv", since=dt.date(2010, 1, 5))
    e = {name: estimate.value for name, estimate in fit.estimates.items()}
    h = e["omega"] / (1 - fit.persistence)  # where it starts is forgotten by the end
    for shock in returns - e["mean"]:
        h = e["omega"] + (e["alpha"] + e["gamma"] * (shock < 0)) * shock**2 + e["beta"] * h
    assert fit.annual == pytest.approx(np.sqrt(252 * h) / 100, rel=1e-6)
    assert fit.long_run_annual == pytest.approx(np.sqrt(252 * e["omega"] / (1 - fit.persistence)) / 100)


def test_later_rows_do_not_matter(tmp_path: Path) -> None:
    returns = gjr_returns(1500, seed=3)
    index = write_closes(tmp_path / "long.csv", returns)
    write_closes(tmp_path / "short.csv", returns[:1200])
    as_of = index[1200].date()
    long = fit_volatility(tmp_path / "long.csv", since=dt.date(2010, 1, 5), as_of=as_of)
    short = fit_volatility(tmp_path / "short.csv", since=dt.date(2010, 1, 5))
    assert long.last == short.last == as_of
    assert long.annual == short.annual
    assert long.estimates == short.estimates


def test_the_fit_is_a_scenarios_volatility(tmp_path: Path) -> None:
    write_closes(tmp_path / "days.csv", gjr_returns(1500, seed=4))
    fit = fit_volatility(tmp_path / "days.csv", since=dt.date(2010, 1, 5))
    scenario = load_scenario("siege-of-7000", fragments=[Fragment("vol.toml", fit.scenario_keys(), {})])
    volatility = scenario.volatility
    assert volatility.annual == pytest.approx(fit.annual, rel=1e-5)
    assert volatility.beta == pytest.approx(fit.estimates["beta"].value, rel=1e-5)
    assert volatility.quoted == "observed"
    # The scenario's ω is the fit's.
    omega = (
        (volatility.long_run_annual or 0) ** 2
        / 252
        * (1 - volatility.alpha - volatility.gamma / 2 - volatility.beta)
    )
    assert omega * 1e4 == pytest.approx(fit.estimates["omega"].value, rel=1e-3)


@pytest.mark.parametrize(
    ("since", "as_of", "why"),
    [
        (dt.date(2015, 1, 1), None, "500 are the fewest"),
        (None, dt.date(2015, 10, 3), "has no row of 2015-10-03"),
        (dt.date(2020, 1, 1), None, "is not before"),
    ],
)
def test_windows_that_cannot_be_fitted(
    since: dt.date | None, as_of: dt.date | None, why: str, tmp_path: Path
) -> None:
    write_closes(tmp_path / "days.csv", gjr_returns(1500, seed=4))
    with pytest.raises(InputError, match=why):
        fit_volatility(tmp_path / "days.csv", since=since, as_of=as_of)


def test_prices_that_never_change(tmp_path: Path) -> None:
    write_closes(tmp_path / "days.csv", np.zeros(900))
    with pytest.raises(InputError, match="never changes"):
        fit_volatility(tmp_path / "days.csv", since=dt.date(2010, 1, 5))


def as_another_processor(returns: Float64s, number: int) -> Float64s:
    """Returns changed in their last digits: a search takes another road, as it does where sums round otherwise."""
    return returns * (1 + 1e-9 * np.random.default_rng(number).normal(0, 1, returns.size))


@pytest.mark.parametrize("processor", range(100, 106))
def test_constant_variance_is_fitted_and_its_boundaries_are_said(processor: int, tmp_path: Path) -> None:
    """There is nothing to find: parameters lie at their bounds."""
    constant = np.random.default_rng(1).normal(0, 1, 1500)
    write_closes(tmp_path / "days.csv", as_another_processor(constant, processor))
    fit = fit_volatility(tmp_path / "days.csv", since=dt.date(2010, 1, 5))
    assert any("boundary" in warning or "normal" in warning for warning in fit.warnings)
    assert fit.annual == pytest.approx(np.sqrt(252) / 100, rel=0.1)


@pytest.mark.parametrize("processor", range(100, 106))
def test_a_variance_without_end_is_refused(processor: int, tmp_path: Path) -> None:
    growing = 0.3 * np.random.default_rng(3).normal(0, 1, 1500) * np.exp(np.linspace(-3, 3, 1500))
    write_closes(tmp_path / "days.csv", as_another_processor(growing, processor))
    with pytest.raises(
        GammawallError, match=r"days.csv: .* no clear maximum where the variance is stationary"
    ):
        fit_volatility(tmp_path / "days.csv", since=dt.date(2010, 1, 5))


def write_rows(folder: Path, rows: pd.DataFrame) -> Path:
    rows.to_csv(folder / "own.csv", index=False)
    return folder / "own.csv"


@pytest.fixture
def closes(tmp_path: Path) -> pd.DataFrame:
    write_closes(tmp_path / "days.csv", gjr_returns(1500, seed=4))
    return pd.read_csv(tmp_path / "days.csv")


FROM_THE_START = dt.date(2010, 1, 5)


def test_returns_over_a_missing_close_are_left_out(closes: pd.DataFrame, tmp_path: Path) -> None:
    holed = closes.drop(index=[300, 301, 700])
    fit = fit_volatility(write_rows(tmp_path, holed), since=FROM_THE_START)
    assert (fit.spanning, fit.returns) == (2, 1500 - 5)
    whole = fit_volatility(tmp_path / "days.csv", since=FROM_THE_START)
    assert (whole.spanning, whole.untraded, whole.returns) == (0, 0, 1500)


def test_days_without_trading_are_left_out(closes: pd.DataFrame, tmp_path: Path) -> None:
    more = pd.concat([closes, pd.DataFrame({"Date": ["2010-07-05", "2011-01-01"], "Close": [1.0, 1e6]})])
    fit = fit_volatility(write_rows(tmp_path, more), since=FROM_THE_START)
    assert fit.untraded == 2
    assert fit.estimates == fit_volatility(write_rows(tmp_path, closes), since=FROM_THE_START).estimates


def test_rows_that_are_not_daily_are_refused(closes: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rows are not daily, or some are missing"):
        fit_volatility(write_rows(tmp_path, closes.iloc[::2]), since=FROM_THE_START)
    with pytest.raises(InputError, match="rows are not daily, or some are missing"):
        fit_volatility(write_rows(tmp_path, closes.drop(index=range(400, 700))), since=FROM_THE_START)
    days = pd.date_range("2010-01-04", periods=1500)
    filled = pd.DataFrame({"Date": days.strftime("%Y-%m-%d"), "Close": closes["Close"].iloc[:1500]})
    with pytest.raises(
        InputError, match=r"of its 1,500 days are without trading in New York, 2010-01-09 for one"
    ):
        fit_volatility(write_rows(tmp_path, filled), since=FROM_THE_START)


def test_a_split_or_a_misprint_is_refused(closes: pd.DataFrame, tmp_path: Path) -> None:
    split = closes.copy()
    split.loc[800:, "Close"] /= 10
    with pytest.raises(InputError, match=rf"moves by -90% on {closes['Date'][800]}: a split or a misprint"):
        fit_volatility(write_rows(tmp_path, split), since=FROM_THE_START)
    after = dt.date.fromisoformat(closes["Date"][801])
    assert fit_volatility(write_rows(tmp_path, split), since=after).returns == 700


def test_the_best_of_several_starts_counts(
    closes: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start may end far from the maximum."""
    fit_module = sys.modules["sim.fit.volatility"]
    best = fit_volatility(tmp_path / "days.csv", since=FROM_THE_START)
    # This one ends at a variance that never changes, 40 below the maximum.
    monkeypatch.setattr(fit_module, "STARTS", (*STARTS, (0.0, 0.0, 0.0, 500.0)))
    again = fit_volatility(tmp_path / "days.csv", since=FROM_THE_START)
    assert again.log_likelihood == pytest.approx(best.log_likelihood, abs=1e-3)
    assert again.estimates["beta"].value == pytest.approx(best.estimates["beta"].value, abs=1e-3)


@pytest.mark.parametrize(("share", "told"), [(0.7, "69%"), (0.25, r"2\d%")])
def test_a_file_that_is_filled_up_is_refused(share: float, told: str, tmp_path: Path) -> None:
    """What an optimiser makes of many zeros depends on its release and on the processor."""
    mostly_still = np.where(np.random.default_rng(1).random(1500) < share, 0.0, gjr_returns(1500, seed=1))
    write_closes(tmp_path / "days.csv", mostly_still)
    with pytest.raises(InputError, match=f"{told} of the returns are 0"):
        fit_volatility(tmp_path / "days.csv", since=FROM_THE_START)


def test_volatilities_that_no_index_has_are_remarked(tmp_path: Path) -> None:
    write_closes(tmp_path / "days.csv", np.random.default_rng(1).normal(0, 5, 1500))
    fit = fit_volatility(tmp_path / "days.csv", since=FROM_THE_START)
    assert any("is it the right file?" in warning for warning in fit.warnings)


def test_an_error_that_is_unknown_is_left_out(closes: pd.DataFrame, tmp_path: Path) -> None:
    fit = fit_volatility(tmp_path / "days.csv", since=FROM_THE_START)
    unknown = replace(fit, estimates={**fit.estimates, "alpha": ParameterEstimate(0.1, float("nan"))})
    assert "alpha" not in unknown.metadata()["std_errors"]
    assert unknown.metadata()["estimates"]["alpha"] == 0.1


def test_without_arch_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_closes(tmp_path / "days.csv", gjr_returns(600, seed=4))
    monkeypatch.setitem(sys.modules, "arch", None)
    with pytest.raises(GammawallError, match=r"pip install 'gammawall-sim\[fit\]'"):
        fit_volatility(tmp_path / "days.csv", since=dt.date(2010, 1, 5))


@pytest.mark.skipif(not REAL.is_file(), reason=f"the real prices are not at {REAL}")
def test_the_s_and_p_500_to_february_2026() -> None:
    fit = fit_volatility(REAL, as_of=dt.date(2026, 2, 10))
    assert fit.first == dt.date(2016, 1, 4)
    expected = {"omega": 0.0236, "alpha": 0.0076, "gamma": 0.256, "beta": 0.845, "tail_dof": 5.32}
    for name, value in expected.items():
        assert abs(fit.estimates[name].value - value) < 0.25 * fit.estimates[name].std_error
    assert fit.warnings == ()
    assert 0.13 < fit.annual < 0.15
