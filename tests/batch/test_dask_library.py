"""Configurations of dask that are broken, each told in one message that names the file or the variable."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("distributed")
CODE = """
from sim.batch.dask_library import load_distributed
from sim.errors import InputError
try:
    load_distributed()
except InputError as error:
    print(error)
    raise SystemExit(error.exit_code)
"""


def load(home: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Loading of dask in a process with a home and an environment of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DASK_")}
    return subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        timeout=60,
        env={**kept, "HOME": str(home), "DASK_ROOT_CONFIG": str(home / "none"), **variables},
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("distributed: [", "malformed"),
        ("- a\n- b\n", "a dict as the top level object"),
        ("\x00", "malformed"),
        ("distributed: 5\n", "distributed = 5 (a mapping of settings is expected)"),
        ("distributed: {comm: null}\n", "distributed.comm = None (a mapping of settings is expected)"),
        (
            "distributed: {admin: {event-loop: banana}}\n",
            'event-loop = "banana" (one of tornado, asyncio, uvloop',
        ),
        ("distributed:\n  comm: x\n", 'distributed.comm = "x" (a mapping of settings'),
        (
            "distributed:\n  comm:\n    timeouts:\n      connect: soon\n",
            'distributed.comm.timeouts.connect = "soon" (a duration is expected, "30s" by default)',
        ),
        (
            "distributed:\n  comm:\n    timeouts:\n      tcp: [1]\n",
            "distributed.comm.timeouts.tcp = [1] (a dur",
        ),
        (
            "distributed:\n  scheduler:\n    allowed-failures: many\n",
            'distributed.scheduler.allowed-failures = "many" (a whole number is expected, 3 by default)',
        ),
    ],
)
def test_broken_files(tmp_path: Path, text: str, said: str) -> None:
    """In the folder that dask looks at by itself."""
    file = tmp_path / ".config" / "dask" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    done = load(tmp_path, {})
    assert done.returncode == 2, done.stderr
    assert not done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert said in done.stdout
    assert str(file) in done.stdout


def test_a_broken_file_of_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("a: [")
    done = load(tmp_path, {"DASK_CONFIG": str(file)})
    assert done.returncode == 2
    assert str(file) in done.stdout
    assert "Mend that file or move it away, or try another place in DASK_CONFIG." in done.stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "nonsense"),
        ("DASK_DISTRIBUTED__COMM__RETRY__COUNT", "1e9"),
        ("DASK_DISTRIBUTED", "5"),
        ("DASK_DISTRIBUTED__COMM", "5"),
        ("DASK_DISTRIBUTED__LOGGING", "5"),
        ("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "many"),
    ],
)
def test_broken_variables(tmp_path: Path, name: str, value: str) -> None:
    done = load(tmp_path, {name: value})
    assert done.returncode == 2, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert f"{name} = " in done.stdout or f": {name} (dask cannot use it: " in done.stdout


@pytest.mark.parametrize(
    "text",
    [
        "",
        "distributed:\n",
        "distributed:\n  comm:\n    timeouts:\n      connect: 60\n      tcp: 1m\n",
        "distributed: {scheduler: {bandwidth: 1.0e+8, allowed-failures: 5}}\n",
        "distributed:\n  worker:\n    memory:\n      target: false\n  nanny:\n    pre-spawn-environ:\n"
        "      OMP_PLACES: cores\n",
        "jobqueue:\n  slurm:\n    cores: 5\n",
    ],
)
def test_right_files(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    done = load(tmp_path, {"DASK_CONFIG": str(file), "DASK_TEMPORARY_DIRECTORY": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr


def test_settings_stay_after_an_error() -> None:
    """Workers that nobody waits for any more must not start with dask's own settings."""
    code = (
        "from sim.batch.dask_library import dask_setting, dask_settings\n"
        "key = 'distributed.scheduler.allowed-failures'\n"
        "import distributed\n"
        "usual = dask_setting(key)\n"
        "with dask_settings({key: 77}):\n    assert dask_setting(key) == 77\n"
        "assert dask_setting(key) == usual\n"
        "try:\n    with dask_settings({key: 77}):\n        raise KeyboardInterrupt\n"
        "except KeyboardInterrupt:\n    assert dask_setting(key) == 77\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
