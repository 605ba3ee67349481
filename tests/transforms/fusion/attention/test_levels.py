"""Which low numbers a mask may have."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.rewriting import NoMatch
from graphopt.serde import lift_model
from graphopt.transforms.fusion.attention.levels import levels_of, must_clamp
from tests.transforms.harness import model

LOW = float(np.float32(-3.4e38))


def levels(body, inputs="bool[2,3] n", **constants):
    known = {"zero": np.float32(0), "one": np.float32(1), "low": np.float32(LOW), **constants}
    proto = model(body, inputs, opset=17, initializers={k: v for k, v in known.items() if k in body})
    ir = lift_model(proto)
    OnnxTypes().infer_model(ir)
    return levels_of(ir.graph.outputs[0])


@pytest.mark.parametrize(
    ("body", "lows", "bound"),
    [
        ("y = Where(n, zero, low)", {LOW}, 0),
        ("y = Where(n, low, one)", {LOW}, 1),
        ("c = Cast<to = 1>(n) d = Sub(one, c) y = Mul(d, low)", {LOW}, 0),
        ("a = Where(n, zero, low) t = Transpose(a) y = Trilu(t)", {LOW}, 0),
        ("a = Where(n, zero, low) c = Cast<to = 1>(n) y = Add(a, c)", {LOW}, 1),
        ("a = Where(n, zero, low) y = Add(a, a)", {LOW, -math.inf}, 0),
        ("c = Cast<to = 1>(n) y = Tanh(c)", set(), 1),
    ],
)
def test_numbers_of_masks_are_followed(body, lows, bound):
    found = levels(body)
    assert found is not None
    assert (lows, bound) == (set(found.lows), found.bound)


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        ("y = Neg(x)", "float[2,3] x"),
        ("c = Cast<to = 1>(n) y = Mul(c, low)", "int32[2,3] n"),
        ("c = Cast<to = 1>(n) y = Div(c, zero)", "bool[2,3] n"),
    ],
)
def test_other_numbers_are_not_known(body, inputs):
    assert levels(body, inputs) is None


def test_constants():
    numbers = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    numbers[0, 1:] = -1e35
    found = levels("y = Identity(k)", k=numbers)
    assert found is not None
    assert ({float(np.float32(-1e35))}, 1.0) == (set(found.lows), found.bound)
    numbers[1, 1] = np.nan
    assert levels("y = Identity(k)", k=numbers) is None


@pytest.mark.parametrize(
    ("lows", "guarded", "expected"),
    [
        (frozenset(), False, False),
        (frozenset({LOW}), False, True),
        (frozenset({LOW}), True, True),
        (frozenset({-math.inf}), True, False),
    ],
)
def test_when_masks_are_raised(lows, guarded, expected):
    assert expected == must_clamp(lows, None, guarded=guarded)


@pytest.mark.parametrize("lows", [frozenset({-math.inf}), frozenset({LOW, -1e35})])
def test_masks_that_can_not_be_raised(lows):
    assert isinstance(must_clamp(lows, None, guarded=False), NoMatch)
