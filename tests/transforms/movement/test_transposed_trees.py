"""Transpositions go past operators that compute element by element, where fewer of them are left."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.transforms.canonicalize import Canonicalize, CanonicalizeAlgebra
from graphopt.transforms.movement.elementwise import SAME_BITS
from tests.transforms.harness import (
    PROPERTY,
    assert_exact,
    assert_near,
    assert_same_bits,
    assert_untouched,
    feeds_for,
    model,
    run,
    transform,
)

STEP = Canonicalize()
UP = {"push-transpose-up": 1}
THERE, BACK = "Transpose<perm=[0,2,3,1]>", "Transpose<perm=[0,3,1,2]>"
C = {"c": np.arange(1, 6, dtype=np.float32)}


@pytest.mark.parametrize(
    ("body", "ops"),
    [
        (f"a = {THERE}(x) b = Relu(a) y = {BACK}(b)", ["Relu"]),
        (f"a = {THERE}(x) b = Relu(a) d = Add(b, c) e = Sqrt(d) y = {BACK}(e)", ["Relu", "Add", "Sqrt"]),
        (f"a = {THERE}(x) b = Clip(a) y = {BACK}(b)", ["Clip"]),
        (f"a = {THERE}(x) b = ReduceMax<axes=[1,2]>(a) y = {BACK}(b)", ["ReduceMax"]),
        (f"a = {THERE}(x) b = Softmax<axis=1>(a) y = {BACK}(b)", ["Softmax"]),
        (f"a = {THERE}(x) b = {THERE}(z) d = Concat<axis=3>(a, b) y = {BACK}(d)", ["Concat"]),
        (f"a = {THERE}(x) b = {THERE}(z) d = Mul(a, b) y = {BACK}(d)", ["Mul"]),
    ],
)
def test_transpositions_that_undo_each_other_around_operators_go(body, ops):
    z = ", float[2,5,3,4] z" if "(z)" in body else ""
    given = C if "c)" in body else {}
    applied = {"join-transposes": 1, "merge-transposes": 1} if z else UP
    assert_exact(model(body, f"float[2,5,3,4] x{z}", opset=13, initializers=given), STEP, ops, applied)


def test_axes_that_are_an_input_are_renamed():
    body = f"a = {THERE}(x) b = ReduceMax(a, i) y = {BACK}(b)"
    proto = model(body, "float[2,5,3,4] x", opset=18, initializers={"i": np.array([-1], np.int64)})
    assert_exact(proto, STEP, ["ReduceMax"], UP)


def test_a_residual_sum_keeps_one_transpose():
    body = f"a = {THERE}(x) b = Abs(a) d = Add(b, z) y = {BACK}(d)"
    assert_exact(model(body, "float[2,5,3,4] x, float[2,3,4,5] z"), STEP, ["Transpose", "Abs", "Add"], UP)


def test_sums_of_floats_go_by_algebra():
    body = f"a = {THERE}(x) b = ReduceMean<axes=[1]>(a) y = {BACK}(b)"
    proto = model(body, "float[2,5,3,4] x", opset=13)
    assert_untouched(proto, STEP)
    assert_near(proto, CanonicalizeAlgebra(), ["ReduceMean"], {"push-transpose-past-sums": 1})


@pytest.mark.parametrize("function", ["Sigmoid", "Tanh", "Softplus", "Sin", "Elu"])
def test_functions_that_kernels_approximate_are_no_exact_matter(function):
    """The last bit of these depends on where an element stands, so level O1 leaves them."""
    body = f"a = {THERE}(x) b = {function}(a) y = {BACK}(b)"
    proto = model(body, "float[2,5,3,4] x")
    assert_untouched(proto, STEP)
    assert_near(proto, CanonicalizeAlgebra(), [function], {"push-transpose-past-sums": 1})


@pytest.mark.parametrize("name", sorted(SAME_BITS - {"BitwiseNot", "Cast", "IsInf", "IsNaN", "Not"}))
def test_functions_that_are_exact_give_the_same_bits_anywhere(name):
    """What the table of such functions says, of ONNX Runtime's kernels: whole vectors, what is left of them, and other places."""
    proto = model(f"y = {name}(x)", "float[n] x")
    x = np.random.default_rng(0).normal(0, 2, 1003).astype(np.float32)
    x = np.abs(x) if name == "Sqrt" else x
    order = np.random.default_rng(1).permutation(x.size)
    whole = run(proto, {"x": x})[0]
    for places in (order, order[:517], order[-31:], order[:7], order[5:8]):
        assert whole[places].tobytes() == run(proto, {"x": x[places]})[0].tobytes()


@pytest.mark.parametrize(
    ("body", "inputs", "outputs"),
    [
        (f"b = Relu(x) y = {BACK}(b)", "float[2,3,4,5] x", "float[2,5,3,4] y"),  # it would only move
        (
            f"a = {THERE}(x) b = Relu(a) y = {BACK}(b) z = Exp(b)",
            "float[2,5,3,4] x",
            "float[2,5,3,4] y, float[2,3,4,5] z",
        ),
        (f"a = {THERE}(x) b = Relu(a) y = {BACK}(b)", "float[2,5,3,4] x", "float[2,5,3,4] y, float[2,3,4,5] b"),
        (
            f"a = {THERE}(x) b = Softmax<axis=3>(a) y = {BACK}(b)",
            "float[2,5,3,4] x",
            "float[2,5,3,4] y",
        ),  # fast as it is
        (
            f"a = {THERE}(x) b = ReduceMax<axes=[1], keepdims=0>(a) y = Transpose(b)",
            "float[2,5,3,4] x",
            "float[5,4,2] y",
        ),
        (
            f"a = {THERE}(x) b = Add(a, z) y = {BACK}(b)",
            "float[2,5,3,4] x, float[5] z",
            "float[2,5,3,4] y",
        ),  # z broadcasts
        (f"a = {THERE}(x) b = CumSum(a, i) y = {BACK}(b)", "float[2,5,3,4] x, int64 i", "float[2,5,3,4] y"),
        ("a = Transpose(x) b = Relu(a) y = Transpose(b)", "float[*] x", "float[*] y"),
    ],
)
def test_what_saves_nothing_or_is_not_known_stays(body, inputs, outputs):
    assert_untouched(model(body, inputs, outputs, opset=13), STEP)


