"""Versions of Python and of the libraries that the numbers pass through."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import packages_distributions, version

# Distributions that the numbers of every run pass through.
EVERY_RUN = ("gammawall-sim", "numpy", "scipy", "pandas", "exchange_calendars")


def installed_versions(packages: Sequence[str] = ()) -> dict[str, str]:
    """Versions of Python and of the libraries that the numbers pass through.

    Parameters
    ----------
    packages : further ones, by the names they are imported under. Each goes by the name it was installed under, cupy
        by one such as cupy-cuda13x; one that is missing is left out.
    """
    installed = packages_distributions() if packages else {}
    further = sorted({name for package in packages for name in installed.get(package, ())})
    return {"python": platform.python_version(), **{name: version(name) for name in (*EVERY_RUN, *further)}}
