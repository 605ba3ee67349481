"""Padding moves into Conv and pooling where the pads mean the same there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.transforms.fusion import FusePad
from tests.transforms.harness import PROPERTY, assert_close, assert_near, assert_untouched, model, run, transform

STEP = FusePad()
CONV, AVERAGE, MAX = {"fold-pad-into-conv": 1}, {"fold-pad-into-average-pool": 1}, {"fold-pad-into-max-pool": 1}
X = "float[1,2,6,7] x"


def ints(**arrays):
    return {name: np.array(numbers, np.int64) for name, numbers in arrays.items()}


WEIGHTS = {
    "w": np.random.default_rng(0).normal(size=(3, 2, 3, 2)).astype(np.float32),
    "b": np.arange(3, dtype=np.float32),
}
SPATIAL = [0, 0, 1, 2, 0, 0, 3, 0]
NUMBERS = {
    name: np.array(number, np.float32)
    for name, number in {"zero": 0, "five": 5, "inf": -np.inf, "low": np.finfo(np.float32).min}.items()
}


@pytest.mark.parametrize("opset", [7, 10])
def test_pads_as_attributes(opset):
    proto = model(f"t = Pad<pads={SPATIAL}>(x) y = Conv(t, w)", X, opset=opset, initializers=WEIGHTS)
    assert_near(proto, STEP, ["Conv"], CONV)
    assert_untouched(
        model(f"t = Pad<pads={SPATIAL}, value=1.0>(x) y = Conv(t, w)", X, opset=opset, initializers=WEIGHTS), STEP
    )


@pytest.mark.parametrize("opset", [11, 13, 18, 21])
@pytest.mark.parametrize("pad", ["Pad(x, p)", "Pad(x, p, zero)"])
@pytest.mark.parametrize(
    "conv", ["Conv(t, w)", "Conv<pads=[1,0,2,1]>(t, w, b)", 'Conv<auto_pad="VALID", strides=[2,1]>(t, w)']
)
def test_pads_as_inputs(opset, pad, conv):
    proto = model(f"t = {pad} y = {conv}", X, opset=opset, initializers=WEIGHTS | NUMBERS | ints(p=SPATIAL))
    assert_near(proto, STEP, ["Conv"], CONV)


def test_pads_of_some_axes():
    proto = model("t = Pad(x, p, , a) y = Conv(t, w)", X, initializers=WEIGHTS | ints(p=[1, 2, 3, 0], a=[-1, 2]))
    outcome = assert_near(proto, STEP, ["Conv"], CONV)
    (pads,) = [attribute.ints for attribute in outcome.after.graph.node[0].attribute if attribute.name == "pads"]
    assert [2, 1, 0, 3] == list(pads)


@pytest.mark.parametrize(
    ("pad", "pads"),
    [
        ("Pad(x, p, five)", SPATIAL),
        ('Pad<mode="reflect">(x, p)', SPATIAL),
        ('Pad<mode="edge">(x, p)', SPATIAL),
        ("Pad(x, p)", [0, 0, -1, 1, 0, 0, 1, 1]),
        ("Pad(x, p)", [0, 1, 1, 1, 0, 0, 0, 0]),
        ("Pad(x, p)", [1, 0, 1, 1, 0, 0, 0, 0]),
        ("Pad(x, p, number)", SPATIAL),
        ("Pad(x, q)", SPATIAL),
        ("Pad(x, p, , z)", SPATIAL),
    ],
)
def test_other_pads_stay(pad, pads):
    weights = np.ones((3, 3 if pads[1] else 2, 3, 2), np.float32)
    proto = model(
        f"t = {pad} y = Conv(t, w)",
        f"{X}, float number, int64[8] q, int64[4] z",
        initializers=NUMBERS | ints(p=pads) | {"w": weights},
    )
    assert_untouched(proto, STEP)


def test_other_convolutions_stay():
    constants = WEIGHTS | ints(p=SPATIAL)
    assert_untouched(model('t = Pad(x, p) y = Conv<auto_pad="SAME_UPPER">(t, w)', X, initializers=constants), STEP)
    transposed = constants | {"w": np.ones((2, 3, 3, 2), np.float32)}
    assert_untouched(model("t = Pad(x, p) y = ConvTranspose(t, w)", X, initializers=transposed), STEP)


def test_second_user_and_graph_output_stay():
    constants = WEIGHTS | ints(p=SPATIAL)
    outputs = "float[1,3,8,8] y, float[1,2,10,9] t"
    assert_untouched(model("t = Pad(x, p) y = Conv(t, w)", X, outputs, initializers=constants), STEP)
    assert_untouched(
        model("t = Pad(x, p) y = Conv(t, w) z = Exp(t)", X, outputs.replace(" t", " z"), initializers=constants), STEP
    )


def test_weights_need_not_be_constant():
    proto = model("t = Pad(x, p) y = Conv(t, w)", f"{X}, float[3,2,3,2] w", initializers=ints(p=SPATIAL))
    assert_near(proto, STEP, ["Conv"], CONV)


POOL = [0, 0, 1, 1, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("pool", "pads", "ops"),
    [
        ("AveragePool<kernel_shape=[3,2]>", POOL, ["AveragePool"]),
        ("AveragePool<kernel_shape=[3,2], strides=[2,2]>", POOL, ["AveragePool"]),
        ("AveragePool<kernel_shape=[3,2], pads=[1,0,0,0], count_include_pad=1>", POOL, ["AveragePool"]),
        ("AveragePool<kernel_shape=[3,2], pads=[1,0,0,0]>", POOL, ["Pad", "AveragePool"]),
        ("AveragePool<kernel_shape=[3,2], ceil_mode=1>", POOL, ["Pad", "AveragePool"]),
        ("AveragePool<kernel_shape=[3,2], dilations=[2,1]>", POOL, ["Pad", "AveragePool"]),
        ("AveragePool<kernel_shape=[3,2]>", SPATIAL, ["Pad", "AveragePool"]),
        ('AveragePool<kernel_shape=[3,2], auto_pad="SAME_LOWER">', POOL, ["Pad", "AveragePool"]),
    ],
)
def test_average_pools(pool, pads, ops):
    proto = model(f"t = Pad(x, p) y = {pool}(t)", X, initializers=ints(p=pads))
    assert_near(proto, STEP, ops, AVERAGE if len(ops) == 1 else {})


@pytest.mark.parametrize(
    ("number", "before", "pool", "ops"),
    [
        ("inf", "Neg", "MaxPool<kernel_shape=[3,2]>", ["Neg", "MaxPool"]),
        ("low", "Neg", "MaxPool<kernel_shape=[3,2], strides=[2,2], pads=[1,0,0,0]>", ["Neg", "MaxPool"]),
        ("zero", "Relu", "MaxPool<kernel_shape=[3,2]>", ["Relu", "MaxPool"]),
        ("zero", "Sigmoid", "MaxPool<kernel_shape=[3,2]>", ["Sigmoid", "MaxPool"]),
        ("zero", "Neg", "MaxPool<kernel_shape=[3,2]>", ["Neg", "Pad", "MaxPool"]),
        ("five", "Relu", "MaxPool<kernel_shape=[3,2]>", ["Relu", "Pad", "MaxPool"]),
        ("inf", "Neg", "MaxPool<kernel_shape=[3,2], ceil_mode=1>", ["Neg", "Pad", "MaxPool"]),
        ("inf", "Neg", "MaxPool<kernel_shape=[3,2], dilations=[2,1]>", ["Neg", "Pad", "MaxPool"]),
        ("inf", "Neg", "MaxPool<kernel_shape=[3,1]>", ["Neg", "Pad", "MaxPool"]),  # a window of pads only
    ],
)
def test_max_pools(number, before, pool, ops):
    proto = model(f"s = {before}(x) t = Pad(s, p, {number}) y = {pool}(t)", X, initializers=NUMBERS | ints(p=POOL))
    outcome = transform(proto, STEP)
    assert (ops, MAX if "Pad" not in ops else {}) == (outcome.ops, outcome.applied)
    feeds = {"x": np.random.default_rng(0).normal(size=(1, 2, 6, 7)).astype(np.float32)}
    for expected, actual in zip(run(proto, feeds), run(outcome.after, feeds), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_used_indices_count_pads():
    body = "s = Relu(x) t = Pad(s, p) y, i = MaxPool<kernel_shape=[3,2]>(t)"
    assert_untouched(model(body, X, "float[1,2,6,7] y, int64[1,2,6,7] i", initializers=ints(p=POOL)), STEP)


@pytest.mark.parametrize(("number", "ops"), [(0, ["MaxPool"]), (1, ["Pad", "MaxPool"])])
def test_unsigned_integers_have_zero_as_their_smallest(number, ops):
    constants = ints(p=POOL) | {"n": np.array(number, np.uint8)}
    proto = model(
        "t = Pad(x, p, n) y = MaxPool<kernel_shape=[3,2]>(t)",
        "uint8[1,2,6,7] x",
        "uint8[1,2,6,7] y",
        initializers=constants,
    )
    assert_near(proto, STEP, ops, MAX if len(ops) == 1 else {}, rtol=0)


@PROPERTY
@given(
    pads=st.lists(st.integers(-1, 2), min_size=4, max_size=4),
    own=st.lists(st.integers(0, 1), min_size=4, max_size=4),
    kernel=st.lists(st.integers(2, 3), min_size=2, max_size=2),
    strides=st.lists(st.integers(1, 2), min_size=2, max_size=2),
    op=st.sampled_from(["Conv", "AveragePool", "MaxPool"]),
    flags=st.tuples(st.integers(0, 1), st.integers(0, 1)),
)
def test_any_pads_keep_the_result(pads, own, kernel, strides, op, flags):
    attributes = f"kernel_shape={kernel}, strides={strides}, pads={own}"
    if op != "Conv":
        attributes += f", ceil_mode={flags[0]}"
    if op == "AveragePool":
        attributes += f", count_include_pad={flags[1]}"
    constants = ints(p=[0, 0, *pads[:2], 0, 0, *pads[2:]])
    constants["w"] = np.random.default_rng(1).normal(size=(3, 2, *kernel)).astype(np.float32)
    proto = model(
        f"s = Relu(x) t = Pad(s, p) y = {op}<{attributes}>(t{', w' if op == 'Conv' else ''})", X, initializers=constants
    )
    outcome = transform(proto, STEP)
    feeds = {"x": np.random.default_rng(0).normal(size=(1, 2, 6, 7)).astype(np.float32)}
    assert_close(run(proto, feeds), run(outcome.after, feeds), 1e-5)
