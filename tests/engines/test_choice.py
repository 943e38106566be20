"""Which engine runs: what "auto" takes, and what is said when the one asked for cannot run."""

from __future__ import annotations

from typing import Any

import pytest
from support import fake_cupy
from support.fake_cupy import Machine
from support.needs import needs_native

from sim.compiled import native_library
from sim.engines import choice, cuda_engine
from sim.engines.choice import ENGINES, choose, engine_problem
from sim.engines.processor import available_processors
from sim.errors import GammawallError, InputError


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was made instead of the engines: their names and arguments."""
    made: list[tuple[Any, ...]] = []
    for kind in ("CudaEngine", "NativeEngine", "NumpyEngine"):
        monkeypatch.setattr(choice, kind, lambda *a, kind=kind: made.append((kind, *a)))
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
        f"devices = 0,1 (the {name} engine runs on the processor). Try --engine cuda."
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
    monkeypatch.setattr(choice, "cuda_problem", lambda: "no GPU")
    assert choose().name == "numpy"


@needs_native
def test_an_engine_says_what_it_is_made_of() -> None:
    engine = choose("native", threads=2)
    assert (engine.name, engine.threads) == ("native", 2)
    assert engine.device.endswith(f"({native_library.usable_builds()[0]} build)")


def test_a_gpu_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cupy.install(monkeypatch, Machine(devices=2))
    assert choose().name == "cuda"
    assert choose(devices=(1,)).device == "Imaginary GPU 1 (device 1)"
    assert ENGINES == ("auto", "cuda", "native", "numpy")
