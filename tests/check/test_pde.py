"""The backward equation against closed forms, a chain of kernels, a reference answer and its refinement."""

from __future__ import annotations

import json
import tomllib
import warnings
from collections.abc import Callable
from dataclasses import replace

import exchange_calendars
import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr
from support.places import CASES
from support.scale_function import scale_function_odds

from sim.check.pde import CorridorProblem, first_target_odds
from sim.errors import InputError
from sim.market.closed_forms import corridor

UPPER, LOWER = np.log(7100 / 6941.81), np.log(6800 / 6941.81)


def identity(s: np.ndarray, minute: float, after_settlement: bool) -> np.ndarray:
    return s


def sessions_problem(
    sessions: int,
    *,
    variance: float,
    overnight_share: float,
    mean: float = 0.0,
    steps: int = 13,
    phi: Callable[[np.ndarray, float, bool], np.ndarray] = identity,
) -> CorridorProblem:
    """Return days of one gap of 1,050 minutes and equal trading steps of 390 minutes together."""
    share = np.r_[overnight_share, np.full(steps, (1 - overnight_share) / steps)]
    minutes = np.tile(np.r_[1050.0, np.full(steps, 390.0 / steps)], sessions)
    return CorridorProblem(
        step_minute=np.r_[0.0, np.cumsum(minutes)],
        is_gap=np.tile(np.r_[True, np.zeros(steps, dtype=bool)], sessions),
        variance=np.tile(variance * share, sessions),
        mean=np.tile(mean * share, sessions),
        phi=phi,
        upper=UPPER,
        lower=LOWER,
    )


def trading_problem(steps: int, *, variance: float, mean: float = 0.0, phi=identity) -> CorridorProblem:
    return CorridorProblem(
        step_minute=30.0 * np.arange(steps + 1),
        is_gap=np.zeros(steps, dtype=bool),
        variance=np.full(steps, variance),
        mean=np.full(steps, mean),
        phi=phi,
        upper=UPPER,
        lower=LOWER,
    )


class PermanentCase:
    """The reference case read anew: calendar, variance shares, book and map written from the model's text."""

    def __init__(self) -> None:
        case = tomllib.loads((CASES / "permanent.toml").read_text())
        market, volatility, dealers = case["market"], case["volatility"], case["dealers"]
        self.spot = market["spot"]
        with warnings.catch_warnings():
            # exchange_calendars still reads Series.values, which pandas 3.1 deprecates.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            calendar = exchange_calendars.get_calendar("XNYS", start="2026-01-02", end="2026-06-30")
        days = calendar.sessions_window(pd.Timestamp(market["as_of"]), market["sessions"] + 1)
        self.opens = [self.minute(calendar.session_open(day)) for day in days]
        self.closes = [self.minute(calendar.session_close(day)) for day in days]
        self.kappa = dealers["impact_bp_per_bn"] * 1e-4 / 1e9 * self.spot
        self.book = []
        for position in dealers["position"]:
            expiry = pd.Timestamp(position["expiry"])
            settles = calendar.session_open if position["settlement"] == "AM" else calendar.session_close
            leaves = self.minute(settles(expiry))
            strike, iv = position["strike"], position["iv"]
            total = iv * np.sqrt((leaves - self.closes[0]) / 525_600)
            gamma = np.exp(-0.125 * total**2) / np.sqrt(2 * np.pi) / (strike * total)
            options = position["gex_bn"] * 1e9 / (gamma * strike**2 * 0.01)
            self.book.append((options, strike, iv, leaves, position["type"] == "put"))
        self.problem = self.steps(volatility, case["targets"])

    @staticmethod
    def minute(instant: pd.Timestamp) -> float:
        return instant.timestamp() / 60.0

    def steps(self, volatility: dict, targets: dict) -> CorridorProblem:
        steps, sessions = volatility["steps_per_session"], len(self.opens) - 1
        u = np.linspace(0.0, 1.0, steps + 1)
        spent = 0.62 * u - 2.353 * 0.150 * np.exp(-u / 0.150) + 1.666 * 0.017 * np.exp(-(1 - u) / 0.017)
        shape = np.diff(spent) / (spent[-1] - spent[0])
        share = np.r_[volatility["overnight_share"], (1 - volatility["overnight_share"]) * shape]
        minutes = [self.closes[0]]
        for opening, close in zip(self.opens[1:], self.closes[1:], strict=True):
            minutes.extend(np.linspace(opening, close, steps + 1))
        daily = volatility["annual"] ** 2 / 252
        return CorridorProblem(
            step_minute=np.array(minutes),
            is_gap=np.tile(np.r_[True, np.zeros(steps, dtype=bool)], sessions),
            variance=np.tile(daily * share, sessions),
            mean=np.tile(-daily / 2 * share, sessions),
            phi=self.phi,
            upper=np.log(targets["upper"] / self.spot),
            lower=np.log(targets["lower"] / self.spot),
        )

    def phi(self, s: np.ndarray, minute: float, after_settlement: bool) -> np.ndarray:
        hedge = np.zeros_like(s)
        for options, strike, iv, leaves, is_put in self.book:
            if leaves < minute or (leaves == minute and after_settlement):
                continue
            total = iv * np.sqrt(max(leaves - minute, 30.0) / 525_600)
            hedge += options * (ndtr((s + np.log(self.spot / strike)) / total + total / 2) - is_put)
        return s + self.kappa * hedge


