"""The picture of a book is the same whatever matplotlib's settings here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.places import TESTS

PICTURE = """
import hashlib, os, sys
sys.path.insert(0, {tests!r})
from support.sample_chain import QUOTED, SPOT, many_listings, quotedata_csv
from sim import book_of_chain, find_gamma_levels, read_chain
from sim.report.pictures import gamma_picture
open("chain.csv", "w").write(quotedata_csv(listings=many_listings(QUOTED, SPOT, 2, 20)).replace("S&P 500", {title!r}))
book = book_of_chain(read_chain("chain.csv"))
levels = find_gamma_levels(book)
for environment in {environments!r}:
    os.environ.update(environment)
    print(hashlib.sha256(gamma_picture(book, levels)).hexdigest())
    assert os.environ.get("MPLBACKEND") == environment.get("MPLBACKEND"), environment
"""
BROKEN = (
    "font.size: banana\nnonsense nonsense\nlines.linewidth: 40\nfigure.facecolor: red\nbackend: nonsense\n"
)


def pictures(folder: Path, *environments: dict[str, str], title: str = "S&P 500") -> list[str]:
    """Digests of the picture in environments, the first of which holds from the start."""
    folder.mkdir()
    program = PICTURE.format(tests=str(TESTS), environments=list(environments), title=title)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, **environments[0]},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.split()


def test_settings_of_matplotlib_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text(BROKEN)
    plain = pictures(tmp_path / "a", {})
    assert len(plain) == 1
    found = pictures(
        tmp_path / "b",
        {"MPLBACKEND": "nonsense", "MATPLOTLIBRC": str(tmp_path), "MPLCONFIGDIR": "/dev/null/nowhere"},
        {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        {"MPLBACKEND": "TkAgg"},
    )
    assert found == plain * 3


@pytest.mark.parametrize("title", ["$\\frac{$ \x1b[31m \u202e"])
def test_a_title_is_no_formula(tmp_path: Path, title: str) -> None:
    assert len(pictures(tmp_path / "a", {}, title=title)) == 1
