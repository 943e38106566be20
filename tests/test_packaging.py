"""The wheel holds what a user needs and nothing else, and works outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pip(*arguments: str, cwd: Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    subprocess.run(command, check=True, cwd=cwd, capture_output=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel of the tracked files, built in a copy so that the checkout gets no build folder."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    for path in (ROOT / "sim").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            target = source / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    built = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(built), ".", cwd=source)
    (found,) = built.glob("*.whl")
    return found


def test_every_module_and_scenario_is_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "sim").rglob("*")
        if path.suffix in (".py", ".toml", ".typed") and "__pycache__" not in path.parts
    }
    assert wanted <= names
    assert {name.split("/")[0] for name in names} == {"sim", f"gammawall_sim-{PROJECT['version']}.dist-info"}


def test_metadata(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
    metadata = Parser().parsestr(archive.read(name).decode())
    assert metadata["Name"] == "gammawall-sim"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("Provides-Extra", [])) == {"cuda12", "cuda13", "test"}
    requires = metadata.get_all("Requires-Dist", [])
    for cuda in ("12", "13"):
        assert any(r.startswith(f"cupy-cuda{cuda}x[ctk]") for r in requires)
    (entry,) = [n for n in archive.namelist() if n.endswith("entry_points.txt")]
    assert "gammawall = sim.cli:main" in archive.read(entry).decode()
    assert any(n.endswith("licenses/LICENSE") for n in archive.namelist())


def test_the_wheel_works_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    pip("install", "--no-deps", "--target", str(site), str(wheel), cwd=tmp_path)
    program = (
        "import sim, sys; print(sim.__file__); from sim.cli import main;"
        "main(['run', 'siege-of-7000', '--paths', '200', '--out', 'here', '--quiet'])"
    )
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=empty,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith(str(site))
    assert sorted(path.name for path in (empty / "here").iterdir()) == [
        "distribution.csv",
        "first_passage.csv",
        "manifest.json",
        "odds.csv",
        "quantiles.csv",
        "regimes.csv",
    ]
