"""What an edit teaches about types goes downwards, and rules get another look at what was unknown before."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.ir import DType, SequenceType, SymbolicDim, TensorType
from graphopt.passes import PassContext
from graphopt.rewriting.learned_types import is_complete, join_types
from graphopt.serde import lift_model
from graphopt.transforms.shape_folding import FoldShapes

B, GENERATED = SymbolicDim("b"), SymbolicDim("?3")


def tensor(*shape: object) -> TensorType:
    return TensorType(DType.FLOAT, shape)  # type: ignore[arg-type]


def test_types_are_joined_axis_by_axis():
    assert tensor(2, 3) == join_types(tensor(None, 3), tensor(2, None))
    assert tensor(2, 3) == join_types(TensorType(DType.UNDEFINED, (2, None)), tensor(None, 3))
    assert tensor(2) == join_types(tensor(B), tensor(2))
    assert tensor(B) == join_types(tensor(GENERATED), tensor(B))
    assert tensor(2) == join_types(None, tensor(2)) == join_types(tensor(2), None)
    assert tensor(2) == join_types(TensorType(DType.FLOAT), tensor(2))


def test_what_contradicts_is_not_believed():
    known = tensor(2, B)
    assert join_types(known, tensor(3, 4)) == tensor(2, 4)
    assert join_types(known, tensor(2)) is known
    assert join_types(known, TensorType(DType.INT64, (2, 2))) is known
    assert join_types(known, SequenceType(known)) is known


def test_names_made_up_by_inference_leave_something_to_learn():
    assert is_complete(tensor(2, B))
    assert not is_complete(tensor(2, GENERATED))
    assert not is_complete(tensor(None))
    assert not is_complete(TensorType(DType.FLOAT))
    assert is_complete(SequenceType(None))


def test_a_chain_of_computed_reshapes_folds_in_one_run():
    """Each reshape's target is computed from the shape of the one before, which is known only once that one is folded."""
    nodes, x = [], "x"
    for i in range(6):
        nodes += [
            helper.make_node("Shape", [x], [f"s{i}"]),
            helper.make_node("Slice", [f"s{i}", "zero", "one"], [f"h{i}"]),
            helper.make_node("ReduceProd", [f"s{i}"], [f"p{i}"], keepdims=1),
            helper.make_node("Div", [f"p{i}", f"h{i}"], [f"r{i}"]),
            helper.make_node("Concat", [f"r{i}", f"h{i}"], [f"t{i}"], axis=0),
            helper.make_node("Reshape", [x, f"t{i}"], [f"y{i}"]),
            helper.make_node("Relu", [f"y{i}"], [f"z{i}"]),
        ]
        x = f"z{i}"
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 6])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array([0]), "zero"), numpy_helper.from_array(np.array([1]), "one")],
    )
    model = lift_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    types = OnnxTypes()
    types.infer_model(model)
    FoldShapes().run(model.graph, PassContext(types=types))
    assert {"Reshape", "Relu"} == {node.op for node in model.graph.nodes}
    assert [value.shape for value in model.graph.outputs] == [(4, 6)]
