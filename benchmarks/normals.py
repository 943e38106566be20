"""Ways to turn random words into standard normals: cost, error and the law of many draws.

    python benchmarks/normals.py [--draws N] [--repeats R] [--build avx2] [--csv FILE]

Each row is one candidate of normal_candidates.cuh; columns are explained under the table. Instructions are counted in
the machine code for sm_90, and no GPU is used; they need the `test` extra. Times depend on the machine and on what
else it runs: compare the ratios of one run.
"""

from __future__ import annotations

import argparse
import csv
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from normal_builds import (
    DRAWS_A_PATH,
    LIMITS,
    CompiledCandidates,
    Law,
    aligned,
    cxx_compiler,
    machine_code,
    wavefronts_a_read,
)
from normal_candidates import CANDIDATES, WORK_ROWS, Candidate
from numpy.typing import NDArray
from scipy.special import ndtr

from sim.compiled.kernel_sources import native_builds

NATIVE_PAIRS, NUMPY_PAIRS = 512, 65_536
NATIVE_REPEATS = 2_000
TESTED_PAIRS = 1 << 20
# Numbers at both ends, tested one by one beside the random ones.
END_NUMBERS = 1 << 17
LARGEST_DRAWS = DRAWS_A_PATH << 32

EXPLANATION = """
instructions   machine instructions per normal for sm_90 on the common way, words given
loads          16-byte reads of the table per normal; wavefronts: passes of the shared memory's port that such a read
               of a warp takes, by a model (eight threads at a time, one pass for each row wanted of the same banks)
C++, NumPy     nanoseconds per normal on one thread, least of the repeats; blocks of 512 and 65,536 pairs
rms, largest   error against float64 of the same words (of the cell's middle, for inverse distributions); beyond 1:
               the largest error of normals beyond one standard deviation
farthest       largest normal that any word gives
z              (seen − expected)/standard error, of the fourth moment and of the numbers beyond 4, 5 and 6
"""


@dataclass(frozen=True)
class Row:
    """A candidate's line of the table; None where it could not be measured."""

    candidate: str
    sm_90_instructions: float | None
    table_loads: float | None
    table_bytes: int
    wavefronts: float
    native_ns: float
    numpy_ns: float
    rms_error: float
    largest_error: float
    largest_error_beyond_1: float
    farthest: float
    draws: int
    fourth_moment: float
    fourth_moment_z: float
    beyond_4: int
    beyond_4_expected: float
    beyond_4_z: float
    beyond_5: int
    beyond_5_expected: float
    beyond_5_z: float
    beyond_6: int
    beyond_6_expected: float
    beyond_6_z: float


def least_seconds(works: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Least wall time of each call after one warm-up, by name; the calls take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats + 1):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - began)
    return {name: min(taken[1:]) for name, taken in seconds.items()}


def random_words(count: int, seed: int) -> NDArray[np.uint32]:
    return np.random.default_rng(seed).integers(0, 1 << 32, count, dtype=np.uint32)


def native_ns(compiled: CompiledCandidates, repeats: int) -> dict[str, float]:
    """Nanoseconds a normal of each compiled candidate, words in cache."""
    words = random_words(NATIVE_PAIRS, 1), random_words(NATIVE_PAIRS, 2)
    out = aligned(np.empty((2, NATIVE_PAIRS), dtype=np.float32))
    works = {c.name: lambda c=c: compiled.block(c.name, *words, out, NATIVE_REPEATS) for c in CANDIDATES}
    seconds = least_seconds(works, repeats)
    return {name: s * 1e9 / (2 * NATIVE_PAIRS * NATIVE_REPEATS) for name, s in seconds.items()}


def numpy_normals(
    candidate: Candidate, first: NDArray[np.uint32], second: NDArray[np.uint32]
) -> NDArray[np.float32]:
    """The NumPy twin's normals of pairs of words, (2, n)."""
    out = np.empty((2, first.size), dtype=np.float32)
    candidate.twin(first, second, out[0], out[1], np.empty((WORK_ROWS, first.size), dtype=np.float32))
    return out


def numpy_ns(repeats: int) -> dict[str, float]:
    """Nanoseconds a normal of each NumPy twin."""
    words = random_words(NUMPY_PAIRS, 1), random_words(NUMPY_PAIRS, 2)
    out = np.empty((2, NUMPY_PAIRS), dtype=np.float32)
    work = np.empty((WORK_ROWS, NUMPY_PAIRS), dtype=np.float32)
    works = {c.name: lambda c=c: c.twin(*words, *out, work) for c in CANDIDATES}
    return {name: s * 1e9 / (2 * NUMPY_PAIRS) for name, s in least_seconds(works, repeats).items()}


