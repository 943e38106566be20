"""A small plan whose counts and records are known to the last path, and what a library makes of it."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim.compiled import kernel_constants as constants
from sim.compiled.native_library import REINSTALL, load_library
from sim.engines.kernel_plan import WORD_MASK, PlacedPlan, TallyLayout, kernel_draws
from sim.engines.path_ranges import WORD
from sim.plan.engine_plan import NO_TABLE, EnginePlan

# SHA-256 of the counts and records of the known paths; NumPy finds the same, see tests/engines/test_known_counts.py.
KNOWN_COUNTS = "46df1123429f6b29c89ecfac1daa71e4c0f282e6133ae49a82e167051899527e"
KNOWN_SEED, KNOWN_FIRST, KNOWN_PATHS = 0x1234_5678_9ABC_DEF0, (5 << WORD) + 1000, 4000
SESSIONS, STEPS, LEVELS, BOOKS, PANELS, SEGMENTS = 8, 5, 16, 2, 2, 4
REACH = 0.5


def known_plan() -> EnginePlan:
    """Eight sessions with gaps, two books, five regimes, one for each kind of trigger, and many levels."""
    step = np.arange(SESSIONS * STEPS)
    closes = step % STEPS == STEPS - 1
    share = np.array([0.25, 0.3, 0.1, 0.15, 0.2])
    # Many levels, for many bridges.
    rank = np.arange(1, LEVELS + 1)
    level = np.array([[*(0.0021 * rank), np.inf], [*(0.0024 * rank[:-1]), np.inf, np.inf]])
    # A step's barriers start where those of the step before end.
    edge = np.arange(step.size + 1)[:, None, None, None]
    barrier = _float32(level[None, :, None, :] * (0.9 + 0.002 * edge + np.array([[0.0], [0.05]])))
    slopes = (0.8, 1.0, 1.1)
    lines = [_table_lines(slope) for slope in slopes]
    regimes = 5
    return EnginePlan(
        sessions=SESSIONS,
        steps_per_session=STEPS,
        share=_float32(share),
        root_share=np.sqrt(_float32(share)),
        session_drift=np.float32(0.0003),
        variance_start=np.float32(1e-4),
        omega=np.float32(3e-6),
        alpha=np.float32(0.05),
        gamma=np.float32(0.1),
        beta=np.float32(0.87),
        variance_atoms=_float32((np.arange(1 << constants.VARIANCE_ATOMS_BITS) + 0.5) / 2048),
        outcome_start=_int32(0, 2, 2, 3, 3, 3, 5, 5, 5),
        outcome_threshold=np.array([1 << 30, WORD_MASK, WORD_MASK, 1 << 31, WORD_MASK], dtype=np.uint32),
        outcome_mean=_float32([0.01, -0.012, 0.005, 0.0, -0.004]),
        outcome_variance=_float32([1e-4, 2e-4, 0.0, 5e-5, 0.0]),
        fade=np.float32(0.05),
        regime_flow=_float32([0.0, 2e-4, -1e-4, 0.0, 3e-4]),
        book_of_regime=_int32(0, 1, 0, 1, 1),
        identity_map=False,
        hedge_start=np.float32(0.0004),
        step_table=(step % 2).astype(np.int32),
        rebase_table=np.where(closes, 2, NO_TABLE).astype(np.int32),
        settles=step == 2 * STEPS - 1,
        table_start=np.cumsum([0, *map(len, lines)])[:-1].astype(np.int64),
        table_panels=_int32(*(PANELS for _ in slopes)),
        table_clip=_float32([[-REACH, REACH * (1 - 2**-20)] for _ in slopes]),
        table_scale=_float32([[PANELS / (2 * REACH), PANELS / 2] for _ in slopes]),
        lines=np.concatenate(lines),
        barrier_start=barrier[:-1],
        barrier_end=barrier[1:],
        level=_float32(level),
        level_count=_int32(LEVELS, LEVELS - 1),
        target_rank=_int32(6, 7),
        trigger=_int32(*constants.TriggerCode),
        trigger_level=_float32([0.0, 0.008, -0.01, 0.0126, -0.0096]),
        trigger_rank=_int32(-1, -1, -1, 5, 3),
        trigger_closes=_int32(0, 2, 1, 0, 0),
        run_start=_int32(0, 0, 0, 0, 0),
        allowed_from=np.arange(regimes)[:, None] != [*range(regimes)],
        lasts=_int32(0, 3, 2, 0, 4),
        successor=_int32(0, 2, 4, 0, 1),
        # Bins so narrow that the last bits of a move show.
        close_low=np.float32(-(2.0**-6)),
        close_scale=np.float32(1 << 20),
        close_bins=1 << 15,
    )


def _table_lines(slope: float) -> NDArray[np.float32]:
    """Lines of a table for both books: chords of slope·x + x·|x|/4, the second book's a little steeper."""
    rows = BOOKS * PANELS
    edges = REACH * (np.arange(PANELS * SEGMENTS + 1) / (PANELS * SEGMENTS / 2) - 1)
    segments = []
    for book in range(BOOKS):
        value = (slope + 0.03 * book) * edges + edges * np.abs(edges) / 4
        chord = np.diff(value) / np.diff(edges)
        segments.append(np.column_stack((value[:-1] - chord * edges[:-1], chord)))
    per_unit = PANELS * SEGMENTS / (2 * REACH)
    first = rows + SEGMENTS * (PANELS * (np.arange(rows) // PANELS)) + per_unit * REACH
    panels = np.column_stack((first, np.full(rows, per_unit)))
    return _float32(np.concatenate((panels, *segments)))


def _float32(values: object) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)


def _int32(*values: int) -> NDArray[np.int32]:
    return np.array(values, dtype=np.int32)


def counts_digest(counts: NDArray[np.uint32], records: NDArray[np.uint16]) -> str:
    """SHA-256 (hex) of the kernels' counts, (tallies,), and of the records, (paths,)."""
    return hashlib.sha256(counts.astype("<u4").tobytes() + records.astype("<u2").tobytes()).hexdigest()


def known_paths(file: Path) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
    """Counts, (tallies,), and records, (paths,), that a library finds for the known paths.

    Errors: MemoryError if there is none left.
    """
    plan = known_plan()
    placed, draws = PlacedPlan(plan), kernel_draws(KNOWN_SEED, KNOWN_FIRST >> WORD)
    counts = np.zeros(TallyLayout.of(plan).tallies, dtype=np.uint32)
    records = np.zeros(KNOWN_PATHS, dtype=np.uint16)
    inputs = (placed.struct.ctypes.data, draws.ctypes.data, KNOWN_FIRST & WORD_MASK, KNOWN_PATHS)
    if load_library(file).simulate_paths(*inputs, counts.ctypes.data, records.ctypes.data):
        raise MemoryError("no memory for a block of paths")
    return counts, records


@cache
def counts_problem(file: Path) -> str | None:
    """Reason why a library that can be loaded may not simulate, with a remedy; None if it may."""
    try:
        found = counts_digest(*known_paths(file))
    except Exception as error:
        return f"its library fails at paths whose counts are known ({error!r}). Install again: {REINSTALL}."
    if found != KNOWN_COUNTS:
        return (
            f"its library counts known paths otherwise than it must. Install the package again: {REINSTALL}."
        )
    return None
