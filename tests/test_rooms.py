from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sim

PACKAGE = Path(sim.__file__).parent

# The rooms, lowest first: a module imports only from its own room and from rooms before it.
ROOMS = [
    "errors",
    "problems",
    "compiled",
    "market",
    "files",
    "book",
    "scenario",
    "fit",
    "reaction",
    "plan",
    "kernels_numpy",
    "engines",
    "odds",
    "run",
    "chain",
    "batch",
    "check",
    "report",
    "cli",
]
# Rooms of files without code.
DATA = ["batches", "scenarios"]
LOOSE = {"__init__.py", "errors.py", "problems.py"}
# Libraries with one importer each: a module, or a room.
ONLY_IMPORTERS = {
    "rich": {"sim.report"},
    "click": {"sim.cli"},
    # one loads it by the user's configuration, the other works with what is loaded then
    "distributed": {"sim.batch.dask_library", "sim.batch.dask_executor"},
    "dask": {"sim.batch.dask_library"},
    "cryptography": set(),  # distributed makes the certificates
    "filelock": {"sim.batch.folder", "sim.batch.opening"},
    "pyarrow": {"sim.files.table_files"},
    "arch": {"sim.fit.volatility", "sim.fit.impact"},
    "cupy": {"sim.engines.cuda_engine"},
    "dateparser": {"sim.chain.quote_time"},
    "matplotlib": {"sim.report.pictures"},
}
HEAVY = ("numpy", "pandas", "scipy", "pydantic", "exchange_calendars", "rich", "tomli_w", "QuantLib")


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("sim", *path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported_names(module: str) -> Iterator[str]:
    """Every module named in an import statement, at any depth, those for type checking included."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parent, base] if base else parent)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in MODULES else base


def room(module: str) -> str:
    """Room that a module of the package lies in."""
    return module.split(".")[1]


def test_every_module_lies_in_a_room() -> None:
    loose = {path.name for path in PACKAGE.glob("*.py")}
    assert loose == LOOSE
    folders = {path.parent.relative_to(PACKAGE).parts[0] for path in PACKAGE.glob("*/*.py")}
    assert folders == {name for name in [*ROOMS, *DATA] if f"{name}.py" not in LOOSE}
    assert not list(PACKAGE.glob("*/*/*.py")), "rooms have no rooms inside"


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_imports_only_from_rooms_before_it(name: str) -> None:
    allowed = set(ROOMS[: ROOMS.index(name) + 1])
    for module in (module for module in MODULES if module != "sim" and room(module) == name):
        for imported in imported_names(module):
            assert imported != "sim", f"{module} imports the package itself"
            if imported.startswith("sim."):
                assert room(imported) in allowed, (
                    f"{module} imports {imported}, whose room stands after its own"
                )


def test_the_independent_answers_do_not_rest_on_the_clearing_map() -> None:
    for module in (module for module in MODULES if module.startswith("sim.check.")):
        assert not [name for name in imported_names(module) if name.startswith("sim.reaction")], module


@pytest.mark.parametrize("name", [name for name in ROOMS if f"{name}.py" not in LOOSE])
def test_modules_of_a_room_do_not_import_each_other_in_a_circle(name: str) -> None:
    own = {module for module in MODULES if module.startswith(f"sim.{name}.")}
    graph = {module: own.intersection(imported_names(module)) for module in own}
    done: set[str] = set()
    while graph:
        ready = {module for module, needs in graph.items() if needs <= done | {module}}
        assert ready, f"circular imports among {sorted(graph)}"
        done |= ready
        graph = {module: needs for module, needs in graph.items() if module not in ready}


@pytest.mark.parametrize("module", [module for module in MODULES if module != "sim"])
def test_each_outside_library_has_its_one_importer(module: str) -> None:
    for name in imported_names(module):
        library = name.partition(".")[0]
        if library in ONLY_IMPORTERS:
            importers = ONLY_IMPORTERS[library]
            assert {module, f"sim.{room(module)}"} & importers, f"{module} imports {library}"


def test_the_reader_of_imports_sees_every_kind() -> None:
    # the rules above prove nothing if the reader overlooks imports
    assert {"rich.console", "sim.odds.tables", "sim.run.simulation"} <= set(imported_names("sim.report.run"))
    assert "sim.report.run" in set(imported_names("sim.cli.main"))
    assert {"click", "sim.errors", "sim.scenario.file"} <= set(imported_names("sim.cli.main"))


def loaded_after(code: str) -> set[str]:
    program = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.partition(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}


@pytest.mark.parametrize(
    "code",
    [
        "import sim",
        "import sim; dir(sim); sim.__all__",
        "import sim; sim.__version__",
        "import sim; sim.GammawallError",
    ],
)
def test_importing_the_package_loads_nothing_heavy(code: str) -> None:
    assert loaded_after(code).isdisjoint({*HEAVY, "click"})


def test_what_setup_imports_needs_the_standard_library_alone() -> None:
    """It runs before any dependency is there; -S leaves out what is installed beside Python."""
    code = "import sim, sim.run, sim.run.rendering, sim.compiled.kernel_sources, sim.compiled.native_library"
    program = f"import sys\nsys.path.insert(0, {str(PACKAGE.parent)!r})\n{code}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "sim" in loaded
    assert loaded - sys.stdlib_module_names == {"sim", "__main__"}
    setup = (PACKAGE.parent / "setup.py").read_text(encoding="utf-8")
    assert set(re.findall(r"^(?:from|import) (sim\S*)", setup, re.MULTILINE)) == {
        "sim.compiled.kernel_sources",
        "sim.compiled.native_library",
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        *([name, "--help"] for name in ("run", "scenario", "check", "bench", "engines", "book", "fit")),
        ["fit", "volatility", "--help"],
        [],
    ],
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = f"from sim.cli.main import main\ntry:\n    main({arguments})\nexcept SystemExit:\n    pass"
    assert loaded_after(code).isdisjoint(HEAVY)


def test_bad_usage_is_found_before_anything_heavy_is_loaded() -> None:
    code = "from sim.cli.main import main\ntry:\n    main(['run', '--paths', 'many'])\nexcept SystemExit:\n    pass"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint('numpy' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "False"
    assert "many" in done.stderr


def test_modules_and_functions_keep_within_their_sizes() -> None:
    """As CONTRIBUTING.md has it; of a function its statements count, signature and docstring apart."""
    for module, path in MODULES.items():
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 450, module
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                assert lines <= 70, f"{module}: {node.name} has {lines} lines"


def test_public_names_resolve_and_are_listed() -> None:
    for name in sim.__all__:
        assert getattr(sim, name) is not None
        assert name in dir(sim)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = sim.nonsense


def test_type_checkers_see_the_names_that_are_loaded_on_first_use() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    declared = {
        (alias.name, node.module)
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert declared == set(sim._HOMES.items())
    assert set(sim.__all__) == {*sim._HOMES, "__version__"}
