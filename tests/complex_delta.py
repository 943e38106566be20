"""Delta of an option by NumPy and SciPy, for complex prices too: complex steps differentiate without cancellation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr


def complex_delta(
    spot: npt.NDArray[np.complex128], strike: float, years: float, iv: float, carry: float, is_call: bool
) -> npt.NDArray[np.complex128]:
    total = iv * np.sqrt(years)
    d1 = (np.log(spot / strike) + carry * years) / total + 0.5 * total
    return np.asarray(ndtr(d1) if is_call else ndtr(d1) - 1.0)
