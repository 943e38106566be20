"""Clusters of dask workers on this machine, and what a client needs to reach them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sim.batch.tls_files import TlsFiles

distributed = pytest.importorskip("distributed")
pytest.importorskip("cryptography")


@contextmanager
def some_workers(count: int) -> Iterator[Any]:
    """Cluster of so many workers that come back when they die, as `--workers` starts it."""
    from sim.batch.dask_library import quiet_dask
    from sim.batch.local_cluster import local_cluster

    with quiet_dask(), local_cluster(distributed, count, None) as cluster:
        yield cluster


@contextmanager
def client_of(cluster: Any) -> Iterator[Any]:
    """Client of a cluster, with its certificate."""
    with distributed.Client(
        cluster.scheduler_address, security=cluster.security, set_as_default=False
    ) as client:
        yield client


def certificates(security: Any, folder: Path) -> TlsFiles:
    """Certificates of a cluster as files in a folder, which nobody else may read."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    parts = {"ca": security.tls_ca_file, "cert": security.tls_client_cert, "key": security.tls_client_key}
    for name, text in parts.items():
        with open(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
    return TlsFiles(*(str(folder / name) for name in parts))
