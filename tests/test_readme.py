"""The README's walk from a downloaded chain to odds, run as it is written there."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from support.cli_runner import gammawall
from support.places import MARKET_DATA, ROOT

README = ROOT / "README.md"
REAL = MARKET_DATA
FILES = {
    "chain.csv": "chain/cboe_spx_2025-09-03_pt-BR.csv",
    "spx.csv": "daily/spx_ohlcv_2005_to_2026-02-10.csv",
    "dix.csv": "daily/squeezemetrics_dix_to_2026-02-10.csv",
    "vix.csv": "daily/vix_ohlc_1990_to_2026-02-10.csv",
}


def walk() -> list[list[str]]:
    """Commands of the first block of the section on chains, without the program's name."""
    section = README.read_text(encoding="utf-8").partition("## Real option chains")[2]
    block = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return [shlex.split(line)[1:] for line in block[1].splitlines()]


def test_the_walk_has_four_commands() -> None:
    commands = walk()
    assert [command[0] for command in commands] == ["book", "fit", "fit", "run"]
    assert {name for command in commands for name in command if name.endswith(".csv")} == set(FILES)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real market data are not at {REAL}")
def test_the_walk_leads_to_odds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, source in FILES.items():
        shutil.copyfile(REAL / source, tmp_path / name)
    for command in walk():
        # fewer paths than the README's million: what is tested is that each command takes what the last one gave
        done = gammawall(*command, *(["--paths", "20000"] if command[0] == "run" else []))
        assert done.exit_code == 0, done.output
    assert "comes first on" in done.stdout
    assert "another one than" not in done.output  # the book is scaled to what the impact was fitted to
    readme = README.read_text(encoding="utf-8")
    levels = gammawall(*walk()[0], "--no-save").stdout
    for figure in ("+20.92 $bn", "6,413.47", "+15.70", "-15.13", "17,644 used"):
        assert figure in levels
        assert figure in readme
