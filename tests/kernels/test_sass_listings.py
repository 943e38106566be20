"""Control flow and constants in listings written by hand, of which nothing need be compiled."""

from __future__ import annotations

import pytest
from support.sass import Instruction, Kernel, SassError, constant_written, parse
from support.sass_loops import Through, loops_of
from support.sass_queries import constant_read, philox_multiplies


def listing(*lines: str) -> str:
    """nvdisasm's way to print a section: labels end in a colon, everything else is an instruction."""
    text, address = ['\t.section\t.text.k,"ax",@progbits', ".text.k:"], 0
    for line in lines:
        if line.endswith(":") or line.startswith(".type"):
            text.append(line)
        else:
            text.append(f"        /*{address:04x}*/    {line} ;")
            address += 16
    return "\n".join(text)


def kernel_of(*lines: str) -> Kernel:
    return parse(listing(*lines))["k"]


def edges_of(kernel: Kernel) -> dict[int, tuple[int, ...]]:
    return {b.instructions[-1].address: b.successors for b in kernel.main.blocks.values()}


class TestListings:
    def test_an_instruction_is_taken_apart(self):
        load = kernel_of("@!P0 LDG.E.64.CONSTANT R22, desc[UR6][R22.64+0x8]", "EXIT").instructions[0]
        assert load == Instruction(0, "!P0", "LDG.E.64.CONSTANT", ("R22", "desc[UR6][R22.64+0x8]"))
        assert (load.name, load.modifiers) == ("LDG", ("E", "64", "CONSTANT"))

    @pytest.mark.parametrize(
        ("exit_line", "goes_on"), [("EXIT", ()), ("@P0 EXIT", (16,)), ("@PT EXIT", ()), ("@!UP1 EXIT", (16,))]
    )
    def test_exit_ends_a_thread_unless_guarded(self, exit_line, goes_on):
        assert edges_of(kernel_of(exit_line, "NOP", "EXIT"))[0] == goes_on

    @pytest.mark.parametrize(
        ("branch", "goes_on"),
        [
            ("BRA `(.L_x_0)", (32,)),
            ("@P0 BRA `(.L_x_0)", (32, 16)),
            ("BRA !P0, `(.L_x_0)", (32, 16)),
            ("BRA.U UP0, `(.L_x_0)", (32, 16)),
            ("BRA.DIV ~URZ, `(.L_x_0)", (32, 16)),
            ("BRA.CONV `(.L_x_0)", (32, 16)),
            ('BRX R2 -0x10 (*"BRANCH_TARGETS .L_x_1,.L_x_0"*)', (48, 32)),
            ("CALL.REL.NOINC `(.L_x_0)", (32,)),
            ("@P5 CALL.REL.NOINC `(.L_x_0)", (32, 16)),
        ],
    )
    def test_branches(self, branch, goes_on):
        kernel = kernel_of(branch, "EXIT", ".L_x_0:", "NOP", ".L_x_1:", "EXIT")
        assert edges_of(kernel)[0] == goes_on
        assert len(kernel.routines) == 1

    def test_threads_meet_again_where_bssy_said(self):
        here = kernel_of("BSSY B0, `(.L_x_0)", "BSYNC B0", ".L_x_0:", "EXIT")
        elsewhere = kernel_of("BSSY B0, `(.L_x_0)", "BSYNC B0", "NOP", ".L_x_0:", "EXIT")
        assert edges_of(here)[16] == (32,)
        assert edges_of(elsewhere)[16] == (48,)

    def test_a_call_returns_behind_itself_and_padding_is_left_out(self):
        kernel = kernel_of(
            "MOV R2, 0x20", "CALL.REL.NOINC `($f)", "EXIT", ".type $f,@function", "$f:", "FADD R3, R3, R3",
            "@P0 RET.REL.NODEC R2 `(k)", "FMUL R3, R3, R3", "RET.REL.NODEC R2 `(k)", ".L_x_9:", "BRA `(.L_x_9)",
        )  # fmt: skip
        assert list(kernel.routines) == [0, 0x30]
        assert edges_of(kernel)[0x10] == (0x20,)
        assert [i.name for i in kernel.instructions] == ["MOV", "CALL", "EXIT", "FADD", "RET", "FMUL", "RET"]
        assert loops_of(kernel) == []

    @pytest.mark.parametrize(
        ("lines", "reason"),
        [
            (["BRA `(.L_x_7)", "EXIT"], "no label"),
            (["BRX R2 -0x10", "EXIT"], "does not name"),
            (["CALL.ABS.NOINC R2", "EXIT"], "does not name"),
            (["MOV R2, 0x20", "CALL.REL.NOINC `(.L_x_0)", "EXIT", ".L_x_0:", "EXIT"], "call or a jump"),
            (
                ["CALL.REL.NOINC `($f)", "EXIT", ".type $f,@function", "$f:", "RET.REL.NODEC R2 `(k)"],
                "not return",
            ),
            (["NOP"], "runs off the end"),
            (["{ fadd }"], "unreadable"),
        ],
    )
    def test_what_cannot_be_followed_is_an_error(self, lines, reason):
        with pytest.raises(SassError, match=reason):
            kernel_of(*lines)

    def test_inner_loops_are_gone_through_once(self):
        kernel = kernel_of(
            "NOP",
            ".L_x_0:",
            "NOP",
            ".L_x_1:",
            "FADD R1, R1, R1",
            "@P0 BRA `(.L_x_1)",
            "@P1 BRA `(.L_x_0)",
            "EXIT",
        )
        outer, inner = loops_of(kernel)
        assert (outer.header, outer.depth, inner.header, inner.depth) == (16, 0, 32, 1)
        assert len(outer.shortest_way_round()) == 4
        assert len(inner.shortest_way_round()) == 2
        assert outer.shortest_way_round([Through(lambda i: i.name == "FADD", 2)]) is None

    def test_the_shortest_way_is_a_cycle_and_no_exit(self):
        kernel = kernel_of(
            ".L_x_0:",
            "@P0 EXIT",
            "@P1 BRA `(.L_x_1)",
            "NOP",
            "NOP",
            "NOP",
            ".L_x_1:",
            "@P2 BRA `(.L_x_0)",
            "EXIT",
        )
        assert [i.address for i in loops_of(kernel)[0].shortest_way_round().instructions] == [0, 16, 80]

    def test_a_loop_with_two_entries_is_an_error(self):
        kernel = kernel_of(
            ".L_x_9:", "@P0 BRA `(.L_x_1)", ".L_x_0:", "NOP", ".L_x_1:", "NOP", "@P1 BRA `(.L_x_0)",
            "@P2 BRA `(.L_x_9)", "EXIT",
        )  # fmt: skip
        (loop,) = loops_of(kernel)
        with pytest.raises(SassError, match="more than one entry"):
            loop.shortest_way_round()


