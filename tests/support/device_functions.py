"""The kernels' functions over arrays, compiled for the processor, and words and numbers to try them on."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.compiled_kernels import compile_harness

HARNESS = Path(__file__).with_name("device_functions.hpp")
CORNERS = [0, 1, 2, 2**12 - 1, 2**12, 2**31 - 2, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 2, 2**32 - 1]
MANY = 200_000
Array = NDArray[Any]


@cache
def library() -> ctypes.CDLL:
    return compile_harness(HARNESS.read_text(encoding="utf-8"))


def call(name: str, *arguments: Array | int) -> None:
    """Run a function of the harness over arrays, whose length is its number of items; it writes to the last ones."""
    call_with_count(name, next(len(a) for a in arguments if isinstance(a, np.ndarray) and a.ndim), *arguments)


def call_with_count(name: str, count: int, *arguments: Array | int) -> None:
    """Run a function of the harness for a number of items."""
    assert all(a.flags.c_contiguous for a in arguments if isinstance(a, np.ndarray))
    values = [
        ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else ctypes.c_uint32(a) for a in arguments
    ]
    library()[f"each_{name}"](count, *values)


def some_words(seed: int, count: int = MANY) -> NDArray[np.uint32]:
    """Corner words, their neighbours by sign bit, and random ones."""
    words = np.random.default_rng(seed).integers(0, 2**32, count, dtype=np.uint32)
    words[: len(CORNERS)] = CORNERS
    return words


def pairs_of_words(seed: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Random pairs, and every pair of corners."""
    grid = np.array(np.meshgrid(CORNERS, CORNERS), dtype=np.uint32).reshape(2, -1)
    both = np.concatenate((grid, np.stack((some_words(seed), some_words(seed + 1)[::-1]))), axis=1)
    return np.ascontiguousarray(both[0]), np.ascontiguousarray(both[1])


def assert_bits(found: Array, expected: Array) -> None:
    """Equal to the last bit, the sign of zero included."""
    assert found.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(found.view(np.int32), expected.view(np.int32))
