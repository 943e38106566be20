"""Versions of Python and of the libraries that the numbers pass through."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import packages_distributions, version

LIBRARIES = ("gammawall-sim", "numpy", "scipy", "pandas", "exchange_calendars")


def installed_versions(engine: str = "numpy") -> dict[str, str]:
    """Versions by name of Python and of the libraries that the numbers pass through, CuPy's if the engine is cuda.

    CuPy goes by the name it was installed under, such as cupy-cuda13x. The files are read once per process.
    """
    libraries = (*LIBRARIES, *cupy_names()) if engine == "cuda" else LIBRARIES
    return {"python": platform.python_version(), **{name: _version(name) for name in libraries}}


@cache
def cupy_names() -> tuple[str, ...]:
    """Names under which CuPy is installed, sorted."""
    return tuple(sorted(set(packages_distributions().get("cupy", ()))))


@cache
def _version(library: str) -> str:
    return version(library)