@pytest.fixture
def permanent_case() -> PermanentCase:
    return PermanentCase()


@pytest.fixture
def permanent(permanent_case) -> CorridorProblem:
    return permanent_case.problem


def test_reference_answer_of_the_permanent_case(permanent):
    reference = json.loads((CASES / "permanent.pde.json").read_text())
    expected = [reference[name] for name in ("first_upper", "first_lower", "neither")]
    np.testing.assert_allclose(first_target_odds(permanent), expected, rtol=0, atol=1e-6)


def test_second_order_in_prices(permanent):
    coarse, middle, fine = (np.array(first_target_odds(permanent, points=n)) for n in (101, 201, 401))
    assert np.all(np.abs(middle - fine) < 1e-5)
    ratio = (coarse[0] - middle[0]) / (middle[0] - fine[0])
    assert 3.5 < ratio < 4.5


def test_second_order_in_time(permanent):
    odds = [np.array(first_target_odds(permanent, points=401, steps_per_step=n)) for n in (8, 16, 32)]
    ratio = (odds[0][0] - odds[1][0]) / (odds[1][0] - odds[2][0])
    assert np.all(np.abs(odds[1] - odds[2]) < 1e-6)
    assert 3.0 < ratio < 5.5


def test_straight_barriers_in_a_step_cost_nothing_that_matters(permanent_case):
    # A strike at the target, leaving the book on the eighth session, bends the target's path in y the most.
    permanent_case.book.append((1.5e6, 7100.0, 0.12, permanent_case.closes[8], False))
    straight, bent = (first_target_odds(permanent_case.problem, points=401, map_samples=n) for n in (1, 8))
    np.testing.assert_allclose(straight, bent, rtol=0, atol=1e-6)


def test_number_of_times_the_map_is_read(permanent):
    reads = []

    def counted(s: np.ndarray, minute: float, after_settlement: bool) -> np.ndarray:
        reads.append((minute, after_settlement))
        return permanent.phi(s, minute, after_settlement)

    first_target_odds(replace(permanent, phi=counted), points=51, steps_per_step=2)
    gaps = int(permanent.is_gap.sum())
    assert len(reads) == 2 * gaps + 3 * (permanent.is_gap.size - gaps)
    # Each instant between steps is seen from both sides of a settlement there.
    assert {(m, True) for m in permanent.step_minute[:-1]} <= set(reads)
    assert {(m, False) for m in permanent.step_minute[1:]} <= set(reads)


