"""Build of the native engine; everything else stands in pyproject.toml.

The engine is compiled where a C++ compiler is found and left out where none is: it is never a reason for the
installation to fail. It is a plain shared library, loaded through ctypes, so that Python's headers are not needed.
"""

import os
import platform
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from sim.compiled.kernel_sources import NATIVE_FILES, constant_definitions, native_builds, native_command  # noqa: E402
from sim.compiled.native_library import record_file, write_record  # noqa: E402


def compiler() -> list[str] | None:
    """C++ compiler, with its launcher and options if CXX names some, else the first that is there."""
    named = shlex.split(os.environ.get("CXX", ""))
    candidates = [named] if named else [["g++"], ["clang++"], ["c++"]]
    return next((words for words in candidates if shutil.which(words[0])), None)


class BuildNative(build_ext):
    """Compiles each build of the native engine by its own command, or says why it is left out."""

    def build_extension(self, ext: Extension) -> None:
        """Compile one build."""
        output = Path(self.get_ext_fullpath(ext.name)).resolve()
        output.parent.mkdir(parents=True, exist_ok=True)
        found = compiler()
        # what an earlier build left
        output.unlink(missing_ok=True)
        record_file(output).unlink(missing_ok=True)
        if found is None:
            sought = f"no {os.environ['CXX']} (CXX)" if os.environ.get("CXX") else "no C++ compiler"
            warnings.warn(f"{sought} was found: the native engine is left out", stacklevel=2)
            return
        constants = Path(self.build_temp).resolve() / "constants.cuh"
        constants.parent.mkdir(parents=True, exist_ok=True)
        constants.write_text(constant_definitions(), encoding="utf-8")
        command = native_command(found, ext.name.rpartition("_")[2], constants, output)
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
            write_record(output)
        except (OSError, subprocess.CalledProcessError) as error:
            output.unlink(missing_ok=True)
            detail = (getattr(error, "stderr", None) or str(error)).strip()
            warnings.warn(
                f"{ext.name} is left out, {' '.join(found)} could not compile it:\n{detail}", stacklevel=2
            )

    def copy_extensions_to_source(self) -> None:
        """Copy the builds that were compiled, each with its record, into a checkout."""
        super().copy_extensions_to_source()
        for compiled, inplace in self._records().items():
            if Path(compiled).exists():
                self.copy_file(compiled, inplace, level=self.verbose)

    def get_outputs(self) -> list[str]:
        """Files of the builds, their records included."""
        outputs = super().get_outputs()
        return outputs if self.inplace else [*outputs, *map(_record, outputs)]

    def get_output_mapping(self) -> dict[str, str]:
        """Files of the builds and their places in a checkout, their records included."""
        return {**super().get_output_mapping(), **self._records()}

    def _records(self) -> dict[str, str]:
        return {_record(built): _record(inplace) for built, inplace in super().get_output_mapping().items()}


def _record(library: str) -> str:
    return str(record_file(Path(library)))


setup(
    cmdclass={"build_ext": BuildNative},
    ext_modules=[
        Extension(f"sim.engines._native_{build}", [f"kernels/{name}" for name in NATIVE_FILES], optional=True)
        for build in native_builds(platform.machine())
        if os.name == "posix"
    ],
)
