"""Small batches, and the files of their results without what may differ between two runs."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

from sim.batch.family import Batch
from sim.batch.file import batch_from_mapping
from sim.files.json_text import sealed_json

# Three sessions of three steps: a case takes milliseconds.
SHORT = (
    "market.sessions=3",
    "volatility.steps_per_session=3",
    "targets.upper=7010",
    "targets.lower=6890",
    "levels=[6850, 7000]",
    "regime=[]",
)
GRID: dict[str, Any] = {
    "dealers.impact_bp_per_bn": [1.0, 2.0, 3.5],
    "dealers.impact_half_life": [0.0, 2.0],
}
SINGLES: list[dict[str, Any]] = [
    {"name": "no dealers", "set": {"dealers.impact_bp_per_bn": 0.0}},
    {"name": "wild, and more", "set": {"volatility.annual*": 2}},
]
# A feedback factor that falls below zero, and no floor: nothing wrong with its keys, but no map.
IMPOSSIBLE = {"name": "impossible", "set": {"dealers.m_floor": 0.0, "dealers.impact_bp_per_bn": 30.0}}


def small_table(**changes: Any) -> dict[str, Any]:
    """Keys of a batch of nine cases."""
    return {"schema": 1, "name": "small", "paths": 3_000, "grid": GRID, "case": SINGLES, **changes}


def small_batch(**changes: Any) -> Batch:
    return batch_from_mapping(small_table(**changes), "small.toml", overrides=SHORT)


def contents(folder: Path, *, machine: bool = True) -> dict[str, bytes]:
    """Every file of a batch's results by its path, timings left out; without `machine`, also what computed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != ".lock":
            found[path.relative_to(folder).as_posix()] = _without_timings(path, machine)
    return found


def _without_timings(path: Path, machine: bool) -> bytes:
    if path.suffix == ".json":
        document = json.loads(path.read_text(encoding="utf-8"))
        for name in ("timings", "seal"):  # the seal is of the timings too
            document.pop(name, None)
        if not machine:
            for name in ("device", "threads"):
                document.pop(name, None)
        return json.dumps(document, sort_keys=True).encode()
    if path.name == "batch.csv":
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
        for row in rows:
            row.pop("seconds")
        return json.dumps(rows).encode()
    return path.read_bytes()


def rows(folder: Path, name: str = "batch.csv") -> list[dict[str, str]]:
    with open(folder / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def reseal(case: Path) -> None:
    """Make the manifest of a case's folder fit its files, as if they had been written so."""
    manifest = json.loads((case / "manifest.json").read_text(encoding="utf-8"))
    for name in ("counts", "records"):
        if (case / f"{name}.npz").exists():
            manifest[f"{name}_sha256"] = hashlib.sha256((case / f"{name}.npz").read_bytes()).hexdigest()
    form = manifest.pop("format")
    (case / "manifest.json").write_text(sealed_json(manifest, form), encoding="utf-8")
