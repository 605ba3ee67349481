"""Models that gather each element in its place, as vectorized mask functions do."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from graphopt.testing.strategies.choices import Choices
from tests.transforms.harness import model

__all__ = ["each_element", "each_position"]

_CONSTANTS = {
    "zero": np.array(0),
    "one": np.array(1),
    "front": np.array([0]),
    "back": np.array([1]),
    "around": np.array([1, 2]),
    "outer": np.array([0, 1]),
    "last": np.array([-1]),
}


def each_position(choices: Choices) -> ModelProto:
    """Gather with Range as indices, of an axis or of a flat tensor."""
    opset = choices.of((13, 17, 18, 21))
    count = "s = Shape(x) n = Gather(s, one) i = Range(zero, n, one)"
    if choices.chance(0.5):
        indices = choices.of(("i", "j", "k"))
        body = f"{count} j = Unsqueeze(i, back) k = Unsqueeze(i, around) g = Gather<axis = 1>(x, {indices})"
    else:
        rows = "m = Gather(s, zero) r = Range(zero, m, one) c = Unsqueeze(r, back) w = Mul(c, n)"
        flat = choices.of(("f = Flatten<axis = 2>(x)", "f = Reshape(x, last)"))
        body = f"{count} {rows} p = Add(w, i) {flat} g = Gather(f, p)"
    end = choices.of(("y = Neg(g)", "y = Exp(g)"))
    used = body.replace("j = Unsqueeze(i, back) ", "" if "(x, j)" not in body else "j = Unsqueeze(i, back) ")
    used = used.replace("k = Unsqueeze(i, around) ", "" if "(x, k)" not in used else "k = Unsqueeze(i, around) ")
    return model(f"{used} {end}", f"float[{choices.of(('b', '2'))},s] x", opset=opset, initializers=_CONSTANTS)


def each_element(choices: Choices) -> ModelProto:
    """GatherND with the grid of all indices."""
    size = choices.of(("s", "3"))
    body = (
        "a = Shape(x) m = Gather(a, zero) n = Gather(a, one) r = Range(zero, m, one) c = Range(zero, n, one) "
        "u = Unsqueeze(r, around) v = Unsqueeze(c, outer) t = Add(u, v) h = Shape(t) d = Expand(u, h) e = Expand(v, h) "
        "p = Unsqueeze(d, last) q = Unsqueeze(e, last) w = Concat<axis = -1>(p, q) g = GatherND(x, w)"
    )
    end = choices.of(("y = Neg(g)", "y = Exp(g)", "y = Relu(g)"))
    return model(
        f"{body} {end}",
        f"float[{choices.of(('b', '2'))},{size}] x",
        opset=choices.of((13, 17, 18, 21)),
        initializers=_CONSTANTS,
    )
