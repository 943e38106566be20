"""What happens once per session, rule by rule: variance, tails, regimes, flow, fading, re-basing."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from support.sample_scenario import DELETE, sample

from sim.compiled.kernel_constants import CALLS_PER_SESSION, PURPOSE_BRIDGE, PURPOSE_MOVES
from sim.kernels_numpy.normal import normal_pair
from sim.kernels_numpy.path_state import PathBlock
from sim.kernels_numpy.path_step import take_step
from sim.kernels_numpy.paths import run_block
from sim.kernels_numpy.philox import PathWords, philox4x32
from sim.kernels_numpy.session import close_session, open_session, settle_open
from sim.plan.builder import Prepared, prepare
from sim.plan.outcomes import WITH, WITHOUT
from sim.scenario.model import Scenario

SPOT = 6941.81
DATES = [dt.date(2026, 2, day) for day in (11, 12, 13, 17, 18, 19, 20, 23)]
# Moves of 1e-9 per session: prices are what gaps, drift and flow make them.
STILL: dict[str, Any] = {
    "market": {"as_of": dt.date(2026, 2, 10), "spot": SPOT, "sessions": 8},
    "volatility": {"annual": 1e-8, "overnight_share": 0.5, "steps_per_session": 4},
    "drift": {"annual": 0.0},
    "jumps": DELETE,
    "catalyst": [],
    "levels": [],
    "regime": [],
    "dealers": {"impact_bp_per_bn": 3.5},
    "targets": {"upper": 7500, "lower": 6400},
}
GARCH = {"alpha": 0.05, "gamma": 0.2, "beta": 0.8, "long_run_annual": 0.2}
OMEGA = 0.2**2 / 252 * (1 - 0.05 - 0.1 - 0.8)


def prepared_of(edits: dict[str, Any] | None = None, base: dict[str, Any] = STILL) -> Prepared:
    return prepare(Scenario.model_validate(sample({**base, **(edits or {})})))


def opens_at(*prices: float | None) -> list[dict[str, Any]]:
    """Catalysts that open each session at a price, or where the last one closed."""
    news, last = [], SPOT
    for date, price in zip(DATES, prices, strict=False):
        if price is not None:
            mean = float(np.log(price / last))
            outcome = {"probability": 1.0, "mean": mean, "sd": 0.0}
            news.append({"session": date, "name": "news", "outcomes": [outcome]})
            last = price
    return news


def states(prepared: Prepared, paths: int = 1, seed: int = 1) -> dict[str, NDArray[Any]]:
    """x, y, s, h and regime after each close, (closes, paths); start included."""
    plan, block = prepared.plan, PathBlock(prepared.plan, seed, paths)
    zeros = np.zeros(paths)
    start = (zeros, zeros + float(plan.hedge_start), zeros, zeros + float(plan.variance_start), zeros)
    rows: dict[str, list[NDArray[Any]]] = {
        n: [v] for n, v in zip(("x", "y", "s", "h", "regime"), start, strict=True)
    }

    def keep(_: int, here: PathBlock) -> None:
        now = (here.coordinate[WITHOUT], here.coordinate[WITH], here.s, here.h)
        for name, value in zip("xysh", now, strict=True):
            rows[name].append(value.astype(np.float64))
        rows["regime"].append(here.regime.copy())

    run_block(block, 0, paths, keep)
    return {name: np.stack(row) for name, row in rows.items()}


class CountedWords(PathWords):
    """Words that note every draw as (address, purpose, paths)."""

    def __init__(self, capacity: int, seed: int):
        super().__init__(capacity, seed)
        self.drawn: list[tuple[int, int, int]] = []

    def draw(self, path_low: Any, path_high: int, call: int, purpose: int, out: Any) -> None:
        self.drawn.append((call, purpose, path_low.size))
        super().draw(path_low, path_high, call, purpose, out)


def regimes(prices: tuple[float | None, ...], *rules: dict[str, Any], **edits: Any) -> list[str]:
    """Regime after each close of a market that closes at these prices."""
    prepared = prepared_of({"catalyst": opens_at(*prices), "regime": list(rules), **edits})
    names = prepared.axes.regimes
    return [names[r] for r in states(prepared)["regime"][1 : len(prices) + 1, 0].astype(int)]


def rule(name: str, when: str, level: float | None = None, **others: Any) -> dict[str, Any]:
    given = {"from" if key == "from_" else key: value for key, value in others.items()}
    return {"name": name, "when": when, **({} if level is None else {"level": level}), **given}


def above(name: str, level: float, **others: Any) -> dict[str, Any]:
    return rule(name, "closes_above", level, **{"closes": 1, **others})


def below(name: str, level: float, **others: Any) -> dict[str, Any]:
    return rule(name, "closes_below", level, **{"closes": 1, **others})


# Random words.


@pytest.mark.parametrize(("steps", "calls"), [(1, 1), (2, 2), (3, 2), (4, 2), (5, 2), (6, 3), (13, 4)])
@pytest.mark.parametrize("edits", [{}, {"volatility.tail_dof": 5.0, "catalyst": opens_at(7000)}])
def test_words_of_a_session(steps: int, calls: int, edits: dict[str, Any]) -> None:
    """One for V, one for the outcome and two per pair of normals, used or not: 4 calls for 14 steps."""
    prepared = prepared_of({"volatility.steps_per_session": steps, **edits})
    block = PathBlock(prepared.plan, 1, 3)
    block.start(0, 3)
    block.words = CountedWords(3, 1)
    for session in (0, 2):
        open_session(block, session)
        expected = [(session * CALLS_PER_SESSION + call, PURPOSE_MOVES, 3) for call in range(calls)]
        assert block.words.drawn == expected
        block.words.drawn.clear()
        words = [philox4x32((0, 0, address, PURPOSE_MOVES), (1, 0)) for address, _, _ in expected]
        first = np.concatenate(words)
        for k in range(block.normal_count):
            pair = first[2 + k // 2 * 2 :][:2].reshape(2, 1)
            normals = np.empty((2, 1), dtype=np.float32)
            normal_pair(pair[0], pair[1], normals[0], normals[1], np.empty((3, 1), dtype=np.float32))
            assert block.normals[k, 0] == normals[k % 2, 0]
            assert block.spare[k // 2, 0] % 4096 == pair[1, 0] % 4096
        if prepared.plan.variance_atoms.size:
            v = prepared.plan.variance_atoms[first[0] >> 20]
            assert block.scaled_variance[0] == block.h[0] * v


def test_words_of_the_bridges() -> None:
    """One call per step for the paths near a level, of its own purpose; none in a gap or where no level is near."""
    near_and_far = {"targets": {"upper": SPOT * 1.002, "lower": 3000}, "volatility.annual": 0.1}
    block = PathBlock(prepared_of(near_and_far).plan, 1, 1000)
    block.start(0, 1000)
    block.words = CountedWords(1000, 1)
    open_session(block, 0)
    block.words.drawn.clear()
    for step in range(5):
        take_step(block, step)
    drawn = {address: paths for address, purpose, paths in block.words.drawn if purpose == PURPOSE_BRIDGE}
    assert sorted(drawn) == [1, 2, 3, 4]
    assert len(block.words.drawn) == 4
    assert all(20 < paths < 500 for paths in drawn.values())
    still = PathBlock(prepared_of().plan, 1, 1000)
    still.words = CountedWords(1000, 1)
    run_block(still, 0, 1000)
    assert {purpose for _, purpose, _ in still.words.drawn} == {PURPOSE_MOVES}


# Variance.


@pytest.mark.parametrize(("shock", "weight"), [(0.03, 0.05), (-0.03, 0.25), (0.05, 0.05), (-0.05, 0.25)])
def test_falls_raise_the_variance_more(shock: float, weight: float) -> None:
    edits = {f"volatility.{key}": value for key, value in GARCH.items()}
    news = opens_at(SPOT * float(np.exp(shock)))
    h = states(prepared_of({**edits, "catalyst": news}))["h"][:, 0]
    assert h[1] == pytest.approx(OMEGA + weight * shock**2, rel=1e-5)


@pytest.mark.parametrize("drift", [-5.0, 0.0, 5.0])
def test_shock_counts_gaps_and_steps_but_no_drift(drift: float) -> None:
    """h = ω + (α + γ[n<0])n² + βh from the closes alone, n the move less (drift − h/2)."""
    edits = {
        "volatility": {**STILL["volatility"], "annual": 0.9, "tail_dof": 4.0, **GARCH},
        "drift.annual": drift,
        "jumps": {"per_year": 120.0, "mean": -0.02, "sd": 0.03},
        "catalyst": opens_at(None, 7100),
    }
    seen = states(prepared_of(edits), paths=400)
    x, h = seen["x"], seen["h"]
    n = np.diff(x, axis=0) - (drift / 252 - 0.5 * h[:-1])
    expected = OMEGA + np.where(n < 0, 0.25, 0.05) * n**2 + 0.8 * h[:-1]
    assert (n < 0).any(axis=1).all()
    assert (n > 0).any(axis=1).all()
    np.testing.assert_allclose(h[1:], expected, rtol=2e-4)


def test_a_shock_of_exactly_zero_is_no_fall() -> None:
    prepared = prepared_of({f"volatility.{key}": value for key, value in GARCH.items()})
    block = PathBlock(prepared.plan, 1, 1)
    block.start(0, 1)
    open_session(block, 0)
    np.copyto(block.x_open, block.coordinate[WITHOUT] - block.mean)
    close_session(block, 0)
    assert block.h[0] == pytest.approx(OMEGA, rel=1e-6)


def moves(edits: dict[str, Any], paths: int, sessions: int = 2) -> NDArray[np.float64]:
    """Moves of x in each step, (sessions, steps, paths)."""
    plan = prepared_of(edits).plan
    block, rows = PathBlock(plan, 5, paths), []
    block.start(0, paths)
    for session in range(sessions):
        open_session(block, session)
        for k in range(plan.steps_per_session):
            before = block.coordinate[WITHOUT].astype(np.float64)
            take_step(block, session * plan.steps_per_session + k)
            rows.append(block.coordinate[WITHOUT] - before)
        close_session(block, session)
    return np.array(rows).reshape(sessions, plan.steps_per_session, paths)


def test_student_t_scales_gap_and_steps_by_one_draw_a_session() -> None:
    """V = (ν−2)/χ²: the same in every step of a session, another in the next. Fixed seed; false alarms 1e-6."""
    calm = {
        "volatility": {
            "annual": 0.5,
            "overnight_share": 0.2,
            "steps_per_session": 4,
            "intraday_shape": "flat",
        }
    }
    mean = -0.5 * 0.5**2 / 252 * 0.2
    normal, scaled = moves(calm, 4000) - mean, moves({**calm, "volatility.tail_dof": 5.0}, 4000) - mean
    clear = np.abs(normal) > 1e-3
    v = (scaled / normal) ** 2
    for session in range(2):
        of_path = np.array([np.median(v[session, clear[session, :, p], p]) for p in range(4000)])
        spread = np.where(clear[session], v[session] / of_path - 1, 0)
        assert np.abs(spread).max() < 5e-3
        assert stats.kstest((5.0 - 2.0) / of_path, stats.chi2(5.0).cdf).pvalue > 1e-6
        assert abs(of_path.mean() - 1) < 5 * of_path.std() / np.sqrt(4000)
    both = [np.median(v[s], axis=0) for s in range(2)]
    assert abs(stats.spearmanr(*both).statistic) < 0.08


# Regimes: a path whose closes are given.


def test_closes_in_a_row() -> None:
    up = above("up", 7000, closes=2)
    assert regimes((7010, 7020, None), up) == ["initial", "up", "up"]
    assert regimes((7010, 6990, 7010, 6990, 7010, 7010), up) == ["initial"] * 5 + ["up"]
    three = below("down", 6900, closes=3)
    assert regimes((6890, 6880, 6910, 6890, 6880, 6870), three) == ["initial"] * 5 + ["down"]


def test_the_as_of_close_counts_as_the_first() -> None:
    assert regimes((None, None), below("down", 6945, closes=2)) == ["down", "down"]
    assert regimes((None, None, None), below("down", 6945, closes=3)) == ["initial", "down", "down"]
    assert regimes((None, None), above("up", 6940, closes=2)) == ["up", "up"]
    # one that does not qualify counts for nothing, and the run it began ends like any other
    assert regimes((6930, 6930), below("down", 6940, closes=2)) == ["initial", "down"]
    assert regimes((6950, 6940, 6940), below("down", 6945, closes=2)) == ["initial", "initial", "down"]


def test_closes_run_on_in_other_regimes() -> None:
    """The run is counted wherever the path is, so that a regime may be entered as soon as `from` allows."""
    late = above("late", 6990, closes=3, from_=["early"])
    assert regimes((7000, 7000, 7020, 7000), late, above("early", 7010)) == ["initial"] * 2 + [
        "early",
        "late",
    ]


def test_from_is_respected() -> None:
    second = above("second", 7000, from_=["first"])
    first = below("first", 6900)
    assert regimes((7010, 7010, 6890, 6890, 7010), second, first) == [
        *("initial", "initial", "first", "first", "second")
    ]
    anywhere = {key: value for key, value in second.items() if key != "from"}
    assert regimes((7010, 7010, 6890), anywhere, first) == ["second", "second", "first"]


def test_the_first_listed_trigger_wins() -> None:
    near, far = above("near", 7000), above("far", 7050)
    assert regimes((7100, 7100, 7100), near, far) == ["near", "far", "far"]
    assert regimes((7100, 7100, 7100), far, near) == ["far", "near", "near"]


def test_a_regime_is_entered_at_most_once() -> None:
    up, down = above("up", 7000), below("down", 6900)
    assert regimes((7010, 6890, 7010, 6890), up, down) == ["up", "down", "down", "down"]


def test_a_hand_over_comes_after_the_sessions_it_lasts() -> None:
    then = rule("then", "never")
    for lasts in (1, 2, 4):
        rush = above("rush", 7000, lasts=lasts, then="then")
        expected = ["initial"] + ["rush"] * lasts + ["then"] * (6 - lasts)
        assert regimes((6990, 7010, 6990, 6990, 6990, 6990, 6990), rush, then) == expected


def test_a_hand_over_beats_a_trigger() -> None:
    listed_first = above("listed_first", 7100)
    rush, then = above("rush", 7000, lasts=2, then="then"), rule("then", "never")
    assert regimes((7010, 7010, 7110, 7110), listed_first, rush, then) == [
        *("rush", "rush", "then", "listed_first")
    ]
    # before it is due a trigger does lead away, and there is no hand-over any more
    assert regimes((7010, 7110, 7110, 7110), listed_first, rush, then) == ["rush"] + ["listed_first"] * 3


def test_no_hand_over_to_a_regime_visited_before() -> None:
    then, rush = below("then", 6900), above("rush", 7000, lasts=2, then="then")
    assert regimes((6890, 7010, 7010, 7010, 7010), then, rush) == ["then", *["rush"] * 4]
    # nothing is left of its hand-over, and triggers lead on
    other = above("other", 7100)
    assert regimes((6890, 7010, 7010, 7110, 7110), then, rush, other) == [
        "then",
        *["rush"] * 2,
        *["other"] * 2,
    ]


def test_a_hand_over_enters_for_good() -> None:
    """The successor counts as visited, its own `lasts` starts at the hand-over, and its trigger is spent."""
    rush = above("rush", 7000, lasts=1, then="ebb")
    ebb, calm = below("ebb", 6900, lasts=2, then="calm"), rule("calm", "never")
    assert regimes((7010, 7010, 6890, 6890, 6890, 6890), rush, ebb, calm) == [
        *("rush", "ebb", "ebb", "calm", "calm", "calm")
    ]


def test_a_touch_counts_for_ever() -> None:
    """A level touched while `from` forbade the regime, days before."""
    touched = rule("touched", "touches_below", 6900, from_=["up"])
    prices = (6890, 6950, 6950, 7010, 7010)
    assert regimes(prices, touched, above("up", 7000)) == ["initial"] * 3 + ["up", "touched"]
    high = rule("high", "touches_above", 7000, from_=["down"])
    assert regimes((7010, 6950, 6890, 6950), high, below("down", 6900)) == [
        *("initial", "initial", "down", "high")
    ]
    assert regimes((6990, 6950, 6890, 6950), high, below("down", 6900)) == ["initial"] * 2 + ["down"] * 2


@pytest.mark.parametrize(("when", "level", "side"), [("touches_above", 7000, 0), ("touches_below", 6880, 1)])
def test_a_touch_counts_though_the_price_came_back(when: str, level: float, side: int) -> None:
    edits = {
        "volatility.annual": 0.16,
        "regime": [rule("touched", when, level)],
        "levels": [7010, 6960, 6870],
    }
    prepared = prepared_of(edits)
    block, seen = PathBlock(prepared.plan, 3, 3000), []
    rank = sum(1 for other in prepared.axes.levels if SPOT < other < level or level < other < SPOT)

    def look(session: int, here: PathBlock) -> None:
        touched = here.rank[side] > rank
        back = touched & ((here.s < np.log(level / SPOT)) != bool(side))
        np.testing.assert_array_equal(here.regime == 1, touched)
        seen.append((int(touched.sum()), int(back.sum())))

    run_block(block, 0, 3000, look)
    assert seen[0][1] > 20
    assert seen[-1][0] < 3000


def test_as_many_regimes_as_a_scenario_may_list() -> None:
    """One after the other, each entered once, the last ones too."""
    rules = [above(f"r{i}", 6900) for i in range(1, 32)]
    edits = {"regime": rules, "market": {"as_of": dt.date(2026, 2, 10), "spot": SPOT, "sessions": 34}}
    regime = states(prepared_of(edits), paths=3)["regime"]
    expected = np.minimum(np.arange(35), 31)
    np.testing.assert_array_equal(regime, np.repeat(expected[:, None], 3, axis=1))
    idle = [above(f"r{i}", 9000) for i in range(1, 30)]
    up_and_down = regimes((7010, 6890, 7010), *idle, below("r30", 6900), above("r31", 7000))
    assert up_and_down == ["r31", "r30", "r30"]


# Flow and fading.


def within(prepared: Prepared, sessions: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Price s and fundamental x of one path after each step, from the start, (sessions·K + 1,)."""
    plan = prepared.plan
    block = PathBlock(plan, 1, 1)
    block.start(0, 1)
    s, x = [0.0], [0.0]
    for session in range(sessions):
        open_session(block, session)
        for step in range(session * plan.steps_per_session, (session + 1) * plan.steps_per_session):
            take_step(block, step)
            s.append(float(block.s[0]))
            x.append(float(block.coordinate[WITHOUT, 0]))
        close_session(block, session)
    return np.array(s), np.array(x)


