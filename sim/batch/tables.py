"""Tables of a batch: a row per case, differences from the baseline, the range of odds and its drivers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sim.batch.case_counts import CaseCounts
from sim.batch.family import Batch, Case
from sim.odds.estimates import Estimate, paired_difference_estimate, proportion_estimate
from sim.odds.pairs import PairCounts
from sim.odds.tables import FIRST_TARGETS, Columns
from sim.plan.outcomes import LOWER, UPPER, OutcomeAxes

Row = dict[str, Any]
# Odds are counts of paths: what differs by less is rounded.
SMALLEST_RANGE = 1e-12
FINISHED, FAILED, NOT_RUN = "finished", "failed", "not run"
DIFFERENCE_COLUMNS = (
    "scenario",
    "baseline",
    "event",
    "level",
    "difference",
    "std_error",
    "ci_low",
    "ci_high",
    "paths",
)


@dataclass(frozen=True)
class CaseState:
    """Status of a case and its manifest.

    Attributes
    ----------
    status : "finished", "failed" or "not run".
    manifest : manifest of a finished or failed case; empty for one that has not run.
    """

    status: str
    manifest: Mapping[str, Any]


def differences_columns(
    pairs: PairCounts, axes: OutcomeAxes, baseline: OutcomeAxes, baseline_name: str
) -> Columns:
    """Odds of a case minus those of the baseline, both with dealers, on the same paths.

    Events: ``first_upper``, ``first_lower``, ``neither``, and ``touch`` for each level that both have on the same
    side of the start. `level` is the case's.

    Columns: scenario, baseline, event, level, difference, std_error, ci_low, ci_high (paired, 95%), paths (those that
    both have).
    """
    rows: list[tuple[str, float, int, int]] = []
    for event, target in FIRST_TARGETS.items():
        level = {UPPER: axes.upper, LOWER: axes.lower}.get(target, np.nan)
        rows.append((event, float(level), *_first_pair(pairs, target)))
    for level in axes.levels:
        found = _touch_pair(pairs, axes, baseline, level)
        if found is not None:
            rows.append(("touch", float(level), *found))
    estimate = paired_difference_estimate(
        np.array([row[2] for row in rows]), np.array([row[3] for row in rows]), pairs.paths
    )
    return {
        "scenario": axes.scenario,
        "baseline": baseline_name,
        "event": np.array([row[0] for row in rows], dtype=object),
        "level": np.array([row[1] for row in rows]),
        **dict(zip(DIFFERENCE_COLUMNS[4:8], estimate, strict=True)),
        "paths": pairs.paths,
    }


def differences_table(
    pairs: PairCounts, axes: OutcomeAxes, baseline: OutcomeAxes, baseline_name: str
) -> pd.DataFrame:
    """Odds of a case minus those of the baseline; see `differences_columns`."""
    return pd.DataFrame(differences_columns(pairs, axes, baseline, baseline_name))


def _first_pair(pairs: PairCounts, target: int) -> tuple[int, int]:
    """Numbers of paths with this first target in the case only and in the baseline only."""
    both = int(pairs.first[target, target])
    return int(pairs.first[target].sum()) - both, int(pairs.first[:, target].sum()) - both


def _touch_pair(
    pairs: PairCounts, axes: OutcomeAxes, baseline: OutcomeAxes, level: float
) -> tuple[int, int] | None:
    """Numbers of paths that touch a level in the case only and in the baseline only.

    None unless both have the level, on the same side of the start.
    """
    for counts, sign in ((pairs.above, 1), (pairs.below, -1)):
        mine, theirs = (
            sorted((x for x in a.levels if sign * x > sign * a.spot), key=lambda x: sign * x)
            for a in (axes, baseline)
        )
        if level in mine and level in theirs:
            i, j = mine.index(level) + 1, theirs.index(level) + 1
            return int(counts[i:, :j].sum()), int(counts[:i, j:].sum())
    return None


def case_row(case: Case, state: CaseState, counts: CaseCounts | None) -> Row:
    """Row of batch.csv: parameters, status, odds, differences to the baseline, seconds, error.

    Columns: scenario, one for each parameter that differs, status, paths; for each event of `FIRST_TARGETS` its odds
    with dealers, with ci_low and ci_high, without, and the difference to the baseline with ci_low and ci_high; then
    the paths that those differences rest on, seconds, engine, warnings and error.
    """
    row: Row = {"scenario": case.name, **case.parameters, "status": state.status}
    row["paths"] = None if counts is None else counts.outcomes.paths
    estimates = {} if counts is None else _first_targets(counts)
    versus = {}
    if counts is not None and counts.pairs is not None and counts.pairs.paths > 0:
        versus = _first_differences(counts.pairs)
    for event in FIRST_TARGETS:
        found = estimates.get(event, {})
        for name in ("", "_ci_low", "_ci_high", "_without"):
            row[event + name] = found.get(name)
        difference = versus.get(event, {})
        for name in ("", "_ci_low", "_ci_high"):
            row[f"{event}_vs_baseline{name}"] = difference.get(name)
    row["paths_vs_baseline"] = counts.pairs.paths if versus and counts and counts.pairs else None
    timings = state.manifest.get("timings", {})
    seconds = [timings[name] for name in ("prepare_s", "simulate_s") if name in timings]
    row["seconds"] = round(sum(seconds), 4) if seconds else None
    row["engine"] = state.manifest.get("engine", "")
    row["warnings"] = " | ".join(state.manifest.get("warnings", ()))
    error = " ".join(str(state.manifest.get("error", "")).split())
    row["error"] = error.encode("utf-8", errors="backslashreplace").decode("utf-8")
    return row


def _first_targets(counts: CaseCounts) -> dict[str, dict[str, float]]:
    """Odds of each event of `FIRST_TARGETS` by suffix of their columns: "", "_ci_low", "_ci_high", "_without"."""
    joint, paths = counts.outcomes.joint, counts.outcomes.paths
    found = {}
    for event, target in FIRST_TARGETS.items():
        with_dealers = proportion_estimate(joint[target].sum(), paths)
        found[event] = {
            "": float(with_dealers.probability),
            "_ci_low": float(with_dealers.ci_low),
            "_ci_high": float(with_dealers.ci_high),
            "_without": int(joint[:, target].sum()) / paths,
        }
    return found


def _first_differences(pairs: PairCounts) -> dict[str, dict[str, float]]:
    """Differences of each event of `FIRST_TARGETS` by suffix of their columns: "", "_ci_low", "_ci_high"."""
    found = {}
    for event, target in FIRST_TARGETS.items():
        estimate = first_difference(pairs, target)
        low, high = float(estimate.ci_low), float(estimate.ci_high)
        found[event] = {"": float(estimate.probability), "_ci_low": low, "_ci_high": high}
    return found


def first_difference(pairs: PairCounts, target: int) -> Estimate:
    """Estimate of the odds of a first target in the case minus those in the baseline, on the same paths.

    target : code of the first target, a value of `FIRST_TARGETS`.
    """
    return paired_difference_estimate(*_first_pair(pairs, target), pairs.paths)


@dataclass(frozen=True)
class Band:
    """Range of an event's odds over the cases of a batch.

    Attributes
    ----------
    event : first_upper, first_lower or neither.
    lowest, median, highest : odds with dealers; the median may lie between two cases.
    lowest_case, highest_case : names of the cases.
    """

    event: str
    lowest: float
    median: float
    highest: float
    lowest_case: str
    highest_case: str


def bands(rows: Sequence[Row]) -> list[Band]:
    """Band of each event of `FIRST_TARGETS` over the finished rows of batch.csv; empty if there are none."""
    finished = _finished(rows)
    if not finished:
        return []
    found = []
    for event in FIRST_TARGETS:
        ordered = sorted(finished, key=lambda row: float(row[event]))
        lowest, highest = ordered[0], ordered[-1]
        middle = float(np.median([float(row[event]) for row in ordered]))
        ends = float(lowest[event]), middle, float(highest[event])
        found.append(Band(event, *ends, str(lowest["scenario"]), str(highest["scenario"])))
    return found


@dataclass(frozen=True)
class Driver:
    """Effect of one axis of a grid on an event's odds, averaged over the other axes.

    Attributes
    ----------
    axis : the axis.
    event : first_upper, first_lower or neither.
    low_label, high_label : its values with the lowest and the highest mean odds.
    low, high : those means.
    share : share of the variance over the grid that the axis alone explains (first-order Sobol index of a full grid).
    """

    axis: str
    event: str
    low_label: str
    high_label: str
    low: float
    high: float
    share: float


def drivers(batch: Batch, rows: Sequence[Row], event: str) -> list[Driver]:
    """Effects of a grid's axes on an event's odds, the largest share of the variance first.

    Only a whole grid can be split by axes: empty if a case of it is not finished.
    """
    points = [case.point for case in batch.cases if case.point]
    names = [case.name for case in batch.cases if case.point]
    odds_of = {str(row["scenario"]): row[event] for row in _finished(rows)}
    if not points or any(name not in odds_of for name in names):
        return []
    odds = np.array([float(odds_of[name]) for name in names])
    # Means of odds that are all the same differ by their rounding.
    variance = float(odds.var()) if np.ptp(odds) > SMALLEST_RANGE else 0.0
    found = []
    for axis, labels in batch.axes.items():
        here = np.array([point[axis] for point in points])
        present = [label for label in labels if bool(np.any(here == label))]
        if len(present) < 2:
            continue
        means = {label: float(odds[here == label].mean()) for label in present}
        between = float(np.mean([(means[label] - odds.mean()) ** 2 for label in here.tolist()]))
        low, high = min(present, key=means.__getitem__), max(present, key=means.__getitem__)
        share = between / variance if variance > 0 else 0.0
        found.append(Driver(axis, event, low, high, means[low], means[high], share))
    return sorted(found, key=lambda driver: -driver.share)


def _finished(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["status"] == FINISHED]
