"""Whatever goes wrong with CuPy, the driver or a GPU is one message with advice; nothing is half counted."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from support import fake_cupy
from support.cuda_on_cpu import needs_compiler
from support.fake_cupy import CompileException, CUDADriverError, CUDARuntimeError, Machine, OutOfMemoryError

from sim.engines import cuda_engine
from sim.engines.choice import choose
from sim.engines.cuda_engine import CudaEngine, cuda_problem, device_names
from sim.engines.numpy_engine import NumpyEngine
from sim.errors import GammawallError
from sim.plan.builder import prepare
from sim.plan.engine_plan import EnginePlan
from sim.scenario.file import load_scenario

PATHS = 400
NO_DRIVER = CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")
LOST = CUDARuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered")
NO_MEMORY = OutOfMemoryError("Out of memory allocating 2,048 bytes (allocated so far: 0 bytes).")
NO_LOCAL_MEMORY = CUDADriverError("CUDA_ERROR_OUT_OF_MEMORY: out of memory")
NO_LIBRARY = RuntimeError('Failure finding "libnvrtc.so.13"')
REFUSED = CompileException("paths.cu(31): error: identifier is undefined")
NO_CACHE = PermissionError(13, "Permission denied", "/home/me/.cupy/kernel_cache")


@pytest.fixture(scope="module")
def plan() -> EnginePlan:
    few_steps = ["market.sessions=4", "volatility.steps_per_session=5"]
    return prepare(load_scenario("no-dealers", few_steps)).plan


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(cuda_engine, "BLOCK_THREADS", 32)
    return fake_cupy.install(monkeypatch, Machine())


def message_of(caught: pytest.ExceptionInfo[BaseException]) -> str:
    """The one message, without what a traceback would hold."""
    assert type(caught.value) is GammawallError
    assert caught.value.exit_code == 1
    return str(caught.value)


class TestNotAvailable:
    @staticmethod
    def check(*parts: str, devices: tuple[int, ...] = (0,)) -> None:
        with pytest.raises(GammawallError) as caught:
            CudaEngine(devices)
        for part in ("the cuda engine is not available: ", *parts):
            assert part in message_of(caught)
        assert cuda_problem(devices) in str(caught.value)

    def test_no_cupy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "cupy", None)
        self.check("CuPy cannot be imported", "pip install 'gammawall-sim[cuda13]'", "cuda12")

    @pytest.mark.parametrize(
        ("error", "parts"),
        [
            ("ImportError('libcuda.so.1: not found')", ("cannot be imported (libcuda.so.1", "pip install")),
            (
                "ValueError('numpy.dtype size changed')",
                ("cannot be imported (numpy.dtype size", "pip install"),
            ),
            ("PermissionError(13, 'Denied', '/home')", ("cache folder ([Errno 13] Denied", "CUPY_CACHE_DIR")),
        ],
    )
    def test_cupy_that_cannot_be_imported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, parts: tuple[str, ...]
    ) -> None:
        (tmp_path / "cupy.py").write_text(f"raise {error}\n")
        monkeypatch.delitem(sys.modules, "cupy", raising=False)
        monkeypatch.syspath_prepend(tmp_path)
        self.check(*parts)

    def test_what_an_uninstalled_cupy_leaves(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "cupy").mkdir()
        monkeypatch.delitem(sys.modules, "cupy", raising=False)
        monkeypatch.syspath_prepend(tmp_path)
        self.check("CuPy cannot be imported (module 'cupy' has no attribute 'cuda')", "pip install")

    def test_no_driver(self, machine: Machine) -> None:
        machine.failures["count"] = (0, NO_DRIVER)
        self.check("no usable NVIDIA driver", str(NO_DRIVER), "Install the NVIDIA driver", "nvidia-smi")

    def test_no_device(self, machine: Machine) -> None:
        machine.devices = 0
        self.check("there is no NVIDIA GPU", "--engine native or numpy")

    @pytest.mark.parametrize(
        ("present", "devices", "parts"),
        [
            (1, (1,), ("there is no device 1.", "--devices 0.")),
            (2, (0, 5, -1), ("there is no device 5, -1.", "--devices 0,1.")),
        ],
    )
    def test_no_such_device(
        self, machine: Machine, present: int, devices: tuple[int, ...], parts: tuple[str, ...]
    ) -> None:
        machine.devices = present
        self.check(*parts, devices=devices)

    @pytest.mark.parametrize("failure", ["no cupy", "no driver", "no device"])
    def test_another_engine_is_chosen(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch, failure: str
    ) -> None:
        if failure == "no cupy":
            monkeypatch.setitem(sys.modules, "cupy", None)
        elif failure == "no driver":
            machine.failures["count"] = (0, NO_DRIVER)
        else:
            machine.devices = 0
        assert device_names() == []
        assert choose("auto").name in ("native", "numpy")
        with pytest.raises(GammawallError, match="the cuda engine is not available"):
            choose("cuda")
        with pytest.raises(GammawallError, match="the cuda engine is not available"):
            choose("auto", devices=[0])


@needs_compiler
class TestFailuresOfARun:
    @pytest.mark.parametrize(
        ("place", "after", "error", "parts"),
        [
            ("upload", 0, NO_MEMORY, ("too little free memory", "shorter horizon", "--engine native")),
            ("upload", 5, NO_MEMORY, ("too little free memory", "fewer levels", "--devices")),
            ("upload", 0, LOST, ("the GPU failed during the run", "nvidia-smi")),
            ("compile", 0, REFUSED, ("could not be compiled for this GPU", "pip install")),
            ("compile", 0, NO_LIBRARY, ("could not be compiled for this GPU", "pip install")),
            ("compile", 0, NO_CACHE, ("cannot keep the compiled kernels", "CUPY_CACHE_DIR")),
            ("compile", 0, NO_LOCAL_MEMORY, ("the GPU failed during the run", "--engine native")),
            ("launch", 0, NO_LOCAL_MEMORY, ("the GPU failed during the run", "nothing was counted")),
            ("wait", 0, LOST, ("the GPU failed during the run", "nothing was counted")),
            ("wait", 4, LOST, ("the GPU failed during the run", "nothing was counted")),
        ],
    )
    def test_one_message_and_no_trace_of_the_failed_run(
        self,
        machine: Machine,
        plan: EnginePlan,
        place: str,
        after: int,
        error: Exception,
        parts: tuple[str, ...],
    ) -> None:
        machine.failures[place] = (after, error)
        engine = CudaEngine(block_paths=50)
        with pytest.raises(GammawallError) as caught:
            engine.run(plan, 1, 0, PATHS)
        assert caught.value.__cause__ is error
        for part in (str(error), *parts):
            assert part in message_of(caught)
        # the engine is none the worse for it, and nothing of the failed run is in the next one's counts
        machine.failures.clear()
        assert engine.run(plan, 1, 0, PATHS) == NumpyEngine(1).run(plan, 1, 0, PATHS)

    def test_a_plan_larger_than_the_memory(self, machine: Machine, plan: EnginePlan) -> None:
        machine.memory = 20_000
        with pytest.raises(GammawallError) as caught:
            CudaEngine().run(plan, 1, 0, PATHS)
        assert "too little free memory (Out of memory allocating" in message_of(caught)
        assert not machine.launches

    def test_kernels_that_no_compiler_takes(
        self, machine: Machine, plan: EnginePlan, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cuda_engine, "translation_unit", lambda name: "__global__ void nonsense(")
        with pytest.raises(GammawallError) as caught:
            CudaEngine().run(plan, 1, 0, PATHS)
        assert "could not be compiled" in message_of(caught)

    def test_one_device_of_two_is_lost(self, machine: Machine, plan: EnginePlan) -> None:
        machine.devices = 2

        def lose(launch: fake_cupy.Launch) -> None:
            if launch.device == 1:
                raise LOST

        machine.inspect = lose
        lots: list[int] = []
        before = threading.active_count()
        with pytest.raises(GammawallError, match="nothing was counted"):
            CudaEngine((0, 1), block_paths=1).run(plan, 1, 0, 1 << 20, lots.append)
        # the other device has stopped long before the last path
        assert len(lots) < 1 << 16
        assert threading.active_count() == before

    def test_an_interruption_ends_the_launches(self, machine: Machine, plan: EnginePlan) -> None:
        def interrupt(_: int) -> None:
            raise KeyboardInterrupt

        machine.devices = 2
        before = threading.active_count()
        with pytest.raises(KeyboardInterrupt):
            CudaEngine((0, 1), block_paths=50).run(plan, 1, 0, 1 << 30, interrupt)
        assert threading.active_count() == before
        assert len(machine.launches) < 1000

    def test_an_error_of_the_callers_own_stays_what_it_is(self, machine: Machine, plan: EnginePlan) -> None:
        def fail(_: int) -> None:
            raise RuntimeError("progress is broken")

        with pytest.raises(RuntimeError, match="progress is broken"):
            CudaEngine(block_paths=50).run(plan, 1, 0, PATHS, fail)
