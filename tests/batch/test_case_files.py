"""A case's files put into place and removed, killed at every call of the system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.places import TESTS

KILLED_AT_EVERY_CALL = """
import json, os, shutil, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from support.finished_batch import NO_DEALERS, simulate_tiny, tiny_batch
from sim.batch import case_files
from sim.batch.folder import BatchFolder
from sim.batch.opening import open_batch_folder

root, what = Path(sys.argv[2]), sys.argv[3]
batch = tiny_batch()
(case,) = (case for case in batch.cases if case.folder == NO_DEALERS)
simulate_tiny(root / "whole")
new = {file.name: file.read_bytes() for file in (root / "whole" / "cases" / NO_DEALERS).iterdir()}

def act(out):
    folder = out / "cases" / NO_DEALERS
    if what == "place":
        case_files.place_case(folder, new)
    elif what == "remove":
        case_files.remove_case(folder)
    elif what == "forget":
        case_files.forget_case(folder)
    else:
        open_batch_folder(batch, out, overwrite=True).close()

def killed_before(call_number, out):
    calls = 0
    def counted(function):
        def wrapper(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == call_number:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)
        return wrapper
    for name in ("mkdir", "rename", "replace", "fsync", "unlink", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))
    act(out)

states = []
for call_number in range(1, 80):
    out = root / str(call_number)
    shutil.copytree(root / "whole", out)
    folder = out / "cases" / NO_DEALERS
    (folder / "notes.txt").write_text("mine") if "notes" in sys.argv else None
    (folder / "traceback.txt").write_text("of a former failure")
    child = os.fork()
    if child == 0:
        killed_before(call_number, out)
        os._exit(0)
    killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
    status = BatchFolder(out, batch, None).status(case)
    files = sorted(os.listdir(folder)) if folder.exists() else None
    act(out) if what in ("place", "overwrite") or folder.exists() else None
    end = sorted(os.listdir(folder)) if folder.exists() else None
    if what != "place":
        open_batch_folder(batch, out, resume=True).close()
    hidden = [str(path) for path in out.rglob(".gammawall-*")]
    states.append([killed, status, files, end, hidden])
    if not killed:
        break
print(json.dumps(states))
"""
FILES = ["counts.npz", "manifest.json"]


def states(tmp_path: Path, *arguments: str) -> list[list[object]]:
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT_EVERY_CALL, str(TESTS), str(tmp_path), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[list[object]] = json.loads(done.stdout)
    assert len(found) > 3
    assert [killed for killed, *_ in found] == [True] * (len(found) - 1) + [False]
    return found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a POSIX system")
class TestKilled:
    @pytest.mark.parametrize("notes", [[], ["notes.txt"]])
    def test_a_case_that_is_replaced_is_whole_or_has_not_run(self, tmp_path: Path, notes: list[str]) -> None:
        for _, status, files, end, _ in states(tmp_path, "place", *(["notes"] if notes else [])):
            assert status in ("finished", "not run")
            if status == "finished":
                assert set(files) >= set(FILES)  # type: ignore[call-overload]
            assert end == [*FILES, *notes]

    @pytest.mark.parametrize("how", ["remove", "forget"])
    def test_a_removal_can_be_done_again(self, tmp_path: Path, how: str) -> None:
        for _, status, files, end, hidden in states(tmp_path, how):
            assert end is None
            assert hidden == []
            if status == "finished":
                assert set(files) >= set(FILES)  # type: ignore[call-overload]

    def test_so_can_that_of_a_whole_batch(self, tmp_path: Path) -> None:
        for _, status, _, end, hidden in states(tmp_path, "overwrite"):
            assert status in ("finished", "not run")
            assert end is None
            assert hidden == []