def test_a_shared_transpose_pays_only_if_the_outer_one_goes():
    body = f"a = {THERE}(x) b = Relu(a) y = {BACK}(b) z = Exp(a)"
    proto = model(body, "float[2,5,3,4] x", "float[2,5,3,4] y, float[2,3,4,5] z")
    assert_exact(proto, STEP, ["Transpose", "Relu", "Exp"], UP)


@pytest.mark.parametrize("op", ["Add", "Sub", "Div", "Max"])
def test_operands_in_the_same_order_are_transposed_once(op):
    body = f"a = {THERE}(x) b = {THERE}(z) d = {op}(a, b) y = Exp(d)"
    proto = model(body, "float[2,5,3,4] x, float[2,5,3,4] z")
    assert_exact(proto, STEP, [op, "Transpose", "Exp"], {"join-transposes": 1})


def test_a_constant_goes_with_them():
    body = f"a = {THERE}(x) b = {THERE}(z) d = Where(k, a, b) y = Exp(d)"
    mask = {"k": np.arange(5) % 2 == 0}
    proto = model(body, "float[2,5,3,4] x, float[2,5,3,4] z", initializers=mask)
    assert_exact(proto, STEP, ["Where", "Transpose", "Exp"], {"join-transposes": 1})


@pytest.mark.parametrize(
    ("second", "outputs"),
    [(BACK, "float[*] y"), (THERE, "float[*] y, float[2,3,4,5] a"), ("Identity", "float[*] y")],
)
def test_operands_in_another_order_or_read_by_others_stay(second, outputs):
    shape = "2,5,3,4" if second == THERE else "2,4,5,3" if second == BACK else "2,3,4,5"
    body = f"a = {THERE}(x) b = {second}(z) d = Add(a, b) y = Exp(d)".replace("Identity", "Abs")
    assert_untouched(model(body, f"float[2,5,3,4] x, float[{shape}] z", outputs), STEP)


@PROPERTY
@given(st.permutations(range(3)), st.permutations(range(3)), st.sampled_from(["c", "v", "m"]))
def test_any_orders_give_the_same_numbers(first, second, constant):
    arrays = {"c": np.array(2, np.float32), "v": np.arange(3, dtype=np.float32), "m": np.ones((1, 3, 1), np.float32)}
    body = f"a = Transpose<perm={first}>(x) b = Add(a, {constant}) d = Relu(b) y = Transpose<perm={second}>(d)"
    proto = model(body, "float[3,3,3] x", initializers={constant: arrays[constant]})
    outcome = transform(proto, STEP)
    feeds = feeds_for(proto)
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))
    assert outcome.ops.count("Transpose") <= 1


@pytest.mark.parametrize(
    "body",
    [
        "b = Slice(a, s, e, k)",
        "b = Slice(a, s, e, k, t)",
        "b = Slice(a, s2, e2)",
        "b = Pad(a, p)",
        'b = Pad<mode = "edge">(a, p)',
        "b = Gather<axis = 1>(a, i)",
        "b = Gather<axis = -1>(a, i)",
        "c = Slice(a, s, e, k) d = Relu(c) b = Pad(d, p)",
    ],
)
@pytest.mark.parametrize("opset", [11, 13, 21])
def test_parts_and_pads(body, opset):
    given = {
        "s": [1], "e": [3], "k": [-2], "t": [2], "s2": [0, 1], "e2": [2, 9], "p": [0, 1, 2, 0, 0, 3], "i": [2, 0]
    }  # fmt: skip
    used = {name: np.array(item) for name, item in given.items() if f", {name}," in body or f", {name})" in body}
    proto = model(
        f"a = Transpose<perm=[0,2,1]>(x) {body} y = Transpose<perm=[0,2,1]>(b)",
        "float[2,5,4] x",
        opset=opset,
        initializers=used,
    )
    outcome = transform(proto, STEP)
    assert {"push-transpose-up": 1} == {key: n for key, n in outcome.applied.items() if "transpose" in key}
    assert "Transpose" not in outcome.ops
    feeds = feeds_for(proto)
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))


def test_pads_of_some_axes_and_places_that_are_no_list():
    given = {"p": np.array([1, 2]), "k": np.array([2])}
    body = "a = Transpose<perm=[0,2,1]>(x) b = Pad(a, p, , k) y = Transpose<perm=[0,2,1]>(b)"
    proto = model(body, "float[2,5,4] x", opset=18, initializers=given)
    assert_exact(proto, STEP, ["Pad"], {"push-transpose-up": 1})
    body = "a = Transpose<perm=[0,2,1]>(x) b = Gather<axis=1>(a, i) y = Transpose<perm=[0,1,3,2]>(b)"
    proto = model(body, "float[2,5,4] x", "float[?,?,?,?] y", initializers={"i": np.array([[1, 0], [0, 1]])})
    assert_untouched(proto, STEP)
