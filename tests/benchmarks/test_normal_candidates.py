"""Every way to turn words into normals compiles, equals its NumPy twin and is normal; the table's claims hold."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr
from support.cuda_toolchain import needs_cuda_toolchain
from support.places import ROOT

from sim.compiled.kernel_constants import COSINE_POLYNOMIAL, LOG_POLYNOMIAL, SINE_POLYNOMIAL
from sim.kernels_numpy.normal import normal_pair
from sim.kernels_numpy.philox import PathWords

BOX_MULLER = ("as_used", "octants", "long_polynomials")
INVERSE = ("segments", "two_polynomials")
NAMES = (*BOX_MULLER, *INVERSE)
DRAWS = 1_000_000
SIGN = np.uint32(1 << 31)
# Largest errors of the polynomials before any rounding of float32 but that of their coefficients: relative for the
# logarithm and the sine, absolute for the cosine.
POLYNOMIAL_ERRORS = {
    "as_used": (1.27e-6, 9.6e-7, 8.3e-8),
    "octants": (2.0e-7, 2.8e-8, 3.3e-8),
    "long_polynomials": (2.0e-7, 2.8e-8, 8.3e-8),
}
# Root mean square error, largest error, largest error beyond one standard deviation. Box–Muller's largest is that of
# a radius near 0, where float32 has 6e-8 of its square: sqrt(6e-8) = 2.4e-4. Its largest beyond one standard
# deviation is that of the farthest radius: 6.56 times the error of the sine or the cosine, 9.6e-7 as used, and about
# 2·2^-24 for roundings. Half of that 9.6e-7 is the root mean square as used, since one normal of two has it and it
# swings between its ends; the others' is that of roundings, near 2^-24.
BOUNDS = {
    "as_used": (6e-7, 2.5e-4, 7e-6),
    "octants": (7e-8, 2.5e-4, 1.1e-6),
    "long_polynomials": (9e-8, 2.5e-4, 1.4e-6),
    "segments": (1.1e-7, 7e-7, 7e-7),
    "two_polynomials": (4e-7, 1.4e-6, 1.4e-6),
}
each_candidate = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def normals() -> Iterator[Any]:
    """The benchmark as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        import normals

        yield normals


@pytest.fixture(scope="module")
def compiled(normals: Any) -> Any:
    """The candidates compiled for any processor."""
    compiler = normals.cxx_compiler()
    if compiler is None:
        pytest.skip("no C++ compiler")
    return normals.CompiledCandidates("baseline", compiler)


def candidate(normals: Any, name: str) -> Any:
    return next(c for c in normals.CANDIDATES if c.name == name)


