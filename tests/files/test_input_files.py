"""Files that are no such input: told by their kind, their beginning and their size, before they are read."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import threading
import zipfile
from pathlib import Path

import pytest

from sim.errors import InputError
from sim.files import input_files
from sim.files.input_files import InputKind, csv_cells, file_bytes

KIND = InputKind("table of days", 1_000_000, "Try a CSV file.", most_rows=2000)
BOMB = b"0" * 50_000_000


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("prices.csv", content)
    return file.getvalue()


def refusal(path: Path, kind: InputKind = KIND) -> str:
    with pytest.raises(InputError) as caught:
        csv_cells(path, path.name, kind)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (gzip.compress(BOMB), "is compressed by gzip, not text"),
        (bz2.compress(b"date,close\n"), "is compressed by bzip2, not text"),
        (lzma.compress(b"date,close\n"), "is compressed by xz, not text"),
        (zipped(BOMB), "is an Excel workbook or another zip archive, not text"),
        (zipped(b"") + b"x" * 2_000_000, "is an Excel workbook or another zip archive, not text"),
        (b"%PDF-1.7", "is a PDF document, not text"),
    ],
    ids=["gzip", "bzip2", "xz", "zip", "large zip", "pdf"],
)
def test_a_packed_file_is_told_by_its_beginning(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes(content)
    assert refusal(path) == f"prices.csv: {what}. Try a CSV file."


def test_a_file_of_any_size_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes(b"date,close\n")
    os.truncate(path, 1 << 40)
    read: list[int] = []
    whole = input_files._read_up_to
    monkeypatch.setattr(input_files, "_read_up_to", lambda *given: read.append(given[1]) or whole(*given))
    assert "is larger than 1 MB, no table of days" in refusal(path)
    assert sum(read) < 100


def test_rows_are_counted_before_they_are_parsed(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes(b"date,close\n" + b"1,2\n" * 2000)
    assert len(csv_cells(path, "prices.csv", KIND)) == 2000
    path.write_bytes(b"date,close\n" + b"1,2\n" * 200_000)
    assert refusal(path).startswith("prices.csv: has 200,001 lines, and 2,000 rows are the most")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero on this system")
def test_a_device_is_no_input() -> None:
    assert refusal(Path("/dev/zero")) == "zero: is a device, not a table of days. Try the right file."


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_a_pipe_that_nobody_writes_to_is_refused_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_files, "PIPE_WAIT", 0.05)
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    assert "pipe.csv: is a pipe with nothing to read for 0.05 seconds" in refusal(path)
    # Nor does one whose writer stays silent, or falls silent, keep the reader.
    writer = os.open(path, os.O_RDWR)
    assert "nothing to read" in refusal(path)
    os.write(writer, b"date,close\n")
    assert "nothing to read" in refusal(path)
    os.close(writer)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_a_pipe_that_does_not_end_is_refused_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece that comes in time does not begin the wait anew."""
    monkeypatch.setattr(input_files, "LONGEST_PIPE", 0.2)
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    writer, stop = os.open(path, os.O_RDWR), threading.Event()

    def drip() -> None:
        while not stop.wait(0.02):
            os.write(writer, b"1")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        assert "pipe.csv: is a pipe that does not end within 0.2 seconds" in refusal(path)
    finally:
        stop.set()
        thread.join()
        os.close(writer)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    content = b"date,close\n" + b"2026-02-10,6941.81\n" * 20_000
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    try:
        assert file_bytes(path, "pipe.csv", KIND) == content
    finally:
        writer.join()
