"""Instructions and registers of the CUDA kernel by architecture, counted and at most.

The common path is a trading step of a path with no level near: the shortest way round the kernel's loop over four
steps, divided by four, counted in the machine code. Steps near a level, the gap and the close come on top. The tests
compile the kernel for every architecture and compare; the limits, `COMMON_PATH_BUDGET` and `REGISTER_LIMIT`, are
theirs alone. CHANGELOG.md has the history of the budget.
"""

from __future__ import annotations

# Most instructions per path-step on the common path.
COMMON_PATH_BUDGET = {
    "sm_75": 101.0,
    "sm_80": 100.0,
    "sm_86": 100.0,
    "sm_89": 100.0,
    "sm_90": 100.0,
    "sm_100": 101.0,
    "sm_120": 101.0,
}
# Instructions per path-step on the common path, as compiled by NVRTC 13.5.
COMMON_PATH_INSTRUCTIONS = {
    "sm_75": 100.5,
    "sm_80": 97.75,
    "sm_86": 97.75,
    "sm_89": 97.75,
    "sm_90": 99.75,
    "sm_100": 99.75,
    "sm_120": 99.25,
}
# Most registers per thread: three blocks of 256 threads per multiprocessor, two from sm_100 on.
REGISTER_LIMIT = {
    "sm_75": 80,
    "sm_80": 80,
    "sm_86": 80,
    "sm_89": 80,
    "sm_90": 80,
    "sm_100": 128,
    "sm_120": 128,
}
# Thread instructions that a multiprocessor can issue per clock, on all of these.
ISSUED_PER_CLOCK = 128


def instructions_per_path_step(architecture: str) -> float | None:
    """Instructions per path-step on the common path of an architecture such as "sm_90"; None where not counted."""
    return COMMON_PATH_INSTRUCTIONS.get(architecture)


def issue_limit(architecture: str, multiprocessors: int, clock_hz: float) -> float | None:
    """Path-steps per second of a device that issues common-path instructions without a pause; None if unknown."""
    instructions = instructions_per_path_step(architecture)
    return None if instructions is None else multiprocessors * ISSUED_PER_CLOCK * clock_hz / instructions
