"""What workers on this machine write: private, gone at the end, and nothing else is touched for it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from sim.batch.scratch_folder import scratch_folder
from sim.errors import GammawallError

COMMAND = [sys.executable, "-m", "sim.cli", "batch", "horizon", "--only", "base", "--engine", "numpy"]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def test_a_private_folder_that_goes_without_what_it_links_to(place: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "precious").touch()
    with scratch_folder() as folder:
        assert folder.parent == place
        if os.name == "posix":
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "link").symlink_to(tmp_path / "victim")
    assert not list(place.iterdir())
    assert (tmp_path / "victim" / "precious").exists()


def test_no_place_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with (
        pytest.raises(GammawallError, match=r"need a folder .*absent.*\. Try another one in TMPDIR\."),
        scratch_folder(),
    ):
        pass


def test_nothing_of_others_is_cleared_away(place: Path, tmp_path: Path) -> None:
    """Not through a link where dask would clear up, nor what lies there beside something that looks like a lock."""
    pytest.importorskip("distributed")
    victim = tmp_path / "victim"
    (victim / "folder").mkdir(parents=True)
    (victim / "folder" / "precious").touch()
    (victim / "folder.dirlock").touch()
    (place / "dask-scratch-space").symlink_to(victim)
    out = ["--paths", "1000", "--workers", "1", "--out", str(tmp_path / "b")]
    subprocess.run([*COMMAND, *out], check=True, capture_output=True, timeout=120)
    assert sorted(path.name for path in victim.rglob("*")) == ["folder", "folder.dirlock", "precious"]
    assert [path.name for path in place.iterdir()] == ["dask-scratch-space"]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_terminal_that_goes_away(place: Path, tmp_path: Path) -> None:
    """The command ends its workers in order: nothing is said by them, nothing is left behind."""
    pytest.importorskip("distributed")
    out = ["--paths", "1e9", "--workers", "2", "--out", str(tmp_path / "b")]
    process = subprocess.Popen(
        [*COMMAND, *out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        while not (tmp_path / "b" / "batch.json").exists():
            assert process.poll() is None
            time.sleep(0.1)
        time.sleep(1)
        os.killpg(process.pid, signal.SIGHUP)
        _, errors = process.communicate(timeout=60)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 143
    assert "Traceback" not in errors
    assert not list(place.iterdir())
