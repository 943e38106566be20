"""EnginePlan, an engine's only input: plain float32 and integer arrays, the same bytes for every engine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from sim.plan.outcomes import OutcomeShape

Float32Array = NDArray[np.float32]
Int32Array = NDArray[np.int32]

NO_TABLE = -1


@dataclass(frozen=True)
class EnginePlan:
    """Arrays and numbers from which an engine simulates any path of a scenario.

    Legend: D sessions; K steps per session (the overnight gap first); N = D·K steps; B regime books; R regimes;
    W barriers per row, the levels of one side (0 above, 1 below the start) nearest first, the rest infinite;
    T segment tables. All logarithms are relative to the starting index S0.

    Attributes
    ----------
    sessions, steps_per_session : D and K.
    share, root_share : (K,) share of the session's variance in each step, and its square root.
    session_drift : drift of the fundamental per session, before the −h/2.
    variance_start, omega, alpha, gamma, beta : GJR-GARCH recursion of h, per session.
    variance_atoms : (4096,) equally likely values of V, or (0,) when shocks are normal.
    outcome_start : (D + 1,) range of each session's gap outcomes in the three arrays below.
    outcome_threshold : (·,) uint32, an outcome applies to words up to its threshold that exceed the one before.
    outcome_mean, outcome_variance : (·,) what the outcome adds to the gap's mean and variance.
    fade : 1 − decay of the impact in one trading step.
    regime_flow : (R,) log price pressure in one trading step.
    book_of_regime : (R,) row of the regime's book.
    identity_map : whether Φ(s,t) = s for every book at all times, so that no table is needed.
    hedge_start : Φ(0) at the start.
    step_table : (N,) table of Φ⁻¹ at the end of each step; row = book.
    rebase_table : (N,) table of Φ just after each step, where books can change then; else −1.
    settles : (N,) whether options settle at the end of the step, so that every path is re-based.
    table_start, table_panels : (T,) first line of each table and panels per row, see `sim.reaction.segment_table`.
    table_clip, table_scale : (T, 2) range of x̂, and scale and offset that lead to its panel.
    lines : (·, 2) intercept and slope of all tables; a panel's value is an index that counts from its table's start.
    barrier_start, barrier_end : (N, 2, B, W) σ·Φ(L) of each level at the start and the end of each step, by side;
        σ = 1 above and −1 below, so that the distance to a barrier is barrier − σ·y.
    level : (2, W) σ·L, the control path's barriers.
    level_count : (2,) number of levels on each side.
    target_rank : (2,) rank of the upper target among the levels above and of the lower among those below, the
        nearest level's being 0.
    trigger, trigger_level, trigger_rank, trigger_closes : (R,) code, log level, rank of a touched level, closes in
        a row.
    run_start : (R,) qualifying closes in a row already made at the start.
    allowed_from : (R, R) bool, [regime][present regime].
    lasts, successor : (R,) sessions after which a regime hands over (0 = never), and to which.
    close_low, close_scale, close_bins : histogram of the log close: lower edge, bins per unit, number of bins.
    """

    sessions: int
    steps_per_session: int
    share: Float32Array
    root_share: Float32Array
    session_drift: np.float32
    variance_start: np.float32
    omega: np.float32
    alpha: np.float32
    gamma: np.float32
    beta: np.float32
    variance_atoms: Float32Array
    outcome_start: Int32Array
    outcome_threshold: NDArray[np.uint32]
    outcome_mean: Float32Array
    outcome_variance: Float32Array
    fade: np.float32
    regime_flow: Float32Array
    book_of_regime: Int32Array
    identity_map: bool
    hedge_start: np.float32
    step_table: Int32Array
    rebase_table: Int32Array
    settles: NDArray[np.bool_]
    table_start: NDArray[np.int64]
    table_panels: Int32Array
    table_clip: Float32Array
    table_scale: Float32Array
    lines: Float32Array
    barrier_start: Float32Array
    barrier_end: Float32Array
    level: Float32Array
    level_count: Int32Array
    target_rank: Int32Array
    trigger: Int32Array
    trigger_level: Float32Array
    trigger_rank: Int32Array
    trigger_closes: Int32Array
    run_start: Int32Array
    allowed_from: NDArray[np.bool_]
    lasts: Int32Array
    successor: Int32Array
    close_low: np.float32
    close_scale: np.float32
    close_bins: int

    @property
    def steps(self) -> int:
        """N, steps of a path, gaps included."""
        return self.sessions * self.steps_per_session

    @property
    def books(self) -> int:
        """B, number of distinct regime books."""
        return int(self.barrier_end.shape[2])

    @property
    def constant_variance(self) -> bool:
        """Whether h never changes."""
        return bool(self.omega == 0 and self.alpha == 0 and self.gamma == 0 and self.beta == 1)

    @property
    def outcome_shape(self) -> OutcomeShape:
        """Lengths of the outcome arrays."""
        return OutcomeShape(
            self.steps, int(self.level_count.sum()), self.sessions, self.trigger.size, self.close_bins
        )

    @property
    def digest(self) -> str:
        """SHA-256 of every number in the plan: equal digests mean equal paths for equal seeds."""
        sha = hashlib.sha256()
        for f in fields(self):
            value = np.asarray(getattr(self, f.name))
            sha.update(f"{f.name} {value.dtype.str} {value.shape}".encode())
            sha.update(np.ascontiguousarray(value).data)
        return sha.hexdigest()
