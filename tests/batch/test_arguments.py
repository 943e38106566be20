"""Arguments of `simulate_batch` that are refused before anything happens, all of them at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.batch_results import small_batch

import sim
from sim.errors import InputError


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"workers": -1}, "workers = -1 (at least 1 is needed). Try workers=2."),
        ({"workers": 0}, "workers = 0 (at least 1 is needed)"),
        ({"workers": "2"}, 'workers = "2" (a whole number is expected, not a str)'),
        ({"workers": True}, "workers = true (a whole number is expected, not a bool)"),
        ({"workers": 10_000}, "workers = 10000 (more than "),
        ({"threads": 0}, "threads = 0 (at least 1 is needed)"),
        ({"threads": "a"}, 'threads = "a" (a whole number is expected'),
        ({"threads": 2.0}, "threads = 2.0 (a whole number is expected"),
        ({"engine": 1}, "engine = 1 (the name of an engine is expected"),
        ({"engine": "abacus"}, "there is no such engine"),
        ({"devices": 5}, "devices = 5 (a list of numbers of GPUs is expected"),
        ({"devices": "0"}, 'devices = "0" (a list of numbers of GPUs is expected'),
        ({"devices": [-1]}, "devices = [-1] (GPUs are numbered from 0)"),
        ({"devices": [0, 0]}, "devices = [0, 0] (names a GPU twice)"),
        ({"devices": []}, "devices = [] (names no GPU)"),
        ({"devices": [0.5]}, "devices = [0.5] (whole numbers are expected)"),
        ({"devices": [10**5000]}, "(no GPU has such a number)"),
        ({"devices": np.array([[0]])}, "devices (a list of numbers of GPUs is expected"),
        ({"devices": np.array([1, 1])}, "(names a GPU twice)"),
        ({"devices": np.array([1, 2]), "workers": 2, "threads": 2}, "threads = 2 (is for one process)"),
        ({"threads": np.int64(10**9)}, "threads = 1000000000 (at most 4,096 are possible)"),
        ({"scheduler": 1}, "scheduler = 1 (the address of a dask scheduler is expected"),
        ({"scheduler": ""}, "scheduler = '' (has no host)"),
        ({"scheduler": "tcp://a:1", "workers": 2}, "scheduler = tcp://a:1 (brings its own workers)"),
        ({"workers": 2, "threads": 2}, "threads = 2 (is for one process). Workers have one each."),
        ({"tls_ca": 5, "scheduler": "tls://a:1"}, "tls_ca = 5 (the path of a file is expected"),
        ({"tls_ca": "ca.pem"}, 'tls_ca = "ca.pem" (goes with a scheduler)'),
        ({"overwrite": "no"}, 'overwrite = "no" (True or False is expected, not a str)'),
        ({"resume": 1}, "resume = 1 (True or False is expected"),
        ({"parquet": None}, "parquet (True or False is expected, not None)"),
        ({"fail_fast": "yes"}, 'fail_fast = "yes" (True or False'),
        ({"retry_failed": []}, "retry_failed = [] (True or False"),
        ({"accept_changes": "a"}, 'accept_changes = "a" (True or False'),
        ({"resume": True, "overwrite": True}, "overwrite = True (contradicts resume)"),
        ({"out": ""}, 'out = "" (names no folder). Try out="results/story".'),
        ({"out": "a\0b"}, "(has a null character)"),
        ({"out": 5}, "out = 5 (the path of a folder is expected"),
        ({"progress": print}, "progress (a BatchProgress is expected, not a builtin_function_or_method)"),
    ],
)
def test_wrong_arguments(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as refused:
        sim.simulate_batch(small_batch(), **{"out": tmp_path / "b", **given})
    assert said in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        sim.simulate_batch(small_batch(), "", workers=0, devices=5, overwrite="no")  # type: ignore[arg-type]
    assert [problem.key for problem in refused.value.problems] == ["out", "workers", "devices", "overwrite"]


def test_a_text_overwrites_nothing(tmp_path: Path) -> None:
    out = tmp_path / "b"
    batch = small_batch(grid={}, case=[{"name": "one", "set": {"market.spot": 6901.0}}])
    how: dict[str, Any] = {"engine": "numpy", "threads": np.int64(1)}
    sim.simulate_batch(batch, out, **how)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="overwrite"):
        sim.simulate_batch(batch, out, overwrite="no", **how)  # type: ignore[arg-type]
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
