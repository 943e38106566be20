"""Renderer of results, as text and as HTML, which `sim/__init__.py` sets when the package is imported.

It belongs to the room of reports, which stands above this one and may not be imported here.
"""

from __future__ import annotations

from typing import Any, Protocol


class Renderer(Protocol):
    """Maker of text and HTML from a `sim.run.simulation.Result`."""

    def text(self, result: Any, width: int | None) -> str:
        """Report of a run as plain text, `width` columns wide; as wide as the terminal if None."""

    def html(self, result: Any) -> str:
        """Small table of a run's odds."""


_chosen: list[Renderer] = []


def use_renderer(renderer: Renderer) -> None:
    """Set the renderer of all results from now on."""
    _chosen[:] = [renderer]


def renderer() -> Renderer:
    """Renderer in use."""
    return _chosen[0]
