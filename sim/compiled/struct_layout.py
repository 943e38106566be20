"""The kernels' structs as NumPy types, read from the kernels' sources."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.compiled import kernel_constants as constants
from sim.compiled import kernel_sources

# The headers whose structs Python fills or reads.
STRUCT_FILES = ("plan.cuh", "map_tables.hpp")
STRUCT = re.compile(r"^struct (?:alignas\(\d+\) )?(\w+) \{$")
FIELD = re.compile(r"^    (?:const )?(\w+)(\*?) (\w+)(?:\[(\w+)\])?;$")
SCALARS = {"float": "f4", "double": "f8", "int": "i4", "int64_t": "i8", "Word": "u4"}


class Field(NamedTuple):
    """Field of a struct: its name, its type (ending in * for a pointer) and its array length (0 for a scalar)."""

    name: str
    kind: str
    length: int


@cache
def kernel_structs() -> Mapping[str, tuple[Field, ...]]:
    """Fields of every struct of `STRUCT_FILES`, by its name, in the order of the source.

    Raises
    ------
    ValueError : a line of a struct is neither a comment nor one field.
    """
    sizes = {"PHILOX_KEY_WORDS": 2 * constants.PHILOX_ROUNDS}
    structs: dict[str, list[Field]] = {}
    for name in STRUCT_FILES:
        fields: list[Field] | None = None
        for line in (kernel_sources.kernel_folder() / name).read_text(encoding="utf-8").splitlines():
            opening, field = STRUCT.match(line), FIELD.match(line)
            if opening:
                fields = structs.setdefault(opening[1], [])
            elif line == "};":
                fields = None
            elif fields is not None and field:
                fields.append(Field(field[3], field[1] + field[2], sizes[field[4]] if field[4] else 0))
            elif fields is not None and not line.strip().startswith("//"):
                raise ValueError(f"{name}: cannot read {line!r}")
    return MappingProxyType({name: tuple(fields) for name, fields in structs.items()})


def struct_dtype(name: str) -> np.dtype[Any]:
    """NumPy type of a struct, aligned as the compilers align it; a pointer is an address, uint64."""
    fields: list[Any] = []
    for field, kind, length in kernel_structs()[name]:
        base: Any = "u8" if kind.endswith("*") else SCALARS.get(kind) or struct_dtype(kind)
        fields.append((field, base, (length,)) if length else (field, base))
    return np.dtype(fields, align=True)


def filled_struct(name: str, values: Mapping[str, Any]) -> NDArray[Any]:
    """Struct with a value for each of its fields, () of `struct_dtype(name)`.

    Raises
    ------
    ValueError : a field has no value, or a value no field.
    """
    fields = [field.name for field in kernel_structs()[name]]
    if problems := [
        *(f"no value for {field}" for field in fields if field not in values),
        *(f"no field {value}" for value in values if value not in fields),
    ]:
        raise ValueError(f"struct {name}: {', '.join(problems)}")
    struct = np.zeros((), dtype=struct_dtype(name))
    for field in fields:
        struct[field] = values[field]
    return struct
