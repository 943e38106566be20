"""The wheel holds what a user needs and nothing else, with the native engine where a compiler is, and works alone."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from support.compiled_kernels import BUILDS, needs_compiler
from support.places import ROOT
from support.result_files import FILES

from sim.compiled.kernel_sources import kernel_files
from sim.compiled.native_library import record_file

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DIST_INFO = f"gammawall_sim-{PROJECT['version']}.dist-info"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
LIBRARIES = {f"sim/engines/_native_{build}{SUFFIX}" for build in BUILDS}

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the native engine is built on POSIX")


def pip(*arguments: str, cwd: Path, **environment: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(
        command, check=False, cwd=cwd, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr


def copy_of_checkout(target: Path) -> Path:
    """The files that a build needs, in a folder of their own, so that the checkout gets no build folder."""
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target / name)
    for name in ("sim", "kernels"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "_native_*"))
    return target


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel with the native engine where a compiler is."""
    built = tmp_path_factory.mktemp("wheel")
    source = copy_of_checkout(tmp_path_factory.mktemp("source"))
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(built), ".", cwd=source, CXX="")
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def wheel_without_compiler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("plain")
    source = copy_of_checkout(tmp_path_factory.mktemp("source"))
    pip(
        *("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(built), "."),
        cwd=source,
        CXX="/nonexistent",
    )
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder into which the wheel is installed."""
    return installed(wheel, tmp_path_factory.mktemp("site"))


def installed(wheel: Path, site: Path) -> Path:
    pip("install", "--no-deps", "--target", str(site), str(wheel), cwd=site)
    return site


def names_in(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def run_python(program: str, site: Path, cwd: Path) -> str:
    """Output of a program that sees the packages of `site` first, started in another folder."""
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_scenario_and_kernel_is_in_the_wheel(wheel: Path) -> None:
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "sim").rglob("*")
        if path.suffix in (".py", ".toml", ".typed") and "__pycache__" not in path.parts
    }
    kernels = {f"sim/_kernels/{file.name}" for file in kernel_files()}
    assert {Path(name).suffix for name in kernels} == {".cuh", ".cu", ".hpp", ".cpp"}
    assert wanted | kernels <= names_in(wheel)


def test_nothing_else_is_in_the_wheel(wheel: Path) -> None:
    names = names_in(wheel)
    assert {name.split("/")[0] for name in names} == {"sim", DIST_INFO}
    suffixes = {Path(name).suffix for name in names if name.startswith("sim/")}
    assert suffixes - {".so", ".sha256"} == {".py", ".toml", ".typed", ".cuh", ".cu", ".hpp", ".cpp"}
    assert not [name for name in names if "_kernels" in name and name.endswith(".py")]


@needs_compiler
def test_libraries_are_in_the_wheel_with_their_records(wheel: Path) -> None:
    assert {name for name in names_in(wheel) if name.endswith(".so")} == LIBRARIES
    assert {name for name in names_in(wheel) if name.endswith(".sha256")} == {
        f"{name}.sha256" for name in LIBRARIES
    }
    with zipfile.ZipFile(wheel) as archive:
        for name in LIBRARIES:
            record = f"{hashlib.sha256(archive.read(name)).hexdigest()}  {Path(name).name}\n"
            assert archive.read(f"{name}.sha256").decode() == record
    assert wheel.stem.split("-")[-1] != "any"


def test_metadata(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    metadata = Parser().parsestr(archive.read(f"{DIST_INFO}/METADATA").decode())
    assert metadata["Name"] == "gammawall-sim"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("Provides-Extra", [])) == {
        "bench",
        "book",
        "cluster",
        "cuda12",
        "cuda13",
        "fit",
        "lint",
        "parquet",
        "test",
    }
    requires = metadata.get_all("Requires-Dist", [])
    for cuda in ("12", "13"):
        assert any(r.startswith(f"cupy-cuda{cuda}x[ctk]") for r in requires)
    assert "gammawall = sim.cli.entry:main" in archive.read(f"{DIST_INFO}/entry_points.txt").decode()
    assert f"{DIST_INFO}/licenses/LICENSE" in archive.namelist()


def test_built_in_batches_are_in_the_wheel(site: Path, tmp_path: Path) -> None:
    output = run_python("from sim.cli.main import main; main(['batch', '--list'])", site, tmp_path)
    assert [line.split()[0] for line in output.splitlines()] == [
        "horizon",
        "model-risk",
        "story",
        "wall-strength",
    ]


def test_the_wheel_works_from_an_empty_folder(site: Path, tmp_path: Path) -> None:
    program = (
        "import sim, sys; print(sim.__file__); from sim.cli.main import main;"
        "main(['run', 'siege-of-7000', '--paths', '200', '--out', 'here', '--quiet'])"
    )
    output = run_python(program, site, tmp_path)
    assert output.splitlines()[0].startswith(str(site))
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == FILES


NATIVE_PROGRAM = """
from sim.engines.native_engine import NativeEngine
from sim.compiled.native_library import library_file
from sim.engines.native_builds import native_problem, usable_builds
from sim.engines.numpy_engine import NumpyEngine
from sim.compiled.kernel_sources import kernel_folder
from sim.plan.builder import prepare
from sim.scenario.file import load_scenario
import json, sim
from pathlib import Path
plan = prepare(load_scenario(Path(sim.__file__).parent / "scenarios" / "no-dealers.toml")).plan
same = NumpyEngine().run(plan, 1, 0, 300)
print(json.dumps({
    "problem": native_problem(),
    "kernels": str(kernel_folder()),
    "library": str(library_file("baseline")),
    "same": [NativeEngine(build=build).run(plan, 1, 0, 300) == same for build in usable_builds()],
}))
"""


@needs_compiler
def test_the_native_engine_works_from_an_empty_folder(site: Path, tmp_path: Path) -> None:
    found = json.loads(run_python(NATIVE_PROGRAM, site, tmp_path))
    assert found["problem"] is None
    assert found["kernels"] == str(site / "sim" / "_kernels")
    assert found["library"] == str(site / "sim" / "engines" / f"_native_baseline{SUFFIX}")
    assert found["same"]
    assert all(found["same"])


def test_without_a_compiler_the_rest_is_installed(wheel_without_compiler: Path, tmp_path: Path) -> None:
    """The engine says why it is missing, and the command takes another."""
    assert not [name for name in names_in(wheel_without_compiler) if name.endswith((".so", ".sha256"))]
    site, empty = tmp_path / "site", tmp_path / "empty"
    site.mkdir()
    empty.mkdir()
    installed(wheel_without_compiler, site)
    found = json.loads(run_python(NATIVE_PROGRAM, site, empty))
    assert "it was not compiled when gammawall was installed" in found["problem"]
    assert "Install g++ 11, clang++ 14 or newer" in found["problem"]
    assert found["same"] == []
    program = "from sim.engines.choice import choose; print(choose('auto').name)"
    assert run_python(program, site, empty).strip() != "native"


def test_an_engine_that_does_not_compile_is_left_out(tmp_path: Path) -> None:
    """A compiler that fails stops nothing, and the installation says what went wrong."""
    source = copy_of_checkout(tmp_path)
    (source / "kernels" / "paths.cpp").write_text("#error this compiler is too old\n", encoding="utf-8")
    command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", "built"]
    environment = {**os.environ, "CXX": ""}
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not list(source.rglob("*.so"))
    if any(map(shutil.which, ("g++", "clang++", "c++"))):
        for build in BUILDS:
            assert f"sim.engines._native_{build} is left out" in done.stderr
        assert "this compiler is too old" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("env false", "env false could not compile it"),
        ("no-such-g++ -O2", "no no-such-g++ -O2 (CXX) was found"),
    ],
)
def test_cxx_may_have_a_launcher_and_options(tmp_path: Path, words: str, message: str) -> None:
    """Neither compiles here, and what an earlier build left does not stay."""
    source = copy_of_checkout(tmp_path)
    left = source / "built" / "sim" / "engines" / f"_native_baseline{sysconfig.get_config_var('EXT_SUFFIX')}"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"stale")
    record_file(left).write_bytes(b"stale")
    command = [sys.executable, "setup.py", "-q", "build_ext", "--force", "--build-lib", "built"]
    environment = {**os.environ, "CXX": words}
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert message in done.stderr
    assert not left.exists()
    assert not record_file(left).exists()


def test_an_editable_installation_renews_libraries_and_records(tmp_path: Path) -> None:
    """By a stand-in for a compiler: what is looked at is where its output goes."""
    source = copy_of_checkout(tmp_path)
    program = f"from setuptools.build_meta import build_editable; build_editable({str(tmp_path)!r})"
    for content in ("first", "second"):
        (source / "compiler.sh").write_text(f'for output; do :; done\nprintf {content} > "$output"\n')
        environment = {**os.environ, "CXX": "sh compiler.sh"}
        command = [sys.executable, "-c", program]
        done = subprocess.run(
            command, cwd=source, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        for build in BUILDS:
            library = source / "sim" / "engines" / f"_native_{build}{SUFFIX}"
            assert library.read_text() == content
            digest = hashlib.sha256(content.encode()).hexdigest()
            assert record_file(library).read_text() == f"{digest}  {library.name}\n"


def test_a_distribution_called_kernels_harms_nothing(wheel: Path, tmp_path: Path) -> None:
    """Neither package overwrites or hides the other, whichever is installed last."""
    other = dummy_wheel(tmp_path)
    program = "import kernels; print(kernels.WHOSE);" + NATIVE_PROGRAM
    for name, order in (("first", (other, wheel)), ("last", (wheel, other))):
        site = tmp_path / name
        site.mkdir()
        for each in order:
            installed(each, site)
        assert [path.name for path in (site / "kernels").iterdir() if path.is_file()] == ["__init__.py"]
        whose, found = run_python(program, site, tmp_path).splitlines()
        assert whose == "another's"
        assert json.loads(found)["kernels"] == str(site / "sim" / "_kernels")


def dummy_wheel(folder: Path) -> Path:
    """Wheel of a distribution that owns the import name `kernels`."""
    file = folder / "kernels-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("kernels/__init__.py", 'WHOSE = "another\'s"\n')
        archive.writestr(
            "kernels-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: kernels\nVersion: 1.0\n"
        )
        archive.writestr(
            "kernels-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("kernels-1.0.dist-info/RECORD", "")
    return file


def test_source_distribution_holds_what_the_build_needs(tmp_path: Path) -> None:
    source, built = tmp_path / "source", tmp_path / "built"
    source.mkdir()
    copy_of_checkout(source)
    program = f"from setuptools.build_meta import build_sdist; print(build_sdist({str(built)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with tarfile.open(built / done.stdout.splitlines()[-1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    kernels = {f"kernels/{file.name}" for file in kernel_files()}
    assert {"setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"} | kernels <= names
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "sim").rglob("*.py")}
    assert modules <= names
    assert not [name for name in names if name.endswith((".so", ".sha256"))]
