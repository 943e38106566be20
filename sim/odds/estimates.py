"""Estimates of probabilities and of paired differences, with their 95% intervals."""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

TWO_SIDED_95 = NormalDist().inv_cdf(0.975)
FloatArray = NDArray[np.float64]


class Estimate(NamedTuple):
    """A probability or a difference of two, with its standard error and the ends of its 95% interval."""

    probability: FloatArray
    std_error: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray


def proportion_estimate(count: ArrayLike, paths: int) -> Estimate:
    """Share of paths with its standard error and 95% interval.

    The interval solves |p − c/n| = z·sqrt(p(1−p)/n) for p, so it keeps a width at c = 0 and c = n. The
    standard error is sqrt(c/n·(1−c/n)/n); at c = 0 and c = n, where that would claim certainty, it is the
    interval's half-width over z, about 1/n.

    Parameters
    ----------
    count : c, any shape, integer, paths on which the event happened, 0 ≤ c ≤ n.
    paths : n, at least 1.

    Source: Wilson 1927; Brown, Cai & DasGupta 2001.
    """
    assert paths > 0
    c = np.asarray(count, dtype=np.float64)
    assert bool(np.all((c >= 0) & (c <= paths)))
    n, z = float(paths), TWO_SIDED_95
    share = c / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half_width = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    certain = (c == 0) | (c == n)
    std_error = np.where(certain, half_width / z, np.sqrt(share * (1 - share) / n))
    low = np.where(c == 0, 0.0, np.clip(centre - half_width, 0.0, 1.0))
    high = np.where(c == n, 1.0, np.clip(centre + half_width, 0.0, 1.0))
    return Estimate(share, std_error, low, high)


def paired_difference_estimate(only_with: ArrayLike, only_without: ArrayLike, paths: int) -> Estimate:
    """Difference of two shares of the same paths with its standard error and 95% interval.

    d = (b − c)/n with variance (b + c − (b − c)²/n)/n²; positive where dealers make the event likelier. The
    interval is the Wald interval of the table with one path added to each discordant cell, b' = (b+1)/(n+2)
    and c' = (c+1)/(n+2):

        b' − c' ± z·sqrt((b' + c' − (b' − c')²)/(n+2))

    It needs the discordant counts alone and keeps a width when there are none; there the standard error is
    its half-width over z.

    Parameters
    ----------
    only_with : b, any shape, integer, paths on which the event happened with dealers only.
    only_without : c, same shape, integer, paths on which it happened without dealers only; b + c ≤ n.
    paths : n, at least 1.

    Source: Bonett & Price 2012, J. Educ. Behav. Stat. 37, 479–488; recommended for paired proportions by
    Fagerland, Lydersen & Laake 2014, Stat. Med. 33, 2850–2875.
    """
    assert paths > 0
    b = np.asarray(only_with, dtype=np.float64)
    c = np.asarray(only_without, dtype=np.float64)
    assert bool(np.all((b >= 0) & (c >= 0) & (b + c <= paths)))
    n, z = float(paths), TWO_SIDED_95
    difference = (b - c) / n
    variance = (b + c - (b - c) ** 2 / n) / (n * n)
    b1, c1 = (b + 1) / (n + 2), (c + 1) / (n + 2)
    adjusted = np.sqrt((b1 + c1 - (b1 - c1) ** 2) / (n + 2))
    std_error = np.where(variance > 0, np.sqrt(np.maximum(variance, 0.0)), adjusted)
    low = np.clip(b1 - c1 - z * adjusted, -1.0, 1.0)
    high = np.clip(b1 - c1 + z * adjusted, -1.0, 1.0)
    return Estimate(difference, std_error, low, high)
