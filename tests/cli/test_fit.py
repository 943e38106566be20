from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest
from support.cli_runner import gammawall, stand_in_for_simulate
from support.sample_days import gjr_returns, write_closes, write_impact_files
from support.sample_minutes import sample_minutes, write_minutes

from sim.scenario.fragments import read_fragment
from sim.scenario.model import UShape


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_closes(tmp_path / "days.csv", gjr_returns(1200, seed=4))
    return tmp_path


VOLATILITY = ("fit", "volatility", "days.csv", "--since", "2010-01-05")
IMPACT = ("fit", "impact", "dix.csv", "ohlc.csv", "vix.csv", "--since", "2010-03-01", "--repeats", "50")


def test_a_fit_is_printed_with_its_fragment(folder: Path) -> None:
    done = gammawall(*VOLATILITY)
    assert done.exit_code == 0, done.output
    for part in ("1,200 daily returns", "std error", "α  alpha", "next session's volatility", "persistence"):
        assert part in done.stdout
    data = tomllib.loads(done.stdout[done.stdout.index("# GJR-GARCH") :])
    assert set(data) == {"volatility", "fit"}
    assert sorted(path.name for path in folder.iterdir()) == ["days.csv"]


def test_a_fragment_is_written_and_run_takes_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = gammawall(*VOLATILITY, "--out", "vol.toml")
    assert done.exit_code == 0, done.output
    assert "# GJR" not in done.stdout
    fragment = read_fragment(folder / "vol.toml")
    assert fragment.fit["kind"] == "volatility"
    calls = stand_in_for_simulate(monkeypatch)
    ran = gammawall("run", "--with", "vol.toml", "--no-save")
    assert ran.exit_code == 0, ran.output
    assert calls[0]["scenario"].volatility.annual == fragment.keys["volatility"]["annual"]


def test_a_negative_impact_is_printed_and_makes_no_fragment(folder: Path) -> None:
    write_impact_files(folder, -0.05)
    done = gammawall(*IMPACT, "--out", "impact.toml")
    assert done.exit_code == 1
    assert "k = -0.0" in done.stdout
    assert "no controls (naive)" in done.stdout
    assert "is negative" in done.stderr
    assert not Path("impact.toml").exists()
    done = gammawall(*IMPACT, "--json")
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert document["k"] < 0
    assert document["scenario_keys"] is None


def test_an_impact_is_printed_with_its_caveats(folder: Path) -> None:
    write_impact_files(folder, 0.04)
    done = gammawall(*IMPACT, "--out", "impact.toml")
    assert done.exit_code == 0, done.output
    text = " ".join(done.stdout.split())
    for part in (
        "An association, and an upper bound",
        "no controls (naive)",
        "--scale-to-gex",
        "Stationary bootstrap",
    ):
        assert part in text
    assert read_fragment(folder / "impact.toml").keys["dealers"]["impact_bp_per_bn"] > 0


def test_documents(folder: Path) -> None:
    write_impact_files(folder, 0.04)
    found = json.loads(gammawall(*VOLATILITY, "--json").stdout)
    assert found["kind"] == "volatility"
    assert found["first"] == "2010-01-05"
    assert found["scenario_keys"]["volatility"]["quoted"] == "observed"
    assert found["fragment"] is None
    impact = json.loads(gammawall(*IMPACT, "--json").stdout)
    assert impact["k_low"] < impact["k"] < impact["k_high"]
    assert len(impact["k_of_others"]) == 4


