"""The builder of graphs by hand."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.ir import AttributeKind, Constant, DType, GraphBuilder, SymbolicDim, TensorType, verify


def test_small_model():
    b = GraphBuilder(opset=18, name="g")
    x = b.input("x", DType.FLOAT, ["n", 3])
    y = b.output(b.Relu(x, name="act"), "y", DType.FLOAT, ["n", 3])
    model = b.build()
    verify(model)
    assert x.type == y.type == TensorType(DType.FLOAT, (SymbolicDim("n"), 3))
    assert model.opset_imports == {"": 18}
    assert [node.name for node in model.graph.nodes] == ["act"]
    assert [value.name for value in model.graph.outputs] == ["y"]


@pytest.mark.parametrize(
    ("data", "dtype", "shape"),
    [
        (1.5, DType.FLOAT, ()),
        (2, DType.INT64, ()),
        (True, DType.BOOL, ()),
        ([1, 2], DType.INT64, (2,)),
        ([1.0, 2.0], DType.FLOAT, (2,)),
        ([], DType.INT64, (0,)),
        ("text", DType.STRING, ()),
        (np.float64(1), DType.DOUBLE, ()),
        (np.zeros((2, 0), np.int8), DType.INT8, (2, 0)),
        (Constant(np.zeros(3, np.uint16)), DType.UINT16, (3,)),
    ],
)
def test_numbers_become_constants(data, dtype, shape):
    b = GraphBuilder()
    node = b.node("d::Op", data)
    assert node.inputs[0] is not None
    assert node.inputs[0].const is not None
    assert node.inputs[0].type == TensorType(dtype, shape)
    verify(b.build())


def test_several_outputs_and_absent_inputs():
    b = GraphBuilder()
    x = b.input("x", DType.FLOAT, [4])
    first, second = b.Split(x, None, outputs=2, axis=0)
    assert first.producer is second.producer
    assert [value.index for value in (first, second)] == [0, 1]
    assert first.producer is not None
    assert list(first.producer.inputs) == [x, None]
    verify(b.build())


def test_attributes_take_the_kind_of_the_schema():
    b = GraphBuilder()
    node = b.node("LeakyRelu", b.input("x"), alpha=1)
    assert node.attributes["alpha"].kind is AttributeKind.FLOAT
    with pytest.raises(ValueError, match="LeakyRelu has no attribute 'beta'"):
        b.LeakyRelu(b.graph.inputs[0], beta=1)


def test_subgraphs_capture_and_share_the_names():
    b = GraphBuilder()
    x, c = b.input("x"), b.input("c")
    then, other = b.subgraph("t"), b.subgraph("e")
    then.output(then.Relu(x))
    other.output(other.Relu(x))
    b.output(b.If(c, then_branch=then, else_branch=other))
    model = b.build()
    verify(model)
    assert [graph.outputs[0].name for graph in model.graph.walk_graphs()] == ["if", "relu", "relu_1"]
    assert then.graph.parent is not None


def test_functions_are_imported_and_called():
    b = GraphBuilder()
    f = b.function("my", "F", ["a"], opset=15)
    f.output(f.Relu(f.graph.inputs[0]))
    b.output(b.op("my::F", b.input("a")))
    model = b.build()
    verify(model)
    assert model.opset_imports == {"": 17, "my": 1}
    assert model.functions["my", "F", ""].opset_imports == {"": 15}


def test_value_with_a_promised_name_goes_out_through_an_identity():
    b = GraphBuilder()
    x = b.input("x")
    b.output(x, "y")
    z = b.output(b.Neg(x), "z")
    b.output(z, "again")
    b.output(z)
    model = b.build()
    verify(model)
    assert [value.name for value in model.graph.outputs] == ["y", "z", "again", "z"]
    assert [node.op for node in model.graph.nodes] == ["Identity", "Neg", "Identity"]


def test_taken_input_name_is_refused():
    b = GraphBuilder()
    b.input("x")
    with pytest.raises(ValueError, match="'x' is taken"):
        b.input("x")


def test_small_letters_are_no_operator():
    with pytest.raises(AttributeError, match="start with a capital letter"):
        _ = GraphBuilder().relu


def test_hook_gives_types():
    def infer(node):
        node.output.type = node.inputs[0].type

    b = GraphBuilder(infer=infer)
    x = b.input("x", DType.FLOAT, ["n"])
    inner = b.subgraph()
    assert b.Relu(x).type == inner.Relu(x).type == x.type
