"""The executor that passes fold with."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.errors import ExecutionError
from graphopt.ir import DType, GraphBuilder, TensorType
from graphopt.passes import Executor
from graphopt.runtime import OrtExecutor


def test_constant_region_is_computed_by_name():
    b = GraphBuilder(opset=17)
    w = b.MatMul(np.eye(3, dtype=np.float32) * 2, np.ones((3, 2), np.float32))
    b.output(w, "w")
    b.output(b.Shape(w), "s")
    executor: Executor = OrtExecutor()
    found = executor.run(b.build(), {})
    assert {"w": [[2.0, 2.0]] * 3, "s": [3, 2]} == {name: array.tolist() for name, array in found.items()}


def test_feeds_are_passed():
    b = GraphBuilder(opset=17)
    x = b.input("x", DType.FLOAT, ["n"])
    b.output(b.Neg(x), "y")
    assert [-1.0] == OrtExecutor(threads=1).run(b.build(), {"x": np.ones(1, np.float32)})["y"].tolist()


def test_reference_evaluator_stands_in_for_a_missing_kernel():
    b = GraphBuilder(opset=17)
    b.output(b.BitShift(np.array([1, 2], np.uint16), np.array([1, 1], np.uint16), direction="LEFT"), "y")
    found = OrtExecutor().run(b.build(), {})["y"]
    assert (np.dtype(np.uint16), [2, 4]) == (found.dtype, found.tolist())


def test_what_fails_in_onnx_runtime_is_not_tried_elsewhere():
    """The reference evaluator divides by zero without an error."""
    b = GraphBuilder(opset=17)
    x = b.input("x", DType.INT64, ["n"])
    b.output(b.Div(np.array([1], np.int64), x), "y")
    with pytest.raises(ExecutionError, match="zero"):
        OrtExecutor().run(b.build(), {"x": np.zeros(1, np.int64)})


def test_kernels_of_plugins_stand_in_too():
    b = GraphBuilder(opset=17, imports={"acme": 1})
    b.output(b.op("Twice", np.array([3], np.float32), domain="acme"), "y")
    model = b.build()
    with pytest.raises(ExecutionError, match="Twice"):
        OrtExecutor().run(model, {})
    assert [6.0] == OrtExecutor(kernels={"acme::Twice": lambda x: x + x}).run(model, {})["y"].tolist()


def test_values_that_are_too_large_are_refused_before_anything_runs():
    b = GraphBuilder(opset=17)
    huge = b.Expand(np.zeros(1, np.float32), np.array([1 << 40], np.int64))
    huge.type = TensorType(DType.FLOAT, (1 << 40,))
    b.output(b.ReduceSum(huge, keepdims=0), "y")
    with pytest.raises(ExecutionError, match=r"is float\[1099511627776\], more than the 1073741824 bytes"):
        OrtExecutor().run(b.build(), {})


def test_outputs_that_are_no_tensors_are_refused():
    b = GraphBuilder(opset=17)
    b.output(b.SequenceConstruct(np.zeros(1, np.float32)), "y")
    with pytest.raises(ExecutionError):
        OrtExecutor().run(b.build(), {})
