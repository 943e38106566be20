"""Which engine runs: what "auto" takes, and what is said when the one asked for cannot run."""

from __future__ import annotations

import inspect
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
from support import fake_cupy
from support.fake_cupy import Machine
from support.needs import needs_native
from support.short_scenarios import scenario_of

from sim import simulate
from sim.cli import options
from sim.compiled import native_library
from sim.engines import choice, cuda_engine
from sim.engines.choice import ENGINES, EngineEntry, choose, engine_problem
from sim.engines.native_builds import usable_builds
from sim.engines.numpy_engine import NumpyEngine
from sim.engines.processor import available_processors
from sim.errors import GammawallError, InputError
from sim.run.bench import engine_states


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was made instead of the engines: their names and arguments."""
    made: list[tuple[Any, ...]] = []
    for entry in ENGINES.values():
        module, _, kind = entry.class_name.partition(":")
        monkeypatch.setattr(f"{module}.{kind}", lambda *a, kind=kind: made.append((kind, *a)))
    return made


@pytest.mark.parametrize(
    ("missing", "taken"),
    [
        ((), "CudaEngine"),
        (("native",), "CudaEngine"),
        (("cuda",), "NativeEngine"),
        (("cuda", "native"), "NumpyEngine"),
    ],
)
def test_auto_takes_the_fastest_that_is_here(
    monkeypatch: pytest.MonkeyPatch, chosen: list[tuple[Any, ...]], missing: tuple[str, ...], taken: str
) -> None:
    monkeypatch.setattr(choice, "engine_problem", lambda name: "is missing" if name in missing else None)
    choose()
    choose("auto", threads=2)
    assert [kind for kind, *_ in chosen] == [taken, taken]


def test_what_is_asked_for_is_handed_on(chosen: list[tuple[Any, ...]]) -> None:
    choose("cuda", 5, 300, (0, 2))
    choose("auto", 5, 300, (1,))
    choose("cuda")
    choose("native", 5, 300)
    choose("numpy", 3)
    choose("numpy")
    assert chosen == [
        ("CudaEngine", (0, 2), 300),
        ("CudaEngine", (1,), 300),
        ("CudaEngine", None, None),
        ("NativeEngine", 5, 300),
        ("NumpyEngine", 3, None),
        ("NumpyEngine", available_processors(), None),
    ]


@pytest.mark.parametrize("name", ["fpga", "", "CUDA", "numpy "])
def test_an_unknown_name(name: str) -> None:
    with pytest.raises(InputError) as caught:
        choose(name)
    expected = f"engine = {name!r} (there is no such engine). Try one of auto, cuda, native, numpy."
    assert str(caught.value) == expected


@pytest.mark.parametrize("name", ["native", "numpy"])
def test_devices_ask_for_cuda(chosen: list[tuple[Any, ...]], name: str) -> None:
    with pytest.raises(InputError) as caught:
        choose(name, devices=(0, 1))
    assert str(caught.value) == (
        f"devices = 0,1 (the {name} engine runs on the processor). Try the engine cuda."
    )
    assert chosen == []


@pytest.mark.parametrize("options", [{"name": "cuda"}, {"name": "auto", "devices": (0,)}], ids=str)
def test_only_auto_takes_another_engine(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    monkeypatch.setattr(cuda_engine, "cuda_problem", lambda devices=(0,): "it is gone. Try harder.")
    with pytest.raises(
        GammawallError, match=r"^the cuda engine is not available: it is gone\. Try harder\.$"
    ):
        choose(**options)


def test_native_that_was_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_library, "library_file", lambda build: None)
    assert choose("auto").name != "native"
    with pytest.raises(
        GammawallError, match=r"^the native engine is not available: .*Install g\+\+ 11, clang"
    ) as e:
        choose("native")
    assert str(e.value) == f"the native engine is not available: {engine_problem('native')}"


def test_numpy_is_always_here(monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine_problem("numpy") is None
    monkeypatch.setattr(native_library, "library_file", lambda build: None)
    monkeypatch.setattr(cuda_engine, "cuda_problem", lambda: "no GPU")
    assert choose().name == "numpy"


@needs_native
def test_an_engine_says_what_it_is_made_of() -> None:
    engine = choose("native", threads=2)
    assert (engine.name, engine.threads) == ("native", 2)
    assert engine.device.endswith(f"({usable_builds()[0]} build)")


def test_a_gpu_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cupy.install(monkeypatch, Machine(devices=2))
    assert choose().name == "cuda"
    assert choose(devices=(1,)).device == "Imaginary GPU 1 (device 1)"
    assert list(ENGINES) == ["cuda", "native", "numpy"]


@pytest.mark.parametrize("name", ENGINES)
def test_each_entry_has_an_engine_of_its_name(name: str) -> None:
    """Its class has all that the protocol asks for, with the same parameters."""
    kind = ENGINES[name].load()
    assert kind.name == name
    assert kind.problem() is None or "Try" in kind.problem() or "nstall" in kind.problem()
    wanted, found = (inspect.signature(engine.run) for engine in (choice.Engine, kind))
    assert list(found.parameters.values()) == list(wanted.parameters.values())
    workers, block_paths = list(inspect.signature(kind).parameters)[:2]
    assert (workers, block_paths) == ("devices" if ENGINES[name].uses_devices else "threads", "block_paths")
    members = {member for member in vars(choice.Engine) if not member.startswith("_")} - {"threads"}
    assert members <= set(dir(kind))


def test_engines_are_named_by_their_table_alone() -> None:
    """What is listed elsewhere is the table: the choices of the command line and the states that are shown."""
    assert list(options.ENGINE(lambda: None).__click_params__[0].type.choices) == ["auto", *ENGINES]
    assert [state.engine for state in engine_states()] == list(ENGINES)


def test_an_engine_more_is_chosen_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its module and its entry are all that it takes."""
    module = ModuleType("another_engine")
    module.Another = type("Another", (NumpyEngine,), {"name": "another"})
    monkeypatch.setitem(sys.modules, "another_engine", module)
    entry = EngineEntry("another_engine:Another", chunk_steps=1 << 20, libraries=("click",))
    monkeypatch.setitem(ENGINES, "another", entry)
    assert choose("another", 1).name == "another"
    assert engine_states()[-1].engine == "another"
    result = simulate(scenario_of(), paths=50, engine="another", threads=1)
    assert result.manifest["engine"] == "another"
    assert "click" in result.manifest["versions"]
    with pytest.raises(
        InputError, match=r"the another engine runs on the processor\). Try the engine cuda\."
    ):
        choose("another", devices=[0])


def test_the_module_loads_no_engine() -> None:
    program = (
        "import sys, sim.engines.choice; print({'numpy', 'sim.engines.numpy_engine'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
