"""Tidy tables of a run's odds, and the one list of them, `TABLES`.

Every table is a pure function of the counts and their labels, so it can be computed again from any merged
set of counts. Probabilities are shares of all paths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sim.odds.estimates import FloatArray, paired_difference_estimate, proportion_estimate
from sim.plan.outcomes import LOWER, NEITHER, UPPER, OutcomeAxes, Outcomes

# Events by which target came first, and their rows and columns of the joint table.
FIRST_TARGETS = {"first_upper": UPPER, "first_lower": LOWER, "neither": NEITHER}
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
WORLDS = ("with", "without")
DISTRIBUTION_WIDTH = 5.0

# Columns of a table by name: arrays of one length, and values that all its rows share.
Columns = dict[str, Any]


def odds_columns(outcomes: Outcomes, axes: OutcomeAxes) -> Columns:
    """Odds of every event with dealers, without, and the difference.

    Events: ``first_upper`` and ``first_lower`` (that target is reached before the other, by the last
    session), ``neither``, and ``touch`` for each level.

    Columns: scenario, event, level (a price; empty for ``neither``), dealers (with, without, difference),
    probability, std_error, ci_low, ci_high, paths.
    """
    paths = _checked_paths(outcomes)
    joint = outcomes.joint
    touch = outcomes.touch.sum(axis=2)
    labels: list[tuple[str, float]] = []
    with_dealers: list[int] = []
    without: list[int] = []
    both: list[int] = []
    level_of = {UPPER: axes.upper, LOWER: axes.lower, NEITHER: np.nan}
    for event, i in FIRST_TARGETS.items():
        labels.append((event, float(level_of[i])))
        with_dealers.append(int(joint[i, :].sum()))
        without.append(int(joint[:, i].sum()))
        both.append(int(joint[i, i]))
    for k, level in enumerate(axes.levels):
        labels.append(("touch", float(level)))
        with_dealers.append(int(touch[0, k]))
        without.append(int(touch[1, k]))
        both.append(int(outcomes.touch_both[k]))

    counts_with, counts_without, counts_both = (
        np.asarray(c, dtype=np.int64) for c in (with_dealers, without, both)
    )
    columns = np.stack(
        [
            np.stack(proportion_estimate(counts_with, paths)),
            np.stack(proportion_estimate(counts_without, paths)),
            np.stack(
                paired_difference_estimate(counts_with - counts_both, counts_without - counts_both, paths)
            ),
        ],
        axis=-1,
    )  # (4 statistics, events, 3 dealers)
    statistics = columns.reshape(4, -1)
    return {
        "scenario": axes.scenario,
        "event": np.repeat(np.array([event for event, _ in labels], dtype=object), 3),
        "level": np.repeat([level for _, level in labels], 3),
        "dealers": np.tile(np.array([*WORLDS, "difference"], dtype=object), len(labels)),
        "probability": statistics[0],
        "std_error": statistics[1],
        "ci_low": statistics[2],
        "ci_high": statistics[3],
        "paths": paths,
    }


def first_passage_columns(outcomes: Outcomes, axes: OutcomeAxes) -> Columns:
    """Probability that each level has been touched by the end of each step, with dealers and without.

    Columns: scenario, level, dealers, session (1 is the first after the start), date, step (within the
    session, 0 is the overnight gap), time (sessions since the start, at the step's end), probability
    (cumulative).
    """
    paths = _checked_paths(outcomes)
    worlds, levels, steps = outcomes.touch.shape
    sessions = len(axes.sessions)
    per_session = steps // sessions
    cumulative = outcomes.touch.cumsum(axis=2) / paths
    curves = worlds * levels
    return {
        "scenario": axes.scenario,
        "level": np.repeat(np.asarray(axes.levels, dtype=np.float64), worlds * steps),
        "dealers": np.tile(np.repeat(np.array(WORLDS, dtype=object), steps), levels),
        "session": np.tile(np.repeat(np.arange(1, sessions + 1), per_session), curves),
        "date": np.tile(np.repeat(_dates(axes), per_session), curves),
        "step": np.tile(np.arange(per_session), curves * sessions),
        "time": np.tile(axes.step_time, curves),
        "probability": cumulative.transpose(1, 0, 2).reshape(-1),
    }


def distribution_columns(
    outcomes: Outcomes, axes: OutcomeAxes, *, width: float = DISTRIBUTION_WIDTH
) -> Columns:
    """Histogram of each session's close, with dealers.

    The bins are those counted by the engine, joined into bins of about ``width`` index points; empty ones are
    left out. Closes below (above) all bins are in a row with ``price_low`` = 0 (``price_high`` = inf).

    Columns: scenario, session, date, price_low, price_high, count, probability.
    """
    paths = _checked_paths(outcomes)
    assert width > 0
    edges = axes.close_edges
    starts = _joined_bins(edges, width)
    joined = np.add.reduceat(outcomes.closes[:, 1:-1], starts, axis=1)
    counts = np.concatenate([outcomes.closes[:, :1], joined, outcomes.closes[:, -1:]], axis=1)
    joined_edges = np.concatenate([[0.0], edges[starts], edges[-1:], [np.inf]])
    session, column = np.nonzero(counts)
    count = counts[session, column]
    return {
        "scenario": axes.scenario,
        "session": session + 1,
        "date": _dates(axes)[session],
        "price_low": joined_edges[column],
        "price_high": joined_edges[column + 1],
        "count": count,
        "probability": count / paths,
    }


def quantile_columns(outcomes: Outcomes, axes: OutcomeAxes) -> Columns:
    """Quantiles of each session's close, with dealers, linear within the engine's bins.

    A quantile that falls outside all bins is empty (NaN).

    Columns: scenario, session, date, quantile, price.
    """
    paths = _checked_paths(outcomes)
    edges = axes.close_edges
    sessions = len(axes.sessions)
    prices = np.full((sessions, len(QUANTILES)), np.nan)
    wanted = np.array(QUANTILES) * paths
    for d, counts in enumerate(outcomes.closes):
        reached = counts.cumsum()
        column = np.searchsorted(reached, wanted, side="left")
        known = (column >= 1) & (column <= edges.size - 1)
        column = column[known]
        inside = (wanted[known] - reached[column - 1]) / counts[column]
        prices[d, known] = edges[column - 1] + inside * (edges[column] - edges[column - 1])
    return {
        "scenario": axes.scenario,
        "session": np.repeat(np.arange(1, sessions + 1), len(QUANTILES)),
        "date": np.repeat(_dates(axes), len(QUANTILES)),
        "quantile": np.tile(QUANTILES, sessions),
        "price": prices.reshape(-1),
    }


def regime_columns(outcomes: Outcomes, axes: OutcomeAxes) -> Columns:
    """Probability of being in each regime after each session's close.

    Columns: scenario, session, date, regime, probability.
    """
    paths = _checked_paths(outcomes)
    sessions, regimes = outcomes.regime.shape
    return {
        "scenario": axes.scenario,
        "session": np.repeat(np.arange(1, sessions + 1), regimes),
        "date": np.repeat(_dates(axes), regimes),
        "regime": np.tile(np.asarray(axes.regimes, dtype=object), sessions),
        "probability": outcomes.regime.reshape(-1) / paths,
    }


def sessions_to_target(outcomes: Outcomes, axes: OutcomeAxes) -> pd.DataFrame:
    """Time to each target among the paths that touch it: median and the middle 90%.

    The time with rank q is the end of the first step by which a share q of those paths has touched, in
    sessions since the start; empty (NaN) where no path touches.

    Columns: target (upper, lower), level, dealers (with, without), probability (of touching), sessions_5,
    sessions_50, sessions_95.
    """
    paths = _checked_paths(outcomes)
    rows: list[dict[str, Any]] = []
    for target, level in (("upper", axes.upper), ("lower", axes.lower)):
        k = axes.levels.index(level)
        for world, dealers in enumerate(WORLDS):
            reached = outcomes.touch[world, k].cumsum()
            touched = int(reached[-1])
            row: dict[str, Any] = {"target": target, "level": level, "dealers": dealers}
            row["probability"] = touched / paths
            for percent in (5, 50, 95):
                step = int(np.searchsorted(reached * 100, touched * percent, side="left"))
                row[f"sessions_{percent}"] = float(axes.step_time[step]) if touched else np.nan
            rows.append(row)
    return pd.DataFrame(rows)


def _checked_paths(outcomes: Outcomes) -> int:
    assert outcomes.paths > 0, "no path was simulated"
    return outcomes.checked_paths()


def _dates(axes: OutcomeAxes) -> NDArray[np.datetime64]:
    return np.asarray(axes.sessions, dtype="datetime64[s]")


def _joined_bins(edges: FloatArray, width: float) -> NDArray[np.intp]:
    """First fine bin of each joined bin, whose edges are the fine ones nearest to multiples of ``width``."""
    multiples = width * np.arange(np.ceil(edges[0] / width), np.floor(edges[-1] / width) + 1)
    above = np.clip(np.searchsorted(edges, multiples), 1, edges.size - 1)
    nearest = np.where(multiples - edges[above - 1] <= edges[above] - multiples, above - 1, above)
    starts = np.unique(np.concatenate([[0], nearest]))
    return starts[starts < edges.size - 1]


@dataclass(frozen=True)
class ResultTable:
    """A table of a run: an attribute of its result, a file of its folder, and a table of every batch.

    Attributes
    ----------
    name : name of the attribute, and of the file before its suffix.
    columns : makes its columns of the counts and their labels.
    summary : what it has one row for.
    """

    name: str
    columns: Callable[[Outcomes, OutcomeAxes], Columns]
    summary: str

    @property
    def file_name(self) -> str:
        """Name of the CSV file."""
        return f"{self.name}.csv"

    def frame(self, outcomes: Outcomes, axes: OutcomeAxes) -> pd.DataFrame:
        """Table of a run's counts and their labels."""
        return pd.DataFrame(self.columns(outcomes, axes))


# The one list of a run's tables, by name. Whoever adds one declares its attribute in `sim.run.simulation.Result` too.
TABLES: dict[str, ResultTable] = {
    table.name: table
    for table in (
        ResultTable(
            "odds",
            odds_columns,
            "event (first_upper, first_lower, neither, touch of a level) × with, without, difference; 95% intervals: "
            "Wilson, paired for differences",
        ),
        ResultTable(
            "first_passage",
            first_passage_columns,
            "level × with, without × step: probability of having touched it by then",
        ),
        ResultTable("distribution", distribution_columns, "session × bin of the close, with dealers"),
        ResultTable("quantiles", quantile_columns, "session × quantile of the close, with dealers"),
        ResultTable("regimes", regime_columns, "session × regime"),
    )
}
