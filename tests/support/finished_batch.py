"""A tiny batch that is soon finished, and everything in a folder with what its links lead to left out."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from sim.batch.family import Batch
from sim.batch.simulation import simulate_batch
from sim.files.json_text import sealed_json
from support.batch_results import small_batch, small_table

NO_DEALERS = "no-dealers-f2a8574f"


def tiny_table(**changes: Any) -> dict[str, Any]:
    """Keys of a batch of three cases of two hundred paths."""
    return small_table(**{"grid": {}, "paths": 200, **changes})


def tiny_batch(**changes: Any) -> Batch:
    return small_batch(**tiny_table(**changes))


def simulate_tiny(out: Path, batch: Batch | None = None, **options: bool) -> None:
    simulate_batch(tiny_batch() if batch is None else batch, out, engine="numpy", threads=1, **options)


def write_document(file: Path, document: Any) -> None:
    """Write batch.json or a manifest as a batch would, whatever it holds; sealed, if it can be."""
    with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):
        document = json.loads(sealed_json(document, document["format"]))
    file.write_text(json.dumps(document), encoding="utf-8")


def snapshot(folder: Path) -> dict[str, object]:
    """Everything in a folder by its path: bytes of files, goals of links, kinds of the rest; without locks."""
    found: dict[str, object] = {}
    for parent, folders, files in os.walk(folder):
        for name in sorted((*folders, *files)):
            path = Path(parent, name)
            if path.is_symlink():
                found[str(path.relative_to(folder))] = f"link to {os.readlink(path)}"
            elif path.is_file() and name != ".lock":
                readable = os.access(path, os.R_OK)
                found[str(path.relative_to(folder))] = path.read_bytes() if readable else "unreadable"
            elif name != ".lock":
                found[str(path.relative_to(folder))] = "folder" if path.is_dir() else "special"
    return found
