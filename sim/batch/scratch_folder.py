"""Folder for what dask's processes on this machine write, private to one batch and gone with it.

Dask's own place is `dask-scratch-space` in the folder of temporary files, which everybody on the machine shares. It
follows a link of that name, and clears away whatever lies beside a file that looks like a lock left behind.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sim.errors import GammawallError

PREFIX = "gammawall-workers-"
# Seconds that killed processes may take to write no more.
SETTLE_S = 2.0
PIECE_S = 0.05


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """New folder that its owner alone may enter, removed at the end with all that is in it.

    Errors: GammawallError if there is no place for it.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX)).absolute()
    except OSError as error:
        why = f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
        raise GammawallError(
            f"workers need a folder for temporary files ({why}). Try another one in TMPDIR."
        ) from error
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder; links in it are removed, not followed."""
    ends = time.monotonic() + SETTLE_S
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists() or time.monotonic() > ends:
            return
        time.sleep(PIECE_S)
