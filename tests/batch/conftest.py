"""A finished batch for the tests of what may happen to its folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.finished_batch import simulate_tiny


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished batch of three cases; for reading only."""
    out = tmp_path_factory.mktemp("finished") / "b"
    simulate_tiny(out)
    return out


@pytest.fixture
def done(finished: Path, tmp_path: Path) -> Path:
    """Copy of the finished batch."""
    return Path(shutil.copytree(finished, tmp_path / "done"))