@pytest.mark.parametrize("drift", [-0.5, 0.0, 1.5])
def test_without_dealers_or_gaps_the_corridor(drift):
    daily = 0.14**2 / 252
    problem = sessions_problem(21, variance=daily, overnight_share=0.0, mean=drift * daily)
    expected = corridor(UPPER, LOWER, 21 * drift * daily, 21 * daily)
    np.testing.assert_allclose(first_target_odds(problem), expected, rtol=0, atol=1e-6)


def test_trading_steps_alone_are_the_corridor():
    problem = trading_problem(40, variance=1e-5, mean=2e-5)
    np.testing.assert_allclose(
        first_target_odds(problem), corridor(UPPER, LOWER, 8e-4, 4e-4), rtol=0, atol=1e-6
    )


def kernel_chain(problem: CorridorProblem, nodes: int = 160) -> np.ndarray:
    """Return the odds by carrying the density forward: Gaussian over each gap, images through each session.

    Works for the identity map and a whole session's variance at once; shares no code with the equation.
    """
    x, w = np.polynomial.legendre.leggauss(nodes)
    x, w = LOWER + (UPPER - LOWER) * (x + 1) / 2, w * (UPPER - LOWER) / 2
    width = UPPER - LOWER
    density = None
    odds = np.zeros(2)
    starts = np.flatnonzero(problem.is_gap)
    for number, gap in enumerate(starts):
        session = slice(gap + 1, starts[number + 1] if number + 1 < starts.size else None)
        mean, variance = problem.mean[session].sum(), problem.variance[session].sum()
        opened = np.zeros(nodes)
        for p, extra, spread in problem.gap_mixture[number]:
            sd = np.sqrt(problem.variance[gap] + spread)
            shift = problem.mean[gap] + extra
            source, mass = (np.zeros(1), np.ones(1)) if density is None else (x, w * density)
            z = (x[:, None] - source - shift) / sd
            opened += p * (np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) / sd) @ mass
            odds[0] += p * mass @ ndtr((source + shift - UPPER) / sd)
            odds[1] += p * mass @ ndtr((LOWER - source - shift) / sd)
        hit = corridor(UPPER - x, LOWER - x, mean, variance)
        odds += (w * opened @ hit.first_upper, w * opened @ hit.first_lower)
        density = np.zeros(nodes)
        theta = mean / variance
        for n in range(-3, 4):
            for place, sign in ((x + 2 * n * width, 1.0), (2 * UPPER - x + 2 * n * width, -1.0)):
                weight = theta * (place - x) - (x[:, None] - place - mean) ** 2 / (2 * variance)
                density += sign * np.exp(weight) / np.sqrt(2 * np.pi * variance) @ (w * opened)
    return odds


@pytest.mark.parametrize("overnight_share", [0.02, 0.46])
def test_gaps_without_dealers_are_a_chain_of_kernels(overnight_share):
    problem = sessions_problem(6, variance=7e-5, overnight_share=overnight_share, mean=3e-5)
    quiet = ((1.0, 0.0, 0.0),)
    catalyst = ((0.55, 0.006, 9e-6), (0.45, -0.007, 1.6e-5))
    rare_jump = ((0.98, 0.0, 0.0), (0.02, -0.02, 9e-4))
    problem = replace(problem, gap_mixture=(quiet, catalyst, quiet, rare_jump, rare_jump, catalyst))
    np.testing.assert_allclose(first_target_odds(problem)[:2], kernel_chain(problem), rtol=0, atol=5e-7)


def test_odds_are_damped_after_every_gap():
    problem = sessions_problem(4, variance=7e-5, overnight_share=0.3, mean=3e-5)
    problem = replace(problem, gap_mixture=(((0.55, 0.006, 9e-6), (0.45, -0.007, 1.6e-5)),) * 4)
    # Undamped at the gaps, the jump at the targets leaves 7e-6 at this number of substeps.
    odds = first_target_odds(problem, steps_per_step=12)
    np.testing.assert_allclose(odds[:2], kernel_chain(problem), rtol=0, atol=1e-6)


