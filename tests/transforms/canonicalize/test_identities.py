"""Identity, operators with one input, Dropout: they go, and names of outputs stay."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.canonicalize import Canonicalize
from tests.transforms.harness import assert_exact, assert_untouched, feeds_for, model, run, transform

STEP = Canonicalize()


@pytest.mark.parametrize(
    ("body", "ops", "applied"),
    [
        ("a = Identity(x) y = Exp(a)", ["Exp"], {"eliminate-identity": 1}),
        ("a = Exp(x) y = Identity(a)", ["Exp"], {"eliminate-identity": 1}),
        ("a = Identity(x) b = Identity(a) c = Exp(b) y = Identity(c)", ["Exp"], {"eliminate-identity": 3}),
        ("a = Sum(x) b = Mean(a) c = Max(b) d = Min(c) y = Exp(d)", ["Exp"], {"eliminate-single-operand": 4}),
        ("a = Concat<axis=1>(x) y = Exp(a)", ["Exp"], {"eliminate-single-operand": 1}),
        ("a = Max(x, x) b = Min(a, a) y = Exp(b)", ["Exp"], {"eliminate-equal-operands": 2}),
        ("a = Dropout(x) y = Exp(a)", ["Exp"], {"eliminate-dropout": 1}),
    ],
)
def test_nodes_that_hand_on_their_input_go(body, ops, applied):
    assert_exact(model(body), STEP, ops, applied)


@pytest.mark.parametrize("opset", [7, 8, 10, 12, 13, 21])
def test_single_operands_of_all_opsets_go(opset):
    assert_exact(model("a = Sum(x) y = Exp(a)", opset=opset), STEP, ["Exp"], {"eliminate-single-operand": 1})


def test_identity_that_names_an_input_stays():
    assert_untouched(model("y = Identity(x)"), STEP)


def test_identity_between_two_outputs_stays():
    assert_untouched(model("y = Exp(x) z = Identity(y)", outputs="float[2,3] y, float[2,3] z"), STEP)


def test_identity_of_a_constant_that_is_an_output_stays():
    assert_untouched(model("y = Identity(c)", initializers={"c": np.ones(3, np.float32)}), STEP)


def test_readers_of_an_identity_that_stays_read_its_input():
    outcome = assert_exact(
        model("y = Identity(x) z = Exp(y)", outputs="float[2,3] y, float[2,3] z"),
        STEP,
        ["Identity", "Exp"],
        {"eliminate-identity": 1},
    )
    assert list(outcome.after.graph.node[1].input) == ["x"]


def test_sum_of_an_input_that_is_an_output_becomes_identity():
    assert_exact(model("y = Sum(x)"), STEP, ["Identity"], {"eliminate-single-operand": 1})


def test_two_operands_are_no_single_operand():
    assert_untouched(model("y = Sum(x, z)", "float[2,3] x, float[2,3] z"), STEP)


def test_dropout_with_false_training_mode_goes():
    constants = {"r": np.array(0.5, np.float32), "t": np.array(False)}
    assert_exact(
        model("a = Dropout(x, r, t) y = Exp(a)", initializers=constants), STEP, ["Exp"], {"eliminate-dropout": 1}
    )


@pytest.mark.parametrize("mode", ["bool t", None])
def test_dropout_that_may_train_stays(mode):
    inputs = "float[2,3] x" + (f", {mode}" if mode else "")
    constants = {"r": np.array(0.5, np.float32)} | ({} if mode else {"t": np.array(True)})
    assert_untouched(model("y = Dropout(x, r, t)", inputs, initializers=constants), STEP)


@pytest.mark.parametrize("opset", [7, 10, 11])
def test_old_dropout_goes_and_keeps_a_used_mask(opset):
    assert_exact(model("a = Dropout<ratio=0.5>(x) y = Exp(a)", opset=opset), STEP, ["Exp"], {"eliminate-dropout": 1})
    kind = "bool" if opset >= 10 else "float"
    proto = model("a, m = Dropout(x) y = Exp(a)", outputs=f"float[2,3] y, {kind}[2,3] m", opset=opset)
    outcome = assert_exact(proto, STEP, ["Dropout", "Exp"], {"eliminate-dropout": 1})
    assert list(outcome.after.graph.node[1].input) == ["x"]


@pytest.mark.parametrize(("is_test", "kept"), [(0, ["Dropout"]), (1, ["Identity"])])
def test_dropout_before_opset_7_says_whether_it_trains(is_test, kept):
    outcome = transform(model(f"y = Dropout<is_test={is_test}>(x)", opset=6), STEP)
    assert kept == outcome.ops


def test_mask_of_known_shape_becomes_a_constant():
    proto = model("y0, m = Dropout(x) y = Exp(y0) n = Not(m)", outputs="float[2,3] y, bool[2,3] n")
    assert_exact(proto, STEP, ["Exp", "Not"], {"eliminate-dropout": 1})


@pytest.mark.parametrize("sizes", [{"N": 0}, {"N": 1}, {"N": 5}])
def test_mask_of_dynamic_shape_is_filled(sizes):
    proto = model("y0, m = Dropout(x) y = Exp(y0) n = Not(m)", "float[N,3] x", "float[N,3] y, bool[N,3] n")
    assert_exact(proto, STEP, ["Shape", "ConstantOfShape", "Exp", "Not"], {"eliminate-dropout": 1}, sizes=sizes)


@pytest.mark.parametrize("dtype", ["float16", "double", "int64", "uint8", "bool", "string"])
def test_identity_of_any_type_goes(dtype):
    proto = model("a = Identity(x) b = Identity(a) y = Concat<axis=0>(b, b)", f"{dtype}[2] x", f"{dtype}[4] y")
    outcome = transform(proto, STEP)
    assert ["Concat"] == outcome.ops
    feeds = {"x": np.array(["a", "b"], object)} if dtype == "string" else feeds_for(proto)
    assert run(proto, feeds)[0].tolist() == run(outcome.after, feeds)[0].tolist()
