"""Variance of the fundamental as engines read it: the GJR-GARCH recursion and the Student-t atoms."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.compiled.kernel_constants import VARIANCE_ATOMS_BITS
from sim.market.black_scholes import SESSIONS_PER_YEAR, FloatArray
from sim.market.elementary import squared
from sim.market.gamma_law import inverse_means
from sim.plan.shared_work import SharedWork
from sim.scenario.model import Scenario


def variance_fields(scenario: Scenario, variance: float, scale: float, shared: SharedWork) -> dict[str, Any]:
    """Fields of an `EnginePlan` that hold the variance recursion and the Student-t atoms."""
    v = scenario.volatility
    long_run = (
        squared(v.long_run_annual if v.long_run_annual is not None else v.annual) / SESSIONS_PER_YEAR * scale
    )
    constant = v.alpha == 0 and v.gamma == 0 and v.beta == 1
    omega = 0.0 if constant else long_run * (1.0 - v.alpha - 0.5 * v.gamma - v.beta)
    dof = v.tail_dof
    atoms = np.empty(0)
    if dof is not None:
        atoms = shared.get(
            ("variance atoms", dof), lambda: student_t_variance_atoms(dof), lambda found: found.nbytes
        )
    return {
        "variance_start": np.float32(variance),
        "omega": np.float32(omega),
        "alpha": np.float32(v.alpha),
        "gamma": np.float32(v.gamma),
        "beta": np.float32(v.beta),
        "variance_atoms": atoms.astype(np.float32),
    }


def student_t_variance_atoms(dof: float) -> FloatArray:
    """Equally likely atoms of V = (ν−2)/χ²_ν, each the mean of V over its cell; ascending in χ².

    Over a cell of χ² between a and b, ∫ (ν−2)/x dF_ν(x) = F_{ν−2}(b) − F_{ν−2}(a), so that the atoms' mean is one.
    """
    return inverse_means(0.5 * dof, 1 << VARIANCE_ATOMS_BITS)
