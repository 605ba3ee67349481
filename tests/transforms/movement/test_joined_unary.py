"""What is computed alike of parts side by side is computed at once."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.canonicalize import Canonicalize, CanonicalizeAlgebra
from tests.transforms.harness import assert_exact, assert_near, assert_untouched, model

STEP = Canonicalize()
JOIN, SPLIT = {"join-before-unary": 1}, {"compute-before-split": 1}
TWO = "float[2,3] x, float[4,3] z"


@pytest.mark.parametrize("op", ["Relu", "Neg", "Cast<to = 11>", "LeakyRelu<alpha = 0.25>"])
@pytest.mark.parametrize("opset", [7, 13, 21])
def test_operands_of_a_concat(op, opset):
    outputs = "double[*] y" if "Cast" in op else "float[*] y"
    proto = model(f"a = {op}(x) b = {op}(z) y = Concat<axis = 0>(a, b)", TWO, outputs, opset=opset)
    assert_exact(proto, STEP, ["Concat", op.partition("<")[0]], JOIN)


@pytest.mark.parametrize(
    "body",
    [
        "a = Relu(x) b = Neg(z) y = Concat<axis = 0>(a, b)",
        "a = LeakyRelu<alpha = 0.25>(x) b = LeakyRelu<alpha = 0.5>(z) y = Concat<axis = 0>(a, b)",
        "a = Relu(x) b = Relu(z) c = Concat<axis = 0>(a, b) d = Concat<axis = 0>(b, a) y = Add(c, d)",
        "a = Relu(x) y = Concat<axis = 0>(a, z)",
        "a = Relu(x) y = Concat<axis = 0>(a, a)",
        "m = MatMul(x, w) a = Relu(m) b = Relu(z) y = Concat<axis = 0>(a, b)",
    ],
    ids=["operators", "attributes", "two readers", "one is not", "twice", "product"],
)
def test_other_operands_stay(body):
    given = {"w": np.eye(3, dtype=np.float32)} if "w)" in body else {}
    inputs = TWO if "(z" in body or ", z)" in body else "float[2,3] x"
    assert_untouched(model(body, inputs, "float[*] y", initializers=given), STEP)


def test_casts_of_two_types_stay():
    proto = model("a = Cast<to = 1>(x) b = Cast<to = 1>(z) y = Concat<axis = 0>(a, b)", "int64[2] x, double[3] z")
    assert_untouched(proto, STEP)


@pytest.mark.parametrize("op", ["Neg", "LeakyRelu<alpha = 0.25>"])
@pytest.mark.parametrize("opset", [11, 13, 18])
def test_parts_of_a_split(op, opset):
    split = "a, b = Split<axis = 1>(x, s)" if opset > 11 else "a, b = Split<axis = 1, split = [1, 2]>(x)"
    given = {"s": np.array([1, 2])} if opset > 11 else {}
    proto = model(f"{split} c = {op}(a) d = {op}(b) y = Mul(c, d)", "float[2,3] x", opset=opset, initializers=given)
    assert_exact(proto, STEP, [op.partition("<")[0], "Split", "Mul"], SPLIT)


@pytest.mark.parametrize(
    "body",
    [
        "c = Sigmoid(a) y = Mul(b, c)",
        "c = Sigmoid(a) d = Tanh(b) y = Mul(c, d)",
        "c = Sigmoid(a) d = Sigmoid(b) e = Mul(c, d) y = Mul(e, b)",
    ],
    ids=["one", "two operators", "two readers"],
)
def test_other_parts_stay(body):
    assert_untouched(model(f"a, b = Split<axis = 1>(x) {body}", "float[2,4] x", opset=13), STEP)


def test_functions_that_kernels_approximate():
    """The last few elements of a vector are computed in another way than the others."""
    joined = model("a = Sigmoid(x) b = Sigmoid(z) y = Concat<axis = 0>(a, b)", TWO)
    assert_untouched(joined, STEP)
    assert_near(joined, CanonicalizeAlgebra(), ["Concat", "Sigmoid"], {"join-before-function": 1})
    parts = model("a, b = Split<axis = 1>(x) c = Tanh(a) d = Tanh(b) y = Mul(c, d)", "float[2,4] x", opset=13)
    assert_untouched(parts, STEP)
    assert_near(parts, CanonicalizeAlgebra(), ["Tanh", "Split", "Mul"], {"compute-function-before-split": 1})
