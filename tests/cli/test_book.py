from __future__ import annotations

import json
import struct
from pathlib import Path

import pandas as pd
import pytest
from support.cli_runner import gammawall, stand_in_for_simulate
from support.places import MARKET_DATA
from support.sample_chain import QUOTED, SPOT, delayed_quotes_json, many_listings, quotedata_csv

from sim.book.file import read_book
from sim.chain.files import FORMATS
from sim.cli.chain_options import CHAIN_FORMATS
from sim.scenario.file import load_scenario, scenario_hash

FILES = {
    "book.csv",
    "levels.csv",
    "gex_by_strike.csv",
    "gex_by_expiry.csv",
    "gamma_profile.csv",
    "gamma.png",
    "scenario.toml",
    "manifest.json",
}
REAL = MARKET_DATA / "chain"


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "chain.csv"
    path.write_text(quotedata_csv(listings=many_listings(QUOTED, SPOT, 12, 60)), encoding="utf-8")
    return path


def told(*arguments: str) -> dict[str, object]:
    done = gammawall(*arguments, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert isinstance(document, dict)
    return document


def test_a_book_is_printed_and_filed(chain: Path) -> None:
    done = gammawall("book", str(chain))
    assert done.exit_code == 0, done.output
    for part in (
        "S&P 500 INDEX: 6,450.00, quoted 2025-09-03 16:18 New York",
        "naive sign",
        "call wall",
        "put wall",
    ):
        assert part in done.stdout
    assert "zero gamma" in done.stdout
    assert "Whose side dealers are on is an assumption" in done.stdout
    folder = Path("results/book-chain")
    assert {entry.name for entry in folder.iterdir()} == FILES
    levels = pd.read_csv(folder / "levels.csv")
    assert levels.columns.tolist() == ["level", "price", "gex_bn", "note"]
    assert set(levels["level"]) == {"spot", "gross", "call_wall", "put_wall", "zero_gamma"}
    strikes = pd.read_csv(folder / "gex_by_strike.csv")
    assert strikes["net_gex_bn"].sum() == pytest.approx(levels["gex_bn"].iloc[0])
    assert len(pd.read_csv(folder / "gamma_profile.csv")) == 1001
    assert len(pd.read_csv(folder / "gex_by_expiry.csv")) == 12


def test_the_book_and_its_scenario_can_be_run_as_they_are(chain: Path) -> None:
    assert gammawall("book", str(chain), "--quiet").stdout == "results/book-chain\n"
    rows = read_book(Path("results/book-chain/book.csv"), "book.csv")
    scenario = load_scenario("results/book-chain/scenario.toml")
    assert scenario.dealers.book == rows
    manifest = json.loads(Path("results/book-chain/manifest.json").read_text(encoding="utf-8"))
    assert manifest["format"] == "gammawall-book/1"
    assert manifest["book_sha256"] == rows.digest
    assert manifest["options"]["total"] == manifest["options"]["used"] + sum(
        manifest["options"]["dropped"].values()
    )
    done = gammawall("run", "results/book-chain/scenario.toml", "--paths", "2000", "--no-save", "--json")
    assert done.exit_code == 0, done.output
    again = gammawall("run", "--chain", str(chain), "--paths", "2000", "--no-save", "--json")
    assert json.loads(again.stdout)["odds"] == json.loads(done.stdout)["odds"]


def test_both_formats_make_the_same_book(chain: Path) -> None:
    quotes = delayed_quotes_json(listings=many_listings(QUOTED, SPOT, 12, 60))
    Path("quotes.json").write_text(quotes, encoding="utf-8")
    documents = [told("book", name, "--no-save") for name in (str(chain), "quotes.json")]
    assert documents[0]["book_sha256"] == documents[1]["book_sha256"]
    assert documents[0]["levels"] == documents[1]["levels"]


def test_parquet_holds_the_same_book(chain: Path) -> None:
    gammawall("book", str(chain), "--quiet")
    done = gammawall("book", str(chain), "--parquet", "--out", "columns")
    assert done.exit_code == 0, done.output
    found = read_book(Path("columns/book.parquet"), "book.parquet")
    assert found == read_book(Path("results/book-chain/book.csv"), "book.csv")
    assert load_scenario("columns/scenario.toml").dealers.book == found
    assert not Path("columns/book.csv").exists()


def test_signs_are_said_and_change_the_book(chain: Path) -> None:
    naive, short = (told("book", str(chain), "--no-save", *more) for more in ([], ["--sign", "all-short"]))
    assert naive["rules"]["sign"] == "naive"  # type: ignore[index]
    assert short["levels"]["net_gex_bn"] == -short["levels"]["gross_gex_bn"]  # type: ignore[index]
    assert short["levels"]["zero_gamma"] is None  # type: ignore[index]
    own = told("book", str(chain), "--no-save", "--shares", "puts=-0.5, calls=0.25", "--scale-to-gex", "-5")
    assert own["rules"]["shares"] == {"calls": 0.25, "puts": -0.5}  # type: ignore[index]
    assert own["levels"]["net_gex_bn"] == pytest.approx(-5)  # type: ignore[index]
    done = gammawall("book", str(chain), "--no-save", "--sign", "all-short")
    assert "none" in done.stdout
    assert "all-short sign: dealers hold -1 of the calls and -1 of the puts" in done.stdout


def test_verbose_shows_three_ways_and_every_expiry(chain: Path) -> None:
    done = gammawall("book", str(chain), "--no-save", "--verbose", "--sign", "all-long")
    for part in (
        "file's own",
        "zero carry",
        "carry (used)",
        "naive sign, all open interest",
        "as signed here",
        "parity",
    ):
        assert part in done.stdout
    assert done.stdout.count("2025-09-0") >= 8


def test_overrides_of_time_spot_and_carry(chain: Path) -> None:
    plain = told("book", str(chain), "--no-save")
    other = told(
        "book", str(chain), "--no-save", "--as-of", "2025-09-04 12:00", "--spot", "6480", "--carry", "0.01"
    )
    assert plain["chain"]["quoted"] == "2025-09-03T16:18:00-04:00"  # type: ignore[index]
    assert other["chain"] == {
        "file": "chain.csv",
        "title": "S&P 500 INDEX",
        "spot": 6480.0,
        "quoted": "2025-09-04T12:00:00-04:00",
    }
    assert {row["carry"] for row in other["carries"]} == {0.01}  # type: ignore[attr-defined]


def test_groups_of_strikes_are_in_the_book(chain: Path) -> None:
    gammawall("book", str(chain), "--group", "wall=6490:6510", "--out", "grouped", "--quiet")
    rows = read_book(Path("grouped/book.csv"), "book.csv")
    assert set(rows.groups) == {"calls", "puts", "wall"}


def test_a_book_is_not_overwritten_unawares(chain: Path) -> None:
    assert gammawall("book", str(chain), "--out", "own", "--quiet").exit_code == 0
    refused = gammawall("book", str(chain), "--out", "own")
    assert refused.exit_code == 2
    assert "--overwrite" in refused.output
    assert gammawall("book", str(chain), "--out", "own", "--overwrite", "--quiet").exit_code == 0
    # A run's folder is no book's.
    Path("run").mkdir()
    Path("run/manifest.json").write_text('{"format": "gammawall-results/1"}', encoding="utf-8")
    assert gammawall("book", str(chain), "--out", "run", "--overwrite").exit_code == 2
    # Without a name of its own, the next free one is taken.
    assert gammawall("book", str(chain), "--quiet").stdout == "results/book-chain\n"
    assert gammawall("book", str(chain), "--quiet").stdout == "results/book-chain-2\n"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["none.csv"], "no such file"),
        (["."], "is a directory"),
        (["chain.csv", "--sign", "mine"], "--sign"),
        (["chain.csv", "--sign", "custom"], "needs --shares"),
        (["chain.csv", "--sign", "naive", "--shares", "calls=1,puts=1"], "is for --sign custom"),
        (["chain.csv", "--shares", "calls=2,puts=1"], "lies between -1"),
        (["chain.csv", "--shares", "all=1"], "is no pair of shares"),
        (["chain.csv", "--as-of", "yesterday"], "--as-of"),
        (["chain.csv", "--as-of", "2025-09-06"], "--as-of"),
        (["chain.csv", "--spot", "-1"], "--spot"),
        (["chain.csv", "--carry", "3"], "--carry"),
        (["chain.csv", "--scale-to-gex", "0"], "--scale-to-gex"),
        (["chain.csv", "--group", "wall"], "--group"),
        (["chain.csv", "--range", "2"], "--range"),
        (["chain.csv", "--no-save", "--parquet"], "--no-save contradicts"),
        (["chain.csv", "--as-of", "2026-09-03"], "no option is left"),
    ],
)
def test_bad_usage_and_bad_input_exit_with_two(arguments: list[str], why: str, chain: Path) -> None:
    done = gammawall("book", *arguments)
    assert done.exit_code == 2, done.output
    assert why in done.output
    assert "Traceback" not in done.output
    assert not Path("results").exists()


