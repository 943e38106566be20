"""EnginePlan to the kernels' Plan struct, and the kernels' counts to Outcomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.compiled.kernel_constants import (
    BRIDGE_UNIT,
    PHILOX_KEY_STEPS,
    PHILOX_ROUNDS,
    VARIANCE_ATOMS_BITS,
    WORLD_SIDES,
)
from sim.compiled.struct_layout import filled_struct, kernel_structs, struct_dtype
from sim.plan.engine_plan import EnginePlan
from sim.plan.outcomes import Outcomes

WORD_MASK = 0xFFFFFFFF
# Paths of one call of a kernel: every 32-bit count has room for them.
MOST_PATHS = 1 << 30
# Steps and their barriers are this many bytes apart, or a multiple: a GPU's kernel is compiled for the multiple.
STEP_ALIGNMENT = 256
KernelArray = NDArray[Any]


@dataclass(frozen=True)
class TallyLayout:
    """Offsets of the arrays of counts in the kernels' one array; see kernels/tally.cuh.

    The smallest come first but for touches; closes, which rarely fit into a block's shared memory and spread over
    many bins, come last.

    Attributes
    ----------
    starts : index of the first count of each array, by the Plan's field.
    tallies : number of counts.
    """

    starts: dict[str, int]
    tallies: int

    @classmethod
    def of(cls, plan: EnginePlan) -> TallyLayout:
        """Layout of a plan's counts."""
        width = plan.level.shape[1]
        sizes = {
            "joint_tally": 9,
            "both_tally": 2 * width,
            "regime_tally": plan.sessions * plan.trigger.size,
            "first_tally": plan.steps * WORLD_SIDES,
            "touch_tally": plan.steps * WORLD_SIDES * width,
            "close_tally": plan.sessions * (plan.close_bins + 2),
        }
        starts, here = {}, 0
        for name, size in sizes.items():
            starts[name] = here
            here += size
        return cls(starts, here)

    def ends(self) -> list[int]:
        """End of each array of counts, ascending: the numbers of leading counts that are whole arrays."""
        return [*list(self.starts.values())[1:], self.tallies]


def kernel_arrays(plan: EnginePlan) -> dict[str, KernelArray]:
    """Arrays that the Plan struct points to, by field, and "lines", which the tables point to.

    Legend: W, D as in `EnginePlan`; R regimes.

    Returns
    -------
    lines : (·, 2) float32 intercept and slope, log units and 1.
    level : (2, W) float32, log units.
    variance_atoms : (4096,) float32.
    outcome_start, outcome_threshold, outcome_mean, outcome_variance : (D + 1,) int32, then (·,) uint32 and float32.
    regimes : (R,) Regime structs.
    """
    atoms = plan.variance_atoms
    if not atoms.size:
        atoms = np.ones(1 << VARIANCE_ATOMS_BITS, dtype=np.float32)
    # One panel, whose only line is 0 + 1·x, gives the same bits as no look-up.
    lines = np.array([[1, 0], [0, 1]], dtype=np.float32) if plan.identity_map else plan.lines
    return {
        "lines": np.ascontiguousarray(lines),
        "level": np.ascontiguousarray(plan.level),
        "variance_atoms": atoms,
        "outcome_start": plan.outcome_start,
        "outcome_threshold": plan.outcome_threshold,
        "outcome_mean": plan.outcome_mean,
        "outcome_variance": plan.outcome_variance,
        "regimes": _regimes(plan),
    }


def _tables(plan: EnginePlan, lines: int) -> KernelArray:
    """SegmentTable structs, (T,) or one for the identity; `lines` is the address of the lines."""
    tables = np.zeros(max(1, plan.table_start.size), dtype=struct_dtype("SegmentTable"))
    tables["lines"] = lines
    if not plan.identity_map:
        tables["low"], tables["high"] = plan.table_clip.T
        tables["scale"], tables["offset"] = plan.table_scale.T
        tables["lines"] += (plan.table_start * plan.lines.itemsize * 2).astype(np.uint64)
        tables["panels"] = plan.table_panels
    return tables


