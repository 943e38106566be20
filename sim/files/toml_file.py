"""TOML files, a user's own or built in, read with one clear error for each way they can be unusable."""

from __future__ import annotations

import difflib
import importlib.resources
import os
import re
import tomllib
from dataclasses import dataclass
from typing import Any, Final

from sim.errors import InputError, Problem
from sim.files.input_files import InputKind, file_bytes, file_refusal, place_name
from sim.files.plain_values import TOO_DEEP, nests_too_deep
from sim.problems import check_type, shown_key

MAX_BYTES: Final = 10_000_000
_SYNTAX_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


@dataclass(frozen=True)
class FileKind:
    """Kind of TOML file.

    Attributes
    ----------
    noun : name of such a file, "scenario" for instance.
    package : package that holds the built-in files; "" if there are none.
    example : command that prints one to start from.
    """

    noun: str
    package: str
    example: str

    def builtin(self) -> dict[str, str]:
        """Name of each built-in file to the first line of its description."""
        found: dict[str, str] = {}
        if not self.package:
            return found
        for entry in importlib.resources.files(self.package).iterdir():
            if entry.name.endswith(".toml"):
                description = tomllib.loads(entry.read_text(encoding="utf-8"))["description"]
                found[entry.name.removesuffix(".toml")] = description.strip().splitlines()[0]
        return dict(sorted(found.items()))

    def read(self, source: str | os.PathLike[str]) -> tuple[str, dict[str, Any]]:
        """Name of a file in messages, and its nested tables as `tomllib` returns them.

        source : a path, or the name of a built-in file; a string is a path if it has a separator or ends in
            ".toml".

        Errors: `InputError`.
        """
        first = next(iter(self.builtin()), "my.toml")
        what = f"a built-in {self.noun}'s name or the path of a {self.noun} file"
        check_type(self.noun, source, (str, os.PathLike), what, f'Try "{first}".')
        name, where = os.fspath(source), place_name(source)
        content = self._read_file(name, where) if is_path(source) else self._read_builtin(name, where)
        return where, self._parse(content, where)

    def text(self, source: str | os.PathLike[str]) -> str:
        """Text of a user's or a built-in file with its comments, checked to be TOML.

        Errors: `InputError`.
        """
        self.read(source)
        name = os.fspath(source)
        content = self._read_file(name, name) if is_path(source) else self._read_builtin(name, name)
        return content.decode("utf-8-sig")

    def _read_builtin(self, name: str, where: str) -> bytes:
        names = list(self.builtin())
        if name in names:
            return (importlib.resources.files(self.package) / f"{name}.toml").read_bytes()
        near = difflib.get_close_matches(name, names, n=1)
        why = f"is no built-in {self.noun}, and no path: a path has a separator or ends in .toml"
        hint = f"Try {near[0]}; built in are" if near else "Built in are"
        raise file_refusal(where, why, f"{hint} {', '.join(names)}.")

    @property
    def _or_builtin(self) -> str:
        names = ", ".join(self.builtin())
        return f", or a built-in {self.noun}: {names}" if names else ""

    def _read_file(self, path: str, where: str) -> bytes:
        kind = InputKind(
            f"{self.noun} file",
            MAX_BYTES,
            "Try the right file.",
            "Try a .toml file inside it.",
            f"Try a path that exists{self._or_builtin}.",
        )
        return file_bytes(path, where, kind)

    def _parse(self, content: bytes, where: str) -> dict[str, Any]:
        if b"\0" in content:
            raise file_refusal(
                where, "is a binary file, not TOML text", f"Try a {self.noun} written as TOML."
            )
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            why = f"is not UTF-8 text: byte 0x{content[error.start]:02x}"
            raise file_refusal(f"{where}, line {line}", why, "Try saving it as UTF-8.") from error
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            message = str(error)
            place = _SYNTAX_PLACE.search(message)
            what = message[: place.start()] if place else message
            if place and place[1]:
                at = f"{where}, line {place[1]}, column {place[2]}"
            else:
                at = f"{where}, end of file" if place else where
            raise file_refusal(
                at, f"is not valid TOML: {what}", "Try correcting the syntax there."
            ) from error
        except (ValueError, RecursionError) as error:
            why = "a number has too many digits" if isinstance(error, ValueError) else "is nested too deeply"
            raise file_refusal(where, f"is not valid TOML: {why}", "Try correcting it.") from error
        deep = [shown_key(key) for key, value in data.items() if nests_too_deep({key: value})]
        if deep:
            raise InputError(
                [Problem(where, key, "", TOO_DEEP, "Try fewer tables within one another.") for key in deep]
            )
        if not data:
            hint = f"Try {self.example} for an example to start from."
            raise file_refusal(where, "is empty: it states no key", hint)
        return data


def is_path(source: str | os.PathLike[str]) -> bool:
    """Whether a source is the path of a file rather than the name of a built-in one."""
    name = os.fspath(source)
    return not isinstance(source, str) or "/" in name or os.sep in name or name.endswith(".toml")
