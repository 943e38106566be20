"""Trace of one path, session by session: the same path that a run of the scenario and seed contains."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd

from sim.compiled.kernel_constants import DOWN, UP
from sim.errors import InputError, Problem
from sim.kernels_numpy.path_state import PathBlock
from sim.kernels_numpy.paths import run_block
from sim.plan.builder import Prepared, prepare
from sim.plan.outcomes import WITH, WITHOUT
from sim.problems import check_type, shown
from sim.run.simulation import LARGEST_SEED
from sim.scenario.file import resolve_scenario
from sim.scenario.model import Scenario


def trace_path(
    scenario: Scenario | str | os.PathLike[str], path: int, *, seed: int = 1, where: str | None = None
) -> pd.DataFrame:
    """Table of one path's sessions.

    Parameters
    ----------
    scenario : the scenario to simulate, or its built-in name or its file.
    path : its number, 0 … 2^64 − 1.
    seed : 0 … 2^64 − 1.
    where : name of the scenario in errors; its file or its own name if None.

    Returns
    -------
    One row per session: session (from 1), date; fundamental and price at the close, and the impact between them, in
    index points; regime after the close; touches and control_touches, the levels first touched that day with and
    without dealers, nearest first, joined by spaces.

    Raises
    ------
    InputError : the path or the seed is out of range, or the clearing map has no inverse.
    """
    scenario, where = resolve_scenario(scenario, where)
    for key, value in (("path", path), ("seed", seed)):
        check_type(key, value, (int, np.integer), "a whole number", f"Try {key}=1.")
        if not 0 <= int(value) <= LARGEST_SEED:
            raise InputError([Problem("", key, shown(int(value)), "must lie between 0 and 2^64 - 1")])
    path, seed = int(path), int(seed)
    prepared = prepare(scenario, where)
    rows: list[dict[str, object]] = []
    known = np.zeros((2, 2), dtype=np.int64)

    def record(session: int, block: PathBlock) -> None:
        ranks = block.rank[:, 0].reshape(2, 2).copy()
        price = prepared.axes.spot * float(np.exp(np.float64(block.s[0])))
        fundamental = prepared.axes.spot * float(np.exp(np.float64(block.coordinate[WITHOUT, 0])))
        rows.append(
            {
                "session": session + 1,
                "date": prepared.axes.sessions[session],
                "fundamental": fundamental,
                "impact_points": price - fundamental,
                "price": price,
                "regime": prepared.axes.regimes[block.regime[0]],
                "touches": _touched(prepared, known[WITH], ranks[WITH]),
                "control_touches": _touched(prepared, known[WITHOUT], ranks[WITHOUT]),
            }
        )
        known[:] = ranks

    run_block(PathBlock(prepared.plan, seed, capacity=1), path, 1, record)
    return pd.DataFrame(rows)


def _touched(prepared: Prepared, before: np.ndarray, after: np.ndarray) -> str:
    above = [level for level in prepared.axes.levels if level > prepared.axes.spot]
    below = [level for level in reversed(prepared.axes.levels) if level < prepared.axes.spot]
    new = above[before[UP] : after[UP]] + below[before[DOWN] : after[DOWN]]
    return " ".join(f"{level:.10g}" for level in new)
