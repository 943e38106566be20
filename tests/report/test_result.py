"""A result in words: the summary is what the command prints, and the table of a notebook."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from support.cli_runner import gammawall

import sim
from sim.errors import InputError
from sim.run import simulation

SIEGE = "siege-of-7000"
SHORT = {"market.sessions": 3, "volatility.steps_per_session": 2}


@pytest.fixture(scope="module")
def result() -> sim.Result:
    return sim.simulate(SIEGE, paths=2000, seed=3, engine="numpy", threads=1)


@pytest.mark.parametrize("columns", [60, 80, 100, 133])
def test_a_summary_is_what_the_command_prints(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[sim.Result] = []
    simulate = simulation.simulate

    def kept(*args: Any, **how: Any) -> sim.Result:
        made.append(simulate(*args, **how))
        return made[-1]

    monkeypatch.setattr(simulation, "simulate", kept)
    monkeypatch.setenv("COLUMNS", str(columns))
    done = gammawall("run", SIEGE, "--paths", "500", "--engine", "numpy", "--threads", "1", "--no-save")
    assert done.exit_code == 0, done.output
    assert "With dealers hedging, 7,100 comes first" in done.stdout
    printed = io.StringIO()
    print(made[0].summary(columns), file=printed)
    assert printed.getvalue() == done.stdout
    print(made[0].summary(), file=(again := io.StringIO()))
    assert again.getvalue() == done.stdout
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= max(columns, 80)


def test_a_summary_has_no_colours_on_a_terminal_either(
    result: sim.Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b" not in result.summary(80)


def test_a_summarys_width_is_a_number(result: sim.Result) -> None:
    with pytest.raises(InputError, match=r'width = "80" \(a number of columns is expected, not a str\)'):
        result.summary("80")  # type: ignore[arg-type]


def test_a_result_of_a_module_has_a_summary_too() -> None:
    program = """
from sim.run.simulation import simulate
print("comes first on" in simulate("no-dealers", paths=50, engine="numpy", threads=1).summary())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "True\n"


def test_html_is_a_small_table_without_scripts() -> None:
    name = '<script>alert("&")<'
    scenario = sim.load_scenario("no-dealers", SHORT | {"name": name})
    made = sim.simulate(scenario, paths=200, engine="numpy", threads=1, notes=["<b>bold</b> & more"])
    html = made._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;alert(&quot;&amp;&quot;)&lt;" in html
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; more" in html
    assert html.count("<tr>") == 1 + len(made.headline_odds)
    assert set(re.findall(r"</?(\w+)", html)) <= {
        "div",
        "p",
        "b",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    for opening in ("div", "table", "tr", "td", "th", "p"):
        assert len(re.findall(rf"<{opening}[ >]", html)) == html.count(f"</{opening}>")
    assert len(html) < 6000
    first = made.headline_odds.iloc[0]
    assert f'<td style="text-align: left; padding: 0.1em 0.7em">{first["level"]} first</td>' in html
    assert first["with"] in html
    ET.fromstring(html)
