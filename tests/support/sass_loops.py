"""Natural loops of a kernel's machine code, and the shortest way round each.

A way round a loop starts at the loop's header and comes back to it, without leaving the loop and without taking
an inner loop's back edge: every instruction stands on it at most once. Its length counts the instructions a warp
issues whose threads all go that way, those included whose guard is false, and those of called routines.

Source: Aho, Lam, Sethi & Ullman (2006), "Compilers", 9.6 (dominators, natural loops); Dijkstra (1959).
"""

from __future__ import annotations

import functools
import heapq
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from support.sass import Block, Instruction, Kernel, Routine, SassError

Matches = Callable[[Instruction], bool]


@dataclass(frozen=True)
class Through:
    """A demand on a way: at least so many of the instructions that match."""

    matches: Matches
    times: int = 1


@dataclass(frozen=True)
class Way:
    """Instructions in the order in which they are issued."""

    instructions: tuple[Instruction, ...]

    def __len__(self) -> int:
        return len(self.instructions)

    def count(self, matches: Matches) -> int:
        """How many instructions on the way match."""
        return sum(map(matches, self.instructions))


@dataclass(frozen=True, eq=False)
class Loop:
    """A natural loop: header, blocks by start, sources of its back edges, depth (0: in no other of its routine)."""

    kernel: Kernel
    routine: Routine
    header: int
    blocks: frozenset[int]
    back_edges: tuple[int, ...]
    depth: int

    @cached_property
    def instructions(self) -> tuple[Instruction, ...]:
        """Instructions of the loop, and of the routines that it calls, in order of address."""
        own = (i for start in sorted(self.blocks) for i in self.routine.blocks[start].instructions)
        return self.kernel.with_callees(own)

    def shortest_way_round(
        self, through: Iterable[Through] = (), avoiding: Matches | None = None
    ) -> Way | None:
        """Shortest way round that meets every demand and avoids what matches; None if there is none.

        Raises SassError for a loop that can be entered otherwise than at a header.
        """
        _check_reducible(self)
        return _shortest(self, tuple(through), avoiding)


def loops_of(kernel: Kernel) -> list[Loop]:
    """Natural loops of all routines, outer before inner. Loops that share a header count as one."""
    return [loop for routine in kernel.routines.values() for loop in _loops_of_routine(kernel, routine)]


def innermost_loop(
    kernel: Kernel, through: Iterable[Through], avoiding: Matches | None = None
) -> tuple[Loop, Way]:
    """Smallest loop with a way round that meets the demands, and the shortest such way. Raises SassError if none."""
    demands = tuple(through)
    for loop in sorted(loops_of(kernel), key=lambda loop: len(loop.instructions)):
        if (way := loop.shortest_way_round(demands, avoiding)) is not None:
            return loop, way
    raise SassError(f"{kernel.name}: no loop has a way round that meets the demands")


@functools.cache
def dominators(routine: Routine) -> dict[int, set[int]]:
    """Blocks that every way from the entry to a block goes through, itself included, by its start."""
    order = _reverse_postorder(routine)
    before: dict[int, list[int]] = {start: [] for start in order}
    for start in order:
        for successor in routine.blocks[start].successors:
            before[successor].append(start)
    result = {start: set(order) for start in order}
    result[routine.entry] = {routine.entry}
    changed = True
    while changed:
        changed = False
        for start in order[1:]:
            new = set.intersection(*(result[b] for b in before[start])) | {start}
            changed |= new != result[start]
            result[start] = new
    return result


def _reverse_postorder(routine: Routine) -> list[int]:
    order: list[int] = []
    seen = {routine.entry}
    stack = [(routine.entry, iter(routine.blocks[routine.entry].successors))]
    while stack:
        start, successors = stack[-1]
        for successor in successors:
            if successor not in seen:
                seen.add(successor)
                stack.append((successor, iter(routine.blocks[successor].successors)))
                break
        else:
            order.append(start)
            stack.pop()
    return order[::-1]


def _loops_of_routine(kernel: Kernel, routine: Routine) -> list[Loop]:
    above = dominators(routine)
    sources: dict[int, list[int]] = {}
    before: dict[int, list[int]] = {start: [] for start in routine.blocks}
    for start, block in routine.blocks.items():
        for successor in block.successors:
            before[successor].append(start)
            if successor in above[start]:
                sources.setdefault(successor, []).append(start)
    bodies = {}
    for header, back in sources.items():
        body, to_visit = {header}, list(back)
        while to_visit:
            start = to_visit.pop()
            if start not in body:
                body.add(start)
                to_visit += before[start]
        bodies[header] = frozenset(body)
    depth = {h: sum(body < other for other in bodies.values()) for h, body in bodies.items()}
    return [
        Loop(kernel, routine, h, bodies[h], tuple(sorted(sources[h])), depth[h])
        for h in sorted(bodies, key=lambda h: (depth[h], h))
    ]


