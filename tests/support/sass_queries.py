"""What a kernel's instructions say about it: precision, local memory, where Philox is computed."""

from __future__ import annotations

import re
from collections.abc import Iterable

from support.sass import Block, Instruction, Routine, constant_written, integer

PHILOX_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)

_REGISTER = re.compile(r"(U?R)(\d+)(?:\.\w+)*")
_PREDICATE = re.compile(r"!?U?P(?:\d+|T)")
_FLOAT64 = {"DADD", "DFMA", "DMMA", "DMNMX", "DMUL", "DSETP"}
_WIDE = {"WIDE", "64", "F64", "S64", "U64"}
_NO_RESULT = {
    "BAR",
    "BRA",
    "BRX",
    "BSSY",
    "BSYNC",
    "EXIT",
    "NOP",
    "RED",
    "REDG",
    "RET",
    "ST",
    "STG",
    "STL",
    "STS",
}


def double_precision(instructions: Iterable[Instruction]) -> list[Instruction]:
    """Instructions that compute with, compare or convert float64 numbers."""
    return [
        i
        for i in instructions
        if i.name in _FLOAT64 or any("F64" in m or m in ("RCP64H", "RSQ64H") for m in i.modifiers)
    ]


def local_memory(instructions: Iterable[Instruction]) -> list[Instruction]:
    """Instructions that load from or store to a thread's local memory: spills, indexed local arrays, stack frames."""
    return [i for i in instructions if i.name in ("LDL", "STL")]


def philox_multiplies(routine: Routine) -> list[Instruction]:
    """High or wide products with a multiplier of Philox4x32: two per round, fewer where the compiler saw constants.

    Source: Salmon, Moraes, Dror & Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3".
    """
    return [
        i
        for i in routine.instructions
        if i.name in ("IMAD", "UIMAD")
        and {"WIDE", "HI"} & set(i.modifiers)
        and any(constant_read(routine, i, o) in PHILOX_MULTIPLIERS for o in i.operands[1:])
    ]


def constant_read(routine: Routine, instruction: Instruction, operand: str) -> int | None:
    """32-bit constant that an operand has whichever way the instruction was reached; None if there is none.

    It is an immediate, or a register that was last given the same constant on every way here.
    """
    register = _REGISTER.fullmatch(operand)
    if register is None:
        return integer(operand)
    before = _predecessors(routine)
    home = next(b for b in routine.blocks.values() if instruction in b.instructions)
    to_visit = [(home.start, home.instructions[: home.instructions.index(instruction)])]
    found: set[int | None] = set()
    seen: set[int] = set()
    while to_visit:
        start, run = to_visit.pop()
        writer = next((i for i in reversed(run) if _may_write(i, register[1], int(register[2]))), None)
        if writer is not None:
            found.add(constant_written(writer))
            continue
        if start == routine.entry:
            found.add(None)
        fresh = [b for b in before[start] if b.start not in seen]
        seen.update(b.start for b in fresh)
        to_visit += [(b.start, b.instructions) for b in fresh]
    return found.pop() if len(found) == 1 else None


def _predecessors(routine: Routine) -> dict[int, list[Block]]:
    """Blocks that may come right before each block, by its start."""
    before: dict[int, list[Block]] = {start: [] for start in routine.blocks}
    for block in routine.blocks.values():
        for successor in block.successors:
            before[successor].append(block)
    return before


def _may_write(instruction: Instruction, kind: str, number: int) -> bool:
    """Whether an instruction may change the register "R" or "UR" of a number; in doubt it may."""
    if instruction.name == "CALL":
        return True
    results = [o for o in instruction.operands if not _PREDICATE.fullmatch(o)]
    first = _REGISTER.fullmatch(results[0]) if results else None
    if first is None or first[1] != kind or instruction.name in _NO_RESULT:
        return False
    modifiers = set(instruction.modifiers)
    width = 1
    if "128" in modifiers or instruction.name in ("HMMA", "IMMA", "DMMA"):
        width = 4
    elif modifiers & _WIDE or instruction.name in _FLOAT64 | {"CS2R"}:
        width = 2
    return int(first[2]) <= number < int(first[2]) + width
