"""Calls of a function counted, wherever in the package it has been imported to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest


def count_calls(monkeypatch: pytest.MonkeyPatch, function: Callable[..., Any]) -> list[tuple[Any, ...]]:
    """Positional arguments of every call from now on, by whichever loaded module of the package."""
    calls: list[tuple[Any, ...]] = []

    @wraps(function)
    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        return function(*arguments, **options)

    holders = [
        (module, name)
        for key, module in list(sys.modules.items())
        if key.partition(".")[0] == "sim"
        for name, value in list(vars(module).items())
        if value is function
    ]
    assert holders
    for module, name in holders:
        monkeypatch.setattr(module, name, counted)
    return calls
