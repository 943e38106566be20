from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.places import MARKET_DATA
from support.sample_chain import LISTINGS, NEW_YORK, QUOTED, SPOT, Listing, quotedata_csv
from support.sample_options import chain_of, option

from sim.chain.book import (
    ABSURD_IV,
    EXPIRED,
    MATCHED,
    NO_INTEREST,
    NO_IV,
    NO_SESSION,
    NO_SHARE,
    UNKNOWN_ROOT,
    ChainBook,
    book_of_chain,
    option_gex,
)
from sim.chain.book_rules import BookRules, StrikeGroup, read_groups
from sim.chain.files import read_chain
from sim.chain.option_chain import OptionChain
from sim.errors import InputError
from sim.market.calendar import settlement_minute, trading_calendar

REAL = MARKET_DATA / "chain"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason=f"the real option chains are not at {REAL}")
CARRY = 0.04


def parity_chain(listings: tuple[Listing, ...], carry: float = CARRY, rate: float = 0.045) -> OptionChain:
    """Quotes that obey put–call parity with a carry and a rate, a tenth of a point wide."""
    options = []
    calendar = trading_calendar()
    for listing in listings:
        at_open = listing.root == "SPX"
        minute = settlement_minute(calendar, listing.expiry, "AM" if at_open else "PM")
        years = (minute - QUOTED.timestamp() / 60) / 525_600
        for strike in listing.strikes:
            difference = math.exp(-rate * years) * (SPOT * math.exp(carry * years) - strike)
            mid = max(difference, 0.0) + 20.0
            for side, price in (("call", mid), ("put", mid - difference)):
                own = {
                    "root": listing.root,
                    "expiry": pd.Timestamp(listing.expiry),
                    "strike": strike,
                    "type": side,
                }
                options.append(option(**own, bid=price - 0.05, ask=price + 0.05))
    return chain_of(*options)


STRIKES = tuple(float(k) for k in range(6000, 6901, 50))
PARITY = (
    Listing("SPXW", dt.date(2025, 9, 5), STRIKES),
    Listing("SPX", dt.date(2025, 12, 19), STRIKES),
    Listing("SPXW", dt.date(2026, 6, 30), STRIKES),
)


def accounted(book: ChainBook) -> bool:
    return len(book.rows) + sum(book.dropped.values()) == book.chain.total


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"root": "ABC"}, UNKNOWN_ROOT),
        ({"expiry": pd.Timestamp("2025-09-20")}, NO_SESSION),
        ({"expiry": pd.Timestamp("2025-09-03")}, EXPIRED),
        ({"open_interest": 0.0}, NO_INTEREST),
        ({"iv": math.nan}, NO_IV),
        ({"iv": 0.005}, ABSURD_IV),
        ({"iv": 7.2}, ABSURD_IV),
    ],
)
def test_an_option_that_cannot_be_used_is_dropped_for_its_reason(
    changes: dict[str, Any], reason: str
) -> None:
    book = book_of_chain(chain_of(option(), option(strike=6400.0, **changes), refused={"row cut short": 2}))
    assert book.dropped == {reason: 1, "row cut short": 2}
    assert len(book.rows) == 1
    assert accounted(book)


def test_the_first_reason_counts() -> None:
    book = book_of_chain(
        chain_of(option(), option(expiry=pd.Timestamp("2025-09-03"), iv=math.nan, open_interest=0.0))
    )
    assert book.dropped == {EXPIRED: 1}


def test_nothing_left_is_an_error_that_counts_the_reasons() -> None:
    with pytest.raises(
        InputError, match=r"own\.csv: no option is left of 2: 1 no open interest; 1 no implied"
    ):
        book_of_chain(chain_of(option(open_interest=0.0), option(strike=6400.0, iv=math.nan)))


