"""Text and HTML of a result, for `Result.summary` and notebooks."""

from __future__ import annotations

import html
import io
from typing import TYPE_CHECKING

from sim.files.terminal_text import for_stdout, printable
from sim.report.run import headline, print_report, provenance
from sim.report.terminal import Terminal

if TYPE_CHECKING:
    from sim.run.simulation import Result

HEADINGS = {
    "event": "event",
    "with": "with dealers",
    "without": "without",
    "difference": "difference, points",
}


def result_text(result: Result, width: int | None = None) -> str:
    """Report of a run as the command prints it, without colours or an end of line, in letters that stdout has.

    width : columns, at least 80; those of the terminal if None.
    """
    page = io.StringIO()
    print_report(result, Terminal(file=page, width=width))
    return for_stdout(page.getvalue().removesuffix("\n"))


def result_html(result: Result) -> str:
    """Small HTML table of a run's odds with half-widths of their 95% intervals, its headline and its warnings."""
    rows = []
    for row in result.headline_odds.to_dict("records"):
        is_target = row["event"] in ("first_upper", "first_lower")
        row["event"] = f"{row['level']} first" if is_target else f"{row['event']} {row['level']}".strip()
        rows.append("".join(_cell("td", row[name], name) for name in HEADINGS))
    heading = "".join(_cell("th", text, name) for name, text in HEADINGS.items())
    body = "".join(f"<tr>{cells}</tr>" for cells in rows)
    warnings = "".join(f"<p><b>warning:</b> {_html(text)}</p>" for text in result.warnings)
    told = _html(provenance(result.manifest).plain)
    return (
        f"<div><p><b>{_html(result.axes.scenario)}</b>: {_html(headline(result))}</p>"
        f"<table><thead><tr>{heading}</tr></thead><tbody>{body}</tbody></table>"
        f"<p>± half of a 95% interval, sampling error alone; {told}</p>{warnings}</div>"
    )


def _cell(tag: str, text: object, name: str) -> str:
    side = "left" if name == "event" else "right"
    return f'<{tag} style="text-align: {side}; padding: 0.1em 0.7em">{_html(str(text))}</{tag}>'


def _html(text: str) -> str:
    return html.escape(printable(text))
