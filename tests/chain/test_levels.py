from __future__ import annotations

import datetime as dt
import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr
from support.places import MARKET_DATA
from support.sample_chain import QUOTED, SPOT, many_listings, quotedata_csv
from support.sample_options import chain_of, option

from sim.chain.book import ChainBook, book_of_chain, option_gex
from sim.chain.book_rules import BookRules
from sim.chain.files import read_chain
from sim.chain.levels import GammaLevels, find_gamma_levels
from sim.errors import InputError
from sim.market.elementary import sum_in_order
from sim.report.book import headline

REAL = MARKET_DATA / "chain"
FLAT = BookRules(carry=0.0)


def levels_of(*options: dict[str, Any], rules: BookRules = FLAT) -> GammaLevels:
    return find_gamma_levels(book_of_chain(chain_of(*options), rules))


@pytest.fixture(scope="module")
def chain_book(tmp_path_factory: pytest.TempPathFactory) -> ChainBook:
    path = tmp_path_factory.mktemp("chain") / "chain.csv"
    path.write_text(quotedata_csv(listings=many_listings(QUOTED, SPOT, 12, 60)), encoding="utf-8")
    return book_of_chain(read_chain(path))


def direct(book: ChainBook, price: float) -> float:
    """Net gamma exposure by a derivative of the hedge itself: the difference of all deltas over a tiny move."""
    options = book.options
    v = (options["iv"] * np.sqrt(options["years"])).to_numpy()
    forward = (options["carry"] * options["years"]).to_numpy()

    def hedge(at: float) -> float:
        d1 = (np.log(at / options["strike"].to_numpy()) + forward) / v + v / 2
        return float((100 * options["contracts"] * ndtr(d1)).sum())

    step = 1e-3
    return (hedge(price + step) - hedge(price - step)) / (2 * step) * price**2 * 0.01 / 1e9


def test_walls_are_the_strikes_with_the_largest_gamma_of_their_side() -> None:
    found = levels_of(
        option(strike=6500.0),
        option(strike=6600.0, open_interest=9000.0),
        option(strike=6300.0, type="put", open_interest=5000.0),
        option(strike=6200.0, type="put"),
    )
    assert found.call_wall is not None
    assert found.put_wall is not None
    assert (found.call_wall.strike, found.put_wall.strike) == (6600.0, 6300.0)
    assert found.call_wall.as_expected
    assert found.put_wall.as_expected
    assert found.call_wall.gex_bn > 0 > found.put_wall.gex_bn
    assert 0.5 < found.call_wall.share < 1


def test_a_wall_on_the_wrong_side_is_said_to_be_one() -> None:
    found = levels_of(option(strike=6400.0), option(strike=6500.0, type="put"))
    assert found.call_wall is not None
    assert found.put_wall is not None
    assert not found.call_wall.as_expected
    assert not found.put_wall.as_expected
    notes = found.table.set_index("level")["note"]
    assert "on the wrong side of spot for a call wall" in notes["call_wall"]
    assert "on the wrong side of spot for a put wall" in notes["put_wall"]


def test_walls_do_not_depend_on_the_sign() -> None:
    options = [option(strike=6600.0), option(strike=6300.0, type="put")]
    signs = [FLAT, BookRules("all-short", -1, -1, carry=0.0), BookRules("custom", 0.3, -0.3, carry=0.0)]
    found = [levels_of(*options, rules=rules) for rules in signs]
    assert {
        (one.call_wall.strike, one.put_wall.strike) for one in found if one.call_wall and one.put_wall
    } == {(6600.0, 6300.0)}


def test_what_is_not_there_is_none_and_not_zero() -> None:
    found = levels_of(option(strike=6600.0))
    assert found.put_wall is None
    assert found.crossings == ()
    assert found.zero_gamma is None
    table = found.table.set_index("level")
    assert math.isnan(table.loc["put_wall", "price"])
    assert math.isnan(table.loc["zero_gamma", "price"])
    assert table.loc["put_wall", "note"] == "none"


def test_a_crossing_between_two_opposite_options_is_where_their_gammas_are_equal() -> None:
    found = levels_of(option(strike=6300.0, type="put"), option(strike=6600.0))
    (crossing,) = found.crossings
    assert crossing.rising
    assert crossing.nearest
    # Same volatility and life: gammas are equal halfway between the strikes' logs, half a variance away.
    years = 16 / 365 - 18 / 525_600
    expected = math.sqrt(6300 * 6600) * math.exp(-(0.12**2) * years / 2)
    assert crossing.price == pytest.approx(expected, abs=1e-4)