@pytest.mark.parametrize("flow", [8.0, -5.0])
def test_flow_presses_the_price_in_trading_steps(flow: float) -> None:
    """impact_bp_per_bn·1e-4·flow per session in equal steps, from the session after the regime is entered."""
    buying = above("buying", 6900, flow_bn_per_session=flow)
    s, x = within(prepared_of({"regime": [buying]}), 3)
    session = 3.5e-4 * flow * np.array([0, 0.25, 0.5, 0.75, 1.0])
    expected = np.concatenate(([0.0] * 6, session, session[-1] + session))
    np.testing.assert_allclose(s, expected, atol=3e-8)
    np.testing.assert_allclose(x, 0, atol=3e-8)


def test_flow_ends_with_its_regime() -> None:
    rush = above("rush", 6900, flow_bn_per_session=8.0, lasts=2, then="calm")
    s = states(prepared_of({"regime": [rush, rule("calm", "never")]}))["s"][:, 0]
    np.testing.assert_allclose(s, 3.5e-4 * 8 * np.array([0, 0, 1, 2, 2, 2, 2, 2, 2]), atol=5e-8)


@pytest.mark.parametrize("half_life", [1.0, 2.0, 5.0])
def test_impact_halves_in_its_half_life(half_life: float) -> None:
    rush = above("rush", 6900, flow_bn_per_session=80.0, lasts=1, then="calm")
    edits = {"regime": [rush, rule("calm", "never")], "dealers.impact_half_life": half_life}
    prepared = prepared_of(edits)
    s, x = within(prepared, 8)
    impact, per_session = s - x, prepared.plan.steps_per_session
    at_close = impact[::per_session]
    sessions = np.arange(2, 9)
    np.testing.assert_allclose(at_close[2:], at_close[2] * 0.5 ** ((sessions - 2) / half_life), rtol=1e-4)
    # while the flow lasts it fades as well, and what comes in a step fades from the next on
    decay = 0.5 ** (1 / (half_life * 4))
    assert at_close[2] == pytest.approx(80 * 3.5e-4 / 4 * (1 + decay + decay**2 + decay**3), rel=1e-4)
    # overnight nothing fades
    gaps = np.arange(2, 8) * per_session
    np.testing.assert_allclose(impact[gaps + 1], impact[gaps], rtol=1e-6)


