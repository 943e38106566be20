"""Text for terminals: no character that moves the cursor or turns the direction of writing gets through."""

from __future__ import annotations

import io
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.files.terminal_text import STAND_IN, for_stdout, printable

DIRECTIONS = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}


def is_unsafe(letter: str) -> bool:
    return letter not in "\t\n" and (
        unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(letter) in DIRECTIONS
        or letter in "\u061c\u200e\u200f"
    )


def test_exactly_the_unsafe_letters_are_escaped() -> None:
    for number in range(sys.maxunicode + 1):
        letter = chr(number)
        found = printable(letter)
        if is_unsafe(letter):
            assert found in (f"\\x{number:02x}", f"\\u{number:04x}"), hex(number)
        else:
            assert found == letter, hex(number)


@given(st.text())
def test_nothing_unsafe_is_left_and_nothing_is_escaped_twice(text: str) -> None:
    found = printable(text)
    assert not any(map(is_unsafe, found))
    assert printable(found) == found
    if not any(map(is_unsafe, text)):
        assert found == text


def test_an_escape_is_what_python_and_toml_read() -> None:
    assert (
        printable("a\x1b[31mb\x9bc\u202ed\\x1b\tn\n\x7f\r") == r"a\x1b[31mb\u009bc\u202ed\x1b"
        "\tn\n"
        r"\x7f\x0d"
    )


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("ascii", r"5.1% +- 0.2 x - ~ ... \u03a6\u540d\U0001f600"),
        ("latin-1", r"5.1% ± 0.2 × - ~ ... \u03a6\u540d\U0001f600"),
        ("utf-8", "5.1% ± 0.2 × − ≈ … Φ名😀"),
    ],
)
def test_letters_that_an_encoding_lacks_have_stand_ins(
    monkeypatch: pytest.MonkeyPatch, encoding: str, text: str
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    assert for_stdout("5.1% ± 0.2 × − ≈ … Φ名😀") == text
    print(text, file=stream)  # no UnicodeEncodeError
    stream.reconfigure(errors=STAND_IN)
    print("± 名", file=stream)


def test_a_stdout_without_an_encoding_takes_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (None, io.StringIO()):
        monkeypatch.setattr(sys, "stdout", stream)
        assert for_stdout("±") == "±"
