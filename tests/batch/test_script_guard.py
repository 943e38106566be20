"""Scripts that start workers, with and without what keeps the workers from running them again."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from sim.batch.executors import choose_executor
from sim.errors import GammawallError

CALL = "from sim.batch.script_guard import refuse_unguarded_script as call\n"
UNGUARDED = [
    "call()\n",
    "def main():\n    call()\nmain()\n",
    "for _ in 1, 2:\n    call()\n",
    'if __name__ == "__main__":\n    pass\ncall()\n',
    # What ends the import in a worker ends the worker.
    'if __name__ != "__main__":\n    raise SystemExit\ncall()\n',
    'log = f"{__name__}"\nif log:\n    call()\n',
    'if __name__ == "__main__" or True:\n    call()\n',
    'if __name__ == "__mp_main__":\n    pass\nelse:\n    call()\n',
]
GUARDED = [
    'if __name__ == "__main__":\n    call()\n',
    'def main():\n    call()\nif __name__ == "__main__":\n    main()\n',
    'main = __name__ == "__main__"\nif main:\n    call()\n',
    'if True and "__main__" == __name__:\n    call()\n',
    'try:\n    if __name__ == "__main__":\n        call()\nfinally:\n    pass\n',
]


def run(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], input=text, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("rest", UNGUARDED)
def test_an_unguarded_script_is_refused(tmp_path: Path, rest: str) -> None:
    """One message, before any process is started; it names the line that has to be moved."""
    script = tmp_path / "study.py"
    script.write_text(CALL + rest)
    done = run(str(script))
    line = len(rest.splitlines()) + 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"sim.errors.InputError: {script}:{line if 'for' not in rest else 3}: ")
    assert last.endswith('Put the call under if __name__ == "__main__":')


@pytest.mark.parametrize("rest", GUARDED)
def test_a_guarded_script_is_not(tmp_path: Path, rest: str) -> None:
    script = tmp_path / "study.py"
    script.write_text(CALL + rest)
    done = run(str(script))
    assert done.returncode == 0, done.stderr


def test_a_prompt_is_not() -> None:
    """It has no file that a worker could run."""
    assert run("-c", f"{CALL}call()").returncode == 0


def test_a_script_that_is_no_file_is_refused() -> None:
    """A worker would look for the file <stdin>."""
    done = run("-", text=f"{CALL}call()")
    assert done.stderr.splitlines()[-1].startswith(
        "sim.errors.InputError: <stdin>: worker processes would run it again, and there is no such file. Save"
    )


def test_a_module_is_refused_and_a_package_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    package = tmp_path / "study"
    package.mkdir()
    for name in ("__init__", "__main__", "part"):
        (package / f"{name}.py").write_text("" if name == "__init__" else f"{CALL}call()\n")
    assert run("-m", "study").returncode == 0
    assert "part.py:2: worker processes would run" in run("-m", "study.part").stderr


def test_a_daemon_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have no processes of its own."""
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # type: ignore[attr-defined]
    with pytest.raises(GammawallError, match="from a daemonic process"), choose_executor("numpy", workers=1):
        pass
