"""nvdisasm's listing read into instructions, routines and basic blocks, for Turing (sm_75) and later.

A kernel is its main routine and the routines inside its section that it calls: slow parts of division and square
root, functions that were not inlined. Each routine has its own control-flow graph; a call is one step of the
caller's graph that goes on behind the call. What cannot be followed for certain raises SassError.

Source: "CUDA Binary Utilities" in NVIDIA's CUDA Toolkit Documentation; nvdisasm's own graph is the witness in tests.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

_INSTRUCTION = re.compile(
    r"\s*/\*([0-9a-f]{4,})\*/\s+(?:@(!?U?P(?:\d+|T))\s+)?([A-Z][A-Z0-9_.]*)\b\s*(.*?)\s*;"
)
_FUNCTION = re.compile(r"\s*\.type\s+(\S+?)\s*,\s*@function")
_LABEL = re.compile(r"([.$\w]+):\s*")
_SECTION = re.compile(r"\s*\.section\s+(\S+?),.*")
_INTEGER = re.compile(r"-?(?:0x[0-9a-f]+|\d+)")
_ENDS_BLOCK = {"BRA", "BRX", "BRXU", "JMP", "JMX", "JMXU", "CALL", "RET", "EXIT", "KILL", "BSYNC"}
_ENDS_THREAD = {"EXIT", "KILL", "RET"}


class SassError(Exception):
    """A listing that cannot be followed for certain."""


@dataclass(frozen=True)
class Instruction:
    """One instruction: address in its section, guard such as "!P0" or "", opcode with modifiers, operands.

    Targets are the addresses that a branch goes to, or at which a BSSY lets threads meet again; a call has the entry
    of the routine that it calls instead.
    """

    address: int
    guard: str
    opcode: str
    operands: tuple[str, ...]
    targets: tuple[int, ...] = ()
    callee: int | None = None

    @property
    def name(self) -> str:
        """Opcode without modifiers."""
        return self.opcode.partition(".")[0]

    @property
    def modifiers(self) -> tuple[str, ...]:
        """Opcode's modifiers in order."""
        return tuple(self.opcode.split(".")[1:])

    @property
    def conditional(self) -> bool:
        """Whether execution may go on behind this instruction although it is a branch, exit or call.

        A branch may hang on a further operand (`@!P2 BRA !P0, …`, `BRA.U UP0, …`) or on its modifier alone
        (`BRA.DIV …` for Turing) instead of its guard.
        """
        guarded = self.guard not in ("", "PT", "UPT")
        return guarded or (self.name == "BRA" and (bool(self.modifiers) or len(self.operands) > 1))

    def __str__(self) -> str:
        guard = f"@{self.guard} " if self.guard else ""
        return f"{self.address:#06x} {guard}{self.opcode} {', '.join(self.operands)}".rstrip()


@dataclass(frozen=True)
class Block:
    """Instructions issued one after another, of which the last may call; starts of the blocks that may follow."""

    instructions: tuple[Instruction, ...]
    successors: tuple[int, ...]

    @property
    def start(self) -> int:
        """Address of the first instruction."""
        return self.instructions[0].address


@dataclass(frozen=True, eq=False)
class Routine:
    """Blocks by start, as reached from the entry; calls are not followed."""

    entry: int
    blocks: Mapping[int, Block]

    @cached_property
    def instructions(self) -> tuple[Instruction, ...]:
        """Instructions in order of address."""
        return tuple(i for start in sorted(self.blocks) for i in self.blocks[start].instructions)


@dataclass(frozen=True, eq=False)
class Kernel:
    """A kernel's routines by entry; the main routine's entry is the first."""

    name: str
    routines: Mapping[int, Routine]

    @property
    def main(self) -> Routine:
        """Routine that a launch enters."""
        return next(iter(self.routines.values()))

    @cached_property
    def instructions(self) -> tuple[Instruction, ...]:
        """Every instruction that may be reached, once, in order of address: without padding."""
        every = {i.address: i for routine in self.routines.values() for i in routine.instructions}
        return tuple(every[a] for a in sorted(every))

    def with_callees(self, instructions: Iterable[Instruction]) -> tuple[Instruction, ...]:
        """Instructions and those of every routine that they call, directly or not, in order of address."""
        found = {i.address: i for i in instructions}
        to_visit = list(found.values())
        while to_visit:
            instruction = to_visit.pop()
            if instruction.callee is not None:
                callee = self.routines[instruction.callee]
                fresh = [i for i in callee.instructions if i.address not in found]
                found.update((i.address, i) for i in fresh)
                to_visit += fresh
        return tuple(found[a] for a in sorted(found))


def parse(listing: str) -> dict[str, Kernel]:
    """Kernels by symbol in nvdisasm's listing of one cubin. Raises SassError."""
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in listing.splitlines():
        if section := _SECTION.fullmatch(line):
            lines = sections.setdefault(section[1], [])
        else:
            lines.append(line)
    return {
        name.removeprefix(".text."): _kernel(name.removeprefix(".text."), lines)
        for name, lines in sections.items()
        if name.startswith(".text.")
    }


def _kernel(name: str, lines: list[str]) -> Kernel:
    code = _read_section(name, lines)
    routines: dict[int, Routine] = {}
    to_visit = [min(code)]
    while to_visit:
        entry = to_visit.pop()
        if entry not in routines:
            routines[entry] = _routine(name, code, entry)
            to_visit += [i.callee for i in routines[entry].instructions if i.callee is not None]
    return Kernel(name, routines)


