"""Option deltas by SciPy's normal law, for complex prices too, so that a complex step differentiates them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtr

STEP = 1e-25


def delta(spot: Any, strike: float, years: float, iv: float, carry: float, is_call: bool) -> Any:
    """N(d1), less one for a put."""
    total = iv * np.sqrt(years)
    d1 = (np.log(spot / strike) + carry * years) / total + 0.5 * total
    return ndtr(d1) - (0.0 if is_call else 1.0)


def slope_of_delta(spot: Any, strike: float, years: float, iv: float, carry: float) -> Any:
    """∂N(d1)/∂S without cancellation."""
    return delta(spot + 1j * STEP, strike, years, iv, carry, True).imag / STEP
