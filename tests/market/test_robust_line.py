from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from sim.market.robust_line import fitted_line

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("outliers", [0.0, 0.2])
@pytest.mark.parametrize("count", [5, 40, 240])
def test_scipy(count: int, outliers: float) -> None:
    x = np.sort(RNG.uniform(-600.0, 500.0, count))
    spread = RNG.uniform(0.05, 3.0, count)
    y = 4.0 - 0.97 * x + spread * RNG.normal(size=count)
    y[RNG.integers(0, count, round(outliers * count))] += 500.0
    fit = least_squares(
        lambda p: (y - p[0] - p[1] * x) / spread,
        [0.0, -1.0],
        loss="soft_l1",
        x_scale=(1.0, 0.001),
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
    )
    found = fitted_line(x, y, spread, (0.0, -1.0))
    assert found is not None
    ratio = (y - found[0] - found[1] * x) / spread
    assert np.sum(np.sqrt(1 + ratio**2) - 1) <= fit.cost * (1 + 1e-12)
    # the slopes of the misfit, which SciPy's answer leaves further from zero
    pull = ratio / np.sqrt(1 + ratio**2) / spread
    for terms in (pull, pull * x):
        assert abs(terms.sum()) < 1e-11 * np.abs(terms).sum()


def test_the_start_does_not_matter() -> None:
    x = np.arange(-50.0, 50.0)
    y = 3.0 - x + RNG.normal(size=100)
    y[::4] -= 60.0
    spread = np.full(100, 0.5)
    found = [fitted_line(x, y, spread, start) for start in ((0.0, -1.0), (1e4, 3.0), (-1e5, -40.0))]
    assert all(line is not None for line in found)
    for line in found[1:]:
        assert line == pytest.approx(found[0], rel=1e-9)


def test_points_on_a_line() -> None:
    x = np.array([-3.0, -1.0, 0.0, 2.0, 8.0])
    assert fitted_line(x, 2.0 - 0.5 * x, np.ones(5), (2.0, -0.5)) == (2.0, -0.5)
    assert fitted_line(x, 2.0 - 0.5 * x, np.ones(5), (0.0, -1.0)) == pytest.approx((2.0, -0.5), rel=1e-12)


def test_all_at_one_place() -> None:
    assert fitted_line(np.full(6, 3.0), np.arange(6.0), np.ones(6), (0.0, -1.0)) is None
