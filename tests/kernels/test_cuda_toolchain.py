"""Compiling without a GPU, and what the compiler says about memory and rounding."""

from __future__ import annotations

import pytest
from support import cuda_toolchain
from support.cuda_toolchain import CompileError, compile_cuda, inexact_operations, needs_cuda_toolchain
from support.sass_queries import double_precision, local_memory
from support.toy_kernels import compiled, each_architecture, kernels

CONTRACTIBLE = 'extern "C" __global__ void k(float* x) { x[0] = x[1] * x[2] + sqrtf(x[3]) / x[4]; }'


@needs_cuda_toolchain
@each_architecture
class TestMemory:
    def test_a_plain_kernel_stays_in_registers(self, architecture):
        resources = compiled(architecture).resources["plain"]
        assert 0 < resources.registers <= 32
        assert (resources.stack_bytes, resources.spill_store_bytes, resources.spill_load_bytes) == (0, 0, 0)
        assert not local_memory(kernels(architecture)["plain"].instructions)

    def test_static_shared_memory_is_counted_without_the_reserved_part(self, architecture):
        assert compiled(architecture).resources["plain"].shared_bytes == 64 * 4
        assert compiled(architecture).resources["in_double"].shared_bytes == 0

    def test_constant_memory_holds_at_least_the_parameters(self, architecture):
        resources = compiled(architecture).resources
        # parameters of 8 + 8 + 8 + 4 bytes against 8 + 8
        assert resources["rare_branch"].constant_bytes - resources["plain"].constant_bytes == 12

    def test_a_spill_shows_in_the_report_and_in_the_code(self, architecture):
        resources = compiled(architecture).resources["spilled"]
        assert resources.registers <= 64
        assert resources.spill_store_bytes > 0
        assert resources.spill_load_bytes > 0
        assert {i.name for i in local_memory(kernels(architecture)["spilled"].instructions)} == {"LDL", "STL"}

    def test_an_indexed_local_array_is_local_memory_but_no_spill(self, architecture):
        resources = compiled(architecture).resources["indexed_local"]
        assert resources.stack_bytes == 64
        assert resources.spill_store_bytes == resources.spill_load_bytes == 0
        assert local_memory(kernels(architecture)["indexed_local"].instructions)

    def test_float64_is_seen_where_it_is(self, architecture):
        with_float64 = {name for name, k in kernels(architecture).items() if double_precision(k.instructions)}
        assert with_float64 == {"in_double"}


@needs_cuda_toolchain
class TestContraction:
    @pytest.mark.parametrize("architecture", ["sm_75", "sm_90"])
    def test_exact_options_leave_nothing_inexact(self, architecture):
        assert not inexact_operations(compiled(architecture).ptx)
        assert not inexact_operations(compile_cuda(CONTRACTIBLE, architecture).ptx)

    @pytest.mark.parametrize("architecture", ["sm_75", "sm_90"])
    def test_contraction_shows_in_the_ptx(self, architecture):
        operations = inexact_operations(compile_cuda(CONTRACTIBLE, architecture, ("--fmad=true",)).ptx)
        assert operations["fma.rn.f32"] > 0

    def test_fast_mathematics_shows_in_the_ptx(self):
        operations = inexact_operations(compile_cuda(CONTRACTIBLE, "sm_90", ("--use_fast_math",)).ptx)
        assert any(".approx" in o for o in operations)
        assert any(".ftz" in o for o in operations)

    def test_exact_square_root_and_division_are_fused_in_sass_only(self):
        assert any(i.name == "FFMA" for i in kernels("sm_90")["divides"].instructions)

    @pytest.mark.parametrize(
        ("line", "operations"),
        [
            ("mul.rn.f32 %f1, %f2, %f3;", set()),
            ("mad.lo.s32 %r1, %r2, %r3, %r4;", set()),
            ("@%p1 add.f32 %f1, %f2, %f3;", {"add.f32"}),
            ("{.reg .f32 t; mul.f32 t, %f1, %f2; }", {"mul.f32"}),
            ("fma.rn.f32x2 %rd1, %rd2, %rd3, %rd4;", {"fma.rn.f32x2"}),
            ("sqrt.rn.ftz.f32 %f1, %f2; // sqrt.approx.f32 x", {"sqrt.rn.ftz.f32"}),
            ("div.full.f32 %f1, %f2, %f3;", {"div.full.f32"}),
        ],
    )
    def test_ptx_operations_one_by_one(self, line, operations):
        assert set(inexact_operations(line)) == operations


class TestToolchain:
    def test_a_missing_wheel_says_what_to_install(self):
        with pytest.raises(FileNotFoundError, match=r"no-such-wheel is not installed. Try pip install"):
            cuda_toolchain._wheel_file("no-such-wheel", "x")
        with pytest.raises(FileNotFoundError, match="pytest holds no file"):
            cuda_toolchain._wheel_file("pytest", "nvdisasm")

    def test_a_cubin_is_an_elf_file(self):
        with pytest.raises(ValueError, match="ELF"):
            cuda_toolchain.elf_section_sizes(b"no cubin")

    @needs_cuda_toolchain
    def test_an_error_in_the_source_shows_the_compilers_log(self):
        with pytest.raises(CompileError, match=r'toy\.cu.*sm_90(.|\n)*identifier "y" is undefined'):
            compile_cuda("__global__ void k(int* x) { *x = y; }", "sm_90", name="toy.cu")

    @needs_cuda_toolchain
    def test_included_files_are_found(self, tmp_path):
        (tmp_path / "one.cuh").write_text("#define ONE 1\n")
        source = '#include "one.cuh"\nextern "C" __global__ void k(int* x) { *x = ONE; }'
        assert set(compile_cuda(source, "sm_90", include_dirs=(tmp_path,)).resources) == {"k"}
        with pytest.raises(CompileError, match=r"one\.cuh"):
            compile_cuda(source, "sm_90")

    @needs_cuda_toolchain
    def test_a_kernel_that_the_log_leaves_out_is_an_error(self):
        with pytest.raises(ValueError, match="not reported"):
            cuda_toolchain.resources_of(compiled("sm_90").cubin, "")

    @needs_cuda_toolchain
    def test_every_architecture_is_known_to_the_compiler(self):
        for architecture in cuda_toolchain.ARCHITECTURES:
            assert compile_cuda("", architecture).cubin
