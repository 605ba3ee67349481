"""Costs are those worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.analysis.cost import cost_of_graph, cost_of_node, parameter_count
from graphopt.ir import Constant, Dim, DType, Graph, Model, Node, SymbolicDim, TensorType, Value


def value(name: str, *shape: Dim, dtype: DType = DType.FLOAT) -> Value:
    return Value(name, TensorType(dtype, shape))


def node(op_type: str, inputs: list[Value | None], out: tuple[Dim, ...], **attributes: object) -> Node:
    found = Node(op_type, inputs, [value("out", *out)])
    for name, item in attributes.items():
        found.set_attribute(name, item)
    return found


F = value
CASES = [
    pytest.param(node("Relu", [F("x", 2, 3)], (2, 3)), 6, id="elementwise"),
    pytest.param(node("Add", [F("x", 4, 1), F("y", 5)], (4, 5)), 20, id="broadcast-counts-the-result"),
    pytest.param(node("Sum", [F("x", 4), F("y", 4), F("z", 4)], (4,)), 8, id="sum-of-three"),
    pytest.param(node("Mean", [F("x", 4), F("y", 4)], (4,)), 8, id="mean-divides"),
    pytest.param(node("Reshape", [F("x", 6), F("s", 2, dtype=DType.INT64)], (2, 3)), 0, id="movement-is-free"),
    pytest.param(node("ReduceSum", [F("x", 4, 5)], (4,)), 20, id="reduction-counts-what-it-reads"),
    pytest.param(node("Softmax", [F("x", 4, 5)], (4, 5)), 100, id="softmax"),
    pytest.param(node("LayerNormalization", [F("x", 4, 5), F("s", 5)], (4, 5)), 140, id="layer-norm"),
    # 1*8*4*4 outputs, each 3*3*3 products and as many sums
    pytest.param(node("Conv", [F("x", 1, 3, 6, 6), F("w", 8, 3, 3, 3)], (1, 8, 4, 4)), 128 * 27 * 2, id="conv"),
    pytest.param(
        node("Conv", [F("x", 1, 3, 6, 6), F("w", 8, 3, 3, 3), F("b", 8)], (1, 8, 4, 4)), 128 * 55, id="conv-bias"
    ),
    pytest.param(
        node("Conv", [F("x", 1, 8, 6, 6), F("w", 8, 1, 3, 3)], (1, 8, 4, 4), group=8), 128 * 18, id="conv-depthwise"
    ),
    pytest.param(
        node("ConvTranspose", [F("x", 1, 3, 4, 4), F("w", 3, 8, 2, 2)], (1, 8, 8, 8)), 48 * 32 * 2, id="conv-transpose"
    ),
    pytest.param(node("Gemm", [F("a", 2, 3), F("b", 3, 5)], (2, 5)), 60, id="gemm"),
    pytest.param(
        node("Gemm", [F("a", 3, 2), F("b", 3, 5), F("c", 5)], (2, 5), transA=1), 70, id="gemm-transposed-with-bias"
    ),
    pytest.param(node("MatMul", [F("a", 7, 2, 3), F("b", 3, 5)], (7, 2, 5)), 420, id="matmul-batched"),
    pytest.param(node("MatMul", [F("a", 3), F("b", 3)], ()), 6, id="dot-product"),
    pytest.param(
        node("Einsum", [F("a", 2, 3), F("b", 3, 5)], (2, 5), equation="ij,jk->ik"), 60, id="einsum-as-matmul"
    ),
    pytest.param(node("Einsum", [F("a", 2, 3), F("b", 2, 3)], (2, 3), equation="ij,ij->ij"), 6, id="einsum-product"),
    pytest.param(node("Einsum", [F("a", 2, 3)], (3, 2), equation="ij->ji"), 0, id="einsum-transpose"),
    # 5 steps of batch 2, each 4 gates of 6 by (3 inputs + 6 hidden), and 8*6 biases
    pytest.param(
        node(
            "LSTM", [F("x", 5, 2, 3), F("w", 1, 24, 3), F("r", 1, 24, 6), F("b", 1, 48)], (5, 1, 2, 6), hidden_size=6
        ),
        10 * (2 * 24 * 9 + 48),
        id="lstm",
    ),
    pytest.param(
        node("GRU", [F("x", 5, 2, 3), F("w", 2, 18, 3), F("r", 2, 18, 6)], (5, 2, 2, 6), hidden_size=6),
        10 * 2 * 2 * 18 * 9,
        id="gru-both-directions",
    ),
    # 2*3 heads, 4 queries by 5 keys of 8, values of 9, softmax
    pytest.param(
        node("Attention", [F("q", 2, 3, 4, 8), F("k", 2, 3, 5, 8), F("v", 2, 3, 5, 9)], (2, 3, 4, 9)),
        2 * 3 * 4 * 5 * (2 * 8 + 2 * 9 + 5),
        id="attention",
    ),
    pytest.param(
        node(
            "Attention",
            [F("q", 2, 4, 24), F("k", 2, 5, 8), F("v", 2, 5, 9)],
            (2, 4, 27),
            q_num_heads=3,
            kv_num_heads=1,
        ),
        2 * 3 * 4 * 5 * (2 * 8 + 2 * 9 + 5),
        id="attention-grouped-query",
    ),
    pytest.param(node("MaxPool", [F("x", 1, 2, 4, 4)], (1, 2, 2, 2), kernel_shape=[2, 2]), 32, id="pool"),
    pytest.param(node("GlobalAveragePool", [F("x", 1, 2, 4, 4)], (1, 2, 1, 1)), 32, id="global-pool"),
    pytest.param(
        node("Resize", [F("x", 1, 2, 4, 4)], (1, 2, 8, 8), mode="linear"), 128 * 8, id="resize-linear-over-two-axes"
    ),
    pytest.param(node("Resize", [F("x", 1, 2, 4, 4)], (1, 2, 8, 8)), 0, id="resize-nearest"),
    pytest.param(node("my.domain::Mystery", [F("x", 2)], (2,)), None, id="unknown-operator"),
    pytest.param(node("Relu", [Value("x")], (2, None)), None, id="unknown-shape"),
    pytest.param(node("com.microsoft::FusedConv", [F("x", 1, 1, 2, 2), F("w", 1, 1, 2, 2)], (1, 1, 1, 1)), 9, id="fused"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), CASES)
def test_flops(given: Node, expected: int | None) -> None:
    """A formula gives the number worked out by hand."""
    assert expected == cost_of_node(given).flops


def test_symbolic_dimensions_stay_expressions_until_bound() -> None:
    """The batch stays a symbol, and takes the size it is given."""
    batch = SymbolicDim("batch")
    product = node("MatMul", [F("a", batch, 3), F("b", 3, 5)], (batch, 5))
    assert batch * 30 == cost_of_node(product).flops
    assert 120 == cost_of_node(product, {"batch": 4}).flops


def test_bytes_are_those_of_all_tensors_packed() -> None:
    """Inputs and outputs count once each, narrow types packed, a value read twice once."""
    x = F("x", 10, dtype=DType.INT4)
    assert 5 + 40 == cost_of_node(node("Cast", [x], (10,))).bytes
    y = F("y", 10)
    assert 80 == cost_of_node(node("Mul", [y, y], (10,))).bytes
    assert cost_of_node(node("Mul", [y, Value("z")], (10,))).bytes is None


def test_graph_sums_what_is_known_and_counts_the_rest() -> None:
    """Unknown nodes are counted by operator; the sum is over the others."""
    x = F("x", SymbolicDim("n"), 4)
    graph = Graph("g", [x])
    first = graph.append(Node("Relu", [x], [F("a", SymbolicDim("n"), 4)]))
    second = graph.append(Node("Relu", [first.output], [F("b", 2, 4)]))
    graph.append(Node("x::Mystery", [second.output], [F("c", 2)]))
    cost = cost_of_graph(Model(graph, {"": 17}))
    assert "n*4+8" == str(cost.flops)
    assert {"Relu": cost.flops} == cost.flops_by_op
    assert ({"x::Mystery": 1}, 0) == (cost.unknown, cost.unsized)
    graph.append(Node("Relu", [Value("untyped")], [F("d", 2)]))
    assert 1 == cost_of_graph(graph).unsized


def branch(*ops: str) -> Graph:
    found = Graph("branch")
    last = F("start", 10)
    for op_type in ops:
        last = found.append(Node(op_type, [last], [F(op_type, 10)])).output
    found.add_output(last)
    return found


def test_if_costs_its_larger_branch_and_a_loop_its_trips() -> None:
    """Subgraphs count as often as they run, as far as that is known."""
    condition = F("cond", dtype=DType.BOOL)
    choice = Node("If", [condition], [F("y", 10)])
    choice.set_attribute("then_branch", branch("Relu", "Neg"))
    choice.set_attribute("else_branch", branch("Abs"))
    graph = Graph("g", [condition])
    graph.append(choice)
    assert 20 == cost_of_graph(graph).flops
    trips = Value("m", TensorType(DType.INT64, ()), Constant(np.array(3, np.int64)))
    loop = Node("Loop", [trips, None], [F("z", 10)])
    loop.set_attribute("body", branch("Relu"))
    graph.append(loop)
    assert 20 + 30 == cost_of_graph(graph).flops
    endless = Node("Loop", [None, condition], [F("u", 10)])
    endless.set_attribute("body", branch("Relu"))
    graph.append(endless)
    assert {"Loop": 1} == cost_of_graph(graph).unknown


def test_parameters_are_weights_not_shapes() -> None:
    """Float and narrow integer constants count, indices and shapes do not; Constant nodes count as initializers do."""
    graph = Graph("g")
    model = Model(graph, {"": 17})
    graph.add_constant(np.zeros((3, 4), np.float32))
    graph.add_constant(np.zeros(5, np.int8))
    graph.add_constant(np.zeros(7, np.int64))
    constant = Node("Constant", [], [F("c", 2)])
    constant.set_attribute("value", Constant(np.zeros(2, np.float16)))
    graph.append(constant)
    assert 12 + 5 + 2 == parameter_count(model)
