from __future__ import annotations

from datetime import date

import pandas as pd
from support.printed import printed_view

from sim.report.trace import trace_view


def test_trace_view_shows_every_day_and_number() -> None:
    days = pd.DataFrame(
        {
            "session": [1, 2],
            "date": pd.to_datetime([date(2026, 2, 11), date(2026, 2, 12)]),
            "fundamental": [6950.123, 7101.5],
            "impact_points": [-3.456, 0.0],
            "price": [6946.667, 7101.5],
            "regime": ["initial", "institutional_hedging"],
            "touches": ["", "7000 7020 7100"],
            "control_touches": [(), (7100.0,)],
        }
    )
    text = printed_view(trace_view(days))
    for shown in (
        "2026-02-12",
        "6,950.12",
        "-3.46",
        "7,101.50",
        "institutional_hedging ",
        "7,000 ",
        "7,020 ",
    ):
        assert shown in text
    assert len([line for line in text.splitlines() if "2026-02-" in line]) == 2
    assert max(len(line) for line in text.splitlines()) <= 80
