"""The library dask.distributed, loaded with the configuration that the user has given it, or refused in one message.

Dask reads YAML files and DASK_ variables when it is imported. What is wrong there shows up late and anywhere, as a
traceback from its inside, so that it is looked for here first. The only module that imports dask and distributed.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from sim.errors import GammawallError, InputError, Problem, one_line
from sim.problems import shown

INSTALL = "pip install 'gammawall-sim[cluster]'"
PREFIX = "DASK_"
# Variables that are no settings: what dask sets itself for its workers, and where it looks for files.
NO_SETTINGS = ("DASK_INTERNAL_INHERIT_CONFIG", "DASK_CONFIG", "DASK_ROOT_CONFIG")
LONGEST_REASON = 300
# Logs of the libraries that dask waits by, which repeat a failure of theirs thousands of times.
BELOW_DASK = ("asyncio", "tornado")
# Settings that are whole numbers by default alone.
FRACTIONS_TOO = ("distributed.scheduler.bandwidth",)
# Values of settings that dask would replace with a warning.
CHOICES = {"distributed.admin.event-loop": ("tornado", "asyncio", "uvloop")}
# Part of the names of settings that hold variables of an environment, whose values are texts of any kind.
ENVIRONMENT = "environ"


def load_distributed() -> ModuleType:
    """The module `distributed`.

    Errors: GammawallError if it is not installed; InputError if its configuration is broken.
    """
    try:
        import distributed
    except ImportError as error:
        raise GammawallError(f"several workers need dask.distributed ({error}). Try {INSTALL}.") from error
    except Exception as error:  # whatever a configuration can do to an import
        raise InputError(_misfits() or [_unusable(error)]) from error
    problems = _misfits()
    if problems:
        raise InputError(problems)
    module: ModuleType = distributed
    return module


@contextmanager
def dask_settings(settings: Mapping[str, Any]) -> Iterator[None]:
    """Context in which dask has other settings, by their dotted keys.

    They stay after an error or a signal: a start of workers that is given up goes on in its thread for a while, and
    must not fall back to dask's own.
    """
    import dask

    change = dask.config.set(settings)
    yield
    change.__exit__(None, None, None)


def dask_setting(key: str) -> Any:
    """Value of a dotted key in dask's configuration; None if there is none."""
    import dask

    return dask.config.get(key, None)


@contextmanager
def quiet_dask() -> Iterator[None]:
    """Context that silences dask's logs and warnings: what matters of them is reported as a GammawallError."""
    import distributed.versions

    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    levels = {log: log.level for log in map(logging.getLogger, ["distributed", *names, *BELOW_DASK])}
    for log in levels:
        log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", distributed.versions.VersionMismatchWarning)
            yield
    except Exception:
        _set_levels(levels)
        raise
    # Not after a signal: threads that were given up go on until the process ends, silently.
    _set_levels(levels)


def _set_levels(levels: Mapping[logging.Logger, int]) -> None:
    for log, level in levels.items():
        log.setLevel(level)


def configuration_places() -> list[str]:
    """Files and variables from which dask has a configuration."""
    try:
        import dask

        files = [str(path) for path, _ in dask.config.collect_yaml(dask.config.paths, return_paths=True)]
    except Exception:  # as broken as the configuration
        files = []
    return files + _variables()


def _variables() -> list[str]:
    return [name for name in os.environ if name.startswith(PREFIX) and name not in NO_SETTINGS]


def _unusable(error: Exception) -> Problem:
    """Problem with a configuration that dask cannot even be imported with."""
    why = f"dask cannot use it: {one_line(str(error) or type(error).__name__, LONGEST_REASON)}"
    places = ", ".join(configuration_places())
    hint = "Mend that file or move it away, or try another place in DASK_CONFIG."
    return Problem("dask's configuration", places, "", why, hint)


def _misfits() -> list[Problem]:
    """Problems with settings that are of another kind than dask's own defaults."""
    try:
        import dask

        defaults = _defaults()
        files = list(dask.config.collect_yaml(dask.config.paths, return_paths=True))
    except Exception:  # as broken as the configuration
        return []
    problems = [misfit for path, given in files for misfit in _compared(given, defaults, str(path), "")]
    for name in _variables():
        given = dask.config.collect_env({name: os.environ[name]})
        problems += [
            Problem("", name, shown(os.environ[name]), misfit.why, misfit.hint)
            for misfit in _compared(given, defaults, "", "")
        ]
    return problems


def _defaults() -> Any:
    """Defaults of distributed, from its own file where it could not be imported."""
    loaded = getattr(sys.modules.get("distributed.config"), "defaults", None)
    if loaded is not None:
        return loaded
    import yaml

    found = importlib.util.find_spec("distributed")
    assert found is not None
    assert found.origin is not None
    return yaml.safe_load((Path(found.origin).parent / "distributed.yaml").read_text(encoding="utf-8"))


def _compared(given: object, default: object, where: str, key: str) -> Iterator[Problem]:
    """Problems of a given part of the configuration, as far as the defaults tell its kind."""
    if isinstance(default, Mapping) and default:
        if isinstance(given, Mapping):
            for part, value in given.items():
                name = str(part).replace("_", "-")
                if name in default:
                    yield from _compared(value, default[name], where, f"{key}.{name}" if key else name)
        elif given is not None or "." in key:  # an empty file of distributed's leaves its defaults
            yield _misfit(where, key, given, "a mapping of settings is expected")
    elif given is None or ENVIRONMENT in key:
        return
    elif isinstance(default, str) and _is_duration(default):
        if not _is_duration(given):
            yield _misfit(where, key, given, f"a duration is expected, {shown(default)} by default")
    elif key in CHOICES:
        if given not in CHOICES[key]:
            yield _misfit(where, key, given, f"one of {', '.join(CHOICES[key])} is expected")
    elif isinstance(default, bool):
        return
    elif isinstance(default, int) and key not in FRACTIONS_TOO:
        if not _is_whole(given):
            yield _misfit(where, key, given, f"a whole number is expected, {default} by default")
    elif isinstance(default, (int, float)) and not _is_number(given):
        yield _misfit(where, key, given, f"a number is expected, {default} by default")


def _misfit(where: str, key: str, given: object, why: str) -> Problem:
    return Problem(where, key, shown(given), why, "Correct it or leave it out: dask has a default.")


def _is_duration(value: object) -> bool:
    """Whether a value is a duration, in seconds or with its unit."""
    from dask.utils import parse_timedelta

    if not isinstance(value, str):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    try:
        parse_timedelta(value)
    except Exception:  # KeyError, ValueError, IndexError by turns
        return False
    return True


def _is_number(value: object) -> bool:
    """Whether a value is a number, or false, which switches much off."""
    try:
        float(str(int(value) if isinstance(value, bool) else value))
    except ValueError:
        return False
    return True


def _is_whole(value: object) -> bool:
    """Whether a value is a whole number, or false."""
    return isinstance(value, int) or (isinstance(value, str) and value.strip().lstrip("+-").isdigit())
