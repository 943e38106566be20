"""Files told from links, pipes and folders, and read and removed without following any."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sim.files.json_text import read_json
from sim.files.own_files import (
    FILE,
    FOLDER,
    LINK,
    SPECIAL,
    entry_kind,
    foreign_entries,
    read_regular,
    remove_files,
)


@pytest.fixture
def things(tmp_path: Path) -> dict[str, Path]:
    """A path of each kind."""
    found = {name: tmp_path / name for name in ("file", "folder", "link", "lost link", "pipe", "nothing")}
    found["file"].write_text('{"a": 1}')
    found["folder"].mkdir()
    found["link"].symlink_to(found["file"])
    found["lost link"].symlink_to(tmp_path / "nowhere")
    os.mkfifo(found["pipe"])
    return found


def test_kinds(things: dict[str, Path]) -> None:
    assert [entry_kind(path) for path in things.values()] == [FILE, FOLDER, LINK, LINK, SPECIAL, None]
    assert entry_kind(things["file"] / "below") is None


def test_only_a_regular_file_is_read(things: dict[str, Path]) -> None:
    """A pipe that nobody writes to would be waited for, without end."""
    assert read_regular(things.pop("file"), 100) == b'{"a": 1}'
    for path in things.values():
        with pytest.raises(OSError):  # noqa: PT011 - which one depends on the system
            read_regular(path, 100)
        assert read_json(path) is None


def test_a_file_may_be_too_large(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_regular(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes"):
        read_regular(tmp_path / "file", 4)
    os.truncate(tmp_path / "file", 1 << 40)  # larger than any memory, though it takes no space
    with pytest.raises(OSError, match="more than 5 bytes"):
        read_regular(tmp_path / "file", 5)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{", "[" * 200_000, '{"a": NaN}', '{"a": -Infinity}', '{"a": ' + "9" * 5_000 + "}"],
)
def test_what_is_no_json_object(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)
    assert read_json(tmp_path / "file") is None


def test_a_folder_goes_with_its_files_alone(tmp_path: Path) -> None:
    folder, thesis = tmp_path / "folder", tmp_path / "thesis"
    folder.mkdir()
    thesis.write_text("mine")
    (folder / "a").write_text("ours")
    (folder / "b").symlink_to(thesis)
    (folder / "c").mkdir()
    (folder / "notes").write_text("mine")
    assert foreign_entries(folder, "abc") == ["b", "c", "notes"]
    assert not remove_files(folder, "abc")
    assert sorted(os.listdir(folder)) == ["c", "notes"]
    (folder / "c").rmdir()
    (folder / "notes").unlink()
    (tmp_path / "link").symlink_to(folder)
    assert not remove_files(tmp_path / "link", "abc")
    assert folder.is_dir()
    assert remove_files(folder, "abc")
    assert not folder.exists()
    assert thesis.read_text() == "mine"
