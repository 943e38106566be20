"""Archives of a finished case's counts, from which all its tables can be made again.

An archive is a compressed NumPy file (.npz). Of the counts, which are mostly zero, it holds positions and values.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.errors import GammawallError
from sim.odds.pairs import Margins, PairCounts, Records, outcome_margins
from sim.plan.outcomes import ARRAY_FIELDS, IntArray, OutcomeAxes, Outcomes, outcomes_problem

AXES_ARRAYS = ("step_time", "close_edges")
AXES_LABELS = tuple(field.name for field in fields(OutcomeAxes) if field.name not in AXES_ARRAYS)
# Member of an archive that holds the key of its case, and bytes that it never reaches.
KEY, MOST_KEY_BYTES = "case_key", 1000
# What making counts of an archive's index and arrays raises, whatever they hold.
_NO_COUNTS = (
    KeyError,
    ValueError,
    TypeError,
    IndexError,
    AttributeError,
    RecursionError,
    OverflowError,
    MemoryError,
)
# What reading an archive raises: TypeError where it is a bare array, RuntimeError where a flag in it is wrong.
_UNREADABLE = (OSError, ValueError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class CaseCounts:
    """Counts of a finished case, with their labels.

    Attributes
    ----------
    axes : labels of the counts.
    outcomes : counts of the case itself.
    pairs : counts path by path with the batch's baseline; None without a baseline.
    """

    axes: OutcomeAxes
    outcomes: Outcomes
    pairs: PairCounts | None


def counts_bytes(counts: CaseCounts, key: str = "") -> bytes:
    """Bytes of the archive of a case's counts; equal counts give equal bytes.

    key : key of the case, by which its archives are told from those of other cases.
    """
    labels: dict[str, Any] = {
        name: value.isoformat() if isinstance(value, date) else value
        for name in AXES_LABELS
        for value in [getattr(counts.axes, name)]
    }
    labels["sessions"] = [session.isoformat() for session in counts.axes.sessions]
    arrays = [getattr(counts.outcomes, name) for name in ARRAY_FIELDS]
    paths = [counts.outcomes.paths]
    if counts.pairs is not None:
        arrays += counts.pairs.arrays
        paths.append(counts.pairs.paths)
    index = {"axes": labels, "shapes": [array.shape for array in arrays], "paths": paths}
    return _archive(
        {
            KEY: _key_array(key),
            "index": np.frombuffer(json.dumps(index, sort_keys=True).encode("utf-8"), dtype=np.uint8),
            **{name: getattr(counts.axes, name) for name in AXES_ARRAYS},
            **_sparse(np.concatenate([array.reshape(-1) for array in arrays])),
        }
    )


def counts_problem(counts: CaseCounts, baseline: Margins | None) -> str | None:
    """Reason why these cannot be the counts of a case, and its pairs with a baseline; None if they can.

    baseline : margins of the baseline's records; None leaves them out.
    """
    problem = outcomes_problem(counts.outcomes, counts.axes)
    if problem is None and counts.pairs is not None:
        problem = counts.pairs.problem(outcome_margins(counts.outcomes, counts.axes), baseline)
    return problem


def read_counts(content: bytes, file: Path) -> CaseCounts:
    """Counts read from an archive.

    Parameters
    ----------
    content : bytes of the archive.
    file : the file that held them, for messages.

    Errors: GammawallError if the content is no such archive, or damaged.
    """
    members = _read(content, file)
    try:
        index = json.loads(bytes(members["index"]).decode("utf-8"))
        labels, paths = index["axes"], [int(number) for number in index["paths"]]
        labels["as_of"] = date.fromisoformat(labels["as_of"])
        labels["sessions"] = tuple(map(date.fromisoformat, labels["sessions"]))
        for name in ("levels", "regimes"):
            labels[name] = tuple(labels[name])
        labels |= {name: members[name] for name in AXES_ARRAYS}
        arrays = _dense(members, [tuple(map(int, shape)) for shape in index["shapes"]])
        outcomes = Outcomes(paths[0], *arrays[: len(ARRAY_FIELDS)])
        paired = arrays[len(ARRAY_FIELDS) :]
        return CaseCounts(OutcomeAxes(**labels), outcomes, PairCounts(paths[1], *paired) if paired else None)
    except _NO_COUNTS as error:
        raise _damaged(file, error) from error


def records_bytes(records: Records, key: str = "") -> bytes:
    """Bytes of the archive of the baseline's records, (paths,) uint16.

    key : see `counts_bytes`.
    """
    return _archive({KEY: _key_array(key), "records": records})


def archive_key(content: bytes) -> str | None:
    """Key of the case that an archive is of; None if it has none, or is no archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, archive.open(f"{KEY}.npy") as member:
            array = np.lib.format.read_array(io.BytesIO(member.read(MOST_KEY_BYTES)), allow_pickle=False)
        return array.tobytes().decode("ascii")
    except (*_NO_COUNTS, *_UNREADABLE):
        return None


def _key_array(key: str) -> NDArray[np.uint8]:
    return np.frombuffer(key.encode("ascii"), dtype=np.uint8)


def read_records(content: bytes, file: Path) -> Records:
    """Records read from an archive, (paths,) uint16; see `read_counts`.

    Errors: GammawallError if the content is no such archive, or damaged.
    """
    try:
        records = _read(content, file)["records"]
        if records.dtype != np.uint16 or records.ndim != 1:
            raise ValueError(f"its records are {records.dtype}, {records.ndim}-dimensional")
    except (KeyError, ValueError) as error:
        raise _damaged(file, error) from error
    return records


def _archive(arrays: dict[str, NDArray[Any]]) -> bytes:
    """Bytes of an archive of arrays by name; they depend on the arrays alone, since its members have no dates."""
    file = io.BytesIO()
    # NumPy's own writer takes more than twice the time, for a twentieth less.
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
    return file.getvalue()


def _read(content: bytes, file: Path) -> dict[str, NDArray[Any]]:
    """Arrays of an archive by name."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except _UNREADABLE as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> GammawallError:
    return unusable(file, f"cannot be read ({error})")


def unusable(file: Path, why: str) -> GammawallError:
    """Error about a file of a finished case that cannot be used."""
    return GammawallError(f"{file}: {why}. Try removing the folder {file.parent} and running with --resume.")


def _sparse(flat: IntArray) -> dict[str, NDArray[Any]]:
    """Positions of the counts that are not zero, as steps from one to the next, and these counts."""
    positions = np.flatnonzero(flat)
    # Steps between positions are small, and compress well.
    return {"steps": _narrow(np.diff(positions, prepend=0)), "counts": _narrow(flat[positions])}


def _narrow(values: IntArray) -> NDArray[Any]:
    """Non-negative values in the narrowest type that holds them."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def _dense(members: dict[str, NDArray[Any]], shapes: list[tuple[int, ...]]) -> list[IntArray]:
    """Arrays of these shapes, cut one after another from the counts that `_sparse` stored."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    flat = np.zeros(int(ends[-1]), dtype=np.int64)
    flat[np.cumsum(members["steps"].astype(np.int64))] = members["counts"]
    return [part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), shapes, strict=True)]