def _read_section(name: str, lines: list[str]) -> dict[int, Instruction]:
    """Instructions of a section by address, targets resolved."""
    labels: dict[str, int] = {}
    waiting: list[str] = []
    functions: set[str] = set()
    found: list[tuple[int, str, str, str]] = []
    for line in lines:
        if label := _LABEL.fullmatch(line):
            waiting.append(label[1])
        elif function := _FUNCTION.match(line):
            functions.add(function[1])
        elif match := _INSTRUCTION.match(line):
            address = int(match[1], 16)
            labels.update(dict.fromkeys(waiting, address))
            waiting.clear()
            found.append((address, match[2] or "", match[3], match[4]))
        elif line.lstrip().startswith("/*"):
            raise SassError(f"{name}: unreadable line {line.strip()!r}")
    entries = {labels[f] for f in functions if f in labels}
    return {f[0]: _instruction(name, labels, entries, *f) for f in found}


def _instruction(
    name: str, labels: Mapping[str, int], entries: set[int], address: int, guard: str, opcode: str, rest: str
) -> Instruction:
    operands, _, comment = rest.partition("(*")
    wanted = re.findall(r"`\(([^)]+)\)", operands)
    if listed := re.search(r'BRANCH_TARGETS ([^"]+)"', comment):
        wanted += listed[1].replace(" ", "").split(",")
    if opcode.startswith("RET"):  # it names the kernel that it returns into, which is no place to go on at
        wanted = []
    unknown = [w for w in wanted if w not in labels]
    if unknown:
        raise SassError(
            f"{name}: {address:#x} {opcode} goes to {unknown}, which the section has no label for"
        )
    parts = tuple(p.strip() for p in operands.split(",")) if operands.strip() else ()
    targets = tuple(dict.fromkeys(labels[w] for w in wanted))
    # ptxas for Ampere and Ada also writes a far jump as a call: without return address, to no function.
    if opcode.startswith("CALL") and len(targets) == 1 and targets[0] in entries:
        return Instruction(address, guard, opcode, parts, callee=targets[0])
    return Instruction(address, guard, opcode, parts, targets)


def _routine(name: str, code: Mapping[int, Instruction], entry: int) -> Routine:
    """Control-flow graph of what can be reached from an entry without entering calls."""
    following = dict(zip(sorted(code), [*sorted(code)[1:], None], strict=True))
    goes_to: dict[int, tuple[int, ...]] = {}
    to_visit = [entry]
    while to_visit:
        address = to_visit.pop()
        if address not in goes_to:
            goes_to[address] = _successors(name, code, code[address], following[address])
            to_visit += goes_to[address]
    leaders = {entry}
    for address, successors in goes_to.items():
        if code[address].name in _ENDS_BLOCK:
            leaders.update(successors)
    blocks = {}
    for leader in leaders:
        run = [leader]
        while code[run[-1]].name not in _ENDS_BLOCK and goes_to[run[-1]][0] not in leaders:
            run.append(goes_to[run[-1]][0])
        blocks[leader] = Block(tuple(code[a] for a in run), goes_to[run[-1]])
    return Routine(entry, blocks)


def _successors(
    name: str, code: Mapping[int, Instruction], instruction: Instruction, following: int | None
) -> tuple[int, ...]:
    """Addresses at which a thread may go on behind an instruction."""
    where, kind = f"{name}: {instruction}", instruction.name
    behind = () if following is None else (following,)
    if kind in _ENDS_THREAD:
        result = behind if instruction.conditional else ()
    elif instruction.callee is not None:
        _check_call(where, code, instruction, following)
        result = behind
    elif kind == "BSYNC":
        # Threads go on where the BSSY of the same barrier said, which is as a rule the next address.
        meets = {
            i.targets[0]
            for i in code.values()
            if i.name == "BSSY" and i.operands[0] == instruction.operands[0]
        }
        result = (
            behind if following in meets else (*sorted(meets), *(behind if instruction.conditional else ()))
        )
    elif kind in _ENDS_BLOCK:
        if kind == "CALL" and not instruction.conditional and following in _constants_in(code):
            raise SassError(f"{where} may be a call or a jump")
        if not instruction.targets:
            raise SassError(f"{where} goes to a place that the listing does not name")
        # An indirect branch is listed with all its targets, and so goes nowhere else.
        result = instruction.targets + (behind if instruction.conditional else ())
    else:
        result = behind
        if following is None:
            raise SassError(f"{where} runs off the end of the section")
    return tuple(dict.fromkeys(result))


def _check_call(
    where: str, code: Mapping[int, Instruction], call: Instruction, following: int | None
) -> None:
    """SassError unless some instruction sets the next address, for the routine to return to."""
    if "NOINC" in call.modifiers and following not in _constants_in(code):
        raise SassError(f"{where} does not return to the next instruction")


def _constants_in(code: Mapping[int, Instruction]) -> set[int | None]:
    return {constant_written(i) for i in code.values()}


def constant_written(instruction: Instruction) -> int | None:
    """32-bit constant that an instruction moves into its register; None if it does something else."""
    last = instruction.operands[-1:]
    if instruction.guard:
        return None
    if instruction.opcode in ("MOV", "UMOV", "MOV32I") or instruction.opcode.startswith("IMAD.MOV"):
        return integer(last[0])
    if instruction.name == "HFMA2" and instruction.operands[1:3] == ("-RZ", "RZ"):
        return _packed_halves(*instruction.operands[3:5])
    return None


def _packed_halves(high: str, low: str) -> int | None:
    """Two float16 immediates as one 32-bit integer; None for other operands, NaN (bits not listed) included."""
    try:
        return int.from_bytes(struct.pack("<ee", float(low), float(high)), "little")
    except (OverflowError, ValueError):
        return None


def integer(operand: str) -> int | None:
    """An immediate operand as an unsigned 32-bit integer; None if the operand is something else."""
    return int(operand, 0) & 0xFFFFFFFF if _INTEGER.fullmatch(operand) else None
