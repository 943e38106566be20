"""Sessions, instants and variance shares against the calendar, the exchange's history and quadrature."""

from __future__ import annotations

import csv
import datetime as dt
import itertools
import json
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from support.places import CASES, MARKET_DATA
from support.sample_scenario import DELETE, sample

from sim.errors import InputError
from sim.market.calendar import settlement_minute, trading_calendar
from sim.plan.time_grid import TimeGrid, build_time_grid
from sim.scenario.file import load_scenario, scenario_hash
from sim.scenario.intraday import u_shape_integral, variance_shares
from sim.scenario.model import Scenario, UShape

NEW_YORK = ZoneInfo("America/New_York")


def minute(year: int, month: int, day: int, hour: int, minutes: int = 0) -> int:
    """Minutes since 1970-01-01T00:00 UTC of a New York wall-clock time."""
    return int(dt.datetime(year, month, day, hour, minutes, tzinfo=NEW_YORK).timestamp()) // 60


def grid(edits: dict[str, Any] | None = None) -> TimeGrid:
    return build_time_grid(Scenario.model_validate(sample(edits)))


def bare_grid(as_of: dt.date, sessions: int, **volatility: Any) -> TimeGrid:
    edits = {
        "market": {"as_of": as_of, "spot": 6941.81, "sessions": sessions},
        "catalyst": [],
        "dealers": DELETE,
        "regime": [],
        **{f"volatility.{key}": value for key, value in volatility.items()},
    }
    return grid(edits)


def test_siege_sessions() -> None:
    """27 sessions; Presidents' Day is none of them; clocks change on 8 March."""
    siege = grid()
    assert siege.n_sessions == 27
    assert siege.n_steps == 27 * 14
    assert siege.sessions[0] == dt.date(2026, 2, 11)
    assert siege.sessions[-1] == dt.date(2026, 3, 20)
    assert dt.date(2026, 2, 16) not in siege.sessions
    assert siege.start_minute == minute(2026, 2, 10, 16)
    opens = [minute(day.year, day.month, day.day, 9, 30) for day in siege.sessions]
    closes = [minute(day.year, day.month, day.day, 16) for day in siege.sessions]
    np.testing.assert_array_equal(siege.open_minute, opens)
    np.testing.assert_array_equal(siege.close_minute, closes)
    assert siege.open_minute[0] % 1440 == 14 * 60 + 30
    assert siege.open_minute[-1] % 1440 == 13 * 60 + 30
    assert siege.open_minute.dtype == siege.close_minute.dtype == np.int64


@pytest.mark.parametrize("case", ["article", "flat", "gaps", "permanent"])
def test_reference_sessions(case: str) -> None:
    cases = CASES
    dates = json.loads((cases / f"{case}.json").read_text())["sessions"]
    built = build_time_grid(load_scenario(cases / f"{case}.toml"))
    assert [str(session) for session in built.sessions] == dates


@pytest.mark.skipif(not MARKET_DATA.exists(), reason="market data is not beside this checkout")
def test_calendar_is_the_index_history() -> None:
    """Every day on which the S&P 500 has a close since 2005 is a session, and no other."""
    with open(MARKET_DATA / "daily" / "spx_ohlcv_2005_to_2026-02-10.csv", newline="") as file:
        rows = list(csv.reader(file))
    closes = [dt.date.fromisoformat(row[0][:10]) for row in rows[1:] if row[0][:4].isdigit()]
    calendar = trading_calendar()
    sessions = calendar.sessions_after(closes[0] - dt.timedelta(days=1), closes[-1])
    assert sorted(set(closes)) == list(sessions)


def test_early_close() -> None:
    """The day after Thanksgiving ends at 13:00 New York: its steps are parts of the shorter session."""
    built = bare_grid(dt.date(2026, 11, 25), 2, steps_per_session=7)
    assert built.sessions == (dt.date(2026, 11, 27), dt.date(2026, 11, 30))
    assert built.close_minute[0] == minute(2026, 11, 27, 13)
    ends = built.step_end_minute.reshape(2, 8)
    np.testing.assert_allclose(np.diff(ends[0]), 30.0, rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.diff(ends[1]), 390 / 7, rtol=0, atol=1e-6)
    assert ends[0, 0] == minute(2026, 11, 27, 9, 30)
    assert ends[0, -1] == minute(2026, 11, 27, 13)


@pytest.mark.parametrize(
    "closed",
    [
        dt.date(2001, 9, 11),
        dt.date(2012, 10, 30),
        dt.date(2018, 12, 5),
        dt.date(2025, 1, 9),
        dt.date(2026, 4, 3),
        dt.date(2026, 6, 19),
        dt.date(2026, 7, 3),
        dt.date(2030, 7, 4),
        dt.date(2100, 12, 25),
    ],
)
def test_closures(closed: dt.date) -> None:
    calendar = trading_calendar()
    assert not calendar.is_session(closed)
    before, after = calendar.nearest(closed)
    assert before < closed < after
    assert calendar.is_session(before)
    assert calendar.is_session(after)
    assert calendar.sessions_after(before, after) == (after,)


