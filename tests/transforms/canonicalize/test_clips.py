"""Clip and Relu that follow each other, with NaN, infinities, zeros of both signs and absent bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.transforms.canonicalize import Canonicalize
from graphopt.transforms.canonicalize.clips import Bounds
from tests.transforms.harness import (
    PROPERTY,
    assert_exact,
    assert_same_bits,
    assert_untouched,
    feeds_for,
    model,
    run,
    transform,
)

STEP = Canonicalize()
RULE = {"merge-clips": 1}
X = "float[40] x"


def bounds(dtype=np.float32, **numbers):
    return {name: np.array(number, dtype) for name, number in numbers.items()}


@pytest.mark.parametrize(
    ("body", "ops"),
    [
        ("a = Clip(x, m1, p6) y = Clip(a, z, p6)", ["Clip"]),
        ("a = Clip(x, z, p6) y = Relu(a)", ["Clip"]),
        ("a = Clip(x, m1, p6) y = Relu(a)", ["Clip"]),
        ("a = Relu(x) y = Clip(a, z, p6)", ["Clip"]),
        ("a = Relu(x) y = Clip(a, , p6)", ["Clip"]),
        ("a = Relu(x) y = Clip(a, m1)", ["Clip"]),
        ("a = Clip(x, , p6) y = Clip(a, m1)", ["Clip"]),
        ("a = Clip(x, m1, z) y = Clip(a, p1, p6)", ["Clip"]),
        ("a = Clip(x) y = Clip(a, m1)", ["Clip"]),
        ("a = Clip(x, m1, p1) b = Clip(a, m1, p6) y = Exp(b)", ["Clip", "Exp"]),
    ],
)
def test_pairs_merge(body, ops):
    outcome = assert_exact(model(body, X, initializers=bounds(z=0, m1=-1, p1=1, p6=6)), STEP, ops, RULE)
    assert_same_bits(run(outcome.before, feeds := feeds_for(outcome.before, seed=3)), run(outcome.after, feeds))


@pytest.mark.parametrize(
    "body",
    [
        "a = Clip(x, p6, m1) y = Relu(a)",  # bounds out of order
        "a = Clip(x, nan, p6) y = Relu(a)",
        "a = Clip(x, m1, inf) y = Relu(a)",
        "a = Clip(x, nz, p6) y = Relu(a)",
    ],
)
def test_strange_bounds_stay(body):
    constants = bounds(m1=-1, p6=6, nan=np.nan, inf=np.inf, nz=-0.0)
    assert_untouched(model(body, X, initializers=constants), STEP)


def test_bounds_that_vary_stay():
    assert_untouched(model("a = Clip(x, l) y = Relu(a)", "float[40] x, float l"), STEP)


@pytest.mark.parametrize("opset", [7, 10])
def test_bounds_as_attributes(opset):
    proto = model("a = Clip<min=-1.0, max=6.0>(x) y = Relu(a)", X, opset=opset)
    assert_exact(proto, STEP, ["Clip"], RULE)
    assert_exact(model("a = Relu(x) y = Clip<max=6.0>(a)", X, opset=opset), STEP, ["Clip"], RULE)


@pytest.mark.parametrize("dtype", ["float16", "double", "int8", "int64", "uint8"])
def test_other_types(dtype):
    numpy_type = np.dtype(dtype)
    proto = model(
        "a = Clip(x, lo, hi) y = Clip(a, mid)",
        f"{dtype}[20] x",
        f"{dtype}[20] y",
        initializers=bounds(numpy_type, lo=1, hi=100, mid=7),
    )
    assert_exact(proto, STEP, ["Clip"], RULE)


def test_shared_inner_clip():
    constants = bounds(z=0, m1=-1, p6=6)
    outputs = "float[40] y, float[40] a"
    assert_untouched(model("a = Clip(x, m1, p6) y = Relu(a)", X, outputs, initializers=constants), STEP)
    proto = model("a = Clip(x, z, p6) b = Relu(a) y = Exp(b)", X, outputs, initializers=constants)
    assert_exact(proto, STEP, ["Clip", "Exp"], RULE)


NUMBERS = st.one_of(st.none(), st.sampled_from([-3.5, -1.0, 0.0, 0.5, 2.0, 6.0, 3.4e38]))


@PROPERTY
@given(first=st.tuples(NUMBERS, NUMBERS), second=st.tuples(NUMBERS, NUMBERS), seed=st.integers(0, 5))
def test_any_two_clips_keep_their_result(first, second, seed):
    constants = {
        name: np.array(number, np.float32)
        for name, number in zip("abcd", (*first, *second), strict=True)
        if number is not None
    }
    given_names = [name if name in constants else "" for name in "abcd"]
    proto = model(
        f"t = Clip(x, {given_names[0]}, {given_names[1]}) y = Clip(t, {given_names[2]}, {given_names[3]})".replace(
            ", )", ")"
        ).replace(", )", ")"),
        X,
        initializers=constants,
    )
    outcome = transform(proto, STEP)
    ordered = all(low is None or high is None or low <= high for low, high in (first, second))
    both = Bounds(*first).then(Bounds(*second))
    merges = ordered and (both == Bounds(*first) or not both.low == both.high == 0)
    assert (["Clip"] if merges else ["Clip", "Clip"]) == outcome.ops
    feeds = feeds_for(proto, seed=seed)
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))


def test_bounds_of_two():
    assert Bounds(0, 6) == Bounds(-1, 6).then(Bounds(0, None))
    assert Bounds(1, 1) == Bounds(-1, 0).then(Bounds(1, 6))
    assert not Bounds(2, 1).is_plain
