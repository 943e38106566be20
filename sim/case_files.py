"""Counts of a finished case as a file: all that its tables are made of, so that they can be made again.

A compressed NumPy archive (.npz). Arrays of counts, mostly zeros, are stored as their places and values.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.errors import GammawallError
from sim.outcomes import ARRAY_FIELDS, IntArray, OutcomeAxes, Outcomes
from sim.pairs import PairCounts, Records

AXES_ARRAYS = ("step_time", "close_edges")
PAIR_ARRAYS = ("first", "above", "below")
# What reading an archive raises: TypeError where it is a bare array, RuntimeError where a flag in it is wrong.
_UNREADABLE = (OSError, ValueError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class CaseCounts:
    """What a case counted.

    Attributes
    ----------
    axes : labels of the counts.
    outcomes : the case's own counts.
    pairs : the case path by path with the batch's baseline; None where there was nothing to compare with.
    """

    axes: OutcomeAxes
    outcomes: Outcomes
    pairs: PairCounts | None


def counts_bytes(counts: CaseCounts) -> bytes:
    """Archive of a case's counts; equal counts give equal bytes."""
    labels = {
        name: value.isoformat() if isinstance(value, date) else value
        for name, value in asdict(counts.axes).items()
        if name not in AXES_ARRAYS
    }
    labels["sessions"] = [session.isoformat() for session in counts.axes.sessions]
    arrays: dict[str, NDArray[Any]] = {"axes": _text_array(json.dumps(labels, sort_keys=True))}
    arrays |= {f"axes.{name}": getattr(counts.axes, name) for name in AXES_ARRAYS}
    arrays["paths"] = np.array([counts.outcomes.paths], dtype=np.uint64)
    for name in ARRAY_FIELDS:
        arrays |= _sparse(f"outcomes.{name}", getattr(counts.outcomes, name))
    if counts.pairs is not None:
        arrays["pairs.paths"] = np.array([counts.pairs.paths], dtype=np.uint64)
        for name, array in zip(PAIR_ARRAYS, counts.pairs.arrays, strict=True):
            arrays |= _sparse(f"pairs.{name}", array)
    return _archive(arrays)


def read_counts(file: Path) -> CaseCounts:
    """Counts from an archive.

    Errors: GammawallError if it is not one, or damaged.
    """
    arrays = _read(file)
    try:
        labels = json.loads(bytes(arrays["axes"]).decode("utf-8"))
        labels["as_of"] = date.fromisoformat(labels["as_of"])
        labels["sessions"] = tuple(map(date.fromisoformat, labels["sessions"]))
        for name in ("levels", "regimes"):
            labels[name] = tuple(labels[name])
        labels |= {name: arrays[f"axes.{name}"] for name in AXES_ARRAYS}
        axes = OutcomeAxes(**labels)
        outcomes = Outcomes(
            int(arrays["paths"][0]), *(_dense(arrays, f"outcomes.{name}") for name in ARRAY_FIELDS)
        )
        pairs = None
        if "pairs.paths" in arrays:
            pairs = PairCounts(
                int(arrays["pairs.paths"][0]), *(_dense(arrays, f"pairs.{name}") for name in PAIR_ARRAYS)
            )
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise _damaged(file, error) from error
    return CaseCounts(axes, outcomes, pairs)


def records_bytes(records: Records) -> bytes:
    """Archive of the baseline's records."""
    return _archive({"records": records})


def read_records(file: Path) -> Records:
    """Records from an archive, (paths,).

    Errors: GammawallError if it is not one, or damaged.
    """
    try:
        records = _read(file)["records"]
        if records.dtype != np.uint16 or records.ndim != 1:
            raise ValueError(f"its records are {records.dtype}, {records.ndim}-dimensional")
    except (KeyError, ValueError) as error:
        raise _damaged(file, error) from error
    return records


def _archive(arrays: dict[str, NDArray[Any]]) -> bytes:
    """Archive whose bytes depend on the arrays alone: NumPy writes no dates into it."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def _read(file: Path) -> dict[str, NDArray[Any]]:
    try:
        # NumPy would leave a damaged file open.
        with open(file, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except _UNREADABLE as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> GammawallError:
    return GammawallError(
        f"{file}: cannot be read ({error}). Try removing the folder {file.parent} and running with --resume."
    )


def _text_array(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode("utf-8"), dtype=np.uint8)


def _sparse(name: str, array: IntArray) -> dict[str, NDArray[Any]]:
    """Shape, and places and values of what is not zero, of an array of counts."""
    flat = array.reshape(-1)
    places = np.flatnonzero(flat)
    # Steps between places are small, and compress well.
    steps = np.diff(places, prepend=0)
    return {
        f"{name}.shape": np.array(array.shape, dtype=np.int64),
        f"{name}.steps": _narrow(steps),
        f"{name}.counts": _narrow(flat[places]),
    }


def _narrow(values: IntArray) -> NDArray[Any]:
    """Values, none negative, in the narrowest type that holds them."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def _dense(arrays: dict[str, NDArray[Any]], name: str) -> IntArray:
    shape = tuple(int(length) for length in arrays[f"{name}.shape"])
    flat = np.zeros(int(np.prod(shape)), dtype=np.int64)
    flat[np.cumsum(arrays[f"{name}.steps"].astype(np.int64))] = arrays[f"{name}.counts"]
    return flat.reshape(shape)
