"""Counts of a small random walk in two worlds: consistent Outcomes and a finished run to test tables with."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from sim.compiled.kernel_constants import RECORD_FIRST_BITS, RECORD_RANK_BITS
from sim.odds.tables import TABLES
from sim.plan.outcomes import NEITHER, OutcomeAxes, Outcomes, OutcomeShape

SPOT = 6941.81
LEVELS = (6600.0, 6800.0, 6945.0, 7000.0, 7100.0)
UPPER, LOWER = 7100.0, 6800.0
SESSIONS = 5
STEPS_PER_SESSION = 3


def sample_axes(bins: int = 4000, span: float = 0.2) -> OutcomeAxes:
    steps = STEPS_PER_SESSION + 1
    shares = np.array([0.4, 0.2, 0.2, 0.2])
    step_time = (np.arange(SESSIONS)[:, None] + shares.cumsum()).reshape(SESSIONS * steps)
    return OutcomeAxes(
        scenario="sample",
        spot=SPOT,
        as_of=date(2026, 2, 10),
        sessions=tuple(date(2026, 2, 11) + timedelta(days=d) for d in range(SESSIONS)),
        steps_per_session=STEPS_PER_SESSION,
        step_time=step_time,
        levels=LEVELS,
        upper=UPPER,
        lower=LOWER,
        regimes=("initial", "breakout"),
        close_edges=SPOT * np.exp(np.linspace(-span, span, bins + 1)),
    )


def _first_steps(path: np.ndarray, level: float) -> np.ndarray:
    """First step at which each path is at or beyond the level, or the number of steps."""
    beyond = path >= level if level > SPOT else path <= level
    return np.where(beyond.any(axis=1), beyond.argmax(axis=1), path.shape[1])


def sample_closes(paths: int = 2000, seed: int = 1, damping: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
    """Prices (paths, steps) with dealers and without: the same walk, damped and not."""
    rng = np.random.default_rng(seed)
    walk = rng.normal(0.0, 0.006, (paths, SESSIONS * (STEPS_PER_SESSION + 1))).cumsum(axis=1)
    return SPOT * np.exp(damping * walk), SPOT * np.exp(walk)


def sample_outcomes(paths: int = 2000, seed: int = 1, damping: float = 0.9) -> Outcomes:
    axes = sample_axes()
    steps = axes.step_time.size
    bins = axes.close_edges.size - 1
    outcomes = Outcomes.zeros(OutcomeShape(steps, len(LEVELS), SESSIONS, 2, bins))
    outcomes.paths = paths
    worlds = sample_closes(paths, seed, damping)
    firsts = []
    for world, price in enumerate(worlds):
        touched = [_first_steps(price, level) for level in LEVELS]
        for k, step in enumerate(touched):
            outcomes.touch[world, k] = np.bincount(step, minlength=steps + 1)[:steps]
        up, down = touched[LEVELS.index(UPPER)], touched[LEVELS.index(LOWER)]
        first = np.where(up < down, 1, np.where(down < up, 2, NEITHER))
        firsts.append(first)
        for target, step in ((0, up), (1, down)):
            outcomes.first[world, target] = np.bincount(step[first == target + 1], minlength=steps + 1)[
                :steps
            ]
    np.add.at(outcomes.joint, (firsts[0], firsts[1]), 1)
    for k, level in enumerate(LEVELS):
        both = [_first_steps(price, level) < steps for price in worlds]
        outcomes.touch_both[k] = np.sum(both[0] & both[1])
    closes = worlds[0][:, STEPS_PER_SESSION :: STEPS_PER_SESSION + 1]
    for d in range(SESSIONS):
        column = np.searchsorted(axes.close_edges, closes[:, d], side="right")
        outcomes.closes[d] = np.bincount(column, minlength=bins + 2)
        broken_out = (closes[:, : d + 1] > 7020).any(axis=1)
        outcomes.regime[d] = np.bincount(broken_out.astype(np.int64), minlength=2)
    return outcomes


def sample_records(paths: int = 2000, seed: int = 1, damping: float = 0.9) -> np.ndarray:
    """Packed records of the walk with dealers, (paths,) uint16."""
    price = sample_closes(paths, seed, damping)[0]
    steps = price.shape[1]
    touched = np.array([_first_steps(price, level) for level in LEVELS])
    up, down = touched[LEVELS.index(UPPER)], touched[LEVELS.index(LOWER)]
    first = np.where(up < down, 1, np.where(down < up, 2, NEITHER))
    above, below = (
        sum(
            (step < steps).astype(np.int64)
            for level, step in zip(LEVELS, touched, strict=True)
            if side * level > side * SPOT
        )
        for side in (1, -1)
    )
    return (first | above << RECORD_FIRST_BITS | below << RECORD_FIRST_BITS + RECORD_RANK_BITS).astype(
        np.uint16
    )


@dataclass
class SampleRun:
    """A finished run, as `sim.run.simulation.simulate` returns it, built from sample counts."""

    outcomes: Outcomes = field(default_factory=sample_outcomes)
    axes: OutcomeAxes = field(default_factory=sample_axes)
    warnings: tuple[str, ...] = ()
    benchmarks: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.benchmarks = self.benchmarks or {
            "flat_first_upper": 0.31,
            "flat_first_lower": 0.28,
            "flat_neither": 0.41,
            "flat_touch": dict.fromkeys(self.axes.levels, 0.33),
            "two_delta": dict.fromkeys(self.axes.levels, 0.35),
        }
        self.manifest = self.manifest or {
            "scenario": {"name": self.axes.scenario},
            "scenario_hash": "0" * 64,
            "paths": self.outcomes.paths,
            "seed": 1,
            "engine": "numpy",
            "device": "cpu",
            "threads": 2,
            "versions": {"gammawall-sim": "0.1.0"},
            "timings": {"simulate_s": 1.25, "path_steps_per_s": 2.1e7},
            "warnings": list(self.warnings),
        }

    def __getattr__(self, name: str) -> pd.DataFrame:
        """Return the table of that name, as an attribute of a result."""
        if name not in TABLES:
            raise AttributeError(name)
        return TABLES[name].frame(self.outcomes, self.axes)