class TestConstants:
    @pytest.mark.parametrize(
        ("line", "value"),
        [
            ("MOV R1, 0x20", 0x20),
            ("UMOV UR4, 0xd2511f53", 0xD2511F53),
            ("IMAD.MOV.U32 R1, RZ, RZ, -0x2daee0ad", 0xD2511F53),
            ("HFMA2.MMA R3, -RZ, RZ, 0, 1.78813934326171875e-07", 3),
            ("HFMA2 R7, -RZ, RZ, 1.875, 0", 0x3F800000),
            ("MOV R1, R2", None),
            ("@P0 MOV R1, 0x20", None),
            ("HFMA2 R7, R1, R2, 1.875, 0", None),
            ("IADD3 R1, R2, 0x20, RZ", None),
        ],
    )
    def test_constant_moves(self, line, value):
        assert constant_written(kernel_of(line, "EXIT").instructions[0]) == value

    @pytest.mark.parametrize(
        ("lines", "found"),
        [
            (["NOP", "IMAD.WIDE.U32 R2, R4, -0x2daee0ad, RZ"], True),
            (["NOP", "IMAD.HI.U32 R2, R4, 0xcd9e8d57, RZ"], True),
            (["NOP", "IMAD R2, R4, 0xcd9e8d57, RZ"], False),
            (["NOP", "IMAD.WIDE.U32 R2, R4, 0x10, RZ"], False),
            (["MOV R9, 0xd2511f53", "IMAD.WIDE.U32 R2, R4, R9, RZ"], True),
            (["UMOV UR9, 0xd2511f53", "IMAD.WIDE.U32 R2, R4, UR9, RZ"], True),
            (["MOV R9, 0xd2511f53", "IADD3 R9, R9, 0x1, RZ", "IMAD.WIDE.U32 R2, R4, R9, RZ"], False),
            (["MOV R9, 0xd2511f53", "LDG.E.64 R8, [R2.64]", "IMAD.WIDE.U32 R2, R4, R9, RZ"], False),
            (["MOV R9, 0xd2511f53", "STG.E [R2.64], R9", "IMAD.WIDE.U32 R2, R4, R9, RZ"], True),
        ],
    )
    def test_philox_is_known_by_its_multipliers(self, lines, found):
        assert bool(philox_multiplies(kernel_of(*lines, "EXIT").main)) is found

    @pytest.mark.parametrize(("other", "value"), [("0xd2511f53", 0xD2511F53), ("0x7", None)])
    def test_a_register_is_constant_if_every_way_says_so(self, other, value):
        kernel = kernel_of(
            "MOV R9, 0xd2511f53", "@P0 BRA `(.L_x_0)", f"MOV R9, {other}", ".L_x_0:",
            "IMAD.WIDE.U32 R2, R4, R9, RZ", "EXIT",
        )  # fmt: skip
        assert constant_read(kernel.main, kernel.instructions[3], "R9") == value
