"""Recurrent cells that are spelled out step by step become one operator, and only cells do."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.transforms.canonicalize import Canonicalize
from graphopt.transforms.constant_folding import FoldConstants
from graphopt.transforms.dead_code import EliminateDeadCode
from graphopt.transforms.strength.recurrent import FuseRecurrentCells
from tests.transforms.harness import PROPERTY, assert_close, feeds_for, model, run, transform
from tests.transforms.strength.unrolled import Unrolled, unrolled

STEP = FuseRecurrentCells()
RULE = "pack-recurrent-cells"
SPELLINGS = ("gemm", "separate", "joined", "hoisted")


@st.composite
def specs(draw):
    op = draw(st.sampled_from(["LSTM", "GRU"]))
    spelling = draw(st.sampled_from(SPELLINGS))
    steps = draw(st.integers(2, 4))
    return Unrolled(
        op=op,
        spelling=spelling,
        steps=steps,
        axis=draw(st.sampled_from([0, 1] if spelling == "hoisted" else [0, 1, None])),
        batch=draw(st.integers(1, 3)),
        width=draw(st.integers(1, 3)),
        inputs=draw(st.integers(1, 3)),
        initial=draw(st.sampled_from(["zeros", "ones", "input"])),
        is_reverse=draw(st.booleans()),
        given=draw(st.lists(st.integers(0, steps - 2), unique=True, max_size=2)),
        state=op == "LSTM" and draw(st.booleans()),
        mix=draw(st.sampled_from(["weighted", "moved", "opposite"])),
        reset=draw(st.booleans()),
        opset=draw(st.sampled_from([7, 11, 13, 17, 21])) if spelling != "gemm" else 13,
        seed=draw(st.integers(0, 9)),
    )


def feeds_of(proto, sizes=None, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=array.shape).astype(np.float32) for name, array in feeds_for(proto, sizes).items()}


def assert_packed(spec, step=STEP, sizes=None, extra=()):
    proto = unrolled(spec)
    found = transform(proto, step)
    assert {RULE: 1} == found.applied
    assert 1 == found.ops.count(spec.op)
    assert not {"Sigmoid", "Tanh", "MatMul", "Gemm"} - set(extra) & set(found.ops)
    feeds = feeds_of(proto, sizes)
    assert_close(run(proto, feeds), run(found.after, feeds), 1e-5)
    return found


@PROPERTY
@given(specs())
def test_each_spelling(spec):
    assert_packed(spec)


@PROPERTY
@given(specs())
def test_with_a_folded_first_step(spec):
    """What is computed of a constant initial state is constant; a zero one is still seen."""
    spec.initial = "zeros"
    proto = unrolled(spec)
    folded = transform(proto, FoldConstants()).after
    found = transform(folded, STEP)
    assert {RULE: 1} == found.applied
    assert not {"Sigmoid", "Tanh", "MatMul", "Gemm"} & set(found.ops)
    feeds = feeds_of(proto)
    assert_close(run(proto, feeds), run(found.after, feeds), 1e-5)


def test_a_dynamic_batch_may_be_empty():
    """ONNX Runtime's kernels end the process for an empty batch, where the steps work."""
    spec = Unrolled(batch="n")
    assert not transform(unrolled(spec), STEP).applied
    assert_packed(Unrolled(batch="n"), FuseRecurrentCells(assume_filled=True), {"n": 3})


def test_the_sequence_itself_is_read():
    assert ["LSTM", "Squeeze", "Identity"] == assert_packed(Unrolled(axis=0)).ops
    assert ["Transpose", "GRU", "Squeeze", "Identity"] == assert_packed(Unrolled(op="GRU", axis=1)).ops
    found = assert_packed(Unrolled(axis=0, is_reverse=True))
    (made,) = [node for node in found.after.graph.node if node.op_type == "LSTM"]
    assert b"reverse" in [item.s for item in made.attribute]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("is_reverse", [False, True])
@pytest.mark.parametrize("given", [(), (1,)])
def test_states_that_are_put_side_by_side(axis, is_reverse, given):
    spec = Unrolled(op="GRU", steps=4, is_reverse=is_reverse, given=given)
    proto = unrolled(spec)
    states = [f"h{step + 1}" for step in range(4)]
    graph = proto.graph
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([axis - (3 if axis else 0)]), "new"))
    for state in states:
        graph.node.append(onnx.helper.make_node("Unsqueeze", [state, "new"], [f"u{state}"]))
    parts = [f"u{state}" for state in (states[::-1] if is_reverse else states)]
    graph.node.append(onnx.helper.make_node("Concat", parts, ["whole"], axis=axis))
    shape = [4, 2, 3] if axis == 0 else [2, 4, 3]
    graph.output.append(onnx.helper.make_tensor_value_info("whole", onnx.TensorProto.FLOAT, shape))
    found = transform(proto, STEP)
    assert "Concat" not in found.ops
    assert found.ops.count("Gather") == len(given) + 1
    feeds = feeds_of(proto)
    assert_close(run(proto, feeds), run(found.after, feeds), 1e-5)


