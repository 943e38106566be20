"""Rows of a book one by one, with the keys of `[[dealers.position]]`."""

from __future__ import annotations

from typing import Any

from sim.book.rows import BookRows


def stated_positions(rows: BookRows) -> list[dict[str, Any]]:
    return [
        {
            "group": rows.groups[rows.group[i]],
            "type": "call" if rows.is_call[i] else "put",
            "strike": float(rows.strike[i]),
            "expiry": rows.expiry[i].item(),
            "settlement": "AM" if rows.at_open[i] else "PM",
            "iv": float(rows.iv[i]),
            "contracts": float(rows.contracts[i]),
            "carry": float(rows.carry[i]),
        }
        for i in range(len(rows))
    ]