def test_the_picture_is_one(chain: Path) -> None:
    gammawall("book", str(chain), "--quiet")
    content = Path("results/book-chain/gamma.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", content[16:24])
    assert width > 1000
    assert height > 900


def test_without_matplotlib_there_is_a_book_and_a_word(chain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    done = gammawall("book", str(chain))
    assert done.exit_code == 0
    assert "the picture needs matplotlib" in done.output
    assert {entry.name for entry in Path("results/book-chain").iterdir()} == FILES - {"gamma.png"}


def test_a_chain_is_run_with_what_the_command_line_says(chain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("vol.toml").write_text('[fit]\nkind = "volatility"\n[volatility]\nannual = 0.19\n', encoding="utf-8")
    calls = stand_in_for_simulate(monkeypatch)
    done = gammawall(
        *("run", "--chain", str(chain), "--until", "2025-09-12", "--upper", "6600", "--lower", "6300"),
        *("--with", "vol.toml", "--set", "dealers.impact_bp_per_bn=2", "--sign", "all-long", "--no-save"),
    )
    assert done.exit_code == 0, done.output
    (call,) = calls
    scenario = call["scenario"]
    assert str(scenario.market.until) == "2025-09-12"
    assert (scenario.targets.upper, scenario.targets.lower) == (6600.0, 6300.0)
    assert scenario.volatility.annual == 0.19
    assert scenario.dealers.impact_bp_per_bn == 2.0
    assert (scenario.dealers.book.contracts > 0).all()
    (note,) = scenario.notes
    assert "all-long sign" in note


def test_a_book_is_the_same_in_every_file(chain: Path) -> None:
    """One digest and one scenario hash, whether run from the chain, from CSV or from Parquet."""
    assert gammawall("book", str(chain), "--quiet", "--out", "text").exit_code == 0
    assert gammawall("book", str(chain), "--quiet", "--out", "columns", "--parquet").exit_code == 0
    digest = json.loads(Path("text/manifest.json").read_text(encoding="utf-8"))["book_sha256"]
    written = {
        read_book(Path("text/book.csv"), "book.csv").digest,
        read_book(Path("columns/book.parquet"), "book.parquet").digest,
    }
    assert written == {digest}
    hashes = {scenario_hash(load_scenario(f"{folder}/scenario.toml")) for folder in ("text", "columns")}
    assert len(hashes) == 1


@pytest.mark.parametrize("share", ["nan", "0", "0.95", "inf", "wide"])
def test_a_range_that_is_no_share_of_spot(chain: Path, share: str) -> None:
    done = gammawall("book", str(chain), "--no-save", "--range", share)
    assert done.exit_code == 2
    assert "is no share of spot from 0.01 to 0.9" in done.stderr


def test_a_spot_beside_the_quotes_is_a_warning(chain: Path) -> None:
    spot = f"{SPOT * 1.01:.2f}"
    done = gammawall("book", str(chain), "--spot", spot)
    assert done.exit_code == 0, done.output
    assert "parity of its options puts the index near 6,450" in " ".join(done.stdout.split())
    manifest = json.loads(Path("results/book-chain/manifest.json").read_text(encoding="utf-8"))
    assert "puts the index near 6,45" in manifest["warnings"][0]
    done = gammawall("run", "--chain", str(chain), "--spot", spot, "--paths", "1000", "--out", "own")
    assert "puts the index near 6,45" in " ".join(done.stdout.split())
    done = gammawall("run", "--chain", str(chain), "--spot", f"{SPOT * 1.2:.2f}", "--paths", "1000")
    assert done.exit_code == 2
    assert "Try --spot 6450.00. To ask what if the index moved" in done.stderr


def test_notes_of_a_chain_are_warnings_of_the_run(chain: Path) -> None:
    done = gammawall(
        "run", "--chain", str(chain), "--paths", "1000", "--as-of", "2025-09-05 12:00", "--out", "own"
    )
    assert done.exit_code == 0, done.output
    manifest = json.loads(Path("own/manifest.json").read_text(encoding="utf-8"))
    told = " ".join(manifest["warnings"])
    assert "before the close" in told
    assert "is an assumption" in told
    assert "expire by the start" in told
    assert manifest["scenario"]["dealers"]["book"]["file"] == "chain.csv"
    assert "positions of chain.csv expire" in told
    assert str(chain.parent) not in json.dumps(manifest)


def test_horizon_and_targets_of_a_plain_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stand_in_for_simulate(monkeypatch)
    done = gammawall("run", "--until", "2026-02-20", "--upper", "7200", "--lower", "6700", "--no-save")
    assert done.exit_code == 0, done.output
    scenario = calls[0]["scenario"]
    assert str(scenario.market.until) == "2026-02-20"
    assert (scenario.targets.upper, scenario.targets.lower) == (7200.0, 6700.0)
    refused = gammawall("run", "--upper", "6000", "--no-save")
    assert refused.exit_code == 2
    assert "--upper: targets.upper = 6000.0 (is not above spot" in refused.output


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["siege-of-7000", "--chain", "chain.csv"], "--chain takes the place of SCENARIO"),
        (["--sign", "all-long"], "--sign is about an option chain"),
        (["--net-matched"], "--net-matched is about an option chain"),
        (["--chain", "chain.csv", "--until", "2025-09-06"], "--until"),
        (["--chain", "chain.csv", "--until", "soon"], "--until"),
        (["--chain", "chain.csv", "--upper", "6000"], "--upper"),
        (["--chain", "chain.csv", "--with", "none.toml"], "none.toml"),
        (["--chain", "none.csv"], "no such file"),
    ],
)
def test_what_run_refuses(arguments: list[str], why: str, chain: Path) -> None:
    done = gammawall("run", *arguments, "--no-save")
    assert done.exit_code == 2, done.output
    assert why in done.output


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real option chains are not at {REAL}")
def test_the_real_chain_prints_all_three_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = gammawall("book", str(REAL / "cboe_spx_2025-09-03_pt-BR.csv"), "--verbose", "--no-save")
    assert done.exit_code == 0, done.output
    for figure in ("+22.57", "+12.17", "+20.92"):
        assert figure in done.stdout
    assert "24,112 options: 17,644 used + 5,850 no open interest + 408 expired" in done.stdout


