"""What Python shows of every public object: one short line that tells what it is."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from support.sample_chain import QUOTED, SPOT, many_listings, quotedata_csv
from support.sample_days import gjr_returns, write_closes, write_impact_files
from support.sample_minutes import sample_minutes
from support.sample_scenario import sample

import sim
from sim.errors import InputError

CLASSES = {name for name in sim.__all__ if not name.islower()}
SIEGE = "siege-of-7000"
SHORT = {"market.sessions": 3, "volatility.steps_per_session": 2}


def example_objects(folder: Path) -> dict[str, list[object]]:
    """Objects of every public class, by its name; long names and many keys among them."""
    long = "x" * 100
    siege = sim.load_scenario(SIEGE, {"name": long})
    result = sim.simulate(siege.with_changes(SHORT), paths=200, engine="numpy", threads=1)
    chain = folder / "chain.csv"
    chain.write_text(quotedata_csv(listings=many_listings(QUOTED, SPOT, 12, 40)), encoding="utf-8")
    books = [sim.book_of_chain(sim.read_chain(chain))]
    groups = tuple(sim.StrikeGroup(f"{long[:60]}{i}", 1e6, 1e7) for i in range(5))
    rules = sim.BookRules("custom", 0.123456789, -0.987654321, True, 6.7123456, 0.0412345, groups)
    levels = sim.find_gamma_levels(books[0])
    scenario = sim.scenario_of_chain(books[0])
    write_closes(folder / f"{long}.csv", gjr_returns(600, seed=4))
    write_impact_files(folder, 0.04, days=400)
    volatility = sim.fit_volatility(folder / f"{long}.csv", since=dt.date(2010, 1, 5))
    impact = sim.fit_impact(
        *(folder / f"{name}.csv" for name in ("dix", "ohlc", "vix")), since=dt.date(2010, 3, 1), repeats=2
    )
    bars = sim.read_minute_bars(sample_minutes(25, 0.4, sim.UShape(), seed=3))
    batch = sim.load_batch("story")
    problem = sim.Problem(long, long, "\n".join([long, long]), long, long)
    eventful = sim.scenario_from_mapping(sample(), "sample")
    found: list[object] = [
        siege, scenario, result, result.outcomes, result.axes, *books, books[0].chain, books[0].rows, books[0].naive,
        *books[0].carries.values(), sim.BookRules(), rules, *groups, levels, *levels.crossings, levels.call_wall,
        levels.put_wall, sim.Horizon(), sim.Horizon(dt.date(2025, 9, 10), 7100.123456789, 1e7), volatility,
        volatility.fragment(), *volatility.estimates.values(), impact, impact.main, impact.main.specification,
        *(other for other in impact.others), *(other.specification for other in impact.others), bars,
        sim.fit_intraday(bars, resamples=2), batch, *batch.cases, sim.BatchProgress(),
        sim.Fragment(long, {long: 1}, {}),
        siege.market, siege.volatility, siege.drift, siege.jumps, siege.dealers, siege.targets, *eventful.catalyst,
        *siege.regime, *siege.dealers.position, *(o for c in eventful.catalyst for o in c.outcomes), sim.UShape(),
        sim.UShape(base=1.0, open=2.0), sim.Check(long, 0.1, 0.2, 0.001), problem, InputError([problem] * 3),
        sim.GammawallError(long * 3), sim.BatchRun(folder / long, ["a"] * 20_000, ["b"], [], [], []),
        *(regime.trigger for regime in siege.regime), sim.OutcomeShape(100_000, 64, 2520, 32, 100_000),
    ]  # fmt: skip
    by_name: dict[str, list[object]] = {}
    for each in found:
        by_name.setdefault(type(each).__name__, []).append(each)
    return by_name


def test_every_public_object_is_one_short_line(tmp_path: Path) -> None:
    objects = example_objects(tmp_path)
    assert set(objects) - {"NoneType"} == CLASSES
    for name, examples in objects.items():
        for each in examples if name != "NoneType" else ():
            line = repr(each)
            assert len(line) <= 120, line
            assert line.isprintable(), line
            assert line.startswith(f"{name}("), line
            assert line.endswith(")"), line
            assert " object at 0x" not in line


def test_what_the_lines_tell() -> None:
    scenario = sim.load_scenario(SIEGE)
    assert repr(scenario) == (
        "Scenario(siege-of-7000: 6,941.81 on 2026-02-10, until 2026-03-20, 6 positions, 5 regimes)"
    )
    assert str(scenario) == repr(scenario)
    assert repr(sim.BookRules()) == "BookRules(naive sign: dealers hold +1 of the calls and -1 of the puts)"
    assert (
        repr(sim.Horizon(dt.date(2025, 9, 10), 6600)) == "Horizon(until 2025-09-10, upper 6,600, lower round)"
    )
    assert repr(scenario.targets) == "Targets(upper=7100.0, lower=6800.0)"