def test_only_the_stack_is_read():
    proto = unrolled(Unrolled(op="GRU", steps=3))
    graph = proto.graph
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([0]), "new"))
    for step in (1, 2, 3):
        graph.node.append(onnx.helper.make_node("Unsqueeze", [f"h{step}", "new"], [f"u{step}"]))
    graph.node[-4].CopyFrom(onnx.helper.make_node("Identity", ["whole"], ["y"]))
    graph.node.append(onnx.helper.make_node("Concat", ["u1", "u2", "u3"], ["whole"], axis=0))
    last = [graph.node[-5], graph.node[-1]]
    assert last[0].op_type == "Identity"
    order = [*graph.node[:-5], *graph.node[-4:], last[0]]
    del graph.node[:]
    graph.node.extend(order)
    del graph.output[0].type.tensor_type.shape.dim[:]
    for size in (3, 2, 3):
        graph.output[0].type.tensor_type.shape.dim.add().dim_value = size
    found = transform(proto, STEP)
    assert ["Transpose", "GRU", "Squeeze", "Identity"] == found.ops
    feeds = feeds_of(proto)
    assert_close(run(proto, feeds), run(found.after, feeds), 1e-5)


# -- near misses ------------------------------------------------------------------------------------------------------------


def changed(change, **spec):
    """A model of steps with one thing changed in its nodes or constants."""
    made = Unrolled(**{"steps": 2, "spelling": "separate", **spec})
    proto = unrolled(made)
    change(proto)
    return proto


def nodes_by_output(proto):
    return {node.output[0]: node for node in proto.graph.node}


def other_weights(name):
    def change(proto):
        constants = {item.name: item for item in proto.graph.initializer}
        other = onnx.numpy_helper.to_array(constants[name]) + 1
        proto.graph.initializer.append(onnx.numpy_helper.from_array(other, "other"))
        for node in [node for node in proto.graph.node if name in node.input][1:]:
            node.input[list(node.input).index(name)] = "other"

    return change


def other_op(output, op):
    def change(proto):
        nodes_by_output(proto)[output].op_type = op

    return change


def given_out(name):
    def change(proto):
        proto.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 3]))

    return change


def other_input(output, place, name):
    def change(proto):
        nodes_by_output(proto)[output].input[place] = name

    return change


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
@pytest.mark.parametrize("kind", "wub")
def test_steps_with_other_weights_stay(op, kind):
    """Two steps of one cell each: neither is packed alone."""
    for gate in "ifgo" if op == "LSTM" else "rzn":
        assert not transform(changed(other_weights(kind + gate), op=op), STEP).applied


@pytest.mark.parametrize(
    ("op", "change"),
    [
        ("LSTM", other_op("f1a", "Tanh")),
        ("LSTM", other_op("g1a", "Sigmoid")),
        ("LSTM", other_op("t1", "Sigmoid")),
        ("LSTM", other_op("c2", "Sub")),
        ("LSTM", other_op("h2", "Add")),
        ("LSTM", other_input("m1", 1, "c")),
        ("LSTM", other_input("f1q", 0, "h")),
        ("LSTM", other_input("g1p", 0, "x0")),
        ("LSTM", given_out("f1a")),
        ("LSTM", given_out("c1")),
        ("LSTM", given_out("i0")),
        ("GRU", other_op("z1a", "Tanh")),
        ("GRU", other_op("r1a", "Tanh")),
        ("GRU", other_op("n1a", "Sigmoid")),
        ("GRU", other_op("e1", "Add")),
        ("GRU", other_op("n1s", "Add")),
        ("GRU", other_input("l1", 1, "h")),
        ("GRU", other_input("e1", 1, "r1a")),
        ("GRU", other_input("n1q", 0, "h")),
        ("GRU", other_input("z1p", 0, "x0")),
        ("GRU", given_out("z1a")),
        ("GRU", given_out("n0s")),
    ],
)
def test_near_misses_stay(op, change):
    assert not transform(changed(change, op=op, initial="input"), STEP).applied


@pytest.mark.parametrize("mix", ["moved", "opposite"])
def test_a_difference_the_other_way_round_stays(mix):
    def change(proto):
        node = nodes_by_output(proto)["e1"]
        node.input[:] = reversed(node.input)

    assert not transform(changed(change, op="GRU", mix=mix), STEP).applied


def test_mixed_complements_stay():
    """2 - z is no complement."""

    def change(proto):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(2, np.float32), "two"))
        nodes_by_output(proto)["e1"].input[0] = "two"

    assert not transform(changed(change, op="GRU"), STEP).applied


