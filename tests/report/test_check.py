from __future__ import annotations

from support.printed import cells, printed_view

from sim.check.checks import Check
from sim.report.check import check_view


def test_check_view_tells_the_failed_from_the_passed() -> None:
    checks = [
        Check("upper first", 0.41, 0.4102, 0.0005),
        Check("lower", 0.3, 0.4, 0.0005),
    ]
    text = printed_view(check_view(checks))
    assert cells(text, "upper first")[1:] == ["0.410000", "0.410200", "0.000500", "+0.40", "ok"]
    assert cells(text, "lower")[-2:] == ["+200.00", "FAILED"]
