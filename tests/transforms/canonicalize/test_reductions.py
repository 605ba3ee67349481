"""Reductions over nothing and over axes of size 1."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.canonicalize import Canonicalize, CanonicalizeAlgebra
from tests.transforms.harness import (
    assert_exact,
    assert_near,
    assert_same_bits,
    assert_untouched,
    model,
    run,
    transform,
)

STEP = Canonicalize()
RULE = {"eliminate-reduction": 1}
ALL = ["ReduceSum", "ReduceMean", "ReduceProd", "ReduceMax", "ReduceMin"]
OPS = ["ReduceProd", "ReduceMax", "ReduceMin"]
SUMS = ["ReduceSum", "ReduceMean"]


def ints(**arrays):
    return {name: np.array(numbers, np.int64) for name, numbers in arrays.items()}


@pytest.mark.parametrize("op", OPS)
def test_axes_of_size_one(op):
    proto = model(f"a = {op}(x, r) y = Exp(a)", "float[20,1,2] x", opset=18, initializers=ints(r=[-2]))
    assert_exact(proto, STEP, ["Exp"], RULE)
    proto = model(f"a = {op}<keepdims=0>(x, r) y = Exp(a)", "float[20,1,2] x", opset=18, initializers=ints(r=[1]))
    assert_exact(proto, STEP, ["Squeeze", "Exp"], RULE)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("opset", [7, 11, 12])
def test_axes_as_attributes(op, opset):
    proto = model(f"a = {op}<axes=[1], keepdims=0>(x) y = Exp(a)", "float[20,1,2] x", opset=opset)
    assert_exact(proto, STEP, ["Squeeze", "Exp"], RULE)


@pytest.mark.parametrize("op", SUMS)
@pytest.mark.parametrize("keepdims", [0, 1])
def test_sums_of_one_float_lose_a_negative_zero_only(op, keepdims):
    proto = model(
        f"a = {op}<keepdims={keepdims}>(x, r) y = Neg(a)", "float[20,1,2] x", opset=18, initializers=ints(r=[1])
    )
    assert_untouched(proto, STEP)
    assert_near(
        proto, CanonicalizeAlgebra(), ["Neg"] if keepdims else ["Squeeze", "Neg"], {"eliminate-float-sum": 1}, rtol=1e-7
    )


@pytest.mark.parametrize("op", SUMS)
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_sums_of_one_integer(op, dtype):
    proto = model(
        f"a = {op}(x, r) y = Neg(a)", f"{dtype}[20,1,2] x", f"{dtype}[*] y", opset=18, initializers=ints(r=[1])
    )
    feeds = {"x": np.arange(40, dtype=dtype).reshape(20, 1, 2)}
    outcome = transform(proto, STEP)
    assert (["Neg"], RULE) == (outcome.ops, outcome.applied)
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))


@pytest.mark.parametrize("op", OPS)
def test_no_axes(op):
    proto = model(f"a = {op}<noop_with_empty_axes=1>(x) y = Exp(a)", opset=18)
    assert_exact(proto, STEP, ["Exp"], RULE)
    assert_untouched(model(f"y = {op}(x)", opset=18), STEP)
    assert_exact(model(f"a = {op}(x) y = Exp(a)", "float[1,1] x", opset=18), STEP, ["Exp"], RULE)


@pytest.mark.parametrize("op", ALL)
def test_larger_unknown_and_computed_axes_stay(op):
    assert_untouched(model(f"y = {op}(x, r)", "float[2,N] x", opset=18, initializers=ints(r=[1])), STEP)
    assert_untouched(model(f"y = {op}(x, r)", "float[0,1] x", opset=18, initializers=ints(r=[0])), STEP)
    assert_untouched(model(f"y = {op}(x, r)", "float[*] x", opset=18, initializers=ints(r=[1])), STEP)
    assert_untouched(model(f"y = {op}(x, r)", "float[1,1] x, int64[1] r", opset=18), STEP)


@pytest.mark.parametrize("op", ["ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"])
def test_reductions_that_change_a_single_element_stay(op):
    assert_untouched(model(f"y = {op}(x, r)", "float[2,1] x", opset=18, initializers=ints(r=[1])), STEP)


def test_integers():
    proto = model("a = ReduceMean(x, r) y = Neg(a)", "int32[9,1] x", "int32[9,1] y", opset=18, initializers=ints(r=[1]))
    assert_exact(proto, STEP, ["Neg"], RULE)
