"""Text for terminals: control characters escaped, and stand-ins for letters that an encoding does not have.

Names, descriptions and messages may come from anybody's file. Printed as they are, some characters would move the
cursor, change colours or the direction of writing, or break a line in two.
"""

from __future__ import annotations

import codecs
import re
import sys
from typing import Final

# Control characters but for tab and line feed, marks of direction, separators of lines, and halves of surrogates.
_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
STAND_INS: Final = {
    "±": "+-",
    "×": "x",
    "−": "-",
    "–": "-",
    "—": "-",
    "─": "-",
    "≈": "~",
    "…": "...",
    "·": "*",
}
# Name of the handler of encoding errors by which a stream writes stand-ins.
STAND_IN: Final = "gammawall.stand-in"


def printable(text: str) -> str:
    """Text with every character escaped that a terminal could take for a command; tabs and line ends stay."""
    return _UNSAFE.sub(lambda found: _escaped(found[0]), text)


def printable_line(text: str) -> str:
    """Text on one line: as `printable` returns it, with tabs and line ends escaped too."""
    return printable(text).replace("\t", "\\x09").replace("\n", "\\x0a")


def for_stdout(text: str) -> str:
    """Text with stand-ins for the letters that stdout cannot show."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, errors=STAND_IN).decode(encoding)


def _escaped(letter: str) -> str:
    number = ord(letter)
    return (
        f"\\x{number:02x}"
        if number < 0x80
        else f"\\u{number:04x}"
        if number < 0x10000
        else f"\\U{number:08x}"
    )


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(STAND_INS.get(letter) or _escaped(letter) for letter in letters), error.end


codecs.register_error(STAND_IN, _stand_in)
