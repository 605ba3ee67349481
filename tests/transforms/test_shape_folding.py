"""Computed shapes fold, dynamic sizes stay dynamic, and what could differ for some size is left alone."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.passes import PassContext, PassResult
from graphopt.serde import emit_model, lift_model
from graphopt.transforms.shape_folding import FoldShapes

HEAD = [
    helper.make_node("Shape", ["x"], ["shape"]),
    helper.make_node("Gather", ["shape", "i0"], ["b"]),
    helper.make_node("Gather", ["shape", "i1"], ["s"]),
    helper.make_node("Unsqueeze", ["b", "ax"], ["bu"]),
    helper.make_node("Unsqueeze", ["s", "ax"], ["su"]),
]
CONSTANTS = {
    "i0": np.array(0),
    "i1": np.array(1),
    "ax": np.array([0]),
    "k4": np.array([4]),
    "k2": np.array([2]),
    "k1": np.array([1]),
    "k0": np.array([0]),
    "neg": np.array([-1]),
}


def make(nodes: list[onnx.NodeProto], dims: list[str | int] | None = None, opset: int = 17) -> onnx.ModelProto:
    """A model from float ``x`` (``[b, s, 4]`` by default) to ``y``."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", "s", 4] if dims is None else dims)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in CONSTANTS.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return model


def fold(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, PassResult]:
    model = lift_model(proto)
    types = OnnxTypes()
    types.infer_model(model)
    result = FoldShapes().run(model.graph, PassContext(types=types))
    assert not FoldShapes().run(model.graph, PassContext(types=types)).changed
    return emit_model(model), result


def run(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {"x": x})[0]
    return found


def same(before: onnx.ModelProto, after: onnx.ModelProto, *shapes: tuple[int, ...]) -> None:
    """Both give the same bits, and shapes, for each size at which the original runs (a 0 among sizes may mean something else)."""
    ran = 0
    for shape in shapes:
        x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        try:
            expected = run(before, x)
        except onnxruntime.capi.onnxruntime_pybind11_state.Fail:
            continue
        ran += 1
        found = run(after, x)
        assert found.shape == expected.shape
        np.testing.assert_array_equal(found, expected)
    assert ran


