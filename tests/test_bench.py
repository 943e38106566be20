"""The engines that are here, their timings, and whether their counts agree."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
from cli_runner import gammawall
from sample_scenario import sample

from sim import bench
from sim.engines import choice
from sim.engines.numpy_engine import NumpyEngine
from sim.errors import GammawallError, InputError
from sim.outcomes import Outcomes
from sim.scenario import Scenario
from sim.scenario_file import scenario_from_mapping


@pytest.fixture(scope="module")
def short() -> Scenario:
    return scenario_from_mapping(sample(), "sample")


class Miscounting(NumpyEngine):
    """Counts one path twice."""

    name = "native"

    def run(self, *arguments: object, **named: object) -> Outcomes:
        outcomes = super().run(*arguments, **named)  # type: ignore[arg-type]
        outcomes.joint[0, 0] += 1
        return outcomes


def test_states_name_every_engine_and_a_cure() -> None:
    states = bench.engine_states()
    assert [s.engine for s in states] == ["cuda", "native", "numpy"]
    assert states[-1].available
    for state in states:
        assert state.device if state.available else "Try" in state.note or "Install" in state.note


def test_auto_takes_the_first_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "engine_problem", lambda name: None if name == "numpy" else "not here")
    assert choice.choose().name == "numpy"


def test_devices_ask_for_cuda() -> None:
    with pytest.raises(InputError, match=r"devices = 0,1 .*native engine runs on the processor.*--engine cuda"):
        choice.choose("native", devices=(0, 1))


def test_a_missing_cuda_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from sim.engines import cuda_engine

    monkeypatch.setattr(cuda_engine, "cuda_problem", lambda devices=(0,): "CuPy is missing. Try pip install")
    with pytest.raises(GammawallError, match=r"cuda engine is not available: CuPy is missing\. Try pip"):
        choice.choose("cuda")


def test_timings(short: Scenario) -> None:
    rows = bench.benchmark(short, engines=["numpy"], paths=[500, 1000], repeats=1)
    assert list(rows["paths"]) == [500, 1000]
    assert list(rows["counts"]) == ["first", "first"]
    assert rows["speed"][0] == 1
    assert rows["ns_per_path_step"].to_numpy() == pytest.approx(1e9 / rows["path_steps_per_s"].to_numpy())
    assert rows["issue_share"].isna().all()


def test_counts_that_differ_are_told(short: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(name: str, threads: int | None = None, **_: object) -> NumpyEngine:
        return Miscounting(1) if name == "native" else NumpyEngine(threads or 1)

    monkeypatch.setattr(bench, "choose", fake)
    rows = bench.benchmark(short, engines=["native", "numpy"], paths=[400], repeats=1)
    assert list(rows["engine"]) == ["numpy", "native"]
    assert list(rows["counts"]) == ["first", "DIFFERENT"]


def test_paths_for_a_standard_error(short: Scenario) -> None:
    from sim.plan_builder import prepare

    outcomes = NumpyEngine(1).run(prepare(short).plan, 1, 0, 2000)
    share = outcomes.joint.sum(axis=1)[1:] / 2000
    assert bench.paths_for(outcomes, 0.01) == pytest.approx(max(share * (1 - share)) / 1e-4)


def test_command_prints_and_writes_the_table(tmp_path: Path) -> None:
    file = tmp_path / "bench.csv"
    done = gammawall("bench", "--engines", "numpy", "--paths", "300", "--repeats", "1", "--csv", str(file))
    assert done.exit_code == 0, done.output
    assert "numpy" in done.stdout
    rows = pd.read_csv(file)
    assert list(rows["engine"]) == ["numpy"]
    assert math.isnan(rows["issue_share"][0])


def test_command_refuses_an_unknown_engine_and_bad_lists() -> None:
    for arguments in (
        ["bench", "--engines", "fpga"],
        ["bench", "--paths", "1,1"],
        ["bench", "--threads", "0"],
        ["run", "--devices", "0,0"],
        ["run", "--devices", "0", "--engine", "numpy"],
    ):
        assert gammawall(*arguments).exit_code == 2, arguments


def test_engines_command() -> None:
    done = gammawall("engines")
    assert done.exit_code == 0
    assert "--engine auto takes" in done.stdout
