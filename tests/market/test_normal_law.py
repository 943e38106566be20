"""The normal law by series about a table's entries, against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtr

from sim.market.normal_law import DENSITY, ENTRIES_PER_UNIT, LAW, LAW_HALF_WIDTH, law_and_density

Z = np.concatenate([np.linspace(-8.49, 8.49, 200_001), np.random.default_rng(3).normal(size=100_000)])


def test_law_and_density() -> None:
    law, density = law_and_density(Z)
    assert np.abs(law - ndtr(Z)).max() < 4e-16
    assert np.abs(density - stats.norm.pdf(Z)).max() < 4e-16
    np.testing.assert_allclose(density, stats.norm.pdf(Z), rtol=2e-12)
    np.testing.assert_allclose(law[Z < 0], ndtr(Z[Z < 0]), rtol=2e-12)


def test_law_rises_from_entry_to_entry() -> None:
    """Where one entry's series hands over to the next, too."""
    middle = (np.arange(-256, 256) + 0.5) / ENTRIES_PER_UNIT
    low, high = (law_and_density(middle + shift)[0] for shift in (-1e-9, 1e-9))
    assert np.all(high > low)


def test_ends() -> None:
    """No position bends the map, to the last bit, beyond the table's ends."""
    z = np.array([LAW_HALF_WIDTH, LAW_HALF_WIDTH + 1e-9, 9.0, 1e3, 1e300])
    for sign, expected in ((-1.0, 0.0), (1.0, 1.0)):
        law, density = law_and_density(sign * z)
        assert law.tolist() == [expected] * z.size
        assert density.tolist() == [0.0] * z.size
    assert ndtr(-LAW_HALF_WIDTH) < 1e-16


def test_entries() -> None:
    z = np.arange(-20, 21) / ENTRIES_PER_UNIT
    law, density = law_and_density(z)
    place = np.arange(-20, 21) + LAW.size // 2
    assert law.tolist() == LAW[place].tolist()
    assert density.tolist() == DENSITY[place].tolist()
    assert law[20] == 0.5
    assert density[20] == pytest.approx(1 / np.sqrt(2 * np.pi), rel=1e-15)