def _steps(plan: EnginePlan, tables: KernelArray) -> KernelArray:
    """Step structs, (N + 1,), each followed by its barriers; the last one is empty."""
    barriers = plan.barrier_end[0].size
    step = struct_dtype("Step")
    unpadded = step.itemsize + 8 * barriers
    record = np.dtype(
        {
            "names": ["step", "end", "start"],
            "formats": [step, ("f4", (barriers,)), ("f4", (barriers,))],
            "offsets": [0, step.itemsize, step.itemsize + 4 * barriers],
            "itemsize": -(-unpadded // STEP_ALIGNMENT) * STEP_ALIGNMENT,
        }
    )
    records = np.zeros(plan.steps + 1, dtype=record)
    steps = records["step"]
    which = np.zeros(plan.steps, dtype=np.int32) if plan.identity_map else plan.step_table
    steps["table"][:-1] = tables[which]
    shares = steps["shares"]
    shares["variance"][:-1] = np.tile(plan.share, plan.sessions)
    shares["root"][:-1] = np.tile(plan.root_share, plan.sessions)
    shares["bound"] = shares["variance"] * np.float32(BRIDGE_UNIT)
    steps["table"]["fade"] = plan.fade
    steps["rebase"][:-1] = plan.rebase_table
    steps["settles"][:-1] = plan.settles
    records["end"][:-1] = plan.barrier_end.reshape(plan.steps, -1)
    records["start"][:-1] = plan.barrier_start.reshape(plan.steps, -1)
    return records


def _regimes(plan: EnginePlan) -> KernelArray:
    count = plan.trigger.size
    regimes = np.zeros(count, dtype=struct_dtype("Regime"))
    regimes["trigger"] = plan.trigger
    regimes["level"] = plan.trigger_level
    regimes["rank"] = plan.trigger_rank
    regimes["closes"] = plan.trigger_closes
    has_run = plan.trigger_closes > 0
    regimes["run"] = np.where(has_run, np.cumsum(has_run) - 1, -1)
    regimes["run_start"] = plan.run_start
    bits = 1 << np.arange(count - 1, dtype=np.uint32)
    regimes["allowed"] = (plan.allowed_from[1:].T * bits).sum(axis=1)
    regimes["lasts"] = plan.lasts
    regimes["successor"] = plan.successor
    regimes["book"] = plan.book_of_regime
    regimes["flow"] = plan.regime_flow
    return regimes


def kernel_plan(plan: EnginePlan, place: Callable[[str, KernelArray], int]) -> KernelArray:
    """Plan struct of a plan, () of its struct type.

    Parameters
    ----------
    plan : what to simulate.
    place : puts an array, given its name, where the kernel can read it, keeps it alive, and returns its address.
    """
    arrays = kernel_arrays(plan)
    tables = _tables(plan, place("lines", arrays.pop("lines")))
    steps = _steps(plan, tables)
    arrays |= {"tables": tables, "steps": steps}
    layout = TallyLayout.of(plan)
    values: dict[str, Any] = {
        **{name: place(name, array) for name, array in arrays.items()},
        "alpha_gamma": np.float32(plan.alpha + plan.gamma),
        "step_bytes": steps.itemsize,
        "width": plan.level.shape[1],
        "regime_count": plan.trigger.size,
        "close_triggers": np.count_nonzero(plan.trigger_closes),
        "target_above": plan.target_rank[0],
        "target_below": plan.target_rank[1],
        "tallies": layout.tallies,
        **layout.starts,
    }
    names = [field.name for field in kernel_structs()["Plan"] if field.name not in values]
    return filled_struct("Plan", values | {name: getattr(plan, name) for name in names})


class PlacedPlan:
    """A plan in memory as compiled kernels read it: the Plan struct and the arrays it points to."""

    def __init__(self, plan: EnginePlan):
        self.arrays: dict[str, KernelArray] = {}
        self.struct = kernel_plan(plan, self._place)

    def _place(self, name: str, array: KernelArray) -> int:
        self.arrays[name] = array
        return int(array.ctypes.data)


def kernel_draws(seed: int, path_high: int) -> KernelArray:
    """Draws struct of a seed: Philox's key words, round by round, and the high word of all path numbers."""
    words = (seed & WORD_MASK, seed >> 32)
    key = [
        (word + r * step) & WORD_MASK
        for r in range(PHILOX_ROUNDS)
        for word, step in zip(words, PHILOX_KEY_STEPS, strict=True)
    ]
    return filled_struct("Draws", {"key": key, "path_high": path_high})


def outcomes_from_tallies(plan: EnginePlan, tallies: NDArray[np.int64], paths: int) -> Outcomes:
    """Outcomes from the kernels' counts, which have levels by side, nearest first."""
    layout = TallyLayout.of(plan)
    width, steps = plan.level.shape[1], plan.steps
    bounds = dict(zip(layout.starts, layout.ends(), strict=True))

    def part(name: str, *shape: int) -> NDArray[np.int64]:
        return tallies[layout.starts[name] : bounds[name]].reshape(shape)

    above, below = (int(count) for count in plan.level_count)
    touch = part("touch_tally", steps, 2, 2, width).transpose(1, 2, 3, 0)
    both = part("both_tally", 2, width)[:, ::-1].cumsum(axis=1)[:, ::-1]
    return Outcomes(
        paths=paths,
        joint=part("joint_tally", 3, 3).copy(),
        first=part("first_tally", steps, 2, 2).transpose(1, 2, 0).copy(),
        touch=np.concatenate((touch[:, 1, :below][:, ::-1], touch[:, 0, :above]), axis=1),
        touch_both=np.concatenate((both[1, 1 : below + 1][::-1], both[0, 1 : above + 1])),
        regime=part("regime_tally", plan.sessions, plan.trigger.size).copy(),
        closes=part("close_tally", plan.sessions, plan.close_bins + 2).copy(),
    )
