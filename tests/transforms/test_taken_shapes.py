"""Sizes that several nodes compute are taken from a tensor that has them."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.shape_sharing import ShareShapeValues
from tests.transforms.harness import assert_exact, assert_untouched, model

STEP = ShareShapeValues()
TAKEN = {"taken": 1}
CONSTANTS = {
    "one": np.array([1], np.int64),
    "two": np.array([2], np.int64),
    "w": np.ones((4, 3, 3, 3), np.float32),
    "i": np.array([2], np.int64),
}
CONV = "c = Conv<strides = [2,2], pads = [1,1,1,1]>(x, w)"
HALF = "g = Shape<start = 2, end = 3>(x) a = Sub(g, one) d = Div(a, two) n = Add(d, one)"


@pytest.mark.parametrize("height", [1, 6, 7])
def test_the_size_of_features_is_not_computed_from_the_image(height):
    """As torch.export computes where to enlarge something to."""
    body = f"{CONV} {HALF} e = Expand(z, n) y = Add(e, e) f = Neg(c)"
    proto = model(body, "float[b,3,h,8] x, float[1] z", "float[*] y, float[*] f", opset=17, initializers=CONSTANTS)
    outcome = assert_exact(proto, STEP, ["Conv", "Shape", "Expand", "Add", "Neg"], TAKEN, sizes={"h": height})
    shape = next(node for node in outcome.ir.graph.nodes if node.op == "Shape")
    assert (2, 3) == (shape.attr("start"), shape.attr("end"))


def test_a_whole_shape_is_taken_at_any_opset():
    """Sizes of two other tensors, put together."""
    body = "a = Shape(u) b = Shape(v) k = Concat<axis = 0>(a, b) y = Expand(z, k)"
    proto = model(body, "float[p,q] x, float[p] u, float[q] v, float[1] z", opset=11)
    assert_exact(proto, STEP, ["Shape", "Expand"], TAKEN, sizes={"p": 2, "q": 3})


@pytest.mark.parametrize(
    ("body", "opset"),
    [
        (f"{CONV} s = Shape(x) g = Gather(s, i) a = Sub(g, one) d = Div(a, two) n = Add(d, one) y = Expand(z, n)", 13),
        (f"{HALF} y = Expand(z, n) {CONV}", 17),  # the tensor comes later
        (f"c = Relu(x) {HALF} y = Expand(z, n)", 17),  # nothing has that size
        (f"{CONV} s = Shape(x) n = Gather(s, i) y = Expand(z, n) u = Neg(s)", 17),  # one node would go for another
        (f"{CONV} g = Shape<start = 2, end = 3>(x) k = Cast<to = 6>(g) y = Cast<to = 1>(k)", 17),
    ],
    ids=["opset", "order", "other size", "one node", "integers of 32 bits"],
)
def test_what_stays(body, opset):
    """Near misses: each differs by one thing."""
    named = [name for name in ("c", "u") if f"{name} = " in body]
    outputs = ", ".join(["float[*] y", *(f"{'int64' if name == 'u' else 'float'}[*] {name}" for name in named)])
    used = {name: array for name, array in CONSTANTS.items() if name != "w" or "Conv" in body}
    assert_untouched(model(body, "float[b,3,h,8] x, float[1] z", outputs, opset=opset, initializers=used), STEP)