def test_a_step_that_reads_the_result_of_the_one_before_as_its_input():
    """Inputs that depend on a hidden state can't be joined before the first step runs."""
    spec = Unrolled(steps=2, axis=None, spelling="separate", inputs=3, initial="input")
    proto = unrolled(spec)
    head = onnx.helper.make_node("Relu", ["h1"], ["fed"])
    at = next(place for place, node in enumerate(proto.graph.node) if node.output[0] == "h1")
    proto.graph.node.insert(at + 1, head)
    for node in proto.graph.node:
        node.input[:] = ["fed" if name == "x1" else name for name in node.input]
    del proto.graph.input[-1]
    assert not transform(proto, STEP).applied


def test_a_state_that_is_read_between_the_steps():
    """What reads it moves behind the operator; what it gives stays in order."""
    proto = unrolled(Unrolled(steps=3, given=(0, 1)))
    nodes = list(proto.graph.node)
    for name, state in (("y0", "h1"), ("y1", "h2")):
        reader = next(node for node in nodes if node.output[0] == name)
        nodes.remove(reader)
        at = next(place for place, node in enumerate(nodes) if node.output[0] == state)
        nodes.insert(at + 1, reader)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    found = transform(proto, STEP)
    assert {RULE: 1} == found.applied
    feeds = feeds_of(proto)
    assert_close(run(proto, feeds), run(found.after, feeds), 1e-5)


@pytest.mark.parametrize("dtype", ["float16", "double"])
def test_other_element_types_stay(dtype):
    proto = unrolled(Unrolled(spelling="separate"))
    kind = {"float16": onnx.TensorProto.FLOAT16, "double": onnx.TensorProto.DOUBLE}[dtype]
    for info in (*proto.graph.input, *proto.graph.output):
        info.type.tensor_type.elem_type = kind
    for item in proto.graph.initializer:
        array = onnx.numpy_helper.to_array(item)
        if array.dtype == np.float32:
            item.CopyFrom(onnx.numpy_helper.from_array(array.astype(dtype), item.name))
    assert not transform(proto, STEP).applied


def test_old_opsets_and_unlike_batches_stay():
    assert not transform(
        unrolled(Unrolled(batch=1, initial="input", axis=None)), FuseRecurrentCells(min_steps=4)
    ).applied
    proto = unrolled(Unrolled(batch=1, axis=None, spelling="separate", initial="input"))
    for info in proto.graph.input[:2]:  # the states have two rows, the inputs one
        info.type.tensor_type.shape.dim[0].dim_value = 2
    del proto.graph.output[0].type.tensor_type.shape.dim[:]
    for size in (2, 3):
        proto.graph.output[0].type.tensor_type.shape.dim.add().dim_value = size
    assert not transform(proto, STEP).applied


def test_one_step_is_packed_when_asked_for():
    assert not transform(unrolled(Unrolled(steps=1)), STEP).applied
    assert_packed(Unrolled(steps=1, initial="input"), FuseRecurrentCells(min_steps=1))
    assert_packed(Unrolled(op="GRU", steps=1, initial="input"), FuseRecurrentCells(min_steps=1))


def test_a_weight_that_a_caller_may_change_stays():
    proto = changed(lambda proto: None, op="LSTM")
    proto.graph.input.append(onnx.helper.make_tensor_value_info("uf", onnx.TensorProto.FLOAT, [3, 3]))
    assert not transform(proto, STEP).applied


def test_arithmetic_that_only_looks_alike_stays():
    body = "a = Sigmoid(x) t = Tanh(x) y = Mul(a, t)"
    assert not transform(model(body, "float[2,3] x", "float[2,3] y"), STEP).applied


@pytest.mark.parametrize("interleaved", [False, True])
def test_two_layers(interleaved):
    """The second layer reads the sequence that the first one gives."""
    first = onnx.compose.add_prefix(unrolled(Unrolled(steps=3, given=(0, 1), width=3)), "a_")
    second = onnx.compose.add_prefix(unrolled(Unrolled(op="GRU", steps=3, axis=None, inputs=3)), "b_")
    pairs = [("a_y0", "b_x0"), ("a_y1", "b_x1"), ("a_y", "b_x2")]
    proto = onnx.compose.merge_models(first, second, io_map=pairs)
    if interleaved:  # each node as early as it may run
        nodes, known, order = list(proto.graph.node), {"a_x", "", *(item.name for item in proto.graph.initializer)}, []
        while nodes:
            node = next(node for node in reversed(nodes) if set(node.input) <= known)
            nodes.remove(node)
            known.update(node.output)
            order.append(node)
        del proto.graph.node[:]
        proto.graph.node.extend(order)
    found = transform(transform(proto, Canonicalize()).after, STEP)
    assert {RULE: 2} == found.applied
    assert ["GRU", "LSTM", "Squeeze", "Squeeze", "Transpose"] == sorted(transform(found.after, EliminateDeadCode()).ops)
    feeds = feeds_of(proto)
    assert_close(run(proto, feeds), run(found.after, feeds), 1e-5)
