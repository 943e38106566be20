from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sim

PACKAGE = Path(sim.__file__).parent

# From what a user writes to what a user reads. A module imports only what stands before it.
ORDER = [
    "sim.errors",
    "sim.market",
    "sim.scenario_values",
    "sim.input_files",
    "sim.toml_file",
    "sim.table_text",
    "sim.book_rows",
    "sim.book_file",
    "sim.key_problems",
    "sim.regime_rules",
    "sim.scenario_rules",
    "sim.scenario",
    "sim.timegrid",
    "sim.number_cells",
    "sim.quote_time",
    "sim.option_chain",
    "sim.quotedata",
    "sim.delayed_quotes",
    "sim.chain_files",
    "sim.minute_bars",
    "sim.fit_intraday",
    "sim.scenario_overrides",
    "sim.scenario_toml",
    "sim.scenarios",
    "sim.fragments",
    "sim.scenario_file",
    "sim.normal_law",
    "sim.black_scholes",
    "sim.integrated_map",
    "sim.dealer_book",
    "sim.expiry_curves",
    "sim.line_table",
    "sim.reaction_map",
    "sim.parity_carry",
    "sim.chain_book",
    "sim.gamma_levels",
    "sim.chain_scenario",
    "sim.kernel_constants",
    "sim.kernel_sources",
    "sim.native_library",
    "sim.native_maps",
    "sim.outcomes",
    "sim.pairs",
    "sim.plan",
    "sim.map_tables",
    "sim.shared_work",
    "sim.plan_builder",
    "sim.batches",
    "sim.batch_family",
    "sim.batch_file",
    "sim.kernels_numpy",
    "sim.engines",
    "sim.odds",
    "sim.oracle",
    "sim.pde",
    "sim.run",
    "sim.check",
    "sim.trace",
    "sim.atomic_files",
    "sim.results",
    "sim.table_files",
    "sim.case_files",
    "sim.batch_tables",
    "sim.batch_folder",
    "sim.batch_opening",
    "sim.tables_under_way",
    "sim.case_counter",
    "sim.batch",
    "sim.batch_units",
    "sim.batch_cluster",
    "sim.batch_counters",
    "sim.batch_merge",
    "sim.batch_simulation",
    "sim.sensitivity",
    "sim.bench",
    "sim.book_folder",
    "sim.daily_data",
    "sim.fit_volatility",
    "sim.fit_impact",
    "sim.fragment_files",
    "sim.book_pictures",
    "sim.report",
    "sim.engine_report",
    "sim.batch_report",
    "sim.book_report",
    "sim.fit_report",
    "sim.cli_options",
    "sim.cli_batch",
    "sim.cli_chain",
    "sim.cli_book",
    "sim.cli_run",
    "sim.cli_fit",
    "sim.cli",
]
ONLY_IMPORTERS = {
    "rich": {"sim.report", "sim.engine_report", "sim.batch_report", "sim.book_report", "sim.fit_report"},
    "click": {"sim.cli", *(f"sim.cli_{name}" for name in ("batch", "book", "chain", "fit", "options", "run"))},
    "distributed": {"sim.batch_cluster"},
    "filelock": {"sim.batch_folder", "sim.batch_opening"},
    "pyarrow": {"sim.table_files"},
    "arch": {"sim.fit_volatility", "sim.fit_impact"},
    "cupy": {"sim.engines.cuda_engine"},
    "dateparser": {"sim.quote_time"},
    "matplotlib": {"sim.book_pictures"},
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


def rank(module: str) -> int:
    """Position in the order, of the module or of the package it belongs to."""
    for i, name in enumerate(ORDER):
        if module == name or module.startswith(f"{name}."):
            return i
    raise AssertionError(f"{module} has no place in the order of imports")


def stage(module: str) -> str:
    return ORDER[rank(module)]


@pytest.mark.parametrize("module", [name for name in MODULES if name != "sim"])
def test_module_imports_only_what_stands_before_it(module: str) -> None:
    for name in imported_names(module):
        if name == "sim" or not name.startswith("sim."):
            assert name != "sim", f"{module} imports the package itself"
            continue
        if stage(name) != stage(module):
            assert rank(name) < rank(module), f"{module} imports {name}, which stands after it"


def test_modules_of_one_stage_do_not_import_each_other_in_a_circle() -> None:
    graph = {
        module: {
            n for n in imported_names(module) if n in MODULES and n != "sim" and stage(n) == stage(module)
        }
        for module in MODULES
        if module != "sim"
    }
    done: set[str] = set()
    while graph:
        ready = {module for module, needs in graph.items() if needs <= done | {module}}
        assert ready, f"circular imports among {sorted(graph)}"
        done |= ready
        graph = {module: needs for module, needs in graph.items() if module not in ready}


@pytest.mark.parametrize("module", MODULES)
def test_each_outside_library_has_its_one_importer(module: str) -> None:
    for name in imported_names(module):
        library = name.partition(".")[0]
        if library in ONLY_IMPORTERS:
            assert module in ONLY_IMPORTERS[library], f"{module} imports {library}"


def test_the_reader_of_imports_sees_every_kind() -> None:
    # the rules above prove nothing if the reader overlooks imports
    assert {"rich.console", "sim.odds", "sim.run"} <= set(imported_names("sim.report"))
    assert "sim.report" in set(imported_names("sim.cli"))
    assert {"click", "sim.errors", "sim.scenario_file"} <= set(imported_names("sim.cli"))


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
    code = f"from sim.cli import main\ntry:\n    main({arguments})\nexcept SystemExit:\n    pass"
    assert loaded_after(code).isdisjoint(HEAVY)


def test_bad_usage_is_found_before_anything_heavy_is_loaded() -> None:
    code = (
        "from sim.cli import main\ntry:\n    main(['run', '--paths', 'many'])\nexcept SystemExit:\n    pass"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint('numpy' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "False"
    assert "many" in done.stderr


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
