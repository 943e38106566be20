"""Versions of Python and of the libraries that the numbers pass through."""

from __future__ import annotations

import platform
from importlib.metadata import packages_distributions, version


def installed_versions(engine: str = "numpy") -> dict[str, str]:
    """Versions of Python and of the libraries that the numbers pass through, CuPy's if the engine is cuda.

    CuPy goes by the name it was installed under, such as cupy-cuda13x.
    """
    libraries = ["gammawall-sim", "numpy", "scipy", "pandas", "exchange_calendars"]
    if engine == "cuda":
        libraries += sorted(set(packages_distributions().get("cupy", ())))
    return {"python": platform.python_version(), **{name: version(name) for name in libraries}}
