"""The same bytes of a plan on every machine: gold digests, instruction sets, and a scan for unpinned arithmetic."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import plan_digests
from support.gold import check_gold, gold
from support.places import TESTS

import sim
from sim.compiled.kernel_sources import kernel_folder, native_command

NAME = "plan_digests"
PACKAGE = Path(sim.__file__).parent
ULP = 2.0**-52


def dispatched() -> list[str]:
    """Instruction sets for which this NumPy has code of its own, and that this processor has."""
    module = importlib.import_module("numpy._core._multiarray_umath")
    return [name for name in module.__cpu_dispatch__ if module.__cpu_features__.get(name)]


# Each also forbids libm and OpenBLAS what a processor of that kind lacks, as far as they can be told.
LEVELS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "everything": ((), {}),
    "no AVX-512": (("AVX512", "X86_V4"), {"OPENBLAS_CORETYPE": "Haswell"}),
    "nothing": (
        ("",),
        {
            "OPENBLAS_CORETYPE": "Prescott",
            "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-AVX2_Usable,-FMA,-FMA_Usable,-FMA4,-BMI2",
        },
    ),
}


def digests_at(level: str) -> dict[str, str]:
    kinds, environment = LEVELS[level]
    disabled = [name for name in dispatched() if name.startswith(kinds)] if kinds else []
    variables = {**os.environ, **environment, "NPY_DISABLE_CPU_FEATURES": " ".join(disabled)}
    if not disabled:
        del variables["NPY_DISABLE_CPU_FEATURES"]
    paths = [str(PACKAGE.parent), str(TESTS)]
    variables["PYTHONPATH"] = os.pathsep.join(paths)
    done = subprocess.run(
        [sys.executable, "-m", "support.plan_digests"],
        capture_output=True,
        text=True,
        env=variables,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_digests_are_gold(update_gold: bool) -> None:
    """With no instruction set forbidden."""
    check_gold(NAME, digests_at("everything"), update_gold)


@pytest.mark.parametrize("level", ["no AVX-512", "nothing"])
def test_digests_do_not_depend_on_the_instruction_set(level: str) -> None:
    assert changed(digests_at(level)) == []


def changed(found: dict[str, str]) -> list[str]:
    """Names of the digests that are not those of the gold file."""
    expected = gold(NAME)
    return [name for name in (expected | found) if expected.get(name) != found.get(name)]


def nudged(function: Any, *arguments: Any, **options: Any) -> Any:
    """A function's result, its last number greater by an ulp."""
    result = function(*arguments, **options)
    if isinstance(result, float):
        return float(np.nextafter(result, np.inf))
    result = np.array(result)
    result[-1] = np.nextafter(result[-1], np.inf)
    return result


# Where an ulp is planted, the part of the digests to work out, and the digest that must see it.
PLANTED = [
    ("sim.book.hedge", "log", "siege-of-7000", "siege-of-7000: log strikes"),
    ("sim.market.black_scholes", "gamma_of_logs", "siege-of-7000", "siege-of-7000: positions"),
    ("sim.plan.close_histogram", "exp", "no-dealers", "no-dealers: close edges"),
    ("sim.scenario.intraday", "u_shape_integral", "no-dealers", "no-dealers: variance shares"),
    ("sim.chain.parity_carry", "log", "chain", "chain: carries"),
    ("sim.chain.book", "sum_in_order", "chain", "chain: contracts"),
    ("sim.market.gamma_law", "log", "functions", "student-t atoms"),
]


