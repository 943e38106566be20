"""Help texts under python -OO, which strips docstrings."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click

from sim.cli.help_texts import restore_help
from sim.cli.main import cli

HELPS = """
import click
from sim.cli.main import cli
def show(command, names):
    context = click.Context(command, info_name=" ".join(names))
    print(command.get_help(context), command.get_short_help_str(), sep="\\n")
    for name in getattr(command, "commands", ()):
        show(command.commands[name], [*names, name])
show(cli, ["gammawall"])
"""


def commands(command: click.Command) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        for one in command.commands.values():
            yield from commands(one)


def test_help_is_the_same_without_docstrings() -> None:
    shown = [
        subprocess.run(
            [sys.executable, *options, "-c", HELPS], capture_output=True, text=True, timeout=60, check=True
        ).stdout
        for options in ([], ["-OO"])
    ]
    assert shown[0] == shown[1]
    assert "Simulate SCENARIO, or an option chain, and print the odds." in shown[1]


def test_every_command_has_a_help_text() -> None:
    assert all(command.help for command in commands(cli))


def test_a_function_without_source_has_no_help() -> None:
    namespace: dict[str, object] = {}
    exec("def lost(): pass", namespace)
    command = click.Command("lost", callback=namespace["lost"])  # type: ignore[arg-type]
    restore_help(command)
    assert command.help is None
