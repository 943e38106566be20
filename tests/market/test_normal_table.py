"""Tables of the normal law against decimals of 50 digits."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest

from sim.market.normal_law import DENSITY, ENTRIES_PER_UNIT, LAW
from sim.market.normal_table import normal_tables

PI = Decimal("3.1415926535897932384626433832795028841971693993751058209749")


def exact(z: Decimal) -> tuple[Decimal, Decimal]:
    """N(z) = 1/2 + n(z)·(z + z³/3 + z⁵/(3·5) + …) and n(z) for z ≥ 0."""
    density = (-z * z / 2).exp() / (2 * PI).sqrt()
    term = total = z
    odd = 1
    while term > Decimal("1e-60"):
        odd += 2
        term *= z * z / odd
        total += term
    return Decimal("0.5") + density * total, density


@pytest.mark.parametrize(("entries_per_unit", "last"), [(ENTRIES_PER_UNIT, LAW.size // 2), (32, 192)])
def test_every_entry_is_the_nearest_float(entries_per_unit: int, last: int) -> None:
    law, density = normal_tables(entries_per_unit, last)
    assert law.shape == density.shape == (2 * last + 1,)
    with localcontext(prec=50):
        for k in range(last + 1):
            above, at = exact(Decimal(k) / entries_per_unit)
            assert (law[last + k], density[last + k]) == (float(above), float(at)), k
            assert (law[last - k], density[last - k]) == (float(1 - above), float(at)), k


def test_the_laws_ends() -> None:
    """The table in use ends with entries at which no position bends the map."""
    law, density = normal_tables(ENTRIES_PER_UNIT, LAW.size // 2)
    assert (LAW[1:-1] == law[1:-1]).all()
    assert (DENSITY[1:-1] == density[1:-1]).all()
    assert (LAW[0], LAW[-1], DENSITY[0], DENSITY[-1]) == (0.0, 1.0, 0.0, 0.0)