# Re-basing.

BOOKS = {
    "market": {"as_of": dt.date(2026, 2, 10), "spot": SPOT, "sessions": 8},
    "volatility.steps_per_session": 2,
    "volatility.annual": 0.3,
    "volatility.long_run_annual": 0.3,
    "catalyst": [],
    "dealers.position[1].expiry": DATES[4],
}
# Twice the forward table's tolerance, 0.004 points, and float32.
MAP_ERROR = 2 * 0.004 / SPOT


def books_before_and_after(sessions: int, paths: int) -> Any:
    """(at, before, after, minute) around each settlement at an open and around each close."""
    prepared = prepared_of(BOOKS, base={})
    plan, grid = prepared.plan, prepared.grid
    block = PathBlock(plan, 2, paths)
    block.start(0, paths)

    def snapshot() -> dict[str, NDArray[Any]]:
        return {
            "s": block.s.copy(),
            "y": block.coordinate[WITH].copy(),
            "x": block.coordinate[WITHOUT].copy(),
            "regime": block.regime.copy(),
        }

    for session in range(sessions):
        first = session * plan.steps_per_session
        open_session(block, session)
        take_step(block, first)
        before = snapshot()
        settle_open(block, first)
        yield prepared, "open", first, before, snapshot(), grid.step_end_minute[first]
        for step in range(first + 1, first + plan.steps_per_session):
            take_step(block, step)
        before = snapshot()
        close_session(block, session)
        last = first + plan.steps_per_session - 1
        yield prepared, "close", last, before, snapshot(), grid.step_end_minute[last]


