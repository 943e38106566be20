from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.places import MARKET_DATA
from support.sample_days import write_impact_files

from sim.errors import GammawallError, InputError
from sim.fit.daily_data import OHLC, read_daily
from sim.fit.impact import MAIN, OTHERS, ImpactFit, _Regression, fit_impact
from sim.scenario.file import load_scenario
from sim.scenario.fragments import Fragment

REAL = MARKET_DATA / "daily"
SINCE = dt.date(2010, 3, 1)


def fit_of(
    folder: Path, since: dt.date = SINCE, repeats: int = 100, as_of: dt.date | None = None
) -> ImpactFit:
    files = (folder / "dix.csv", folder / "ohlc.csv", folder / "vix.csv")
    return fit_impact(*files, since=since, as_of=as_of, repeats=repeats)


@pytest.mark.parametrize("k", [0.0, 0.04, 0.1])
def test_a_known_impact_is_within_its_interval(k: float, tmp_path: Path) -> None:
    """With the VIX among the controls; one interval of twenty misses."""
    write_impact_files(tmp_path, k)
    fit = fit_of(tmp_path)
    assert fit.low < k < fit.high
    assert abs(fit.main.k - k) < 3 * fit.std_error
    assert 0 < fit.std_error < 0.03
    assert fit.impact_bp_per_bn == 100 * fit.main.k


def test_without_controls_calm_counts_as_the_dealers_doing(tmp_path: Path) -> None:
    write_impact_files(tmp_path, 0.02)
    fit = fit_of(tmp_path)
    naive = next(
        other for other in fit.others if not other.specification.vix and not other.specification.lags
    )
    assert naive.k > fit.main.k + 3 * fit.std_error
    assert [other.specification for other in fit.others] == list(OTHERS)
    assert fit.main.specification == MAIN


def test_the_same_seed_gives_the_same_interval(tmp_path: Path) -> None:
    write_impact_files(tmp_path, 0.04)
    assert fit_of(tmp_path) == fit_of(tmp_path)