def test_nearest_at_the_ends_of_the_calendar() -> None:
    calendar = trading_calendar()
    assert calendar.nearest(dt.date(1990, 1, 1)) == (dt.date(1990, 1, 2),)
    assert calendar.nearest(dt.date(2101, 6, 1)) == (dt.date(2100, 12, 31),)
    assert calendar.nearest(dt.date(2026, 2, 10)) == (dt.date(2026, 2, 9), dt.date(2026, 2, 11))


def test_calendar_window() -> None:
    whole, window = trading_calendar(), trading_calendar(dt.date(2026, 2, 7), dt.date(2026, 2, 17))
    assert [window.session(i).day for i in range(len(window.days))] == [9, 10, 11, 12, 13, 17]
    assert not window.is_session(dt.date(2026, 2, 18))
    shared = whole.open_minute[whole.position(dt.date(2026, 2, 9))]
    assert window.open_minute[0] == shared == minute(2026, 2, 9, 9, 30)


def test_calendar_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        trading_calendar().open_minute[0] = 0


@pytest.mark.parametrize(
    ("expiry", "settlement", "expected"),
    [
        (dt.date(2026, 2, 20), "AM", minute(2026, 2, 20, 9, 30)),
        (dt.date(2026, 2, 20), "PM", minute(2026, 2, 20, 16)),
        (dt.date(2026, 3, 20), "AM", minute(2026, 3, 20, 9, 30)),
        (dt.date(2026, 11, 27), "PM", minute(2026, 11, 27, 13)),
        (dt.date(2028, 1, 21), "PM", minute(2028, 1, 21, 16)),
    ],
)
def test_settlement_minute(expiry: dt.date, settlement: str, expected: int) -> None:
    assert settlement_minute(trading_calendar(), expiry, settlement) == expected


def u_density(u: float) -> float:
    return float(0.62 + 2.353 * np.exp(-u / 0.150) + 1.666 * np.exp(-(1 - u) / 0.017))


@pytest.mark.parametrize("steps", [1, 2, 13, 78, 390])
def test_u_shares_by_quadrature(steps: int) -> None:
    shares = variance_shares(0.46, steps, "u")
    edges = np.arange(steps + 1) / steps
    parts = [quad(u_density, a, b, epsabs=1e-13)[0] for a, b in itertools.pairwise(edges)]
    np.testing.assert_allclose(shares[1:], 0.54 * np.array(parts) / sum(parts), rtol=1e-9)
    assert shares[0] == 0.46


U_SHAPES = {
    "default": UShape(),
    "steep": UShape(base=0.1, open=50.0, open_fade=0.01, close=20.0, close_fade=0.002),
    "slow": UShape(base=0.0, open=1.0, open_fade=10.0, close=2.0, close_fade=10.0),
    "flat": UShape(base=3.0, open=0.0, close=0.0),
    "at the close alone": UShape(base=0.0, open=0.0, close=1.0, close_fade=0.5),
}


@pytest.mark.parametrize("steps", [1, 7, 13, 390])
@pytest.mark.parametrize("name", U_SHAPES)
def test_shares_of_an_own_u_by_quadrature(name: str, steps: int) -> None:
    shape = U_SHAPES[name]

    def density(u: float) -> float:
        after_open, before_close = np.exp(-u / shape.open_fade), np.exp(-(1 - u) / shape.close_fade)
        return float(shape.base + shape.open * after_open + shape.close * before_close)

    edges = np.arange(steps + 1) / steps
    peaks = [shape.open_fade, 1 - shape.close_fade]
    parts = [
        quad(density, a, b, points=[p for p in peaks if a < p < b] or None, epsabs=1e-13, limit=200)[0]
        for a, b in itertools.pairwise(edges)
    ]
    np.testing.assert_allclose(np.diff(u_shape_integral(edges, shape)), parts, rtol=1e-7, atol=1e-13)
    shares = variance_shares(0.3, steps, "u", shape)
    np.testing.assert_allclose(shares[1:], 0.7 * np.array(parts) / sum(parts), rtol=1e-7)
    assert shares[0] == 0.3
    assert abs(shares.sum() - 1) < 1e-12


def test_default_u_is_the_absent_one() -> None:
    np.testing.assert_array_equal(variance_shares(0.46, 390, "u", UShape()), variance_shares(0.46, 390, "u"))
    np.testing.assert_array_equal(grid({"volatility.u_shape": {}}).share, grid().share)


def test_time_grid_has_the_scenario_s_own_u() -> None:
    own = {"base": 1.0, "open": 9.0, "open_fade": 0.05, "close": 0.0, "close_fade": 1.0}
    built = grid({"volatility.u_shape": own})
    np.testing.assert_array_equal(built.share, variance_shares(0.46, 13, "u", UShape(**own)))
    assert built.share[1] > 1.5 * grid().share[1] > built.share[13]


part = st.floats(1e-12, 10)
height = st.floats(0, 1e6)