def test_rebasing_moves_the_hedge_and_no_price() -> None:
    """y = Φ of the book that holds from then on; every other path keeps the bits of its y."""
    seen: dict[str, int] = {"settled at an open": 0, "settled at a close": 0, "new book": 0, "kept": 0}
    for prepared, at, step, before, after, minute in books_before_and_after(8, 400):
        np.testing.assert_array_equal(before["s"], after["s"])
        np.testing.assert_array_equal(before["x"], after["x"])
        settles = prepared.plan.settles[step]
        changed = before["regime"] != after["regime"]
        rebased = np.full(400, settles) | changed
        book = prepared.plan.book_of_regime[after["regime"]]
        exact = prepared.clearing_map.at(minute, after_settlement=True).value(after["s"].astype(np.float64))
        expected = exact[book, np.arange(400)]
        np.testing.assert_allclose(after["y"][rebased], expected[rebased], rtol=0, atol=MAP_ERROR)
        np.testing.assert_array_equal(after["y"][~rebased], before["y"][~rebased])
        # the old hedge was another one, so that leaving it would be seen
        moved = np.abs(before["y"] - expected) > 20 * MAP_ERROR
        name = f"settled at {'an open' if at == 'open' else 'a close'}" if settles else "new book"
        seen[name] += int((moved & rebased).sum())
        seen["kept"] += int((~rebased).sum())
    assert min(seen.values()) > 20, seen