def test_only_days_of_all_files_count_and_those_lost_are_told(tmp_path: Path) -> None:
    index = write_impact_files(tmp_path, 0.04)
    whole = fit_of(tmp_path)
    lines = (tmp_path / "vix.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "vix.csv").write_text("\n".join([*lines[:301], *lines[305:]]) + "\n", encoding="utf-8")
    fewer = fit_of(tmp_path)
    assert fewer.lost == whole.lost + 4
    assert fewer.days == whole.days - 4
    early = fit_of(tmp_path, as_of=index[900].date())
    assert early.last == index[900].date()


def test_the_fit_is_a_scenarios_impact(tmp_path: Path) -> None:
    write_impact_files(tmp_path, 0.04)
    fit = fit_of(tmp_path)
    fragment = Fragment("impact.toml", fit.scenario_keys(), fit.metadata())
    scenario = load_scenario("siege-of-7000", fragments=[fragment])
    assert scenario.dealers.impact_bp_per_bn == pytest.approx(fit.impact_bp_per_bn, abs=1e-3)
    assert fragment.fit["kind"] == "impact"
    assert fragment.fit["gex_bn"] == pytest.approx(fit.gex_bn, abs=1e-4)


def test_a_negative_impact_is_no_scenarios(tmp_path: Path) -> None:
    write_impact_files(tmp_path, -0.05)
    fit = fit_of(tmp_path)
    assert fit.main.k < 0
    with pytest.raises(GammawallError, match="is negative"):
        fit.scenario_keys()


@pytest.mark.parametrize(
    ("since", "as_of", "why"),
    [
        (dt.date(2014, 1, 1), None, "250 are the fewest"),
        (dt.date(2030, 1, 1), None, "is not before"),
        (SINCE, dt.date(2012, 1, 1), "has no row of 2012-01-01"),
    ],
)
def test_windows_that_cannot_be_fitted(
    since: dt.date, as_of: dt.date | None, why: str, tmp_path: Path
) -> None:
    write_impact_files(tmp_path, 0.04)
    with pytest.raises(InputError, match=why):
        fit_of(tmp_path, since=since, as_of=as_of)


def changed(folder: Path, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    change(pd.read_csv(folder / name)).to_csv(folder / name, index=False)


@pytest.mark.parametrize("factor", [1e-9, 1e-6, 1e4])
def test_gamma_exposure_of_another_unit_is_refused(factor: float, tmp_path: Path) -> None:
    write_impact_files(tmp_path, 0.04)
    changed(tmp_path, "dix.csv", lambda table: table.assign(gex=table["gex"] * factor))
    with pytest.raises(InputError, match="USD per 1% move are expected"):
        fit_of(tmp_path)


def test_gamma_exposure_that_never_changes(tmp_path: Path) -> None:
    write_impact_files(tmp_path, 0.04)
    changed(tmp_path, "dix.csv", lambda table: table.assign(gex=3e9))
    with pytest.raises(InputError, match=r"gex .*never changes"):
        fit_of(tmp_path)


def test_prices_and_a_vix_that_never_change(tmp_path: Path) -> None:
    write_impact_files(tmp_path, 0.04)
    changed(tmp_path, "vix.csv", lambda table: table.assign(CLOSE=17.0))
    with pytest.raises(InputError, match=r"vix.csv: close .*never changes"):
        fit_of(tmp_path)
    changed(tmp_path, "ohlc.csv", lambda table: table.assign(Open=4e3, High=4e3, Low=4e3, Close=4e3))
    with pytest.raises(InputError, match=r"ohlc.csv: close .*never changes"):
        fit_of(tmp_path)


def test_a_k_at_the_end_of_the_search_is_none(tmp_path: Path) -> None:
    """A hundredth of the exposure would want a hundred times the impact."""
    write_impact_files(tmp_path, 0.1)
    changed(tmp_path, "dix.csv", lambda table: table.assign(gex=table["gex"] / 100))
    with pytest.raises(GammawallError, match="lies at the end of where it is looked for"):
        fit_of(tmp_path)


def test_files_in_the_wrong_places(tmp_path: Path) -> None:
    write_impact_files(tmp_path, 0.04)
    dix, ohlc, vix = (tmp_path / name for name in ("dix.csv", "ohlc.csv", "vix.csv"))
    with pytest.raises(InputError, match="which is no VIX"):
        fit_impact(dix, ohlc, ohlc, since=SINCE)
    prices = pd.read_csv(ohlc)
    changed(tmp_path, "dix.csv", lambda table: table.assign(price=prices["Close"] / 10))
    assert fit_of(tmp_path).main.k > 0
    changed(tmp_path, "dix.csv", lambda table: table.assign(price=prices["Close"].to_numpy()[::-1]))
    with pytest.raises(InputError, match=r"do not move as the prices of dix\.csv"):
        fit_impact(dix, ohlc, vix, since=SINCE)


def test_days_without_a_range_are_counted(tmp_path: Path) -> None:
    write_impact_files(tmp_path, 0.04)

    def still(table: pd.DataFrame) -> pd.DataFrame:
        for row in (200, 400, 800):
            table.loc[row, ["Open", "High", "Low", "Close"]] = 4000.0
        return table

    changed(tmp_path, "ohlc.csv", still)
    fit = fit_of(tmp_path)
    assert fit.unmoved == 3


def test_files_that_are_not_daily(tmp_path: Path) -> None:
    write_impact_files(tmp_path, 0.04)
    changed(tmp_path, "vix.csv", lambda table: table.iloc[::2])
    with pytest.raises(InputError, match="rows are not daily, or some are missing"):
        fit_of(tmp_path)


def test_files_of_different_years(tmp_path: Path) -> None:
    write_impact_files(tmp_path, 0.04)
    (tmp_path / "vix.csv").write_text("DATE,CLOSE\n1995-01-03,12\n", encoding="utf-8")
    with pytest.raises(InputError, match="no day in common"):
        fit_of(tmp_path)


def test_without_arch_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_impact_files(tmp_path, 0.04)
    monkeypatch.setitem(sys.modules, "arch.bootstrap", None)
    with pytest.raises(GammawallError, match=r"pip install 'gammawall-sim\[fit\]'"):
        fit_of(tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real daily data are not at {REAL}")
def test_the_s_and_p_500_since_2023() -> None:
    files = (
        "squeezemetrics_dix_to_2026-02-10.csv",
        "spx_ohlcv_2005_to_2026-02-10.csv",
        "vix_ohlc_1990_to_2026-02-10.csv",
    )
    fit = fit_impact(*(REAL / name for name in files), repeats=100)
    assert 0.02 <= fit.main.k <= 0.06
    assert fit.low > 0
    assert fit.last == dt.date(2026, 2, 10)
    assert fit.gex_bn == pytest.approx(5.3215, abs=1e-3)


def test_everything_a_day_is_explained_by_is_of_the_days_before(tmp_path: Path) -> None:
    write_impact_files(tmp_path, 0.04, days=60)
    days = pd.concat(
        [
            read_daily(tmp_path / "dix.csv", ["gex"], positive=[]).rows["gex"] / 1e9,
            read_daily(tmp_path / "ohlc.csv", OHLC, positive=OHLC).rows,
            read_daily(tmp_path / "vix.csv", ["close"], positive=["close"]).rows["close"].rename("vix"),
        ],
        axis=1,
    )
    regression = _Regression(days, MAIN, days.index[30])
    day, before = days.index[40], days.index[39]
    row = regression.dates.get_loc(day)
    assert regression.exposure[row] == days.loc[before, "gex"]
    assert regression.controls[row, 1] == pytest.approx(np.log(days.loc[before, "vix"]))
    past = [regression.log_range[row - j] for j in range(1, 6)]
    assert regression.controls[row, 2:4] == pytest.approx([past[0], np.mean(past)])
