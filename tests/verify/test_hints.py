"""What a graph says about its inputs."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.ir import DType, GraphBuilder, Model, SymbolicDim, TensorType, Value
from graphopt.serde import lift_model
from graphopt.verify import InputHint, ModelHints, model_hints
from tests.onnx_suite import load_cases

F, I = DType.FLOAT, DType.INT64  # noqa: E741 - element types, side by side with the shapes


def hints_of(builder: GraphBuilder, *outputs: Value) -> ModelHints:
    for index, output in enumerate(outputs):
        builder.output(output, f"out{index}")
    return model_hints(builder.build())


def hint_of(builder: GraphBuilder, *outputs: Value) -> InputHint:
    return hints_of(builder, *outputs).inputs[0]


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def test_indices_stay_in_the_smallest_table_they_reach():
    b = GraphBuilder()
    ids = b.input("ids", I, ["batch", "seq"])
    far = b.Cast(b.Unsqueeze(b.Reshape(ids, np.array([-1])), np.array([0])), to=6)
    hint = hint_of(b, b.Gather(zeros(100, 4), ids), b.Gather(zeros(30, 4), far))
    assert ("index", 0, 29) == (hint.role, hint.low, hint.high)


def test_indices_of_other_operators():
    b = GraphBuilder()
    nd, onto, hot, free = (b.input(name, I, ["n", 1]) for name in ("nd", "onto", "hot", "free"))
    found = hints_of(
        b,
        b.GatherND(zeros(7, 3), nd),
        b.ScatterElements(zeros(9, 1), onto, zeros(1, 1)),
        b.OneHot(hot, np.array(5), np.array([0.0, 1.0], np.float32)),
        b.Gather(b.input("data", F, ["rows", 2]), free),
    )
    limits = {hint.name: (hint.role, hint.low, hint.high) for hint in found.inputs}
    assert {
        "nd": ("index", 0, 2),
        "onto": ("index", 0, 8),
        "hot": ("index", 0, 4),
        "free": ("index", 0, None),
        "data": ("any", None, None),
    } == limits


def test_arithmetic_ends_what_is_known_about_elements():
    b = GraphBuilder()
    ids = b.input("ids", I, ["n"])
    hint = hint_of(b, b.Gather(zeros(10, 4), b.Add(ids, np.array([3]))))
    assert ("any", None, None) == (hint.role, hint.low, hint.high)


def test_landmarks_are_the_numbers_that_an_input_is_compared_with():
    b = GraphBuilder()
    rate = b.input("sr", I, [])
    hint = hint_of(b, b.Equal(rate, np.array(16000)), b.Greater(rate, np.array(8000)))
    assert (16000.0, 8000.0) == hint.landmarks


def test_channels_features_and_hidden_sizes():
    b = GraphBuilder()
    image = b.input("image", F, ["n", "c", "h", "w"])
    rows = b.input("rows", F, ["n", "k"])
    sequence = b.input("sequence", F, ["t", "b", "i"])
    state = b.input("state", F, ["d", "b", "hid"])
    lstm = b.LSTM(sequence, zeros(1, 16, 5), zeros(1, 16, 4), None, None, state, outputs=3, hidden_size=4)
    found = hints_of(
        b,
        b.Conv(image, zeros(8, 3, 5, 5), dilations=[2, 1]),
        b.Gemm(b.Relu(rows), zeros(9, 11), transB=1),
        lstm[0],
    )
    axes = {hint.name: dict(hint.axes) for hint in found.inputs}
    assert {"image": {1: (3,)}, "rows": {1: (11,)}, "sequence": {2: (5,)}, "state": {0: (1,), 2: (4,)}} == axes
    assert {2: 9, 3: 5} == dict(found.inputs[0].least)


def test_axes_are_followed_through_transposes_and_broadcasts():
    b = GraphBuilder()
    x = b.input("x", F, ["n", "h", "w", "c"])
    y = b.Conv(b.Transpose(b.Mul(x, zeros(6)), perm=[0, 3, 1, 2]), zeros(8, 6, 3, 3))
    hint = hint_of(b, y)
    assert ({3: (6,)}, {1: 3, 2: 3}) == (dict(hint.axes), dict(hint.least))


def test_product_with_a_weight_fixes_the_last_axis():
    b = GraphBuilder()
    x = b.input("x", F, ["b", "s", "k"])
    assert {2: (12,)} == dict(hint_of(b, b.MatMul(x, zeros(12, 5))).axes)


def test_roles_of_arguments():
    b = GraphBuilder()
    shape, depth, var, trips = (
        b.input("shape", I, [2]),
        b.input("depth", I, []),
        b.input("var", F, [3]),
        b.input("trips", I, []),
    )
    body = b.subgraph()
    i, cond = body.input("i", I, []), body.input("cond", DType.BOOL, [])
    body.output(body.Identity(cond), "again")
    body.output(body.Identity(i), "scan")
    data = b.input("data", F, ["n", 3])
    found = hints_of(
        b,
        b.Reshape(data, shape),
        b.OneHot(np.array([1]), depth, np.array([0.0, 1.0], np.float32)),
        b.BatchNormalization(data, np.ones(3, np.float32), zeros(3), zeros(3), var),
        b.Loop(trips, None, body=body.graph),
    )
    assert {"shape": "target_shape", "depth": "count", "var": "positive", "trips": "count", "data": "any"} == {
        hint.name: hint.role for hint in found.inputs
    }


def test_defaults_come_last_and_constants_of_old_models_are_no_inputs():
    b = GraphBuilder()
    x = b.input("x", F, ["n"])
    w = b.graph.add_constant(np.ones(1, np.float32), "w")
    b.graph.add_input(w)
    b.output(b.Mul(x, w), "y")
    model = b.build()
    found = model_hints(model)
    assert [("x", False), ("w", True)] == [(hint.name, hint.default is not None) for hint in found.inputs]
    model.ir_version = 3
    assert ["x"] == [hint.name for hint in model_hints(model).inputs]


def test_narrowest_type_randomness_and_size():
    b = GraphBuilder()
    x = b.input("x", F, ["n"])
    found = hints_of(b, b.Cast(b.Cast(x, to=10), to=1), b.RandomNormalLike(x), b.Add(x, zeros(100)))
    assert (DType.FLOAT16, True, 400) == (found.narrowest, found.random, found.constant_bytes)
    b = GraphBuilder()
    found = hints_of(b, b.Dropout(b.input("x", F, ["n"])))
    assert (DType.FLOAT, False) == (found.narrowest, found.random)


def test_bodies_of_functions_and_loops_are_entered():
    from onnx.parser import parse_model

    model: Model = lift_model(
        parse_model("""
        <ir_version: 9, opset_import: ["": 17, "local": 1]>
        g (int64[n] ids) => (float[n, 4] y) <float[6, 4] t = {0,0,0,0, 0,0,0,0, 0,0,0,0, 0,0,0,0, 0,0,0,0, 0,0,0,0}> {
            table = Identity(t) y = local.Embed(ids, t)
        }
        <opset_import: ["": 17], domain: "local">
        Embed (i, t) => (o) { o = Gather(t, i) }
        """)
    )
    hint = model_hints(model).inputs[0]
    assert ("index", 0) == (hint.role, hint.low)


def test_long_chains_are_followed_for_a_bounded_number_of_steps():
    b = GraphBuilder()
    value = b.input("x", F, [SymbolicDim("n"), 4])
    for _ in range(20_000):
        value = b.Relu(value)
    assert TensorType(F, (SymbolicDim("n"), 4)) == hint_of(b, value).type


@pytest.mark.slow
def test_every_model_of_the_suite_has_hints():
    for case in load_cases():
        hints = model_hints(lift_model(case.model))
        assert isinstance(hints, ModelHints), case.name