def test_roots_settle_at_their_own_instants() -> None:
    """On one day SPX settles at the open and SPXW at the close, six and a half hours apart."""
    quoted = dt.datetime(2025, 9, 19, 8, 0, tzinfo=NEW_YORK)
    book = book_of_chain(chain_of(option(root="SPX"), option(), quoted=quoted))
    np.testing.assert_allclose(book.options["years"] * 525_600, [90.0, 480.0])
    assert book.rows.at_open.tolist() == [True, False]
    # Between both only the later one is left.
    later = book_of_chain(chain_of(option(root="SPX"), option(), quoted=quoted.replace(hour=12)))
    assert later.dropped == {EXPIRED: 1}
    assert later.rows.at_open.tolist() == [False]


def test_an_early_close_is_the_exchanges() -> None:
    quoted = dt.datetime(2025, 11, 28, 12, 0, tzinfo=NEW_YORK)
    book = book_of_chain(chain_of(option(expiry=pd.Timestamp("2025-11-28")), quoted=quoted))
    assert book.options["years"].iloc[0] * 525_600 == pytest.approx(60.0)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (BookRules(), [1000.0, -400.0]),
        (BookRules("all-long", 1, 1), [1000.0, 400.0]),
        (BookRules("all-short", -1, -1), [-1000.0, -400.0]),
        (BookRules("custom", 0.5, -0.25), [500.0, -100.0]),
        (BookRules(net_matched=True), [600.0]),
        (BookRules("all-long", 1, 1, net_matched=True), [600.0]),
    ],
)
def test_the_sign_is_what_was_asked_for(rules: BookRules, expected: list[float]) -> None:
    book = book_of_chain(chain_of(option(), option(type="put", open_interest=400.0)), rules)
    assert book.rows.contracts.tolist() == expected
    assert accounted(book)
    assert rules.sign in rules.text


def test_a_share_of_zero_and_matched_interest_are_counted() -> None:
    chain = chain_of(option(), option(type="put", open_interest=400.0), option(strike=6600.0))
    assert book_of_chain(chain, BookRules("custom", 1, 0)).dropped == {NO_SHARE: 1}
    assert book_of_chain(chain, BookRules(net_matched=True)).dropped == {MATCHED: 1}


def test_matched_interest_is_of_one_root_expiry_and_strike() -> None:
    """A put of another root, day or strike is nobody's other half, nor is one that cannot be used."""
    chain = chain_of(
        option(),
        option(type="put", root="SPX"),
        option(type="put", expiry=pd.Timestamp("2025-09-18")),
        option(type="put", strike=6505.0),
        option(type="put", iv=math.nan),
    )
    book = book_of_chain(chain, BookRules(net_matched=True))
    assert book.rows.contracts.tolist() == [1000.0, -1000.0, -1000.0, -1000.0]


