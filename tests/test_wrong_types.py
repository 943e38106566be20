"""Arguments of a wrong type: one clear error each, which says what was expected and how to write it."""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pydantic
import pytest
from support.places import ROOT
from support.sample_batch import batch_of
from support.sample_chain import quotedata_csv

import sim
from sim.errors import InputError

# Whatever the signatures say.
door: Any = sim

SIEGE = "siege-of-7000"
START = dt.date(2026, 2, 10)
FRAME = pd.DataFrame({"close": [1.0]})
# what was called, and the one message
WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "overrides, a text": (
        lambda: door.load_scenario(SIEGE, "a.b=1"),
        'overrides = "a.b=1" (a mapping of keys to values or a list of "key=value" texts is expected, not a str). '
        'Try ["a.b=1"].',
    ),
    "overrides, a key alone": (lambda: door.load_scenario(SIEGE, "a.b"), 'Try {"market.spot": 6900}.'),
    "overrides, nested": (
        lambda: door.load_scenario(SIEGE, {"dealers": {"impact_bp_per_bn": 1}}),
        "overrides: dealers = { impact_bp_per_bn = 1 } (is a whole table, and one key after the other is expected). "
        'Try {"dealers.impact_bp_per_bn": 1}.',
    ),
    "overrides, a number": (
        lambda: door.load_scenario(SIEGE, 5),
        "overrides = 5 (a mapping of keys to values",
    ),
    "overrides, none": (lambda: door.load_scenario(SIEGE, None), "texts is expected, not None)"),
    "overrides, numbers": (
        lambda: door.load_scenario(SIEGE, [5]),
        'overrides[0] = 5 (a text "key=value" is expected',
    ),
    "overrides, key of a number": (
        lambda: door.load_scenario(SIEGE, {5: 1}),
        "overrides: key = 5 (a dotted key",
    ),
    "overrides, a frame": (lambda: door.load_scenario(SIEGE, FRAME), "overrides (a mapping"),
    "a value of no kind": (
        lambda: door.load_scenario(SIEGE, {"market.spot": FRAME}),
        "overrides: market.spot = close 0 1.0 (a number is expected)",
    ),
    "scenario, a number": (
        lambda: door.load_scenario(5),
        "scenario = 5 (a built-in scenario's name or the path of a scenario file is expected, not an int). "
        'Try "no-dealers".',
    ),
    "scenario, bytes": (lambda: door.load_scenario(b"no-dealers"), "file is expected, not a bytes)"),
    "scenario, a scenario": (
        lambda: door.load_scenario(door.load_scenario(SIEGE)),
        "Try scenario.with_changes({",
    ),
    "scenario, a frame": (lambda: door.simulate(FRAME), "scenario (a built-in scenario's name"),
    "simulate, a number": (lambda: door.simulate(7000), "scenario = 7000 (a built-in scenario's name"),
    "simulate, paths": (
        lambda: door.simulate(SIEGE, paths=1e6),
        "paths = 1000000.0 (must be a whole number). ",
    ),
    "simulate, engine": (lambda: door.simulate(SIEGE, engine=5), "engine = 5 (there is no such engine)."),
    "simulate, target_se": (lambda: door.simulate(SIEGE, target_se="x"), 'target_se = "x" (a standard error'),
    "simulate, notes": (
        lambda: door.simulate(SIEGE, notes="mine"),
        'notes = "mine" (a list of texts is expected',
    ),
    "simulate, fragments": (
        lambda: door.simulate(SIEGE, fragments="f.toml"),
        'fragments = "f.toml" (a list of frag',
    ),
    "fragments, paths": (
        lambda: door.load_scenario(SIEGE, (), [Path("f.toml")]),
        'fragments[0] (a Fragment is expected, not a PosixPath). Try [read_fragment("fit.toml")]',
    ),
    "trace, path": (
        lambda: door.trace_path(SIEGE, "3"),
        'path = "3" (a whole number is expected, not a str)',
    ),
    "trace, scenario": (lambda: door.trace_path(3, 3), "scenario = 3 (a built-in scenario's name"),
    "checks": (lambda: door.run_checks(None), "scenario (a built-in scenario's name"),
    "hash": (
        lambda: door.scenario_hash(SIEGE),
        'scenario = "siege-of-7000" (a Scenario is expected, not a str)',
    ),
    "toml": (lambda: door.scenario_to_toml({}), "scenario = {  } (a Scenario is expected, not a dict)"),
    "mapping": (
        lambda: door.scenario_from_mapping(SIEGE, "x"),
        "a mapping of a scenario's tables is expected, not a",
    ),
    "mapping, where": (
        lambda: door.scenario_from_mapping({}, 5),
        "where = 5 (what problems name as their place",
    ),
    "changes, a text": (
        lambda: door.load_scenario(SIEGE).with_changes("market.spot=6900"),
        'changes = "market.spot=6900" (a mapping of keys',
    ),
    "changes, nested": (
        lambda: door.load_scenario(SIEGE).with_changes({"jumps": {"per_year": 1}}),
        "changes: jumps = { per_year = 1 } (is a whole table, and one key after the other is expected). "
        'Try {"jumps.per_year": 1}.',
    ),
    "batch": (
        lambda: door.load_batch(5),
        "batch = 5 (a built-in batch's name or the path of a batch file is expected",
    ),
    "batch, a batch": (lambda: door.load_batch(batch_of()), "Try simulate_batch(batch)."),
    "batch, base": (
        lambda: door.load_batch("story", base=5),
        "base = 5 (a Scenario, a built-in scenario's name",
    ),
    "batch, overrides": (
        lambda: door.load_batch("story", overrides="a=1"),
        'overrides = "a=1" (a mapping of keys',
    ),
    "batch, paths": (
        lambda: door.load_batch("story", paths=1e5),
        "paths = 100000.0 (a whole number is expected)",
    ),
    "simulate_batch": (lambda: door.simulate_batch(5), "batch = 5 (a built-in batch's name"),
    "simulate_batch, a scenario": (
        lambda: door.simulate_batch(door.load_scenario(SIEGE)),
        "batch (a built-in batch's",
    ),
    "simulate_batch, out": (
        lambda: door.simulate_batch("story", 5),
        "out = 5 (the path of a folder is expected",
    ),
    "simulate_batch, cases": (
        lambda: door.simulate_batch(batch_of(), cases="base"),
        'cases = "base" (a list of a batch',
    ),
    "simulate_batch, names": (
        lambda: door.simulate_batch(batch_of(), cases=["base"]),
        'cases[0] = "base" (a Case is',
    ),
    "merge": (
        lambda: door.merge_folders("results", "whole"),
        'folders = "results" (a list of folders is expected',
    ),
    "merge, numbers": (
        lambda: door.merge_folders([1], "whole"),
        "folders[0] = 1 (the path of a folder is expected",
    ),
    "merge, nothing": (lambda: door.merge_folders([], "whole"), "folders = [] (there is none to join)."),
    "merge, out": (
        lambda: door.merge_folders(["x"], 5),
        "out = 5 (the path of a folder is expected, not an int)",
    ),
    "chain, a frame": (
        lambda: door.read_chain(FRAME),
        'path (the path of an option chain\'s file is expected, not a DataFrame). Try "chain.csv".',
    ),
    "chain, a number": (
        lambda: door.read_chain(1.5),
        "path = 1.5 (the path of an option chain's file is expected",
    ),
    "chain, as_of": (
        lambda: door.read_chain("c.csv", as_of="2025-09-03"),
        'as_of = "2025-09-03" (a time with its zone',
    ),
    "chain, spot": (
        lambda: door.read_chain("c.csv", spot="6448"),
        'spot = "6448" (a price of the index is expected',
    ),
    "book": (
        lambda: door.book_of_chain("chain.csv"),
        'chain = "chain.csv" (an OptionChain is expected, not a str). Try re',
    ),
    "levels": (
        lambda: door.find_gamma_levels("chain.csv"),
        'book = "chain.csv" (a ChainBook is expected, not a str)',
    ),
    "scenario of a chain": (
        lambda: door.scenario_of_chain("chain.csv"),
        'book = "chain.csv" (a ChainBook is expected',
    ),
    "fragment": (
        lambda: door.read_fragment(5),
        "source = 5 (the path of a fragment's file is expected, not an int)",
    ),
    "volatility": (
        lambda: door.fit_volatility(5),
        "prices = 5 (a path or a DataFrame, a table of days is expected",
    ),
    "intraday": (
        lambda: door.fit_intraday(5),
        "bars = 5 (a path or a DataFrame, a file of minute bars is expected",
    ),
    "impact": (
        lambda: door.fit_impact(5, "x", "y"),
        "gex = 5 (a path or a DataFrame, a table of days is expected",
    ),
    "minute bars": (
        lambda: door.read_minute_bars(None),
        "bars (a path or a DataFrame, a file of minute bars is",
    ),
    "horizon, until": (
        lambda: door.Horizon("2025-09-10"),
        'until = "2025-09-10" (a date is expected, not a str). Try un',
    ),
    "horizon, a time": (
        lambda: door.Horizon(dt.datetime(2025, 9, 10, 16)),
        "until = 2025-09-10T16:00:00 (a date without a time of day is expected). Try its .date().",
    ),
    "horizon, upper": (
        lambda: door.Horizon(upper="7100"),
        'upper = "7100" (a level in index points is expected',
    ),
    "horizon, lower": (
        lambda: door.Horizon(lower=True),
        "lower = true (a level in index points is expected, not a bool",
    ),
    "group, name": (
        lambda: door.StrikeGroup(5, 1, 2),
        "name = 5 (the name of a group is expected, not an int)",
    ),
    "group, bad name": (lambda: door.StrikeGroup("5", 1, 2), 'name = "5" (must begin with a letter'),
    "group, low": (
        lambda: door.StrikeGroup("wall", "6990", 7010),
        'low = "6990" (a strike is expected, not a str)',
    ),
    "group, upside down": (
        lambda: door.StrikeGroup("wall", 7010, 6990),
        "low, high = 7010, 6990 (strikes ascend: low",
    ),
    "rules, sign": (lambda: door.BookRules(sign=1), "sign = 1 (a sign is expected, not an int)"),
    "rules, no such sign": (
        lambda: door.BookRules("long"),
        'sign = "long" (there is no such sign). Try one of naive, all-long, all-short, custom.',
    ),
    "rules, calls": (
        lambda: door.BookRules("custom", "1", 0),
        'calls = "1" (a share, a number is expected, not a str)',
    ),
    "rules, contradiction": (
        lambda: door.BookRules("all-long", 1, -1),
        'puts = -1 (the all-long sign has a share of +1). Try sign="custom".',
    ),
    "rules, custom": (
        lambda: door.BookRules("custom", 0.5),
        "puts (the custom sign needs dealers' shares of both)",
    ),
    "rules, net_matched": (
        lambda: door.BookRules(net_matched="no"),
        'net_matched = "no" (True or False is expected',
    ),
    "rules, scale": (
        lambda: door.BookRules(scale_to_gex="6.7"),
        'scale_to_gex = "6.7" ($bn per 1% move, a number is ex',
    ),
    "rules, carry": (
        lambda: door.BookRules(carry=True),
        "carry = true (a rate, a number is expected, not a bool)",
    ),
    "rules, groups": (
        lambda: door.BookRules(groups="wall=1:2"),
        'groups = "wall=1:2" (a tuple of groups of strikes is',
    ),
    "rules, group": (
        lambda: door.BookRules(groups=("wall=1:2",)),
        'groups[0] = "wall=1:2" (a StrikeGroup is expected',
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_argument_of_a_wrong_type_gets_one_clear_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt, expected = WRONG[name]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as refused:
        attempt()
    assert len(refused.value.problems) == 1
    assert expected in str(refused.value)
    assert str(refused.value).isprintable()
    assert refused.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments_of_a_chains_scenario(tmp_path: Path) -> None:
    (tmp_path / "chain.csv").write_text(quotedata_csv(), encoding="utf-8")
    book = door.book_of_chain(door.read_chain(tmp_path / "chain.csv"))
    wrong: list[tuple[Callable[[], object], str]] = [
        (
            lambda: door.book_of_chain(book.chain, "naive"),
            'rules = "naive" (BookRules is expected, not a str)',
        ),
        (
            lambda: door.scenario_of_chain(book, dt.date(2025, 9, 10)),
            "horizon = 2025-09-10 (a Horizon is expected",
        ),
        (lambda: door.scenario_of_chain(book, levels=5), "levels = 5 (GammaLevels is expected, not an int)"),
        (lambda: door.scenario_of_chain(book, overrides="a=1"), 'overrides = "a=1" (a mapping of keys'),
        (lambda: door.scenario_of_chain(book, fragments="x"), 'fragments = "x" (a list of fragments'),
        (lambda: door.find_gamma_levels(book, "wide"), 'spot_range = "wide" (a share of spot is expected'),
        (lambda: door.find_gamma_levels(book, 2), "spot_range = 2 (must lie between 0.0001 and 1)"),
    ]
    for attempt, expected in wrong:
        with pytest.raises(InputError) as refused:
            attempt()
        assert expected in str(refused.value)


@pytest.mark.parametrize(
    "values",
    [
        {"as_of": START},
        {"as_of": START, "spot": -1.0},
        {"as_of": "x", "spot": 1.0},
        {"as_of": START, "spot": 1.0, "x": 1},
    ],
    ids=["missing", "range", "type", "unknown"],
)
def test_a_class_of_the_model_called_directly_raises_pydantics_error(values: dict[str, Any]) -> None:
    """The one exception, and the package's text and the README say so; through a mapping it is an InputError."""
    with pytest.raises(pydantic.ValidationError):
        door.Market(**values)
    data = tomllib.loads(door.scenario_to_toml(door.load_scenario(SIEGE)))
    with pytest.raises(InputError):
        door.scenario_from_mapping(data | {"market": values}, "mine.toml")
    for text in (door.__doc__ or "", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert "`pydantic.ValidationError`" in text


def test_shares_of_a_sign() -> None:
    assert door.BookRules().shares == (1.0, -1.0)
    assert door.BookRules("all-long").shares == (1.0, 1.0)
    assert door.BookRules("all-short").shares == (-1.0, -1.0)
    assert door.BookRules("custom", 0.7, -0.4).shares == (0.7, -0.4)
    assert door.BookRules("naive", 1, -1) == door.BookRules()
    assert door.BookRules(groups=[door.StrikeGroup("wall", 1, 2)]).groups == (door.StrikeGroup("wall", 1, 2),)
