"""Variance of the fundamental as engines read it: the GJR-GARCH recursion and the Student-t atoms."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.compiled.kernel_constants import VARIANCE_ATOMS_BITS
from sim.market.black_scholes import SESSIONS_PER_YEAR, FloatArray
from sim.market.elementary import squared
from sim.market.gamma_law import inverse_means
from sim.plan.engine_plan import Float32Array
from sim.plan.shared_work import SharedWork, array_parts
from sim.scenario.model import Scenario


def variance_fields(scenario: Scenario, scale: float, shared: SharedWork) -> dict[str, Any]:
    """Fields of an `EnginePlan` that hold the variance recursion and the Student-t atoms.

    Parameters
    ----------
    scenario : its volatility.
    scale : variance of the fundamental over the quoted variance.
    shared : what cases before this one have built.

    Returns
    -------
    variance_start, omega : h at the start and ω, squared log return per session.
    alpha, gamma, beta : of the recursion h ← ω + (α + γ·1[n<0])·n² + β·h.
    variance_atoms : float32 (4096,) see `student_t_variance_atoms`, not to be written to; (0,) for normal shocks.
    """
    v = scenario.volatility
    long_run = (
        squared(v.long_run_annual if v.long_run_annual is not None else v.annual) / SESSIONS_PER_YEAR * scale
    )
    omega = 0.0 if v.is_constant else long_run * (1.0 - v.alpha - 0.5 * v.gamma - v.beta)
    dof = v.tail_dof
    atoms = np.empty(0, dtype=np.float32)
    if dof is not None:
        atoms = shared.get(
            ("variance atoms", dof), lambda: _float32_atoms(dof), lambda found: array_parts([found])
        )
    return {
        "variance_start": np.float32(squared(v.annual) / SESSIONS_PER_YEAR * scale),
        "omega": np.float32(omega),
        "alpha": np.float32(v.alpha),
        "gamma": np.float32(v.gamma),
        "beta": np.float32(v.beta),
        "variance_atoms": atoms,
    }


def _float32_atoms(dof: float) -> Float32Array:
    atoms = student_t_variance_atoms(dof).astype(np.float32)
    atoms.flags.writeable = False
    return atoms


def student_t_variance_atoms(dof: float) -> FloatArray:
    """Equally likely atoms of V = (ν−2)/χ²_ν, (4096,), each the mean of V over its cell; ascending in χ².

    Over a cell of χ² between a and b, ∫ (ν−2)/x dF_ν(x) = F_{ν−2}(b) − F_{ν−2}(a), so that the atoms' mean is one.
    """
    return inverse_means(0.5 * dof, 1 << VARIANCE_ATOMS_BITS)