def test_a_single_gap_through_a_changing_map():
    def phi(s: np.ndarray, minute: float, after_settlement: bool) -> np.ndarray:
        return 0.01 + 0.8 * s if minute == 0.0 else s + 0.3 * np.tanh(20 * s)

    def above(level: float) -> float:
        centre, edge = 0.01 + 1e-4, level + 0.3 * np.tanh(20 * level)
        tail = [ndtr((centre + move - edge) / np.sqrt(4e-3 + v)) for move, v in ((0.0, 0.0), (-0.05, 1e-2))]
        return 0.7 * tail[0] + 0.3 * tail[1]

    gap = CorridorProblem(
        step_minute=np.array([0.0, 1050.0]),
        is_gap=np.array([True]),
        variance=np.array([4e-3]),
        mean=np.array([1e-4]),
        phi=phi,
        upper=UPPER,
        lower=LOWER,
        gap_mixture=(((0.7, 0.0, 0.0), (0.3, -0.05, 1e-2)),),
    )
    expected = above(UPPER), 1.0 - above(LOWER)
    np.testing.assert_allclose(first_target_odds(gap)[:2], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("jump", "expected"), [(0.03, (1, 0, 0)), (-0.03, (0, 1, 0)), (0.001, None)])
def test_a_gap_without_variance_only_shifts(jump, expected):
    problem = sessions_problem(1, variance=1e-4, overnight_share=0.0)
    problem = replace(problem, gap_mixture=(((1.0, jump, 0.0),),))
    if expected is None:
        expected = corridor(UPPER - jump, LOWER - jump, 0.0, 1e-4)
    np.testing.assert_allclose(first_target_odds(problem), expected, rtol=0, atol=1e-6)


def test_a_constant_feedback_factor_only_widens_the_corridor():
    plain = sessions_problem(4, variance=7e-5, overnight_share=0.4, mean=1e-5)
    stretched = replace(plain, phi=lambda s, minute, after: 1.7 * s)
    wider = replace(plain, upper=1.7 * UPPER, lower=1.7 * LOWER)
    odds = [first_target_odds(problem, points=201) for problem in (stretched, wider)]
    np.testing.assert_allclose(odds[0], odds[1], rtol=0, atol=1e-12)


def test_a_settlement_moves_no_price():
    plain = sessions_problem(3, variance=7e-5, overnight_share=0.4, mean=1e-5)
    opening, midday, close = plain.step_minute[[15, 20, 28]]

    def stepped(s: np.ndarray, minute: float, after_settlement: bool) -> np.ndarray:
        settled = sum(minute > t or (minute == t and after_settlement) for t in (opening, midday, close))
        return s + 0.05 * settled

    odds = [first_target_odds(problem, points=201) for problem in (plain, replace(plain, phi=stepped))]
    np.testing.assert_allclose(odds[0], odds[1], rtol=0, atol=1e-12)


def test_a_map_that_decays_is_a_drift_of_the_price():
    rate = 4e-7
    plain = sessions_problem(5, variance=7e-5, overnight_share=0.4)
    decaying = replace(plain, phi=lambda s, minute, after: s + rate * minute)
    drifting = replace(plain, mean=-rate * np.diff(plain.step_minute))
    odds = [first_target_odds(problem, points=401) for problem in (decaying, drifting)]
    assert abs(odds[1][0] - first_target_odds(plain, points=401)[0]) > 0.01
    np.testing.assert_allclose(odds[0], odds[1], rtol=0, atol=1e-12)


