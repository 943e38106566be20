"""What a result folder holds."""

from __future__ import annotations

from pathlib import Path

from sim.odds.tables import TABLES

FILES = sorted([*(table.file_name for table in TABLES.values()), "manifest.json"])


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
