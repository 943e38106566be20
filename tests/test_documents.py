"""The documents against the code: tables, places, links and commands that they name."""

from __future__ import annotations

import ast
import importlib
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic import BaseModel
from support.places import ROOT

import sim
from sim.cli.main import cli
from sim.scenario.key_problems import table_of
from sim.scenario.model import Scenario

DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/methods.md",
    "docs/architecture.md",
    "docs/files.md",
)
CODE_BLOCK = re.compile(r"^```[^\n]*\n.*?^```$|(?:^(?: {4}[^\n]*)?\n)*^ {4}[^\n]*$", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"`([^`\n]+)`")
# A file of the project, and what it defines behind a colon.
PLACE = re.compile(
    r"((?:sim|kernels|tests|docs|benchmarks)/[\w./*-]+|[\w-]+\.(?:md|toml|py))(?::([A-Za-z_][\w.]*))?"
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def without_code(text: str) -> str:
    return CODE_BLOCK.sub("", text)


def places(name: str) -> Iterator[tuple[str, str | None]]:
    """Files of the project in code spans and blocks, and what they are said to define."""
    text = text_of(name)
    for span in CODE_SPAN.findall(without_code(text)):
        match = PLACE.fullmatch(span)
        if match is not None:
            yield match[1], match[2]
    for block in CODE_BLOCK.findall(text):
        yield from re.findall(r"\b(sim/[\w/]+\.py):([A-Za-z_][\w.]*)", block)


def rows(name: str, header: str) -> list[list[str]]:
    """Cells of the table whose header line begins so, the header apart."""
    lines = text_of(name).splitlines()
    (start,) = (number for number, line in enumerate(lines) if line.startswith(header))
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def defined_in(file: Path) -> set[str]:
    """Functions, classes, methods and constants of a file, the last two as Class.name."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        return set(
            re.findall(r"^(?:DEVICE|struct|constexpr|using) [^;{()=]*?(\w+)(?:\(| \{| =)", text, re.MULTILINE)
        )
    found: set[str] = set()

    def read(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                read(node.body, f"{node.name}.")
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in targets:
                found.update(prefix + n.id for n in ast.walk(target or ast.Pass()) if isinstance(n, ast.Name))

    read(ast.parse(text).body, "")
    return found


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_place_in_the_code_is_there(name: str) -> None:
    for file, defined in places(name):
        if "/" not in file and not (ROOT / file).exists():
            continue  # a user's file, such as scenario.toml
        assert list(ROOT.glob(file)), f"{name} names {file}, which is not there"
        if defined is not None:
            assert defined in defined_in(ROOT / file), f"{name}: {file} does not define {defined}"


def test_places_are_found_in_the_documents() -> None:
    # the test above proves nothing if the reader overlooks places
    assert ("sim/odds/tables.py", "odds_columns") in set(places("docs/architecture.md"))
    assert ("sim/scenario/model.py", "Scenario") in set(places("docs/architecture.md"))
    assert ("tests/support/sample_chain.py", None) in set(places("CONTRIBUTING.md"))
    assert len(list(places("docs/methods.md"))) > 40
    assert {"touched", "KNOWN_MASK"} <= defined_in(ROOT / "kernels" / "bridge.cuh")
    assert "Scenario.all_levels" in defined_in(ROOT / "sim" / "scenario" / "model.py")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    for target in LINK.findall(without_code(text_of(name))):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        document = (ROOT / name).parent / file if file else ROOT / name
        assert document.is_file(), f"{name} links to {target}"
        headings = re.findall(r"^#+ (.*)$", without_code(document.read_text(encoding="utf-8")), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in anchors, f"{name} links to {target}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_tables_have_as_many_cells_in_every_row(name: str) -> None:
    cells = 0
    for line in without_code(text_of(name)).splitlines():
        if not line.startswith("|"):
            cells = 0
            continue
        found = len(re.findall(r"(?<!\\)\|", line)) - 1
        assert line.endswith("|"), f"{name}: {line}"
        assert found == (cells or found), f"{name}: {line}"
        cells = found


def test_each_rule_about_files_has_a_test() -> None:
    for header in ("| command |", "| what |"):
        lines = text_of("docs/files.md").splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith(header)]
        for start in starts:
            for line in itertools.takewhile(lambda line: line.startswith("|"), lines[start + 2 :]):
                assert "`tests/" in line.split("|")[-2], line


def test_the_rooms_are_those_of_the_import_test_in_its_order() -> None:
    tree = ast.parse(text_of("tests/test_rooms.py"))
    (order,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "ROOMS"
    )
    table = rows("docs/architecture.md", "| room |")
    assert [room.strip("`") for room, _ in table] == order
    for room in order:
        assert (ROOT / "sim" / room / "__init__.py").is_file() != (ROOT / "sim" / f"{room}.py").is_file()


def test_each_of_twelve_questions_has_one_answer() -> None:
    answers = [answer for _, answer in rows("docs/architecture.md", "| question |")]
    assert len(answers) == 12
    for answer in answers:
        match = PLACE.fullmatch(answer.strip("`"))
        assert match is not None, answer
        assert match[2] is not None, answer
    assert len(set(answers)) == 12


def value_of(place: str) -> Any:
    file, _, name = place.partition(":")
    return getattr(importlib.import_module(file.removesuffix(".py").replace("/", ".")), name)


@pytest.mark.parametrize(
    ("number", "place"), [(row[1], row[2].strip("`")) for row in rows("docs/methods.md", "| number |")]
)
def test_numbers_in_the_methods_are_those_of_the_code(number: str, place: str) -> None:
    assert value_of(place) == float(number)


def commands(name: str) -> Iterator[list[str]]:
    """Command lines of the program in code blocks and spans, without its name."""
    text = text_of(name)
    spans = [span for span in CODE_SPAN.findall(without_code(text)) if span.startswith("gammawall ")]
    blocks = "\n".join(CODE_BLOCK.findall(text)).splitlines()
    for line in [*spans, *(line.strip() for line in blocks if line.strip().startswith("gammawall "))]:
        line = line.replace("$SLURM_ARRAY_TASK_ID", "3")
        if "|" not in line and "…" not in line:
            words = shlex.split(line, comments=True)[1:]
            yield words[: words.index(">")] if ">" in words else words


# The changelog names options without their values.
EVERY_COMMAND = [
    (name, command) for name in DOCUMENTS if name != "CHANGELOG.md" for command in commands(name)
]


@pytest.mark.parametrize(
    ("name", "command"),
    EVERY_COMMAND,
    ids=[f"{name}: {shlex.join(command)}" for name, command in EVERY_COMMAND],
)
def test_every_command_in_the_documents_is_one_that_there_is(name: str, command: list[str]) -> None:
    """Parsed as the program would, but not run."""
    group: click.Command = cli
    rest = list(command)
    context = click.Context(cli)
    while isinstance(group, click.Group) and rest and rest != ["--help"]:
        found = group.get_command(context, rest.pop(0))
        assert found is not None, f"{name}: gammawall {shlex.join(command)}"
        group = found
    if isinstance(group, click.Group) or not rest:
        return  # named alone, as in a table of commands
    group.make_context(group.name, rest)


def test_commands_are_found_in_the_documents() -> None:
    found = [command for _, command in EVERY_COMMAND]
    assert ["batch", "story", "--base", "my-scenario.toml", "--set", "market.spot=6900"] in found
    assert len(found) > 30


PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_python_in_the_documents_imports_public_names() -> None:
    programs = [block for name in DOCUMENTS for block in PYTHON_BLOCK.findall(text_of(name))]
    imports = [
        node
        for program in programs
        for node in ast.walk(ast.parse(program))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "sim"
    ]
    assert imports
    for node in imports:
        assert node.module == "sim", f"{node.module} is no public module"
        assert {alias.name for alias in node.names} <= set(sim.__all__)


def test_every_key_of_the_scenario_file_is_in_the_readme() -> None:
    tables: list[type[BaseModel]] = [Scenario]
    for table in tables:
        found = [table_of(field.annotation) for field in table.model_fields.values()]
        tables += [inner for inner in found if inner is not None and inner not in tables]
    keys = {field.alias or name for table in tables for name, field in table.model_fields.items()}
    section = text_of("README.md").partition("## Scenario files")[2].partition("\n## ")[0]
    assert len(keys) > 50
    assert keys <= set(re.findall(r"\w+", section))
