"""Copies of the native engine's libraries that a test may damage."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

from sim.compiled import native_library
from sim.compiled.native_library import compiled_builds, file_of, record_file


def copied_libraries(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Copy of every build by its name, with its record; the copies are found in place of the real ones."""
    found = {}
    for build in compiled_builds():
        found[build] = copied(file_of(build), folder / file_of(build).name)
    monkeypatch.setattr(native_library, "library_file", found.get)
    return found


def copied(library: Path, target: Path) -> Path:
    """Copy of a library with its record."""
    shutil.copy(library, target)
    shutil.copy(record_file(library), record_file(target))
    return target


def flip_bit(file: Path, bit: int) -> None:
    """Turn one bit of a file; the new file is another one, so that a library that is loaded stays whole."""
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.unlink()
    file.write_bytes(content)


def section(file: Path, name: str) -> range:
    """Places in a 64-bit little-endian ELF file of a section's bytes."""
    content = file.read_bytes()
    assert content[:6] == b"\x7fELF\x02\x01"
    (headers,), (size, count, names) = (
        struct.unpack_from("<Q", content, 40),
        struct.unpack_from("<3H", content, 58),
    )
    # Of each header: name, type, flags, address, place, length.
    found = [struct.unpack_from("<IIQQQQ", content, headers + size * i) for i in range(count)]
    for entry in found:
        start = found[names][4] + entry[0]
        if content[start : content.index(b"\0", start)].decode() == name:
            return range(entry[4], entry[4] + entry[5])
    raise ValueError(f"{file} has no {name}")
