"""Versions of Python and of the libraries that the numbers pass through."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from functools import cache
from importlib.metadata import packages_distributions, version

# Distributions that the numbers of every run pass through.
EVERY_RUN = ("gammawall-sim", "numpy", "scipy", "pandas", "exchange_calendars")


def installed_versions(packages: Sequence[str] = ()) -> dict[str, str]:
    """Versions by name of Python and of the libraries that the numbers pass through, read once per process.

    Parameters
    ----------
    packages : further libraries by the names they are imported under. The key of each is the name it was installed
        under, cupy-cuda13x for cupy for instance; a missing one is left out.
    """
    further = sorted({name for package in packages for name in installed_names(package)})
    return {"python": platform.python_version(), **{name: _version(name) for name in (*EVERY_RUN, *further)}}


@cache
def installed_names(package: str) -> tuple[str, ...]:
    """Names of the installed distributions that hold an importable package."""
    return tuple(packages_distributions().get(package, ()))


@cache
def _version(distribution: str) -> str:
    return version(distribution)
