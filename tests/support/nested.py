"""Nested tables and lists, and places in them."""

from __future__ import annotations

from typing import Any


def places(node: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, value in items for place in places(value, (*path, key)))]


def nested_list(depth: int) -> list[Any]:
    """List in a list in a list, `depth` of them."""
    found: list[Any] = []
    for _ in range(depth - 1):
        found = [found]
    return found
