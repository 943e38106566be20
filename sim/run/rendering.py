"""Results as text and as HTML: the room of reports, which stands above this one, is put here by `sim/__init__.py`."""

from __future__ import annotations

from typing import Any, Protocol


class Renderer(Protocol):
    """Text and HTML of a `sim.run.simulation.Result`."""

    def text(self, result: Any, width: int | None) -> str:
        """Report of a run, plain, in so many columns; in those of the terminal if None."""

    def html(self, result: Any) -> str:
        """Small table of a run's odds."""


_chosen: list[Renderer] = []


def use_renderer(renderer: Renderer) -> None:
    """Let results be rendered so from now on."""
    _chosen[:] = [renderer]


def renderer() -> Renderer:
    """The renderer in use; the package chooses one when it is imported."""
    return _chosen[0]