@pytest.mark.parametrize(("module", "name", "part", "seen_by"), PLANTED)
def test_a_planted_ulp_fails(
    module: str, name: str, part: str, seen_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = importlib.import_module(module)
    monkeypatch.setattr(place, name, partial(nudged, getattr(place, name)))
    assert seen_by in changed({**gold(NAME), **plan_digests.PARTS[part]()})


@pytest.mark.parametrize(
    ("module", "name", "seen_by"),
    [
        ("sim.market.normal_law", "LAW", "normal law"),
        ("sim.market.normal_law", "DENSITY", "normal law"),
        ("sim.book.expiry_curves", "KNOTS", "knots"),
    ],
)
def test_a_planted_ulp_in_a_table_fails(
    module: str, name: str, seen_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = importlib.import_module(module)
    table = getattr(place, name).copy()
    table[table.size // 3] *= 1.0 + ULP
    monkeypatch.setattr(place, name, table)
    assert seen_by in changed({**gold(NAME), **plan_digests.functions()})


def test_an_ulp_of_the_law_reaches_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    law = importlib.import_module("sim.market.normal_law")
    table = law.LAW.copy()
    table[table.size // 2] *= 1.0 + ULP
    monkeypatch.setattr(law, "LAW", table)
    assert "siege-of-7000: map" in changed({**gold(NAME), **plan_digests.siege_digests()})


# Arithmetic that is not pinned: other code, and other last bits, by processor, library or release.
ALLOWED_OF_MATH = {
    *("inf", "nan", "pi", "isfinite", "isnan", "isinf", "floor", "ceil", "trunc", "copysign", "fabs"),
    *("sqrt", "isqrt", "frexp", "ldexp", "fsum", "factorial", "comb", "gcd", "nextafter", "ulp"),
}
UNPINNED_OF_NUMPY = {
    *(
        "log",
        "log2",
        "log10",
        "log1p",
        "exp",
        "exp2",
        "expm1",
        "power",
        "float_power",
        "logaddexp",
        "logspace",
    ),
    *(
        "geomspace",
        "sin",
        "cos",
        "tan",
        "arcsin",
        "arccos",
        "arctan",
        "arctan2",
        "sinh",
        "cosh",
        "tanh",
        "hypot",
    ),
    *(
        "cbrt",
        "dot",
        "vdot",
        "inner",
        "matmul",
        "vecdot",
        "einsum",
        "tensordot",
        "convolve",
        "correlate",
        "linalg",
    ),
    *(
        "sum",
        "nansum",
        "mean",
        "nanmean",
        "average",
        "std",
        "var",
        "prod",
        "median",
        "quantile",
        "percentile",
    ),
    *("interp", "polyfit", "polyval", "trapezoid", "gradient", "cov", "corrcoef", "fft", "random"),
}
# Of arrays and pandas objects: sums in pairs, and sums in whatever order.
UNPINNED_METHODS = {
    *(
        "sum",
        "mean",
        "std",
        "var",
        "prod",
        "dot",
        "median",
        "quantile",
        "reduce",
        "reduceat",
        "agg",
        "groupby",
    ),
    "pivot_table",
}
ENTRANCES = ("sim.plan.builder", "sim.chain.scenario", "sim.chain.files", "sim.kernels_numpy.paths")

WHOLE = "whole numbers, exact in any order"
TOLD = "told to the reader or drawn, and no part of a plan"
REFUSES = "decides on a refusal, and is no part of a plan"
# (function, what it uses): why it may.
ALLOWED = {
    ("_without_matched", ".pivot_table"): WHOLE,
    ("start_session", ".sum"): TOLD,
    ("_by_expiry", ".agg"): TOLD,
    ("_by_expiry", ".groupby"): TOLD,
    ("_by_expiry", ".sum"): TOLD,
    ("_profile", "np.exp"): TOLD,
    ("_middle_strike", ".groupby"): REFUSES,
    ("_middle_strike", ".sum"): REFUSES,
    ("_u_shape", "math.expm1"): REFUSES,
    ("_u_shape", "sum"): REFUSES,
    ("_catalysts", "sum"): REFUSES,
    ("_fewest_segments", ".sum"): WHOLE,
    ("_sharpest", ".reduceat"): "the largest of each group",
    ("_fit", "sum"): "two columns: one addition",
    ("rank_of_level", "sum"): WHOLE,
    ("SharedWork._keep", "sum"): WHOLE,
    ("SharedWork._drop_oldest", "sum"): WHOLE,
    ("NativeMaps._built", "sum"): WHOLE,
    ("OptionChain.total", "sum"): WHOLE,
    ("OptionChain.__repr__", "sum"): TOLD,
    ("ChainBook.__repr__", ".sum"): TOLD,
    ("EnginePlan.outcome_shape", ".sum"): WHOLE,
    ("_sums_problem", ".sum"): WHOLE,
    ("_segments", "sum"): WHOLE,
    ("ParquetTable.__init__", "sum"): WHOLE,
    ("Outcomes.checked_paths", ".sum"): WHOLE,
    ("table_csv", "sum"): WHOLE,
    ("whole_powers", "**"): WHOLE,
    ("normal_tables", "**"): "whole numbers and fractions",
}


def modules() -> dict[str, Path]:
    return {
        ".".join(("sim", *path.relative_to(PACKAGE).with_suffix("").parts)): path
        for path in PACKAGE.rglob("*.py")
    }


def on_the_way() -> dict[str, ast.Module]:
    """Modules that the entrances import, directly or not."""
    files = modules()
    waiting = [name for name in files if name in ENTRANCES]
    assert len(waiting) == len(ENTRANCES)
    found: dict[str, ast.Module] = {}
    while waiting:
        name = waiting.pop()
        if name in found or name not in files or name == "sim.__init__":
            continue
        found[name] = ast.parse(files[name].read_text(encoding="utf-8"))
        for node in ast.walk(found[name]):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                waiting += [node.module, f"{node.module}.__init__"]
                waiting += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def unpinned(tree: ast.AST, inside: str = "") -> Iterator[tuple[str, str]]:
    """Function and what it uses, for all that is not pinned; methods as Class.method."""
    for node in ast.iter_child_nodes(tree):
        own = inside
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            own = f"{inside}.{node.name}" if inside else node.name
        what = unpinned_use(node)
        if what:
            yield inside, what
        yield from unpinned(node, own)


def is_whole(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int)


def unpinned_use(node: ast.AST) -> str:
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = [alias.name for alias in node.names]
        source = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
        if any(name.partition(".")[0] in ("scipy", "cmath", "statistics", "numba") for name in source):
            return "scipy"
        if source == ["math"] and isinstance(node, ast.ImportFrom) and not set(names) <= ALLOWED_OF_MATH:
            return "math"
    if isinstance(node, ast.BinOp | ast.AugAssign):
        if isinstance(node.op, ast.MatMult):
            return "@"
        if isinstance(node.op, ast.Pow):
            base, exponent = (
                (node.left, node.right) if isinstance(node, ast.BinOp) else (node.target, node.value)
            )
            exponent = exponent.operand if isinstance(exponent, ast.UnaryOp) else exponent
            # Whole powers of a whole number, and of two, are exact.
            two = isinstance(base, ast.Constant) and base.value == 2.0 and is_whole(exponent)
            return "" if is_whole(base) or two else "**"
    if isinstance(node, ast.Attribute):
        library = node.value.id if isinstance(node.value, ast.Name) else ""
        if library == "np":
            return f"np.{node.attr}" if node.attr in UNPINNED_OF_NUMPY else ""
        if library == "math":
            return f"math.{node.attr}" if node.attr not in ALLOWED_OF_MATH else ""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        is_numpy = isinstance(node.func.value, ast.Name) and node.func.value.id == "np"
        return f".{node.func.attr}" if node.func.attr in UNPINNED_METHODS and not is_numpy else ""
    if isinstance(node, ast.Name) and node.id in ("sum", "pow"):
        return node.id
    return ""


def test_all_arithmetic_on_the_way_to_a_plan_is_pinned() -> None:
    found = {(inside, what) for tree in on_the_way().values() for inside, what in unpinned(tree)}
    assert sorted(found - set(ALLOWED)) == []
    assert sorted(set(ALLOWED) - found) == [], "no longer needed"


def test_no_table_on_the_way_to_a_plan_can_be_written_to() -> None:
    """Arrays of modules are shared by all runs of a process."""
    arrays = {
        f"{name}.{attribute}": value
        for name in on_the_way()
        for attribute, value in vars(importlib.import_module(name)).items()
        if isinstance(value, np.ndarray)
    }
    assert {"sim.market.normal_law.LAW", "sim.book.expiry_curves.KNOTS"} <= set(arrays)
    assert [name for name, array in arrays.items() if array.flags.writeable] == []


def test_the_scan_covers_the_way() -> None:
    assert set(on_the_way()) >= {
        *(
            f"sim.plan.{name}"
            for name in ("builder", "time_grid", "dealers", "variance", "gaps", "regimes", "map_tables")
        ),
        *(f"sim.book.{name}" for name in ("hedge", "expiry_curves")),
        *(f"sim.reaction.{name}" for name in ("clearing_map", "segment_table", "native_maps")),
        *(
            f"sim.market.{name}"
            for name in ("normal_law", "black_scholes", "contracts", "elementary", "hermite")
        ),
        *(f"sim.chain.{name}" for name in ("parity_carry", "book", "levels", "scenario")),
        *(
            f"sim.kernels_numpy.{name}"
            for name in ("bridge", "normal", "path_state", "path_step", "philox", "reaction", "session")
        ),
        "sim.scenario.intraday",
    }


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import numpy as np\nnp.log(2.0)", "np.log"),
        ("import math\nmath.exp(1.0)", "math.exp"),
        ("from math import log", "math"),
        ("from scipy.special import ndtr", "scipy"),
        ("import scipy.optimize", "scipy"),
        ("a @ b", "@"),
        ("x**2", "**"),
        ("x **= 0.5", "**"),
        ("2.0**x", "**"),
        ("a.sum()", ".sum"),
        ("np.add.reduce(a)", ".reduce"),
        ("sum(x)", "sum"),
        ("np.interp(x, a, b)", "np.interp"),
        ("table.groupby('strike')", ".groupby"),
        ("1 << 8; 2**k; 2.0**-54; math.sqrt(2.0); np.sqrt(x); np.cumsum(x)", None),
    ],
)
def test_the_scan_sees(code: str, what: str | None) -> None:
    assert [use for _, use in unpinned(ast.parse(code))] == ([what] if what else [])


def test_compiled_tables_use_no_functions_of_libm() -> None:
    """Of the standard library's mathematics only what IEEE 754 defines, and no contraction."""
    source = (kernel_folder() / "map_tables.cpp").read_text(encoding="utf-8")
    libm = "exp|exp2|expm1|log|log2|log10|log1p|pow|sin|cos|tan|hypot|cbrt|fma|erf|erfc|tgamma|lgamma|atan|accumulate"
    assert re.findall(rf"(?<![\w.>])(?:{libm})f?\s*\(", source) == []
    assert "std::sqrt(" in source
    assert "-ffp-contract=off" in native_command(
        ["g++"], "baseline", Path("constants.cuh"), Path("library.so")
    )