@pytest.mark.parametrize("command", ["book", "run"])
def test_help_names_every_format_of_chains(command: str) -> None:
    assert " or ".join(one.name for one in FORMATS) == CHAIN_FORMATS
    assert CHAIN_FORMATS in " ".join(gammawall(command, "--help").output.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--spot", "-1"], "--spot: -1.0 (is no price above 0). Try --spot 6448.28."),
        (
            ["--scale-to-gex", "1e300"],
            "--scale-to-gex: 1e+300 (makes positions of more than 1e+09 contracts)",
        ),
        (["--scale-to-gex", "-6"], "chain.csv: --scale-to-gex = -6 (the book's own net gamma exposure is"),
        (["--group", "calls=6000:6500"], "--group: calls=6000:6500 (calls is the group of all others)."),
    ],
)
def test_problems_with_arguments_name_the_options(chain: Path, options: list[str], message: str) -> None:
    done = gammawall("book", str(chain), "--no-save", *options)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {message}")


def test_problems_with_a_horizon_name_the_options(chain: Path) -> None:
    done = gammawall("run", "--chain", str(chain), "--until", "2025-09-01", "--no-save")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: --until: 2025-09-01 (is not after the start, the close of ")


def test_what_a_file_lacks_is_asked_for_by_the_options(tmp_path: Path) -> None:
    file = tmp_path / "cut.csv"
    file.write_text(quotedata_csv().split("\n", 3)[3], encoding="utf-8")
    done = gammawall("book", str(file), "--no-save")
    assert done.exit_code == 2
    hints = [line.rpartition("Try ")[2] for line in done.stderr.splitlines()]
    assert hints == ['--as-of "2025-09-03 16:18".', "--spot 6448.28."]