def test_scaling_makes_the_net_exposure_what_was_asked_for() -> None:
    chain = chain_of(option(), option(type="put", strike=6300.0, open_interest=300.0))
    plain, scaled = book_of_chain(chain), book_of_chain(chain, BookRules(scale_to_gex=6.7))
    assert scaled.options["gex_bn"].sum() == pytest.approx(6.7, rel=1e-12)
    np.testing.assert_allclose(scaled.rows.contracts, plain.rows.contracts * scaled.scale, rtol=1e-14)
    assert "6.7" in scaled.rules.text
    with pytest.raises(InputError, match="turn the dealers' side round"):
        book_of_chain(chain, BookRules(scale_to_gex=-6.7))
    assert book_of_chain(chain, BookRules("all-short", -1, -1, scale_to_gex=-1.0)).scale > 0


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        ({"sign": "custom", "calls": 5, "puts": 0}, ["calls = 5 (a share lies between -1 and 1)"]),
        (
            {"sign": "custom", "calls": -1.5, "puts": math.nan, "carry": 2.0},
            ["carry = 2 (a carry lies", "calls = -1.5 (a share lies", "puts = nan (a share lies"],
        ),
        ({"scale_to_gex": 0.0}, ["scale_to_gex = 0 (a gamma exposure other than zero"]),
        ({"scale_to_gex": math.nan}, ["scale_to_gex = nan (a gamma exposure other than zero"]),
    ],
)
def test_rules_out_of_range_are_refused_where_they_are_made(
    values: dict[str, Any], problems: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        BookRules(**values)
    assert len(caught.value.problems) == len(problems)
    for problem, start in zip(caught.value.problems, problems, strict=True):
        assert str(problem).startswith(start)


def test_a_scale_that_makes_absurd_positions() -> None:
    with pytest.raises(InputError, match="more than 1e"):
        book_of_chain(chain_of(option()), BookRules(scale_to_gex=1e12))


def test_exposure_of_an_option_is_the_textbooks() -> None:
    book = book_of_chain(chain_of(option()), BookRules(carry=0.03))
    years = book.options["years"].iloc[0]
    v = 0.12 * math.sqrt(years)
    d1 = (math.log(SPOT / 6500) + 0.03 * years) / v + v / 2
    gamma = math.exp(-(d1**2) / 2) / math.sqrt(2 * math.pi) / (SPOT * v)
    assert book.options["gex_bn"].iloc[0] == pytest.approx(
        gamma * 1000 * 100 * SPOT**2 * 0.01 / 1e9, rel=1e-12
    )
    up, down = (float(option_gex(book.options, price)[0]) for price in (SPOT + 50, SPOT - 50))
    assert up > book.options["gex_bn"].iloc[0] > down


def test_three_ways_of_the_net_exposure() -> None:
    chain = chain_of(option(), option(type="put", open_interest=500.0, iv=math.nan))
    book = book_of_chain(chain, BookRules(carry=0.03))
    # The file's own gammas count what has no volatility too.
    assert book.naive.own_gamma == pytest.approx(0.002 * 100 * (1000 - 500) * SPOT**2 * 0.01 / 1e9)
    assert book.naive.carry == pytest.approx(book.options["gex_bn"].sum())
    flat = book_of_chain(chain, BookRules(carry=0.0))
    assert book.naive.zero_carry == pytest.approx(flat.naive.carry)
    assert book.naive.zero_carry != pytest.approx(book.naive.carry, rel=1e-3)


def test_carries_are_those_of_the_quotes() -> None:
    book = book_of_chain(parity_chain(PARITY))
    assert len(book.carries) == 3
    for found in book.carries.values():
        assert found.source == "parity"
        assert found.carry == pytest.approx(CARRY, abs=2e-4)
        assert found.pairs == len(STRIKES)
    assert list(book.carries.values())[-1].rate == pytest.approx(0.045, abs=1e-3)
    np.testing.assert_allclose(book.rows.carry, CARRY, atol=2e-4)


def test_a_quote_out_of_line_moves_no_carry() -> None:
    chain = parity_chain(PARITY)
    for row in (30, 47):
        chain.options.loc[row, ["bid", "ask"]] += 40.0
    for found in book_of_chain(chain).carries.values():
        assert found.carry == pytest.approx(CARRY, abs=3e-3)


def test_an_expiry_without_quotes_takes_its_neighbours_carry() -> None:
    chain = parity_chain(PARITY)
    middle = chain.options["expiry"] == pd.Timestamp("2025-12-19")
    chain.options.loc[middle, "bid"] = 0.0
    found = list(book_of_chain(chain).carries.values())
    assert [one.source for one in found] == ["parity", "neighbours", "parity"]
    assert found[1].carry == pytest.approx(CARRY, abs=1e-3)
    chain.options["bid"] = 0.0
    assert {(one.source, one.carry) for one in book_of_chain(chain).carries.values()} == {("none", 0.0)}


def test_quotes_that_no_market_makes_are_not_believed() -> None:
    chain = parity_chain((PARITY[0], PARITY[2]))
    absurd = (chain.options["expiry"] == pd.Timestamp("2025-09-05")) & (chain.options["type"] == "call")
    chain.options.loc[absurd, ["bid", "ask"]] += 500.0
    found = list(book_of_chain(chain).carries.values())
    assert [one.source for one in found] == ["neighbours", "parity"]
    assert "puts the index near 6,95" in book_of_chain(chain).notes[0]


def test_a_carry_beyond_a_hundred_percent_is_limited_and_not_called_paritys() -> None:
    """A day's jump of 0.8% is a carry of 300%."""
    near = Listing("SPXW", dt.date(2025, 9, 4), STRIKES)
    chain = parity_chain((near, *PARITY[:1]), carry=0.0)
    jumped = (chain.options["expiry"] == pd.Timestamp("2025-09-04")) & (chain.options["type"] == "call")
    chain.options.loc[jumped, ["bid", "ask"]] += 0.008 * SPOT
    first, second = book_of_chain(chain).carries.values()
    assert (first.source, first.carry) == ("limited", 1.0)
    assert math.isnan(first.std_error)
    assert second.source == "parity"


def moved(points: float) -> OptionChain:
    """A chain quoted with the index so many points higher than it says."""
    days = (dt.date(2025, 9, 4), dt.date(2025, 9, 8), dt.date(2025, 9, 12))
    chain = parity_chain((*(Listing("SPXW", day, STRIKES) for day in days), *PARITY), carry=0.0)
    chain.options.loc[chain.options["type"] == ("call" if points > 0 else "put"), ["bid", "ask"]] += abs(
        points
    )
    return chain


def test_a_spot_beside_its_quotes_is_remarked() -> None:
    assert book_of_chain(moved(10.0)).notes == ()
    (note,) = book_of_chain(moved(65.0)).notes
    assert (
        "the index is given as 6,450.00, and put–call parity of its options puts the index near 6,51" in note
    )
    assert re.search(r"Try --spot 651\d\.\d\d$", note)


@pytest.mark.parametrize("points", [600.0, -600.0])
def test_a_spot_far_from_its_quotes_is_refused(points: float) -> None:
    with pytest.raises(
        InputError, match=r"parity of its options puts the index near .* Try spot=.*market\.spot"
    ):
        book_of_chain(moved(points))


def test_options_of_unknown_roots_and_days_move_no_carry() -> None:
    """Nor do five of them at one strike, which no forward can be fitted to."""
    plain = parity_chain(PARITY)
    others = [
        {**row, "root": "ABC"} for row in parity_chain((PARITY[0],), carry=0.9).options.to_dict("records")
    ]
    others += [option(root=f"X{i}", type=side, strike=6500.0) for i in range(6) for side in ("call", "put")]
    others += [option(expiry=pd.Timestamp("2025-09-06"), strike=k, bid=900.0, ask=901.0) for k in STRIKES]
    mixed = chain_of(*plain.options.to_dict("records"), *others)
    found, expected = book_of_chain(mixed), book_of_chain(plain)
    assert found.carries == expected.carries
    assert found.dropped[UNKNOWN_ROOT] == 2 * len(STRIKES) + 12


def test_calls_and_puts_of_two_roots_make_no_pairs() -> None:
    """Mini options beside the large ones, at the same strikes and instants."""
    large = parity_chain(PARITY[:1]).options.to_dict("records")
    both = chain_of(*large, *({**row, "root": "XSP"} for row in large))
    (found,) = book_of_chain(both).carries.values()
    assert found.pairs == 2 * len(STRIKES)


def test_quotes_at_one_strike_make_no_forward() -> None:
    same = [
        option(root="SPXW", type=side, strike=6500.0 + i * 1e-9) for i in range(6) for side in ("call", "put")
    ]
    (found,) = book_of_chain(chain_of(*same)).carries.values()
    assert found.source in ("none", "parity")


def test_share_of_the_open_interest_used() -> None:
    book = book_of_chain(chain_of(option(), option(type="put", open_interest=3000.0, iv=math.nan)))
    assert book.interest_used == 0.25


def test_matched_interest_is_what_is_left() -> None:
    book = book_of_chain(
        chain_of(option(), option(type="put", open_interest=400.0)), BookRules(net_matched=True)
    )
    assert book.options["open_interest"].tolist() == [600.0]


def test_more_groups_than_a_scenario_has() -> None:
    texts = [f"g{i}={i + 1}" for i in range(62)]
    assert len(read_groups(texts)) == 62
    with pytest.raises(InputError, match="there are 63 groups besides calls and puts, at most 62"):
        read_groups([*texts, "more=1"])


def test_groups_of_strikes() -> None:
    chain = chain_of(option(), option(strike=7000.0), option(type="put", strike=7000.0), option(type="put"))
    book = book_of_chain(chain, BookRules(groups=(StrikeGroup("wall", 6990, 7010),)))
    assert [book.rows.groups[i] for i in book.rows.group] == ["calls", "wall", "wall", "puts"]
    assert read_groups(["wall=7000:7020", "pin=6900"]) == (
        StrikeGroup("wall", 7000, 7020),
        StrikeGroup("pin", 6900, 6900),
    )
    for bad in ("wall", "wall=", "wall=7020:7000", "7=1:2", "wall=a:b", "wall=1.2.3"):
        with pytest.raises(InputError, match=r"--group: .*Try wall=7000:7020"):
            read_groups([bad])
    with pytest.raises(InputError, match="names a group twice"):
        read_groups(["wall=1:2", "wall=3:4"])


def test_a_file_becomes_a_book(tmp_path: Path) -> None:
    (tmp_path / "chain.csv").write_text(quotedata_csv(), encoding="utf-8")
    book = book_of_chain(read_chain(tmp_path / "chain.csv"))
    assert accounted(book)
    assert set(book.rows.groups) == {"calls", "puts"}
    assert len(book.carries) == len(LISTINGS)


@needs_real
def test_net_exposure_of_the_third_of_september_2025() -> None:
    book = book_of_chain(read_chain(REAL / "cboe_spx_2025-09-03_pt-BR.csv"))
    assert book.naive.own_gamma == pytest.approx(22.57, rel=0.005)
    assert book.naive.zero_carry == pytest.approx(12.17, rel=0.01)
    assert 17 < book.naive.carry < 23
    assert book.options["gex_bn"].sum() == pytest.approx(book.naive.carry, rel=1e-12)
    assert {found.source for found in book.carries.values()} == {"parity"}


@needs_real
@pytest.mark.parametrize(
    "name", ["cboe_spx_2025-09-03_pt-BR.csv", "cboe_spx_2022-12-12_en.csv", "cboe_rut_2023-09-21.json"]
)
def test_real_chains_are_accounted_for(name: str) -> None:
    chain = read_chain(REAL / name)
    for rules in (BookRules(), BookRules("all-short", -1, -1, net_matched=True)):
        book = book_of_chain(chain, rules)
        assert accounted(book)
        assert len(book.rows) > 1000
        monthly = chain.options["root"].isin(["SPX", "RUT"])
        assert monthly.any()
        assert not monthly.all()
        assert {True, False} == set(book.rows.at_open.tolist())


def test_a_group_has_one_range_of_strikes() -> None:
    with pytest.raises(InputError, match=r"groups = wall .names a group twice"):
        BookRules(groups=(StrikeGroup("wall", 6400, 6500), StrikeGroup("wall", 6600, 6700)))


HUGE = 10**400


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StrikeGroup("wall", 1, HUGE), "high = an integer of more than 60 digits (is too large"),
        (lambda: StrikeGroup("wall", HUGE, 1), "low = an integer of more than 60 digits (is too large"),
        (lambda: BookRules("custom", calls=HUGE, puts=1), "calls = an integer of more than 60 digits"),
        (lambda: BookRules("custom", calls=1, puts=-HUGE), "puts = an integer of more than 60 digits"),
        (lambda: BookRules(scale_to_gex=HUGE), "scale_to_gex = an integer of more than 60 digits"),
        (lambda: BookRules(carry=HUGE), "carry = an integer of more than 60 digits"),
        (lambda: BookRules(scale_to_gex=1e-320), "scale_to_gex = 9.99989e-321 (a gamma exposure other than"),
        (lambda: StrikeGroup("calls", 1, 2), 'name = "calls" (is the group of all other calls'),
        (lambda: StrikeGroup("puts", 1, 2), 'name = "puts" (is the group of all other puts'),
        (lambda: read_groups(["calls=1:2"]), "--group: calls=1:2 (calls is the group of all others)"),
    ],
)
def test_rules_that_no_book_can_follow(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value).startswith(message)
