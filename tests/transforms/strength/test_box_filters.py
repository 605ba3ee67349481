"""Convolutions that pick one element go, those that average become pooling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.transforms.fusion import FuseConvAffine
from graphopt.transforms.strength import ReduceStrength
from tests.transforms.harness import PROPERTY, assert_near, assert_untouched, model, transform

STEP = ReduceStrength()
IDENTITY, AVERAGE = {"eliminate-identity-conv": 1}, {"average-instead-of-conv": 1}


def conv(weights, channels=3, size="6,7", attributes="", bias=None, opset=17, batch="1"):
    given = {"w": np.asarray(weights, np.float32)}
    if bias is not None:
        given["b"] = np.asarray(bias, np.float32)
    operands = "h, w, b" if bias is not None else "h, w"
    return model(
        f"h = Neg(x) c = Conv<{attributes}>({operands}) y = Neg(c)".replace("<>", ""),
        f"float[{batch},{channels},{size}] x",
        opset=opset,
        initializers=given,
    )


def picking(channels, kernel, place):
    found = np.zeros((channels, 1, *kernel), np.float32)
    found[(slice(None), 0, *place)] = 1
    return found


@pytest.mark.parametrize("opset", [7, 11, 22])
def test_the_identity_goes(opset):
    weights = np.eye(3).reshape(3, 3, 1, 1)
    assert_near(conv(weights, opset=opset), STEP, ["Neg", "Neg"], IDENTITY)
    rules = {**IDENTITY, "drop-zero-bias": 1}
    assert_near(conv(weights, bias=[0, 0, 0], opset=opset), STEP, ["Neg", "Neg"], rules)


def test_grouped_identity():
    weights = np.concatenate([np.eye(2)] * 2).reshape(4, 2, 1, 1)
    assert_near(conv(weights, 4, attributes="group = 2"), STEP, ["Neg", "Neg"], IDENTITY)


@PROPERTY
@given(
    kernel=st.sampled_from([(1, 1), (3, 3), (2, 3), (1, 4)]),
    place=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    by=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    shift=st.sampled_from([0, 0, 1]),
)
def test_one_element_of_each_kernel(kernel, place, by, shift):
    """It goes if the pads are where it looks, and stays for any others."""
    place = tuple(min(tap, size - 1) for tap, size in zip(place, kernel, strict=True))
    begins = [tap * step for tap, step in zip(place, by, strict=True)]
    ends = [(size - 1 - tap) * step for tap, step, size in zip(place, by, kernel, strict=True)]
    begins[0] += shift
    proto = conv(picking(3, kernel, place), attributes=f"group = 3, dilations = {list(by)}, pads = {begins + ends}")
    if shift:
        assert_untouched(proto, STEP)
    else:
        assert_near(proto, STEP, ["Neg", "Neg"], IDENTITY)


@pytest.mark.parametrize(
    "proto",
    [
        conv(np.eye(3)[[1, 0, 2]].reshape(3, 3, 1, 1)),
        conv(2 * np.eye(3).reshape(3, 3, 1, 1)),
        conv(np.eye(3).reshape(3, 3, 1, 1), attributes="strides = [2, 1]"),
        conv(np.eye(3).reshape(3, 3, 1, 1), bias=[0, 0, 1]),
        conv(np.eye(2, 3).reshape(2, 3, 1, 1)),
        conv(np.eye(3).reshape(3, 3, 1, 1), attributes="pads = [1, 0, 0, 0]"),
        conv(picking(3, (3, 3), (1, 1)), attributes='group = 3, auto_pad = "SAME_UPPER"'),
        conv(picking(3, (3, 3), (0, 1)), attributes="group = 3, pads = [1, 1, 1, 1]"),
    ],
    ids=["permuted", "scaled", "strided", "biased", "fewer", "padded", "automatic", "shifted"],
)
def test_near_the_identity(proto):
    assert_untouched(proto, STEP)


@PROPERTY
@given(
    channels=st.sampled_from([1, 3, 4, 12]),
    kernel=st.sampled_from([(2, 2), (3, 3), (1, 5), (3, 1)]),
    pads=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    strides=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    opset=st.sampled_from([7, 11, 17, 22]),
)
def test_kernels_of_equal_numbers(channels, kernel, pads, strides, opset):
    pads = [min(pad, size - 1) for pad, size in zip(pads, kernel * 2, strict=True)]
    weights = np.full((channels, 1, *kernel), 1 / np.prod(kernel), np.float32)
    attributes = f"group = {channels}, pads = {pads}, strides = {list(strides)}"
    proto = conv(weights, channels, attributes=attributes, opset=opset)
    assert_near(proto, STEP, ["Neg", "AveragePool", "Neg"], AVERAGE)


def test_one_and_three_spatial_axes():
    assert_near(
        conv(np.full((3, 1, 4), 0.25), size="9", attributes="group = 3"), STEP, ["Neg", "AveragePool", "Neg"], AVERAGE
    )
    proto = conv(np.full((2, 1, 2, 2, 2), 0.125), 2, size="4,5,3", attributes="group = 2")
    assert_near(proto, STEP, ["Neg", "AveragePool", "Neg"], AVERAGE)


def test_a_factor_behind_ones_is_found():
    """A quotient goes into the ones first."""
    given = {"w": np.ones((3, 1, 3, 3), np.float32), "nine": np.array(9, np.float32)}
    proto = model("c = Conv<group = 3>(x, w) y = Div(c, nine)", "float[1,3,6,6] x", initializers=given)
    assert_near(transform(proto, FuseConvAffine()).after, STEP, ["AveragePool"], AVERAGE)


@pytest.mark.parametrize(
    "proto",
    [
        conv(np.full((8, 1, 3, 3), 1 / 9), 8, attributes="group = 8"),
        conv(np.full((3, 1, 3, 3), 1 / 8), attributes="group = 3"),
        conv(np.full((3, 1, 3, 3), 1 / 9) + np.eye(3) * 1e-3, attributes="group = 3"),
        conv(np.full((3, 3, 3, 3), 1 / 9)),
        conv(np.full((6, 1, 3, 3), 1 / 9), attributes="group = 3"),
        conv(np.full((3, 1, 3, 3), 1 / 9), attributes="group = 3, dilations = [2, 1]"),
        conv(np.full((3, 1, 3, 3), 1 / 9), attributes="group = 3, pads = [3, 0, 0, 0]"),
        conv(np.full((3, 1, 3, 3), 1 / 9), attributes="group = 3", bias=[0, 1, 0]),
    ],
    ids=["blocks", "scaled", "unlike", "joined", "doubled", "holes", "wide pads", "biased"],
)
def test_near_an_average(proto):
    assert_untouched(proto, STEP)