def test_every_crossing_is_found_and_the_nearest_is_marked() -> None:
    """Strikes in turn long and short, each a gamma of its own: the sign changes between any two."""
    strikes = np.arange(6100.0, 6801.0, 100.0)
    kinds = ["call", "put"] * 4
    near = dt.datetime(2025, 9, 4)
    options = [
        option(strike=k, type=kind, expiry=near, iv=0.1) for k, kind in zip(strikes, kinds, strict=True)
    ]
    found = levels_of(*options)
    prices = np.array([crossing.price for crossing in found.crossings])
    assert prices.size == strikes.size - 1
    assert ((prices > strikes[:-1]) & (prices < strikes[1:])).all()
    assert [crossing.rising for crossing in found.crossings] == [False, True] * 3 + [False]
    assert sum(crossing.nearest for crossing in found.crossings) == 1
    assert found.zero_gamma == min(prices, key=lambda price: abs(price - SPOT))


def test_levels_agree_with_a_sum_over_all_options(chain_book: ChainBook) -> None:
    found = find_gamma_levels(chain_book)
    assert found.net_gex_bn == pytest.approx(direct(chain_book, SPOT), rel=1e-6)
    assert found.gross_gex_bn == pytest.approx(chain_book.options["gex_bn"].abs().sum())
    assert found.by_strike["net_gex_bn"].sum() == pytest.approx(found.net_gex_bn)
    assert found.by_strike["gross_gex_bn"].sum() == pytest.approx(found.gross_gex_bn)
    assert found.by_expiry["net_gex_bn"].sum() == pytest.approx(found.net_gex_bn)
    assert found.by_expiry["share"].sum() == pytest.approx(1.0)
    assert found.by_expiry["options"].sum() == len(chain_book.rows)
    assert found.crossings
    for crossing in found.crossings:
        below, above = (direct(chain_book, crossing.price + side) for side in (-0.005, 0.005))
        assert below * above < 0
        assert (below < 0) == crossing.rising
    # And nowhere else: the sum has no other sign between two crossings than in their middle.
    edges = [SPOT * 0.76, *(crossing.price for crossing in found.crossings), SPOT * 1.24]
    for low, high in itertools.pairwise(edges):
        signs = {
            np.sign(sum_in_order(option_gex(chain_book.options, price)))
            for price in np.linspace(low + 0.01, high - 0.01, 400)
        }
        assert len(signs - {0.0}) == 1


def test_the_profile_is_the_sum_at_each_price(chain_book: ChainBook) -> None:
    profile = find_gamma_levels(chain_book, 0.1).profile
    assert profile["price"].iloc[[0, -1]].tolist() == pytest.approx([SPOT * 0.9, SPOT * 1.1])
    for row in (0, 130, 200, 400):
        price = profile["price"].iloc[row]
        assert profile["net_gex_bn"].iloc[row] == pytest.approx(direct(chain_book, price), rel=1e-4, abs=1e-6)
        assert profile["net_gex_bn"].iloc[row] == pytest.approx(
            profile["call_gex_bn"].iloc[row] + profile["put_gex_bn"].iloc[row]
        )


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real option chains are not at {REAL}")
@pytest.mark.parametrize(
    "name", ["cboe_spx_2025-09-03_pt-BR.csv", "cboe_spx_2022-12-12_en.csv", "cboe_rut_2023-09-21.json"]
)
def test_real_levels_agree_with_a_sum_over_all_options(name: str) -> None:
    book = book_of_chain(read_chain(REAL / name))
    found = find_gamma_levels(book)
    assert found.crossings
    for crossing in found.crossings:
        assert direct(book, crossing.price - 0.01) * direct(book, crossing.price + 0.01) < 0
    assert found.call_wall is not None
    strongest = book.options[book.options["type"] == "call"].groupby("strike")["gex_bn"].sum().abs().idxmax()
    assert found.call_wall.strike == strongest


def test_a_headline_for_each_side(chain_book: ChainBook) -> None:
    levels = find_gamma_levels(chain_book)
    for net, said in (
        (2.0, "long gamma at spot, and their hedging damps"),
        (-2.0, "short gamma"),
        (0.0, "neither"),
    ):
        assert said in headline(replace(levels, net_gex_bn=net))


@pytest.mark.parametrize("share", [1e-9, 5e-324, 0.0, 1.0, -0.25, float("nan"), 10**400])
def test_a_range_without_room_for_a_curve_is_refused(share: float) -> None:
    book = book_of_chain(chain_of(option()))
    with pytest.raises(InputError, match=r"^spot_range = "):
        find_gamma_levels(book, share)
    assert find_gamma_levels(book, 1e-4).spot_range == 1e-4
