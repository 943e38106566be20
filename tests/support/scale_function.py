"""Odds of two targets over an endless horizon, by the price's scale function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from scipy.integrate import quad


def scale_function_odds(
    feedback_factor: Callable[[float], float],
    upper: float,
    lower: float,
    *,
    breakpoints: Sequence[float] = (),
) -> tuple[float, float]:
    """Odds (first upper, first lower) over an endless horizon, for a book that does not depend on time.

        first_upper = A(0, lower) / A(upper, lower)     A(p, q) = integral of m(s) ds from q to p, ds = dS / S

    With a driftless ln F the local martingale is y = integral of m ds: the scale function of the price.

    Source: Karatzas & Shreve 1991, section 5.5.C (scale function); Frey & Stremme 1997 (the feedback factor).

    Parameters
    ----------
    feedback_factor : m(s) > 0, dimensionless, at one log price s = ln(S / S0).
    upper : upper target relative to the start, > 0, log units.
    lower : lower target relative to the start, < 0, log units.
    breakpoints : log prices where m has a kink, jump or narrow peak; any outside the corridor are ignored.
    """
    assert lower < 0.0 < upper
    edges = sorted({lower, 0.0, upper, *(s for s in breakpoints if lower < s < upper)})
    below = above = 0.0
    for left, right in pairwise(edges):
        area = float(quad(feedback_factor, left, right, epsabs=1e-14, epsrel=1e-12, limit=200)[0])
        if right <= 0.0:
            below += area
        else:
            above += area
    return below / (below + above), above / (below + above)
