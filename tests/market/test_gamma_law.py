"""The gamma law against known answers of 40 digits, closed forms of whole shapes, and SciPy."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import gammainc, gammaincc, gammaincinv
from scipy.stats import gamma

from sim.market.gamma_law import gamma_density, gamma_law, gamma_quantiles, inverse_means, peak_density

Float64s = npt.NDArray[np.float64]
COUNT = 4096
EXACT = 1e-11
# By degrees of freedom, twice the shape: means of (ν−2)/χ² over cells, by mpmath 1.3 with 40 digits.
KNOWN = {
    2.05: {
        0: 3391.66209365350361,
        1: 57.8148358371715447,
        47: 1.90120966366758073,
        48: 1.86270365893422047,
        50: 1.79021306366989831,
        700: 0.125804060085425501,
        2048: 0.0348374354686975094,
        3500: 0.0127007511804578993,
        4046: 0.00559050246002502434,
        4047: 0.00556498486051393504,
        4048: 0.00553917522270056647,
        4049: 0.00551306279822762078,
        4090: 0.00374325189399684284,
        4095: 0.0026883644801126889,
    },
    2.4: {0: 1133.33918960629449, 47: 7.47723280829702556, 48: 7.3469489169493443, 2048: 0.225170670538649409,
          4047: 0.0410368112327825513, 4048: 0.0408558894851932954, 4095: 0.0204293740237541425},
    5.3: {0: 36.0090947906181027, 1: 19.2229275356073999, 48: 4.77878494788018561, 700: 1.40537697101500326,
          2048: 0.709489141334374837, 4047: 0.217171127592557584, 4095: 0.124732294012441542},
    17.0: {0: 4.86617494917651674, 47: 2.28102701642139546, 48: 2.27266975907961061, 2048: 0.917996841635980816,
           4047: 0.456886260068650233, 4048: 0.455892199044118607, 4095: 0.314505065199354346},
    1000.0: {0: 1.18627257279184281, 1: 1.16634259731313309, 48: 1.10694079663201988, 2048: 0.998652028734634129,
             4047: 0.904062853961096419, 4048: 0.903750831259650174, 4095: 0.848740846731225797},
}  # fmt: skip
SHAPES = [
    1.0251,
    1.1,
    1.5,
    2.0,
    2.65,
    3.99,
    4.0,
    5.0,
    7.99,
    8.0,
    9.99,
    10.0,
    15.99,
    16.0,
    17.01,
    50.0,
    200.0,
    500.0,
]


@pytest.mark.parametrize("dof", KNOWN)
def test_known_means(dof: float) -> None:
    found = inverse_means(0.5 * dof, COUNT)
    known = KNOWN[dof]
    np.testing.assert_allclose(found[list(known)], list(known.values()), rtol=EXACT, atol=0)


def whole_law(a: int, x: Decimal) -> Decimal:
    """Q(a,x) = e^(−x)·Σ_{k<a} x^k/k! of a whole shape."""
    term = total = Decimal(1)
    for k in range(1, a):
        term *= x / k
        total += term
    return total * (-x).exp()


def whole_quantile(a: int, q: Decimal, guess: float) -> Decimal:
    """Where Q(a,x) = q, by Newton's method."""
    x = Decimal(guess)
    for _ in range(5):
        factorial = Decimal(1)
        for k in range(1, a):
            factorial *= k
        x += (whole_law(a, x) - q) / (x ** (a - 1) * (-x).exp() / factorial)
    return x


@pytest.mark.parametrize("a", [2, 3, 5, 12])
def test_whole_shapes(a: int) -> None:
    """Quantiles and means in decimals of 50 digits."""
    edges = [
        1,
        2,
        17,
        47,
        48,
        49,
        50,
        51,
        900,
        901,
        2047,
        2048,
        3700,
        3701,
        4046,
        4047,
        4048,
        4049,
        4094,
        4095,
    ]
    x, means = gamma_quantiles(float(a), COUNT), inverse_means(float(a), COUNT)
    with localcontext(prec=50):
        exact = {i: whole_quantile(a, 1 - Decimal(i) / COUNT, float(x[i - 1])) for i in edges}
        for i in edges:
            assert abs(Decimal(float(x[i - 1])) / exact[i] - 1) < Decimal("2e-14")
            if i + 1 in exact:
                mean = COUNT * (whole_law(a - 1, exact[i]) - whole_law(a - 1, exact[i + 1]))
                assert abs(Decimal(float(means[i])) / mean - 1) < Decimal(EXACT)
        ends = COUNT * (1 - whole_law(a - 1, exact[1])), COUNT * whole_law(a - 1, exact[4095])
        for found, mean in zip(means[[0, -1]].tolist(), ends, strict=True):
            assert abs(Decimal(found) / mean - 1) < Decimal(EXACT)


@pytest.mark.parametrize("a", SHAPES)
def test_scipy(a: float) -> None:
    """SciPy's means are differences of probabilities, good to 1e-10 or so."""
    p = np.arange(COUNT + 1) / COUNT
    x = gamma_quantiles(a, COUNT)
    np.testing.assert_allclose(x, gammaincinv(a, p[1:-1]), rtol=1e-12)
    witness = COUNT * np.diff(gammainc(a - 1.0, gammaincinv(a, p)))
    np.testing.assert_allclose(inverse_means(a, COUNT), witness, rtol=5e-10)
    np.testing.assert_allclose(gamma_density(a, x), gamma.pdf(x, a), rtol=1e-11)
    assert peak_density(a - 1.0) == pytest.approx(gamma.pdf(a - 1.0, a), rel=1e-12)


@pytest.mark.parametrize("a", SHAPES)
def test_law(a: float) -> None:
    middle = gamma.ppf(np.linspace(1e-4, 0.9999, 400), a)
    x = np.sort(np.concatenate([a * np.geomspace(1e-6, 0.5, 40), middle, a * np.arange(3, 9)]))
    below, above = gamma_law(a, x)
    np.testing.assert_allclose(below, gammainc(a, x), rtol=2e-12, atol=1e-300)
    np.testing.assert_allclose(above, gammaincc(a, x), rtol=2e-12, atol=1e-300)
    np.testing.assert_allclose(below + above, 1.0, rtol=0, atol=2e-15)
    assert np.all(np.diff(below) >= 0)


@pytest.mark.parametrize("a", SHAPES)
def test_means_fall_and_average_one(a: float) -> None:
    means = inverse_means(a, COUNT)
    assert means.shape == (COUNT,)
    assert np.all(np.diff(means) < 0)
    assert np.all(means > 0)
    assert means.mean() == pytest.approx(1.0, abs=1e-13)
    x = gamma_quantiles(a, COUNT)
    # a cell's mean lies between its ends
    assert np.all((means[1:-1] > (a - 1.0) / x[1:]) & (means[1:-1] < (a - 1.0) / x[:-1]))


def test_other_numbers_of_cells() -> None:
    for count in (128, 1000):
        fine, coarse = inverse_means(2.65, 8 * count), inverse_means(2.65, count)
        np.testing.assert_allclose(coarse, fine.reshape(count, 8).mean(axis=1), rtol=1e-9)
