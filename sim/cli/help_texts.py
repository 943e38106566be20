"""Help texts of the commands under `python -OO`, which strips the docstrings that click takes them from."""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Mapping

import click


def restore_help(command: click.Command) -> None:
    """Give a command and all commands of a group their help texts again, from the source of their functions."""
    if command.callback is not None and not command.help:
        function = inspect.unwrap(command.callback)
        command.help = _docstrings(inspect.getsourcefile(function)).get(function.__name__)
    if isinstance(command, click.Group):
        for one in command.commands.values():
            restore_help(one)


@functools.cache
def _docstrings(file: str | None) -> Mapping[str, str]:
    """Docstrings of a module's functions by name; none where there is no source to read."""
    try:
        with open(file or "", encoding="utf-8") as source:
            module = ast.parse(source.read())
    except OSError:
        return {}
    functions = (node for node in module.body if isinstance(node, ast.FunctionDef))
    return {node.name: ast.get_docstring(node) or "" for node in functions}
