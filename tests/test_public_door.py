"""The public door: names that are never modules, types that can be imported, and the ways from Python to odds."""

from __future__ import annotations

import ast
import datetime as dt
import inspect
import json
import re
import subprocess
import sys
import textwrap
import tomllib
import types
import typing
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.cli_runner import gammawall
from support.sample_chain import QUOTED, SPOT, many_listings, quotedata_csv

import sim
from sim.errors import InputError

PACKAGE = Path(sim.__file__).parent
NAMES = [name for name in sim.__all__ if name != "__version__"]
FUNCTIONS = [name for name in NAMES if name.islower()]
CLASSES = [name for name in NAMES if not name.islower()]
ROOMS = ["run", "chain", "batch", "fit", "check", "scenario"]
SHORT = {"market.sessions": 3, "volatility.steps_per_session": 2}
HOW: dict[str, Any] = {"paths": 200, "engine": "numpy", "threads": 1}


def test_no_public_name_is_a_modules() -> None:
    files = {path.stem for path in PACKAGE.rglob("*.py")}
    modules = files | {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    assert {*ROOMS, "errors", "simulation", "levels", "scenarios"} <= modules
    assert not set(sim.__all__) & (modules - {"__init__"})


def test_functions_are_verbs_or_say_what_they_return() -> None:
    verbs = ("find_", "fit_", "load_", "merge_", "read_", "run_", "simulate", "trace_", "write_")
    nouns = {
        "book_of_chain",
        "builtin_batches",
        "builtin_scenarios",
        "scenario_from_mapping",
        "scenario_hash",
    }
    nouns |= {"scenario_of_chain", "scenario_to_toml"}
    assert {name for name in FUNCTIONS if not name.startswith(verbs)} == nouns


IMPORTS_ALL = f"from sim import {', '.join(NAMES)}"
MODULES = [
    ".".join(("sim", *path.relative_to(PACKAGE).with_suffix("").parts))
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.stem not in ("__init__", "__main__")
]
ORDERS = {
    "names alone": [IMPORTS_ALL],
    "star": ["from sim import *"],
    "modules first": [*(f"import {module}" for module in MODULES), IMPORTS_ALL],
    "modules afterwards": [IMPORTS_ALL, *(f"import {module}" for module in MODULES)],
    "modules backwards": [*(f"import {module}" for module in reversed(MODULES)), "from sim import *"],
    "rooms by name": [f"from sim import {', '.join(ROOMS)}", IMPORTS_ALL],
    "one by one": [f"from sim import {name}\nimport sim.run.simulation, sim.check.checks" for name in NAMES],
    "by attribute": [
        "import sim, sim.fit.volatility, sim.check",
        *(f"{name} = sim.{name}" for name in NAMES),
    ],
    "dir, then star": ["import sim", "dir(sim)", "import sim.run.simulation", "from sim import *"],
    "members": ["import inspect, sim", "globals().update(inspect.getmembers(sim))"],
}
IS_RIGHT = f"""
import sim, types
for name in {NAMES}:
    for found in (globals()[name], getattr(sim, name)):
        assert callable(found) and not isinstance(found, types.ModuleType), name
        assert found.__name__ == name, (name, found)
print("right")
"""


@pytest.mark.parametrize("order", ORDERS)
def test_names_are_functions_and_classes_in_whatever_order_modules_are_imported(order: str) -> None:
    program = "\n".join([*ORDERS[order], IS_RIGHT])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "right\n", done.stderr


def output_of(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_tells_of_every_name() -> None:
    text = output_of("import sim; help(sim)")
    for name in FUNCTIONS:
        assert re.search(rf"^    {name}\(", text, re.MULTILINE), name
    for name in CLASSES:
        assert re.search(rf"^    class {name}\(", text, re.MULTILINE), name
    assert "An option chain to odds" in text


def test_completion_gives_every_name_and_nothing_else() -> None:
    program = """
import rlcompleter, sim
completer = rlcompleter.Completer({"sim": sim})
found = []
while (match := completer.complete("sim.", len(found))) is not None:
    found.append(match)
print("\\n".join(found))
"""
    found = {line.removeprefix("sim.").partition("(")[0] for line in output_of(program).splitlines()}
    assert found == set(NAMES)


# --- types in signatures


def parts_of(annotation: Any) -> Iterator[type]:
    """Every class in an annotation, those inside others included."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        yield annotation
    for inner in annotation if isinstance(annotation, (list, tuple)) else typing.get_args(annotation):
        yield from parts_of(inner)


def signatures_of(thing: Any) -> Iterator[Callable[..., Any]]:
    """A function, or the public methods and properties that a class of the package has of its own or inherits."""
    if not isinstance(thing, type):
        yield thing
        return
    for owner in thing.__mro__:
        for name, value in vars(owner).items() if owner.__module__.startswith("sim.") else ():
            if name.startswith("_") and name not in ("__init__", "__add__", "__iter__", "__call__"):
                continue
            found = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
            found = found.fget if isinstance(found, property) else found
            found = found.func if isinstance(found, cached_property) else found
            if isinstance(found, types.FunctionType) and found.__module__.startswith("sim."):
                yield found


def hints_of(thing: Any) -> Iterator[tuple[str, Any]]:
    """What every attribute, parameter and result of a public function or class is annotated with."""
    known = {"pd": pd, **{name: getattr(sim, name) for name in NAMES}}
    if isinstance(thing, type):
        yield from (
            (n, h) for n, h in typing.get_type_hints(thing, localns=known).items() if not n.startswith("_")
        )
    for function in signatures_of(thing):
        for name, hint in typing.get_type_hints(function, localns=known).items():
            yield f"{function.__name__}: {name}", hint


@pytest.mark.parametrize("name", NAMES)
def test_every_type_in_a_signature_can_be_imported_from_the_package(name: str) -> None:
    public = [getattr(sim, other) for other in NAMES]
    for where, hint in hints_of(getattr(sim, name)):
        for kind in parts_of(hint):
            assert not kind.__module__.startswith("sim.") or kind in public, f"{name}, {where}: {kind}"


def test_the_walk_over_signatures_sees_what_is_there() -> None:
    # the test above proves nothing if the walk overlooks annotations
    seen = {where: list(parts_of(hint)) for where, hint in hints_of(sim.Result)}
    assert seen["scenario"] == [sim.Scenario]
    assert seen["headline_odds: return"] == [pd.DataFrame]
    assert sim.Wall in {kind for _, hint in hints_of(sim.GammaLevels) for kind in parts_of(hint)}
    assert sim.Fragment in {kind for _, hint in hints_of(sim.simulate) for kind in parts_of(hint)}
    assert sim.Case in {kind for _, hint in hints_of(sim.Batch) for kind in parts_of(hint)}
    assert sim.Regime in {kind for _, hint in hints_of(sim.Scenario) for kind in parts_of(hint)}
    assert sim.OutcomeShape in {kind for _, hint in hints_of(sim.Outcomes) for kind in parts_of(hint)}


@pytest.mark.parametrize("name", NAMES)
def test_every_public_function_and_class_has_a_summary(name: str) -> None:
    thing = getattr(sim, name)
    assert thing.__doc__
    for function in signatures_of(thing):
        assert function.__name__.startswith("__") or function.__doc__, function


# --- from a chain to odds


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chain") / "chain.csv"
    path.write_text(quotedata_csv(listings=many_listings(QUOTED, SPOT, 12, 40)), encoding="utf-8")
    return path


def test_the_way_from_a_chain_to_odds(chain: Path) -> None:
    book = sim.book_of_chain(sim.read_chain(chain), sim.BookRules(sign="naive"))
    levels = sim.find_gamma_levels(book)
    scenario = sim.scenario_of_chain(book, sim.Horizon(until=dt.date(2025, 9, 10)), levels=levels)
    result = sim.simulate(scenario, paths=500, engine="numpy", threads=1)
    assert levels.call_wall is not None
    assert levels.call_wall.strike in result.axes.levels
    assert any("whose side dealers are on is an assumption" in warning for warning in result.warnings)
    assert any("dealers.impact_bp_per_bn = 1 is an assumption" in warning for warning in result.warnings)
    # what the command makes of the same chain
    made = ("--until", "2025-09-10", "--paths", "500", "--engine", "numpy", "--no-save", "--json")
    done = gammawall("run", "--chain", str(chain), *made)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["manifest"]["scenario_hash"] == sim.scenario_hash(scenario)
    assert document["manifest"]["warnings"] == list(result.warnings)


def test_a_chains_scenario_is_a_scenario(chain: Path) -> None:
    book = sim.book_of_chain(sim.read_chain(chain))
    scenario = sim.scenario_of_chain(book, sim.Horizon(dt.date(2025, 9, 10), 6600.0, 6300.0))
    plain = sim.scenario_from_mapping({**tables_of(scenario), "dealers": dealers_of(scenario)}, "plain")
    assert type(plain) is sim.Scenario
    assert plain.notes == ()
    assert scenario == plain
    assert plain == scenario
    assert sim.scenario_hash(scenario) == sim.scenario_hash(plain)
    stronger = scenario.with_changes({"dealers.impact_bp_per_bn": 2})
    assert isinstance(stronger, sim.ChainScenario)
    assert stronger != scenario
    assert stronger.dealers.book is scenario.dealers.book
    assert stronger.notes == scenario.notes[:-1]  # an impact that was stated is no assumption of the chain's


def tables_of(scenario: sim.Scenario) -> dict[str, Any]:
    return tomllib.loads(sim.scenario_to_toml(scenario))


def dealers_of(scenario: sim.Scenario) -> dict[str, Any]:
    return {**tables_of(scenario)["dealers"], "book": scenario.dealers.book}


# --- scenarios by name, overrides, changes


def test_a_name_or_a_file_stands_for_its_scenario(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    short = sim.load_scenario("no-dealers", SHORT | {"name": "mine"})
    file.write_text(sim.scenario_to_toml(short), encoding="utf-8")
    by_object = sim.simulate(sim.load_scenario(file), **HOW)
    for source in (file, str(file)):
        assert sim.simulate(source, **HOW).outcomes == by_object.outcomes
    assert sim.trace_path(file, 3).equals(sim.trace_path(sim.load_scenario(file), 3))
    assert [check.name for check in sim.run_checks(file, paths=200, engine="numpy", threads=1)]
    assert sim.simulate("no-dealers", **HOW).scenario == sim.load_scenario("no-dealers")
    with pytest.raises(InputError, match=r"mine\.toml: no such file"):
        sim.simulate(tmp_path / "not" / "mine.toml", **HOW)


@pytest.mark.parametrize(
    "call",
    [
        lambda source, **named: sim.simulate(source, **named, **HOW),
        lambda source, **named: sim.trace_path(source, 3, **named),
        lambda source, **named: sim.run_checks(source, paths=200, engine="numpy", threads=1, **named),
    ],
    ids=["simulate", "trace_path", "run_checks"],
)
def test_errors_name_the_file_that_was_given(tmp_path: Path, call: Callable[..., Any]) -> None:
    """A map that folds is found while the plan is made, after the file has been read."""
    folded = sim.load_scenario("siege-of-7000", {"dealers.m_floor": 0})
    file = tmp_path / "folded.toml"
    file.write_text(sim.scenario_to_toml(folded), encoding="utf-8")
    for source, named, place in (
        (file, {}, str(file)),
        (file, {"where": "the wall"}, "the wall"),
        (folded, {}, "siege-of-7000"),
    ):
        with pytest.raises(InputError) as caught:
            call(source, **named)
        assert {problem.where for problem in caught.value.problems} == {place}


def odds_of(run: sim.BatchRun) -> list[tuple[Any, ...]]:
    return [(row["scenario"], row["first_upper"], row["first_lower_without"]) for row in run.rows]


def test_a_batch_file_stands_for_its_batch(tmp_path: Path) -> None:
    short = sim.load_scenario("no-dealers", SHORT | {"name": "mine"})
    (tmp_path / "mine.toml").write_text(sim.scenario_to_toml(short), encoding="utf-8")
    text = (
        'schema = 1\nname = "two"\nbase = "mine.toml"\npaths = 200\n[grid]\n"targets.upper" = [7050, 7100]\n'
    )
    (tmp_path / "two.toml").write_text(text, encoding="utf-8")
    run = sim.simulate_batch(tmp_path / "two.toml", tmp_path / "by-file", engine="numpy", threads=1)
    batch = sim.load_batch(str(tmp_path / "two.toml"), overrides={"drift.annual": 0.0}, seed=1)
    again = sim.simulate_batch(batch, str(tmp_path / "by-object"), engine="numpy", threads=1)
    assert odds_of(run) == odds_of(again)
    assert run.finished == again.finished == ["base", "upper=7050", "upper=7100"]
    whole, merged = sim.merge_folders([str(run.folder), tmp_path / "by-object"], str(tmp_path / "whole"))
    assert whole.digest == batch.digest
    assert odds_of(merged) == odds_of(run)


def test_overrides_as_a_mapping_are_those_of_the_texts() -> None:
    texts = [
        "dealers.impact_bp_per_bn=1",
        "market.until=2026-03-13",
        "levels=[6900, 7000]",
        "dealers.position[wall].gex_bn*=0.5",
        "regime[breakout].weights={wall = 0.5}",
        "name=mine",
    ]
    mapping = {
        "dealers.impact_bp_per_bn": np.float64(1.0),
        "market.until": dt.date(2026, 3, 13),
        "levels": (np.int64(6900), 7000),
        "dealers.position[wall].gex_bn*": 0.5,
        "regime[breakout].weights": {"wall": 0.5},
        "name": "mine",
    }
    expected = sim.load_scenario("siege-of-7000", texts)
    assert sim.load_scenario("siege-of-7000", mapping) == expected
    base = sim.load_scenario("siege-of-7000")
    assert base.with_changes(mapping) == expected
    assert base.with_changes(texts) == expected
    assert base == sim.load_scenario("siege-of-7000")


@pytest.mark.parametrize("name", sorted(sim.builtin_scenarios()))
def test_no_changes_change_nothing(name: str) -> None:
    scenario = sim.load_scenario(name)
    same = scenario.with_changes({})
    assert same == scenario
    assert sim.scenario_hash(same) == sim.scenario_hash(scenario)


def test_changes_multiply_defaults_too() -> None:
    scenario = sim.load_scenario("siege-of-7000")
    assert scenario.with_changes(
        {"volatility.overnight_share*": 0.5}
    ).volatility.overnight_share == pytest.approx(scenario.volatility.overnight_share / 2)


def test_changes_of_a_files_scenario_keep_its_book(
    chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = gammawall("book", str(chain), "--out", str(tmp_path / "book"))
    assert done.exit_code == 0, done.output
    scenario = sim.load_scenario(tmp_path / "book" / "scenario.toml")
    changed = scenario.with_changes({"dealers.book_weights.puts*": 0.5, "targets.upper": 6700})
    assert changed.dealers.book is scenario.dealers.book
    assert changed.dealers.book_weights == {"calls": 1.0, "puts": 0.5}
    # a book that a change names lies in the present folder
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InputError, match=r"book\.csv: no such file"):
        scenario.with_changes({"dealers.book": "book.csv"})
    again = scenario.with_changes({"dealers.book": Path("../book/book.csv")})
    assert again.dealers.book == scenario.dealers.book


def test_changes_are_validated() -> None:
    scenario = sim.load_scenario("siege-of-7000")
    with pytest.raises(InputError) as refused:
        scenario.with_changes({"targets.upper": 6000, "dealers.positon": [], "market.until": "2026-03-20"})
    told = {(problem.where, problem.key): problem.hint for problem in refused.value.problems}
    assert ("changes", "targets.upper") in told
    assert told["changes", "dealers.positon"] == "Try position."
    assert told["changes", "market.until"] == "Try datetime.date(2026, 2, 10)."


def test_signature_of_simulate_is_documented() -> None:
    text = inspect.getdoc(sim.simulate) or ""
    for name in inspect.signature(sim.simulate).parameters:
        assert re.search(rf"^\s*([\w, ]+, )?{name}(, [\w, ]+)? :", text, re.MULTILINE), name


def test_the_ways_that_the_package_tells_of_are_sound() -> None:
    """Every block of the package's own text is Python, and its names are public or the block's own."""
    blocks = re.findall(r"(?:^    .*\n|^\n)+", sim.__doc__ or "", re.MULTILINE)
    programs = [textwrap.dedent(block) for block in blocks if block.strip()]
    assert len(programs) == 3
    for program in programs:
        tree = ast.parse(program)
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "sim"
            for alias in node.names
        }
        assert imported
        assert imported <= set(NAMES)
        used = {
            node.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        }
        made = {
            node.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        assert used <= {*imported, *made, "print", "date"}
