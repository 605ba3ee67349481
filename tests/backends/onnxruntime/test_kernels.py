"""Kernels of the installed ONNX Runtime, and the file that they are kept in."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from graphopt.backends.onnxruntime import kernels
from graphopt.backends.onnxruntime.kernels import InstalledKernels, installed_kernels, read_kernels
from graphopt.backends.onnxruntime.targets import CPU, CUDA
from graphopt.ir import DType

CPU_PROVIDER = "CPUExecutionProvider"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An empty cache folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    installed_kernels.cache_clear()
    yield tmp_path / "graphopt"
    installed_kernels.cache_clear()


@pytest.mark.parametrize(
    ("op", "dtype", "opset", "expected"),
    [
        ("LayerNormalization", DType.FLOAT, 17, True),
        ("LayerNormalization", DType.FLOAT, 16, False),
        ("Gelu", DType.FLOAT, 20, True),
        ("Gelu", DType.FLOAT, 19, False),
        ("Gelu", DType.FLOAT16, 20, False),
        ("Relu", DType.INT8, 13, False),
        ("Relu", DType.INT8, 14, True),
        ("MatMul", None, 13, True),
        ("Cast", DType.FLOAT16, 13, True),
        ("com.microsoft::BiasGelu", DType.FLOAT, None, True),
        ("com.microsoft::BiasGelu", DType.FLOAT16, None, False),
        ("com.microsoft::NoSuchOperator", None, None, False),
        ("org.example::Thing", None, None, False),
        ("NoSuchOperator", None, None, False),
        ("Swish", DType.FLOAT, 24, False),
    ],
)
def test_kernels_on_cpu(op, dtype, opset, expected):
    assert expected == CPU.has_kernel(op, dtype, opset=opset)


def test_newer_opsets_than_are_run_have_no_kernels():
    assert CPU.max_opset is not None
    assert not CPU.has_kernel("Add", DType.FLOAT, opset=CPU.max_opset + 1)
    assert CPU.has_kernel("com.microsoft::BiasGelu", DType.FLOAT, opset=CPU.max_opset + 1), (
        "its domain has its own opsets"
    )


def test_kernels_agree_with_what_loads():
    """A model of one operator loads exactly where there is a kernel, for operators that have no other form."""
    import onnx
    import onnxruntime as ort
    from onnx import helper

    options = ort.SessionOptions()
    options.log_severity_level = 4
    for op_type, opset in (("Erf", 13), ("Softplus", 13), ("Sin", 22), ("Ceil", 13), ("Round", 22)):
        for dtype in (DType.FLOAT, DType.DOUBLE, DType.FLOAT16, DType.BFLOAT16):
            values = [helper.make_tensor_value_info(name, int(dtype), [2]) for name in ("x", "y")]
            graph = helper.make_graph([helper.make_node(op_type, ["x"], ["y"])], "g", values[:1], values[1:])
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
            schema = onnx.defs.get_schema(op_type, opset)
            if f"tensor({dtype})" not in {
                kind for constraint in schema.type_constraints for kind in constraint.allowed_type_strs
            }:
                continue
            try:
                ort.InferenceSession(model.SerializeToString(), options, providers=[CPU_PROVIDER])
                loads = True
            except ort.capi.onnxruntime_pybind11_state.NotImplemented:
                loads = False
            if op_type != "Softplus" or not loads:  # it has a body of standard operators
                assert loads >= CPU.has_kernel(op_type, dtype, opset=opset), (op_type, dtype)
            if (
                dtype is not DType.FLOAT16 and op_type != "Softplus"
            ):  # ONNX Runtime casts float16 where it has no kernel
                assert loads == CPU.has_kernel(op_type, dtype, opset=opset), (op_type, dtype)


def test_cuda_is_what_is_installed_or_documented():
    assert CUDA.has_kernel("com.microsoft::GroupQueryAttention", DType.FLOAT16)
    assert not CUDA.has_kernel("com.microsoft::GroupQueryAttention", DType.FLOAT)
    assert CUDA.has_kernel("LayerNormalization", DType.FLOAT16, opset=17)
    assert CUDA.kernels is not None
    assert "com.microsoft::SkipLayerNormalization" in CUDA.kernels.operators()


def test_what_was_read_is_kept_for_the_next_process(cache: Path, monkeypatch: pytest.MonkeyPatch):
    table = installed_kernels(CPU_PROVIDER)
    [file] = cache.iterdir()
    assert file.name.startswith("onnxruntime-kernels-")
    installed_kernels.cache_clear()
    monkeypatch.setattr(kernels, "read_kernels", lambda: pytest.fail("read again"))
    assert table == installed_kernels(CPU_PROVIDER)
    assert frozenset() == InstalledKernels("NoSuchProvider").operators()


BROKEN = (
    "",
    "{",
    "[]",
    "{}",
    '{"CPUExecutionProvider": 3}',
    '{"CPUExecutionProvider": {"Relu": [["a", 1, null]]}}',
    '{"CPUExecutionProvider": {"Relu": [[1]]}}',
)


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_file_is_read_anew_and_replaced(cache: Path, content: str):
    table = installed_kernels(CPU_PROVIDER)
    [file] = cache.iterdir()
    file.write_text(content)
    installed_kernels.cache_clear()
    assert table == installed_kernels(CPU_PROVIDER)
    assert read_kernels() == json.loads(file.read_text())


def test_a_folder_that_takes_no_file_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "graphopt").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    installed_kernels.cache_clear()
    assert installed_kernels(CPU_PROVIDER).has("Relu", "float", 14)
    installed_kernels.cache_clear()


def test_a_build_without_its_registry_is_taken_to_have_standard_kernels(cache: Path, monkeypatch: pytest.MonkeyPatch):
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    monkeypatch.delattr(state, "get_all_opkernel_def")
    assert CPU.has_kernel("Relu", DType.FLOAT, opset=14)
    assert not CPU.has_kernel("com.microsoft::BiasGelu", DType.FLOAT)
    assert not list(cache.glob("*")), "nothing is kept"


def test_another_installation_has_another_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = kernels._cache_file()
    library = tmp_path / "libonnxruntime.so"
    library.write_bytes(b"another one")
    monkeypatch.setattr(kernels, "_libraries", lambda places: [library])
    assert first != kernels._cache_file()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert kernels._cache_file() is None


def test_asking_imports_no_runtime_when_the_answer_is_kept(cache: Path):
    installed_kernels(CPU_PROVIDER)
    code = (
        "import sys; from graphopt.backends.onnxruntime.targets import CPU; assert CPU.has_kernel('Relu', 'float', opset=14);"
        "print('onnxruntime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "False" == done.stdout.strip()