def test_reflection_swaps_the_targets():
    def phi(s: np.ndarray, minute: float, after_settlement: bool) -> np.ndarray:
        return s + (1 + minute / 3000) * 0.004 * np.tanh((s - 0.01) / 0.006)

    def mirrored(s: np.ndarray, minute: float, after_settlement: bool) -> np.ndarray:
        return -phi(-s, minute, after_settlement)

    problem = sessions_problem(3, variance=7e-5, overnight_share=0.4, mean=1e-5, phi=phi)
    mirror = replace(problem, phi=mirrored, upper=-LOWER, lower=-UPPER, mean=-problem.mean)
    odds, swapped = first_target_odds(problem, points=201), first_target_odds(mirror, points=201)
    np.testing.assert_allclose((odds[1], odds[0]), swapped[:2], rtol=0, atol=1e-12)


def wall(s: float | np.ndarray) -> np.ndarray:
    """Feedback factor of a long strike above and a short one below, deep enough to be floored."""
    bump = 3.0 * np.exp(-0.5 * ((np.asarray(s) - 0.008) / 0.002) ** 2)
    hollow = 1.5 * np.exp(-0.5 * ((np.asarray(s) + 0.010) / 0.003) ** 2)
    return np.maximum(1.0 + bump - hollow, 0.2)


def test_a_static_map_gives_the_scale_function_odds():
    s = np.linspace(LOWER, UPPER, 20001)
    factor = wall(s)
    table = np.r_[0.0, np.cumsum((factor[1:] + factor[:-1]) / 2 * np.diff(s))]
    assert factor.min() == 0.2
    problem = trading_problem(60, variance=4e-4, phi=lambda at, minute, after: np.interp(at, s, table))
    kinks = s[1:][np.diff(factor == 0.2)]
    expected = scale_function_odds(lambda at: float(wall(at)), UPPER, LOWER, breakpoints=(0.008, *kinks))
    first_upper, first_lower, neither = first_target_odds(problem)
    assert abs(neither) < 1e-7
    assert (first_upper, first_lower) == pytest.approx(expected, abs=1e-6)
    # The wall must matter, or the agreement would say little: without it the odds are the distances'.
    assert abs(first_upper - LOWER / (LOWER - UPPER)) > 0.02


def test_four_substeps_carry_a_step_as_long_as_the_corridor():
    odds = first_target_odds(trading_problem(3, variance=2e-3), points=801, steps_per_step=4)
    np.testing.assert_allclose(odds, corridor(UPPER, LOWER, 0.0, 6e-3), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"step_minute": np.arange(3.0)}, "step_minute"),
        ({"step_minute": np.zeros(15)}, "step_minute"),
        ({"is_gap": np.zeros((2, 7), dtype=bool)}, "is_gap"),
        ({"variance": np.ones(3)}, "variance"),
        ({"variance": np.zeros(14)}, "variance"),
        ({"variance": np.full(14, np.nan)}, "variance"),
        ({"mean": np.full(14, np.inf)}, "mean"),
        ({"mean": np.zeros(13)}, "mean"),
        ({"upper": 0.0}, "upper"),
        ({"lower": np.nan}, "lower"),
        ({"gap_mixture": (((1.0, 0.0, 0.0),),) * 2}, "gap_mixture"),
        ({"gap_mixture": (((0.5, 0.0, 0.0),),)}, "adding up to 1"),
        ({"gap_mixture": (((1.0, 0.0, -1e-9),),)}, "no negative"),
    ],
)
def test_a_problem_that_makes_no_sense_is_refused(change, key):
    problem = sessions_problem(1, variance=1e-4, overnight_share=0.4)
    with pytest.raises(InputError, match=key):
        replace(problem, **change)


@pytest.mark.parametrize("size", [{"points": 4}, {"steps_per_step": 0}, {"map_samples": 0}])
def test_a_resolution_too_small_is_refused(size):
    with pytest.raises(InputError, match=next(iter(size))):
        first_target_odds(trading_problem(1, variance=1e-4), **size)


def test_a_map_that_folds_is_refused():
    folded = trading_problem(1, variance=1e-4, phi=lambda s, minute, after: np.sin(200 * s))
    with pytest.raises(InputError, match="must increase with the price"):
        first_target_odds(folded, points=51)
