"""How long the map of a whole chain takes."""

from __future__ import annotations

import time
from pathlib import Path

from support.needs import needs_native
from support.sample_chain import QUOTED, SPOT, many_listings, quotedata_csv

from sim.chain.book import book_of_chain
from sim.chain.files import read_chain
from sim.chain.scenario import Horizon, scenario_of_chain
from sim.market.calendar import trading_calendar
from sim.plan.builder import prepare

LONGEST_S = 5.0


@needs_native
def test_the_map_of_a_full_chain_takes_seconds(tmp_path: Path) -> None:
    """12,000 rows of calls and puts at 50 expiries, 27 sessions; processor time, the better of two."""
    listings = many_listings(QUOTED, SPOT, 50, 240)

    def everywhere(moneyness, years, strike, is_call):  # type: ignore[no-untyped-def]
        return 100.0 + (strike % 100.0)

    text = quotedata_csv(listings=listings, open_interest=everywhere)
    (tmp_path / "chain.csv").write_text(text, encoding="utf-8")
    chain = read_chain(tmp_path / "chain.csv")
    assert chain.total == 24_000
    book = book_of_chain(chain)
    assert len(book.rows) == 24_000
    until = trading_calendar().sessions_after(QUOTED.date(), QUOTED.date().replace(month=11))[26]
    scenario = scenario_of_chain(book, Horizon(until))
    taken = []
    for _ in range(2):
        began = time.process_time()
        prepared = prepare(scenario)
        taken.append(time.process_time() - began)
    assert prepared.grid.n_sessions == 27
    assert min(taken) < LONGEST_S, taken