def test_minutes_are_fitted_up_to_a_day(folder: Path) -> None:
    write_minutes(sample_minutes(42, 0.4, UShape(), seed=3), folder / "minutes.csv")
    done = gammawall("fit", "intraday", "minutes.csv", "--resamples", "20", "--out", "intraday.toml")
    assert done.exit_code == 0, done.output
    for part in ("overnight_share", "u_shape.open_fade", "built in", " sessions, 2025-01-02"):
        assert part in done.stdout
    fragment = read_fragment(folder / "intraday.toml")
    assert fragment.fit["kind"] == "intraday"
    assert set(fragment.keys["volatility"]) == {"overnight_share", "intraday_shape", "u_shape"}
    shown = gammawall("scenario", "show", "siege-of-7000", "--with", "intraday.toml")
    assert "u_shape = {" in shown.stdout
    whole = json.loads(gammawall("fit", "intraday", "minutes.csv", "--resamples", "20", "--json").stdout)
    early = json.loads(
        gammawall(
            "fit", "intraday", "minutes.csv", "--resamples", "20", "--json", "--as-of", whole["last"]
        ).stdout
    )
    assert early["sessions"] == whole["sessions"] >= 40
    assert early["overnight_share_error"] == whole["overnight_share_error"]
    refused = gammawall("fit", "intraday", "minutes.csv", "--as-of", "2001-01-01")
    assert refused.exit_code == 2
    assert "its first session is" in refused.output


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("fit", "volatility", "none.csv"), "no such file"),
        ((*VOLATILITY, "--out", "days.csv", "--overwrite"), "is no name of a TOML file"),
        ((*VOLATILITY, "--out", "none/vol.toml"), "there is no folder none"),
        ((*VOLATILITY, "--out", "."), "is a folder"),
        ((*VOLATILITY, "--overwrite"), "--overwrite is about --out"),
        ((*VOLATILITY, "--as-of", "2010-01-09"), "has no row of 2010-01-09"),
        ((*VOLATILITY, "--as-of", "yesterday"), "--as-of"),
        (("fit", "volatility", "days.csv", "--since", "2014-06-01"), "500 are the fewest"),
        (("fit", "impact", "days.csv", "days.csv", "days.csv"), "has no column gex"),
    ],
)
def test_bad_usage_and_bad_input_exit_with_two(arguments: tuple[str, ...], why: str, folder: Path) -> None:
    done = gammawall(*arguments)
    assert done.exit_code == 2, done.output
    assert why in done.output
    assert "Traceback" not in done.output


def test_a_fragment_is_not_overwritten_unawares(folder: Path) -> None:
    (folder / "vol.toml").write_text("x = 1\n", encoding="utf-8")
    assert gammawall(*VOLATILITY, "--out", "vol.toml").exit_code == 2
    assert (folder / "vol.toml").read_text(encoding="utf-8") == "x = 1\n"
    assert gammawall(*VOLATILITY, "--out", "vol.toml", "--overwrite").exit_code == 0
    assert read_fragment(folder / "vol.toml").fit["kind"] == "volatility"


def test_a_fragment_goes_where_a_link_leads_and_never_into_nothing(folder: Path) -> None:
    (folder / "real.toml").write_text("x = 1\n", encoding="utf-8")
    (folder / "vol.toml").symlink_to("real.toml")
    assert gammawall(*VOLATILITY, "--out", "vol.toml").exit_code == 2
    assert gammawall(*VOLATILITY, "--out", "vol.toml", "--overwrite").exit_code == 0
    assert (folder / "vol.toml").is_symlink()
    assert read_fragment(folder / "real.toml").fit["kind"] == "volatility"
    (folder / "lost.toml").symlink_to("nowhere.toml")
    os.mkfifo(folder / "pipe.toml")
    for name, why in (("lost.toml", "is a link that leads nowhere"), ("pipe.toml", "is a pipe or a device")):
        for options in ((), ("--overwrite",)):
            done = gammawall(*VOLATILITY, "--out", name, *options)
            assert done.exit_code == 2
            assert why in done.output
    assert (folder / "lost.toml").is_symlink()
    assert (folder / "pipe.toml").is_fifo()


def test_an_impact_below_zero_gives_no_fragment(folder: Path) -> None:
    write_impact_files(folder, -0.05)
    done = gammawall(*IMPACT, "--out", "impact.toml")
    assert done.exit_code == 1
    assert "is negative" in done.output
    assert not (folder / "impact.toml").exists()


def test_a_fragment_that_cannot_be_written_is_printed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sim.scenario.fragments.replace_file", full)
    done = gammawall(*VOLATILITY, "--out", "vol.toml")
    assert done.exit_code == 1
    assert "No space left" in done.output
    assert "# GJR-GARCH" in done.stdout
    assert not (folder / "vol.toml").exists()
