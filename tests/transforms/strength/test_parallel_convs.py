"""Convolutions of one tensor that are added up or put side by side are one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.transforms.strength import ReduceStrength
from tests.transforms.harness import PROPERTY, assert_near, assert_untouched, model

STEP = ReduceStrength()
SUM, JOIN = {"sum-convolutions": 1}, {"join-convolutions": 1}
RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def branches(first, second, how="Add(p, q)", weights=None, x="1,4,6,5", extra="", **more):
    """Two convolutions, by their attributes, and what is done with both."""
    given = {"u": normal(4, 4, 3, 3), "v": normal(4, 4, 1, 1), "b": normal(4), **(weights or {}), **more}
    body = f"p = Conv<{first}>(x, u, b) q = Conv<{second}>(x, v) {extra} y = {how}".replace("<>", "")
    used = {name: array for name, array in given.items() if f", {name}" in body}
    return model(body, f"float[{x}] x", initializers=used)


@PROPERTY
@given(
    sizes=st.tuples(st.sampled_from([1, 2, 3, 5]), st.sampled_from([1, 3])),
    inner=st.tuples(st.sampled_from([1, 2, 3]), st.sampled_from([1, 3])),
    place=st.tuples(st.integers(0, 4), st.integers(0, 2)),
    strides=st.sampled_from([[1, 1], [2, 1]]),
    by=st.sampled_from([1, 1, 2]),
    group=st.sampled_from([1, 2, 4]),
    extra=st.lists(st.integers(0, 1), min_size=4, max_size=4),
)
def test_a_kernel_inside_of_another(sizes, inner, place, strides, by, group, extra):
    """Wherever it lies, as the pads say."""
    inner = tuple(map(min, inner, sizes))
    place = tuple(min(at, size - own) for at, size, own in zip(place, sizes, inner, strict=True))
    small = extra
    large = [
        *(pad + at * by for pad, at in zip(small[:2], place, strict=True)),
        *(pad + (size - own - at) * by for pad, size, own, at in zip(small[2:], sizes, inner, place, strict=True)),
    ]
    common = f"group = {group}, strides = {strides}, dilations = {[by, by]}"
    proto = branches(
        f"{common}, pads = {large}",
        f"{common}, pads = {small}",
        weights={"u": normal(4, 4 // group, *sizes), "v": normal(4, 4 // group, *inner)},
        x="1,4,12,9",
    )
    assert_near(proto, STEP, ["Conv"], SUM)


@pytest.mark.parametrize("order", ["Add(p, q)", "Add(q, p)"])
@pytest.mark.parametrize("group", [1, 2])
def test_a_normalization_beside_it(order, group):
    body = f"p = Conv<pads = [1, 1, 1, 1], group = {group}>(x, u, b) q = BatchNormalization(x, s, o, m, w) y = {order}"
    given = {"u": normal(4, 4 // group, 3, 3), "b": normal(4), "s": normal(4), "o": normal(4), "m": normal(4)}
    proto = model(body, "float[1,4,6,5] x", initializers={**given, "w": np.abs(normal(4)) + np.float32(0.5)})
    assert_near(proto, STEP, ["Conv"], SUM)


def test_a_block_of_three_branches():
    body = "p = Conv<pads = [1, 1, 1, 1]>(x, u, b) q = Conv(x, v) r = BatchNormalization(x, s, o, m, w) t = Add(p, q) y = Add(t, r)"
    given = {"u": normal(4, 4, 3, 3), "v": normal(4, 4, 1, 1)} | {name: normal(4) for name in "bsom"}
    proto = model(body, "float[1,4,6,5] x", initializers={**given, "w": np.abs(normal(4)) + np.float32(0.5)})
    assert_near(proto, STEP, ["Conv"], {"sum-convolutions": 2})


SAME = "pads = [1, 1, 1, 1]"


@pytest.mark.parametrize(
    "proto",
    [
        branches("", ""),
        branches(SAME, "pads = [0, 0, 1, 1]"),
        branches(f"{SAME}, strides = [2, 2]", "", x="1,4,1,1"),
        branches(SAME, "", "Sub(p, q)"),
        branches(SAME, "", "Concat<axis = 0>(t, q)", extra="t = Add(p, q)"),
        branches('auto_pad = "SAME_UPPER"', ""),
        branches(SAME, "", weights={"v": normal(1, 4, 1, 1)}),
    ],
    ids=["sizes", "shifted", "strides", "difference", "two readers", "automatic", "broadcast"],
)
def test_other_sums_stay(proto):
    assert_untouched(proto, STEP)


@pytest.mark.parametrize("act", ["", "Relu", "Sigmoid", "LeakyRelu<alpha = 0.2>"])
@pytest.mark.parametrize("beside", ["{0}, {1}", "{0}, {1}, x", "x, {0}, {1}"])
def test_side_by_side(act, beside):
    weights = {"u": normal(3, 4, 3, 3), "v": normal(2, 4, 3, 3), "b": normal(3)}
    acts = f"e = {act}(p) f = {act}(q)" if act else ""
    joined = beside.format(*("ef" if act else "pq"))
    proto = branches(SAME, SAME, f"Concat<axis = 1>({joined})", weights=weights, extra=acts)
    name = act.partition("<")[0]
    ops = ["Conv", *([name] if act else []), *(["Concat"] if "x" in beside else [])]
    assert_near(proto, STEP, ops, JOIN)


@pytest.mark.parametrize(
    "proto",
    [
        branches(SAME, "", "Concat<axis = 1>(p, q)"),
        branches(SAME, SAME, "Concat<axis = 0>(p, q)", weights={"v": normal(4, 4, 3, 3)}),
        branches(SAME, SAME, "Concat<axis = 1>(e, q)", weights={"v": normal(4, 4, 3, 3)}, extra="e = Relu(p)"),
        branches(
            SAME, SAME, "Concat<axis = 1>(e, f)", weights={"v": normal(4, 4, 3, 3)}, extra="e = Relu(p) f = Tanh(q)"
        ),
        branches(SAME, SAME, "Concat<axis = 1>(p, q, p)", weights={"v": normal(4, 4, 3, 3)}),
    ],
    ids=["kernels", "axis", "one activation", "two activations", "two readers"],
)
def test_other_neighbours_stay(proto):
    assert_untouched(proto, STEP)