@given(st.floats(0, 0.999), st.integers(1, 390), st.tuples(st.floats(1e-6, 1e6), height, part, height, part))
@settings(max_examples=60, deadline=None)
def test_shares_of_any_u_sum_to_one(overnight: float, steps: int, parts: tuple[float, ...]) -> None:
    shape = UShape(**dict(zip(UShape.model_fields, parts, strict=True)))
    shares = variance_shares(overnight, steps, "u", shape)
    assert shares.shape == (steps + 1,)
    assert np.all(shares >= 0)
    assert abs(shares.sum() - 1) < 1e-12


def test_scenarios_without_the_key_are_what_they_were() -> None:
    """Their hash is in the folders of batches, where a changed one would mean a scenario run anew."""
    siege = load_scenario("siege-of-7000")
    assert scenario_hash(siege) == "de4887f4f58f85cb6dbf24187ff9488842dc20a2baa8d144f1b27d587b2bd66c"
    assert "u_shape" not in siege.model_dump()["volatility"]
    own = load_scenario("siege-of-7000", ["volatility.u_shape.base=0.5"])
    assert own.volatility.u_shape == UShape(base=0.5)
    assert own.model_dump(mode="json")["volatility"]["u_shape"]["base"] == 0.5
    assert scenario_hash(own) != scenario_hash(siege)


def test_u_shares_of_thirteen_steps() -> None:
    """The first half-hour moves most, the last more than noon."""
    shares = variance_shares(0.0, 13, "u")[1:]
    assert shares.argmax() == 0
    assert shares[12] > 1.3 * shares[6]
    assert np.all(np.diff(shares[:11]) < 0)


@given(st.floats(0, 0.999), st.integers(1, 390), st.sampled_from(["flat", "u"]))
@settings(max_examples=60, deadline=None)
def test_shares_sum_to_one(overnight: float, steps: int, shape: str) -> None:
    shares = variance_shares(overnight, steps, shape)
    assert shares.shape == (steps + 1,)
    assert shares.dtype == np.float64
    assert shares[0] == overnight
    assert np.all(shares[1:] > 0)
    assert abs(shares.sum() - 1) < 1e-12


def test_flat_shares() -> None:
    np.testing.assert_allclose(variance_shares(0.2, 4, "flat"), 0.2, rtol=1e-15)


@pytest.mark.parametrize("steps", [1, 13, 390])
def test_step_times(steps: int) -> None:
    built = bare_grid(dt.date(2026, 2, 10), 3, steps_per_session=steps)
    times = built.step_time.reshape(3, steps + 1)
    np.testing.assert_allclose(times[:, 0], [0.46, 1.46, 2.46], rtol=1e-15)
    np.testing.assert_array_equal(times[:, -1], [1.0, 2.0, 3.0])
    np.testing.assert_allclose(np.diff(built.step_time, prepend=0.0), np.tile(built.share, 3), atol=1e-12)
    ends = built.step_end_minute.reshape(3, steps + 1)
    np.testing.assert_array_equal(ends[:, 0], built.open_minute)
    np.testing.assert_array_equal(ends[:, -1], built.close_minute)
    assert np.all(np.diff(built.step_end_minute) > 0)
    assert built.step_end_minute[0] > built.start_minute


@pytest.mark.parametrize("sessions", [1, 252, 2520])
def test_any_number_of_sessions(sessions: int) -> None:
    built = bare_grid(dt.date(2026, 2, 10), sessions, steps_per_session=1)
    assert built.n_sessions == len(built.sessions) == len(built.open_minute) == sessions
    assert built.n_steps == 2 * sessions == len(built.step_time)


def test_whole_supported_range() -> None:
    assert bare_grid(dt.date(1990, 1, 2), 1).sessions == (dt.date(1990, 1, 3),)
    assert bare_grid(dt.date(2100, 12, 30), 1).sessions == (dt.date(2100, 12, 31),)


def test_until_and_sessions_agree() -> None:
    by_count = grid({"market.until": DELETE, "market.sessions": 27})
    assert by_count.sessions == grid().sessions


def test_dates_that_are_no_sessions_are_refused() -> None:
    edits = {
        "market.as_of": dt.date(2026, 2, 8),
        "market.until": dt.date(2026, 3, 21),
        "catalyst[0].session": dt.date(2026, 2, 16),
        "catalyst[1].session": dt.date(2026, 4, 1),
        "dealers.position[2].expiry": dt.date(2026, 4, 3),
    }
    with pytest.raises(InputError) as caught:
        Scenario.model_validate(sample(edits))
    assert [problem.key for problem in caught.value.problems] == [
        "market.as_of",
        "market.until",
        "catalyst[0].session",
        "catalyst[1].session",
        "dealers.position[2].expiry",
    ]
    assert caught.value.problems[4].hint == "Try 2026-04-02 or 2026-04-06."


def test_catalyst_on_the_first_and_last_session() -> None:
    edits = {"catalyst[0].session": dt.date(2026, 2, 11), "catalyst[1].session": dt.date(2026, 3, 20)}
    assert grid(edits).n_sessions == 27