def ops(proto: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


SIZES = [(2, 3, 4), (1, 1, 4), (5, 2, 4), (0, 3, 4), (2, 0, 4)]


def reshape(*parts: str) -> list[onnx.NodeProto]:
    return [
        *HEAD,
        helper.make_node("Concat", list(parts), ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]


def test_a_reshape_to_the_own_shape_vanishes():
    """Reshape(x, [b, s, 4]) of x [b, s, 4] is x, for empty tensors too."""
    before = make(reshape("bu", "su", "k4"))
    after, result = fold(before)
    assert result.stats == {"fold-reshape-target": 1}
    assert ops(after) == ["Identity"]
    same(before, after, *SIZES)


def test_sizes_of_the_input_become_zeros():
    """[b, s, 2, 2] of x [b, s, 4] is [0, 0, 2, 2]."""
    before = make(reshape("bu", "su", "k2", "k2"))
    after, _ = fold(before)
    assert ops(after) == ["Reshape"]
    assert [list(numpy_helper.to_array(t)) for t in after.graph.initializer if "folded" in t.name] == [[0, 0, 2, 2]]
    same(before, after, *SIZES)


def test_one_open_size_becomes_minus_one_only_beside_positive_numbers():
    """[b * s, 4] is [-1, 4], right for empty tensors as well."""
    nodes = [
        *HEAD,
        helper.make_node("Mul", ["bu", "su"], ["bs"]),
        helper.make_node("Concat", ["bs", "k4"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    before = make(nodes)
    after, _ = fold(before)
    assert ops(after) == ["Reshape"]
    same(before, after, *SIZES)


def test_minus_one_is_not_used_beside_a_size_that_may_be_zero():
    """[b, s * 4] would need -1 beside a copied b; -1 has no answer when b is 0, so the model stays."""
    nodes = [
        *HEAD,
        helper.make_node("Mul", ["su", "k4"], ["s4"]),
        helper.make_node("Concat", ["bu", "s4"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    before = make(nodes)
    after, _ = fold(before)
    assert "Concat" in ops(after)
    same(before, after, *SIZES)


def test_sizes_in_another_order_are_left():
    """[s, b, 4] of x [b, s, 4] can't be said with 0 and -1."""
    before = make(reshape("su", "bu", "k4"))
    after, _ = fold(before)
    assert "Concat" in ops(after)
    same(before, after, *SIZES)


def test_allowzero_forbids_zeros():
    """With allowzero=1 a 0 means an empty axis, so nothing may be copied by it."""
    nodes = reshape("bu", "su", "k2", "k2")
    nodes[-1].attribute.append(helper.make_attribute("allowzero", 1))
    before = make(nodes)
    after, _ = fold(before)
    assert "Concat" in ops(after)
    same(before, after, *SIZES)


def test_static_sizes_fold_to_constants():
    """With fixed sizes the whole chain is numbers."""
    before = make(reshape("su", "bu", "k4"), [2, 3, 4])
    after, _ = fold(before)
    assert ops(after) == ["Reshape"]
    same(before, after, (2, 3, 4))


def test_a_computed_target_that_is_a_graph_output_keeps_its_name():
    """The integer output is still given, under its name."""
    before = make(reshape("su", "bu", "k4"), [2, 3, 4])
    before.graph.output.append(helper.make_tensor_value_info("target", TensorProto.INT64, [3]))
    after, _ = fold(before)
    assert [output.name for output in after.graph.output] == ["y", "target"]
    same(before, after, (2, 3, 4))


def expand(dims: list[str | int], *parts: str) -> onnx.ModelProto:
    nodes = [
        *HEAD,
        helper.make_node("Concat", list(parts), ["target"], axis=0),
        helper.make_node("Expand", ["x", "target"], ["y"]),
    ]
    return make(nodes, dims)


def test_an_expand_to_the_own_shape_vanishes():
    """Expand(x, [b, s, 4]) of x [b, s, 4] is x."""
    before = expand(["b", "s", 4], "bu", "su", "k4")
    after, _ = fold(before)
    assert ops(after) == ["Identity"]
    same(before, after, *SIZES)


def test_an_expand_keeps_what_it_repeats():
    """Expand(x [b, 1, 4], [b, 2, 4]): the dynamic size becomes 1, the repeated one stays."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "k0"], ["bu"]),
        helper.make_node("Concat", ["bu", "k2", "k4"], ["target"], axis=0),
        helper.make_node("Expand", ["x", "target"], ["y"]),
    ]
    before = make(nodes, ["b", 1, 4])
    after, _ = fold(before)
    assert ops(after) == ["Expand"]
    same(before, after, (2, 1, 4), (1, 1, 4), (0, 1, 4))


def test_an_expand_by_a_dynamic_size_is_left():
    """Expand(x [b, 1, 4], [b, b, 4]) depends on b."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "k0"], ["bu"]),
        helper.make_node("Concat", ["bu", "bu", "k4"], ["target"], axis=0),
        helper.make_node("Expand", ["x", "target"], ["y"]),
    ]
    before = make(nodes, ["b", 1, 4])
    after, _ = fold(before)
    assert "Concat" in ops(after)
    same(before, after, (2, 1, 4), (3, 1, 4))


def slice_to(end: str, axis: str, start: str = "k0") -> onnx.ModelProto:
    return make([*HEAD, helper.make_node("Slice", ["x", start, end, axis], ["y"])])


def test_a_slice_to_the_end_of_its_axis_has_a_constant_end():
    """x[:, 1:s] becomes x[:, 1:]."""
    before = slice_to("su", "k1", "k1")
    after, result = fold(before)
    assert result.stats == {"fold-slice-bounds": 1}
    assert ops(after) == [
        "Shape",
        "Gather",
        "Unsqueeze",
        "Slice",
    ]  # those of the batch, which nobody read before either
    same(before, after, *SIZES)


def test_a_slice_to_the_size_of_another_axis_is_left():
    """x[:, :b] depends on b."""
    before = slice_to("bu", "k1")
    after, result = fold(before)
    assert not result.changed
    same(before, after, *SIZES)


def test_a_negative_step_is_left():
    """x[s:0:-1] clamps its start elsewhere."""
    before = make([*HEAD, helper.make_node("Slice", ["x", "neg", "su", "k1", "neg"], ["y"])])
    after, result = fold(before)
    assert not result.changed
    same(before, after, (2, 3, 4))


def test_chains_inside_a_branch_fold_with_captured_values():
    """A branch reshapes a captured value to its own shape."""
    branch = helper.make_graph(
        [*reshape("bu", "su", "k4")[:-1], helper.make_node("Reshape", ["x", "target"], ["t"])],
        "then",
        [],
        [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)],
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["e"])],
        "else",
        [],
        [helper.make_tensor_value_info("e", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["cond"]),
        helper.make_node("If", ["cond"], ["y"], then_branch=branch, else_branch=other),
    ]
    before = make(nodes)
    before.graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "zero"))
    after, result = fold(before)
    assert result.stats["fold-reshape-target"] == 1
    same(before, after, (2, 3, 4), (1, 1, 4))


@pytest.mark.parametrize("opset", [11, 13, 17, 21])
def test_older_and_newer_operator_sets(opset: int):
    """Axes of Unsqueeze are an attribute before opset 13."""
    nodes = copy.deepcopy(reshape("bu", "su", "k4"))
    if opset < 13:
        for item in nodes:
            if item.op_type == "Unsqueeze":
                del item.input[1]
                item.attribute.append(helper.make_attribute("axes", [0]))
    before = make(nodes, opset=opset)
    after, _ = fold(before)
    assert ops(after) == ["Identity"]
    same(before, after, *SIZES)


def test_a_stale_statement_about_an_inner_value_is_not_believed():
    """A file that still says [1, 4] of a value whose batch became dynamic must not get its batch fixed."""
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Shape", ["r"], ["shape"]),
        helper.make_node("Gather", ["shape", "k0"], ["bu"]),
        helper.make_node("Concat", ["bu", "neg"], ["target"], axis=0),
        helper.make_node("Reshape", ["r", "target"], ["y"]),
    ]
    before = make(nodes, ["b", 2, 2])
    before.graph.value_info.append(helper.make_tensor_value_info("r", TensorProto.FLOAT, [1, 2, 2]))
    after, _ = fold(before)
    same(before, after, (1, 2, 2), (3, 2, 2))
