"""Builds of the native engine that may be used here, and reasons why one may not."""

from __future__ import annotations

import os

from sim.compiled.kernel_sources import NATIVE_BUILDS
from sim.compiled.native_library import REINSTALL, compiled_builds, file_of, library_problem, runnable_builds
from sim.engines.known_counts import counts_problem
from sim.reaction.known_tables import tables_problem


def usable_builds() -> list[str]:
    """Names of the builds that run on this processor and give the known answers, fastest first."""
    return [build for build in runnable_builds() if build_problem(build) is None]


def fastest_build() -> str | None:
    """Name of the fastest build that may be used here; None if there is none."""
    return next((build for build in runnable_builds() if build_problem(build) is None), None)


def refused_builds() -> dict[str, str]:
    """Builds that run on this processor and may not be used, fastest first, each with the reason and a remedy."""
    return {build: why for build in runnable_builds() if (why := build_problem(build)) is not None}


def passed_over_builds() -> dict[str, str]:
    """Refused builds that are faster than the one that is used, each with the reason and a remedy."""
    found = {}
    for build in runnable_builds():
        problem = build_problem(build)
        if problem is None:
            break
        found[build] = problem
    return found


def build_problem(build: str) -> str | None:
    """Reason why a build that runs on this processor may not be used, with a remedy; None if it may."""
    return library_problem(build) or tables_problem(file_of(build)) or counts_problem(file_of(build))


def native_problem(build: str | None = None) -> str | None:
    """Reason why the native engine, or one build of it, is unavailable, with a remedy; None if it is available."""
    if build is not None and build not in NATIVE_BUILDS:
        return f"there is no build {build!r}. Try one of {', '.join(NATIVE_BUILDS)}."
    if os.name != "posix":
        return "it is built on Linux and macOS only. Try --engine numpy."
    compiled, runnable = compiled_builds(), runnable_builds()
    if "baseline" not in compiled or (build and build not in compiled):
        return (
            "it was not compiled when gammawall was installed, for want of a C++ compiler that could. "
            f"Install g++ 11, clang++ 14 or newer and then the package again: {REINSTALL}."
        )
    if build and build not in runnable:
        return (
            f"this processor cannot run the {build} build. Try {(usable_builds() or ['--engine numpy'])[0]}."
        )
    if build:
        return build_problem(build)
    return build_problem(runnable[0]) if fastest_build() is None else None