@functools.cache
def _inner_steps(loop: Loop) -> dict[int, tuple[int, ...]]:
    """Successors of each block inside the loop, back edges left out, the loop's own included."""
    above = dominators(loop.routine)
    return {
        start: tuple(
            s for s in loop.routine.blocks[start].successors if s in loop.blocks and s not in above[start]
        )
        for start in loop.blocks
    }


def _check_reducible(loop: Loop) -> None:
    """SassError if a cycle is left in the loop once all back edges are taken out."""
    steps = _inner_steps(loop)
    waiting = dict.fromkeys(loop.blocks, 0)
    for successor in itertools.chain.from_iterable(steps.values()):
        waiting[successor] += 1
    free = [start for start, count in waiting.items() if count == 0]
    ordered = 0
    while free:
        ordered += 1
        for successor in steps[free.pop()]:
            waiting[successor] -= 1
            if waiting[successor] == 0:
                free.append(successor)
    if ordered < len(loop.blocks):
        raise SassError(
            f"{loop.kernel.name}: the loop at {loop.header:#x} has a cycle with more than one entry"
        )


def _shortest(loop: Loop, through: tuple[Through, ...], avoiding: Matches | None) -> Way | None:
    """Dijkstra's search over (block, instructions of each demand met so far)."""
    steps = _inner_steps(loop)
    issued = {s: _issued(loop.kernel, loop.routine.blocks[s], avoiding, ()) for s in loop.blocks}
    enough = tuple(demand.times for demand in through)
    met = {
        s: tuple(sum(map(demand.matches, run)) for demand in through)
        for s, run in issued.items()
        if run is not None
    }
    queue: list[tuple[int, int, tuple[int, ...], tuple[int, ...]]] = [
        (0, loop.header, (0,) * len(through), ())
    ]
    seen: set[tuple[int, tuple[int, ...]]] = set()
    while queue:
        length, start, counts, trail = heapq.heappop(queue)
        if start == -1:
            return Way(tuple(i for s in trail for i in issued[s] or ()))
        if (start, counts) in seen or start not in met:
            continue
        seen.add((start, counts))
        counts = tuple(min(c + m, e) for c, m, e in zip(counts, met[start], enough, strict=True))
        length += len(issued[start] or ())
        trail = (*trail, start)
        for successor in steps[start]:
            heapq.heappush(queue, (length, successor, counts, trail))
        if start in loop.back_edges and counts == enough:
            heapq.heappush(queue, (length, -1, counts, trail))
    return None


def _issued(
    kernel: Kernel, block: Block, avoiding: Matches | None, callers: tuple[int, ...]
) -> tuple[Instruction, ...] | None:
    """Instructions issued in a block and on the shortest way of the routine it calls; None if to be avoided."""
    if avoiding is not None and any(map(avoiding, block.instructions)):
        return None
    callee = block.instructions[-1].callee
    if callee is None or block.instructions[-1].conditional:
        return block.instructions
    if callee in callers:
        raise SassError(f"{kernel.name}: the routine at {callee:#x} calls itself")
    inside = _shortest_call(kernel, kernel.routines[callee], avoiding, (*callers, callee))
    return None if inside is None else block.instructions + inside


def _shortest_call(
    kernel: Kernel, routine: Routine, avoiding: Matches | None, callers: tuple[int, ...]
) -> tuple[Instruction, ...] | None:
    """Instructions on the shortest way from a routine's entry to a return; None if every way is to be avoided."""
    queue: list[tuple[int, int, tuple[Instruction, ...]]] = [(0, routine.entry, ())]
    seen: set[int] = set()
    while queue:
        _, start, trail = heapq.heappop(queue)
        if start == -1:
            return trail
        if start in seen:
            continue
        seen.add(start)
        run = _issued(kernel, routine.blocks[start], avoiding, callers)
        if run is None:
            continue
        trail += run
        for successor in routine.blocks[start].successors:
            heapq.heappush(queue, (len(trail), successor, trail))
        if run[-1].name == "RET":
            heapq.heappush(queue, (len(trail), -1, trail))
    return None
