"""Broken scenario files: each is refused with one line per problem that names file and key."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from support.sample_scenario import DELETE, check_lines, refusal, sample

from sim.scenario.file import load_scenario, scenario_from_mapping

NAN, INF = float("nan"), float("inf")
WALL = {"group": "wall", "type": "call", "strike": 7000, "settlement": "AM", "iv": 0.1, "gex_bn": 1.0}


def expiring(day: dt.date) -> dict[str, Any]:
    return {**WALL, "expiry": day}


def regime(name: str, **keys: Any) -> dict[str, Any]:
    keys = {"from" if key == "from_" else key: value for key, value in keys.items()}
    return {"name": name, "when": "closes_above", "level": 7050, **keys}


# id: (edits to the sample, {key refused: words of the reason})
BROKEN: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    # the file as a whole
    "schema missing": ({"schema": DELETE}, {"schema": "missing"}),
    "schema from the future": ({"schema": 2}, {"schema": "schema = 1"}),
    "schema true": ({"schema": True}, {"schema": "schema = 1"}),
    "name missing": ({"name": DELETE}, {"name": "missing"}),
    "name empty": ({"name": ""}, {"name": "empty"}),
    "name blank": ({"name": "  "}, {"name": "empty"}),
    "name with slash": ({"name": "a/b"}, {"name": "path separator"}),
    "name with backslash": ({"name": "a\\b"}, {"name": "path separator"}),
    "name dots": ({"name": ".."}, {"name": "no name of a folder"}),
    "name dot": ({"name": "."}, {"name": "no name of a folder"}),
    "name with newline": ({"name": "a\nb"}, {"name": "control character"}),
    "name with escape": ({"name": "a\x1b[2Jb"}, {"name": "control character"}),
    "name a number": ({"name": 7000}, {"name": "string is expected"}),
    "name too long": ({"name": "x" * 101}, {"name": "too long"}),
    "description a list": ({"description": ["x"]}, {"description": "string is expected"}),
    "unknown table": ({"market2": {"x": 1}}, {"market2": "unknown key"}),
    "misspelt key": ({"market.sopt": 1.0}, {"market.sopt": "unknown key"}),
    "unknown key with line break": ({"a\nb": 1}, {'"a\\nb"': "unknown key"}),
    "python name of from": ({"regime[3].from_": ["initial"]}, {"regime[3].from_": "unknown key"}),
    "python name of schema": ({"schema_version": 1}, {"schema_version": "unknown key"}),
    # levels
    "levels a number": ({"levels": 7000}, {"levels": "list is expected"}),
    "level a string": ({"levels": [6300, "7000"]}, {"levels[1]": "number is expected"}),
    "level zero": ({"levels": [0]}, {"levels[0]": "at least 0.001"}),
    "level negative": ({"levels": [7000, -1]}, {"levels[1]": "at least 0.001"}),
    "level NaN": ({"levels": [NAN]}, {"levels[0]": "finite"}),
    "level equal to spot": ({"levels": [7000, 6941.81]}, {"levels[1]": "equals spot"}),
    "level twice": ({"levels": [7000, 7020, 7000.0]}, {"levels[2]": "repeats levels[0]"}),
    "too many levels": ({"levels": list(range(7101, 7166))}, {"levels": "at most 64"}),
    "too many levels with targets": ({"levels": list(range(7201, 7264))}, {"levels": "at most 64"}),
    # market
    "market missing": ({"market": DELETE}, {"market": "missing"}),
    "market a number": ({"market": 5}, {"market": "table is expected"}),
    "as_of missing": ({"market.as_of": DELETE}, {"market.as_of": "missing"}),
    "as_of a string": ({"market.as_of": "2026-02-10"}, {"market.as_of": "date is expected"}),
    "as_of with time": ({"market.as_of": dt.datetime(2026, 2, 10, 16)}, {"market.as_of": "date is expected"}),
    "as_of a Saturday": ({"market.as_of": dt.date(2026, 2, 7)}, {"market.as_of": "no trading day"}),
    "as_of a holiday": ({"market.as_of": dt.date(2026, 1, 19)}, {"market.as_of": "2026-01-16 or 2026-01-20"}),
    "as_of too early": ({"market.as_of": dt.date(1989, 12, 29)}, {"market.as_of": "at least 1990-01-01"}),
    "until too late": ({"market.until": dt.date(2101, 1, 3)}, {"market.until": "at most 2100-12-31"}),
    "until a Sunday": ({"market.until": dt.date(2026, 3, 22)}, {"market.until": "2026-03-20 or 2026-03-23"}),
    "until the start": (
        {"market.until": dt.date(2026, 2, 10), "catalyst": []},
        {"market.until": "is not after as_of"},
    ),
    "until before the start": (
        {"market.until": dt.date(2025, 2, 8), "catalyst": []},
        {"market.until": "is not after as_of"},
    ),
    "until too far": ({"market.until": dt.date(2040, 1, 3)}, {"market.until": "at most 2520"}),
    "both until and sessions": ({"market.sessions": 20}, {"market.sessions": "until states the horizon"}),
    "neither until nor sessions": ({"market.until": DELETE}, {"market.until": "neither"}),
    "sessions zero": ({"market.until": DELETE, "market.sessions": 0}, {"market.sessions": "at least 1"}),
    "sessions negative": ({"market.until": DELETE, "market.sessions": -3}, {"market.sessions": "at least 1"}),
    "sessions too many": (
        {"market.until": DELETE, "market.sessions": 2521},
        {"market.sessions": "at most 2520"},
    ),
    "sessions huge": (
        {"market.until": DELETE, "market.sessions": 10**40},
        {"market.sessions": "at most 2520"},
    ),
    "sessions a float": (
        {"market.until": DELETE, "market.sessions": 21.0},
        {"market.sessions": "whole number"},
    ),
    "sessions true": ({"market.until": DELETE, "market.sessions": True}, {"market.sessions": "whole number"}),
    "sessions beyond the calendar": (
        {
            "market": {"as_of": dt.date(2100, 12, 1), "spot": 6941.81, "sessions": 50},
            "catalyst": [],
            "dealers.position": [],
            "regime": [],
        },
        {"market.sessions": "sessions are left"},
    ),
    "spot zero": ({"market.spot": 0}, {"market.spot": "at least 0.001"}),
    "spot negative": ({"market.spot": -6941.81}, {"market.spot": "at least 0.001"}),
    "spot NaN": ({"market.spot": NAN}, {"market.spot": "finite"}),
    "spot infinite": ({"market.spot": INF}, {"market.spot": "finite"}),
    "spot a string": ({"market.spot": "6941.81"}, {"market.spot": "number is expected"}),
    "spot true": ({"market.spot": True}, {"market.spot": "number is expected"}),
    "spot beyond floats": ({"market.spot": 10**400}, {"market.spot": "too large"}),
    # volatility and drift
    "volatility missing": ({"volatility": DELETE}, {"volatility": "missing"}),
    "annual zero": ({"volatility.annual": 0.0}, {"volatility.annual": "at least 1e-08"}),
    "annual in percent": ({"volatility.annual": 14.1}, {"volatility.annual": "at most 5"}),
    "quoted misspelt": (
        {"volatility.quoted": "Observed"},
        {"volatility.quoted": "'observed' or 'fundamental'"},
    ),
    "long run zero": ({"volatility.long_run_annual": 0}, {"volatility.long_run_annual": "at least 1e-08"}),
    "alpha negative": ({"volatility.alpha": -0.1}, {"volatility.alpha": "at least 0"}),
    "beta negative": ({"volatility.beta": -0.1}, {"volatility.beta": "at least 0"}),
    "alpha plus gamma negative": ({"volatility.gamma": -0.1}, {"volatility.gamma": "negative"}),
    "variance integrated": (
        {"volatility.alpha": 0.1, "volatility.gamma": 0.0, "volatility.beta": 0.9},
        {"volatility.beta": "not stationary"},
    ),
    "variance explosive": ({"volatility.beta": 0.95}, {"volatility.beta": "not stationary"}),
    "variance explosive by gamma": (
        {"volatility.beta": 0, "volatility.gamma": 2.0},
        {"volatility.gamma": "not stationary"},
    ),
    "long run of a constant variance": (
        {"volatility.alpha": 0, "volatility.gamma": 0, "volatility.beta": 1},
        {"volatility.long_run_annual": "beta = 1"},
    ),
    "tail_dof two": ({"volatility.tail_dof": 2.0}, {"volatility.tail_dof": "greater than 2.05"}),
    "tail_dof infinite": ({"volatility.tail_dof": INF}, {"volatility.tail_dof": "finite"}),
    "overnight share one": (
        {"volatility.overnight_share": 1.0},
        {"volatility.overnight_share": "less than 1"},
    ),
    "overnight share negative": (
        {"volatility.overnight_share": -0.1},
        {"volatility.overnight_share": "at least 0"},
    ),
    "no steps": ({"volatility.steps_per_session": 0}, {"volatility.steps_per_session": "at least 1"}),
    "steps finer than minutes": (
        {"volatility.steps_per_session": 391},
        {"volatility.steps_per_session": "at most 390"},
    ),
    "u shape a number": ({"volatility.u_shape": 5}, {"volatility.u_shape": "table is expected"}),
    "u shape misspelt": ({"volatility.u_shape": {"bas": 1}}, {"volatility.u_shape.bas": "unknown key"}),
    "u shape negative": (
        {"volatility.u_shape": {"base": -0.1, "open": -1, "close": -1}},
        {
            "volatility.u_shape.base": "at least 0",
            "volatility.u_shape.open": "at least 0",
            "volatility.u_shape.close": "at least 0",
        },
    ),
    "u shape without fades": (
        {"volatility.u_shape": {"open_fade": 0, "close_fade": -0.1}},
        {"volatility.u_shape.open_fade": "greater than 0", "volatility.u_shape.close_fade": "greater than 0"},
    ),
    "u shape fading too slowly": (
        {"volatility.u_shape": {"open_fade": 10.1, "close_fade": 1e9}},
        {"volatility.u_shape.open_fade": "at most 10", "volatility.u_shape.close_fade": "at most 10"},
    ),
    "u shape infinite": ({"volatility.u_shape": {"open": INF}}, {"volatility.u_shape.open": "finite"}),
    "u shape a string": (
        {"volatility.u_shape": {"open": "1"}},
        {"volatility.u_shape.open": "number is expected"},
    ),
    "u shape of nothing": (
        {"volatility.u_shape": {"base": 0, "open": 0, "close": 0}},
        {"volatility.u_shape": "no variance to share out"},
    ),
    "u shape of next to nothing": (
        {"volatility.u_shape": {"base": 0, "open": 1, "open_fade": 1e-320, "close": 0}},
        {"volatility.u_shape": "no variance to share out"},
    ),
    "u shape of a flat day": (
        {"volatility.intraday_shape": "flat", "volatility.u_shape": {"base": 1.0}},
        {"volatility.u_shape": 'intraday_shape = "flat"'},
    ),
    "u shape of a flat day and a broken part": (
        {"volatility.intraday_shape": "flat", "volatility.u_shape": {"base": -1.0}},
        {"volatility.u_shape.base": "at least 0", "volatility.u_shape": 'intraday_shape = "flat"'},
    ),
    "u shape beside an unknown shape": (
        {"volatility.intraday_shape": "w", "volatility.u_shape": {"base": 1.0}},
        {"volatility.intraday_shape": "'flat' or 'u'"},
    ),
    "shape unknown": ({"volatility.intraday_shape": "v"}, {"volatility.intraday_shape": "'flat' or 'u'"}),
    "drift in percent": ({"drift.annual": 6}, {"drift.annual": "at most 5"}),
    # jumps and catalysts
    "jumps negative": ({"jumps.per_year": -1}, {"jumps.per_year": "at least 0"}),
    "jumps more than daily": ({"jumps.per_year": 253}, {"jumps.per_year": "at most 252"}),
    "jumps sd negative": ({"jumps.sd": -0.01}, {"jumps.sd": "at least 0"}),
    "single brackets": ({"catalyst": {"name": "CPI"}}, {"catalyst": "list is expected"}),
    "catalyst at the start": (
        {"catalyst[0].session": dt.date(2026, 2, 10)},
        {"catalyst[0].session": "horizon"},
    ),
    "catalyst late": (
        {"catalyst[1].session": dt.date(2026, 3, 23)},
        {"catalyst[1].session": "outside the horizon"},
    ),
    "catalyst a holiday": (
        {"catalyst[0].session": dt.date(2026, 2, 16)},
        {"catalyst[0].session": "no trading day"},
    ),
    "catalysts collide": (
        {"catalyst[1].session": dt.date(2026, 2, 13)},
        {"catalyst[1].session": "catalyst[0]"},
    ),
    "catalyst nameless": ({"catalyst[0].name": ""}, {"catalyst[0].name": "empty"}),
    "no outcomes": ({"catalyst[0].outcomes": []}, {"catalyst[0].outcomes": "at least 1"}),
    "probabilities": ({"catalyst[0].outcomes[0].probability": 0.5}, {"catalyst[0].outcomes": "sum to 0.95"}),
    "probability above one": (
        {"catalyst[1].outcomes[0].probability": 1.5},
        {"catalyst[1].outcomes[0].probability": "at most 1"},
    ),
    "probability negative": (
        {"catalyst[0].outcomes[1].probability": -0.45},
        {"catalyst[0].outcomes[1].probability": "at least 0"},
    ),
    "outcome sd negative": ({"catalyst[0].outcomes[0].sd": -1}, {"catalyst[0].outcomes[0].sd": "at least 0"}),
    "outcome without mean": (
        {"catalyst[0].outcomes[0].mean": DELETE},
        {"catalyst[0].outcomes[0].mean": "missing"},
    ),
    # dealers
    "impact negative": ({"dealers.impact_bp_per_bn": -3.5}, {"dealers.impact_bp_per_bn": "at least 0"}),
    "half life negative": ({"dealers.impact_half_life": -1}, {"dealers.impact_half_life": "at least 0"}),
    "floor above one": ({"dealers.m_floor": 1.5}, {"dealers.m_floor": "at most 1"}),
    "floor tiny": ({"dealers.m_floor": 0.01}, {"dealers.m_floor": "more than 20-fold"}),
    "floor negative": ({"dealers.m_floor": -0.2}, {"dealers.m_floor": "at least 0"}),
    "strike zero": ({"dealers.position[2].strike": 0}, {"dealers.position[2].strike": "at least 0.001"}),
    "strike a string": (
        {"dealers.position[2].strike": "6800"},
        {"dealers.position[2].strike": "number is expected"},
    ),
    "iv zero": ({"dealers.position[0].iv": 0.0}, {"dealers.position[0].iv": "at least 0.01"}),
    "iv in percent": ({"dealers.position[0].iv": 11.5}, {"dealers.position[0].iv": "at most 5"}),
    "type unknown": ({"dealers.position[0].type": "Call"}, {"dealers.position[0].type": "'call' or 'put'"}),
    "settlement unknown": (
        {"dealers.position[0].settlement": "am"},
        {"dealers.position[0].settlement": "'AM'"},
    ),
    "group empty": (
        {"dealers.position[3]": {**expiring(dt.date(2026, 3, 20)), "group": ""}},
        {"dealers.position[3].group": "letter"},
    ),
    "group with blank": (
        {"dealers.position[3]": {**expiring(dt.date(2026, 3, 20)), "group": "the wall"}},
        {"dealers.position[3].group": "letter"},
    ),
    "expiry the start": (
        {"dealers.position[3]": expiring(dt.date(2026, 2, 10))},
        {"dealers.position[3].expiry": "at or before the start"},
    ),
    "expiry before the start": (
        {"dealers.position[3]": expiring(dt.date(2026, 1, 16))},
        {"dealers.position[3].expiry": "at or before the start"},
    ),
    "expiry a Saturday": (
        {"dealers.position[3]": expiring(dt.date(2026, 2, 21))},
        {"dealers.position[3].expiry": "2026-02-20 or 2026-02-23"},
    ),
    "expiry a string": ({"dealers.position[0].expiry": "2026-02-20"}, {"dealers.position[0].expiry": "date"}),
    "no size": ({"dealers.position[0].gex_bn": DELETE}, {"dealers.position[0].gex_bn": "neither"}),
    "two sizes": ({"dealers.position[0].contracts": 5}, {"dealers.position[0].contracts": "gex_bn states"}),
    "size infinite": ({"dealers.position[0].gex_bn": -INF}, {"dealers.position[0].gex_bn": "finite"}),
    "carry too large": ({"dealers.position[0].carry": 1.1}, {"dealers.position[0].carry": "at most 1"}),
    "too many positions": (
        {"dealers.position": [expiring(dt.date(2026, 3, 20))] * 2001},
        {"dealers.position": "at most 2000"},
    ),
    # regimes
    "regime nameless": (
        {"regime[0].name": DELETE, "regime[3].from": ["initial"]},
        {"regime[0].name": "missing"},
    ),
    "regime called initial": (
        {"regime[0].name": "initial", "regime[3].from": DELETE},
        {"regime[0].name": "every path starts in"},
    ),
    "regime twice": ({"regime[5]": regime("breakout")}, {"regime[5].name": "repeats regime[0]"}),
    "trigger unknown": ({"regime[0].when": "above"}, {"regime[0].when": "'closes_above'"}),
    "no level": ({"regime[0].level": DELETE}, {"regime[0].level": "needs a level"}),
    "level of never": ({"regime[2].level": 7000}, {"regime[2].level": "has no level"}),
    "from of never": ({"regime[2].from": ["melt_up"]}, {"regime[2].from": "has no effect"}),
    "touches_above below spot": ({"regime[1].level": 6900}, {"regime[1].level": "above spot"}),
    "touches_above at spot": ({"regime[1].level": 6941.81}, {"regime[1].level": "above spot"}),
    "touches_below above spot": ({"regime[4].level": 7000}, {"regime[4].level": "below spot"}),
    "closes zero": ({"regime[0].closes": 0}, {"regime[0].closes": "at least 1"}),
    "closes of a touch": ({"regime[1].closes": 2}, {"regime[1].closes": "counts no closes"}),
    "closes of never": ({"regime[2].closes": 2}, {"regime[2].closes": "counts no closes"}),
    "from nobody": ({"regime[3].from": []}, {"regime[3].from": "never be entered"}),
    "from itself": ({"regime[3].from": ["support_lost"]}, {"regime[3].from[0]": "from itself"}),
    "from unknown": ({"regime[3].from": ["initial", "slide"]}, {"regime[3].from[1]": "no regime"}),
    "from twice": ({"regime[3].from": ["initial", "initial"]}, {"regime[3].from[1]": "twice"}),
    "from a string": ({"regime[3].from": "initial"}, {"regime[3].from": "list is expected"}),
    "from each other": (
        {"regime[5]": regime("a", from_=["b"]), "regime[6]": regime("b", from_=["a"])},
        {"regime[5].from": "never be entered"},
    ),
    "weight of no group": ({"regime[0].weights.walls": 0.5}, {"regime[0].weights.walls": "no group"}),
    "weight without a book": (
        {"dealers.position": [], "regime": [regime("breakout", weights={"wall": 0.5})]},
        {"regime[0].weights.wall": "no positions"},
    ),
    "weight NaN": ({"regime[0].weights.wall": NAN}, {"regime[0].weights.wall": "finite"}),
    "weight a string": ({"regime[0].weights.wall": "0.5"}, {"regime[0].weights.wall": "number is expected"}),
    "weights a number": ({"regime[0].weights": 0.5}, {"regime[0].weights": "table is expected"}),
    "flow infinite": ({"regime[1].flow_bn_per_session": INF}, {"regime[1].flow_bn_per_session": "finite"}),
    "lasts zero": ({"regime[1].lasts": 0}, {"regime[1].lasts": "at least 1"}),
    "lasts without then": ({"regime[0].lasts": 5}, {"regime[0].then": "lasts is given"}),
    "then without lasts": ({"regime[1].lasts": DELETE}, {"regime[1].lasts": "then is given"}),
    "then initial": ({"regime[0].lasts": 5, "regime[0].then": "initial"}, {"regime[0].then": "at most once"}),
    "then unknown": ({"regime[0].lasts": 5, "regime[0].then": "slide"}, {"regime[0].then": "no regime"}),
    "then itself": ({"regime[0].lasts": 5, "regime[0].then": "breakout"}, {"regime[0].then": "circle"}),
    "then in a circle": (
        {
            "regime[0].lasts": 2,
            "regime[0].then": "melt_up",
            "regime[2].lasts": 2,
            "regime[2].then": "breakout",
        },
        {"regime[0].then": "breakout -> melt_up -> wall_gone -> breakout"},
    ),
    "never entered": (
        {"regime[5]": {"name": "lost", "when": "never"}},
        {"regime[5].when": "never be entered"},
    ),
    "too many regimes": ({"regime": [regime(f"r{i}") for i in range(33)]}, {"regime": "at most 31"}),
    # targets
    "targets missing": ({"targets": DELETE}, {"targets": "missing"}),
    "upper missing": ({"targets.upper": DELETE}, {"targets.upper": "missing"}),
    "upper below spot": ({"targets.upper": 6900}, {"targets.upper": "not above spot"}),
    "upper at spot": ({"targets.upper": 6941.81}, {"targets.upper": "not above spot"}),
    "lower above spot": ({"targets.lower": 7000}, {"targets.lower": "not below spot"}),
    "lower negative": ({"targets.lower": -6800}, {"targets.lower": "at least 0.001"}),
}


def test_sample_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "sample.toml"
    path.write_text(tomli_w.dumps(sample()), encoding="utf-8")
    assert load_scenario(path) == scenario_from_mapping(sample(), "sample")


@pytest.mark.parametrize("case", BROKEN)
def test_broken_scenario(case: str, tmp_path: Path) -> None:
    edits, expected = BROKEN[case]
    path = tmp_path / "broken.toml"
    path.write_text(tomli_w.dumps(sample(edits)), encoding="utf-8")
    error = refusal(lambda: load_scenario(path))
    assert [problem.key for problem in error.problems] == list(expected)
    for problem, why in zip(error.problems, expected.values(), strict=True):
        assert problem.where == str(path)
        assert why in f"{problem.why} {problem.hint}"
        assert problem.hint
    check_lines(error, str(path))


# id: (content, words of the reason, what follows the file's name)
UNREADABLE: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "is empty", ""),
    "only blanks and comments": (b"  \n# nothing\n", "is empty", ""),
    "only a byte order mark": (b"\xef\xbb\xbf", "is empty", ""),
    "not TOML": (b"schema = 1\nname == 'x'\n", "not valid TOML", ", line 2, column 7"),
    "JSON": (b'{"schema": 1}', "not valid TOML", ", line 1, column 1"),
    "cut short": (b'schema = 1\nname = "x', "not valid TOML", ", end of file"),
    "key twice": (b"schema = 1\nschema = 1\n", "not valid TOML", ", line 2, column 11"),
    "table twice": (b"[market]\nspot = 1.0\n[market]\n", "not valid TOML", ", line 3, column 8"),
    "impossible date": (b"[market]\nas_of = 2026-02-30\n", "not valid TOML", ", line 2, column 9"),
    "decimal comma": (b"[market]\nspot = 6.941,81\n", "not valid TOML", ", line 2, column 13"),
    "too many digits": (b"schema = " + b"1" * 5000, "too many digits", ""),
    "nested too deeply": (b"levels = " + b"[" * 20000, "nested too deeply", ""),
    "binary": (b"\x7fELF\x02\x01\x01\0\0\0", "binary", ""),
    "Latin-1": (b"schema = 1\nname = 'caf\xe9'\n", "not UTF-8", ", line 2"),
    "UTF-16": ("schema = 1".encode("utf-16"), "binary", ""),
    "too large": (b"#" * 10_000_001, "larger than 10 MB", ""),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_unreadable_content(case: str, tmp_path: Path) -> None:
    content, why, place = UNREADABLE[case]
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    error = refusal(lambda: load_scenario(str(path)))
    assert [problem.where for problem in error.problems] == [f"{path}{place}"]
    assert why in str(error)
    check_lines(error, str(path))


def test_missing_file(tmp_path: Path) -> None:
    error = refusal(lambda: load_scenario(tmp_path / "none.toml"))
    assert str(error).startswith(f"{tmp_path / 'none.toml'}: no such file.")


def test_directory(tmp_path: Path) -> None:
    error = refusal(lambda: load_scenario(tmp_path))
    assert str(error).startswith(f"{tmp_path}: is a directory")


def test_file_used_as_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    error = refusal(lambda: load_scenario(tmp_path / "file" / "x.toml"))
    assert str(error).startswith(f"{tmp_path / 'file' / 'x.toml'}: cannot be read: Not a directory")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything"
)
def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "secret.toml"
    path.write_text("schema = 1")
    path.chmod(0)
    assert str(refusal(lambda: load_scenario(path))).startswith(f"{path}: may not be read")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", forbidden)
    assert "may not be read" in str(refusal(lambda: load_scenario(tmp_path / "secret.toml")))


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero on this system")
def test_endless_file() -> None:
    assert str(refusal(lambda: load_scenario("/dev/zero"))).startswith(
        "/dev/zero: is a device, not a scenario file"
    )


@pytest.mark.parametrize("name", ["a\0b.toml", "x" * 5000 + ".toml", "line\nbreak.toml"])
def test_impossible_path(name: str) -> None:
    error = refusal(lambda: load_scenario(name))
    assert len(error.problems) == 1
    assert str(error).isprintable()


def test_every_problem_at_once(tmp_path: Path) -> None:
    """Problems of single keys, across keys and of the calendar, each on its line, none hiding another."""
    edits = {
        "name": 3,
        "levels": [7000, "x", 6941.81],
        "market.sopt": 1,
        "market.until": dt.date(2026, 3, 22),
        "volatility.beta": 0.99,
        "volatility.tail_dof": "fat",
        "catalyst[0].outcomes[0].probability": 0.7,
        "catalyst[1].session": dt.date(2026, 2, 14),
        "dealers.position[0].expiry": dt.date(2026, 2, 10),
        "dealers.position[1].iv": -1,
        "dealers.position[1].gex_bn": 2.0,
        "dealers.position[2].type": "straddle",
        "regime[0].weights.nobody": 1.0,
        "regime[1].then": "nowhere",
        "regime[1].level": 6000,
        "regime[4].lasts": 0,
        "targets.upper": 6000,
    }
    path = tmp_path / "broken.toml"
    path.write_text(tomli_w.dumps(sample(edits)), encoding="utf-8")
    error = refusal(lambda: load_scenario(path))
    assert sorted(problem.key for problem in error.problems) == [
        "catalyst[0].outcomes",
        "catalyst[1].session",
        "dealers.position[0].expiry",
        "dealers.position[1].contracts",
        "dealers.position[1].iv",
        "dealers.position[2].type",
        "levels[1]",
        "levels[2]",
        "market.sopt",
        "market.until",
        "name",
        "regime[0].weights.nobody",
        "regime[1].level",
        "regime[1].then",
        "regime[2].when",
        "regime[4].lasts",
        "regime[4].then",
        "targets.upper",
        "volatility.beta",
        "volatility.tail_dof",
    ]
    check_lines(error, str(path))


def test_broken_key_silences_only_what_depends_on_it() -> None:
    """Without a spot nothing is known about levels and targets, but the positions still are."""
    edits = {"market.spot": "?", "targets.upper": 1.0, "dealers.position[0].expiry": dt.date(2026, 2, 10)}
    error = refusal(lambda: scenario_from_mapping(sample(edits), "x"))
    assert [problem.key for problem in error.problems] == ["market.spot", "dealers.position[0].expiry"]


def test_one_mistake_is_reported_once() -> None:
    """A misspelt group name in the book, or a broken table of regimes, brings no further complaints."""
    for key, value in {"dealers.position[2].group": 5, "regime": "none", "dealers": 7}.items():
        error = refusal(lambda edits={key: value}: scenario_from_mapping(sample(edits), "x"))
        assert [problem.key for problem in error.problems] == [key]