def tested_words() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Pairs of words: random ones, and the smallest and largest numbers with any sign and any partner."""
    ends = np.arange(END_NUMBERS, dtype=np.uint32)
    numbers = np.concatenate([ends, np.uint32((1 << 31) - 1) - ends])
    signed = numbers | (random_words(numbers.size, 3) & np.uint32(1 << 31))
    partners = random_words(numbers.size, 4)
    first = np.concatenate([random_words(TESTED_PAIRS, 5), signed, partners])
    return first, np.concatenate([random_words(TESTED_PAIRS, 6), partners, signed])


def errors(candidate: Candidate) -> tuple[float, float, float, float]:
    """Root mean square error of the random words; largest of all words, and beyond one sigma; farthest normal.

    Box–Muller's farthest normal is its largest radius, which the words reach next to the axes.
    """
    first, second = tested_words()
    axis = np.array([0, 1 << 31, (1 << 31) - 1, 1 << 30], dtype=np.uint32)
    first, second = np.append(first, np.zeros_like(axis)), np.append(second, axis)
    found, exact = numpy_normals(candidate, first, second), candidate.exact(first, second)
    error = np.abs(found - exact)
    rms = float(np.sqrt(np.mean(error[:, :TESTED_PAIRS] ** 2)))
    return rms, float(error.max()), float(error[np.abs(exact) > 1].max()), float(np.abs(found).max())


def law_columns(law: Law, draws: int) -> dict[str, float]:
    """Fourth moment and tail counts with their z-scores; the fourth power's variance is 96."""
    moment = law.sums[3] / draws
    columns = {"draws": draws, "fourth_moment": moment, "fourth_moment_z": (moment - 3) / np.sqrt(96 / draws)}
    for limit, seen in zip(LIMITS, law.beyond, strict=True):
        expected = 2 * draws * float(ndtr(-limit))
        columns[f"beyond_{limit}"] = seen
        columns[f"beyond_{limit}_expected"] = expected
        columns[f"beyond_{limit}_z"] = (seen - expected) / np.sqrt(expected)
    return columns


def measure(draws: int, repeats: int, build: str, compiler: str) -> tuple[list[Row], str | None]:
    """All rows, and why instructions were not counted if so."""
    compiled = CompiledCandidates(build, compiler)
    code, reason = machine_code()
    native, numpy = native_ns(compiled, repeats), numpy_ns(repeats)
    rows = []
    for candidate in CANDIDATES:
        name = candidate.name
        instructions, loads = code.get(name, (None, None))
        law = law_columns(compiled.law(name, draws), draws)
        wavefronts = wavefronts_a_read() if candidate.table_bytes else 0.0
        cost = (instructions, loads, candidate.table_bytes, wavefronts, native[name], numpy[name])
        rows.append(Row(name, *cost, *errors(candidate), **law))
    return rows, reason


def table_entries(rows: list[Row]) -> list[str]:
    """The rows as aligned text."""
    head = (
        "candidate",
        "instr.",
        "loads",
        "wavefr.",
        "bytes",
        "C++ ns",
        "NumPy ns",
        "rms",
        "largest",
        "beyond 1",
        "farthest",
    )
    head += ("4th moment", "z", *(part for limit in LIMITS for part in (f"beyond {limit}", "z")))
    text = [head]
    for row in rows:
        counted = [
            "–" if value is None else f"{value:.1f}" for value in (row.sm_90_instructions, row.table_loads)
        ]
        cells = [row.candidate, *counted, f"{row.wavefronts:.1f}", str(row.table_bytes)]
        cells += [f"{row.native_ns:.2f}", f"{row.numpy_ns:.2f}"]
        cells += [f"{value:.1e}" for value in (row.rms_error, row.largest_error, row.largest_error_beyond_1)]
        cells += [f"{row.farthest:.3f}", f"{row.fourth_moment:.5f}", f"{row.fourth_moment_z:+.1f}"]
        for limit in LIMITS:
            cells += [f"{getattr(row, f'beyond_{limit}'):,}", f"{getattr(row, f'beyond_{limit}_z'):+.1f}"]
        text.append(tuple(cells))
    widths = [max(map(len, column)) for column in zip(*text, strict=True)]
    return [
        "  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        for line in text
    ]


def write_csv(rows: list[Row], file: Path) -> None:
    """The rows with six significant digits; counts in full, empty where not measured."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(field.name for field in fields(Row))
        for row in rows:
            values = asdict(row).values()
            writer.writerow(f"{v:.6g}" if isinstance(v, float) else v for v in values)


def draws_of(text: str) -> int:
    draws = int(float(text))
    if not DRAWS_A_PATH <= draws <= LARGEST_DRAWS - DRAWS_A_PATH:
        raise argparse.ArgumentTypeError(f"draws = {text} (must lie between 4 and 1.7e10)")
    return draws - draws % DRAWS_A_PATH


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    builds = native_builds(platform.machine())
    parser.add_argument(
        "--draws", type=draws_of, default=draws_of("1e8"), help="normals a candidate (default 1e8)"
    )
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--build", choices=builds, default="avx2" if "avx2" in builds else "baseline")
    parser.add_argument("--csv", type=Path, default=Path("results", "normals.csv"))
    options = parser.parse_args()
    compiler = cxx_compiler()
    if compiler is None:
        raise SystemExit(
            "no C++ compiler was found. Install g++ or clang++, or name one: CXX=/path/to/compiler"
        )
    rows, reason = measure(options.draws, options.repeats, options.build, compiler)
    print(
        f"{options.draws:,} normals a candidate; C++ for {options.build}; least of {options.repeats} repeats"
    )
    print(*table_entries(rows), sep="\n")
    expected = ", ".join(f"{2 * options.draws * ndtr(-limit):,.1f} beyond {limit}" for limit in LIMITS)
    print(f"expected: {expected}\n{EXPLANATION}")
    if reason:
        print(f"instructions were not counted: {reason}")
    options.csv.parent.mkdir(parents=True, exist_ok=True)
    write_csv(rows, options.csv)
    print(f"written to {options.csv}")


if __name__ == "__main__":
    main()