def bits(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    assert values.dtype == np.float32
    return np.ascontiguousarray(values).view(np.uint32)


def compiled_normals(
    compiled: Any, name: str, first: NDArray[np.uint32], second: NDArray[np.uint32]
) -> NDArray[np.float32]:
    out = np.full((2, first.size), np.nan, dtype=np.float32)
    compiled.block(name, first, second, out)
    return out


def test_the_candidate_as_used_is_what_the_engines_use(normals: Any, compiled: Any) -> None:
    first, second = normals.tested_words()
    expected = np.empty((2, first.size), dtype=np.float32)
    normal_pair(first, second, expected[0], expected[1], np.empty((3, first.size), dtype=np.float32))
    np.testing.assert_array_equal(bits(compiled_normals(compiled, "as_used", first, second)), bits(expected))


@each_candidate
def test_compiled_candidate_equals_its_twin(normals: Any, compiled: Any, name: str) -> None:
    """An odd length, so that the loop's rest that fills no vector is compared as well."""
    first, second = (words[5:] for words in normals.tested_words())
    twin = normals.numpy_normals(candidate(normals, name), first, second)
    np.testing.assert_array_equal(bits(compiled_normals(compiled, name, first, second)), bits(twin))


@pytest.mark.parametrize("name", BOX_MULLER)
def test_polynomials_of_box_muller(normals: Any, name: str) -> None:
    """Largest errors in float64, on which the bounds of the normals rest."""
    from normal_fits import log_ratio, polynomials, sine_ratio
    from numpy.polynomial.polynomial import polyval

    own = polynomials()
    log, sine, cosine, turn = {
        "as_used": (LOG_POLYNOMIAL, SINE_POLYNOMIAL, COSINE_POLYNOMIAL, np.pi / 2),
        "octants": (own["LONG_LOG"], own["OCTANT_SINE"], own["OCTANT_COSINE"], np.pi / 4),
        "long_polynomials": (own["LONG_LOG"], own["LONG_SINE"], COSINE_POLYNOMIAL, np.pi / 2),
    }[name]
    # An even number of points leaves out t = 0.
    t = np.linspace(np.sqrt(0.5) - 1, np.sqrt(2) - 1, 100_000)
    square = np.linspace(1e-9, 1, 100_000)
    errors = (
        polyval(t, log) / log_ratio(t) - 1,
        polyval(square, sine) / sine_ratio(turn)(square) - 1,
        polyval(square, cosine) - np.cos(turn * np.sqrt(square)),
    )
    assert [np.abs(error).max() for error in errors] == pytest.approx(POLYNOMIAL_ERRORS[name], rel=0.03)


@each_candidate
def test_errors(normals: Any, name: str) -> None:
    rms, largest, beyond_1, farthest = normals.errors(candidate(normals, name))
    bounds = BOUNDS[name]
    assert rms < bounds[0]
    assert largest < bounds[1]
    assert beyond_1 < bounds[2]
    # The outermost cell of one word has the probability 2^-31: its middle lies 6.34 standard deviations out.
    assert farthest == pytest.approx(6.338 if name == "two_polynomials" else 6.55, abs=0.01)


@each_candidate
def test_moments(compiled: Any, name: str) -> None:
    """Standard errors sqrt(1, 2, 15, 96 / n); 20 moments within 5 of them: 1 in 90,000 seeds fails."""
    law = compiled.law(name, DRAWS)
    moments = np.array(law.sums) / DRAWS
    z = (moments - [0, 1, 0, 3]) / np.sqrt(np.array([1, 2, 15, 96]) / DRAWS)
    assert np.all(np.abs(z) < 5)


@each_candidate
def test_law_is_that_of_the_simulations_words(normals: Any, compiled: Any, name: str) -> None:
    """Sums and counts once more in NumPy; the last block is not full."""
    from normal_builds import SEED

    paths = 5_000
    words = np.empty((4, paths), dtype=np.uint32)
    PathWords(paths, SEED).draw(np.arange(paths, dtype=np.uint64), 0, 0, 0, words)
    own = candidate(normals, name)
    z = np.stack([normals.numpy_normals(own, *words[half : half + 2]) for half in (0, 2)]).astype(np.float64)
    law = compiled.law(name, z.size)
    np.testing.assert_allclose(law.sums, [np.sum(z**power) for power in (1, 2, 3, 4)], rtol=1e-10, atol=1e-8)
    assert list(law.beyond) == [np.count_nonzero(np.abs(z) > limit) for limit in normals.LIMITS]


@pytest.mark.parametrize("name", INVERSE)
def test_top_bit_of_a_word_is_the_sign(normals: Any, name: str) -> None:
    first, second = normals.tested_words()
    own = candidate(normals, name)
    mirrored = normals.numpy_normals(own, first ^ SIGN, second ^ SIGN)
    np.testing.assert_array_equal(bits(mirrored), bits(normals.numpy_normals(own, first, second)) ^ SIGN)


def test_segments_are_monotone(normals: Any) -> None:
    """A larger number never means a normal farther out: around every segment's border, and in any order."""
    from normal_fits import SEGMENTS_A_BINADE

    borders = [int(2.0**b * (1 + k / SEGMENTS_A_BINADE)) for b in range(31) for k in range(SEGMENTS_A_BINADE)]
    near = np.array(borders)[:, None] + np.arange(-500, 500)
    numbers = np.concatenate([near.ravel(), np.arange(1 << 16), (1 << 31) - 1 - np.arange(1 << 16)])
    numbers = numbers[(numbers >= 0) & (numbers < 1 << 31)]
    words = np.unique(np.concatenate([numbers, normals.random_words(1 << 20, 8) % SIGN])).astype(np.uint32)
    z = normals.numpy_normals(candidate(normals, "segments"), words, words)[0]
    assert np.all(np.diff(z) <= 0)
    assert z[0] > 6.5
    assert 0 <= z[-1] < 1e-7


def test_table_has_a_row_for_every_number(normals: Any) -> None:
    from normal_candidates import SEGMENT_SHIFT
    from normal_fits import FIRST_SEGMENT, SEGMENTS, cubic_table

    ends = np.array([0.5, float(1 << 31)], dtype=np.float32).view(np.int32) >> SEGMENT_SHIFT
    assert list(ends - FIRST_SEGMENT) == [0, SEGMENTS - 1]
    assert candidate(normals, "segments").table_bytes == cubic_table().nbytes


def test_wavefronts_of_a_warp(normals: Any) -> None:
    """Four groups of eight threads take a pass each at least, and eight each at most."""
    assert 4 < normals.wavefronts_a_read() < 32


@needs_cuda_toolchain
def test_machine_code_is_counted(normals: Any) -> None:
    counts, reason = normals.machine_code()
    assert reason is None
    assert set(counts) == set(NAMES)
    assert {name: reads for name, (_, reads) in counts.items() if reads} == {"segments": 1}
    # One multiply and one add for each coefficient but the first of a pair's logarithm, sine and cosine.
    assert counts["as_used"][0] > 2 * (6 + 3 + 4) / 2
    # One coefficient more for the logarithm and for the sine: four instructions a pair.
    assert counts["long_polynomials"][0] - counts["as_used"][0] == pytest.approx(2, abs=1)
    assert min(BOX_MULLER, key=lambda name: counts[name][0]) == "as_used"


def test_command_prints_and_writes_the_table(
    normals: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if normals.cxx_compiler() is None:
        pytest.skip("no C++ compiler")
    file = tmp_path / "new" / "normals.csv"
    options = ["--draws", "4e4", "--repeats", "1", "--build", "baseline", "--csv", str(file)]
    monkeypatch.setattr(sys, "argv", ["normals.py", *options])
    normals.main()
    printed = capsys.readouterr().out
    with file.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["candidate"] for row in rows] == list(NAMES)
    assert all(f"\n{name} " in printed for name in NAMES)
    assert all(int(row["draws"]) == 40_000 for row in rows)
    assert all(float(row["native_ns"]) > 0 for row in rows)
    for row in rows:
        assert float(row["beyond_4_expected"]) == pytest.approx(2 * 40_000 * ndtr(-4), rel=1e-5)


@pytest.mark.parametrize("draws", ["0", "-5", "1e12"])
def test_draws_that_cannot_be_addressed_are_refused(
    normals: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], draws: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["normals.py", f"--draws={draws}"])
    with pytest.raises(SystemExit) as stop:
        normals.main()
    assert stop.value.code == 2
    assert "must lie between" in capsys.readouterr().err
